"""Denoisers for several noise levels: dense networks, and posterior means over training rows."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

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

# The difference of equal rows in float32 in standard deviations, if the means are some of them.
EQUAL = 64 * torch.finfo(torch.float32).eps

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

    The denoised row is the mean of the stored rows, weighted by the likelihood of the noisy row
    (Alain and Bengio, 2014)::

        denoise(x) = sum_i w_i rows_i,    w_i ~ exp(-|x - rows_i|^2 / (2 level^2))

    A row that is equal to a stored row is denoised without the stored row. So the errors of
    training rows and of new rows are comparable.
    """

    rows: Tensor  # (n_stored, n_features), standardised
    levels: Tensor  # (n_levels, 1, 1), in standard deviations of a feature

    def __init__(self, rows: Tensor, levels: tuple[float, ...]):
        super().__init__()
        self.register_buffer("rows", rows.nan_to_num())
        self.register_buffer("levels", _column(levels))

    def forward(self, x: Tensor) -> Tensor:
        """Denoise standardised rows at each level, (n_levels, n_rows, n_features)."""
        return self.denoise(distances(x, self.rows))

    def denoise(self, near: "Distances") -> Tensor:
        """Denoise rows with these distances from the stored rows."""
        weights = ((near.squares / (-2 * level**2)).softmax(1) for level in self.levels)
        means = torch.stack([weight @ self.rows for weight in weights])
        return means.nan_to_num()  # of a row that is equal to all stored rows


class Distances(NamedTuple):
    """Distances of rows from stored rows."""

    squares: Tensor  # (n_rows, n_stored), inf to an equal row
    rounding: Tensor  # (n_rows, 1), of the squares

    def mean_of_nearest(self, values: Tensor, n_neighbors: int) -> Tensor:
        """Mean `values` of the nearest stored rows and those as near, (n_rows, n_values).

        Rows of zeros and ones have many stored rows at equal distances, of which rounding errors
        would otherwise choose some.
        """
        # Faster than `kthvalue`.
        n_neighbors = min(n_neighbors, self.squares.shape[1])
        smallest = self.squares.topk(n_neighbors, largest=False, sorted=False).values
        is_near = self.squares <= smallest.amax(1, keepdim=True) + self.rounding
        return is_near.to(values) @ values / is_near.sum(1, keepdim=True)


def distances(x: Tensor, rows: Tensor) -> Distances:
    """Distances of standardised rows from others.

    Rows that are equal in float32 are regarded as equal: the stored rows may be in float32.
    """
    sizes = x.square().sum(1, keepdim=True)
    squares = torch.addmm(rows.square().sum(1), x, rows.T, alpha=-2).add_(sizes)
    rounding = 100 * torch.finfo(x.dtype).eps * sizes
    is_equal = squares <= rounding + EQUAL**2 * (sizes + x.shape[1])
    return Distances(squares.masked_fill_(is_equal, torch.inf), rounding)


