"""All rows in standard units, `(X - mean) / scale` with zeros for NaN, as a factor of products.

Neither form copies the rows into one dense array.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .._data.dataset import BLOCK_ENTRIES, Rows
from .._data.device import as_array, as_tensor, max_float_dtype
from .._data.moments import Moments

# Up to this share of stored entries, products of sparse rows are faster than those of dense blocks.
MAX_DENSITY = 0.1

# Up to this ratio of the squares of the means to the variance, rows are centred after products:
# these lose so many of the digits of float64, see `MIN_EIGENVALUE` in `pca.py`.
MAX_MEAN_SQUARE = 1e3

# Columns that are centred at a time.
COLUMNS = 256

# Added to the diagonal of a Gram matrix, relative to its trace, for its Cholesky factor: more than
# the rounding errors of float64.
JITTER = 1e-12


class RowProducts:
    """Rows that are made dense and centred a block of columns at a time.

    Arguments and results of products are arrays or, for rows that are a tensor, tensors.
    """

    def __init__(self, X: Rows, moments: Moments, scale: np.ndarray):
        self._X, self._moments, self._scale = X, moments, scale

    def gram(self) -> Any:
        """The products of all pairs of rows, (n_samples, n_samples)."""
        products = self.native(np.zeros((self._X.shape[0], self._X.shape[0])))
        for _, block in self._columns():
            products += block @ block.T
        return products

    def times(self, vectors: Any) -> Any:
        """The product of the rows and `vectors`, (n_features, n_vectors)."""
        products = self.native(np.zeros((self._X.shape[0], vectors.shape[1])))
        for columns, block in self._columns():
            products += block @ vectors[columns]
        return products

    def transposed_times(self, vectors: Any) -> Any:
        """The product of the transposed rows and `vectors`, (n_samples, n_vectors)."""
        products = self.native(np.empty((self._X.shape[1], vectors.shape[1])))
        for columns, block in self._columns():
            products[columns] = block.T @ vectors
        return products

    def native(self, values: np.ndarray | Tensor) -> Any:
        """Values as an argument of products."""
        if isinstance(self._X, Tensor):
            return as_tensor(values, max_float_dtype(self._X.device), self._X.device)
        return as_array(values) if isinstance(values, Tensor) else values

    def _columns(self) -> Iterator[tuple[slice, Any]]:
        """Blocks of columns, and their slices."""
        X, moments = self._X, self._moments
        mean, scale = self.native(moments.mean), self.native(self._scale)
        by_columns: Any = sparse.csc_array(X) if sparse.issparse(X) else X
        size = max(4 * BLOCK_ENTRIES // X.shape[0], 1)
        for start in range(0, X.shape[1], size):
            columns = slice(start, start + size)
            block = by_columns[:, columns]
            block = block.toarray() if sparse.issparse(block) else block
            standard = (block - mean[columns]) / scale[columns]
            xp: Any = torch if isinstance(standard, Tensor) else np
            yield columns, xp.nan_to_num(standard) if moments.n_missing else standard


class SparseRowProducts(RowProducts):
    """Sparse rows that are centred after each product, and never made dense."""

    def __init__(self, X: sparse.csr_array, moments: Moments, scale: np.ndarray):
        super().__init__(X, moments, scale)
        filled = fill_with_mean(X, moments.mean)
        scaled = filled.data.astype(np.float64) / scale[X.indices]
        self._scaled = sparse.csr_array((scaled, X.indices, X.indptr), shape=X.shape)
        self._mean = moments.mean / scale

    def gram(self) -> np.ndarray:
        """The products of all pairs of rows, (n_samples, n_samples)."""
        products, mean = (self._scaled @ self._scaled.T).toarray(), self._scaled @ self._mean
        products -= mean
        products -= mean[:, None] - self._mean @ self._mean
        return products

    def times(self, vectors: np.ndarray) -> np.ndarray:
        """The product of the rows and `vectors`, (n_features, n_vectors)."""
        return self._scaled @ vectors - self._mean @ vectors

    def transposed_times(self, vectors: np.ndarray) -> np.ndarray:
        """The product of the transposed rows and `vectors`, (n_samples, n_vectors)."""
        products, sums = self._scaled.T @ vectors, vectors.sum(axis=0)
        for start in range(0, len(products), COLUMNS):  # fit the cache
            columns = slice(start, start + COLUMNS)
            products[columns] -= np.outer(self._mean[columns], sums)
        return products


def row_products(X: Rows, moments: Moments, scale: np.ndarray | None = None) -> RowProducts:
    """The rows in the form in which products are fast, and exact to the digits of float64.

    The `scale` of the columns, (n_features,), is by default `rms_std` for all of them.
    """
    scale = np.full_like(moments.mean, moments.rms_std) if scale is None else scale
    if isinstance(X, np.ndarray | Tensor):
        return RowProducts(X, moments, scale)
    is_dense = X.nnz > MAX_DENSITY * X.shape[0] * X.shape[1]
    is_far = np.mean((moments.mean / scale) ** 2) > MAX_MEAN_SQUARE
    kind = RowProducts if is_dense or is_far else SparseRowProducts
    return kind(X, moments, scale)


def fill_with_mean(X: sparse.csr_array, mean: np.ndarray) -> sparse.csr_array:
    """A CSR matrix with the mean of the column in place of NaN."""
    missing = np.isnan(X.data)
    if not missing.any():
        return X
    filled = X.copy()
    filled.data[missing] = mean[X.indices[missing]]
    return filled


class RowCoordinates(NamedTuple):
    """The coordinates of few wide rows along orthonormal axes of the space that they span.

    The rows are ``values @ axes``, so the axes are ``inverse @ rows``.
    """

    values: Any  # (n_samples, n_coordinates); a tensor if the rows are
    std: Any  # (n_coordinates,), standard deviations; of triangular values their mean, or 0
    triangular: bool
    weights: Any = None  # (n_samples, 1), of the rows, if they differ

    def times_inverse(self, products: Tensor) -> Tensor:
        """The product of the inverse and products of the rows, (n_samples, n_vectors)."""
        values, std = self._tensors(products)
        if self.triangular:
            return torch.linalg.solve_triangular(values, products, upper=False)
        weighted = self._weighted(values)
        return (weighted.mT @ products) / (len(values) * std.square())[:, None]

    def times_transposed_inverse(self, vectors: Tensor) -> Tensor:
        """The product of the transposed inverse and vectors, (n_coordinates, n_vectors)."""
        values, std = self._tensors(vectors)
        if self.triangular:
            return torch.linalg.solve_triangular(values.mT, vectors, upper=True)
        return self._weighted(values) @ (vectors / (len(values) * std.square())[:, None])

    def to_features(self, rows: RowProducts, vectors: Tensor) -> Any:
        """The product of the transposed axes and vectors, (n_coordinates, n_vectors).

        The `rows` are those with these coordinates, of which the axes are combinations.
        """
        return rows.transposed_times(rows.native(self.times_transposed_inverse(vectors)))

    def _tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        kind = like.dtype, like.device
        return as_tensor(self.values, *kind), as_tensor(self.std, *kind)

    def _weighted(self, values: Tensor) -> Tensor:
        if self.weights is None:
            return values
        return as_tensor(self.weights, values.dtype, values.device) * values


def principal_coordinates(
    squares: Any, left: Any, smallest: float, weights: Any = None
) -> RowCoordinates:
    """Coordinates along all principal components, from the eigenvectors of the Gram matrix.

    Eigenvalues below `smallest`, relative to the largest, are regarded as zero. If there are
    weights, (n_samples, 1), whose mean is one, the products of the Gram matrix are of the rows
    times their roots.
    """
    xp: Any = torch if isinstance(left, Tensor) else np
    rank = int((squares > smallest * squares[0]).sum())
    singular = xp.sqrt(squares[:rank])
    values = left[:, :rank] * singular
    values = values if weights is None else values / xp.sqrt(weights)
    return RowCoordinates(values, singular / len(left) ** 0.5, False, weights)


def triangular_coordinates(gram: Any, weights: Any = None) -> RowCoordinates:
    """Coordinates by the Cholesky factor of the Gram matrix, in float64, which is overwritten.

    Faster than eigenvectors. Axes of rows that are combinations of the rows before have no length.
    For the weights see `principal_coordinates`.
    """
    diagonal = gram.diagonal() if isinstance(gram, Tensor) else np.einsum("ii->i", gram)
    total, n_samples = float(diagonal.sum()), len(gram)
    diagonal += JITTER * total
    xp: Any = torch if isinstance(gram, Tensor) else np
    values = xp.linalg.cholesky(gram)
    # Of a row that is the negative sum of the others, the square is `n_samples` times the jitter.
    is_new = xp.diagonal(values) ** 2 > 2 * n_samples * JITTER * total
    values = values if weights is None else values / xp.sqrt(weights)
    return RowCoordinates(values, is_new * (total / n_samples**2) ** 0.5, True, weights)
