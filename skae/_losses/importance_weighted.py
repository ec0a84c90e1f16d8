"""Bounds of a density by codes that are drawn from posteriors."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

# The bound is averaged over at least as many pairs of codes per row, see `antithetic_normal`.
NOISE_PAIRS = 32


def importance_bound(
    log_likelihood: Callable[[Tensor], Tensor],
    mean: Tensor,
    log_var: Tensor,
    samples: Tensor,
    beta: float,
) -> Tensor:
    """log of the mean of p(x | z) (p(z) / q(z | x))^beta over codes z; shape (n_samples,).

    The codes are `mean + std * samples`, with samples of shape (n_codes, n_samples, n_components).
    The gradient is doubly reparameterised (Tucker et al., 2019): the encoder's goes through the
    codes alone, each weighted once more, and does not drown in noise as the codes become many.
    """
    n_codes, n_rows, n_components = samples.shape
    codes = mean + (log_var / 2).exp() * samples
    log_p = log_likelihood(codes.reshape(-1, n_components)).reshape(n_codes, n_rows)
    # The posterior itself is held: its parameters act through the codes.
    away = (codes - mean.detach()) / (log_var.detach() / 2).exp()
    log_weights = log_p + beta * log_ratio(codes, away, log_var.detach())
    bound = log_weights.logsumexp(0) - math.log(n_codes)
    if not codes.requires_grad:
        return bound
    shares = log_weights.detach().softmax(0)
    codes.register_hook(lambda gradient: gradient * (1 - beta + beta * shares[..., None]))
    return bound


def log_ratio(codes: Tensor, away: Tensor, log_var: Tensor) -> Tensor:
    """log p(z) / q(z | x) for codes that lie `away` standard deviations from their mean."""
    return (away.square() - codes.square() + log_var).sum(-1) / 2


def standard_normal(shape: tuple[int, ...], like: Tensor, noise: torch.Generator) -> Tensor:
    """Standard normal numbers of this shape, in the dtype and on the device of `like`."""
    return like.new_empty(shape).normal_(generator=noise)


def antithetic_normal(n_components: int, seed: int) -> Tensor:
    """Normal noise of mean zero and covariance one exactly; (n_codes, n_components).

    So the expectation of what is quadratic in the code, such as the squared error of a linear
    decoder, is exact.
    """
    n_pairs = max(NOISE_PAIRS, n_components)
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(n_pairs, n_components, generator=generator, dtype=torch.float64)
    half = torch.linalg.qr(normal).Q * math.sqrt(n_pairs)
    return torch.cat([half, -half])
