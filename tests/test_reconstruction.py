"""Reconstruction losses against independent formulas, and the laws that tie charge to link."""

import numpy as np
import pytest
import torch
from scipy.stats import bernoulli, poisson
from torch.nn.functional import binary_cross_entropy_with_logits

from skae._losses.reconstruction import LOSSES

X = {
    "squared_error": torch.tensor([[0.0, -1.0, 2.5], [4.0, 0.5, 0.0]], dtype=torch.float64),
    "absolute_error": torch.tensor([[0.0, -1.0, 2.5], [4.0, 0.5, 0.0]], dtype=torch.float64),
    "log_loss": torch.tensor([[0.0, 1.0, 0.25], [1.0, 0.5, 0.0]], dtype=torch.float64),
    "poisson": torch.tensor([[0.0, 1.0, 7.0], [3.0, 2.0, 0.0]], dtype=torch.float64),
}
RAW = torch.tensor([[0.3, -0.7, 1.1], [-0.2, 0.9, 0.0]], dtype=torch.float64)


@pytest.fixture(params=LOSSES)
def name(request):
    return request.param


def test_squared_and_absolute_error_by_hand():
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


def test_poisson_is_the_negative_log_likelihood():
    loss, x = LOSSES["poisson"], X["poisson"]
    expected = -poisson.logpmf(x.numpy(), loss.mean(RAW).numpy()).sum(axis=1)
    np.testing.assert_allclose(loss.loss(RAW, x), expected)


def test_the_link_undoes_the_mean(name):
    torch.testing.assert_close(LOSSES[name].link(LOSSES[name].mean(RAW)), RAW)


def test_the_lowest_charge_is_that_of_the_value_itself(name):
    loss = LOSSES[name]
    # Values at the edge of the domain have no finite raw output; these have one.
    x = X[name].clamp(0.2, 0.8) if name == "log_loss" else X[name] + 1.0
    torch.testing.assert_close(loss.pointwise(loss.link(x), x), loss.lowest(x))
    torch.testing.assert_close(loss.deviance(loss.link(x), x), torch.zeros(2, dtype=x.dtype))


def test_no_raw_output_is_charged_less_than_the_lowest(name):
    assert (LOSSES[name].deviance(RAW, X[name]) >= 0).all()


def test_the_gradient_is_that_of_the_charge(name):
    # A shift, so that no entry sits at the bend of the absolute error.
    raw = (RAW + 0.013).requires_grad_()
    assert torch.autograd.gradcheck(lambda raw: LOSSES[name].loss(raw, X[name]), raw)


def test_a_missing_entry_costs_nothing_and_pulls_at_nothing(name):
    loss, x = LOSSES[name], X[name].clone()
    x[0, 1] = torch.nan
    raw = RAW.clone().requires_grad_()
    charge = loss.loss(raw, x)
    expected = loss.pointwise(RAW, X[name])
    torch.testing.assert_close(charge[0], expected[0, 0] + expected[0, 2])
    charge.sum().backward()
    assert raw.grad[0, 1] == 0
    assert torch.isfinite(raw.grad).all()


def test_the_degree_tells_how_the_charge_scales(name):
    loss, x = LOSSES[name], X[name]
    if loss.degree:
        torch.testing.assert_close(loss.loss(3 * RAW, 3 * x), 3**loss.degree * loss.loss(RAW, x))
        torch.testing.assert_close(loss.loss(RAW + 5, x + 5), loss.loss(RAW, x))


@pytest.mark.parametrize(
    ("name", "bad"), [("log_loss", [[-0.1]]), ("log_loss", [[1.1]]), ("poisson", [[-1.0]])]
)
def test_values_outside_the_domain_are_refused_with_a_remedy(name, bad):
    with pytest.raises(ValueError, match=f"loss='{name}'.*use loss='squared_error'|or use"):
        LOSSES[name].check(np.array(bad))


def test_no_values_and_missing_values_are_in_every_domain(name):
    LOSSES[name].check(np.array([]))
    LOSSES[name].check(np.array([[np.nan, 0.5], [np.nan, 1.0]]))


DENSITIES = {
    "squared_error": lambda raw, scale: torch.distributions.Normal(raw, scale),
    "absolute_error": lambda raw, scale: torch.distributions.Laplace(raw, scale),
    "log_loss": lambda raw, scale: torch.distributions.Bernoulli(logits=raw, validate_args=False),
    "poisson": lambda raw, scale: torch.distributions.Poisson(raw.exp()),
}


def test_likelihoods_are_those_of_torch_and_pass_over_gaps(name):
    log_scale = torch.tensor(-0.4, dtype=torch.float64)
    expected = -DENSITIES[name](RAW, log_scale.exp()).log_prob(X[name])
    found = LOSSES[name].negative_log_likelihood(RAW, X[name], log_scale)
    torch.testing.assert_close(found, expected.sum(1))
    gaps = X[name].clone()
    gaps[0, 1] = torch.nan
    found = LOSSES[name].negative_log_likelihood(RAW, gaps, log_scale)
    torch.testing.assert_close(found, expected.sum(1) - torch.stack([expected[0, 1], found[0] * 0]))


def test_draws_have_the_moments_of_their_likelihood(name):
    log_scale, n = torch.tensor(-0.4, dtype=torch.float64), 20_000
    noise = torch.Generator().manual_seed(0)
    drawn = LOSSES[name].draw(RAW[:1].expand(n, 3), log_scale, noise)
    density = DENSITIES[name](RAW[:1], log_scale.exp())
    # Five standard errors of a mean, and those of a variance as if kurtosis were six.
    error = (density.variance / n).sqrt()
    assert ((drawn.mean(0) - density.mean[0]).abs() < 5 * error[0]).all()
    np.testing.assert_allclose(drawn.var(0), density.variance[0], rtol=5 * (5 / n) ** 0.5)
