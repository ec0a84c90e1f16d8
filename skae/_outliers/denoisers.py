"""Denoisers for several noise levels: dense networks, and posterior means over training rows."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Generator, Tensor, nn

from .._data.moments import Moments
from .._nn.batched_linear import BatchedLinear
from .._nn.layers import ACTIVATIONS

if TYPE_CHECKING:
    from .global_distances import GlobalDistances

# Added to squared distances, so that the gradient of a distance is finite at zero.
SQUARED_DISTANCE_OFFSET = 1e-3

# The least error scale, in standard deviations of a feature. Without it, a feature that is
# reconstructed nearly exactly would dominate all others, and the error scale of posterior means
# would be near zero for data with near copies of most rows.
MIN_ERROR_SCALE = 0.1

# A network's error is divided by its mean error at this many nearest training rows, after the
# addition of the offset to both.
N_NEIGHBORS, LOCAL_ERROR_OFFSET = 5, 0.1

# Standard deviation of the initial biases of the first layer: the hidden units differ in where
# within the range of standardised inputs they are nonlinear.
FIRST_BIAS_STD = 0.5


def dense_networks(
    n_networks: int, sizes: tuple[int, ...], activation: str, gain: float, rng: Generator
) -> nn.Sequential:
    """Dense networks of one shape, (n_networks, n_rows, sizes[0]) to sizes[-1]."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        bias_std = 0.0 if layers else FIRST_BIAS_STD
        layers += [
            BatchedLinear(n_networks, n_in, n_out, rng, gain, bias_std),
            ACTIVATIONS[activation](),
        ]
    return nn.Sequential(*layers[:-1])


class PosteriorMeanDenoisers(nn.Module):
    """Optimal denoisers, one for each noise level, if the stored rows are the distribution.

    That is their mean, weighted by the likelihood of the noisy row (Alain and Bengio, 2014)::

        denoise(x) = sum_i w_i rows_i,    w_i ~ exp(-|x - rows_i|^2 / (2 level^2))

    A row equal to a stored one is denoised without the latter: errors of training rows and of new
    rows are then comparable.
    """

    rows: Tensor  # (n_stored, n_features), standardised
    levels: Tensor  # (n_levels, 1, 1), in standard deviations of a feature

    def __init__(self, rows: Tensor, levels: tuple[float, ...]):
        super().__init__()
        self.register_buffer("rows", rows.nan_to_num())
        self.register_buffer("levels", _column(levels))

    def forward(self, x: Tensor) -> Tensor:
        """Denoise standardised rows at each level, (n_levels, n_rows, n_features)."""
        squares = squared_distances(x, self.rows)
        weights = ((squares / (-2 * level**2)).softmax(1) for level in self.levels)
        return torch.stack([weight.nan_to_num() @ self.rows for weight in weights])


def squared_distances(x: Tensor, rows: Tensor) -> Tensor:
    """Squared distances from some rows, (n_rows, n_stored); inf to an equal row."""
    sizes = x.square().sum(1, keepdim=True) + rows.square().sum(1)
    squares = sizes - 2 * x @ rows.T
    is_equal = squares <= 100 * torch.finfo(x.dtype).eps * sizes
    return squares.masked_fill(is_equal, torch.inf)


def nearest(x: Tensor, rows: Tensor, n_neighbors: int) -> Tensor:
    """Equal weights of the nearest of some rows and those as near, (n_rows, n_stored).

    Rows of zeros and ones have many stored rows at equal distances, of which rounding errors
    would otherwise choose some.
    """
    squares = squared_distances(x, rows)
    # Faster than `kthvalue`.
    smallest = squares.topk(min(n_neighbors, len(rows)), largest=False, sorted=False).values
    rounding = 100 * torch.finfo(x.dtype).eps * x.square().sum(1, keepdim=True)
    is_near = squares <= smallest.amax(1, keepdim=True) + rounding
    return is_near / is_near.sum(1, keepdim=True).to(x)


