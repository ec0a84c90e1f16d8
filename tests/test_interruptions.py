"""A fit that ends early, for whatever reason, leaves what was there before or a whole new fit."""

import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from conftest import ESTIMATORS, brief, quick
from sklearn.base import clone

import skae
from skae import AutoencoderTransformer, load, save

PACKAGE = os.path.dirname(skae.__file__)
# What gives back what it took is not itself interrupted, as no context manager in Python is safe
# from that; nor are generators, whose last call is their end.
SPARED = {"__enter__", "__exit__", "restore_on_error", "grad_mode", "threads_for", "<genexpr>"}
LABELS = np.arange(300) % 3
METHODS = ("transform", "decision_function", "score_samples")


class Counter:
    """Counts the calls of functions of the package, and raises an error at one of them."""

    def __init__(self, at=None, error=None):
        self.n_calls, self._at, self._error = 0, at, error

    def __call__(self, frame, event, argument):
        code = frame.f_code
        if event == "call" and code.co_name not in SPARED and PACKAGE in code.co_filename:
            self.n_calls += 1
            if self.n_calls == self._at:
                sys.setprofile(None)
                raise self._error

    def watch(self, function, *arguments):
        before = sys.getprofile()
        sys.setprofile(self)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of few epochs, and of the interruption
                function(*arguments)
        finally:
            sys.setprofile(before)


def tiny(cls, X, **parameters):
    """A fit of a few steps."""
    usual = {"max_iter": 3, "n_steps": 3, "random_state": 0} | parameters
    estimator = brief(cls)
    known = usual.keys() & estimator.get_params().keys()
    return estimator.set_params(**{name: usual[name] for name in known}).fit(X, LABELS[: len(X)])


def answers(estimator, X):
    """What an estimator tells of rows, by method."""
    return {name: getattr(estimator, name)(X) for name in METHODS if hasattr(estimator, name)}


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_error_anywhere_leaves_an_old_or_a_whole_fit(cls, digits):
    X, wider = digits[:40, 20:26], digits[:40, 20:28]
    fitted = tiny(cls, X)
    before, told = dict(vars(fitted)), answers(fitted, X)
    counter = Counter()
    counter.watch(clone(fitted).fit, wider, LABELS[:40])
    # From the first call to nearly the last, more closely at both ends, where no epochs are. Not to
    # the very last: what is cached between two fits makes their calls differ by a few.
    shares = (1 - np.cos(np.linspace(0, 0.95 * np.pi, 4))) / 2
    places = 1 + ((counter.n_calls - 1) * shares).astype(int)
    for at, error in zip(places, [KeyboardInterrupt, RuntimeError] * 2, strict=True):
        with pytest.raises(error):
            Counter(at, error("a fault")).watch(fitted.fit, wider, LABELS[:40])
        if fitted.n_features_in_ == 6:
            assert vars(fitted) == before
            for name, answer in answers(fitted, X).items():
                np.testing.assert_array_equal(answer, told[name])
        else:  # the best epoch so far, or all was done already
            assert error is KeyboardInterrupt
            assert all(np.isfinite(answer).all() for answer in answers(fitted, wider).values())
            fitted = tiny(cls, X)
            before, told = dict(vars(fitted)), answers(fitted, X)
    assert shares[1] * counter.n_calls > 10


@pytest.mark.filterwarnings("ignore:Training was interrupted:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["search", "pretraining", "stream"])
def test_other_ways_to_learn_are_interrupted_as_cleanly(kind, digits):
    fitted = quick(AutoencoderTransformer, max_iter=2).fit(digits[:, 20:30])
    if kind == "search":
        fitted.set_params(n_components=0.9)
    if kind == "pretraining":
        fitted.set_params(pretraining="layerwise", hidden_layer_sizes=(8, 8))
    before, codes = dict(vars(fitted)), fitted.transform(digits[:, 20:30])
    learn = fitted.partial_fit if kind == "stream" else fitted.fit
    rows = digits[:, 20:30] if kind == "stream" else digits[:, 20:32]
    counter = Counter()
    counter.watch(clone(fitted).fit, rows)
    for share in (0.05, 0.3, 0.5):
        with pytest.raises(RuntimeError, match="a fault"):
            Counter(int(share * counter.n_calls), RuntimeError("a fault")).watch(learn, rows)
        assert vars(fitted) == before
        np.testing.assert_array_equal(fitted.transform(digits[:, 20:30]), codes)


INTERRUPTED = """
import signal, sys, warnings
import numpy as np
from skae import AutoencoderTransformer
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let jobs ignore it
X = np.random.RandomState(0).normal(size=(500, 5))
X[:, 4] = X[:, 0] ** 2
fitted = AutoencoderTransformer(2, max_iter=10**6, n_iter_no_change=10**6, verbose=1)
try:
    fitted.fit(X)
except KeyboardInterrupt:
    print("kept", np.isfinite(fitted.transform(X)).all(), fitted.n_iter_)
"""


def test_a_real_signal_keeps_the_best_epoch():
    command = [sys.executable, "-u", "-W", "ignore", "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        first = [child.stdout.readline() for _ in range(5)]
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=60)
    assert all(line.startswith("epoch") for line in first)
    assert rest.splitlines()[-1].startswith("kept True")
    assert child.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file")
def test_a_full_disk_leaves_the_file_that_was_there(digits, tmp_path):
    pytest.importorskip("safetensors")
    import resource

    path = tmp_path / "model"
    save(AutoencoderTransformer(7), path)
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    fitted = quick(AutoencoderTransformer, max_iter=1).fit(digits)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, most))
    try:
        with pytest.raises(OSError, match="too large"):
            save(fitted, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert load(path).n_components == 7
    assert os.listdir(tmp_path) == ["model"]
