"""The border between NumPy and torch: devices, dtypes, generators, threads and rows."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from math import prod
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import validate_data
from threadpoolctl import threadpool_limits
from torch import Tensor

# Below this many multiply-adds a step, a second thread gained at most 1.4 x on a quiet machine and
# cost 3 x on a busy one; a fixed single thread also gives the same bits under any `n_jobs`.
MULTITHREADING_MIN_FLOPS = 50_000_000

# Above this many, training in bfloat16 is quicker where the processor has instructions for it.
BFLOAT16_MIN_FLOPS = 150_000_000

# Entries of a block of rows when nothing is learned: bounds the memory, and stays in the cache.
BLOCK_ENTRIES = 2**17

# Data of at most so many entries are kept beside themselves in the form that is learned from.
KEPT_ENTRIES = 2**20

# The first is what other dtypes are converted to.
TORCH_DTYPES = {np.dtype(np.float64): torch.float64, np.dtype(np.float32): torch.float32}


# A child that is forked after torch has used its threads waits for threads that are not there;
# with one thread of its own it needs none (pytorch issue 17199).
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def resolve_device(device: str, X=None) -> torch.device:
    """The device that a parameter names; "auto" is that of a tensor `X`, else CUDA or the CPU."""
    if device == "auto" and isinstance(X, Tensor):
        return X.device
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    # torch raises RuntimeError for unknown or absent devices, AssertionError for CUDA-less builds.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            "`device` must be 'auto' or a torch device present here, such as 'cpu', "
            f"got {device!r}."
        ) from error
    return resolved


class _OneThread:
    """One thread in torch and BLAS while anybody asks for it; who leaves has what was before.

    BLAS has one number for all threads of Python. Torch has one for each, and a new one takes over
    what was set last: so the first to come knows what was, and each puts back its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._own = threading.local()  # how deep each thread of Python is within

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._torch_threads = torch.get_num_threads()
                self._limits = threadpool_limits(1)
            self._users += 1
            self._own.depth = getattr(self._own, "depth", 0) + 1
            torch.set_num_threads(1)

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limits.restore_original_limits()
            self._own.depth -= 1
            if self._own.depth == 0:
                torch.set_num_threads(self._torch_threads)


_ONE_THREAD = _OneThread()


def threads_for(multiply_adds: float) -> AbstractContextManager[None]:
    """One thread for small work; what the caller has for large work."""
    return nullcontext() if multiply_adds >= MULTITHREADING_MIN_FLOPS else _ONE_THREAD


@cache
def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it; without them it is emulated, and slower."""
    known = getattr(torch.cpu, "get_capabilities", None)  # older versions have none
    capabilities = known() if known else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


@contextmanager
def grad_mode() -> Iterator[None]:
    """Gradients on, whatever the caller's mode: `no_grad` and `inference_mode` around a fit."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def checked_rows(estimator: Any, X, **options) -> Any:
    """Rows as scikit-learn checks them, as floats: an array or CSR matrix, where NaN may be."""
    usual = {"accept_sparse": "csr", "dtype": list(TORCH_DTYPES), "ensure_all_finite": "allow-nan"}
    return validate_data(estimator, X, **(usual | options))


