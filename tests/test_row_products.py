"""Products of all rows in standard units, with rows of every form."""

import numpy as np
import pytest
import torch
from scipy import sparse

from skae._data.moments import moments
from skae._training import row_products as module
from skae._training.row_products import RowProducts, SparseRowProducts, row_products

KINDS = [np.asarray, sparse.csr_array, torch.from_numpy]


def few_entries(seed, offset=0.0):
    """Rows of which one column is dense, and one is missing in a row."""
    rng = np.random.default_rng(seed)
    X = sparse.random_array((12, 60), density=0.05, rng=rng).toarray()
    X[:, 3] = rng.normal(size=12) + offset
    X[2, 3] = np.nan
    return X


@pytest.mark.parametrize("density", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_dense_rows(kind, density, global_random_seed, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 30)  # ten columns at a time
    monkeypatch.setattr(module, "MAX_DENSITY", density)
    X = few_entries(global_random_seed)
    stats = moments(X)
    expected = np.nan_to_num((X - stats.mean) / stats.rms_std)
    rows = row_products(kind(X), stats)
    rng = np.random.default_rng(global_random_seed)
    right, left = rng.normal(size=(60, 2)), rng.normal(size=(12, 2))
    np.testing.assert_allclose(rows.gram(), expected @ expected.T, atol=1e-12)
    np.testing.assert_allclose(rows.times(rows.native(right)), expected @ right, atol=1e-12)
    products = rows.transposed_times(rows.native(left))
    np.testing.assert_allclose(products, expected.T @ left, atol=1e-12)


def test_sparse_rows_are_centred_after_the_product_unless_digits_were_lost(global_random_seed):
    for offset, expected in [(0.0, SparseRowProducts), (1e9, RowProducts)]:
        X = few_entries(global_random_seed, offset)
        stats = moments(X)
        rows = row_products(sparse.csr_array(X), stats)
        assert type(rows) is expected
        exact = np.nan_to_num((X - stats.mean) / stats.rms_std)
        np.testing.assert_allclose(rows.gram(), exact @ exact.T, atol=1e-9)
