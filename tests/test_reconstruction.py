"""Reconstruction losses against independent formulas, and the relations between their parts."""

from typing import get_args

import numpy as np
import pytest
import torch
from conftest import all_results
from networks import make_rng
from scipy.stats import bernoulli, poisson
from torch.nn.functional import binary_cross_entropy_with_logits

from skae._graph.graph import Graph
from skae._graph.numpy_runtime import OPERATIONS
from skae._losses.reconstruction import (
    LOSSES,
    LossName,
    describe_losses,
    loss_of_link,
)

X = {
    "squared_error": torch.tensor([[0.0, -1.0, 2.5], [4.0, 0.5, 0.0]], dtype=torch.float64),
    "absolute_error": torch.tensor([[0.0, -1.0, 2.5], [4.0, 0.5, 0.0]], dtype=torch.float64),
    "log_loss": torch.tensor([[0.0, 1.0, 0.25], [1.0, 0.5, 0.0]], dtype=torch.float64),
    "poisson": torch.tensor([[0.0, 1.0, 7.0], [3.0, 2.0, 0.0]], dtype=torch.float64),
}
RAW = torch.tensor([[0.3, -0.7, 1.1], [-0.2, 0.9, 0.0]], dtype=torch.float64)
LOG_SCALE = torch.tensor(-0.4, dtype=torch.float64)


@pytest.fixture(params=LOSSES)
def name(request):
    return request.param


@pytest.fixture
def loss(name):
    return LOSSES[name]


@pytest.fixture
def x(name):
    return X[name].clone()


def test_squared_and_absolute_error_equal_a_calculation_by_hand():
    x, raw = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]])
    assert LOSSES["squared_error"].loss(raw, x).item() == 5  # 2^2 + 1^2
    assert LOSSES["absolute_error"].loss(raw, x).item() == 3  # 2 + 1


def test_log_loss_is_the_negative_bernoulli_log_likelihood():
    loss, x = LOSSES["log_loss"], X["log_loss"]
    expected = binary_cross_entropy_with_logits(RAW, x, reduction="none").sum(1)
    torch.testing.assert_close(loss.loss(RAW, x), expected)
    binary = x.round()
    likelihood = bernoulli.logpmf(binary.numpy(), loss.mean(RAW).numpy()).sum(axis=1)
    np.testing.assert_allclose(loss.loss(RAW, binary), -likelihood)


def test_poisson_loss_is_the_negative_log_likelihood():
    loss, x = LOSSES["poisson"], X["poisson"]
    expected = -poisson.logpmf(x.numpy(), loss.mean(RAW).numpy()).sum(axis=1)
    np.testing.assert_allclose(loss.loss(RAW, x), expected)


def test_the_link_is_the_inverse_of_the_mean(loss):
    torch.testing.assert_close(loss.link(loss.mean(RAW)), RAW)


def test_the_deviance_of_a_perfect_reconstruction_is_zero(name, loss, x):
    # Values at the edge of the domain have no finite raw output.
    x = x.clamp(0.2, 0.8) if name == "log_loss" else x + 1.0
    torch.testing.assert_close(loss.pointwise(loss.link(x), x), loss.pointwise_minimum(x))
    torch.testing.assert_close(loss.deviance(loss.link(x), x), torch.zeros(2, dtype=x.dtype))


def test_the_deviance_is_never_negative(loss, x):
    assert (loss.deviance(RAW, x) >= 0).all()


def test_the_gradient_equals_finite_differences(loss, x):
    # Shifted, so that no entry is at the kink of the absolute error.
    raw = (RAW + 0.013).requires_grad_()
    assert torch.autograd.gradcheck(lambda raw: loss.loss(raw, x), raw)


def test_a_missing_entry_has_no_loss_and_no_gradient(loss, x):
    pointwise = loss.pointwise(RAW, x)
    x[0, 1] = torch.nan
    raw = RAW.clone().requires_grad_()
    result = loss.loss(raw, x)
    torch.testing.assert_close(result[0], pointwise[0, 0] + pointwise[0, 2])
    result.sum().backward()
    assert raw.grad[0, 1] == 0
    assert torch.isfinite(raw.grad).all()


