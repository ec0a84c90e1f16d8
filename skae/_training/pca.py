"""Where training starts: moments of the data, principal components, what they leave over.

`X` is an array or a CSR matrix or, on an accelerator, a tensor. What is as large as `X` is computed
where it lies, by operations that arrays and tensors share; results are small, and NumPy's.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .._data.array_api import as_numpy
from .._data.dataset import (
    as_array,
    as_tensor,
    blocks,
    dense_block,
    empty_like,
    inference_dtype,
    max_float_dtype,
    tensor_blocks,
)
from .._data.process_group import SINGLE_PROCESS, SingleProcess

# Up to this many entries (128 MB) the components are computed in float64.
DOUBLE_PRECISION_ENTRIES = 2**24

# Up to this width the covariance, and its eigenvectors, cost little beside a fit.
COVARIANCE_FEATURES = 2000

# Where no process has all rows, the covariance is all there is: at this width it takes a minute.
SHARED_COVARIANCE_FEATURES = 5000

# Wider data that are too large to copy: more vectors than components, until a pass over the rows
# adds less than such a share to what they explain.
OVERSAMPLING, CONVERGED, MAX_PASSES = 5, 1e-7, 50

NEGLIGIBLE_SHARE = 1e-10

# Below this share a residual is computed row by row: in a difference of large numbers it would
# drown in their rounding errors.
SMALL_SHARE = 1e-4

# An encoder of more features reads this many leading principal components instead. Fashion-MNIST
# (784 features) loses nothing by it; data of 20 to 170 features neither gained nor lost.
WHITENED_FEATURES = 256

# Added to each variance, in units of the mean variance of the components read. 0 and 0.1 are less
# good, 1 to 10 alike: noise in the last components is not to be blown up to the size of the first.
WHITENING_DAMPING = 3.0


# Of each column: how often it was observed, its mean, NaN if never, and its variance.
OfColumns = tuple[np.ndarray, np.ndarray, np.ndarray]


class Moments(NamedTuple):
    """Per feature, over the observed entries, in the units of `X`; and one spread for all."""

    mean: np.ndarray  # (n_features,)
    std: np.ndarray  # (n_features,); zero for a feature that is constant up to rounding
    rms_std: float  # root mean square of `std`, or 1 if all features are constant
    n_missing: int = 0  # entries, over all rows


class PrincipalComponents(NamedTuple):
    """Principal components in standard units, `(X - mean) / spread`."""

    directions: np.ndarray  # (n_components, n_features), orthonormal rows
    code_std: np.ndarray  # (n_components,)
    residual_std: np.ndarray  # (n_features,): what the components leave unexplained
    complete: bool  # whether no value was missing
    whitening: np.ndarray | None = None  # (n_features, WHITENED_FEATURES), for wide data

    def first(self, n_components: int) -> "PrincipalComponents":
        """The start for a smaller code; its residual grows by what is left out."""
        left_out = self.directions[n_components:] * self.code_std[n_components:, None]
        return PrincipalComponents(
            self.directions[:n_components],
            self.code_std[:n_components],
            np.sqrt(self.residual_std**2 + (left_out**2).sum(axis=0)),
            self.complete,
            self.whitening,
        )

    @property
    def is_exact(self) -> bool:
        """Whether nothing is left to learn, in float32."""
        left = (self.residual_std**2).sum()
        return bool(left <= NEGLIGIBLE_SHARE * (left + (self.code_std**2).sum()))


def moments(X, group: SingleProcess = SINGLE_PROCESS) -> Moments:
    """Mean and standard deviation of each column; NaN is passed over, CSR stays sparse."""
    own = (_of_tensor if isinstance(X, Tensor) else _of_array)(X)
    n_observed, mean, variance = reduce(_pooled, group.gather(own))
    n_entries = sum(group.gather(X.shape[0])) * X.shape[1]
    never_observed = np.isnan(mean)
    if not np.isfinite(variance[~never_observed]).all():
        raise ValueError("X has values too large to square in float64; divide X by a constant.")
    mean = np.where(never_observed, 0.0, mean)
    deviation = np.sqrt(np.where(never_observed, 0.0, variance))
    # A constant column of floats has a variance of rounding errors: not worth learning.
    eps = (torch if isinstance(X, Tensor) else np).finfo(X.dtype).eps
    deviation[deviation <= 8 * eps * np.abs(mean)] = 0.0
    spread = float(np.sqrt(np.mean(deviation**2)))
    n_missing = n_entries - int(np.broadcast_to(n_observed, len(mean)).sum())
    return Moments(mean, deviation, spread if spread > 0 else 1.0, n_missing)


def _pooled(one: OfColumns, other: OfColumns) -> OfColumns:
    """Those of both sets of rows together (Chan, Golub and LeVeque, 1983)."""
    n_observed = one[0] + other[0]
    share = other[0] / np.maximum(n_observed, 1)
    mean, variance = (np.where(one[0], values, 0.0) for values in one[1:])
    its_mean, its_variance = (np.where(other[0], values, 0.0) for values in other[1:])
    with np.errstate(over="ignore", invalid="ignore"):
        apart = its_mean - mean
        pooled = (1 - share) * variance + share * its_variance + share * (1 - share) * apart**2
        return n_observed, np.where(n_observed, mean + share * apart, np.nan), pooled


def _of_array(X) -> OfColumns:
    from sklearn.preprocessing import StandardScaler  # here, as it would double the import's time

    scaler = StandardScaler(with_mean=not sparse.issparse(X))
    # In blocks: all at once would take several times the memory of X.
    width = max(X.nnz // X.shape[0], 1) if sparse.issparse(X) else None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for rows in blocks(X, width, times=4):
            scaler.partial_fit(X[rows])
    return scaler.n_samples_seen_, scaler.mean_, scaler.var_


def _of_tensor(X: Tensor) -> OfColumns:
    """The same where `X` lies, in two passes over its rows."""

    def total(of_block) -> Tensor:
        return sum(map(of_block, tensor_blocks(X, max_float_dtype(X.device), X.device, times=4)))

    n_observed = total(lambda x: (~x.isnan()).sum(0))
    mean = total(lambda x: x.nansum(0)) / n_observed
    variance = total(lambda x: (x - mean).square().nansum(0)) / n_observed
    return n_observed.cpu().numpy(), as_array(mean), as_array(variance)


def principal_components(
    X, moments: Moments, n_components: int | float, seed: int, group: SingleProcess = SINGLE_PROCESS
) -> PrincipalComponents:
    """PCA of all rows, NaN standing for the mean.

    A share instead of a number of components gives as many as reach it. Data with more features
    than rows, or very many, are left to scikit-learn's solvers, which want a copy of all rows, and
    to see them in one process; if a copy is too large, to passes over the rows.
    """
    n_rows, n_features = sum(group.gather(X.shape[0])), X.shape[1]
    if n_features <= min(n_rows, COVARIANCE_FEATURES):
        return _from_covariance(X, moments, n_components, group)
    if group.size > 1:
        if n_features > SHARED_COVARIANCE_FEATURES:
            raise ValueError(
                f"X must have at most {SHARED_COVARIANCE_FEATURES} features when several processes "
                f"learn together, got {n_features}; reduce them first."
            )
        return _from_covariance(X, moments, n_components, group)._replace(whitening=None)
    few = 1 <= n_components <= min(X.shape) // 2
    if few and np.prod(X.shape, dtype=float) > DOUBLE_PRECISION_ENTRIES:
        directions = _lobpcg(X, moments, int(n_components), seed)
        return PrincipalComponents(directions, *_row_by_row(X, moments, directions, group))
    from sklearn.decomposition import PCA  # here, as it would triple the import's time

    pca = PCA(
        n_components,
        # Exact where that is affordable: a start worse than PCA would break the promise.
        svd_solver="randomized" if few and min(X.shape) > 500 else "full",
        power_iteration_normalizer="QR" if isinstance(X, Tensor) else "auto",  # torch has no LU
        random_state=seed,
    )
    with np.errstate(all="ignore"):  # constant data has no explained variance ratio
        pca.fit(_standard(X, moments))
    directions = np.asarray(as_numpy(pca.components_), dtype=np.float64)
    return PrincipalComponents(directions, *_row_by_row(X, moments, directions, group))


def _lobpcg(X, moments: Moments, n_components: int, seed: int) -> np.ndarray:
    """Leading directions by the method of Knyazev (SIAM J. Sci. Comput. 23, 2001), LOBPCG.

    Each pass over the rows multiplies the residuals of a few vectors by the covariance; the next
    vectors are the best in the span of these, the residuals and the last step.
    """
    xp, here = _library(X)
    n_vectors = min(n_components + OVERSAMPLING, X.shape[1] // 3)
    vectors = here(np.random.RandomState(seed).normal(size=(X.shape[1], n_vectors)))
    basis = product = vectors[:, :0]
    explained = 0.0
    for _ in range(MAX_PASSES):
        for _ in range(2):  # once is not enough for what is nearly in the span
            vectors = xp.linalg.qr(vectors - basis @ (basis.T @ vectors))[0]
        basis = xp.concatenate([basis, vectors], 1)
        product = xp.concatenate([product, _times_covariance(X, moments, vectors)], 1)
        variances, turn = xp.linalg.eigh(basis.T @ product)  # in ascending order
        before, explained = explained, float(variances[-n_components:].sum())
        if explained - before <= CONVERGED * explained:
            break
        leading = turn[:, -n_vectors:]
        vectors = product @ leading - basis @ leading * variances[-n_vectors:]
        step = leading - here(np.eye(*turn.shape))[:, :n_vectors] @ leading[:n_vectors]
        kept = xp.linalg.qr(xp.concatenate([leading, step], 1)[:, : len(turn)])[0]
        basis, product = basis @ kept, product @ kept
    return as_numpy((basis @ turn[:, -n_components:]).T)[::-1].copy()


def _times_covariance(X, moments: Moments, vectors):
    """The product of the covariance, in standard units times n_samples, and some vectors."""
    xp, here = _library(X)
    mean, total = here(moments.mean / moments.rms_std), 0.0 * vectors
    if not sparse.issparse(X):
        for rows in blocks(X, times=4):
            block = _standard_rows(X, rows, moments)
            block = xp.nan_to_num(block) if xp.isnan(block).any() else block
            total += block.T @ (block @ vectors)
        return total
    for rows in blocks(X, max(X.nnz // X.shape[0], 1), times=4):  # centred after the products
        block = _mean_filled(X[rows], moments.mean) / moments.rms_std
        codes = block @ vectors - mean @ vectors
        total += block.T @ codes - np.outer(mean, codes.sum(axis=0))
    return total


def _from_covariance(
    X, moments: Moments, n_components: int | float, group: SingleProcess
) -> PrincipalComponents:
    """Principal components in one pass over the rows, a block at a time."""
    covariance = _covariance(X, moments, group)
    variances, vectors = np.linalg.eigh(covariance)
    variances, vectors = variances[::-1].clip(min=0.0), vectors[:, ::-1]
    if n_components < 1:
        reached = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
        n_components = int(np.searchsorted(reached, n_components, side="right")) + 1
        n_components = min(n_components, len(variances))
    directions, kept = vectors.T[:n_components].copy(), variances[:n_components]
    largest = np.abs(directions).argmax(axis=1)  # positive, as in scikit-learn's PCA
    directions *= np.sign(directions[np.arange(n_components), largest])[:, None]
    whitening = None
    if X.shape[1] > WHITENED_FEATURES:
        leading = variances[:WHITENED_FEATURES]
        damped = leading + WHITENING_DAMPING * leading.mean()
        whitening = vectors[:, :WHITENED_FEATURES] / np.sqrt(
            damped, out=np.ones_like(damped), where=damped > 0
        )
    residual = np.diag(covariance) - kept @ directions**2
    if moments.n_missing or residual.sum() <= SMALL_SHARE * variances.sum():
        return PrincipalComponents(
            directions, *_row_by_row(X, moments, directions, group), whitening=whitening
        )
    return PrincipalComponents(
        directions, np.sqrt(kept), np.sqrt(residual.clip(min=0.0)), True, whitening
    )


def _covariance(X, moments: Moments, group: SingleProcess) -> np.ndarray:
    """Mean product of each two features, in standard units."""
    xp, here = _library(X)
    total = here(np.zeros((X.shape[1], X.shape[1])))
    for rows in blocks(X, times=4):
        block = xp.asarray(_standard_rows(X, rows, moments), dtype=_dtype(X))
        if moments.n_missing:
            block = xp.nan_to_num(block)
        total += block.T @ block
    return group.all_reduce_array(as_numpy(total)) / sum(group.gather(X.shape[0]))


def _row_by_row(
    X, moments: Moments, directions: np.ndarray, group: SingleProcess
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Deviations of the codes, of what they leave over of each feature; if all was observed."""
    xp, here = _library(X)
    axes = here(directions)
    squares, n_observed = here(np.zeros((2, X.shape[1])))
    code_squares = here(np.zeros(len(directions)))
    for rows in blocks(X, times=4):
        block = _standard_rows(X, rows, moments)
        observed = ~xp.isnan(block)
        block = xp.nan_to_num(block)
        codes = block @ axes.T
        squares += ((block - codes @ axes) ** 2 * observed).sum(axis=0)
        code_squares += (codes**2).sum(axis=0)
        n_observed += observed.sum(axis=0)
    squares, n_observed, code_squares = (
        group.all_reduce_array(as_numpy(sums)) for sums in (squares, n_observed, code_squares)
    )
    return (
        np.sqrt(code_squares / sum(group.gather(X.shape[0]))),
        np.sqrt(squares / np.maximum(n_observed, 1)),
        not moments.n_missing,
    )


