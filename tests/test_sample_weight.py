"""Weights of rows: an integer has the effect of so many copies of the row."""

from inspect import signature

import numpy as np
import pytest
import torch
from conftest import ESTIMATORS
from fitting import make_data
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from skae import AutoencoderClassifier, AutoencoderTransformer
from skae._data import sample_weight as module
from skae._data.groups import RowGroups
from skae._data.sample_weight import check_sample_weight, row_hashes, weighted_rows

WEIGHTED = [cls for cls in ESTIMATORS if has_fit_parameter(cls, "sample_weight")]


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


@pytest.fixture
def X(rng):
    X = rng.normal(size=(40, 6))
    X[rng.uniform(size=X.shape) < 0.3] = 0
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    return X


@pytest.fixture(params=WEIGHTED, ids=lambda cls: cls.__name__)
def weighted(request, small):
    """A small estimator of each class whose `fit` takes weights."""
    return lambda: small(request.param, n_components=2)


@pytest.fixture
def weights(rng):
    return rng.permutation(np.arange(40) % 4).astype(float)


def test_hashes_depend_on_the_values_alone(X):
    hashes = row_hashes(X)
    assert len(set(hashes.tolist())) == len(X)
    np.testing.assert_array_equal(row_hashes(sparse.csr_array(X)), hashes)
    np.testing.assert_array_equal(row_hashes(X[::-1]), hashes[::-1])
    np.testing.assert_array_equal(row_hashes(torch.from_numpy(X)), hashes)
    np.testing.assert_array_equal(row_hashes(np.where(X == 0, -0.0, X)), hashes)
    assert not np.isin(row_hashes(X[:, ::-1]), hashes).any()


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_integers_are_copies_in_any_order(X, weights, form, rng):
    copies = rng.permutation(np.repeat(X, weights.astype(int), axis=0))
    found, expected = weighted_rows(form(X), weights), weighted_rows(form(copies))
    dense = [rows.X.toarray() if sparse.issparse(rows.X) else rows.X for rows in (found, expected)]
    np.testing.assert_array_equal(*dense)
    assert found.weights is expected.weights is None
    assert found.n_samples == expected.n_samples == found.n_rows == len(copies)
    # With a common factor there are fewer copies.
    three_times = weighted_rows(form(X), 3 * weights)
    assert three_times.n_samples == 3 * three_times.n_rows == 3 * found.n_rows


def test_many_copies_are_weights(X, weights):
    found = weighted_rows(X, 1e6 * weights + 1)
    expected = weighted_rows(X[::-1], 1e6 * weights[::-1] + 1)
    np.testing.assert_array_equal(found.X, expected.X)
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert found.X.shape == X.shape
    assert found.n_samples == 1e6 * weights.sum() + 40
    assert found.weights.mean() == pytest.approx(1)


def test_rows_of_equal_weight_stay_as_they_are(X):
    for given in (None, np.full(40, 0.3), np.full(40, 7.0)):
        rows = weighted_rows(X, given)
        assert rows.X is X
        assert rows.weights is None
        assert rows.n_samples == (280 if given is not None and given[0] == 7 else 40)
    twice = weighted_rows(np.concatenate([X, X]))
    np.testing.assert_array_equal(twice.X, X)
    assert twice.n_samples == 80


def test_large_rows_are_not_copied(X, weights, monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 0)
    rows = weighted_rows(X, weights)
    assert rows.X is X
    assert rows.n_rows == 30
    assert rows.weights[weights > 0].mean() == pytest.approx(1)
    np.testing.assert_array_equal(rows.weights == 0, weights == 0)