def test_a_loss_with_a_degree_is_homogeneous_and_shift_invariant(loss, x):
    if loss.degree:
        torch.testing.assert_close(loss.loss(3 * RAW, 3 * x), 3**loss.degree * loss.loss(RAW, x))
        torch.testing.assert_close(loss.loss(RAW + 5, x + 5), loss.loss(RAW, x))


@pytest.mark.parametrize(
    ("name", "value"), [("log_loss", -0.1), ("log_loss", 1.1), ("poisson", -1.0)]
)
@pytest.mark.parametrize("convert", [np.array, torch.tensor])
def test_values_out_of_the_domain_are_an_error(name, value, convert):
    with pytest.raises(ValueError, match=f"`loss='{name}'` .* use loss='squared_error'"):
        LOSSES[name].check(convert([[value, float("nan")]]))


def test_missing_values_are_in_the_domain(loss):
    loss.check(np.array([]))
    loss.check(np.array([[np.nan, 0.5], [np.nan, 1.0]]))


DENSITIES = {
    "squared_error": lambda raw, scale: torch.distributions.Normal(raw, scale),
    "absolute_error": lambda raw, scale: torch.distributions.Laplace(raw, scale),
    "log_loss": lambda raw, scale: torch.distributions.Bernoulli(logits=raw, validate_args=False),
    "poisson": lambda raw, scale: torch.distributions.Poisson(raw.exp()),
}


def test_likelihoods_equal_those_of_torch_over_observed_entries(name, loss, x):
    log_density = DENSITIES[name](RAW, LOG_SCALE.exp()).log_prob(x)
    for missing in (False, True):
        if missing:
            x[0, 1] = torch.nan
            log_density[0, 1] = 0.0
        result = loss.negative_log_likelihood(RAW, x, LOG_SCALE)
        torch.testing.assert_close(result, -log_density.sum(1))


def test_samples_have_the_moments_of_the_likelihood(name, loss, global_random_seed):
    n = 20_000
    samples = loss.sample(RAW[:1].expand(n, 3), LOG_SCALE, make_rng(global_random_seed))
    density = DENSITIES[name](RAW[:1], LOG_SCALE.exp())
    # Five standard errors of the mean, and of the variance at a kurtosis of six.
    error = (density.variance / n).sqrt()
    assert ((samples.mean(0) - density.mean[0]).abs() < 5 * error[0]).all()
    np.testing.assert_allclose(samples.var(0), density.variance[0], rtol=5 * (5 / n) ** 0.5)


def run(graph, output, **inputs):
    """The result of a graph by the operations of the NumPy program."""
    values = {**graph.constants, **{name: value.numpy() for name, value in inputs.items()}}
    for operation, names, result, attributes in graph.nodes:
        values[result] = OPERATIONS[operation](*(values[i] for i in names), **attributes)
    return values[output]


def test_onnx_operations_compute_the_loss_and_the_likelihood(loss, x):
    x[0, 1] = torch.nan
    graph = Graph()
    output = loss.loss_graph(graph, "raw", "x")
    np.testing.assert_allclose(run(graph, output, raw=RAW, x=x), loss.loss(RAW, x), rtol=1e-9)
    output = loss.negative_log_likelihood_graph(graph, "raw", "x", LOG_SCALE.item())
    expected = loss.negative_log_likelihood(RAW, x, LOG_SCALE)
    np.testing.assert_allclose(run(graph, output, raw=RAW, x=x), expected, rtol=1e-9)
    np.testing.assert_array_equal(run(graph, graph.count_observed("x"), raw=RAW, x=x), [2, 3])


def test_onnx_operations_compute_the_mean_and_the_link(name, loss):
    graph = Graph()
    mean = run(graph, loss.mean_graph(graph, "raw"), raw=RAW)
    np.testing.assert_allclose(mean, loss.mean(RAW), rtol=1e-12)
    graph, values = Graph(), X[name] - 0.01  # out of the domain, too
    result = run(graph, loss.link_graph(graph, "mean"), mean=values)
    np.testing.assert_allclose(result, loss.link(values), rtol=1e-12)


