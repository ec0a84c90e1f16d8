"""Products of all rows in standard units, with rows of every form."""

import numpy as np
import pytest
import torch
from scipy import sparse

from skae._data.moments import moments
from skae._training import row_products as module
from skae._training.row_products import (
    RowProducts,
    SparseRowProducts,
    principal_coordinates,
    row_products,
    triangular_coordinates,
)

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


@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.parametrize("kind", ["principal", "triangular"])
def test_coordinates_have_orthonormal_axes(kind, has_weights, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.normal(size=(8, 30))
    weights = rng.uniform(0.5, 1.5, size=(8, 1)) if has_weights else np.ones((8, 1))
    weights /= weights.mean()
    X -= np.average(X, axis=0, weights=weights[:, 0])  # of rank seven
    gram = np.sqrt(weights) * X @ X.T * np.sqrt(weights.T)
    given = weights if has_weights else None
    if kind == "principal":
        squares, left = np.linalg.eigh(gram)
        parts = squares[::-1].copy(), left[:, ::-1].copy()
        coordinates = principal_coordinates(*parts, 1e-10, given)
    else:
        coordinates = triangular_coordinates(gram.copy(), given)
    axes = coordinates.times_inverse(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(coordinates.values @ axes, X, atol=1e-8)
    has_length = coordinates.std > 0
    assert has_length.sum() == 7
    axes = axes[has_length]
    np.testing.assert_allclose(axes @ axes.T, np.eye(7), atol=1e-8)
    vectors = torch.from_numpy(rng.normal(size=(len(has_length), 2)) * has_length[:, None])
    dual = coordinates.times_transposed_inverse(vectors).numpy()
    np.testing.assert_allclose(X.T @ dual, axes.T @ vectors.numpy()[has_length], atol=1e-8)
    squares = (weights * coordinates.values**2).sum()
    assert np.mean(coordinates.std[has_length] ** 2) * 64 == pytest.approx(squares, rel=0.15)
