"""Errors about networks and results that need more memory than there is."""

from dataclasses import fields
from numbers import Integral

import numpy as np
import pytest
import torch
from conftest import ESTIMATORS

import skae
from skae._data.memory import OUT_OF_MEMORY, check_memory, explained_memory, memory_of_machine
from skae._data.validation import Interval

# Parameters that are numbers of steps or samples, or of what is printed: they take time.
NO_SIZES = {"max_iter", "n_steps", "n_importance_samples", "n_iter_no_change"}
NO_SIZES |= {"transform_max_iter", "verbose"}
MESSAGE = "It is too large"
SIZES = [
    (cls, declared.name)
    for cls in ESTIMATORS
    for declared in fields(cls)
    for rule in declared.metadata.get("allowed", ())
    if isinstance(rule, Interval) and rule.type is Integral and rule.right == np.inf
    if declared.name not in NO_SIZES
]


def test_errors_of_torch_and_numpy_about_memory_are_explained():
    for allocate in (np.empty, torch.empty):
        for size in (2**50, 2**62):
            with pytest.raises(MemoryError, match=MESSAGE), explained_memory(MESSAGE):
                allocate(size)
    with pytest.raises(ValueError, match="another"), explained_memory(MESSAGE):
        raise ValueError("another")


def test_more_than_the_memory_of_the_machine_is_refused():
    assert memory_of_machine() > 2**25
    check_memory(memory_of_machine(), MESSAGE)
    with pytest.raises(MemoryError, match=MESSAGE):
        check_memory(1.01 * memory_of_machine(), MESSAGE)


@pytest.mark.parametrize(("cls", "name"), SIZES, ids=[f"{c.__name__}-{n}" for c, n in SIZES])
def test_a_size_of_any_number_is_used_or_refused_clearly(cls, name, small):
    X = np.random.RandomState(0).uniform(size=(20, 5))
    message = ""
    try:
        small(cls, 2, max_iter=1).set_params(**{name: 2**62}).fit(X, np.arange(20) % 2)
    except (MemoryError, ValueError) as error:
        message = str(error)
    assert not message or name in message
    assert not OUT_OF_MEMORY.search(message)


def test_networks_of_more_weights_than_the_memory_are_refused_before_they_are_made(small):
    X, n_features = np.random.RandomState(0).uniform(size=(20, 5)), 5
    n_units = int(memory_of_machine() / (16 * n_features)) + 1
    for name in ("n_components", "hidden_layer_sizes"):
        with pytest.raises(MemoryError, match=f"{n_units}.* needs more memory than there is"):
            small(skae.SparseAutoencoder, **{name: n_units}).fit(X)


def test_windows_of_more_numbers_than_the_memory_are_refused_before_they_are_made():
    X = np.zeros((20, 5))
    for size in (int(memory_of_machine() / X.nbytes) + 1, 2**62):
        with pytest.raises(MemoryError, match=f"`window_size`={size}"):
            skae.SlidingWindows(window_size=size).fit(X)