def test_rows_of_different_groups_are_different(X):
    labels = np.repeat(["a", "b"], 40)
    groups = RowGroups.from_labels(labels, 80)
    rows = weighted_rows(np.concatenate([X, X]), None, groups)
    assert rows.X.shape == (80, 6)
    rows = weighted_rows(np.concatenate([X, X]), np.r_[np.zeros(40), np.arange(1, 41)], groups)
    assert rows.groups.labels == ["b"]
    assert len(rows.groups.of_row) == rows.n_rows == 820


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(40), "zero for all rows"),
        (np.r_[-1.0, np.ones(39)], "not negative, got -1"),
        (np.r_[np.nan, np.ones(39)], "finite"),
        (np.r_[np.inf, np.ones(39)], "finite"),
        (np.ma.masked_equal(np.arange(40), 3), "finite"),
        (np.ones(39), r"shape \(40,\).* got \(39,\)"),
        (np.ones((40, 1)), r"got \(40, 1\)"),
        (2.0, r"got \(\)"),
        (["a"] * 40, "array of numbers"),
        (np.ones(40, complex), "array of numbers"),
        (np.ones(40, "M8[s]"), "array of numbers"),
        ([{}] * 40, "array of numbers"),
        ([10**400] * 40, "array of numbers"),
        (torch.ones(40, dtype=torch.bfloat16), "array of numbers"),
    ],
)
def test_wrong_weights_are_refused(given, message):
    with pytest.raises((ValueError, TypeError), match=f"`sample_weight` must .*{message}"):
        check_sample_weight(given, 40)


SCORED = [
    cls
    for cls in WEIGHTED
    if hasattr(cls, "score") and "sample_weight" in signature(cls.score).parameters
]


@pytest.mark.parametrize("cls", SCORED, ids=lambda cls: cls.__name__)
def test_wrong_weights_of_scores_are_refused_alike(cls, small, X):
    X, y = np.nan_to_num(X), np.arange(len(X)) % 2
    fitted = small(cls, n_components=2).fit(X, y)
    for given in (np.zeros(len(y)), -np.ones(len(y)), np.ones(3), ["a"] * len(y)):
        with pytest.raises((ValueError, TypeError), match=r"^`sample_weight` must"):
            fitted.score(X, y, sample_weight=given)


def test_weights_that_leave_one_row_are_refused(weighted, digits):
    with pytest.raises(ValueError, match=r"`sample_weight` .*1 sample.* minimum of 2"):
        weighted().fit(digits, np.arange(len(digits)) % 2, sample_weight=np.arange(len(digits)) < 1)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_weights_that_are_zero_relative_to_the_largest_leave_rows_out(weighted, digits):
    X, y, kept = digits[:60], np.arange(60) % 2, np.arange(60) % 3 > 0
    expected = weighted().fit(X, y, sample_weight=kept.astype(float))
    tiny = weighted().fit(X, y, sample_weight=np.where(kept, 1e308, 1e-300))
    np.testing.assert_array_equal(results(tiny, X), results(expected, X))


def results(estimator, rows):
    """What a fitted estimator predicts, or the codes."""
    for name in ("predict_proba", "decision_function", "score_samples", "transform"):
        if hasattr(estimator, name):
            return getattr(estimator, name)(rows)
    raise AssertionError(name)


def test_zero_weights_leave_rows_out_and_equal_weights_change_nothing(weighted, digits):
    X, y = digits[:60], np.arange(60) % 2
    kept = np.arange(60) % 3 > 0
    expected = weighted().fit(X[kept], y[kept])
    left_out = weighted().fit(X, y, sample_weight=0.7 * kept)
    np.testing.assert_array_equal(results(left_out, X), results(expected, X))


