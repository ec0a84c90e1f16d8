"""Scores that a few known outliers improve."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import make_small
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from skae import AutoencoderOutlierDetector, AutoencoderTransformer, DenoisingEnsemble, load, save
from skae._outliers.known_outliers import ERROR_STD, STRENGTH, KnownOutliers, known_outliers


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


@pytest.fixture
def detector(global_random_seed):
    ensemble = DenoisingEnsemble(n_steps=20, hidden_layer_sizes=(16,))
    return AutoencoderOutlierDetector(ensemble, novelty=True, random_state=global_random_seed)


@pytest.fixture
def labelled(rng):
    """Rows, and labels; the last ten rows are outliers in their first feature, five are known."""
    X = rng.normal(size=(150, 5))
    X[140:, 0] += 2.5
    y = np.zeros(150, dtype=int)
    y[145:], y[:20] = -1, 1
    return X, y


def g(t):
    return np.sign(t) * np.log1p(np.abs(t))


@pytest.mark.parametrize("kind", ["float64", "float32", "sparse", "missing"])
@pytest.mark.parametrize("estimator", [None, AutoencoderTransformer])
def test_contributions_add_up_to_the_score(kind, estimator, detector, labelled):
    X, y = labelled
    if estimator is not None:
        detector = clone(detector).set_params(estimator=make_small(estimator, max_iter=2))
    X = (
        sparse.csr_array(X)
        if kind == "sparse"
        else X.astype(X.dtype if kind == "missing" else kind)
    )
    if kind == "missing":
        X[:100:7, 1] = np.nan
    fitted = detector.fit(X, y)
    contributions = fitted.feature_contributions(X)
    np.testing.assert_allclose(contributions.sum(axis=1), fitted.score_samples(X), atol=1e-9)
    if kind == "missing":
        assert fitted.score_samples(np.full((1, 5), np.nan)) == 0
        assert not contributions[np.isnan(X)].any()


def test_scores_are_those_of_the_formula_and_minimise_the_objective(detector, labelled):
    X, y = labelled
    fitted = detector.fit(X, y)
    is_outlier = y == -1
    errors = -clone(detector).fit(X[~is_outlier]).score_samples(X)
    log_errors = np.log(errors + 0.1 * np.median(errors[~is_outlier]))
    lower, median, upper = np.percentile(log_errors[~is_outlier], [25, 50, 75])
    e, z = g((log_errors - median) / ((upper - lower) / 1.35)), g((X - X.mean(0)) / X.std(0))
    known = KnownOutliers(*fitted._known_outliers)
    (b, c), a = known.coef, known.by_error[3]
    expected = -(a * e + z @ b + np.abs(z) @ c)
    np.testing.assert_allclose(fitted.score_samples(X), expected)
    # The gradient of the objective is zero, for one offset.
    terms = np.c_[z, np.abs(z), ERROR_STD * e]
    w = np.r_[b, c, (a - 1) / ERROR_STD]
    strength = STRENGTH * 5 / np.sqrt(11)

    def gradient(offset):
        probability = expit(terms @ w + offset)
        return (probability - is_outlier) / np.where(is_outlier, 5, 145)

    low, high = -50.0, 50.0
    for _ in range(100):  # bisection: the gradient by the offset increases
        middle = (low + high) / 2
        low, high = (middle, high) if gradient(middle).sum() < 0 else (low, middle)
    np.testing.assert_allclose(w + strength * terms.T @ gradient(low), 0, atol=1e-2)


def test_known_outliers_help_to_find_similar_ones(rng, global_random_seed):
    def draw(n_rows):
        X = rng.normal(size=(n_rows, 8))
        X[::10, 2] += 2
        return X, np.arange(n_rows) % 10 == 0

    (X, is_outlier), (new, is_new_outlier) = draw(400), draw(1000)
    y = np.zeros(400)
    y[np.flatnonzero(is_outlier)[:10]] = -1
    detector = AutoencoderOutlierDetector(
        DenoisingEnsemble(n_steps=50), random_state=global_random_seed
    )
    areas = [
        roc_auc_score(is_new_outlier, -detector.fit(X, labels).score_samples(new))
        for labels in (None, y)
    ]
    assert areas[1] > areas[0] + 0.1


def test_the_autoencoder_is_not_fitted_to_known_outliers(detector, labelled):
    X, y = labelled
    by_labels = clone(detector).fit(X, y).estimator_
    without = clone(detector).fit(X[y != -1]).estimator_
    np.testing.assert_array_equal(by_labels.score_samples(X), without.score_samples(X))


def test_scores_do_not_depend_on_units(detector, labelled, rng):
    X, y = labelled
    units, shift = 10.0 ** rng.randint(-3, 4, size=5), rng.normal(size=5)
    expected = detector.fit(X, y).score_samples(X)
    got = detector.fit(X * units + shift, y).score_samples(X * units + shift)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "y",
    [
        np.zeros(150),
        np.arange(150) % 3,
        np.full(150, "a"),
        [0.5] * 150,
        [-1, 2, 0.3] * 50,
        np.arange(150) % 2 + 1,
        ["a", 1, None] * 50,
        [[1], [1, 2]],
        [[-1, 0]] * 150,
    ],
)
def test_other_targets_have_no_effect(y, detector, labelled):
    X, _ = labelled
    expected = detector.fit(X).score_samples(X)
    np.testing.assert_array_equal(detector.fit(X, y).score_samples(X), expected)


@pytest.mark.parametrize(
    "y",
    [
        np.arange(150) % 2,
        np.ones(150),
        np.where(np.arange(150) < 5, -1, 2),
        np.where(np.arange(150) < 5, -1.0, 0.5),
        np.where(np.arange(150) < 5, "outlier", "inlier"),
        np.where(np.arange(150) < 5, "-1", "1").astype(object),
        np.arange(150) < 5,
        np.where(np.arange(150) < 5, -1, 1) + 0j,
        np.arange(150) % 3 - 1 + 0j,
        (np.arange(150) % 3 - 1).astype(str),
        [-1, "a"],
        [[True], [False], [None]],
        pd.Series(["yes", None, "no"]),
    ],
)
def test_two_classes_that_are_not_used_warn(y):
    with pytest.warns(UserWarning, match="`y` has no effect: labels are -1 for outliers"):
        assert known_outliers(y, len(y)) is None


def test_the_warning_tells_of_missing_labels():
    with pytest.warns(UserWarning, match=r"has the values \[-1.0, 1.0\] and missing ones"):
        assert known_outliers([-1, 1.0, np.nan], 3) is None


def test_wrong_labels_raise(detector, labelled):
    X, y = labelled
    with pytest.raises(ValueError, match="`y` must have one label for each row of X: 150, got 149"):
        detector.fit(X, y[1:])
    with pytest.raises(ValueError, match=r"at most 148 of the 150 rows of X .*, got 149"):
        detector.fit(X, np.r_[1, np.full(149, -1)])
    with pytest.raises(ValueError, match=r"at most 4 of the 6 rows of X .*, got 5"):
        detector.fit(X, y, sample_weight=np.arange(150) >= 144)


def test_known_outliers_that_are_left_out_have_no_effect(detector, labelled):
    X, y = labelled
    expected = detector.fit(X[y != -1]).score_samples(X)
    left_out = detector.fit(X, y, sample_weight=(y != -1).astype(float))
    np.testing.assert_array_equal(left_out.score_samples(X), expected)
    X_missing = np.where(y[:, None] == -1, np.nan, X)
    np.testing.assert_array_equal(detector.fit(X_missing, y).score_samples(X), expected)


def test_labels_may_be_objects_or_a_column(labelled):
    _, y = labelled
    for labels in (y.astype(object), y[:, None], y.tolist(), y.astype(float)):
        np.testing.assert_array_equal(known_outliers(labels, 150), y == -1)


def test_known_outliers_are_in_no_threshold(detector, labelled):
    X, y = labelled
    fitted = clone(detector).set_params(contamination=0.2).fit(X, y)
    assert (fitted.score_samples(X[y != -1]) < fitted.offset_).sum() == 29
    held_out = clone(detector).set_params(cv=3).fit(X, y)
    assert len(held_out.held_out_scores_) == 145
    assert np.median(held_out.p_values(X[y == -1])) < 0.2
    labels = clone(detector).fit_predict(X, y)
    np.testing.assert_array_equal(labels, clone(detector).fit(X, y).predict(X))


def test_far_rows_have_finite_scores(detector, labelled):
    X, y = labelled
    fitted = detector.fit(X, y)
    far = np.array([[1e300] * 5, [-1e-300] * 5, [np.finfo(float).max] * 5])
    assert np.isfinite(fitted.score_samples(far)).all()
    assert np.isfinite(
        detector.fit(np.ones((20, 3)), np.r_[-1, np.ones(19)]).score_samples(X[:, :3])
    ).all()


@pytest.mark.parametrize("n_known", [1, 5])
@pytest.mark.parametrize("estimator", [None, AutoencoderTransformer])
def test_rows_beyond_all_training_rows_have_no_higher_scores(
    estimator, n_known, detector, labelled, rng
):
    X, y = labelled
    y[145:-n_known] = 0
    if estimator is not None:
        detector = clone(detector).set_params(estimator=make_small(estimator, 2, max_iter=2))
    fitted = detector.fit(X, y)
    directions = np.vstack([np.eye(5), -np.eye(5), np.sign(rng.normal(size=(20, 5)))])
    sizes = (1e2, 1e4, 1e10, 1e100, 1e300)
    scores = np.array([fitted.score_samples(size * directions) for size in sizes])
    assert (np.diff(scores, axis=0) <= 1e-9 * np.abs(scores[1:])).all()
    # Rows in the plane of a linear code have no error, however far they are.
    of_estimator = fitted.estimator_.score_samples
    errors = -np.array([of_estimator(size * directions) for size in sizes])
    is_far = errors > -1e8 * of_estimator(X).min()
    assert is_far[2:].mean() > 0.5
    assert (scores[is_far] < fitted.offset_).all()


def test_known_outliers_are_in_files_and_pickles_and_forgotten_by_the_next_fit(
    detector, labelled, tmp_path
):
    X, y = labelled
    fitted = detector.fit(X, y)
    expected = fitted.score_samples(X)
    save(fitted, tmp_path / "detector.skae")
    for other in (load(tmp_path / "detector.skae"), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(other.score_samples(X), expected)
    again, new = fitted.fit(X), clone(detector).fit(X)
    np.testing.assert_array_equal(again.score_samples(X), new.score_samples(X))
