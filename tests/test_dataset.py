"""Rows in blocks and in standardised batches."""

import numpy as np
import pytest
import torch
from scipy import sparse

from skae._data.dataset import (
    BLOCK_ENTRIES,
    MAX_CACHED_ENTRIES,
    MIN_BLOCK_ROWS,
    ArrayDataset,
    CachedDataset,
    TensorDataset,
    make_dataset,
    row_blocks,
    tensor_blocks,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, torch.from_numpy])
def test_rows_are_standardised_in_the_precision_of_X(kind):
    # float32 cannot hold 1e9 + 1, but holds the difference.
    X = np.array([[1e9 + 1, 2.0], [1e9 - 1, 4.0]])
    rows = make_dataset(kind(X), np.array([1e9, 3.0]), 2.0, CPU)
    assert len(rows) == 2
    batch = rows[torch.tensor([1, 0, 1])]
    assert batch.dtype == torch.float32
    np.testing.assert_array_equal(batch, [[-0.5, 0.5], [0.5, -0.5], [-0.5, 0.5]])


@pytest.mark.parametrize("n_rows", [0, 1, 80, 81])
def test_blocks_cover_all_rows_in_order_within_the_limit_of_entries(n_rows):
    width = BLOCK_ENTRIES // 40
    X = np.zeros((n_rows, 3))
    blocks = list(row_blocks(X, width))
    assert [i for rows in blocks for i in range(n_rows)[rows]] == list(range(n_rows))
    assert all(rows.stop - rows.start <= 40 for rows in blocks)
    assert all(rows.stop - rows.start <= 80 for rows in row_blocks(X, width, times=2))


@pytest.mark.parametrize("width", [1, BLOCK_ENTRIES // 4, 100 * BLOCK_ENTRIES])
def test_blocks_of_rows_of_any_width_are_few(width):
    """A pass reads all weights once a block."""
    n_rows = 3 * MIN_BLOCK_ROWS
    assert len(list(row_blocks(np.zeros((n_rows, 1)), width))) <= 3


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, torch.from_numpy])
def test_blocks_of_rows_are_dense_tensors(kind):
    X = np.arange(120.0).reshape(40, 3)
    blocks = list(tensor_blocks(kind(X), torch.float32, CPU, width=BLOCK_ENTRIES // 33))
    assert [tuple(block.shape) for block in blocks] == [(33, 3), (7, 3)]
    np.testing.assert_array_equal(torch.cat(blocks), X.astype(np.float32))


@pytest.mark.parametrize(
    ("dataset", "kind"), [(ArrayDataset, np.asarray), (TensorDataset, torch.from_numpy)]
)
def test_cached_rows_equal_rows_standardised_batch_by_batch(dataset, kind):
    X = np.arange(12.0).reshape(4, 3)
    rows = dataset(kind(X), X.mean(axis=0), 2.0, CPU)
    cached = CachedDataset(rows, kind(X))
    index = torch.tensor([3, 0])
    assert torch.equal(cached[index], rows[index])
    assert torch.equal(cached.cached, rows[torch.arange(4)])


def test_only_few_rows_are_cached():
    width = 1024
    for n_rows, kind in (
        (MAX_CACHED_ENTRIES // width, CachedDataset),
        (MAX_CACHED_ENTRIES // width + 1, ArrayDataset),
    ):
        X = np.zeros((n_rows, width), dtype=np.float32)
        assert type(make_dataset(X, np.zeros(width), 1.0, CPU)) is kind
