"""Principal components of the rows, at which training starts, and the residuals of PCA.

`X` is an array or a CSR matrix or, on an accelerator, a tensor. Arrays as large as `X` are computed
on its device, by operations that NumPy and torch share; results are small NumPy arrays.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .._data.array_api import as_numpy, empty_like
from .._data.dataset import RowIndex, Rows, dense_block, row_blocks, stored_width, weighted_blocks
from .._data.device import as_tensor, inference_dtype, max_float_dtype
from .._data.forks import IMPORT_LOCK
from .._data.moments import Moments
from .._data.process_group import SINGLE_PROCESS, SingleProcess
from .lobpcg import lobpcg
from .row_products import (
    RowCoordinates,
    SparseRowProducts,
    fill_with_mean,
    principal_coordinates,
    row_products,
    triangular_coordinates,
)

# Up to this many entries (128 MB) the components are computed in float64.
DOUBLE_PRECISION_ENTRIES = 2**24

# Up to this many features the covariance and its eigenvectors cost little beside a fit. Of fewer
# rows than features, up to this many, the matrix of the products of the rows is used instead.
COVARIANCE_FEATURES = 2000

# Up to so many rows, and twice as many features, the matrix of the products of the rows is used
# without all of its eigenvectors: those of 5000 rows take 40 seconds.
PRODUCT_ROWS = 6000

# Where no process has all rows, only the covariance can be used: at this width it takes a minute.
SHARED_COVARIANCE_FEATURES = 5000

# Vectors of LOBPCG beyond the number of components.
OVERSAMPLING = 5

# Up to this share of the variance the residual is regarded as zero, in float32.
NEGLIGIBLE_SHARE = 1e-10

# Below this share of the variance the residual is computed row by row: as a difference of variances
# it would consist of their rounding errors.
SMALL_SHARE = 1e-4

# Smaller eigenvalues, relative to the largest, are regarded as rounding errors in float64.
MIN_EIGENVALUE = 1e-10

# An encoder of more features reads this many leading principal components instead. Fashion-MNIST
# (784 features) loses nothing by it; data of 20 to 170 features neither gained nor lost.
WHITENED_FEATURES = 256

# Added to each variance, in units of the mean variance of these components. 0 and 0.1 are less
# good, 1 to 10 alike: damping keeps noise in the last components smaller than the first components.
WHITENING_DAMPING = 3.0


class PrincipalComponents(NamedTuple):
    """Principal components in standard units, `(X - mean) / rms_std`."""

    components: np.ndarray  # (n_components, n_features), orthonormal rows
    code_std: np.ndarray  # (n_components,)
    residual_std: np.ndarray  # (n_features,), of the part that the components do not explain
    complete: bool  # whether no value was missing
    whitening: np.ndarray | None = None  # (n_features, at most WHITENED_FEATURES), for wide data
    coordinates: RowCoordinates | None = None  # of fewer complete rows than features

    def truncate(self, n_components: int) -> "PrincipalComponents":
        """Keep the first components; the others become part of the residual."""
        dropped = self.components[n_components:] * self.code_std[n_components:, None]
        return self._replace(
            components=self.components[:n_components],
            code_std=self.code_std[:n_components],
            residual_std=np.sqrt(self.residual_std**2 + (dropped**2).sum(axis=0)),
        )

    @property
    def is_exact(self) -> bool:
        """Whether the residual is zero, in float32."""
        residual = (self.residual_std**2).sum()
        return bool(residual <= NEGLIGIBLE_SHARE * (residual + (self.code_std**2).sum()))


class _WeightedRows(NamedTuple):
    """The rows of all processes, their moments and the weights of the rows of this process."""

    X: Rows
    moments: Moments
    group: SingleProcess
    weights: np.ndarray | None

    @property
    def total_weight(self) -> float:
        """The sum of the weights of all rows."""
        own = self.X.shape[0] if self.weights is None else float(self.weights.sum())
        return sum(self.group.gather(own))

    def standard_blocks(self) -> Iterator[tuple[Any, Any]]:
        """Blocks of rows in standard units, with NaN, and their weights, (n, 1), or 1."""
        _, asarray = _namespace(self.X)
        for rows, weight in weighted_blocks(self.X, self.weights, times=4):
            block = _standard_rows(self.X, rows, self.moments)
            yield block, 1 if weight is None else asarray(weight[:, None])


def principal_components(
    X: Rows,
    moments: Moments,
    n_components: int | float,
    seed: int,
    group: SingleProcess = SINGLE_PROCESS,
    weights: np.ndarray | None = None,
) -> PrincipalComponents:
    """PCA of all rows, with NaN replaced by the mean.

    If `n_components` is a float, it is the share of variance to be explained. Rows of few features
    are decomposed by their covariance, few rows of more features by their products. For many rows
    of very many features scikit-learn's solvers are used, which need a copy of all rows in one
    process; if a copy is too large, LOBPCG, which needs passes over the rows only.
    """
    data, n_features = _WeightedRows(X, moments, group, weights), X.shape[1]
    n_rows = sum(group.gather(X.shape[0]))
    # A row may stand for several, and there may be more components than different rows.
    is_short = min(n_rows, n_features) < n_components
    if n_features <= COVARIANCE_FEATURES and (n_features <= n_rows or is_short):
        return _from_covariance(data, n_components)
    if group.size == 1 and n_rows <= COVARIANCE_FEATURES:
        return _from_products_of_rows(data, n_components, seed)
    if group.size > 1:
        if n_features > SHARED_COVARIANCE_FEATURES:
            raise ValueError(
                f"X must have at most {SHARED_COVARIANCE_FEATURES} features when several processes "
                f"learn together, got {n_features}; reduce them first."
            )
        return _from_covariance(data, n_components)._replace(whitening=None)
    few = 1 <= n_components <= min(X.shape) // 2
    has_double = not isinstance(X, Tensor) or max_float_dtype(X.device) == torch.float64
    if few and has_double and n_rows <= min(PRODUCT_ROWS, n_features // 2):
        return _from_products_of_rows(data, n_components, seed)
    if few and (weights is not None or np.prod(X.shape, dtype=float) > DOUBLE_PRECISION_ENTRIES):
        times = partial(_times_covariance, data)
        start = _random_vectors(X, n_features, int(n_components), seed)
        components = as_numpy(lobpcg(times, start, int(n_components)).T)
        return PrincipalComponents(components, *_row_by_row(data, components))
    if weights is not None:
        return _from_covariance(data, n_components)
    with IMPORT_LOCK:  # here, as it would triple the import's time
        from sklearn.decomposition import PCA

    pca = PCA(
        n_components,
        # Exact where that is affordable: a fit that starts below PCA may end below PCA.
        svd_solver="randomized" if few and min(X.shape) > 500 else "full",
        power_iteration_normalizer="QR" if isinstance(X, Tensor) else "auto",  # torch has no LU
        random_state=seed,
    )
    with np.errstate(all="ignore"):  # constant data has no explained variance ratio
        pca.fit(_standard(X, moments))
    components = np.asarray(as_numpy(pca.components_), dtype=np.float64)
    return PrincipalComponents(components, *_row_by_row(data, components))


def _random_vectors(X: Rows, size: int, n_components: int, seed: int) -> Any:
    """Vectors from which `lobpcg` starts."""
    _, asarray = _namespace(X)
    n_vectors = min(n_components + OVERSAMPLING, size // 3)
    return asarray(np.random.RandomState(seed).normal(size=(size, n_vectors)))


def _times_covariance(data: _WeightedRows, vectors: Any) -> Any:
    """The product of the covariance, in standard units times n_samples, and some vectors."""
    X, moments = data.X, data.moments
    xp, asarray = _namespace(X)
    mean, total = asarray(moments.mean / moments.rms_std), 0.0 * vectors
    if not sparse.issparse(X):
        for block, weight in data.standard_blocks():
            block = xp.nan_to_num(block) if xp.isnan(block).any() else block
            total += block.T @ (weight * (block @ vectors))
        return total
    # Centred after the products.
    for rows, weight in weighted_blocks(X, data.weights, stored_width(X), times=4):
        block = fill_with_mean(X[rows], moments.mean) / moments.rms_std
        codes = block @ vectors - mean @ vectors
        codes *= 1 if weight is None else weight[:, None]
        total += block.T @ codes - np.outer(mean, codes.sum(axis=0))
    return total


def _from_covariance(data: _WeightedRows, n_components: int | float) -> PrincipalComponents:
    """Principal components in one pass over the rows, a block at a time."""
    covariance = _covariance(data)
    variances, vectors = descending_eigh(covariance, np)
    n_components = _number_of_components(variances, n_components)
    components, explained = _with_signs(vectors.T[:n_components]), variances[:n_components]
    whitening = _whitening(variances, vectors) if len(vectors) > WHITENED_FEATURES else None
    residual = np.diag(covariance) - explained @ components**2
    if data.moments.n_missing or residual.sum() <= SMALL_SHARE * variances.sum():
        return PrincipalComponents(components, *_row_by_row(data, components), whitening=whitening)
    return PrincipalComponents(
        components, np.sqrt(explained), np.sqrt(residual.clip(min=0.0)), True, whitening
    )


def _from_products_of_rows(
    data: _WeightedRows, n_components: int | float, seed: int
) -> PrincipalComponents:
    """Principal components from the products of all rows.

    Their matrix is ``U diag(s**2) U'``, where s are the singular values of the rows and U are their
    left singular vectors.
    """
    X, moments = data.X, data.moments
    products = row_products(X, moments)
    gram, n_samples, weights, root = products.gram(), data.total_weight, None, 1
    if data.weights is not None:
        weights = products.native(data.weights[:, None])
        root = weights**0.5
        gram *= root * root.T
    has_coordinates = not moments.n_missing and (weights is None or bool((weights > 0).all()))
    coordinates = None
    if len(gram) <= COVARIANCE_FEATURES:
        squares, left = descending_eigh(gram, _namespace(X)[0])
        if has_coordinates:
            coordinates = principal_coordinates(squares, left, MIN_EIGENVALUE, weights)
    else:
        squares, left = _leading_of_gram(X, gram, int(n_components), seed)
        if has_coordinates:
            coordinates = triangular_coordinates(gram, weights)
    squares = as_numpy(squares)
    n_components = _number_of_components(squares, n_components)
    rank = int((squares > MIN_EIGENVALUE * squares[0]).sum())
    directions = as_numpy(products.transposed_times(root * left[:, :n_components]).T).T
    n_others = n_components - len(gram)  # there are fewer different rows than components
    if n_others > 0:
        others = np.random.RandomState(seed).normal(size=(len(directions), n_others))
        directions = np.column_stack([directions, others])
    whitening = None
    if rank and X.shape[1] > WHITENED_FEATURES:
        squares = squares[: min(rank, WHITENED_FEATURES)]
        # Scaled before the product, as there are more features than rows.
        scales = _damped_stds(squares / n_samples) * np.sqrt(squares)
        scaled = left[:, : len(squares)] / products.native(scales)
        whitening = as_numpy(products.transposed_times(root * scaled).T).T
    # Orthonormal also if the rank is smaller.
    components = _with_signs(np.linalg.qr(directions[:, :n_components])[0].T)
    statistics = _row_by_row(data, components)
    return PrincipalComponents(components, *statistics, whitening, coordinates)


def _leading_of_gram(X: Rows, gram: Any, n_components: int, seed: int) -> tuple[Any, Any]:
    """The leading eigenvalues and eigenvectors: of the components, and roughly of the whitening."""
    xp, asarray = _namespace(X)
    leading = lobpcg(
        lambda v: gram @ v, _random_vectors(X, len(gram), n_components, seed), n_components
    )
    n_others = WHITENED_FEATURES - n_components + OVERSAMPLING
    vectors = xp.concatenate(
        [leading, asarray(np.random.RandomState(seed).normal(size=(len(gram), max(n_others, 0))))],
        1,
    )
    for _ in range(3):
        vectors = xp.linalg.qr(gram @ vectors)[0]
    squares, rotation = descending_eigh(vectors.T @ (gram @ vectors), xp)
    return squares, vectors @ rotation


def descending_eigh(matrix: Any, xp: Any) -> tuple[Any, Any]:
    """Eigenvalues, largest first, and eigenvectors of a matrix of sums of products."""
    values, vectors = xp.linalg.eigh(matrix)
    return xp.flip(values, (0,)).clip(min=0.0), xp.flip(vectors, (1,))


def _number_of_components(variances: np.ndarray, n_components: int | float) -> int:
    """The number of components that explain a share of the variance; others are numbers already."""
    if n_components >= 1:
        return int(n_components)
    shares = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
    n_components = int(np.searchsorted(shares, n_components, side="right")) + 1
    return min(n_components, len(variances))


def _with_signs(components: np.ndarray) -> np.ndarray:
    """The components with a positive largest entry, as in scikit-learn's PCA."""
    largest = np.abs(components).argmax(axis=1)
    return components * np.sign(components[np.arange(len(components)), largest])[:, None]


