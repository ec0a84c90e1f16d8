"""The classifier for few labels: laws of its graph, of labels, and of rows without any."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import (
    VAE,
    AutoencoderClassifier,
    AutoencoderTransformer,
    DenoisingAutoencoder,
    SparseAutoencoder,
)
from skae._semi_supervised.label_spreading import normalized_affinity, spread_labels


@pytest.fixture(scope="module")
def labelled():
    """900 digits for training and 300 others, in float32; read-only."""
    X, y = load_digits(return_X_y=True)
    data = train_test_split(X.astype(np.float32), y, train_size=900, test_size=300, random_state=0)
    for array in data:
        array.setflags(write=False)
    return data


def mask_cells(y, n_known):
    """All labels but the first few replaced by -1."""
    return np.where(np.arange(len(y)) < n_known, y, -1)


def small(estimator=None, **parameters):
    """A classifier that learns within a fraction of a second."""
    if estimator is None:
        estimator = AutoencoderTransformer(16, max_iter=3, hidden_layer_sizes=(64,))
    return AutoencoderClassifier(estimator, **({"max_iter": 25, "random_state": 0} | parameters))


@pytest.fixture(scope="module")
def fitted(labelled):
    X, _, y, _ = labelled
    return small().fit(X, mask_cells(y, 60))


# The graph.


def test_spreading_ends_where_linear_equations_say():
    rng = np.random.RandomState(0)
    codes = rng.normal(size=(80, 2)) + 4 * (np.arange(80) % 2)[:, None]
    labels = np.full(80, -1)
    labels[:6] = [0, 1, 0, 1, 0, 1]
    S = normalized_affinity(codes, 8).toarray()
    given = np.eye(2)[labels] * (labels >= 0)[:, None]
    # The fixed point of F = 0.99 S F + Y, each column divided by its sum; both have three labels.
    F = np.linalg.solve(np.eye(80) - 0.99 * S, given)
    expected = (F / F.sum(axis=0)).argmax(axis=1)
    assert (spread_labels(codes, labels, 8) == expected).mean() > 0.98


def test_the_graph_is_symmetric_and_knows_no_unit():
    codes = np.random.RandomState(0).normal(size=(50, 3))
    S = normalized_affinity(codes, 5)
    np.testing.assert_allclose(S.toarray(), S.toarray().T, atol=1e-12)
    np.testing.assert_allclose(
        normalized_affinity(1e6 * codes, 5).toarray(), S.toarray(), atol=1e-9
    )
    assert abs(np.linalg.eigvalsh(S.toarray())).max() <= 1 + 1e-9  # so spreading converges


def test_a_label_stays_within_its_component():
    codes = np.r_[np.zeros((5, 1)), np.full((5, 1), 9.0), np.full((5, 1), 99.0)]
    codes += np.arange(15)[:, None] / 1000
    labels = np.full(15, -1)
    labels[[0, 5]] = 0, 1
    np.testing.assert_array_equal(spread_labels(codes, labels, 3), [0] * 5 + [1] * 5 + [-1] * 5)


def test_copies_of_rows_are_survived():
    codes = np.repeat([[0.0], [1.0], [5.0]], 20, axis=0)
    labels = np.full(60, -1)
    labels[[0, 20, 40]] = 0, 1, 2
    np.testing.assert_array_equal(spread_labels(codes, labels, 25), np.repeat([0, 1, 2], 20))


# Labels.


@pytest.mark.parametrize("dtype", ["<U5", object])
def test_names_of_classes_are_learned_like_numbers(labelled, dtype):
    X, X_test, y, _ = labelled
    X, y = X[:200], y[:200]
    names = np.array([f"d{digit}" for digit in range(10)], dtype=dtype)
    by_number, by_name = small().fit(X, y), small().fit(X, names[y])
    np.testing.assert_array_equal(by_name.classes_, names)
    np.testing.assert_array_equal(by_name.predict(X_test), names[by_number.predict(X_test)])


def test_names_stand_beside_the_number_of_no_label(labelled, fitted):
    X, X_test, y, _ = labelled
    names = np.array([f"d{digit}" for digit in range(10)], dtype=object)
    few = np.where(mask_cells(y, 60) >= 0, names[y], -1)
    by_name = small().fit(X, few)
    np.testing.assert_array_equal(by_name.predict(X_test), names[fitted.predict(X_test)])


def test_no_label_as_a_string_is_refused(labelled):
    X, _, y, _ = labelled
    with pytest.raises(ValueError, match=r"`y` must not hold '-1' as a string.*dtype=object"):
        small().fit(X, mask_cells(y, 60).astype(str))


def test_a_single_value_beside_minus_one_is_a_class_and_so_is_minus_one(labelled):
    X, _, y, _ = labelled
    with pytest.warns(UserWarning, match=r"no values but 1 and -1, .* two classes"):
        two = small().fit(X, np.where(y < 5, -1, 1))
    np.testing.assert_array_equal(two.classes_, [-1, 1])


@pytest.mark.parametrize(
    ("y", "message"), [(0, "at least two classes, got 1 class"), (-1, "at least two classes")]
)
def test_one_class_is_refused(labelled, y, message):
    X = labelled[0]
    classifier = small()
    with pytest.raises(ValueError, match=message):
        classifier.fit(X, np.full(len(X), y))
    assert set(vars(classifier)) == set(classifier.get_params(deep=False))
    with pytest.raises(NotFittedError):
        classifier.predict(X)


def test_real_numbers_are_no_labels(labelled):
    X = labelled[0]
    with pytest.raises(ValueError, match="Unknown label type"):
        small().fit(X, X[:, 20] + 0.5)


# Answers.


def test_scores_are_linear_in_the_codes_and_logarithms_of_probabilities(labelled, fitted):
    X_test = labelled[1].astype(np.float64)
    scores, codes = fitted.decision_function(X_test), fitted.transform(X_test)
    np.testing.assert_allclose(scores, codes @ fitted.coef_.T + fitted.intercept_)
    proba = fitted.predict_proba(X_test)
    np.testing.assert_allclose(
        np.log(proba) - np.log(proba[:, :1]), scores - scores[:, :1], atol=1e-9
    )
    np.testing.assert_array_equal(fitted.predict(X_test), fitted.classes_[scores.argmax(axis=1)])


def test_two_classes_have_log_odds(labelled):
    X, X_test, y, _ = labelled
    two = small().fit(X, np.where(mask_cells(y, 60) >= 0, y % 2, -1))
    proba = two.predict_proba(X_test.astype(np.float64))
    odds = np.log(proba[:, 1] / proba[:, 0])
    np.testing.assert_allclose(two.decision_function(X_test.astype(np.float64)), odds, atol=1e-9)


# Learning.


def test_rows_without_labels_help(labelled):
    X, X_test, y, y_test = labelled
    few = mask_cells(y, 40)
    known = few >= 0
    ours = small().fit(X, few).score(X_test, y_test)
    alone = small().fit(X[known], y[known]).score(X_test, y_test)
    linear = LogisticRegression(max_iter=1000).fit(X[known], y[known]).score(X_test, y_test)
    assert ours > max(alone, linear) + 0.05


def test_moons_are_told_apart_by_one_label_each():
    X, y = make_moons(300, noise=0.05, random_state=0)
    few = np.full(300, -1)
    few[[np.flatnonzero(y == 0)[0], np.flatnonzero(y == 1)[0]]] = 0, 1
    classifier = AutoencoderClassifier(
        AutoencoderTransformer(2, max_iter=2), noise_level=0.1, max_iter=150, random_state=0
    ).fit(X, few)
    assert classifier.score(X, y) > 0.97


# 40 epochs are about where its test score stops growing.
@pytest.mark.filterwarnings("ignore:.*Maximum iterations:sklearn.exceptions.ConvergenceWarning")
def test_with_all_labels_it_is_a_network_no_worse_than_scikit_learns(labelled):
    X, X_test, y, y_test = labelled
    ours = small(DenoisingAutoencoder(16, hidden_layer_sizes=(64,), max_iter=10)).fit(X, y)
    theirs = MLPClassifier((64, 16), max_iter=40, random_state=0).fit(X, y)
    assert ours.score(X_test, y_test) >= theirs.score(X_test, y_test)


def test_with_no_room_for_other_rows_these_are_not_learned_from(labelled):
    X, _, y, _ = labelled
    few, other = mask_cells(y, 60), X.copy()
    estimator = FrozenEstimator(AutoencoderTransformer(16, max_iter=2).fit(X))
    first = small(estimator, max_samples=60, noise_level=0).fit(X, few)
    known = small(estimator, noise_level=0).fit(X[:60], y[:60])
    # The weights begin alike, the rows come in the same order; only the codes' size differs.
    assert np.mean(first.predict(other) == known.predict(other)) > 0.9
    assert small(estimator, max_samples=61).fit(X, few).score(X, y) < small(estimator).fit(
        X, few
    ).score(X, y)


def test_a_frozen_autoencoder_is_shared_and_not_changed(labelled):
    X, X_test, y, _ = labelled
    autoencoder = AutoencoderTransformer(16, max_iter=3, random_state=0).fit(X)
    before = autoencoder.transform(X_test)
    first = small(FrozenEstimator(autoencoder)).fit(X, mask_cells(y, 60))
    np.testing.assert_array_equal(autoencoder.transform(X_test), before)
    assert np.abs(first.transform(X_test) - before).max() > 0.1
    # What it would have learned itself, with the same seed.
    itself = small(AutoencoderTransformer(16, max_iter=3, random_state=0)).fit(X, mask_cells(y, 60))
    np.testing.assert_array_equal(itself.predict_proba(X_test), first.predict_proba(X_test))


def test_what_was_frozen_in_another_precision_is_tuned_in_both(labelled):
    X, X_test, y, _ = labelled
    autoencoder = AutoencoderTransformer(16, max_iter=3, random_state=0).fit(X)
    tuned = small(FrozenEstimator(autoencoder)).fit(X.astype(np.float64), mask_cells(y, 60))
    # float32 carries 7 digits, and a handful of layers loses one or two of them.
    np.testing.assert_allclose(
        tuned.transform(X_test), tuned.transform(X_test.astype(np.float64)), atol=1e-2
    )


@pytest.mark.parametrize("inner", [LogisticRegression(), AutoencoderTransformer(4)])
def test_what_is_frozen_must_be_a_fitted_autoencoder(labelled, inner):
    X, _, y, _ = labelled
    with pytest.raises((TypeError, NotFittedError), match=r"`estimator` must|not fitted"):
        small(FrozenEstimator(inner)).fit(X, y)


@pytest.mark.parametrize(
    "estimator",
    [
        VAE(8, max_iter=3, loss="poisson"),
        DenoisingAutoencoder(8, image_shape=(8, 8), hidden_layer_sizes=(8,), max_iter=3),
        AutoencoderTransformer(8, tied_weights=True, max_iter=3, whiten=True),
        AutoencoderTransformer(8, init="random", max_iter=3),
        SparseAutoencoder(100, sparse_output=True, max_iter=3),
        SparseAutoencoder(100, sparsity="jumprelu", tied_weights=True, max_iter=3),
    ],
    ids=["vae", "images", "tied", "random", "sparse", "tied sparse"],
)
def test_any_autoencoder_serves(labelled, estimator):
    X, X_test, y, y_test = labelled
    assert small(estimator).fit(X, mask_cells(y, 100)).score(X_test, y_test) > 0.6


def test_the_default_fits_few_rows_and_columns():
    X = np.random.RandomState(0).normal(size=(30, 3)) + np.repeat([[0.0], [4.0]], 15, axis=0)
    classifier = AutoencoderClassifier(max_iter=20, random_state=0).fit(X, np.repeat([0, 1], 15))
    assert isinstance(classifier.encoder_, DenoisingAutoencoder)
    assert classifier.transform(X).shape == (30, 3)
    assert classifier.score(X, np.repeat([0, 1], 15)) > 0.9


# A good citizen.


def test_one_seed_settles_all_chance(labelled):
    X, X_test, y, _ = labelled
    torch_state = torch.get_rng_state()
    first, second = (small().fit(X, mask_cells(y, 60)) for _ in range(2))
    third = clone(first).set_params(random_state=1).fit(X, mask_cells(y, 60))
    np.testing.assert_array_equal(first.predict_proba(X_test), second.predict_proba(X_test))
    assert not np.array_equal(first.predict_proba(X_test), third.predict_proba(X_test))
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_a_pickle_gives_the_same_answers_and_holds_no_rows(labelled, fitted):
    X, X_test, y, _ = labelled
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X_test), fitted.predict_proba(X_test))
    twice = small().fit(np.tile(X, (2, 1)), np.tile(mask_cells(y, 60), 2))
    assert abs(len(pickle.dumps(twice)) - len(pickle.dumps(fitted))) < 1000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_X_is_kept(labelled, fitted, dtype):
    X_test = labelled[1].astype(dtype)
    assert fitted.transform(X_test).dtype == fitted.predict_proba(X_test).dtype == dtype


def test_sparse_rows_are_the_same_rows_and_gaps_are_means(labelled, fitted):
    X, X_test, y, _ = labelled
    other = small().fit(sparse.csr_array(X), mask_cells(y, 60))
    agree = other.predict(sparse.csr_array(X_test)) == fitted.predict(X_test)
    assert agree.mean() > 0.98  # sums in another order, then 25 epochs of float32
    with_gaps = X.copy()
    with_gaps[:, 20:24] = np.nan
    assert np.isfinite(small().fit(with_gaps, mask_cells(y, 60)).predict_proba(with_gaps)).all()


def test_frames_keep_their_names(labelled):
    X, X_test, y, _ = labelled
    frame, test = (pd.DataFrame(rows).rename(columns="p{}".format) for rows in (X, X_test))
    fitted = small().fit(frame, pd.Series(mask_cells(y, 60))).set_output(transform="pandas")
    assert list(fitted.feature_names_in_) == list(frame.columns)
    assert list(fitted.transform(test).columns) == [f"autoencoderclassifier{i}" for i in range(16)]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(test[test.columns[::-1]])


def test_tuned_in_a_grid_inside_a_pipeline(labelled):
    X, _, y, _ = labelled
    pipeline = make_pipeline(StandardScaler(), small())
    name = "autoencoderclassifier__estimator__n_components"
    search = GridSearchCV(pipeline, {name: [1, 16]}, cv=2).fit(X[:300], y[:300])
    assert search.best_params_ == {name: 16}


def test_a_diverging_fit_names_the_learning_rate(labelled):
    X, _, y, _ = labelled
    classifier = small(learning_rate_init=1e30)
    with pytest.raises(ValueError, match=r"`learning_rate_init` = 1e\+30 is too large"):
        classifier.fit(X, y)
    assert not hasattr(classifier, "classes_")


def test_parameters_are_documented_and_checked(labelled):
    X, _, y, _ = labelled
    for name, value in AutoencoderClassifier().get_params().items():
        entry = next(
            line
            for line in skae.AutoencoderClassifier.__doc__.splitlines()
            if line.startswith(f"    {name} : ")
        )
        assert eval(entry.split("default=")[1]) == value
        with pytest.raises((ValueError, TypeError), match=f"`{name}` must be"):
            AutoencoderClassifier(**{name: "no such thing"}).fit(X, y)