@pytest.mark.parametrize("how", ["groups", "search", "large"])
def test_weights_are_the_same_in_all_ways_of_fitting(autoencoder, how, small, digits, monkeypatch):
    X, weights = digits[:60], np.arange(60) % 3 > 0
    labels = np.arange(60) % 20
    if how == "large":
        monkeypatch.setattr(module, "MAX_ENTRIES", 0)
    parameters = {"n_components": 0.3} if how == "search" else {"n_components": 2}
    if how == "search" and autoencoder.__name__ == "SparseAutoencoder":
        pytest.skip("has no such n_components")
    fits = [
        small(autoencoder, **parameters).fit(
            rows, sample_weight=weight, groups=groups if how == "groups" else None
        )
        for rows, weight, groups in (
            (X, weights, labels),
            (X[weights], None, labels[weights]),
        )
    ]
    # Of large rows, the rows without weight stay in the blocks, and the order of sums differs.
    np.testing.assert_allclose(*[fit.transform(X) for fit in fits], atol=1e-3)
    assert fits[0].n_samples_seen_ == fits[1].n_samples_seen_ == 40


def test_batches_with_weights_equal_batches_with_copies(autoencoder, small, digits):
    X, weights = digits[:60], np.arange(60) % 3
    with_weights, with_copies = small(autoencoder, 2), small(autoencoder, 2)
    for rows in (slice(0, 40), slice(40, 60)):
        with_weights.partial_fit(X[rows], sample_weight=weights[rows])
        with_copies.partial_fit(np.repeat(X[rows], weights[rows], axis=0))
    np.testing.assert_array_equal(with_weights.transform(X), with_copies.transform(X))
    assert with_weights.n_samples_seen_ == with_copies.n_samples_seen_ == 60


def test_the_score_is_weighted(autoencoder, small, digits):
    X, weights = digits[:60], np.arange(60) % 3
    fitted = small(autoencoder, 2).fit(X)
    copies = np.repeat(X, weights, axis=0)
    assert fitted.score(X, sample_weight=weights) == pytest.approx(fitted.score(copies))
    assert fitted.score(X, sample_weight=np.full(60, 0.1)) == fitted.score(X)
    far = np.concatenate([X, 1e300 * X[:1]])
    assert fitted.score(far, sample_weight=np.r_[np.ones(60), 0]) == pytest.approx(fitted.score(X))


def test_the_statistics_are_weighted(autoencoder, small, digits, rng):
    weights = rng.uniform(size=60)
    fitted = small(autoencoder, 2).fit(digits[:60], sample_weight=weights)
    np.testing.assert_allclose(fitted.mean_, np.average(digits[:60], axis=0, weights=weights))
    score = fitted.score(digits[:60], sample_weight=weights)
    np.testing.assert_allclose(fitted.explained_variance_ratio_.sum(), score)


