"""The number of threads during small and large work."""

import threading

import numpy as np
import pytest
import torch
from conftest import ESTIMATORS
from threadpoolctl import threadpool_info
from torch.utils._python_dispatch import TorchDispatchMode

from skae import AutoencoderTransformer
from skae._data.threads import MULTITHREADING_MIN_FLOPS, threads_for
from skae._nn.fitted import FittedAutoencoder
from skae._training.optimizer import Optimizer


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_small_work_uses_one_thread_and_restores_the_number_of_threads(two_threads):
    with threads_for(1000):
        assert torch.get_num_threads() == 1
        assert all(pool["num_threads"] == 1 for pool in threadpool_info())
        with threads_for(1000):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_libraries_with_threads_are_searched_for_once(monkeypatch):
    """A search takes as long as the reconstruction of some hundred rows."""
    with threads_for(1000):
        monkeypatch.setattr("skae._data.threads.ThreadpoolController", None)
    with threads_for(1000):
        assert all(pool["num_threads"] == 1 for pool in threadpool_info())


@pytest.mark.parametrize("main_leaves_first", [True, False])
def test_each_thread_of_python_restores_its_own_number(two_threads, main_leaves_first):
    inside, left, other = threading.Event(), threading.Event(), []

    def work():
        with threads_for(1000):
            inside.set()
            left.wait(10 if main_leaves_first else 0)
        other.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    with threads_for(1000):
        thread.start()
        assert inside.wait(10)
        if not main_leaves_first:
            thread.join()
            assert torch.get_num_threads() == 1
    left.set()
    thread.join()
    assert [torch.get_num_threads(), *other] == [2, 2]


def test_large_work_keeps_the_number_of_threads(two_threads):
    with threads_for(MULTITHREADING_MIN_FLOPS):
        assert torch.get_num_threads() == 2


def test_the_number_of_threads_is_restored_after_an_error(two_threads):
    with pytest.raises(KeyError), threads_for(1000):
        raise KeyError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("image_shape", [None, (8, 8)])
def test_rows_are_transformed_by_one_thread_unless_blocks_are_large(
    image_shape, two_threads, monkeypatch, global_random_seed
):
    """On a busy machine two threads take longer, in `fit` and afterwards."""
    X = np.random.RandomState(global_random_seed).rand(400, 64)
    used = set()
    encode, decode = FittedAutoencoder.encode, FittedAutoencoder.decode

    def recorded(function):
        def call(self, rows):
            used.add(torch.get_num_threads())
            return function(self, rows)

        return call

    monkeypatch.setattr(FittedAutoencoder, "encode", recorded(encode))
    monkeypatch.setattr(FittedAutoencoder, "decode", recorded(decode))
    model = AutoencoderTransformer(
        2, image_shape=image_shape, hidden_layer_sizes=(8,), max_iter=1, random_state=0
    ).fit(X)
    codes = model.transform(X)
    model.inverse_transform(codes)
    model.reconstruct(X)
    assert used == {1}
    monkeypatch.setattr("skae._data.threads.MULTITHREADING_MIN_FLOPS", 0)
    model.transform(X)
    assert used == {1, 2}


class NumbersOfThreads(TorchDispatchMode):
    """Records the number of threads of products of matrices."""

    def __init__(self):
        super().__init__()
        self.used = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "mm" in str(function) or "linear" in str(function):
            self.used.add(torch.get_num_threads())
        return function(*args, **(kwargs or {}))


METHODS = (
    *("transform", "reconstruct", "score_samples", "score_features", "predict", "predict_proba"),
    *("decision_function", "predict_interval", "feature_contributions", "log_likelihood", "sample"),
)


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_few_rows_take_one_thread_in_all_methods(cls, small, two_threads, global_random_seed):
    """Ten rows took up to 100 x as long by two threads on a busy machine."""
    X = np.random.RandomState(global_random_seed).rand(60, 6)
    estimator, few = small(cls).fit(X, np.arange(60) % 2), X[:10].copy()
    few[3, 2] = np.nan if "Imputer" in cls.__name__ else 0.5
    with NumbersOfThreads() as numbers:
        for name in METHODS:
            if hasattr(estimator, name):
                getattr(estimator, name)(10 if name == "sample" else few)
        if hasattr(estimator, "inverse_transform"):
            estimator.inverse_transform(estimator.transform(few))
    assert numbers.used <= {1}


def test_few_wide_rows_are_learned_by_one_thread_in_coordinates_of_the_rows(
    two_threads, monkeypatch, global_random_seed
):
    """A step is large work for all features, and small for the coordinates."""
    X = np.random.RandomState(global_random_seed).normal(size=(60, 3000))
    numbers: dict[str, set[int]] = {"step": set(), "encode": set()}

    def recorded(cls, name):
        function = getattr(cls, name)

        def record(*args):
            numbers[name].add(torch.get_num_threads())
            return function(*args)

        monkeypatch.setattr(cls, name, record)

    recorded(Optimizer, "step")
    recorded(FittedAutoencoder, "encode")
    monkeypatch.setattr("skae._data.threads.MULTITHREADING_MIN_FLOPS", 2e7)
    autoencoder = AutoencoderTransformer(2, max_iter=1, batch_size=30, random_state=0).fit(X)
    assert autoencoder._flops_per_row(X, 2) * 30 > 2e7
    assert numbers["step"] == {1}
    assert 1 in numbers["encode"]
