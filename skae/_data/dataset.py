"""Rows in blocks and batches: the data set that a fit trains on, in memory or on disk."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from math import prod
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from .device import as_tensor, max_float_dtype

# Entries of a block of rows in passes without gradients: bounds the memory, and fits the cache.
BLOCK_ENTRIES = 2**17

# Rows of a block at least, however wide: a pass over wide rows takes the time in which the weights
# are read, once a block. The weights are larger than a block of so many rows.
MIN_BLOCK_ROWS = 32

# Data of at most this many entries are cached in standardised form, beside `X` itself.
MAX_CACHED_ENTRIES = 2**20

# Rows as scikit-learn's validation returns them or, on an accelerator, as a tensor.
# Standardised entries are limited to this number, whose square is finite in float32. No row of the
# data from which the units come is as far; rows of `X_val` or of a later fit may be.
MAX_STANDARD = 1e15

Rows: TypeAlias = np.ndarray | sparse.csr_array | Tensor
RowIndex: TypeAlias = slice | np.ndarray | Tensor


def rows_of_block(width: int, times: int = 1) -> int:
    """Number of rows of a block if `width` entries are computed from each row.

    A block has at most `times` * `BLOCK_ENTRIES` entries, but at least `MIN_BLOCK_ROWS` rows.
    """
    return max(times * BLOCK_ENTRIES // max(width, 1), MIN_BLOCK_ROWS)


def row_blocks(X: Rows, width: int | None = None, times: int = 1) -> Iterator[slice]:
    """Slices that cover the rows of `X` in order, of `rows_of_block` rows.

    The `width` is by default the number of columns of `X`.
    """
    n_rows, size = X.shape[0], rows_of_block(width or X.shape[1], times)
    # Not by scikit-learn's `gen_batches`: it validates its arguments, for 45 microseconds a call.
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))


def weighted_blocks(
    X: Rows, weights: np.ndarray | None, width: int | None = None, times: int = 1
) -> Iterator[tuple[RowIndex, np.ndarray | None]]:
    """Indices of the rows with a weight above zero in order, a block at a time, and their weights.

    Without weights, the indices are slices, and there are no weights. See `row_blocks`.
    """
    for rows in row_blocks(X, width, times):
        if weights is None:
            yield rows, None
        elif len(index := rows.start + np.flatnonzero(weights[rows])):
            yield index, weights[index]


def stored_width(X: sparse.csr_array) -> int:
    """Number of stored entries of a row, on average, for blocks of rows that stay sparse."""
    return max(X.nnz // X.shape[0], 1)


@overload
def dense_block(X: Tensor, rows: RowIndex) -> Tensor: ...
@overload
def dense_block(X: np.ndarray | sparse.csr_array, rows: RowIndex) -> np.ndarray: ...
def dense_block(X: Rows, rows: RowIndex) -> np.ndarray | Tensor:
    """Some rows of an array or CSR matrix as a dense array; those of a tensor as a tensor."""
    block: Any = X[rows]
    if isinstance(block, Tensor):
        return block
    return block.toarray() if sparse.issparse(block) else np.asarray(block)


def tensor_blocks(
    X: Rows, dtype: torch.dtype, device: torch.device, *, width: int | None = None, times: int = 1
) -> Iterator[Tensor]:
    """The rows of `X` in order as dense tensors, a block at a time; see `row_blocks`."""
    return (as_tensor(dense_block(X, rows), dtype, device) for rows in row_blocks(X, width, times))


def observed_rows(X: Rows) -> np.ndarray:
    """Whether each row has an entry that is not missing, (n_samples,)."""
    return missing_of_rows(X) < X.shape[1]


def missing_of_rows(X: Rows) -> np.ndarray:
    """Number of entries of each row that are missing, (n_samples,)."""
    if not isinstance(X, np.ndarray | Tensor):
        n_before = np.append(0, np.cumsum(np.isnan(X.data)))
        return n_before[X.indptr[1:]] - n_before[X.indptr[:-1]]
    if isinstance(X, Tensor):
        return X.isnan().sum(1).cpu().numpy()
    return np.concatenate([np.isnan(X[rows]).sum(axis=1) for rows in row_blocks(X)])


def nothing_observed() -> ValueError:
    """The error about rows without any entry."""
    return ValueError("Every entry of X is missing: there is nothing to learn from.")


class Dataset(ABC):
    """Rows in the units of the network, gathered in batches.

    An `index` counts the rows of all processes; a data set of one process has them all. `cached`
    holds all rows in standardised form, where they fit in memory.
    """

    cached: Tensor | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows, of all processes together."""

    @abstractmethod
    def __getitem__(self, index: Tensor) -> Tensor:
        """The rows at `index` that this process has, (n_local_rows, n_features), in float32."""

    def local_index(self, index: Tensor) -> Tensor:
        """Positions in the local rows of those rows at `index` that this process has."""
        return index

    def all_gather_rows(self, index: Tensor) -> Tensor:
        """All rows at `index`, (len(index), n_features), from all processes; for few rows."""
        return self[index]

    def all_gather_values(self, index: Tensor, local_values: Tensor) -> Tensor:
        """One value for each row at `index`, from the values of the rows of each process."""
        return local_values

    def all_reduce_gradient(
        self, network: nn.Module, gradient: Callable[[Tensor], Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """Average a gradient over all rows of a batch, from that over the rows of each process.

        `gradient(index)` returns a mean loss and leaves its gradient in the parameters of the
        network; so does the returned function.
        """
        return gradient


class ArrayDataset(Dataset):
    """The rows of an array or CSR matrix, gathered and standardised batch by batch, not copied."""

    def __init__(
        self, X: Rows, shift: np.ndarray, scale: float | np.ndarray, device: torch.device
    ) -> None:
        self._X, self._shift, self._scale, self._device = X, shift, scale, device

    def __len__(self) -> int:
        return self._X.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        batch = dense_block(self._X, index.cpu().numpy())
        # Centred in the precision of X: a float32 copy of 1e6 + noise would have lost the noise.
        standard = np.clip((batch - self._shift) / self._scale, -MAX_STANDARD, MAX_STANDARD)
        return torch.from_numpy(standard.astype(np.float32)).to(self._device)


class TensorDataset(Dataset):
    """The rows of a tensor, gathered and standardised batch by batch on its device, not copied."""

    def __init__(
        self, X: Tensor, shift: np.ndarray, scale: float | np.ndarray, device: torch.device
    ) -> None:
        self._X, self._device = X, device
        self._shift, self._scale = (
            as_tensor(np.asarray(value), max_float_dtype(X.device), X.device)
            for value in (shift, scale)
        )

    def __len__(self) -> int:
        return len(self._X)

    def __getitem__(self, index: Tensor) -> Tensor:
        batch = self._X.index_select(0, index.to(self._X.device))
        standard = ((batch - self._shift) / self._scale).clamp(-MAX_STANDARD, MAX_STANDARD)
        return standard.to(self._device, torch.float32)


class CachedDataset(Dataset):
    """The rows of another data set, standardised once and cached on the device of training."""

    cached: Tensor

    def __init__(self, rows: Dataset, X: Rows) -> None:
        indices = (torch.arange(block.start, block.stop) for block in row_blocks(X))
        self.cached = torch.cat([rows[index] for index in indices])

    def __len__(self) -> int:
        return len(self.cached)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.cached.index_select(0, index)


def make_dataset(
    X: Rows, shift: np.ndarray, scale: float | np.ndarray, device: torch.device
) -> Dataset:
    """Make a data set of the rows of `X` in the units of the network, `(X - shift) / scale`.

    Few rows are cached; on an accelerator all dense rows are, if its memory holds them.
    """
    rows: Dataset = (
        TensorDataset(X, shift, scale, device)
        if isinstance(X, Tensor)
        else ArrayDataset(X, shift, scale, device)
    )
    on_accelerator = device.type != "cpu" and not sparse.issparse(X)
    if not on_accelerator and prod(X.shape) > MAX_CACHED_ENTRIES:
        return rows
    try:
        return CachedDataset(rows, X)
    except torch.cuda.OutOfMemoryError:  # the rows stay where they are
        return rows
