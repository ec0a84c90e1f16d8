"""Devices and conversion of arrays to tensors."""

import numpy as np
import pytest
import torch

from skae._data.device import as_tensor, inference_dtype, resolve_device

CPU = torch.device("cpu")


@pytest.mark.parametrize("layout", [lambda X: X, lambda X: X[::-1], np.asfortranarray])
def test_arrays_of_any_layout_become_tensors(layout, recwarn):
    X = layout(np.arange(6.0).reshape(3, 2))
    X.setflags(write=False)
    np.testing.assert_array_equal(as_tensor(X, torch.float64, CPU).numpy(), X)
    assert not recwarn.list


def test_a_tensor_of_read_only_memory_is_a_copy():
    X = np.zeros((2, 2))
    X.setflags(write=False)
    as_tensor(X, torch.float64, CPU).fill_(1)
    np.testing.assert_array_equal(X, 0)


def test_inference_has_the_precision_of_the_rows_where_the_device_has_it():
    for dtype in (torch.float32, torch.float64):
        assert inference_dtype(dtype, CPU) == dtype
        assert inference_dtype(dtype, torch.device("mps")) == torch.float32
    assert inference_dtype(np.dtype(np.float32), CPU) == torch.float32


def test_the_automatic_device_is_that_of_a_tensor_or_else_one_that_is_present():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("auto", torch.zeros(1, device="meta")).type == "meta"


def test_an_absent_device_raises_an_error_that_names_the_parameter():
    with pytest.raises(ValueError, match=r"`device` must be 'auto' .* got 'nonsense'"):
        resolve_device("nonsense")
