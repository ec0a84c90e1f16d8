import pickle
import re
from dataclasses import fields

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import AUTOENCODERS, make_small
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import (
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    DenoisingEnsemble,
    load,
    save,
)


@pytest.fixture(scope="module")
def detector(global_random_seed):
    """A function that makes a detector that is quick to fit."""

    def make(estimator=None, **parameters):
        estimator = estimator or DenoisingEnsemble(n_steps=100, hidden_layer_sizes=(32,))
        return AutoencoderOutlierDetector(
            estimator, **({"random_state": global_random_seed} | parameters)
        )

    return make


@pytest.fixture(scope="module")
def rows(global_random_seed):
    """400 rows near a curve in four dimensions, and 20 outliers: one of their features is moved."""
    rng = np.random.RandomState(global_random_seed)
    t = rng.uniform(-1, 1, size=420)
    X = np.c_[t, t**2, t**3, 1 - t] + 0.02 * rng.normal(size=(420, 4))
    moved = rng.randint(4, size=20)
    X[np.arange(400, 420), moved] += rng.choice([-1.2, 1.2], size=20)
    return X, moved


# Scores.


@pytest.mark.parametrize(
    "estimator", [None, *(make_small(cls, max_iter=2) for cls in AUTOENCODERS)]
)
def test_contributions_add_up_to_the_score(digits, detector, estimator):
    fitted = detector(estimator).fit(digits)
    contributions = fitted.feature_contributions(digits)
    assert contributions.shape == digits.shape
    np.testing.assert_allclose(contributions.sum(axis=1), fitted.score_samples(digits))


@pytest.mark.parametrize("unit", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("cls", [None, *AUTOENCODERS], ids=lambda cls: cls and cls.__name__)
def test_contributions_of_float32_rows_are_those_of_float64_rows(cls, unit, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = (rng.normal(size=(60, 5)) * unit).astype(np.float32)
    # A posterior mean leaves out stored rows that are equal up to the rounding of their dtype.
    ensemble = DenoisingEnsemble(exact_levels=(), n_steps=3)
    estimator = ensemble if cls is None else make_small(cls, 2, max_iter=2)
    fitted = AutoencoderOutlierDetector(estimator, novelty=True).fit(X)
    contributions, scores = fitted.feature_contributions(X), fitted.score_samples(X)
    np.testing.assert_allclose(contributions.sum(axis=1), scores)
    expected = fitted.feature_contributions(X.astype(np.float64))
    assert contributions.dtype == expected.dtype == np.float64
    np.testing.assert_allclose(
        contributions, expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max()
    )


def test_scores_are_negative_squared_reconstruction_errors(digits, small):
    estimator = small(AutoencoderTransformer)
    fitted = AutoencoderOutlierDetector(estimator, novelty=True).fit(digits)
    expected = clone(estimator).fit(digits)
    errors = (digits - expected.inverse_transform(expected.transform(digits))) ** 2
    np.testing.assert_allclose(fitted.score_samples(digits), -errors.sum(axis=1))
    np.testing.assert_allclose(fitted.feature_contributions(digits), -errors)
    np.testing.assert_allclose(fitted.score_samples(digits), expected.score_samples(digits))


@pytest.mark.parametrize("loss", ["absolute_error", "log_loss", "poisson"])
def test_scores_with_another_loss_are_those_of_the_estimator(digits, loss, small):
    X = digits / 16
    estimator = small(AutoencoderTransformer, loss=loss)
    fitted = AutoencoderOutlierDetector(estimator, novelty=True).fit(X)
    np.testing.assert_allclose(fitted.score_samples(X), estimator.fit(X).score_samples(X))


def test_without_novelty_the_second_fit_is_to_the_half_with_the_highest_scores(digits, small):
    estimator = small(AutoencoderTransformer)
    scores = clone(estimator).fit(digits).score_samples(digits)
    half = np.sort(np.argsort(-scores)[:150])
    expected = clone(estimator).fit(digits[half])
    fitted = AutoencoderOutlierDetector(estimator, novelty=False).fit(digits)
    # The sum over features may be in another order.
    np.testing.assert_allclose(
        fitted.score_samples(digits), expected.score_samples(digits), rtol=1e-12
    )


def test_scores_of_a_linear_autoencoder_are_reconstruction_errors_of_pca(digits):
    linear = AutoencoderTransformer(5, hidden_layer_sizes=())
    fitted = AutoencoderOutlierDetector(linear, novelty=True).fit(digits)
    pca = PCA(5).fit(digits)
    errors = ((digits - pca.inverse_transform(pca.transform(digits))) ** 2).sum(axis=1)
    np.testing.assert_allclose(fitted.score_samples(digits), -errors)


# Decisions.


def test_decision_function_and_predict_follow_scores_and_offset(rows, detector):
    X, _ = rows
    fitted = detector().fit(X)
    decision = fitted.decision_function(X)
    np.testing.assert_array_equal(decision, fitted.score_samples(X) - fitted.offset_)
    np.testing.assert_array_equal(fitted.predict(X), np.where(decision < 0, -1, 1))
    np.testing.assert_array_equal(detector().fit_predict(X), fitted.predict(X))


@pytest.mark.parametrize("novelty", [True, False])
@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.5])
def test_contamination_is_the_fraction_of_outliers_in_training_rows(
    rows, detector, fraction, novelty
):
    X, _ = rows
    is_outlier = detector(contamination=fraction, novelty=novelty).fit_predict(X) == -1
    assert is_outlier.sum() == fraction * 420


