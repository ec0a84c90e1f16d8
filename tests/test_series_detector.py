"""Scores of time steps are those of the windows that end at them, whatever the detector."""

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler
from sklearn.svm import OneClassSVM
from sklearn.utils.estimator_checks import check_estimator

import skae
from skae import (
    AutoencoderOutlierDetector,
    SlidingWindows,
    TimeSeriesOutlierDetector,
)
from skae._series import series_detector

SIZE = 8
DETECTORS = {
    "forest": IsolationForest(n_estimators=10, random_state=0),
    "factor": LocalOutlierFactor(novelty=True),
    "pipeline": make_pipeline(StandardScaler(), OneClassSVM()),
    "autoencoder": skae.DenoisingEnsemble(n_steps=20, random_state=0),
    "detector": AutoencoderOutlierDetector(
        skae.AutoencoderTransformer(3, hidden_layer_sizes=(8,), max_iter=2, random_state=0), cv=3
    ),
}


class FromMean(OutlierMixin, BaseEstimator):
    """The negative distance from the mean of the training rows, which are kept."""

    def fit(self, X, y=None, *, groups=None, sample_weight=None):
        self.rows_, self.labels_, self.groups_, self.weights_ = X, y, groups, sample_weight
        return self

    def score_samples(self, X):
        return -np.abs(X - self.rows_.mean(axis=0)).sum(axis=1)

    def decision_function(self, X):
        return self.score_samples(X) + 5


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


@pytest.fixture
def series(rng):
    """Two oscillations with noise in three series, of 60, 50 and 5 steps one after the other."""
    t = np.arange(115) / 3
    X = np.c_[np.sin(t), np.cos(t)] + 0.05 * rng.normal(size=(115, 2))
    return X, np.repeat([7, 3, 5], [60, 50, 5])


@pytest.fixture(params=DETECTORS)
def fitted(request, series):
    detector = TimeSeriesOutlierDetector(DETECTORS[request.param], window_size=SIZE)
    return detector.fit(series[0], groups=series[1])


def results(detector, X, groups=None):
    names = ("score_samples", "decision_function", "predict", "feature_contributions", "p_values")
    return {
        name: getattr(detector, name)(X, groups=groups) for name in names if hasattr(detector, name)
    }


def assert_equal(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], **tolerance, err_msg=name)


def test_scores_are_those_of_the_windows_that_end_at_the_steps(fitted, series):
    X, groups = series
    windows = SlidingWindows(SIZE).fit_transform(X, groups=groups)
    is_complete = ~np.isnan(windows).any(axis=1)
    scores = fitted.score_samples(X, groups=groups)
    np.testing.assert_allclose(
        scores[is_complete], fitted.estimator_.score_samples(windows[is_complete])
    )
    assert np.isnan(scores[~is_complete]).all()
    decision = fitted.decision_function(X, groups=groups)
    np.testing.assert_allclose(
        decision[is_complete], fitted.estimator_.decision_function(windows[is_complete]), atol=1e-9
    )
    np.testing.assert_array_equal(decision < 0, fitted.predict(X, groups=groups) == -1)


def test_each_series_has_the_results_that_it_has_by_itself(fitted, series, rng):
    X, groups = series
    # Rows of the series alternate, and are in order within each.
    mixed_groups, mixed = rng.permutation(groups), np.empty_like(X)
    for label in np.unique(groups):
        mixed[mixed_groups == label] = X[groups == label]
    together = results(fitted, mixed, mixed_groups)
    for label in np.unique(groups):
        part = {name: result[mixed_groups == label] for name, result in together.items()}
        assert_equal(part, results(fitted, X[groups == label]), rtol=1e-7)


def test_a_later_time_step_changes_no_score(fitted, series):
    X = series[0].copy()
    before = results(fitted, X)
    X[70:] += 9
    after = results(fitted, X)
    for name in before:
        np.testing.assert_allclose(after[name][:70], before[name][:70], rtol=1e-7)
    assert (after["score_samples"][70:] < before["score_samples"][70:]).mean() > 0.9


def test_blocks_of_windows_do_not_change_results(fitted, series, monkeypatch):
    expected = results(fitted, *series)
    monkeypatch.setattr(series_detector, "BLOCK_ENTRIES", 5 * SIZE * 2)
    assert_equal(results(fitted, *series), expected, rtol=1e-7)


