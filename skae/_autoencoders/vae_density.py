"""The density that a variational autoencoder has learned: its logarithm, and rows from it."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .._data.dataset import BLOCK_ENTRIES, rows_of_block
from .._data.threads import threads_for
from .._losses.importance_weighted import log_ratio, standard_normal
from .._losses.penalties import gaussian_kl
from .._losses.reconstruction import ReconstructionLoss
from .._nn.blocks import multiply_adds
from .._nn.fitted import FittedAutoencoder


def evidence_lower_bound(
    fitted: FittedAutoencoder, x: Tensor, *, loss: ReconstructionLoss, noise: Tensor
) -> Tensor:
    """The mean bound over codes `mean + std * noise`; noise is (n_codes, n_components).

    Rows in the units of `X`; the result has shape (n_samples, 1).
    """
    standard = (x - fitted.shift) / fitted.scale
    mean, log_var = fitted.network.posterior(standard)
    std = (log_var / 2).exp()
    nats = gaussian_kl(mean, log_var)
    for samples in _blocks(noise.to(x), x):
        codes = mean + std * samples
        nats += _negative_log_likelihood(fitted, codes, standard, loss).sum(0) / len(noise)
    return -nats[:, None]


def log_density(
    fitted: FittedAutoencoder, x: Tensor, *, loss: ReconstructionLoss, noise: Tensor
) -> Tensor:
    """Importance sampling with codes `mean + std * noise`; noise is (n_codes, n_components).

    Rows in the units of `X`; the result has shape (n_samples, 1).
    """
    standard = (x - fitted.shift) / fitted.scale
    mean, log_var = fitted.network.posterior(standard)
    std = (log_var / 2).exp()
    total = torch.full_like(mean[:, 0], -torch.inf)
    for samples in _blocks(noise.to(x), x):
        codes = mean + std * samples
        nats = _negative_log_likelihood(fitted, codes, standard, loss)
        density = (log_ratio(codes, samples, log_var) - nats).logsumexp(0)
        total = torch.logaddexp(total, density)
    return (total - math.log(len(noise)))[:, None]


def draw_rows(
    fitted: FittedAutoencoder, n_samples: int, *, loss: ReconstructionLoss, seed: int
) -> Tensor:
    """Rows from the density, in the units of `X`, (n_samples, n_features)."""
    rng = torch.Generator(fitted.shift.device).manual_seed(seed)
    log_scale = fitted.network.decoder.log_scale + fitted.scale.log()
    codes = standard_normal((n_samples, fitted.n_components), fitted.shift, rng)
    n_rows = min(max(BLOCK_ENTRIES // len(fitted.shift), 1), n_samples)
    with torch.inference_mode(), threads_for(multiply_adds(fitted) * n_rows):
        rows = [loss.sample(fitted.decode(code), log_scale, rng) for code in codes.split(n_rows)]
    return torch.cat(rows)


def _blocks(noise: Tensor, x: Tensor) -> Iterator[Tensor]:
    """Noise of some codes, (n, 1, n_components): with few rows the decoder is read fewer times."""
    size = max(rows_of_block(x.shape[1]) // max(len(x), 1), 1)
    return (samples[:, None] for samples in noise.split(size))


def _negative_log_likelihood(
    fitted: FittedAutoencoder, codes: Tensor, standard: Tensor, loss: ReconstructionLoss
) -> Tensor:
    """-log p(x | z) in nats, in the units of `X`, (n_codes, n_samples); codes are of each row."""
    network = fitted.network
    rows = standard.expand(len(codes), *standard.shape).flatten(0, 1)
    raw = network.decode(codes.flatten(0, 1))
    nats = loss.negative_log_likelihood(raw, rows, network.decoder.log_scale)
    nats = nats.unflatten(0, codes.shape[:2])
    n_observed = (~torch.isnan(standard)).sum(1)
    return nats + n_observed * fitted.scale.log() if loss.degree else nats