class Denoisers(nn.Module):
    """Networks and posterior means that denoise rows, and their residuals."""

    shift: Tensor  # (n_features,)
    scale: Tensor  # (n_features,)
    levels: Tensor  # (n_networks, 1, 1), noise of the networks, in standard deviations
    error_scale: Tensor  # (n_denoisers, 1, n_features), of the training rows
    stored_errors: Tensor  # (n_networks, n_stored), of the networks at the stored rows

    def __init__(self, networks: nn.Sequential, levels: tuple[float, ...], units: Moments):
        super().__init__()
        self.networks = networks
        # Constant features are in units of their absolute value.
        size = np.where(units.mean == 0, 1.0, np.abs(units.mean))
        scale = np.where(units.std > 0, units.std, size)
        self.register_buffer("shift", torch.from_numpy(units.mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("levels", _column(levels))
        self.register_buffer("error_scale", torch.ones(len(levels), 1, len(scale)).double())
        self.register_buffer("stored_errors", torch.ones(len(levels), 0).double())
        self.posterior_means: PosteriorMeanDenoisers | None = None
        self.global_distances: GlobalDistances | None = None

    def store(self, x: Tensor, levels: tuple[float, ...]) -> None:
        """Add posterior means over these rows, in the units of `X`, one for each level."""
        standardized = self.standardize(x)
        self.posterior_means = PosteriorMeanDenoisers(standardized, levels).to(standardized)
        self.error_scale = self.error_scale.new_ones(len(self.levels) + len(levels), 1, x.shape[1])
        self.stored_errors = self.stored_errors.new_ones(len(self.levels), len(x))

    def loss(self, x: Tensor, rng: Generator) -> Tensor:
        """Distance between each row and its denoised noisy copy, summed over networks; (n_rows,).

        The distance is not squared: rows that are hard to reconstruct, such as outliers, then have
        less influence.
        """
        shape, target = (len(self.levels), *x.shape), x.nan_to_num()
        noisy = target + self.levels * torch.randn(shape, generator=rng, device=x.device)
        residual = torch.where(torch.isnan(x), 0.0, self.denoise_by_networks(noisy) - target)
        return (residual.square().sum(2) + SQUARED_DISTANCE_OFFSET).sqrt().sum(0)

    def denoise_by_networks(self, x: Tensor) -> Tensor:
        """Denoise standardised rows, (n_networks, n_rows, n_features)."""
        return self.networks(x / (1 + self.levels.square()).sqrt())  # noisy inputs of variance one

    def denoise(self, x: Tensor) -> Tensor:
        """Denoise standardised rows, (n_denoisers, n_rows, n_features)."""
        by_networks = self.denoise_by_networks(x)
        if self.posterior_means is None:
            return by_networks
        return torch.cat([by_networks, self.posterior_means(x)])

    def standardize(self, x: Tensor) -> Tensor:
        """Rows in standard units."""
        return (x - self.shift) / self.scale

    def offsets(self) -> Tensor:
        """The mean of each column in its standard deviations."""
        return self.shift.abs() / self.scale

    def size_in_residuals(self) -> float:
        """One: columns are standardised, and none is reconstructed exactly."""
        return 1.0

    def residual(self, x: Tensor) -> Tensor:
        """Rows minus their denoised form, standardised, (n_denoisers, n_rows, n_features).

        Entries are 0 where rows have missing values.
        """
        return self._residual(x, self.denoise)

    def _residual(self, x: Tensor, denoise: Callable[[Tensor], Tensor]) -> Tensor:
        standardized = self.standardize(x)
        residual = standardized - denoise(standardized.nan_to_num())
        return torch.where(torch.isnan(x), 0.0, residual)

    def errors(self, x: Tensor) -> Tensor:
        """Contributions of features to the error of each row, (n_rows, n_features).

        That is the mean error of the denoisers, or the largest of it and of the global distances.
        """
        contributions = self._mean_errors(x)
        if self.global_distances is None:
            return contributions
        return self.global_distances.largest(contributions, self._global_squares(x))

    def add_global_distances(self, distances: "GlobalDistances", blocks: Iterable[Tensor]) -> None:
        """Use these distances, too, on the scale of the mean errors of the rows in `blocks`."""
        self.global_distances = distances
        measured = [
            (self._global_squares(x).sum(2).sqrt(), self._mean_errors(x).sum(1)) for x in blocks
        ]
        squares, errors = zip(*measured, strict=True)
        distances.calibrate(torch.cat(squares, 1), torch.cat(errors))

    def _global_squares(self, x: Tensor) -> Tensor:
        """Parts of the features in squared global distances, (n_distances, n_rows, n_features)."""
        assert self.global_distances is not None
        squares = self.global_distances.squares(self.standardize(x).nan_to_num())
        return _mean_of_observed(squares, x)

    def _mean_errors(self, x: Tensor) -> Tensor:
        """Contributions of features to the mean error of the denoisers, (n_rows, n_features)."""
        squares = self._squared_errors(self.residual(x), x)
        error = squares.sum(2, keepdim=True).sqrt()
        contributions = torch.where(error > 0, squares / error, 0.0)
        if self.posterior_means is not None:
            local_error = self._local_error(self.posterior_means, x)
            contributions[: len(self.levels)] /= local_error[:, :, None]
        return contributions.mean(0)

    def network_errors(self, x: Tensor) -> Tensor:
        """Root mean square of each network's residuals over their scale, (n_networks, n_rows)."""
        residual = self._residual(x, self.denoise_by_networks)
        return self._squared_errors(residual, x).sum(2).sqrt()

    def _squared_errors(self, residual: Tensor, x: Tensor) -> Tensor:
        """Squared relative errors over the number of observed features of a row.

        `residual` is that of the first denoisers, any number of them.
        """
        return _mean_of_observed((residual / self.error_scale[: len(residual)]).square(), x)

    def _local_error(self, posterior_means: PosteriorMeanDenoisers, x: Tensor) -> Tensor:
        """Mean error of each network at the stored rows nearest to each row, (n_networks, n_rows).

        In a region where training rows have large errors, a large error is less significant
        (Breunig et al., 2000).
        """
        standardized = self.standardize(x).nan_to_num()
        weights = nearest(standardized, posterior_means.rows, N_NEIGHBORS)
        errors = self.stored_errors @ weights.T
        return (errors + LOCAL_ERROR_OFFSET) / (1 + LOCAL_ERROR_OFFSET)


def error_scale(squares: Tensor, count: Tensor, n_networks: int) -> Tensor:
    """Root mean square residuals, from the sum of squares and the count of each feature.

    Posterior means weight rows by distances in which all features have equal weight; likewise, the
    scale of their errors is one number for all features.
    """
    mean = squares / count.clamp_min(1)
    mean[n_networks:] = squares[n_networks:].sum(2, keepdim=True) / count.sum().clamp_min(1)
    return mean.sqrt().clamp_min(MIN_ERROR_SCALE)


def _mean_of_observed(squares: Tensor, x: Tensor) -> Tensor:
    """Squares that add up to the mean over the features of a row that are observed."""
    missing = torch.isnan(x)
    return squares.masked_fill(missing, 0.0) / (~missing).sum(1, keepdim=True).clamp_min(1)


def _column(levels: tuple[float, ...]) -> Tensor:
    return torch.tensor(levels, dtype=torch.float64)[:, None, None]
