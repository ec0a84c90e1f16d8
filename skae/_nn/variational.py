"""The network of the variational autoencoder, and where it starts: at probabilistic PCA."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder, PCAPath, Scales


class PosteriorHead(nn.Module):
    """An encoder with two outputs a component: a step of the mean, and the log variance."""

    def __init__(self, module: nn.Module, log_var: Tensor):
        super().__init__()
        self.module = module
        self.log_var = nn.Parameter(log_var)  # (n_components,)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give the step and the log variance, each (n_samples, n_components)."""
        step, change = self.module(x).chunk(2, dim=1)
        return step, self.log_var + change


class NoisyDecoder(nn.Module):
    """A decoder and the learned scale of the noise on what it says: `floor` at least."""

    def __init__(self, module: nn.Module, scale: float, floor: float):
        super().__init__()
        self.module = module
        self.log_floor = math.log(floor)
        log_excess = math.log(max(scale - floor, 1e-3 * floor))
        self.log_excess = nn.Parameter(torch.tensor(log_excess, dtype=torch.float64))

    @property
    def log_scale(self) -> Tensor:
        """The logarithm of the scale, one number."""
        return torch.logaddexp(self.log_excess, torch.full_like(self.log_excess, self.log_floor))

    def forward(self, code: Tensor) -> Tensor:
        """Decode without noise."""
        return self.module(code)


class VariationalAutoencoder(Autoencoder):
    """Codes with prior N(0, I): z ~ N(a V (x - mean) + g(x), e^h(x)), raw = W z + f(z).

    The gains on the linear path make it probabilistic PCA where g = f = 0 and h is constant. Its
    decoder does not fade out: it is trained wherever the prior has mass.
    """

    encoder: PosteriorHead
    decoder: NoisyDecoder
    gain_in: Tensor  # (n_components,)
    gain_out: Tensor  # (n_components,)

    def __init__(
        self,
        encoder: PosteriorHead,
        decoder: NoisyDecoder,
        linear: PCAPath,
        scales: Scales,
        link: Callable[[Tensor], Tensor],
        gains: tuple[Tensor, Tensor],
    ):
        super().__init__(encoder, decoder, linear, scales, link)
        self.register_buffer("gain_in", gains[0])
        self.register_buffer("gain_out", gains[1])

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code, each (n_samples, n_components)."""
        centred = torch.nan_to_num(x - self.linear.mean)
        step, log_var = self.encoder(centred * self.scales.inputs)
        mean = self.gain_in * self.linear.encode(centred) + self.scales.delta_scale * step
        return mean, log_var

    def encode(self, x: Tensor) -> Tensor:
        """Rows in the network's units to posterior means, (n_samples, n_components)."""
        return self.posterior(x)[0]

    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw rows, (n_samples, n_features)."""
        linear = self.link(self.linear.decode(code * self.gain_out))
        return linear + self.scales.outputs * self.decoder(code)


class Start(NamedTuple):
    """Where the linear path and the noise begin, in the network's units."""

    noise_scale: float
    gain_in: Tensor  # (n_components,): from principal components to posterior means
    gain_out: Tensor  # (n_components,): from codes to principal components
    log_var: Tensor  # (n_components,): of the posterior


def random_start(scales: Scales) -> Start:
    """No linear path, and the noise of the data themselves."""
    none = torch.zeros_like(scales.codes)
    return Start(1.0, none, none.clone(), none.clone())


def probabilistic_pca(
    variances: Tensor, total_variance: float, n_features: int, least_scale: float
) -> Start:
    """The optimum for linear networks (Tipping and Bishop, 1999).

    Given the variances of the leading principal components, and that of all features together.
    """
    n_left = n_features - len(variances)
    left_over = max(total_variance - variances.sum().item(), 0.0) / max(n_left, 1)
    noise = max(left_over, least_scale**2)
    signal = (variances - noise).clamp_min(0.0)
    return Start(
        math.sqrt(noise),
        signal.sqrt() / (signal + noise),
        signal.sqrt(),
        torch.log(noise / (signal + noise)),
    )
