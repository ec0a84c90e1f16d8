"""What the caller has set in torch does not change any result."""

import pickle
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from conftest import AUTOENCODERS, ESTIMATORS, all_results
from sklearn.base import clone
from torch.overrides import TorchFunctionMode

from skae._data.torch_defaults import torch_defaults, training_mode, with_torch_defaults
from skae._export.methods import METHODS, program


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


AMBIENT = {
    "device": lambda: torch.device("meta"),
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference_mode": torch.inference_mode,
}


def defaults():
    return torch.get_default_dtype(), torch.empty(0).device, torch.is_autocast_enabled("cpu")


def results(estimator, X):
    """The results of all public methods, and the constants of the methods that can be exported."""
    found = all_results(estimator, X)
    for method in METHODS if type(estimator) in AUTOENCODERS else ():
        constants = program(estimator, method).graph.constants
        found |= {f"{method} {name}": value for name, value in constants.items()}
    return found


@pytest.fixture(params=ESTIMATORS, ids=lambda cls: cls.__name__, scope="module")
def alone(request, small, global_random_seed):
    """Each class, fitted and read without any default of the caller: its results, and how."""
    cls = request.param
    rng = np.random.RandomState(global_random_seed)
    X, y = rng.normal(size=(70, 2)) @ rng.normal(size=(2, 5)) + 0.1, np.arange(70) % 2
    rows = np.where(rng.uniform(size=X.shape) < 0.1, np.nan, X)
    if not cls().__sklearn_tags__().input_tags.allow_nan:
        rows = X
    estimator = small(cls, 2, max_iter=2)
    fitted = clone(estimator).fit(rows, y)
    return estimator, fitted, rows, y, results(fitted, rows)


@pytest.mark.parametrize("ambient", AMBIENT.values(), ids=AMBIENT)
def test_defaults_of_the_caller_change_no_result(alone, ambient):
    estimator, outside, rows, y, expected = alone
    with ambient():
        within = pickle.loads(pickle.dumps(clone(estimator).fit(rows, y)))
        for fitted in (outside, within):
            for name, values in results(fitted, rows).items():
                np.testing.assert_array_equal(values, expected[name], err_msg=name)


class OutsideDefaults(TorchFunctionMode):
    """Collects the functions of torch that are called where the default dtype is the caller's."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_function__(self, function, types, arguments=(), options=None):
        if torch.get_default_dtype() != torch.float32:
            self.names.add(function.__name__)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_all_that_methods_compute_is_within_the_defaults(cls, small, global_random_seed):
    X, y = np.random.RandomState(global_random_seed).normal(size=(40, 5)), np.arange(40) % 2
    with default_dtype(torch.float64), OutsideDefaults() as outside:
        results(small(cls, 2, max_iter=1).fit(X, y), X)
    # The caller's settings are read, and arrays become tensors.
    assert outside.names <= {"get_default_dtype", "empty", "__get__"}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_mode_enables_gradients_within_any_mode(mode):
    with mode(), training_mode():
        x = torch.ones(1, requires_grad=True)
        (2 * x).backward()
        assert x.grad.item() == 2


@pytest.mark.parametrize("ambient", AMBIENT.values(), ids=AMBIENT)
def test_the_defaults_of_the_caller_are_restored_after_an_error(ambient):
    @with_torch_defaults
    def fail():
        made = torch.zeros(1) @ torch.zeros(1, 1)
        assert (made.dtype, made.device.type) == (torch.float32, "cpu")
        raise KeyError

    with ambient():
        before = (
            torch.get_default_dtype(),
            torch.empty(0).device,
            torch.is_autocast_enabled("cpu"),
        )
        with pytest.raises(KeyError):
            fail()
        assert before == (
            torch.get_default_dtype(),
            torch.empty(0).device,
            torch.is_autocast_enabled("cpu"),
        )


def test_the_dtype_is_that_of_torch_as_long_as_any_thread_is_within():
    entered, left, seen = threading.Event(), threading.Event(), []

    def work():
        with torch_defaults():
            entered.set()
            left.wait(10)
            seen.append(torch.get_default_dtype())

    with default_dtype(torch.float64):
        thread = threading.Thread(target=work)
        with torch_defaults():
            thread.start()
            entered.wait(10)
        left.set()
        thread.join()
        assert seen == [torch.float32]
        assert torch.get_default_dtype() == torch.float64
