"""Results of many rows, computed by a network in blocks of rows."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from .._data.allocator import keep_freed_memory
from .._data.dataset import Rows, dense_block, rows_of_block, tensor_blocks
from .._data.device import as_tensor
from .._data.threads import threads_for
from .fitted import FittedAutoencoder

# Up to so many entries an array of floats is validated without scikit-learn, and is one block.
FEW_ENTRIES = 10_000
# Up to so many entries of one row torch multiplies by one thread.
MAX_WIDTH = 2000


def fill_by_blocks(
    result: Any,
    X: Rows,
    result_of: Callable[[Tensor], Any],
    dtype: torch.dtype,
    device: torch.device,
    fitted: FittedAutoencoder,
) -> Any:
    """The results of the rows of `X`, a block at a time; few rows are one block."""
    n_features = len(fitted.shift)
    if device.type == "cpu" and X.shape[0] * n_features <= FEW_ENTRIES:
        # For one row the number of threads would take as long as a layer to change. Ten rows took
        # up to 100 x as long by two threads on a busy machine.
        is_row = X.shape[0] == 1 and n_features <= MAX_WIDTH
        with nullcontext() if is_row else threads_for(multiply_adds(fitted) * X.shape[0]):
            return result_of(as_tensor(dense_block(X, slice(None)), dtype, device))
    # Blocks of 1000 rows of 784 columns are fastest; 150 rows are a fifth slower. 2000 rows of 32
    # are a third faster than 30,000: outputs of hidden layers stay in the cache.
    keep_freed_memory()
    wide = max(n_features, result.shape[1], 512 if device.type == "cpu" else 0)
    start = 0
    with threads_for(multiply_adds(fitted) * rows_of_block(wide, 8)):
        for x in tensor_blocks(X, dtype, device, width=wide, times=8):
            result[start : start + len(x)] = result_of(x)
            start += len(x)
    return result


def multiply_adds(fitted: FittedAutoencoder) -> float:
    """Approximate multiply-adds of a row, if all convolutions have a stride of two."""
    n_positions = len(fitted.shift) / 4
    return sum(w.numel() * (n_positions if w.ndim == 4 else 1.0) for w in fitted.parameters())
