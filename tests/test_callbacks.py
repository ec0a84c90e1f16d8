"""Callbacks of a fit: the order of calls, early stopping, errors, and no effect on the result."""

import importlib.util
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, load, make_reconstruction_scorer, save
from skae._training import callbacks
from skae._training.callbacks import duration

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")


class Recorder:
    """A callback that records its calls, and may stop the training or raise an error."""

    def __init__(self, stop_after=None, fail_at=None):
        self.calls, self.fitted = [], []
        self.stop_after, self.fail_at = stop_after, fail_at

    def record(self, call):
        self.calls.append(call)
        if call == self.fail_at:
            raise RuntimeError(f"failed at {call}")

    def setup(self, estimator, context):
        self.record("setup")

    def teardown(self, estimator, context):
        self.record("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.record(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        assert y is X or context.task_name != "epoch"  # StandardScaler passes none
        self.fitted.append(fitted_estimator)
        self.record(f"end {context.task_name}")
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


class Propagated(Recorder):
    """The same, propagated by pipelines and searches."""

    max_propagation_depth = None


def test_each_task_of_a_fit_begins_and_ends(autoencoder, digits, small):
    recorder = Recorder()
    small(autoencoder, max_iter=2).set_callbacks(recorder).fit(digits)
    epochs = ["begin epoch", "end epoch"] * 2
    assert recorder.calls == ["setup", "begin fit", *epochs, "end fit", "teardown"]


def test_each_candidate_for_n_components_is_a_task(digits, small):
    recorder = Recorder()
    fitted = small(AutoencoderTransformer, 0.6, max_iter=1).set_callbacks(recorder).fit(digits)
    trials = [call for call in recorder.calls if "n_components=" in call]
    assert trials[0].startswith("begin")
    assert f"end n_components={fitted.n_components_}" in trials
    # Each size is tried once, for one epoch.
    assert len(set(trials)) == len(trials) == 2 * recorder.calls.count("begin epoch")


def test_a_stopped_fit_is_the_fitted_estimator_of_the_last_epoch(autoencoder, digits, small):
    recorder = Recorder(stop_after=2)
    stopped = small(autoencoder, early_stopping=False).set_callbacks(recorder).fit(digits)
    assert stopped.n_iter_ == 2
    seen = recorder.fitted[-2]  # the last is that of the whole fit
    np.testing.assert_array_equal(seen.transform(digits), stopped.transform(digits))
    np.testing.assert_array_equal(recorder.fitted[-1].transform(digits), stopped.transform(digits))
    earlier = recorder.fitted[0]
    assert earlier.loss_curve_ == stopped.loss_curve_[:1]
    assert (earlier.transform(digits) != stopped.transform(digits)).any()


def test_callbacks_change_no_result(autoencoder, digits, small):
    without, with_callback = small(autoencoder), small(autoencoder).set_callbacks(Recorder())
    np.testing.assert_array_equal(
        with_callback.fit(digits).transform(digits), without.fit(digits).transform(digits)
    )
    assert with_callback.validation_curve_ == without.validation_curve_
    assert set(vars(with_callback)) - set(vars(without)) == {"_skl_callbacks"}
    with_callback.set_callbacks()
    assert set(vars(with_callback)) == set(vars(without))


def test_a_saved_estimator_has_no_callbacks(digits, tmp_path, small):
    pytest.importorskip("safetensors")
    fitted = small(AutoencoderTransformer).set_callbacks(Recorder()).fit(digits)
    save(fitted, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert "_skl_callbacks" not in vars(loaded)
    np.testing.assert_array_equal(loaded.transform(digits), fitted.transform(digits))


@pytest.mark.parametrize(
    "moment", ["setup", "begin fit", "begin epoch", "end epoch", "end fit", "teardown"]
)
def test_an_error_in_a_callback_restores_the_estimator(digits, moment, small):
    estimator = small(AutoencoderTransformer).set_callbacks(Recorder(fail_at=moment))
    before = dict(vars(estimator))
    with pytest.raises(RuntimeError, match=f"failed at {moment}"):
        estimator.fit(digits)
    assert vars(estimator) == before
    with pytest.raises(NotFittedError):
        estimator.transform(digits)
    estimator.set_callbacks().fit(digits)
    codes = estimator.transform(digits)
    with pytest.raises(RuntimeError, match=f"failed at {moment}"):
        estimator.set_callbacks(Recorder(fail_at=moment)).fit(digits[:100])
    np.testing.assert_array_equal(estimator.transform(digits), codes)


def test_callbacks_are_torn_down_after_an_error(digits, small):
    recorder = Recorder(fail_at="end epoch")
    with pytest.raises(RuntimeError):
        small(AutoencoderTransformer).set_callbacks(recorder).fit(digits)
    assert recorder.calls[-1] == "teardown"


def test_a_scoring_monitor_scores_the_best_weights_so_far(digits, small):
    monitor = callback.ScoringMonitor(
        scoring={
            "own": lambda estimator, X, y: estimator.score(X),
            "restored": make_reconstruction_scorer(),
        }
    )
    fitted = small(AutoencoderTransformer, early_stopping=False).set_callbacks(monitor)
    fitted.fit(pd.DataFrame(digits).rename(columns="pixel{}".format))
    scores = monitor.get_logs().data_as_pandas.query("task_name == 'epoch'")
    assert len(scores) == fitted.n_iter_ == 3
    assert scores["own"].iloc[-1] == pytest.approx(fitted.explained_variance_ratio_.sum())
    np.testing.assert_allclose(scores["own"], scores["restored"])
    assert (scores["own"].diff().dropna() >= -1e-6).all()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_callbacks_of_a_pipeline_step_are_called_in_a_grid_search(digits, n_jobs, small):
    monitor = callback.ScoringMonitor(scoring={"own": lambda e, X, y: e.score(X)})
    step = small(AutoencoderTransformer, max_iter=2)
    pipeline = make_pipeline(StandardScaler(), step.set_callbacks(monitor))
    grid = {"autoencodertransformer__n_components": [1, 4]}
    recorder = Propagated()
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs)
    if n_jobs == 1:
        search.set_callbacks(recorder)
    with joblib.parallel_config("threading"):
        search.fit(digits)
    if n_jobs == 1:
        # Two folds, two sizes and the fit of the best: two epochs each.
        assert recorder.calls.count("end epoch") == 2 * 5
    scores = monitor.get_logs().data_as_pandas
    # Each of those fits has a score for each of its two epochs and one for the whole.
    assert len(scores) == 3 * 5
    assert scores["own"].between(0, 1).all()


def test_a_progress_bar_ends_at_100_percent(autoencoder, digits, capsys, small):
    pytest.importorskip("rich")
    small(autoencoder, max_iter=2).set_callbacks(callback.ProgressBar()).fit(digits)
    output = capsys.readouterr().out
    assert f"{autoencoder.__name__} - fit" in output
    assert "100%" in output


def test_verbose_prints_the_losses_of_the_curves(digits, capsys, small):
    fitted = small(AutoencoderTransformer, max_iter=2, verbose=1).fit(digits)
    lines = capsys.readouterr().out.splitlines()
    for epoch in (1, 2):
        loss, error = fitted.loss_curve_[epoch - 1], fitted.validation_curve_[epoch]
        assert lines[epoch - 1].startswith(
            f"epoch {epoch} of 2: training loss {loss:.6g}, held-out loss {error:.6g}, at most "
        )
    assert lines[1].endswith("at most 0 s left")
    assert lines[2:] == list(fitted.diagnosis_)
    small(AutoencoderTransformer, max_iter=2).fit(digits)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (9000, "2 h")],
)
def test_durations_are_printed_in_a_suitable_unit(seconds, text):
    assert duration(seconds) == text


def test_without_callbacks_in_scikit_learn_the_mixin_does_nothing(monkeypatch):
    """The module as it is imported on scikit-learn 1.6 to 1.8."""
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    path = callbacks.__file__
    spec = importlib.util.spec_from_file_location("skae._training.callbacks", path)
    old = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(old)

    class Estimator(old.CallbackSupportMixin):
        @old.with_callbacks
        def fit(self):
            return old.FitCallbackContext.begin(self, None, None, searches=False)

    assert not hasattr(Estimator, "set_callbacks")
    Estimator().fit().subcontext(3).end(fitted=False)  # uses no attribute of the estimator


def test_the_html_representation_describes_fitted_attributes(autoencoder, digits, small):
    fitted = small(autoencoder, max_iter=2).fit(digits)
    html = fitted._repr_html_()
    table = html[html.index("Fitted attributes") :]
    names = [name for name in vars(fitted) if name[-1] == "_"]
    for name in names:
        assert f"{name}: " in table, name
    assert "The `score` of PCA with " in table
