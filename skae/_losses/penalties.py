"""Penalties that are added to the reconstruction loss."""

from collections.abc import Iterable

import torch
from torch import Generator, Tensor


def elastic_net(weights: Iterable[Tensor], alpha: float, l1_ratio: float) -> Tensor:
    """alpha * (l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2), one number."""
    l1 = torch.stack([w.abs().sum() for w in weights]).sum()
    l2 = torch.stack([w.square().sum() for w in weights]).sum()
    return alpha * (l1_ratio * l1 + (1 - l1_ratio) / 2 * l2)


def squared_jacobian_norm(code: Tensor, x: Tensor, directions: Tensor) -> Tensor:
    """Sum over directions u of |J'u|^2, with J = d code / d x, for each row.

    With the axes of the code as directions, (n_components, n_components), it is the squared
    Frobenius norm of J. With one of `random_directions`, (1, n_samples, n_components), it is an
    unbiased estimate of that, at a fraction of the cost. `x` must require a gradient.
    """
    # Gradients of one number: with `grad_outputs` torch would import SymPy, which is slow.
    gradients = (torch.autograd.grad((code * u).sum(), x, create_graph=True)[0] for u in directions)
    return torch.stack([gradient.square().sum(1) for gradient in gradients]).sum(0)


def random_directions(code: Tensor, rng: Generator) -> Tensor:
    """One direction u per row of `code`, with E[uu'] = I; shape (1, *code.shape).

    All have the length sqrt(n_components). The lengths of normal vectors vary, which is the only
    variance of the estimate where J'J is close to the identity on the code, as for PCA.
    """
    normal = torch.randn(code.shape, generator=rng, dtype=code.dtype, device=code.device)
    length = normal.norm(dim=1, keepdim=True)
    return (normal * (code.shape[1] ** 0.5 / length))[None]


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL divergence of N(mean, diag exp(log_var)) from N(0, I) of each row, in nats."""
    return (mean.square() + log_var.exp() - 1 - log_var).sum(1) / 2