def test_auto_contamination_is_the_lower_fence_of_a_box_plot(rows, detector):
    X, _ = rows
    fitted = detector().fit(X)
    lower, upper = np.percentile(fitted.score_samples(X), [25, 75])
    expected = lower - 1.5 * (upper - lower)  # less a margin for rounding
    assert 0 <= expected - fitted.offset_ <= 1e-3 * (upper - lower)


def test_outliers_score_low_and_their_moved_feature_contributes_most(rows, global_random_seed):
    X, moved = rows
    is_outlier = np.arange(420) >= 400
    fitted = AutoencoderOutlierDetector(novelty=True, random_state=global_random_seed)
    fitted.fit(X[~is_outlier])
    assert roc_auc_score(is_outlier, -fitted.score_samples(X)) > 0.95
    assert (fitted.predict(X[is_outlier]) == -1).mean() > 0.7
    assert (fitted.predict(X[~is_outlier]) == 1).mean() > 0.85
    lowest = fitted.feature_contributions(X[is_outlier]).argmin(axis=1)
    assert (lowest == moved).mean() > 0.7  # 0.25 if chosen at random


def test_without_novelty_outliers_in_the_training_rows_have_little_influence(
    detector, global_random_seed
):
    # A line, and outliers to one side of it that rotate the first principal component.
    rng = np.random.RandomState(global_random_seed)
    inliers = np.c_[rng.normal(size=340), np.zeros(340)]
    X = np.r_[inliers, np.tile([1.5, 1.5], (60, 1))] + 0.1 * rng.normal(size=(400, 2))
    linear = AutoencoderTransformer(1, hidden_layer_sizes=())
    areas = [
        roc_auc_score(np.arange(400) >= 340, -detector(linear, novelty=n).fit(X).score_samples(X))
        for n in (True, False)
    ]
    assert areas[1] > max(0.99, areas[0])


def test_malignant_tumours_are_outliers_among_benign_ones(detector):
    X, benign = load_breast_cancer(return_X_y=True)
    train = np.flatnonzero(benign)[::2]
    test = np.setdiff1d(np.arange(len(X)), train)
    fitted = detector(novelty=True).fit(X[train])
    assert roc_auc_score(benign[test], fitted.decision_function(X[test])) > 0.95


