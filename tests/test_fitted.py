"""The codec: units, changes of basis, precision."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from test_networks import autoencoder

from skae._nn.fitted import RotatedAutoencoder, computing


@pytest.fixture
def fitted():
    network = autoencoder()
    for parameter in network.parameters():  # a network that does something
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1), std=0.3)
    return RotatedAutoencoder(network, torch.arange(6.0), 2.5, 2).double()


@pytest.fixture
def x():
    return torch.randn(7, 6, generator=torch.Generator().manual_seed(2)).double() * 2.5


def test_rows_are_shifted_and_scaled_on_the_way_in_and_back_on_the_way_out(fitted, x):
    code = fitted.network.encode((x - fitted.shift) / 2.5)
    torch.testing.assert_close(fitted.encode(x), code)
    torch.testing.assert_close(
        fitted.decode(code), fitted.shift + 2.5 * fitted.network.decode(code)
    )


def test_a_change_of_basis_moves_codes_and_no_reconstruction(fitted, x):
    code, restored = fitted.encode(x), fitted.decode(fitted.encode(x))
    centre, matrix = np.array([0.3, -1.0]), np.array([[0.6, -0.8], [0.8, 0.6]]) * 1.7
    expected = (code - torch.from_numpy(centre)) @ torch.from_numpy(matrix)
    for _ in range(2):  # and one on top of the other
        fitted.change_basis(centre, matrix)
        torch.testing.assert_close(fitted.encode(x), expected)
        torch.testing.assert_close(fitted.decode(fitted.encode(x)), restored)
        expected = (expected - torch.from_numpy(centre)) @ torch.from_numpy(matrix)


def test_directions_are_the_jacobian_at_the_mean_code(fitted):
    fitted.change_basis(np.array([0.1, 0.2]), np.array([[2.0, 1.0], [0.0, 1.0]]))
    jacobian = torch.autograd.functional.jacobian(
        lambda code: fitted.decode(code[None])[0], torch.zeros(2, dtype=torch.float64)
    )
    torch.testing.assert_close(fitted.decoder_jacobian(), jacobian.T)


def test_another_precision_is_a_copy_and_the_same_is_not(fitted):
    host = torch.device("cpu")
    assert computing(fitted, torch.float64, host) is fitted
    single = computing(fitted, torch.float32, host)
    assert single.scale.dtype == torch.float32
    assert computing(fitted, torch.float32, host) is single
    elsewhere = computing(fitted, torch.float32, torch.device("meta"))
    assert elsewhere.scale.device.type == "meta"
    assert fitted.scale.dtype == torch.float64


def test_a_copy_is_forgotten_with_its_original(fitted):
    original = copy.deepcopy(fitted)
    copied = weakref.ref(computing(original, torch.float32, torch.device("cpu")))
    assert copied() is not None
    del original
    gc.collect()
    assert copied() is None
