"""Bounds of a log-density from codes sampled from posteriors."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

# At least as many antithetic pairs of codes for each row in the evidence lower bound.
NOISE_PAIRS = 32


def importance_bound(
    log_likelihood: Callable[[Tensor], Tensor],
    mean: Tensor,
    log_var: Tensor,
    samples: Tensor,
    beta: float,
) -> Tensor:
    """log of the mean of p(x | z) (p(z) / q(z | x))^beta over codes z.

    The result has the shape (n_samples,). The codes are `mean + std * samples`, with samples of
    shape (n_codes, n_samples, n_components). The gradient is doubly reparameterised (Tucker et al.,
    2019): the encoder's gradient passes through the codes only, each weighted once more, so that
    its signal-to-noise ratio does not fall with the number of codes.
    """
    n_codes, n_rows, n_components = samples.shape
    codes = mean + (log_var / 2).exp() * samples
    log_p = log_likelihood(codes.reshape(-1, n_components)).reshape(n_codes, n_rows)
    # The posterior is detached here: its parameters receive gradients through the codes.
    deviations = (codes - mean.detach()) / (log_var.detach() / 2).exp()
    log_weights = log_p + beta * log_ratio(codes, deviations, log_var.detach())
    bound = log_weights.logsumexp(0) - math.log(n_codes)
    if not codes.requires_grad:
        return bound
    shares = log_weights.detach().softmax(0)
    codes.register_hook(lambda gradient: gradient * (1 - beta + beta * shares[..., None]))
    return bound


def log_ratio(codes: Tensor, deviations: Tensor, log_var: Tensor) -> Tensor:
    """log p(z) / q(z | x); `deviations` are (z - mean) / std of the posterior."""
    return (deviations.square() - codes.square() + log_var).sum(-1) / 2


def standard_normal(shape: tuple[int, ...], like: Tensor, rng: Generator) -> Tensor:
    """Standard normal numbers in the dtype and on the device of `like`."""
    return like.new_empty(shape).normal_(generator=rng)


def antithetic_normal(n_components: int, seed: int) -> Tensor:
    """Normal numbers with mean zero and covariance one exactly.

    The shape is (n_codes, n_components). The expectation of a quadratic function of the code, such
    as the squared error of a linear decoder, is then exact.
    """
    n_pairs = max(NOISE_PAIRS, n_components)
    rng = torch.Generator().manual_seed(seed)
    normal = torch.randn(n_pairs, n_components, generator=rng, dtype=torch.float64)
    half = torch.linalg.qr(normal).Q * math.sqrt(n_pairs)
    return torch.cat([half, -half])
