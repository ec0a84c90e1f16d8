"""The loss that revives inactive units of a sparse autoencoder."""

import pytest
import torch
from fitting import make_data

from skae import SparseAutoencoder
from skae._autoencoders.revival import (
    REVIVAL_MARGIN,
    REVIVAL_OFFSET,
    REVIVAL_WEIGHT,
    revival_loss,
)

INACTIVE = [3, 7]


@pytest.fixture
def network(digits, small):
    """The network of a small sparse autoencoder, two units of which have been inactive."""
    fitted = small(SparseAutoencoder, 20, hidden_layer_sizes=(), n_nonzero_coefs=4).fit(digits)
    network = fitted.network_.network.train()
    network.encoder.rows_since_active.zero_()
    network.encoder.max_inactive_rows = 1000.0
    network.encoder.rows_since_active[INACTIVE] = 2000.0
    return network


def loss_of(network, x):
    """The loss, with the codes that it is computed from."""
    pre_activation = network.pre_activation(x)
    code = network.encoder.activation(pre_activation)
    code[:, INACTIVE] = 0.0
    return revival_loss(network, pre_activation, code, x - network.decode(code)), code


@pytest.fixture
def x(digits, small):
    data = make_data(small(SparseAutoencoder), digits)
    return data.rows[torch.arange(100)].double()


def test_the_gradient_is_that_of_inactive_units_only(network, x):
    loss, _ = loss_of(network, x)
    loss.backward()
    weights = (network.encoder.weight, network.encoder.bias, network.decoder.weight)
    for parameter in weights:
        has_gradient = parameter.grad.reshape(20, -1).any(1)
        assert has_gradient.nonzero()[:, 0].tolist() == INACTIVE


def test_the_loss_is_zero_without_inactive_units(network, x):
    network.encoder.rows_since_active.zero_()
    assert loss_of(network, x)[0] == 0


def test_the_loss_equals_its_formula(network, x):
    loss, code = loss_of(network, x)
    residual, expected = (x - network.decode(code)).detach(), 0.0
    pre_activation = network.pre_activation(x).detach()
    for unit in INACTIVE:
        row = pre_activation[:, unit].argmax()
        largest = pre_activation[row, unit]
        smallest = code[row][code[row] > 0].min().detach()
        distance = REVIVAL_MARGIN * (smallest + REVIVAL_OFFSET) - largest
        error = residual[row] - largest * network.decoder.directions[unit].detach()
        expected += max(distance.item(), 0.0) + REVIVAL_WEIGHT * error.square().sum().item()
    assert loss.item() == pytest.approx(expected / len(x))