def test_a_loss_is_found_by_its_name_and_by_its_link(name, loss):
    assert loss.name == name
    assert loss_of_link(loss.link) is loss
    assert loss.description in describe_losses()
    assert name in get_args(LossName)


def test_the_logarithm_of_a_factorial_is_exact_in_a_graph():
    graph, x = Graph(), torch.arange(40, dtype=torch.float64)
    output = LOSSES["poisson"].pointwise_graph(graph, "raw", "x")
    # At a rate of one the loss is one plus the logarithm of the factorial.
    result = run(graph, output, raw=torch.zeros_like(x), x=x) - 1.0
    np.testing.assert_allclose(result, torch.lgamma(x + 1), rtol=1e-13, atol=3e-11)


def test_gradient_is_the_derivative_of_the_loss(loss, x):
    raw = RAW.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss.pointwise(raw, x).sum(), raw)
    torch.testing.assert_close(loss.gradient(RAW, x), expected)


def test_curvature_of_a_smooth_loss_is_its_second_derivative(loss, x, name):
    if name == "absolute_error":
        pytest.skip("it has none")
    raw = RAW.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss.pointwise(raw, x).sum(), raw, create_graph=True)
    (expected,) = torch.autograd.grad(gradient.sum(), raw)
    torch.testing.assert_close(loss.curvature(RAW, x), expected)


def test_curvature_of_the_absolute_error_is_that_of_a_parabola_above_it(x):
    loss, x = LOSSES["absolute_error"], X["absolute_error"]
    curvature, error = loss.curvature(RAW, x), (RAW - x).abs()
    other = torch.linspace(-5, 5, 41, dtype=torch.float64)[:, None, None]
    parabola = curvature * other.square() / 2 + error / 2
    assert (parabola >= other.abs() - 1e-12).all()
    torch.testing.assert_close(curvature * error.square() / 2 + error / 2, error)
    assert loss.curvature(x, x).isfinite().all()


def test_link_derivative_is_the_derivative_of_the_link(loss):
    mean = torch.tensor([[-0.3, 0.0, 0.2], [0.9, 0.9995, 1.7]], dtype=torch.float64)
    mean.requires_grad_()
    (expected,) = torch.autograd.grad(loss.link(mean).sum(), mean)
    torch.testing.assert_close(loss.link_derivative(mean.detach()), expected)


def test_bilinear_terms_are_the_loss_up_to_a_term_of_the_value(loss, x):
    other = torch.randn(2, 3, generator=make_rng(), dtype=torch.float64)
    if (terms := loss.bilinear_terms(RAW)) is None:
        assert type(loss).__name__ == "AbsoluteError"
        return
    differences = loss.pointwise(RAW, x) - loss.pointwise(other, x)
    found = (a + b * x for a, b in (terms, loss.bilinear_terms(other)))
    torch.testing.assert_close(next(found) - next(found), differences)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("binarize", [False, True])
def test_rounding_errors_of_scaled_rows_are_in_the_domain_of_log_loss(
    autoencoder, dtype, binarize, small, global_random_seed
):
    if binarize and not hasattr(autoencoder, "binarize"):
        pytest.skip("has no such parameter")
    X = np.random.RandomState(global_random_seed).uniform(size=(40, 5)).astype(dtype)
    X[0], X[1] = 1, 0
    rounded = X.copy()
    rounded[0], rounded[1] = np.nextafter(dtype(1), dtype(2)), -np.finfo(dtype).eps
    options = {"loss": "log_loss", "max_iter": 1} | ({"binarize": True} if binarize else {})
    expected = all_results(small(autoencoder, 2, **options).fit(X), X)
    for name, values in all_results(small(autoencoder, 2, **options).fit(rounded), rounded).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-3, atol=1e-3, err_msg=name)
