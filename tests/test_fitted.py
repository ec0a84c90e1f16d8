"""The codec: units, changes of basis, precision."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from test_networks import autoencoder

from skae._nn.fitted import OrderedCodec, computing


@pytest.fixture
def codec():
    core = autoencoder()
    for parameter in core.parameters():  # a network that does something
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1), std=0.3)
    return OrderedCodec(core, torch.arange(6.0), 2.5, 2).double()


@pytest.fixture
def x():
    return torch.randn(7, 6, generator=torch.Generator().manual_seed(2)).double() * 2.5


def test_rows_are_shifted_and_scaled_on_the_way_in_and_back_on_the_way_out(codec, x):
    code = codec.core.encode((x - codec.shift) / 2.5)
    torch.testing.assert_close(codec.encode(x), code)
    torch.testing.assert_close(codec.decode(code), codec.shift + 2.5 * codec.core.decode(code))


def test_a_change_of_basis_moves_codes_and_no_reconstruction(codec, x):
    code, restored = codec.encode(x), codec.decode(codec.encode(x))
    centre, matrix = np.array([0.3, -1.0]), np.array([[0.6, -0.8], [0.8, 0.6]]) * 1.7
    expected = (code - torch.from_numpy(centre)) @ torch.from_numpy(matrix)
    for _ in range(2):  # and one on top of the other
        codec.change_basis(centre, matrix)
        torch.testing.assert_close(codec.encode(x), expected)
        torch.testing.assert_close(codec.decode(codec.encode(x)), restored)
        expected = (expected - torch.from_numpy(centre)) @ torch.from_numpy(matrix)


def test_directions_are_the_jacobian_at_the_mean_code(codec):
    codec.change_basis(np.array([0.1, 0.2]), np.array([[2.0, 1.0], [0.0, 1.0]]))
    jacobian = torch.autograd.functional.jacobian(
        lambda code: codec.decode(code[None])[0], torch.zeros(2, dtype=torch.float64)
    )
    torch.testing.assert_close(codec.directions(), jacobian.T)


def test_another_precision_is_a_copy_and_the_same_is_not(codec):
    host = torch.device("cpu")
    assert computing(codec, torch.float64, host) is codec
    single = computing(codec, torch.float32, host)
    assert single.scale.dtype == torch.float32
    assert computing(codec, torch.float32, host) is single
    elsewhere = computing(codec, torch.float32, torch.device("meta"))
    assert elsewhere.scale.device.type == "meta"
    assert codec.scale.dtype == torch.float64


def test_a_copy_is_forgotten_with_its_original(codec):
    original = copy.deepcopy(codec)
    copied = weakref.ref(computing(original, torch.float32, torch.device("cpu")))
    assert copied() is not None
    del original
    gc.collect()
    assert copied() is None
