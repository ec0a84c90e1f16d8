"""Windows are those of a naive loop over the series, and the inverse restores the series."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from skae import AutoencoderTransformer, SlidingWindows
from skae._series.sliding_windows import SeriesSteps


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


@pytest.fixture
def series(rng):
    """40 time steps of three series of 20, 17 and 3 steps that alternate in the table."""
    return rng.normal(size=(40, 2)), rng.permutation(np.repeat(["a", "b", "c"], [20, 17, 3]))


def naive_windows(X, groups, size):
    """Row by row, feature by feature, the oldest value first."""
    rows = []
    for i, label in enumerate(groups):
        past = [X[j] for j in range(i + 1) if groups[j] == label][-size:]
        padded = [np.full(X.shape[1], np.nan)] * (size - len(past)) + past
        rows.append([step[k] for k in range(X.shape[1]) for step in padded])
    return np.array(rows)


@pytest.mark.parametrize("size", [1, 2, 5, 30])
def test_windows_are_those_of_a_naive_loop(series, size):
    X, groups = series
    transformer = SlidingWindows(size)
    expected = naive_windows(X, groups, size)
    np.testing.assert_array_equal(transformer.fit_transform(X, groups=groups), expected)
    expected = naive_windows(X, np.zeros(40), size)
    np.testing.assert_array_equal(transformer.transform(X), expected)


@pytest.mark.parametrize("scale", [1, 1e308])
@pytest.mark.parametrize("size", [1, 2, 5, 30])
def test_the_inverse_restores_the_series(series, size, scale):
    X, groups = series
    X = X / np.abs(X).max() * scale
    X[3, 1] = np.nan
    transformer = SlidingWindows(size).fit(X)
    for labels in (groups, None):
        windows = transformer.transform(X, groups=labels)
        np.testing.assert_array_equal(transformer.inverse_transform(windows, groups=labels), X)


def test_the_inverse_is_the_mean_over_the_windows_that_contain_a_step():
    transformer = SlidingWindows(2).fit([[0.0]])
    windows = [[np.nan, 1.0], [2.0, 4.0], [6.0, 8.0]]
    np.testing.assert_array_equal(transformer.inverse_transform(windows), [[1.5], [5.0], [8.0]])


def test_the_window_of_a_step_depends_on_the_past_only(series, rng):
    X, groups = series
    transformer = SlidingWindows(4).fit(X)
    n_past = rng.randint(1, 40)
    np.testing.assert_array_equal(
        transformer.transform(X, groups=groups)[:n_past],
        transformer.transform(X[:n_past], groups=groups[:n_past]),
    )


def test_the_names_of_columns_say_the_lag():
    X = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    frame = pd.DataFrame(X, columns=["speed", "heat"], index=[4, 5, 6])
    transformer = SlidingWindows(2).set_output(transform="pandas").fit(frame)
    windows = transformer.transform(frame)
    assert list(windows) == ["speed_lag1", "speed_lag0", "heat_lag1", "heat_lag0"]
    for feature in frame:
        for lag in (0, 1):
            pd.testing.assert_series_equal(
                windows[f"{feature}_lag{lag}"], frame[feature].shift(lag), check_names=False
            )
    names = SlidingWindows(2).fit(X).get_feature_names_out()
    assert list(names) == ["x0_lag1", "x0_lag0", "x1_lag1", "x1_lag0"]


def test_frames_of_polars_are_returned():
    frame = pl.DataFrame({"speed": [1.0, 2.0], "heat": [10.0, 20.0]})
    windows = SlidingWindows(2).set_output(transform="polars").fit_transform(frame)
    assert windows["speed_lag0"].to_list() == [1.0, 2.0]
    assert windows["speed_lag1"].to_list()[1] == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(series, dtype):
    X = series[0].astype(dtype)
    windows = SlidingWindows(3).fit_transform(X)
    restored = SlidingWindows(3).fit(X).inverse_transform(windows)
    assert windows.dtype == restored.dtype == dtype
    np.testing.assert_allclose(restored, X, rtol=1e-6)


def test_sparse_series_are_refused(series):
    with pytest.raises(TypeError, match="Sparse data was passed"):
        SlidingWindows(3).fit(sparse.csr_array(series[0]))


def test_windows_of_another_width_are_refused(series):
    transformer = SlidingWindows(3).fit(series[0])
    with pytest.raises(ValueError, match=r"window_size = 6 columns .* got 5"):
        transformer.inverse_transform(np.zeros((4, 5)))


def test_groups_of_another_length_are_refused(series):
    with pytest.raises(ValueError, match="`groups` must have a label for each of the 40 rows"):
        SlidingWindows(3).fit_transform(series[0], groups=[1, 2])


def test_a_pipeline_smooths_a_series(series, rng):
    t = np.arange(300) / 5
    X = np.c_[np.sin(t), np.cos(t)]
    noisy = X + 0.3 * rng.normal(size=X.shape)
    reducer = AutoencoderTransformer(2, hidden_layer_sizes=(8,), max_iter=1, random_state=0)
    pipeline = make_pipeline(StandardScaler(), SlidingWindows(8), reducer).fit(noisy)
    smooth = pipeline.inverse_transform(pipeline.transform(noisy))
    assert np.mean((smooth - X) ** 2) < 0.5 * np.mean((noisy - X) ** 2)


def test_metadata_routing_passes_groups_on(series):
    X, groups = series
    by_hand = SlidingWindows(3).fit_transform(X, groups=groups)
    with config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        windows = SlidingWindows(3).set_transform_request(groups=True)
        pipeline = make_pipeline(StandardScaler(with_mean=False, with_std=False), windows)
        np.testing.assert_array_equal(pipeline.fit(X).transform(X, groups=groups), by_hand)


def test_a_window_of_several_steps_breaks_only_the_laws_of_unordered_rows():
    # Rows of a series have an order, and the first have no complete window.
    check_estimator(SlidingWindows(), on_skip=None)
    results = check_estimator(SlidingWindows(2), on_fail=None, on_skip=None)
    failed = {result["check_name"] for result in results if result["status"] == "failed"}
    assert failed <= {"check_methods_sample_order_invariance", "check_methods_subset_invariance"}


def test_steps_are_ordered_by_series_and_numbered_within_them():
    steps = SeriesSteps.of_table(5, ["b", "a", "b", "a", "b"])
    np.testing.assert_array_equal(steps.row, [0, 2, 4, 1, 3])
    np.testing.assert_array_equal(steps.position, [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(steps.series, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(steps.in_order_of_rows(), [0, 3, 1, 4, 2])
