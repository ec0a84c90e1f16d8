"""Validation of rows: what scikit-learn's checks let through although it was not asked for."""

import numpy as np
import pandas as pd
import pytest
from conftest import ESTIMATORS
from scipy import sparse

from skae._data.rows import as_floats, validate_codes

# Estimators that read CSR matrices.
READS_SPARSE = [cls for cls in ESTIMATORS if cls().__sklearn_tags__().input_tags.sparse]
METHODS = ("transform", "reconstruct", "score_samples", "score_features", "predict_proba")


def booleans(seed):
    return pd.DataFrame(
        np.random.RandomState(seed).uniform(size=(60, 5)) < 0.4, columns=list("abcde")
    )


def with_duplicates(X, seed):
    """`X` as a CSR matrix in which each entry is stored as two large numbers, in random order."""
    rng = np.random.RandomState(seed)
    first = rng.uniform(100, 1000, X.shape)
    order = np.array([rng.permutation(2 * X.shape[1]) for _ in X])
    entries = np.take_along_axis(np.hstack([first, X - first]), order, 1)
    indices = order % X.shape[1]
    starts = np.arange(0, X.size * 2 + 1, 2 * X.shape[1])
    return sparse.csr_matrix((entries.ravel(), indices.ravel(), starts), shape=X.shape)


def results(estimator, X, y):
    fitted = estimator.fit(X, y)
    return {name: np.asarray(getattr(fitted, name)(X)) for name in METHODS if hasattr(fitted, name)}


@pytest.mark.parametrize("cls", READS_SPARSE)
def test_a_sparse_frame_of_booleans_is_a_matrix_of_floats(cls, small, global_random_seed):
    frame = booleans(global_random_seed)
    y = np.arange(60) % 2
    expected = results(small(cls, 2), sparse.csr_matrix(frame.to_numpy(float)), y)
    given = results(small(cls, 2), frame.astype(pd.SparseDtype(bool)), y)
    for name, values in expected.items():
        assert given[name].dtype == np.float64
        np.testing.assert_array_equal(given[name], values, err_msg=name)


@pytest.mark.parametrize("cls", READS_SPARSE)
def test_entries_that_are_stored_several_times_are_added(cls, small, global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(60, 5))
    duplicated = with_duplicates(X, global_random_seed)
    entries = duplicated.data.copy()
    y = np.arange(60) % 2
    expected = results(small(cls, 2), sparse.csr_matrix(X), y)
    for name, values in results(small(cls, 2), duplicated, y).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_array_equal(duplicated.data, entries)  # the caller's matrix is unchanged


def test_a_sum_of_stored_entries_that_is_infinite_is_refused():
    twice = sparse.csr_matrix(([1.7e308, 1.7e308], [0, 0], [0, 2]), shape=(1, 2))
    with pytest.raises(ValueError, match="sum is infinite"):
        validate_codes(twice, dtype=[np.float64])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_other_dtypes_become_the_first_that_is_asked_for(form):
    given = as_floats(form(np.eye(2, dtype=bool)), [np.float64, np.float32])
    assert given.dtype == np.float64
