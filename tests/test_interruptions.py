"""A fit that an error ends keeps the previous fit or leaves a complete new one."""

import copy
import inspect
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from conftest import LEARNING, make_small
from sklearn.base import clone

import skae
from skae import AutoencoderTransformer, load, save

PACKAGE = os.path.dirname(skae.__file__)
# No error is raised in functions that release resources, since no context manager in Python is
# safe from that, nor in those that warn of a fit that is complete, nor in generators: closing one
# is a call as well, where an error is ignored.
EXEMPT = {
    "warn_user",
    "_package",
    "__enter__",
    "__exit__",
    "_set_depth",
    "_restore",
    "_leave_thread",
    "threads_for",
}
LABELS = np.arange(300) % 3
METHODS = ("transform", "decision_function", "score_samples")


class Counter:
    """Counts the calls of functions of the package, and raises an error at one of them."""

    def __init__(self, at=None, error=None):
        self.n_calls, self._at, self._error = 0, at, error

    def __call__(self, frame, event, argument):
        code = frame.f_code
        exempt = code.co_name in EXEMPT or code.co_flags & inspect.CO_GENERATOR
        if event == "call" and not exempt and PACKAGE in code.co_filename:
            self.n_calls += 1
            if self.n_calls == self._at:
                sys.setprofile(None)
                raise self._error

    def run(self, function, *arguments):
        before = sys.getprofile()
        sys.setprofile(self)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about few epochs and the interruption
                function(*arguments)
        finally:
            sys.setprofile(before)


def fit_small(cls, X):
    """An estimator after a fit of a few steps."""
    return make_small(cls, n_components=None, max_iter=3).fit(X, LABELS[: len(X)])


def results(estimator, X):
    """The results of an estimator for some rows, by method."""
    return {name: getattr(estimator, name)(X) for name in METHODS if hasattr(estimator, name)}


@pytest.mark.parametrize("cls", LEARNING, ids=lambda cls: cls.__name__)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_error_anywhere_keeps_the_old_fit_or_leaves_a_complete_one(cls, digits):
    X, wider = digits[:40, 20:26], digits[:40, 20:28]
    fitted = fit_small(cls, X)
    before, expected = dict(vars(fitted)), results(fitted, X)
    counter = Counter()
    counter.run(clone(fitted).fit, wider, LABELS[:40])
    # From the first call to nearly the last, more densely at both ends, which are outside the
    # epochs. Caches make the number of calls of two fits differ by a few.
    shares = (1 - np.cos(np.linspace(0, 0.95 * np.pi, 4))) / 2
    places = 1 + ((counter.n_calls - 1) * shares).astype(int)
    for at, error in zip(places, [KeyboardInterrupt, RuntimeError] * 2, strict=True):
        with pytest.raises(error):
            Counter(at, error("a fault")).run(fitted.fit, wider, LABELS[:40])
        if fitted.n_features_in_ == 6:
            assert vars(fitted) == before
            for name, result in results(fitted, X).items():
                np.testing.assert_array_equal(result, expected[name])
        else:  # the best epoch so far, or the fit was complete
            assert error is KeyboardInterrupt
            assert all(np.isfinite(result).all() for result in results(fitted, wider).values())
            fitted = fit_small(cls, X)
            before, expected = dict(vars(fitted)), results(fitted, X)
    assert shares[1] * counter.n_calls > 10


@pytest.mark.filterwarnings("ignore:Training was interrupted:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["search", "pretraining", "stream"])
def test_an_error_in_a_search_pretraining_or_partial_fit_keeps_the_old_fit(kind, digits, small):
    fitted = small(AutoencoderTransformer, max_iter=2).fit(digits[:, 20:30])
    if kind == "search":
        fitted.set_params(n_components=0.9)
    if kind == "pretraining":
        fitted.set_params(pretraining="layerwise", hidden_layer_sizes=(8, 8))
    before, codes = dict(vars(fitted)), fitted.transform(digits[:, 20:30])
    method = "partial_fit" if kind == "stream" else "fit"
    learn = getattr(fitted, method)
    rows = digits[:, 20:30] if kind == "stream" else digits[:, 20:32]
    counter = Counter()
    counter.run(getattr(copy.deepcopy(fitted), method), rows)
    for share in (0.05, 0.3, 0.5):
        with pytest.raises(RuntimeError, match="a fault"):
            Counter(int(share * counter.n_calls), RuntimeError("a fault")).run(learn, rows)
        assert vars(fitted) == before
        np.testing.assert_array_equal(fitted.transform(digits[:, 20:30]), codes)


INTERRUPTED = """
import signal, sys, warnings
import numpy as np
from skae import AutoencoderTransformer
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore SIGINT
X = np.random.RandomState(0).normal(size=(500, 5))
X[:, 4] = X[:, 0] ** 2
fitted = AutoencoderTransformer(2, max_iter=10**6, n_iter_no_change=10**6, verbose=1)
try:
    fitted.fit(X)
except KeyboardInterrupt:
    print("kept", np.isfinite(fitted.transform(X)).all(), fitted.n_iter_)
"""


def test_an_interrupt_signal_keeps_the_best_epoch():
    command = [sys.executable, "-u", "-W", "ignore", "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        first = [child.stdout.readline() for _ in range(5)]
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=300)
    assert all(line.startswith("epoch") for line in first)
    assert rest.splitlines()[-1].startswith("kept True")
    assert child.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of the file size")
def test_a_full_disk_keeps_the_existing_file(digits, tmp_path, small):
    pytest.importorskip("safetensors")
    import resource

    path = tmp_path / "model"
    save(AutoencoderTransformer(7), path)
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    fitted = small(AutoencoderTransformer, max_iter=1).fit(digits)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, most))
    try:
        with pytest.raises(OSError, match="too large"):
            save(fitted, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert load(path).n_components == 7
    assert os.listdir(tmp_path) == ["model"]
