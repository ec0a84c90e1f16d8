"""Distances from most of the training rows.

A denoiser has small errors for all rows that are similar to some training rows. If a group of
outliers is among the training rows, further rows of the group have small errors. But these rows are
far from most of the training rows.
"""

from math import log
from typing import Self

import torch
from torch import Tensor, nn

from .denoisers import Distances, PreparedRows, distances

# The share of the rows that `CentralGaussian` is fitted to.
CENTRAL_SHARE = 0.5
# The share of at most so many training rows that are the neighbours of a row. A row of a group of
# outliers that has fewer rows is far from its neighbours.
NEIGHBOR_SHARE, MAX_ROWS, MIN_NEIGHBORS = 0.1, 1000, 5
# Distances are transformed so that these quantiles of training rows are those of the errors, after
# this share of the median was added.
QUANTILES, OFFSET_SHARE = (0.5, 0.9), 0.1
# The transformation magnifies relative differences at most by this factor.
MAX_POWER = 10.0
# The least range of the logarithms of distances.
MIN_RANGE = 1e-6
# Added to variances of standardised features: all features may be constant in half of the rows.
MIN_VARIANCE = 1e-6


def some_of(rows: Tensor) -> Tensor:
    """At most `MAX_ROWS` rows, at equal intervals."""
    return rows[every_nth(len(rows), MAX_ROWS)]


