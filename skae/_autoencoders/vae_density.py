"""The density that a variational autoencoder has learned: its logarithm, and rows from it."""

import math

import torch
from torch import Tensor

from .._data.dataset import BLOCK_ENTRIES
from .._losses.importance_weighted import log_ratio, standard_normal
from .._losses.penalties import gaussian_kl
from .._losses.reconstruction import ReconstructionLoss
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
    for sample in noise.to(x):
        code = mean + std * sample
        nats += _negative_log_likelihood(fitted, code, standard, loss) / len(noise)
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
    for sample in noise.to(x):
        code = mean + std * sample
        nats = _negative_log_likelihood(fitted, code, standard, loss)
        total = torch.logaddexp(total, log_ratio(code, sample, log_var) - nats)
    return (total - math.log(len(noise)))[:, None]


def draw_rows(
    fitted: FittedAutoencoder, n_samples: int, *, loss: ReconstructionLoss, seed: int
) -> Tensor:
    """Rows from the density, in the units of `X`, (n_samples, n_features)."""
    rng = torch.Generator(fitted.shift.device).manual_seed(seed)
    log_scale = fitted.network.decoder.log_scale + fitted.scale.log()
    codes = standard_normal((n_samples, fitted.n_components), fitted.shift, rng)
    with torch.inference_mode():
        rows = [
            loss.sample(fitted.decode(code), log_scale, rng)
            for code in codes.split(max(BLOCK_ENTRIES // len(fitted.shift), 1))
        ]
    return torch.cat(rows)


def _negative_log_likelihood(
    fitted: FittedAutoencoder, code: Tensor, standard: Tensor, loss: ReconstructionLoss
) -> Tensor:
    """-log p(x | z) of each row in nats, in the units of `X`."""
    network = fitted.network
    nats = loss.negative_log_likelihood(network.decode(code), standard, network.decoder.log_scale)
    n_observed = (~torch.isnan(standard)).sum(1)
    return nats + n_observed * fitted.scale.log() if loss.degree else nats
