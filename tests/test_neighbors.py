"""Nearest neighbours, exact and approximate."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import pairwise_distances
from sklearn.utils import check_random_state

from skae._training import neighbors
from skae._training.neighbors import (
    APPROXIMATED,
    METRICS,
    OF_SPARSE_ROWS,
    nearest_neighbors,
    nearest_rows,
)


def exact(X, n_neighbors, metric="euclidean"):
    distances = pairwise_distances(X, metric=metric)
    np.fill_diagonal(distances, np.inf)
    return distances.argsort(axis=1)[:, :n_neighbors]


def recall(found, expected):
    return np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, expected, strict=True)])


@pytest.fixture
def blobs(global_random_seed):
    """600 rows about 20 centres; the second half of the columns is nearly constant."""
    rng = check_random_state(global_random_seed)
    centres = np.repeat(rng.normal(size=(20, 60)), 30, axis=0)
    return (centres + 0.3 * rng.normal(size=centres.shape)) * np.where(np.arange(60) < 30, 1, 0.01)


@pytest.mark.parametrize("metric", [*METRICS[:7], lambda a, b: abs(a - b).max()])
def test_few_rows_have_exact_neighbours(blobs, metric):
    X = abs(blobs[::5])
    np.testing.assert_array_equal(nearest_neighbors(X, 4, metric, 0), exact(X, 4, metric))


@pytest.mark.filterwarnings("ignore:Data was converted to boolean")
@pytest.mark.parametrize("metric", METRICS[7:])
def test_metrics_of_binary_rows(blobs, metric):
    X = blobs[::5] > 0.3
    distances = pairwise_distances(X, metric=metric)
    found = nearest_neighbors(X.astype(float), 4, metric, 0)
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)[:, :4]  # many distances are equal
    np.testing.assert_allclose(np.take_along_axis(distances, found, axis=1), nearest)


def test_rows_at_equal_distances_are_in_order_whatever_the_units(global_random_seed):
    X = check_random_state(global_random_seed).randint(4, size=(60, 5)).astype(float)
    expected = nearest_neighbors(X, 5, "euclidean", 0)
    for factor in (1e-30, 0.1, 1e30):
        np.testing.assert_array_equal(nearest_neighbors(X * factor, 5, "euclidean", 0), expected)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n_features", [3, 60])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_most_approximate_neighbours_are_exact(blobs, metric, n_features, container, monkeypatch):
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 100)
    monkeypatch.setattr(neighbors, "N_CANDIDATES", 200)
    monkeypatch.setattr(neighbors, "N_SINGULAR", 30)
    X = blobs[:, :n_features]
    found = nearest_neighbors(container(X), 5, metric, 0)
    assert recall(found, exact(X, 5, metric)) > 0.8
    assert not (found == np.arange(len(X))[:, None]).any()
    assert all(len({*row}) == 5 for row in found)


def test_equal_rows_have_approximate_neighbours(monkeypatch):
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 100)
    monkeypatch.setattr(neighbors, "N_CANDIDATES", 1)
    found = nearest_neighbors(np.ones((400, 3)), 50, "euclidean", 0)
    assert all(len({*row} - {i}) == 50 for i, row in enumerate(found))


def test_the_nearest_row_is_one_of_some_rows_if_these_are_many(blobs, monkeypatch):
    distances = pairwise_distances(blobs[400:], blobs[:400])
    np.testing.assert_array_equal(
        nearest_rows(blobs[:400], blobs[400:], "euclidean"), distances.argmin(axis=1)
    )
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 100)
    np.testing.assert_array_equal(
        nearest_rows(blobs[:400], blobs[400:], "euclidean"), 4 * distances[:, ::4].argmin(axis=1)
    )


NO_DISTANCES = {
    "NaN": lambda a, b: np.nan,
    "infinite": lambda a, b: np.inf,
    "negative": lambda a, b: -1.0,
    "text": lambda a, b: "far",
    "of one row": lambda a: 0.0,
}


@pytest.mark.parametrize("name", NO_DISTANCES)
@pytest.mark.parametrize("n_rows", [5, 60])
def test_a_function_that_returns_no_distance_is_named(name, n_rows, global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(size=(n_rows, 3))
    with pytest.raises(ValueError, match="`metric` must return a number for any two rows"):
        nearest_neighbors(X, 2, NO_DISTANCES[name], 0)
    with pytest.raises(ValueError, match="`metric` must return a number for any two rows"):
        nearest_rows(X, X, NO_DISTANCES[name])


@pytest.mark.parametrize("metric", METRICS)
def test_sparse_rows_have_neighbours_or_name_the_metric(metric, blobs):
    X = sparse.csr_array(blobs[:80] * (blobs[:80] > 0))
    if metric in OF_SPARSE_ROWS:
        found = nearest_neighbors(X, 3, metric, 0)
        assert recall(found, nearest_neighbors(X.toarray(), 3, metric, 0)) > 0.99
    else:
        with pytest.raises(ValueError, match="`metric` must be one of 'euclidean'"):
            nearest_neighbors(X, 3, metric, 0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.filterwarnings("error")
def test_rows_of_zeros_have_neighbours(metric):
    X = np.zeros((40, 3))
    X[20:] = np.eye(3)[np.arange(20) % 3]
    found = nearest_neighbors(X, 3, metric, 0)
    assert (found != np.arange(40)[:, None]).all()
    assert nearest_rows(X, X[:2], metric).shape == (2,)


@pytest.mark.parametrize("n_exact", [100, 1000])
@pytest.mark.parametrize("metric", APPROXIMATED)
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.filterwarnings("error")
def test_neighbours_depend_neither_on_units_nor_on_a_far_row(
    blobs, metric, n_exact, container, monkeypatch
):
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", n_exact)
    monkeypatch.setattr(neighbors, "N_SINGULAR", 30)
    blobs = blobs[:150]
    far = np.r_[np.full((1, 60), 1e60), blobs[1:]]
    expected = nearest_neighbors(container(blobs), 5, metric, 0)
    for X in (2.0**-300 * blobs, (2.0**120 * blobs).astype(np.float32), far):
        assert recall(nearest_neighbors(container(X), 5, metric, 0)[1:], expected[1:]) > 0.8
        nearest = nearest_rows(container(X), container(X[1:]), metric)
        if n_exact > len(X):
            np.testing.assert_array_equal(nearest, np.arange(1, len(X)))
