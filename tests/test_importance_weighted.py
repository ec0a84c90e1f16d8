"""Importance-weighted bounds against independent formulas, and the moments of antithetic codes."""

import numpy as np
import pytest
import torch
from networks import make_rng
from torch.distributions import Normal

from skae._losses.importance_weighted import (
    antithetic_normal,
    importance_bound,
    log_ratio,
    standard_normal,
)

ROWS = torch.tensor([0.3, -1.0], dtype=torch.float64)


def bound_of(samples, mean, log_var, beta=1.0, scale=0.5):
    """The bound for two rows of one feature, which is the code plus noise."""

    def log_likelihood(codes):
        return Normal(codes[:, 0], scale).log_prob(ROWS.repeat(len(codes) // 2))

    return importance_bound(log_likelihood, mean, log_var, samples, beta)


def posterior(n_copies=1):
    """Mean and log variance of these rows, repeated."""
    shape = 2 * n_copies, 1
    return [torch.full(shape, v, dtype=torch.float64, requires_grad=True) for v in (0.2, -1.0)]


def test_the_bound_equals_its_formula():
    samples = torch.tensor([[[0.5], [1.0]], [[-1.0], [0.0]]], dtype=torch.float64)
    std = np.exp(-0.5)
    expected = []
    for row, value in enumerate(ROWS):
        codes = 0.2 + std * samples[:, row, 0]
        weights = Normal(codes, 0.5).log_prob(value) + 0.7 * (
            Normal(0.0, 1.0).log_prob(codes) - Normal(0.2, std).log_prob(codes)
        )
        expected.append(weights.exp().mean().log().item())
    bound = bound_of(samples, *posterior(), beta=0.7)
    np.testing.assert_allclose(bound.detach(), expected)


def test_with_one_sample_it_is_the_evidence_lower_bound(global_random_seed):
    draws = antithetic_normal(1, global_random_seed)
    bound = torch.stack([bound_of(s.expand(1, 2, 1), *posterior()) for s in draws]).mean(0)
    # In closed form: the integrand is quadratic, and the draws have exact first and second moments.
    variance = np.exp(-1.0)
    expected = Normal(0.2, 0.5).log_prob(ROWS) - variance / (2 * 0.25)
    expected = expected - (0.04 + variance - 1 + 1.0) / 2
    torch.testing.assert_close(bound.detach(), expected)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_doubly_reparameterised_gradients_equal_plain_ones_on_average_and_vary_less(
    beta, global_random_seed
):
    n_copies = 2000
    draws = torch.randn(
        8, 2 * n_copies, 1, generator=make_rng(global_random_seed), dtype=torch.float64
    )

    def plain(mean, log_var):
        codes = mean + (log_var / 2).exp() * draws
        log_p = Normal(codes[..., 0], 0.5).log_prob(ROWS.repeat(n_copies))
        return (log_p + beta * log_ratio(codes, draws, log_var)).logsumexp(0)

    def gradients(bound):
        parameters = posterior(n_copies)
        of_rows = torch.autograd.grad(bound(*parameters).sum(), parameters)
        return torch.hstack([g.view(n_copies, 2) for g in of_rows])

    single, double = gradients(plain), gradients(lambda *p: bound_of(draws, *p, beta))
    error = ((single.var(0) + double.var(0)) / n_copies).sqrt()
    assert ((single.mean(0) - double.mean(0)).abs() < 5 * error).all()
    if beta == 1:
        assert double.var() < single.var()


def test_the_gradient_of_the_decoder_equals_finite_differences(global_random_seed):
    rng = make_rng(global_random_seed)
    samples = torch.randn(4, 2, 1, generator=rng, dtype=torch.float64)
    scale = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(bound_of(samples, *posterior(), scale=scale).sum(), scale)[0]
    high, low = (bound_of(samples, *posterior(), scale=0.5 + h).sum() for h in (1e-5, -1e-5))
    assert gradient.item() == pytest.approx(((high - low) / 2e-5).item(), rel=1e-6)


@pytest.mark.parametrize("n_components", [1, 3, 40])
def test_antithetic_draws_have_exact_moments(n_components, global_random_seed):
    draws = antithetic_normal(n_components, global_random_seed).numpy()
    np.testing.assert_allclose(draws.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(draws.T @ draws / len(draws), np.eye(n_components), atol=1e-12)


def test_standard_normal_numbers_have_the_dtype_of_their_model(global_random_seed):
    like = torch.zeros(3, dtype=torch.float64)
    first, second = (standard_normal((4, 5), like, make_rng(global_random_seed)) for _ in range(2))
    assert first.dtype == torch.float64
    assert first.shape == (4, 5)
    assert torch.equal(first, second)