def test_rows_are_scored_one_by_one(rows, detector):
    X, _ = rows
    fitted = detector().fit(X)
    one_by_one = np.concatenate([fitted.score_samples(X[[i]]) for i in range(20)])
    np.testing.assert_allclose(one_by_one, fitted.score_samples(X)[:20], rtol=1e-10)


# Pickles, pipelines, data formats and parameters.


@pytest.mark.parametrize("estimator", [None, make_small(AutoencoderTransformer)])
def test_a_pickle_gives_the_same_results(digits, detector, estimator):
    fitted = detector(estimator).fit(digits)
    loaded = pickle.loads(pickle.dumps(fitted))
    for method in ("score_samples", "predict", "feature_contributions"):
        np.testing.assert_array_equal(
            getattr(loaded, method)(digits), getattr(fitted, method)(digits)
        )
    assert joblib.hash(loaded) == joblib.hash(fitted)


def test_grid_search_over_a_pipeline(rows, detector, global_random_seed):
    X, _ = rows
    labels = np.where(np.arange(420) >= 400, -1, 1)
    pipeline = make_pipeline(StandardScaler(), detector())
    order = np.random.RandomState(global_random_seed).permutation(420)
    grid = {"autoencoderoutlierdetector__estimator__noise_levels": [(0.1,), (0.2, 1.0)]}
    search = GridSearchCV(pipeline, grid, scoring="roc_auc", cv=2)
    search.fit(X[order], labels[order])
    assert search.best_score_ > 0.8
    assert set(search.predict(X)) == {-1, 1}


def test_the_estimator_parameter_is_not_changed(digits, detector, small):
    estimator = small(AutoencoderTransformer)
    before = joblib.hash(estimator)
    fitted = detector(estimator).fit(digits)
    assert joblib.hash(estimator) == before
    assert fitted.estimator_ is not estimator
    assert type(fitted.estimator_) is type(estimator)


def test_fits_with_the_same_seed_are_bitwise_identical(digits, detector):
    scores = [detector(random_state=seed).fit(digits).score_samples(digits) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_fits_of_estimators_with_the_same_seed_are_bitwise_identical(digits, small):
    detector = AutoencoderOutlierDetector(small(AutoencoderTransformer, 2))
    y, weights = np.where(np.arange(300) < 9, -1, 1), np.linspace(0.1, 2, 300)
    scores = [detector.fit(digits, y, weights).score_samples(digits) for _ in range(2)]
    np.testing.assert_array_equal(*scores)


def test_feature_names_of_data_frames_are_checked(digits, detector):
    frame = pd.DataFrame(digits[:, :10]).rename(columns="pixel{}".format)
    fitted = detector().fit(frame)
    assert list(fitted.feature_names_in_) == list(frame.columns)
    assert fitted.n_features_in_ == fitted.estimator_.n_features_in_ == 10
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[frame.columns[::-1]])


def test_missing_values_and_sparse_rows_are_accepted(digits, digits_with_gaps, detector):
    fitted = detector().fit(digits_with_gaps)
    assert (fitted.feature_contributions(digits_with_gaps)[np.isnan(digits_with_gaps)] == 0).all()
    np.testing.assert_allclose(
        fitted.score_samples(sparse.csr_array(digits)), fitted.score_samples(digits)
    )


def test_scores_of_float32_rows_are_float64(digits, detector):
    single = digits.astype(np.float32)
    assert detector().fit(single).score_samples(single).dtype == np.float64


@pytest.mark.parametrize(
    "wrong",
    [
        {"estimator": StandardScaler()},
        {"estimator": AutoencoderTransformer},
        {"estimator": AutoencoderTransformer(loss={0: "absolute_error"})},
        {"estimator": AutoencoderTransformer(categorical_features=[0])},
        {"contamination": 0.0},
        {"contamination": 0.6},
        {"contamination": "none"},
        {"novelty": 1},
        {"novelty": "yes"},
        {"cv": 1},
        {"cv": 2.0},
        {"random_state": -1},
    ],
)
def test_the_error_for_a_bad_parameter_names_it(digits, wrong):
    estimator = AutoencoderOutlierDetector(**wrong)
    with pytest.raises((ValueError, TypeError), match=f"`{next(iter(wrong))}` must be .* got"):
        estimator.fit(digits)
    with pytest.raises(NotFittedError):
        estimator.score_samples(digits)