def _dtype(X) -> Any:
    dtype = np.dtype(np.float64 if np.prod(X.shape) <= DOUBLE_PRECISION_ENTRIES else np.float32)
    return inference_dtype(dtype, X.device) if isinstance(X, Tensor) else dtype


def _library(X) -> tuple[Any, Callable[[np.ndarray], Any]]:
    """What computes with the rows of `X`, NumPy or torch, and what brings small arrays there."""
    if isinstance(X, Tensor):
        return torch, lambda values: as_tensor(values, max_float_dtype(X.device), X.device)
    return np, lambda values: values


def _standard_rows(X, rows: slice, moments: Moments) -> Any:
    """Some rows in standard units, NaN where they were, as an array or, of a tensor, a tensor."""
    _, here = _library(X)
    return (dense_block(X, rows) - here(moments.mean)) / moments.rms_std


def _standard(X, moments: Moments) -> Any:
    """All rows in standard units, without gaps, as an array or, of a tensor, a tensor."""
    xp, _ = _library(X)
    standard = empty_like(X, X.shape, _dtype(X))
    for rows in blocks(X, times=4):
        standard[rows] = xp.nan_to_num(_standard_rows(X, rows, moments))
    return standard


def _mean_filled(X: sparse.csr_array, mean: np.ndarray) -> sparse.csr_array:
    missing = np.isnan(X.data)
    if not missing.any():
        return X
    filled = X.copy()
    filled.data[missing] = mean[X.indices[missing]]
    return filled
