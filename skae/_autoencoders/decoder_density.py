"""The density of rows that are decoded normal codes plus normal noise.

With a linear decoder this is probabilistic PCA (Tipping and Bishop, 1999).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .._data.device import max_float_dtype
from .._nn.decoder_tangents import decoder_tangents
from .._nn.fitted import FittedAutoencoder, RotatedAutoencoder

# From the code of the encoder to the most probable one. A linear decoder needs one step.
N_STEPS = 3
# Up to so many entries of derivatives of the decoder, and of drawn codes, are computed at once.
MAX_ENTRIES = 2**22


class NormalModel(NamedTuple):
    """``x = decode(std * z) + noise``, where z are independent standard normal numbers."""

    std: Tensor  # (n_components,)
    noise_variance: float


def log_density(
    fitted: FittedAutoencoder, x: Tensor, *, model: NormalModel, noise: Tensor
) -> Tensor:
    """The logarithm of the density of rows, by importance sampling; (n_samples, 1).

    The codes are drawn from the normal distribution that approximates the posterior of each row
    (Laplace). `noise` has standard normal numbers, (n_codes, n_components).
    """
    n_codes, n_components = noise.shape
    size = max(MAX_ENTRIES // (max(x.shape[1], n_codes) * n_components), 1)
    posteriors = (_Posterior(fitted, rows, model) for rows in x.split(size))
    return torch.cat([posterior.log_density(noise.to(x)) for posterior in posteriors])[:, None]


class _Posterior:
    """The posterior of the standardised codes z of some rows."""

    def __init__(self, fitted: FittedAutoencoder, x: Tensor, model: NormalModel):
        self._fitted, self._x, self._observed = fitted, x, ~x.isnan()
        self._std, self._noise_variance = model.std.to(x), model.noise_variance

    def log_density(self, noise: Tensor) -> Tensor:
        """The logarithm of the mean weight of the codes that `noise` makes, (n_samples,)."""
        z = self._mode()
        _, information = self._normal_equations(z)
        factor = torch.linalg.cholesky(information)
        # The draws of each row, one in each column.
        draws = noise.mT.to(factor).expand(len(z), *noise.mT.shape)
        offsets = torch.linalg.solve_triangular(factor.mT, draws, upper=True).to(z)
        log_volume = factor.diagonal(dim1=1, dim2=2).log().sum(1).to(z)
        total = torch.full_like(log_volume, -torch.inf)
        for offset, sample in zip(offsets.unbind(2), noise, strict=True):
            log_weight = sample.square().sum() / 2 - self._energy(z + offset)
            total = torch.logaddexp(total, log_weight)
        log_noise = math.log(2 * math.pi * self._noise_variance) / 2
        n_observed = self._observed.sum(1).to(z)
        return total - math.log(len(noise)) - log_volume - n_observed * log_noise

    def _residual(self, z: Tensor) -> Tensor:
        return torch.where(self._observed, self._x - self._fitted.decode(z * self._std), 0.0)

    def _energy(self, z: Tensor) -> Tensor:
        """Minus the logarithm of the density of a row and its code, up to constants."""
        squares = self._residual(z).square().sum(1) / self._noise_variance
        return (squares + z.square().sum(1)) / 2

    def _mode(self) -> Tensor:
        """The most probable codes, by Gauss-Newton steps that increase the density."""
        code = self._fitted.encode(self._x)
        z = torch.where(self._std > 0, code / self._std, 0.0)
        energy = self._energy(z)
        for _ in range(N_STEPS):
            right, information = self._normal_equations(z)
            trial = z + torch.linalg.solve(information, right).to(z)
            trial_energy = self._energy(trial)
            lower = trial_energy < energy  # not where it is NaN
            z = torch.where(lower[:, None], trial, z)
            energy = torch.where(lower, trial_energy, energy)
        return z

    def _normal_equations(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Minus the gradient of the energy, and the Gauss-Newton approximation of its Hessian."""
        jacobian = _jacobian(self._fitted, z * self._std) * self._std[:, None]
        # The derivative is not finite at codes near the largest number of the dtype.
        is_used = self._observed[:, None] & jacobian.isfinite()
        # In float32, the information could lose its positive eigenvalues to rounding.
        jacobian = torch.where(is_used, jacobian, 0.0).to(max_float_dtype(z.device))
        right = (jacobian @ self._residual(z)[:, :, None].to(jacobian)).squeeze(2)
        identity = torch.eye(z.shape[1]).to(jacobian)
        information = jacobian @ jacobian.mT / self._noise_variance + identity
        return right / self._noise_variance - z, information


def _jacobian(fitted: FittedAutoencoder, code: Tensor) -> Tensor:
    """The derivative of `decode` at codes, (n_samples, n_components, n_features)."""
    assert isinstance(fitted, RotatedAutoencoder)
    decoder = decoder_tangents(fitted.network)
    jacobian = decoder.jacobian(decoder.values(fitted.to_network_code(code)))
    return fitted.scale * (fitted.inverse_rotation @ jacobian)