class PreparedRows(NamedTuple):
    """A block of rows in standard units."""

    x: Tensor  # (n_rows, n_features), 0 where an entry is missing
    is_missing: Tensor
    near: Distances | None  # from the stored rows, if there are any

    def mean_of_observed(self, squares: Tensor) -> Tensor:
        """Squares divided by the number of observed features of a row; 0 for missing ones."""
        n_observed = (~self.is_missing).sum(1, keepdim=True)
        return squares.masked_fill(self.is_missing, 0.0) / n_observed.clamp_min(1)


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
        self.register_buffer("shift", torch.from_numpy(units.mean))
        self.register_buffer("scale", torch.from_numpy(units.scale))
        self.register_buffer("levels", _column(levels))
        self.register_buffer("error_scale", torch.ones(len(levels), 1, len(units.std)).double())
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

    def denoise(self, rows: PreparedRows) -> Tensor:
        """Denoise rows by each denoiser, (n_denoisers, n_rows, n_features)."""
        by_networks = self.denoise_by_networks(rows.x)
        if self.posterior_means is None or rows.near is None:
            return by_networks
        return torch.cat([by_networks, self.posterior_means.denoise(rows.near)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean over the denoisers of the denoised rows, (n_rows, n_features)."""
        return self.denoise(self.standard_rows(x)).mean(0) * self.scale + self.shift

    def standardize(self, x: Tensor) -> Tensor:
        """Rows in standard units."""
        return (x - self.shift) / self.scale

    def standard_rows(self, x: Tensor) -> PreparedRows:
        """Rows in standard units, and their distances from the stored rows."""
        filled = self.standardize(x).nan_to_num()
        stored = self.posterior_means
        near = None if stored is None else distances(filled, stored.rows)
        return PreparedRows(filled, x.isnan(), near)

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
        rows = self.standard_rows(x)
        return _residual(rows, self.denoise(rows))

    def errors(self, x: Tensor) -> Tensor:
        """Contributions of features to the error of each row, (n_rows, n_features).

        The error is the mean error of the denoisers or, with global distances, the largest of this
        mean and the distances.
        """
        rows = self.standard_rows(x)
        contributions = self._mean_errors(rows)
        if self.global_distances is None:
            return contributions
        return self.global_distances.largest(contributions, self.global_distances.squares(rows))

    def add_global_distances(self, distances: "GlobalDistances", blocks: Iterable[Tensor]) -> None:
        """Also use these distances, scaled to the mean errors of the rows in `blocks`."""
        self.global_distances = distances
        measured = [
            (distances.squares(rows).sum(2).sqrt(), self._mean_errors(rows).sum(1))
            for rows in map(self.standard_rows, blocks)
        ]
        squares, errors = zip(*measured, strict=True)
        distances.calibrate(torch.cat(squares, 1), torch.cat(errors))

    def _mean_errors(self, rows: PreparedRows) -> Tensor:
        """Contributions of features to the mean error of the denoisers, (n_rows, n_features)."""
        squares = self._squared_errors(rows, self.denoise(rows))
        error = squares.sum(2, keepdim=True).sqrt()
        contributions = torch.where(error > 0, squares / error, 0.0)
        if rows.near is not None:
            contributions[: len(self.levels)] /= self._local_error(rows.near)[:, :, None]
        return contributions.mean(0)

    def network_errors(self, x: Tensor) -> Tensor:
        """Root mean square of each network's residuals over their scale, (n_networks, n_rows)."""
        rows = PreparedRows(self.standardize(x).nan_to_num(), x.isnan(), None)
        return self._squared_errors(rows, self.denoise_by_networks(rows.x)).sum(2).sqrt()

    def _squared_errors(self, rows: PreparedRows, denoised: Tensor) -> Tensor:
        """Squared relative errors over the number of observed features of a row.

        `denoised` are the rows by the first denoisers, any number of them.
        """
        relative = _residual(rows, denoised) / self.error_scale[: len(denoised)]
        return rows.mean_of_observed(relative.square())

    def _local_error(self, near: Distances) -> Tensor:
        """Mean error of each network at the stored rows nearest to each row, (n_networks, n_rows).

        In a region where training rows have large errors, a large error is less significant
        (Breunig et al., 2000).
        """
        errors = near.mean_of_nearest(self.stored_errors.mT, N_NEIGHBORS).mT
        return (errors + LOCAL_ERROR_OFFSET) / (1 + LOCAL_ERROR_OFFSET)


def _residual(rows: PreparedRows, denoised: Tensor) -> Tensor:
    return (rows.x - denoised).masked_fill(rows.is_missing, 0.0)


def error_scale(squares: Tensor, count: Tensor, n_networks: int) -> Tensor:
    """Root mean square residuals, from the sum of squares and the count of each feature.

    A network has one scale for each feature. Posterior means have one scale for all features,
    because all features have the same weight in the distances between rows.
    """
    mean = squares / count.clamp_min(1)
    mean[n_networks:] = squares[n_networks:].sum(2, keepdim=True) / count.sum().clamp_min(1)
    return mean.sqrt().clamp_min(MIN_ERROR_SCALE)


def _column(levels: tuple[float, ...]) -> Tensor:
    return torch.tensor(levels, dtype=torch.float64)[:, None, None]
