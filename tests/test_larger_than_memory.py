"""More rows than memory, rows in batches, and a device whose memory is too small for a batch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import quick
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.preprocessing import scale
from sklearn.utils import gen_batches

from skae import AutoencoderTransformer
from skae._data.dataset import ArrayDataset, halve_on_oom, make_dataset
from skae._training.loop import Optimizer

LIMITED = Path(__file__).with_name("limited.py")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
def test_a_tenth_of_the_rows_is_memory_enough(tmp_path):
    command = [sys.executable, str(LIMITED), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["score"] > found["pca_score"]
    assert found["codes"]
    assert found["restored"]


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_a_stream_learns_as_much_as_a_fit_of_as_many_passes(load):
    X = scale(load(return_X_y=True)[0])
    X, n_passes = X[np.random.RandomState(0).permutation(len(X))], 5
    usual = {"max_iter": n_passes, "early_stopping": False, "n_iter_no_change": n_passes}
    fitted = AutoencoderTransformer(4, random_state=0, **usual).fit(X)
    streamed = AutoencoderTransformer(4, random_state=0)
    for _ in range(n_passes):
        for rows in gen_batches(len(X), 128, min_batch_size=4):
            streamed.partial_fit(X[rows])
    assert streamed.score_samples(X).mean() > 1.05 * fitted.score_samples(X).mean()
    assert fitted.score(X) > fitted.pca_score_ + 0.01


@pytest.fixture
def small_device(monkeypatch):
    """No gradient of more than 20 rows fits on the device; the sizes of all that were tried."""
    step, tried = Optimizer.step, []

    def step_on_it(self, gradient, index):
        def limited(index):
            tried.append(len(index))
            if len(index) > 20:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return gradient(index)

        return step(self, limited, index)

    monkeypatch.setattr(Optimizer, "step", step_on_it)
    return tried


def test_parts_of_a_batch_learn_the_same_and_warn_once(digits, request):
    usual = quick(AutoencoderTransformer, batch_size=50, solver="sgd").fit(digits)
    tried = request.getfixturevalue("small_device")
    with pytest.warns(RuntimeWarning, match="ran out of memory at a batch of 50 rows") as told:
        parts = quick(AutoencoderTransformer, batch_size=50, solver="sgd").fit(digits)
    assert len(told) == 1
    assert tried[:5] == [50, 25, 13, 13, 12]  # in vain, then a quarter at a time
    assert max(tried[5:]) <= 13
    np.testing.assert_allclose(parts.loss_curve_, usual.loss_curve_, rtol=1e-3)
    with pytest.warns(RuntimeWarning, match="ran out of memory"):
        quick(AutoencoderTransformer, batch_size=50).partial_fit(digits)


@pytest.mark.filterwarnings("ignore:The device ran out of memory:RuntimeWarning")
def test_every_objective_is_trained_by_parts(autoencoder, digits, small_device):
    fitted = quick(autoencoder, batch_size=50).fit(digits)
    assert min(fitted.validation_curve_) < fitted.validation_curve_[0]


@pytest.mark.filterwarnings("ignore:The device ran out of memory:RuntimeWarning")
def test_a_row_that_is_too_large_alone_is_refused_in_our_words(digits, monkeypatch):
    def nothing_fits(*arguments):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(
        "skae._training.manual_backward.SquaredErrorGradient.__call__", nothing_fits
    )
    estimator = quick(AutoencoderTransformer)
    with pytest.raises(MemoryError, match="gradient of a single row: make `hidden_layer_sizes`"):
        estimator.fit(digits)
    assert set(vars(estimator)) == set(estimator.get_params())


def test_rows_are_encoded_by_parts_where_all_do_not_fit(digits, monkeypatch):
    fitted = quick(AutoencoderTransformer).fit(digits)
    codes, encode = fitted.transform(digits), type(fitted.network_).encode

    def limited(self, x):
        if len(x) > 70:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return encode(self, x)

    monkeypatch.setattr(type(fitted.network_), "encode", limited)
    np.testing.assert_allclose(fitted.transform(digits), codes, atol=1e-12)


def test_what_does_not_fit_by_single_rows_is_passed_on():
    def nothing_fits(x):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        halve_on_oom(nothing_fits, torch.ones(5, 2))


def test_rows_that_do_not_fit_on_the_device_stay_where_they_are(digits, monkeypatch):
    def too_large(*arguments):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("skae._data.dataset.CachedDataset", too_large)
    rows = make_dataset(digits, np.zeros(64), 1.0, torch.device("meta"))
    assert isinstance(rows, ArrayDataset)