def test_contributions_of_features_add_up_to_the_score(series):
    X, groups = series
    detector = TimeSeriesOutlierDetector(DETECTORS["autoencoder"], window_size=SIZE)
    detector.fit(X, groups=groups)
    odd = X.copy()
    odd[40:50, 1] = 3.0
    contributions = detector.feature_contributions(odd, groups=groups)
    assert contributions.shape == X.shape
    np.testing.assert_allclose(
        contributions.sum(axis=1), detector.score_samples(odd, groups=groups)
    )
    assert (contributions[40:50].argmin(axis=1) == 1).all()


def test_methods_that_the_detector_of_windows_lacks_are_absent(series):
    forest = TimeSeriesOutlierDetector(IsolationForest(n_estimators=5), window_size=SIZE)
    for detector in (forest, forest.fit(series[0])):
        assert not hasattr(detector, "feature_contributions")
        assert not hasattr(detector, "p_values")
    assert hasattr(TimeSeriesOutlierDetector(), "feature_contributions")
    assert not hasattr(TimeSeriesOutlierDetector(), "p_values")


def test_permuted_columns_have_the_same_scores(series):
    X = series[0]
    one, other = (
        TimeSeriesOutlierDetector(DETECTORS["factor"], window_size=SIZE).fit(Z).score_samples(Z)
        for Z in (X, X[:, ::-1])
    )
    np.testing.assert_allclose(other, one, rtol=1e-9)


def test_an_unusual_pattern_of_usual_values_has_the_lowest_score(rng):
    X = np.sin(np.arange(600) / 4)[:, None] + 0.02 * rng.normal(size=(600, 1))
    start = rng.randint(420, 550)
    X[start : start + 12] = X[start]
    estimator = skae.DenoisingEnsemble(n_steps=30, random_state=0)
    fitted = TimeSeriesOutlierDetector(estimator, window_size=12).fit(X[:400])
    assert start < np.nanargmin(fitted.score_samples(X)) < start + 24


def test_fit_uses_complete_windows_of_every_stride_steps():
    X = np.arange(20.0)[:, None]
    groups = np.repeat([0, 1, 2], [9, 7, 4])
    fitted = TimeSeriesOutlierDetector(FromMean(), window_size=5, stride=2).fit(X, groups=groups)
    np.testing.assert_array_equal(fitted.estimator_.rows_[:, -1], [4, 6, 8, 13, 15])
    np.testing.assert_array_equal(fitted.estimator_.rows_[:, 0], [0, 2, 4, 9, 11])
    assert fitted.offset_ == pytest.approx(-5)
    assert len(fitted.score_samples(X)) == 20


def test_the_threshold_does_not_depend_on_the_first_window(rng):
    X = rng.normal(size=(50, 1))
    X[0] = 1e30  # whose score minus the threshold is rounded to the score
    detector = LocalOutlierFactor(novelty=True)
    fitted = TimeSeriesOutlierDetector(detector, window_size=2).fit(X)
    assert fitted.offset_ == pytest.approx(fitted.estimator_.offset_)


def test_values_with_infinite_distances_are_refused(rng):
    X = rng.normal(size=(60, 2))
    detector = TimeSeriesOutlierDetector(LocalOutlierFactor(novelty=True), window_size=2)
    assert len(set(detector.fit(X * 1e150).score_samples(X * 1e150)[1:])) > 1
    with pytest.raises(ValueError, match=r"X must have values of at most .* for LocalOutlierFac"):
        detector.fit(X * 1e160)
    inner = make_pipeline(RobustScaler(), LocalOutlierFactor(novelty=True))
    scaled = detector.set_params(estimator=inner).fit(X * 1e160).score_samples(X * 1e160)
    expected = detector.fit(X).score_samples(X)
    np.testing.assert_allclose(scaled, expected)


