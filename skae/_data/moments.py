"""Mean and standard deviation of each column of the rows."""

from collections.abc import Callable
from functools import reduce
from itertools import starmap
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .dataset import (
    RowIndex,
    Rows,
    dense_block,
    missing_of_rows,
    nothing_observed,
    stored_width,
    weighted_blocks,
)
from .device import as_array, as_tensor, max_float_dtype
from .forks import IMPORT_LOCK
from .process_group import SINGLE_PROCESS, SingleProcess

# The variance of smaller numbers underflows, and they seem to be constant.
SMALLEST_STD = float(np.sqrt(np.finfo(np.float64).tiny))
EPS = float(np.finfo(np.float64).eps)
# Brings them to about one, exactly.
ENLARGEMENT = 2.0**512


class Moments(NamedTuple):
    """Mean and standard deviation of each column over its observed entries, in units of `X`."""

    mean: np.ndarray  # (n_features,); zero for a feature that was never observed
    std: np.ndarray  # (n_features,); zero for a feature that is constant up to rounding
    rms_std: float  # root mean square of `std`, or 1 if all features are constant
    n_missing: float = 0  # missing entries, over all rows; their weights, if there are any

    @property
    def scale(self) -> np.ndarray:
        """Standard deviations; of constant features, the absolute value, (n_features,).

        If that is zero, too, it is `rms_std`: then rows in other units have the same standard form.
        """
        size = np.where(self.mean == 0, self.rms_std, np.abs(self.mean))
        return np.where(self.std > 0, self.std, size)


class _ColumnMoments(NamedTuple):
    """Moments of some of the rows, from which those of all rows are computed."""

    n_observed: np.ndarray  # (n_features,), or one number for all
    mean: np.ndarray  # (n_features,); NaN for a feature that was never observed
    variance: np.ndarray  # (n_features,)


def moments(
    X: Rows, group: SingleProcess = SINGLE_PROCESS, weights: np.ndarray | None = None
) -> Moments:
    """Mean and standard deviation of each column; NaN is ignored, CSR is not made dense."""
    n_observed, mean, variance = _of_all_rows(X, group, weights)
    never_observed = np.isnan(mean)
    if never_observed.all():
        raise nothing_observed()
    if not np.isfinite(variance[~never_observed]).all():
        raise ValueError("X has values too large to square in float64; divide X by a constant.")
    mean = np.where(never_observed, 0.0, mean)
    std = np.sqrt(np.where(never_observed, 0.0, variance))
    # The variance of a constant column of floats consists of rounding errors.
    dtype = max_float_dtype(X.device) if isinstance(X, Tensor) else torch.float64  # of the sums
    std[std <= 8 * torch.finfo(dtype).eps * np.abs(mean)] = 0.0
    rms_std = float(np.sqrt(np.mean(std**2)))
    if rms_std < SMALLEST_STD and _varies_if_enlarged(X, mean, group, weights):
        raise ValueError("X has values too small to square in float64; multiply X by a constant.")
    n_missing: float
    if weights is None:
        n_entries = sum(group.gather(X.shape[0])) * X.shape[1]
        n_missing = n_entries - int(np.broadcast_to(n_observed, len(mean)).sum())
    else:
        n_missing = sum(group.gather(_weight_of_missing(X, weights)))
    return Moments(mean, std, rms_std if rms_std > 0 else 1.0, n_missing)


def _of_all_rows(X: Rows, group: SingleProcess, weights: np.ndarray | None) -> _ColumnMoments:
    own = _of_tensor(X, weights) if isinstance(X, Tensor) else _of_array(X, weights)
    return reduce(_merge, group.gather(own))


def _varies_if_enlarged(
    X: Rows, mean: np.ndarray, group: SingleProcess, weights: np.ndarray | None
) -> bool:
    """Whether columns of tiny numbers vary, although their computed variances are zero."""
    # Squares of float32 do not underflow in float64, and larger columns are constant indeed.
    if X.dtype in (np.float32, torch.float32) or (np.abs(mean) > SMALLEST_STD / EPS).any():
        return False
    enlarged = _of_all_rows(X * ENLARGEMENT, group, weights)
    return bool((enlarged.variance > (8 * EPS * enlarged.mean) ** 2).any())


def _merge(first: _ColumnMoments, second: _ColumnMoments) -> _ColumnMoments:
    """Moments of two sets of rows together (Chan, Golub and LeVeque, 1983)."""
    n_observed = first.n_observed + second.n_observed
    weight = second.n_observed / np.where(n_observed > 0, n_observed, 1)
    (mean, variance), (second_mean, second_variance) = (
        [np.where(part.n_observed, values, 0.0) for values in (part.mean, part.variance)]
        for part in (first, second)
    )
    with np.errstate(over="ignore", invalid="ignore"):
        change = second_mean - mean
        merged = (
            (1 - weight) * variance + weight * second_variance + weight * (1 - weight) * change**2
        )
        merged_mean = np.where(n_observed, mean + weight * change, np.nan)
    return _ColumnMoments(n_observed, merged_mean, merged)


def _of_array(X: np.ndarray | sparse.csr_array, weights: np.ndarray | None) -> _ColumnMoments:
    """Moments of an array or CSR matrix, in blocks: a single pass needs several times its size."""
    with IMPORT_LOCK:  # here, as it would double the import's time
        from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=not sparse.issparse(X))
    width = stored_width(X) if sparse.issparse(X) else None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for rows, weight in weighted_blocks(X, weights, width, times=4):
            # The statistics of CSR matrices have the precision of the matrix.
            block = X[rows].astype(np.float64) if sparse.issparse(X) else X[rows]
            scaler.partial_fit(block, sample_weight=weight)
    # Of a constant column, rounding errors can be negative.
    return _ColumnMoments(scaler.n_samples_seen_, scaler.mean_, scaler.var_.clip(min=0.0))


def _of_tensor(X: Tensor, weights: np.ndarray | None) -> _ColumnMoments:
    """Moments of a tensor, on its device, in two passes over its rows."""
    dtype = max_float_dtype(X.device)

    def total(statistic: Callable[[Tensor], Tensor]) -> Tensor:
        def of_block(rows: RowIndex, weight: np.ndarray | None) -> Tensor:
            values = statistic(as_tensor(dense_block(X, rows), dtype, X.device))
            if weight is not None:
                values = values * as_tensor(weight, dtype, X.device)[:, None]
            return values.nansum(0)

        return reduce(torch.add, starmap(of_block, weighted_blocks(X, weights, times=4)))

    n_observed = total(lambda x: (~x.isnan()).to(dtype))
    mean = total(lambda x: x) / n_observed
    variance = total(lambda x: (x - mean).square()) / n_observed
    return _ColumnMoments(n_observed.cpu().numpy(), as_array(mean), as_array(variance))


def _weight_of_missing(X: Rows, weights: np.ndarray) -> float:
    """The sum over the missing entries of the weights of their rows."""
    blocks = weighted_blocks(X, weights, stored_width(X) if sparse.issparse(X) else None, times=4)
    return sum((missing_of_rows(X[rows]) * weight).sum().item() for rows, weight in blocks)
