"""Fits and codes in other processes and threads, and memory after many fits."""

import gc
import weakref
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from conftest import AUTOENCODERS
from sklearn.base import clone

from skae import AutoencoderTransformer
from skae._data.threads import MULTITHREADING_MIN_FLOPS

STATUS = Path("/proc/self/status")


def encoders(fitted):
    """`transform` of a fitted estimator, and `fit_transform` of its clone."""
    return fitted.transform, clone(fitted).fit_transform


@pytest.mark.parametrize("kind", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_codes_of_a_child_process_are_bitwise_identical(kind, digits, small):
    fitted = small(AutoencoderTransformer, max_iter=3).fit(digits)
    with ProcessPoolExecutor(1, mp_context=get_context(kind)) as pool:
        for work in encoders(fitted):
            codes = pool.submit(work, digits).result(timeout=300)
            np.testing.assert_array_equal(codes, work(digits))


def test_codes_of_parallel_processes_are_bitwise_identical(digits, small):
    # One test for all classes, as starting the processes takes the longest.
    work = [w for cls in AUTOENCODERS for w in encoders(small(cls, max_iter=3).fit(digits))]
    expected = [w(digits) for w in work]
    pool = joblib.Parallel(n_jobs=2, backend="loky", timeout=300)
    for codes, same in zip(pool(joblib.delayed(w)(digits) for w in work), expected, strict=True):
        np.testing.assert_array_equal(codes, same)


@pytest.fixture
def restored_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_codes_of_one_and_two_threads_agree_to_five_digits(restored_threads, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = np.tanh(rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 40))).astype(np.float32)
    codes = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        large = AutoencoderTransformer(
            3,
            hidden_layer_sizes=(1024, 512),
            batch_size=900,
            max_iter=5,
            random_state=global_random_seed,
        )
        assert large._flops_per_row(X, 3) * 900 > MULTITHREADING_MIN_FLOPS
        codes.append(large.fit_transform(X))
    np.testing.assert_allclose(codes[1], codes[0], atol=1e-5 * codes[0].std())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("cls", AUTOENCODERS, ids=lambda cls: cls.__name__)
def test_a_learning_rate_that_is_too_large_keeps_the_start_or_is_named(cls, digits, small):
    estimator = small(cls, learning_rate_init=1e30, max_iter=3)
    try:
        estimator.fit(digits)
    except ValueError as error:
        message = str(error)
    else:
        message = "`learning_rate_init`"
        assert np.isfinite(estimator.reconstruct(digits)).all()
    assert "`learning_rate_init`" in message
    assert hasattr(estimator, "n_features_in_") == estimator.__sklearn_is_fitted__()


def test_a_model_is_freed_after_its_last_reference(digits, small):
    gc.collect()
    gc.disable()
    try:
        fitted = small(AutoencoderTransformer, max_iter=1).fit(digits)
        network = weakref.ref(fitted.network_)
        del fitted
        assert network() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not STATUS.exists(), reason="needs /proc of Linux")
def test_memory_does_not_grow_with_the_number_of_fits_and_errors(digits, small):
    X = digits[:100]

    def own_memory():
        gc.collect()
        line = next(line for line in STATUS.read_text().splitlines() if "RssAnon" in line)
        return int(line.split()[1]) / 1024

    def work(n_fits):
        for seed in range(n_fits):
            fitted = small(AutoencoderTransformer, max_iter=1, random_state=seed).fit(X)
            fitted.partial_fit(X).score(X)
            with pytest.raises(ValueError, match="infinity"):
                fitted.fit(X + np.inf)

    work(10)
    before = own_memory()
    work(40)
    assert own_memory() - before < 4