def as_tensor(block: np.ndarray | Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """An array as a tensor; torch takes neither read-only memory nor negative strides."""
    if isinstance(block, Tensor):
        return block.to(device, dtype)
    return torch.from_numpy(np.require(block, requirements=["C", "W"])).to(device, dtype)


def as_array(x: Tensor) -> np.ndarray:
    """A tensor as a float64 array on the host."""
    return x.detach().cpu().double().numpy()


def inference_dtype(dtype: np.dtype | torch.dtype, device: torch.device) -> torch.dtype:
    """The precision of `X`, as far as the device has it."""
    if device.type == "mps":
        return torch.float32
    return dtype if isinstance(dtype, torch.dtype) else TORCH_DTYPES[dtype]


def max_float_dtype(device: torch.device) -> torch.dtype:
    """The most precise numbers that the device has."""
    return inference_dtype(torch.float64, device)


def empty_like(X, shape: tuple[int, ...], dtype=None) -> np.ndarray | Tensor:
    """Memory for rows beside those of `X`: an array, or a tensor if `X` is one."""
    if isinstance(X, Tensor):
        return X.new_empty(shape, dtype=dtype)
    return np.empty(shape, dtype=dtype or X.dtype)


def column_sums(X: Any) -> list[float]:
    """The sum of each column of an array or a tensor, in double precision where there is such."""
    wide = max_float_dtype(X.device) if isinstance(X, Tensor) else np.float64
    return X.sum(axis=0, dtype=wide).tolist()


def tensor_blocks(
    X, dtype: torch.dtype, device: torch.device, *, width: int | None = None, times: int = 1
) -> Iterator[Tensor]:
    """The rows of an array, tensor or CSR matrix in order, a block at a time; see `blocks`."""
    return (as_tensor(dense_block(X, rows), dtype, device) for rows in blocks(X, width, times))


def halve_on_oom(apply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`apply` to rows: to the half of them at a time where the device runs out of memory."""
    try:
        return apply(x)
    except torch.cuda.OutOfMemoryError:
        if len(x) == 1:
            raise
    return torch.cat([halve_on_oom(apply, half) for half in x.tensor_split(2)])


class Dataset(ABC):
    """Rows in the network's units, taken in batches. All of them are here, unless said otherwise.

    An `index` counts all rows, wherever they are. `kept` are all of them, where they are in memory
    in the form that is learned from.
    """

    kept: Tensor | None = None

    @abstractmethod
    def __len__(self) -> int:
        """How many there are, wherever they are."""

    @abstractmethod
    def take(self, index: Tensor) -> Tensor:
        """Those at `index` that are here, as a batch of shape (n_rows, n_features)."""

    def here(self, index: Tensor) -> Tensor:
        """Positions, in the memory of this process, of those at `index` that are here."""
        return index

    def everywhere(self, index: Tensor) -> Tensor:
        """Those at `index`, (len(index), n_features), wherever they are; for a few."""
        return self.take(index)

    def gathered(self, index: Tensor, parts: list[Tensor]) -> Tensor:
        """Values for all rows at `index`, in parts known for those of them that are here."""
        return torch.cat(parts)

    def over_ranks(
        self, network: torch.nn.Module, gradient: Callable[[Tensor], Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """A mean loss that leaves its gradient in a network, from that of rows that are here."""
        return gradient


class ArrayDataset(Dataset):
    """The rows of an array or CSR matrix, gathered and standardised batch by batch: no copy."""

    def __init__(self, X, shift: np.ndarray, scale: float | np.ndarray, device: torch.device):
        self._X, self._shift, self._scale, self._device = X, shift, scale, device

    def __len__(self) -> int:
        return self._X.shape[0]

    def take(self, index: Tensor) -> Tensor:
        batch = dense_block(self._X, index.cpu().numpy())
        # Centred in the precision of X: a float32 copy of 1e6 + noise would have lost the noise.
        standard = ((batch - self._shift) / self._scale).astype(np.float32)
        return torch.from_numpy(standard).to(self._device)


class TensorDataset(Dataset):
    """The rows of a tensor, gathered and standardised batch by batch where they are: no copy."""

    def __init__(
        self, X: Tensor, shift: np.ndarray, scale: float | np.ndarray, device: torch.device
    ):
        self._X, self._device = X, device
        self._shift, self._scale = (
            as_tensor(np.asarray(value), max_float_dtype(X.device), X.device)
            for value in (shift, scale)
        )

    def __len__(self) -> int:
        return len(self._X)

    def take(self, index: Tensor) -> Tensor:
        batch = self._X.index_select(0, index.to(self._X.device))
        return ((batch - self._shift) / self._scale).to(self._device, torch.float32)


class CachedDataset(Dataset):
    """The rows of an array or tensor, standardised once and kept: on an accelerator, or if few."""

    kept: Tensor

    def __init__(self, given: Dataset, X):
        indices = (torch.arange(rows.start, rows.stop) for rows in blocks(X))
        self.kept = torch.cat([given.take(index) for index in indices])

    def __len__(self) -> int:
        return len(self.kept)

    def take(self, index: Tensor) -> Tensor:
        return self.kept.index_select(0, index)


def make_dataset(X, shift: np.ndarray, scale: float | np.ndarray, device: torch.device) -> Dataset:
    """Rows of `X` in the network's units, `(X - shift) / scale`, ready to be taken in batches."""
    kind: type[TensorDataset | ArrayDataset] = (
        TensorDataset if isinstance(X, Tensor) else ArrayDataset
    )
    rows = kind(X, shift, scale, device)
    accelerated = device.type != "cpu" and not sparse.issparse(X)
    if not accelerated and prod(X.shape) > KEPT_ENTRIES:
        return rows
    try:
        return CachedDataset(rows, X)
    except torch.cuda.OutOfMemoryError:  # then they stay where they are
        return rows


def blocks(X, width: int | None = None, times: int = 1) -> list[slice]:
    """Slices that cover the rows of `X` in order; `width` is that of what becomes of them.

    `times` as long as usual, where little is derived from each.
    """
    n_rows, size = X.shape[0], max(times * BLOCK_ENTRIES // max(width or X.shape[1], 1), 1)
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def dense_block(X, rows) -> Any:
    """Some rows of an array or CSR matrix as a plain array; those of a tensor as a tensor."""
    block = X[rows]
    if isinstance(block, Tensor):
        return block
    return block.toarray() if sparse.issparse(block) else np.asarray(block)
