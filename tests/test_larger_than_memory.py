"""Data larger than the memory, data in batches, batches larger than the memory of the device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.preprocessing import scale
from sklearn.utils import gen_batches

from skae import AutoencoderTransformer
from skae._data.dataset import ArrayDataset, make_dataset
from skae._data.device import halve_on_oom
from skae._training.loop import Optimizer

LIMITED = Path(__file__).with_name("limited.py")


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA")
def test_a_fit_allocates_less_than_a_fifth_of_the_rows():
    # One thread: others allocate stacks and heaps of their own, depending on the load. By default
    # malloc raises the size from which it returns memory to the system, so that some runs allocate
    # twice as much.
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    malloc = {"MALLOC_MMAP_THRESHOLD_": str(2**21)}
    environment = os.environ | dict.fromkeys(names, "1") | malloc
    command = [sys.executable, str(LIMITED)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    assert results["score"] > results["pca_score"]
    assert results["same_codes"]


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_partial_fit_learns_as_much_as_fit_in_as_many_epochs(load, global_random_seed):
    X = scale(load(return_X_y=True)[0])
    X, n_passes = X[np.random.RandomState(global_random_seed).permutation(len(X))], 5
    settings = {"max_iter": n_passes, "early_stopping": False, "n_iter_no_change": n_passes}
    fitted = AutoencoderTransformer(4, random_state=global_random_seed, **settings).fit(X)
    streamed = AutoencoderTransformer(4, random_state=global_random_seed)
    for _ in range(n_passes):
        for rows in gen_batches(len(X), 128, min_batch_size=4):
            streamed.partial_fit(X[rows])
    assert streamed.score_samples(X).mean() > 1.05 * fitted.score_samples(X).mean()
    assert fitted.score(X) > fitted.pca_score_ + 0.01


@pytest.fixture
def small_device(monkeypatch):
    """A device without memory for a gradient of more than 20 rows; the batch sizes tried."""
    step, tried = Optimizer.step, []

    def limited_step(self, gradient, index):
        def limited(index):
            tried.append(len(index))
            if len(index) > 20:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return gradient(index)

        return step(self, limited, index)

    monkeypatch.setattr(Optimizer, "step", limited_step)
    return tried


def test_halved_batches_learn_the_same_and_warn_once(digits, request, small):
    whole = small(AutoencoderTransformer, batch_size=50, solver="sgd").fit(digits)
    tried = request.getfixturevalue("small_device")
    with pytest.warns(RuntimeWarning, match="ran out of memory at a batch of 50 rows") as warnings:
        parts = small(AutoencoderTransformer, batch_size=50, solver="sgd").fit(digits)
    assert len(warnings) == 1
    assert tried[:5] == [50, 25, 13, 13, 12]  # two failures, then quarters
    assert max(tried[5:]) <= 13
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-3)
    with pytest.warns(RuntimeWarning, match="ran out of memory"):
        small(AutoencoderTransformer, batch_size=50).partial_fit(digits)


@pytest.mark.filterwarnings("ignore:The device ran out of memory:RuntimeWarning")
def test_every_objective_is_trained_with_halved_batches(autoencoder, digits, small_device, small):
    fitted = small(autoencoder, batch_size=50).fit(digits)
    assert min(fitted.validation_curve_) < fitted.validation_curve_[0]


@pytest.mark.filterwarnings("ignore:The device ran out of memory:RuntimeWarning")
def test_a_single_row_that_exceeds_the_memory_is_a_memory_error(digits, monkeypatch, small):
    def out_of_memory(*arguments):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(
        "skae._training.manual_backward.SquaredErrorGradient.__call__", out_of_memory
    )
    estimator = small(AutoencoderTransformer)
    with pytest.raises(MemoryError, match="gradient of a single row: make `hidden_layer_sizes`"):
        estimator.fit(digits)
    assert set(vars(estimator)) == set(estimator.get_params())


def test_rows_that_exceed_the_memory_are_encoded_in_parts(digits, monkeypatch, small):
    fitted = small(AutoencoderTransformer).fit(digits)
    codes, encode = fitted.transform(digits), type(fitted.network_).encode

    def limited(self, x):
        if len(x) > 70:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return encode(self, x)

    monkeypatch.setattr(type(fitted.network_), "encode", limited)
    np.testing.assert_allclose(fitted.transform(digits), codes, atol=1e-12)


def test_halving_ends_at_a_single_row():
    def out_of_memory(x):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        halve_on_oom(out_of_memory, torch.ones(5, 2))


def test_rows_that_exceed_the_device_memory_stay_on_the_host(digits, monkeypatch):
    def out_of_memory(*arguments):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("skae._data.dataset.CachedDataset", out_of_memory)
    rows = make_dataset(digits, np.zeros(64), 1.0, torch.device("meta"))
    assert isinstance(rows, ArrayDataset)