def _whitening(variances: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Projection to the leading components, each divided by its damped standard deviation."""
    return vectors[:, :WHITENED_FEATURES] / _damped_stds(variances[:WHITENED_FEATURES])


def _damped_stds(variances: np.ndarray) -> np.ndarray:
    """The standard deviations of the leading components, damped; ones if all are zero."""
    damped = variances + WHITENING_DAMPING * variances.mean()
    return np.sqrt(damped, out=np.ones_like(damped), where=damped > 0)


def _covariance(data: _WeightedRows) -> np.ndarray:
    """Mean product of each two features, in standard units."""
    X = data.X
    xp, asarray = _namespace(X)
    total = asarray(np.zeros((X.shape[1], X.shape[1])))
    for block, weight in data.standard_blocks():
        block = xp.asarray(block, dtype=_dtype(X))
        if data.moments.n_missing:
            block = xp.nan_to_num(block)
        weighted = block if data.weights is None else block * weight
        total += block.T @ xp.asarray(weighted, dtype=_dtype(X))
    return data.group.all_reduce_array(as_numpy(total)) / data.total_weight


def _row_by_row(data: _WeightedRows, components: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """The other fields of `PrincipalComponents`, from the codes and residuals of all rows."""
    X, group = data.X, data.group
    if group.size == 1 and (stds := _stds_of_sparse_rows(data, components)) is not None:
        return *stds, True
    xp, asarray = _namespace(X)
    axes = asarray(components)
    squares, n_observed = asarray(np.zeros((2, X.shape[1])))
    code_squares = asarray(np.zeros(len(components)))
    for block, weight in data.standard_blocks():
        observed = weight * ~xp.isnan(block)
        block = xp.nan_to_num(block)
        codes = block @ axes.T
        squares += ((block - codes @ axes) ** 2 * observed).sum(axis=0)
        code_squares += (weight * codes**2).sum(axis=0)
        n_observed += observed.sum(axis=0)
    squares, n_observed, code_squares = (
        group.all_reduce_array(as_numpy(sums)) for sums in (squares, n_observed, code_squares)
    )
    return (
        np.sqrt(code_squares / data.total_weight),
        np.sqrt(squares / np.where(n_observed > 0, n_observed, 1)),
        not data.moments.n_missing,
    )


def _stds_of_sparse_rows(
    data: _WeightedRows, components: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Standard deviations of codes and residuals without dense rows, unless these are needed."""
    moments, products = data.moments, row_products(data.X, data.moments)
    if not isinstance(products, SparseRowProducts) or moments.n_missing:
        return None
    codes = products.times(components.T)
    weighted = codes if data.weights is None else codes * data.weights[:, None]
    # |x - V'c|^2 = |x|^2 - 2 x V'c + |V'c|^2, for each feature
    cross = products.transposed_times(weighted) - 0.5 * components.T @ (codes.T @ weighted)
    variance = (moments.std / moments.rms_std) ** 2
    residual = variance - 2 / data.total_weight * (cross * components.T).sum(axis=1)
    if residual.sum() <= SMALL_SHARE * variance.sum():
        return None
    code_variance = (codes * weighted).sum(axis=0) / data.total_weight
    return np.sqrt(code_variance), np.sqrt(residual.clip(min=0.0))


def _dtype(X: Rows) -> np.dtype | torch.dtype:
    """The precision of sums over the rows of `X`."""
    dtype = np.dtype(np.float64 if np.prod(X.shape) <= DOUBLE_PRECISION_ENTRIES else np.float32)
    return inference_dtype(dtype, X.device) if isinstance(X, Tensor) else dtype


def _namespace(X: Rows) -> tuple[Any, Callable[[np.ndarray], Any]]:
    """Return NumPy or torch, as `X` is, and a function that converts small arrays to it."""
    if isinstance(X, Tensor):
        return torch, lambda values: as_tensor(values, max_float_dtype(X.device), X.device)
    return np, lambda values: values


def _standard_rows(X: Rows, rows: RowIndex, moments: Moments) -> Any:
    """Some rows in standard units, with NaN, as an array or, of a tensor, a tensor."""
    _, asarray = _namespace(X)
    return (dense_block(X, rows) - asarray(moments.mean)) / moments.rms_std


def _standard(X: Rows, moments: Moments) -> np.ndarray | Tensor:
    """All rows in standard units, with zeros for NaN, as an array or, of a tensor, a tensor."""
    xp, _ = _namespace(X)
    standard = empty_like(X, X.shape, _dtype(X))
    for rows in row_blocks(X, times=4):
        standard[rows] = xp.nan_to_num(_standard_rows(X, rows, moments))
    return standard