def test_a_refused_second_fit_keeps_the_first(digits, detector):
    fitted = detector().fit(digits)
    scores = fitted.score_samples(digits)
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(np.full((20, 3), np.inf))
    np.testing.assert_array_equal(fitted.score_samples(digits), scores)


def test_parameters_are_documented_with_their_defaults():
    text = AutoencoderOutlierDetector.__doc__
    for declared in fields(AutoencoderOutlierDetector):
        entry = re.search(rf"^    {declared.name} : (.+)$", text, re.MULTILINE)
        assert eval(re.search(r"default=(.+)$", entry[1])[1]) == declared.default


def test_contributions_are_those_of_any_autoencoder(autoencoder, digits, small):
    estimator = small(autoencoder).fit(digits)
    detector = AutoencoderOutlierDetector(small(autoencoder), novelty=True).fit(digits)
    np.testing.assert_array_equal(
        detector.feature_contributions(digits), estimator.score_features(digits)
    )


class Recorder(AutoencoderTransformer):
    """An autoencoder that keeps the groups of its fit."""

    def fit(self, X, y=None, *, groups=None):
        self.groups_ = groups
        return super().fit(X, groups=groups)


@pytest.mark.parametrize("novelty", [True, False])
def test_groups_are_those_of_the_rows_that_the_autoencoder_is_fitted_to(digits, detector, novelty):
    X = digits.copy()
    groups = np.arange(300) % 20
    X[:, 0] = groups
    names = [f"machine {group}" for group in groups]
    fitted = detector(make_small(Recorder, max_iter=2), novelty=novelty).fit(X, groups=names)
    by_hand = make_small(Recorder, max_iter=2)
    by_hand.set_params(random_state=fitted.estimator_.random_state).fit(X, groups=groups)
    if novelty:
        np.testing.assert_array_equal(fitted.estimator_.transform(X), by_hand.transform(X))
    else:
        inliers = np.sort(np.argsort(-by_hand.score_samples(X), kind="stable")[:150])
        np.testing.assert_array_equal(fitted.estimator_.groups_, groups[inliers])


def test_groups_have_no_effect_on_the_default(rows, detector):
    X, _ = rows
    with_groups = detector().fit(X, groups=np.arange(420) % 7)
    np.testing.assert_array_equal(with_groups.score_samples(X), detector().fit(X).score_samples(X))
    with pytest.raises(ValueError, match="`groups` must have a label for each of the 420 rows"):
        detector().fit(X, groups=[1, 2])