@pytest.mark.parametrize(("n_series", "size"), [(1, 3), (1, 580), (2, 3), (30, 3)])
def test_overlapping_windows_are_held_out_together(n_series, size):
    X, groups = np.arange(600.0)[:, None], np.repeat(np.arange(n_series), 600 // n_series)
    kept = TimeSeriesOutlierDetector(FromMean(), window_size=size).fit(X, groups=groups).estimator_
    assert 20 <= len(np.unique(kept.groups_)) <= 30
    assert (np.diff(kept.groups_) >= 0).all()
    series_of_group = [
        set(groups[kept.rows_[kept.groups_ == g, -1].astype(int)]) for g in np.unique(kept.groups_)
    ]
    assert all(len(labels) == 1 for labels in series_of_group)


def test_the_label_of_a_window_is_that_of_its_last_step():
    X, y = np.arange(9.0)[:, None], np.arange(9)
    detector = TimeSeriesOutlierDetector(FromMean(), window_size=3, stride=2)
    for labelled in (detector.fit(X, y), detector.fit(X, y.tolist())):
        np.testing.assert_array_equal(labelled.estimator_.labels_, [2, 4, 6, 8])
    assert detector.fit(X).estimator_.labels_ is None
    with pytest.raises(ValueError, match="`y` must have a label for each of the 9 time steps"):
        detector.fit(X, y[1:])


def test_the_weight_of_a_window_is_that_of_its_last_step(rng):
    X = rng.normal(size=(9, 1))
    detector = TimeSeriesOutlierDetector(FromMean(), window_size=3, stride=2)
    detector.fit_predict(X, sample_weight=np.arange(9))
    np.testing.assert_array_equal(detector.estimator_.weights_, [2, 4, 6, 8])
    with pytest.raises(ValueError, match=r"`sample_weight` must"):
        detector.fit(X, sample_weight=np.arange(8))


def test_windows_without_weight_are_left_out(rng):
    X, weights = rng.normal(size=(202, 2)), np.zeros(202)
    weights[192:] = 1
    detector = TimeSeriesOutlierDetector(FromMean(), window_size=3)
    kept = detector.fit(X, sample_weight=weights).estimator_
    expected = clone(detector).fit(X[190:]).estimator_
    np.testing.assert_array_equal(kept.rows_, expected.rows_)
    np.testing.assert_array_equal(kept.groups_, expected.groups_)
    weights[193:] = 0
    with pytest.raises(ValueError, match="`sample_weight` leaves 1 sample"):
        detector.fit(X, sample_weight=weights)


@pytest.mark.parametrize("cause", ["sample_weight", "y", "values"])
@pytest.mark.parametrize("estimator", ["early_stopping=False", "`cv`"])
def test_errors_name_groups_only_if_they_are_given(rng, cause, estimator):
    X, few = rng.normal(size=(60, 2)), np.arange(60) < 6
    inputs = {
        "sample_weight": {"sample_weight": np.where(few, 1, 1e-30)},
        "y": {"y": np.where(few, 1, -1)},
        "values": {},
    }
    if cause == "values":
        X[2:] = np.nan
    detector = AutoencoderOutlierDetector(
        skae.DenoisingAutoencoder(1, max_iter=1, early_stopping=estimator != "`cv`"),
        cv=2 if estimator == "`cv`" else None,
        random_state=0,
    )
    detector = TimeSeriesOutlierDetector(detector, window_size=4)
    with pytest.raises(ValueError, match=f"X has windows .*{estimator}.*are left out") as caught:
        detector.fit(X, **inputs[cause])
    assert "groups" not in str(caught.value)
    assert ("`sample_weight`" in str(caught.value)) == (cause == "sample_weight")
    assert ("`y`" in str(caught.value)) == (cause == "y")
    with pytest.raises(ValueError, match="groups"):
        detector.fit(X, groups=np.zeros(60), **inputs[cause])


def test_detectors_without_weights_are_fitted_to_copies_of_windows(series, rng):
    X, groups = series
    weights = rng.randint(3, size=len(X))
    detector = TimeSeriesOutlierDetector(LocalOutlierFactor(novelty=True), window_size=SIZE)
    detector.fit(X, groups=groups, sample_weight=weights)
    windows = SlidingWindows(SIZE).fit_transform(X, groups=groups)
    is_complete = ~np.isnan(windows).any(axis=1)
    copies = np.repeat(windows[is_complete], weights[is_complete], axis=0)
    expected = LocalOutlierFactor(novelty=True).fit(copies).score_samples(windows[is_complete])
    scores = detector.score_samples(X, groups=groups)
    np.testing.assert_allclose(scores[is_complete], expected)


def test_a_threshold_of_held_out_windows_has_p_values(series):
    X, groups = series
    detector = TimeSeriesOutlierDetector(DETECTORS["detector"], window_size=SIZE)
    p_values = detector.fit(X, groups=groups).p_values(X, groups=groups)
    held_out = detector.estimator_.held_out_scores_
    expected = [
        (1 + np.sum(held_out <= s)) / (1 + len(held_out))
        for s in detector.score_samples(X, groups=groups)
    ]
    is_scored = ~np.isnan(p_values)
    np.testing.assert_allclose(p_values[is_scored], np.array(expected)[is_scored])


def test_fit_predict_uses_the_series(series):
    X, groups = series
    detector = TimeSeriesOutlierDetector(DETECTORS["forest"], window_size=SIZE)
    np.testing.assert_array_equal(
        detector.fit_predict(X, groups=groups), detector.predict(X, groups=groups)
    )


def test_series_that_are_too_short_are_refused():
    X = np.zeros((12, 1))
    detector = TimeSeriesOutlierDetector(window_size=5)
    with pytest.raises(ValueError, match=r"2 windows of window_size=5 .* has 4 time steps"):
        detector.fit(X, groups=np.repeat([0, 1, 2], 4))
    with pytest.raises(ValueError, match="stride=9, got 1: its longest series has 12 time"):
        detector.set_params(stride=9).fit(X)


def test_estimators_that_are_no_detectors_are_refused(series):
    for estimator in (LocalOutlierFactor(), StandardScaler(), IsolationForest):
        with pytest.raises(TypeError, match="`estimator` must be None or an estimator with"):
            TimeSeriesOutlierDetector(estimator).fit(series[0])


@pytest.mark.parametrize("name", ["autoencoder", "factor"])
def test_missing_values_are_allowed_if_the_detector_allows_them(name, series):
    X = series[0].copy()
    X[30, 0] = np.nan
    detector = TimeSeriesOutlierDetector(DETECTORS[name], window_size=SIZE)
    if name == "autoencoder":
        assert np.isfinite(detector.fit(X).score_samples(X)[SIZE:]).all()
    else:
        with pytest.raises(ValueError, match="SeriesOutlierDetector does not accept missing"):
            detector.fit(X)


def test_frames_and_float32_are_taken(fitted, series):
    X, groups = series
    frame = pd.DataFrame(X, columns=["a", "b"])
    scores = fitted.score_samples(X)
    assert fitted.score_samples(X.astype(np.float32)).dtype == scores.dtype == np.float64
    again = fitted.fit(frame, groups=groups)
    assert list(again.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match"):
        again.score_samples(frame[["b", "a"]])


@pytest.mark.parametrize("name", ["autoencoder", "detector"])
def test_files_and_pickles_restore_the_detector(name, series, tmp_path):
    X, groups = series
    detector = TimeSeriesOutlierDetector(DETECTORS[name], window_size=SIZE).fit(X, groups=groups)
    skae.save(detector, tmp_path / "detector.skae")
    for again in (skae.load(tmp_path / "detector.skae"), pickle.loads(pickle.dumps(detector))):
        assert_equal(results(again, X, groups), results(detector, X, groups), rtol=0)


def test_a_file_whose_windows_have_another_size_is_refused(series, tmp_path):
    detector = TimeSeriesOutlierDetector(DETECTORS["autoencoder"], window_size=SIZE).fit(series[0])
    detector.window_size_ = SIZE + 1
    with pytest.raises(TypeError, match="another kind of 'estimator_'"):
        skae.save(detector, tmp_path / "detector.skae")


def test_scores_of_a_long_series_need_little_memory(monkeypatch):
    X, size = np.zeros((40_000, 2)), 200
    detector = TimeSeriesOutlierDetector(FromMean(), window_size=size).fit(X[:1000])
    monkeypatch.setattr(series_detector, "BLOCK_ENTRIES", 2**18)
    tracemalloc.start()
    detector.score_samples(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < X.nbytes * size / 10


def test_single_steps_obey_all_laws_of_scikit_learn():
    detector = TimeSeriesOutlierDetector(LocalOutlierFactor(3, novelty=True))
    check_estimator(detector, on_skip=None)
    # Rows of a series have an order, the first have no complete window, and copies change windows.
    detector.set_params(window_size=2)
    found = check_estimator(detector, on_fail=None, on_skip=None)
    assert {result["check_name"] for result in found if result["status"] == "failed"} <= {
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_outliers_train",
        "check_sample_weight_equivalence_on_dense_data",
    }