FORMS = {
    "tall": lambda X: X,
    "wide": lambda X: np.hstack([X, X**2, np.sqrt(X)])[:40],
    "gaps": lambda X: np.where(np.arange(X.size).reshape(X.shape) % 11, X, np.nan),
    "sparse": lambda X: sparse.csr_array(np.where(X > 12, X, 0)),
    "wide and sparse": lambda X: sparse.csr_array(np.where(X[:40] > 12, X[:40], 0)),
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_that_are_no_integers_have_the_ratios_of_copies(form, digits, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = FORMS[form](digits[:90])
    counts = rng.permutation(np.arange(X.shape[0]) % 4)
    # No training, which would depend on the order of the rows.
    linear = AutoencoderTransformer(2, hidden_layer_sizes=(), learning_rate_init=1e-30, max_iter=1)
    weighted = clone(linear).fit(X, sample_weight=counts / 3)
    copies = clone(linear).fit(X[np.repeat(np.arange(X.shape[0]), counts)])
    assert weighted.n_samples_seen_ == np.count_nonzero(counts)
    for name in ("mean_", "components_", "explained_variance_ratio_", "pca_score_"):
        found, expected = getattr(weighted, name), getattr(copies, name)
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)  # float32 with gaps
    np.testing.assert_allclose(weighted.transform(X), copies.transform(X), atol=1e-3)


def test_held_out_errors_are_weighted(digits, small):
    X, counts = digits[:60], np.arange(60) % 4
    untrained = small(AutoencoderTransformer, 2, early_stopping=False, learning_rate_init=1e-30)
    weighted = clone(untrained).fit(X, sample_weight=counts / 3)
    copies = clone(untrained).fit(np.repeat(X, counts, axis=0))
    # The network is in float32.
    np.testing.assert_allclose(weighted.validation_curve_, copies.validation_curve_, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_the_order_of_copies_is_the_same_in_other_units(X, weights, scale):
    rows = weighted_rows(X, weights)
    np.testing.assert_allclose(weighted_rows(5 + scale * X, weights).X, 5 + scale * rows.X)
    assert (np.diff(np.nan_to_num(rows.X[:, 0], nan=1e9)) >= 0).all()


def test_an_epoch_has_each_row_as_often_as_its_weight(rng, digits, small):
    for weights in (rng.permutation(np.arange(50) % 5 + 0.5), rng.uniform(size=50) ** 4):
        data = make_data(
            small(AutoencoderTransformer, early_stopping=False), digits[:50], sample_weight=weights
        )
        relative = data.weights
        generator = torch.Generator().manual_seed(0)
        epochs = [data.epoch(generator) for _ in range(200)]
        counts = np.stack([np.bincount(epoch, minlength=len(relative)) for epoch in epochs])
        assert (counts.sum(axis=1) == len(relative)).all()
        assert (np.abs(counts - relative) < 1).all()
        np.testing.assert_allclose(counts.mean(axis=0), relative, atol=0.2)


def test_class_weights_equal_weights_of_the_rows(small, digits, global_random_seed):
    X, y = digits[:90], np.arange(90) % 3
    parameters = {"max_iter": 1, "batch_size": 1000, "noise_level": 0.0}
    # The first step of Adam enlarges rounding errors of small gradients, as in hidden layers, in
    # proportion to the learning rate.
    parameters["learning_rate_init"] = 0.003
    frozen = FrozenEstimator(small(AutoencoderTransformer, 2, hidden_layer_sizes=()).fit(X))
    balanced, given, plain, copies = (
        small(AutoencoderClassifier, estimator=frozen, class_weight=weight, **parameters)
        for weight in ("balanced", {0: 1, 1: 1, 2: 2}, None, None)
    )
    np.testing.assert_array_equal(
        balanced.fit(X, y).predict_proba(X), plain.fit(X, y).predict_proba(X)
    )
    # A single step with all rows.
    weights = given.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(
        copies.fit(X, y, sample_weight=1 + (y == 2)).predict_proba(X), weights, atol=1e-5
    )
    assert np.abs(weights - plain.predict_proba(X)).max() > 1e-3


@pytest.mark.parametrize("weight", [{0: -1, 1: 1}, {0: 0, 1: 0}, {0: np.nan, 1: 1}, "even", 2.0])
def test_wrong_class_weights_are_refused(small, digits, weight):
    with pytest.raises((ValueError, TypeError), match="`class_weight` must"):
        small(AutoencoderClassifier, class_weight=weight).fit(digits[:30], np.arange(30) % 2)


def test_weights_reach_a_pipeline_and_a_search_by_metadata_routing(small, digits):
    weights = (np.arange(60) % 3).astype(float)
    with config_context(enable_metadata_routing=True):
        reducer = small(AutoencoderTransformer, max_iter=1)
        reducer = reducer.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        pipeline = Pipeline([("scaler", scaler), ("reducer", reducer)])
        search = GridSearchCV(pipeline, {"reducer__n_components": [1, 2]}, cv=2)
        search.fit(digits[:60], sample_weight=weights)
    scaler = StandardScaler().fit(digits[:60], sample_weight=weights)
    np.testing.assert_allclose(search.best_estimator_["scaler"].mean_, scaler.mean_)
    best = search.best_estimator_["reducer"]
    assert best.n_samples_seen_ == weights.sum()
    expected = best.score(scaler.transform(digits[:60]), sample_weight=weights)
    assert best.explained_variance_ratio_.sum() == pytest.approx(expected)