@pytest.mark.parametrize("novelty", [False, True])
@pytest.mark.parametrize("cls", [None, *AUTOENCODERS], ids=lambda cls: cls and cls.__name__)
def test_rounding_does_not_make_repeated_rows_outliers(cls, novelty, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    common = np.zeros(6) if cls is None else rng.normal(size=6)
    X = np.vstack([rng.normal(size=(8, 6)), np.tile(common, (72, 1))])
    estimator = None if cls is None else make_small(cls, 2, max_iter=2)
    detector = AutoencoderOutlierDetector(
        estimator, novelty=novelty, random_state=global_random_seed
    )
    labels = detector.fit(X).predict(X)
    assert (labels[8:] == 1).all()
    np.testing.assert_array_equal(detector.predict(X.astype(np.float32))[8:], 1)
    assert detector.predict(X[-1:]) == 1


# The default without a statement about the rows of `fit`, and held-out scores.


def test_an_estimator_is_fitted_twice_unless_there_is_novelty(digits, small):
    estimator = small(AutoencoderTransformer)
    by_default = AutoencoderOutlierDetector(estimator).fit(digits).score_samples(digits)
    robust = AutoencoderOutlierDetector(estimator, novelty=False).fit(digits)
    np.testing.assert_array_equal(by_default, robust.score_samples(digits))


def test_the_default_finds_clean_novelties_and_groups_of_outliers_in_fit(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    inliers = rng.normal(size=(500, 5)) @ rng.normal(size=(5, 5))
    outliers = 3 * inliers.std(axis=0) + 0.1 * rng.normal(size=(30, 5))
    y = np.arange(530) >= 500
    X = np.r_[inliers, outliers]
    fitted = AutoencoderOutlierDetector(random_state=global_random_seed).fit(X)
    assert roc_auc_score(y, -fitted.score_samples(X)) > 0.94
    fitted = AutoencoderOutlierDetector(random_state=global_random_seed).fit(inliers[:250])
    assert roc_auc_score(y[250:], -fitted.score_samples(X[250:])) > 0.94


def test_false_alarms_among_new_inliers_are_as_many_as_asked_for(detector, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = rng.normal(size=(1100, 8)) @ rng.normal(size=(8, 8))
    train, new = X[:100], X[100:]
    fitted = detector(novelty=True, cv=5, contamination=0.1).fit(train)
    # The rate depends on the training rows; its standard deviation for 100 rows is 0.03.
    assert (fitted.predict(new) == -1).mean() < 0.2
    assert (fitted.p_values(new) <= 0.1).mean() < 0.2
    assert (fitted.p_values(new) <= 0.5).mean() > 0.25
    # Without folds, the networks know the training rows.
    without = detector(novelty=True, contamination=0.1).fit(train)
    assert (without.predict(new) == -1).mean() > (fitted.predict(new) == -1).mean()


def test_p_values_count_held_out_scores_that_are_at_most_as_high(rows, detector):
    X, _ = rows
    fitted = detector(cv=2).fit(X)
    held_out, scores = fitted.held_out_scores_, fitted.score_samples(X)
    held_out[:100] = scores[:100]
    held_out.sort()
    expected = (1 + (held_out[None] <= scores[:, None]).sum(axis=1)) / 421
    np.testing.assert_array_equal(fitted.p_values(X), expected)


def test_the_threshold_is_that_of_held_out_scores(rows, detector):
    fitted = detector(cv=2, contamination=0.2).fit(rows[0])
    assert fitted.offset_ == pytest.approx(np.percentile(fitted.held_out_scores_, 20), rel=1e-3)


def test_held_out_scores_are_by_autoencoders_that_were_not_fitted_to_the_rows(rows, small):
    X, _ = rows
    groups = np.arange(420) % 7
    seen = []

    class Spy(AutoencoderTransformer):
        def fit(self, X, y=None, *, groups=None):
            seen.append(np.unique(groups))
            return super().fit(X, groups=groups)

    detector = AutoencoderOutlierDetector(make_small(Spy, max_iter=1), novelty=True, cv=3)
    fitted = detector.fit(X, groups=groups)
    assert len(fitted.held_out_scores_) == 420
    whole, *parts = seen
    assert len(whole) == 7
    left_out = [set(whole) - set(part) for part in parts]
    assert sorted(group for part in left_out for group in part) == list(range(7))


def test_p_values_need_folds(digits, detector):
    fitted = detector(cv=2).fit(digits)
    fitted.set_params(cv=None).fit(digits)
    assert not hasattr(fitted, "p_values")
    for refused in (fitted, fitted.set_params(cv=2), detector()):
        with pytest.raises(AttributeError, match="has no attribute 'p_values'") as error:
            refused.p_values(digits)
        assert "needs `cv` to be a number" in str(error.value.__cause__)
    with pytest.raises(NotFittedError):
        detector(cv=2).p_values(digits)


def test_a_saved_detector_has_its_p_values(digits, detector, tmp_path):
    fitted = detector(cv=2).fit(digits)
    save(fitted, tmp_path / "detector.skae")
    for again in (load(tmp_path / "detector.skae"), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(again.p_values(digits), fitted.p_values(digits))