def every_nth(n_rows: int, n_most: int) -> slice:
    """At most `n_most` of some rows, at equal intervals."""
    return slice(None, None, max(-(-n_rows // n_most), 1))


class CentralGaussian(nn.Module):
    """The normal distribution of the half of the rows that is closest to its mean.

    The half is found by a concentration step (Rousseeuw and Van Driessen, 1999), and the covariance
    matrix is shrunk (Chen et al., 2010): it has an inverse also if there are few rows.
    """

    mean: Tensor  # (n_features,)
    axes: Tensor  # (n_axes, n_features), orthonormal
    std: Tensor  # (n_axes,), along the axes
    other_std: Tensor  # (), along all other directions

    def __init__(self, rows: Tensor):
        super().__init__()
        n_samples, n_features = rows.shape
        mean = rows.mean(0)
        singular, axes = torch.linalg.svd(rows - mean, full_matrices=False)[1:]
        variances = singular.square() / n_samples
        shrinkage = _shrinkage(variances, n_samples, n_features)
        least = shrinkage * variances.sum() / n_features + MIN_VARIANCE
        self.register_buffer("mean", mean)
        self.register_buffer("axes", axes.contiguous())  # as in a pickle
        self.register_buffer("std", ((1 - shrinkage) * variances + least).sqrt())
        self.register_buffer("other_std", least.sqrt())

    @classmethod
    def of_central(cls, rows: Tensor, distances: Tensor) -> Self:
        """The distribution of half of the rows, at first the half with the least `distances`."""
        n_central = max(round(CENTRAL_SHARE * len(rows)), 1)
        for _ in range(2):
            central = distances.argsort(stable=True)[:n_central]
            gaussian = cls(rows[central])
            distances = gaussian.squares(rows).sum(1)
        return gaussian

    def squares(self, x: Tensor) -> Tensor:
        """The squares of whitened rows, (n_rows, n_features).

        They add up to the squared Mahalanobis distance of a row. The whitening matrix is symmetric,
        so each of its columns belongs to a feature.
        """
        centred = x - self.mean
        along = centred @ self.axes.mT
        excess = along / self.std - along / self.other_std
        return (centred / self.other_std + excess @ self.axes).square()


class GlobalDistances(nn.Module):
    """Distances from the central half and from the nearest tenth of the training rows.

    A power law converts both to the scale of the errors of the denoisers: the median and the ninth
    decile over the training rows are then equal.
    """

    rows: Tensor  # (n_stored, n_features), standardised
    offset: Tensor  # (2, 1), added to the distances
    power: Tensor  # (2, 1)
    log_factor: Tensor  # (2, 1)
    error_offset: Tensor  # (1, 1), added to the errors

    def __init__(self, rows: Tensor):
        super().__init__()
        stored = some_of(rows).clone()
        self.register_buffer("rows", stored)
        self.n_neighbors = max(round(NEIGHBOR_SHARE * len(stored)), MIN_NEIGHBORS)
        squares = [self._neighbor_squares(x, distances(x, stored)).sum(1) for x in rows.split(1024)]
        self.gaussian = CentralGaussian.of_central(rows, torch.cat(squares))
        for name in ("offset", "power", "log_factor"):
            self.register_buffer(name, rows.new_ones(2, 1))
        self.register_buffer("error_offset", rows.new_zeros(1, 1))

    def squares(self, rows: PreparedRows) -> Tensor:
        """Contributions of the features to both squared distances, (2, n_rows, n_features)."""
        if rows.near is None:
            near = distances(rows.x, self.rows)
        else:
            near = rows.near._replace(squares=some_of(rows.near.squares.mT).mT)
        squares = torch.stack([self.gaussian.squares(rows.x), self._neighbor_squares(rows.x, near)])
        return rows.mean_of_observed(squares)

    def _neighbor_squares(self, x: Tensor, near: Distances) -> Tensor:
        """Mean squared differences from the nearest stored rows, (n_rows, n_features)."""
        moments = torch.cat([self.rows, self.rows.square()], 1)
        mean, mean_square = near.mean_of_nearest(moments, self.n_neighbors).chunk(2, dim=1)
        return (x - mean).square() + (mean_square - mean.square()).clamp_min(0)

    def calibrate(self, distances: Tensor, errors: Tensor) -> None:
        """Determine the power law, from distances, (2, n_rows), and errors of the same rows."""
        self.offset.copy_(_offset(distances))
        self.error_offset.copy_(_offset(errors[None]))
        low, high = _log_quantiles(distances + self.offset)
        low_error, high_error = _log_quantiles(errors + self.error_offset)
        # Differences of distances that are the same up to rounding mean nothing.
        power = (high_error - low_error) / (high - low).clamp_min(MIN_RANGE)
        self.power.copy_(torch.where(high - low < MIN_RANGE, 0.0, power.clamp_max(MAX_POWER)))
        self.log_factor.copy_(low_error - self.power * low)

    def largest(self, contributions: Tensor, squares: Tensor) -> Tensor:
        """Contributions of the features to the largest of an error and two distances.

        `contributions` add up to the error, (n_rows, n_features), and `squares` to the squared
        distances.
        """
        sums = squares.sum(2)
        logs = self.log_factor + self.power * (sums.sqrt() + self.offset).log()
        largest = log(torch.finfo(logs.dtype).max) - 1
        distances = (logs.clamp_max(largest).exp() - self.error_offset).clamp_min(0)
        values, which = torch.cat([contributions.sum(1)[None], distances]).max(0)
        parts = squares * (values / sums)[:, :, None]
        parts = torch.where(sums[:, :, None] > 0, parts, 0.0)
        choices = torch.cat([contributions[None], parts])
        return choices.gather(0, which[None, :, None].expand(1, *contributions.shape))[0]


def _offset(values: Tensor) -> Tensor:
    median = values.quantile(0.5, dim=1, keepdim=True)  # not zero for one of two rows
    return (OFFSET_SHARE * median).clamp_min(torch.finfo(values.dtype).tiny)


def _log_quantiles(values: Tensor) -> Tensor:
    """Quantiles of the logarithms in each row of `values`, (n_quantiles, n_rows, 1)."""
    return values.log().quantile(torch.tensor(QUANTILES).to(values), dim=1, keepdim=True)


def _shrinkage(variances: Tensor, n_samples: int, n_features: int) -> Tensor:
    """The share of the mean variance in a covariance matrix with these eigenvalues."""
    squared_mean = (variances.sum() / n_features).square()
    mean_square = variances.square().sum() / n_features**2
    excess = (n_samples + 1) * (mean_square - squared_mean / n_features)
    return ((mean_square + squared_mean) / excess).nan_to_num(1.0).clamp(0.0, 1.0)
