"""Penalties against independent formulas."""

import pytest
import torch
from networks import make_rng

from skae._losses.penalties import (
    elastic_net,
    gaussian_kl,
    random_directions,
    squared_jacobian_norm,
)


@pytest.mark.parametrize(
    ("l1_ratio", "expected"),
    [
        (1.0, 0.1 * 7),  # |3| + |-4|
        (0.0, 0.1 * 25 / 2),  # (9 + 16) / 2
        (0.5, 0.1 * (0.5 * 7 + 0.25 * 25)),
    ],
)
def test_elastic_net_equals_a_calculation_by_hand(l1_ratio, expected):
    weights = [torch.tensor([[3.0]]), torch.tensor([[-4.0]])]
    assert elastic_net(weights, 0.1, l1_ratio).item() == pytest.approx(expected)


@pytest.fixture
def rng(global_random_seed):
    return make_rng(global_random_seed)


@pytest.fixture
def encoded(rng):
    """A nonlinear map from 5 features to 3 codes, and 7 rows."""
    first, second = (torch.randn(s, generator=rng).double() for s in ((5, 4), (4, 3)))
    x = torch.randn(7, 5, generator=rng).double().requires_grad_()
    return (lambda x: (x @ first).tanh() @ second), x


def frobenius(encode, x):
    """The squared Frobenius norm of the Jacobian of each row, by autograd."""
    jacobian = torch.autograd.functional.jacobian(encode, x)  # (n, n_components, n, n_features)
    return torch.stack([jacobian[i, :, i].square().sum() for i in range(len(x))])


def test_along_all_axes_the_norm_is_that_of_the_jacobian(encoded):
    encode, x = encoded
    norm = squared_jacobian_norm(encode(x), x, torch.eye(3).double())
    torch.testing.assert_close(norm, frobenius(encode, x))


def test_along_random_directions_the_norm_is_an_unbiased_estimate(encoded, rng):
    encode, x = encoded
    code = encode(x)
    draws = torch.stack(
        [squared_jacobian_norm(code, x, random_directions(code, rng)) for _ in range(4000)]
    )
    error = draws.mean(0) - frobenius(encode, x)
    assert (error.abs() < 5 * draws.std(0) / 4000**0.5).all()


def test_the_estimate_is_exact_for_one_component_and_for_an_isometry(encoded, rng):
    encode, x = encoded
    for function in (lambda x: encode(x)[:, :1], lambda x: x[:, :3]):
        code = function(x)
        estimate = squared_jacobian_norm(code, x, random_directions(code, rng))
        torch.testing.assert_close(estimate, frobenius(function, x))


def test_the_norm_has_a_gradient_in_the_weights(encoded):
    _, x = encoded
    weight = torch.full((5, 1), 2.0, dtype=torch.float64, requires_grad=True)
    squared_jacobian_norm(x @ weight, x, torch.eye(1).double()).sum().backward()
    # The sum of |w|^2 over 7 rows has the gradient 7 * 2 * w.
    torch.testing.assert_close(weight.grad, torch.full_like(weight, 28.0))


def test_gaussian_kl_equals_that_of_torch(rng):
    mean, log_var = (torch.randn(5, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(mean, (log_var / 2).exp()), normal(torch.zeros_like(mean), 1.0)
    )
    torch.testing.assert_close(gaussian_kl(mean, log_var), expected.sum(1))


def test_gaussian_kl_of_the_prior_is_zero():
    torch.testing.assert_close(gaussian_kl(torch.zeros(4, 3), torch.zeros(4, 3)), torch.zeros(4))
