"""The search for codes after the encoder, and the dictionary that is fitted to these codes."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from fitting import make_data

from skae import SparseAutoencoder
from skae._autoencoders.dictionary_update import (
    RIDGE,
    _held_out_error,
    _update_directions,
    method_of_optimal_directions,
)


@pytest.fixture
def encoded(coder, digits):
    """A dictionary after one pass over the rows, codes by the encoder."""
    return coder().partial_fit(digits)


@pytest.fixture
def pursued(coder, digits):
    """The same dictionary, as `partial_fit` does not update it; codes by the search."""
    return coder(transform_max_iter=3).partial_fit(digits)


@pytest.fixture
def coder(small):
    """A function that makes a small sparse autoencoder with one layer."""
    return partial(small, SparseAutoencoder, 100, hidden_layer_sizes=())


def test_searched_codes_reconstruct_every_row_at_least_as_well(digits, encoded, pursued):
    np.testing.assert_array_equal(pursued.components_, encoded.components_)
    assert (pursued.score_samples(digits) >= encoded.score_samples(digits) - 1e-9).all()
    assert pursued.score(digits) > encoded.score(digits) + 0.02
    codes = pursued.transform(digits)
    assert (codes > 0).sum(axis=1).max() <= 6
    np.testing.assert_allclose(pursued.reconstruct(digits), pursued.inverse_transform(codes))
    np.testing.assert_allclose((codes > 0).mean(axis=0), pursued.activation_frequency_)


def test_weights_have_the_ratios_of_copies(digits, pursued):
    counts = np.arange(len(digits)) % 3
    pursued.early_stopping = False
    directions, errors = [], []
    for X, weights in ((digits, counts / 2), (np.repeat(digits, counts, axis=0), None)):
        network = copy.deepcopy(pursued.network_.network)
        data = make_data(pursued, X, sample_weight=weights)
        # Divided by the number of rows that the weights stand for.
        with torch.no_grad():
            errors.append(_held_out_error(network, data) / len(data.train))
            _update_directions(network, data)
        directions.append(network.decoder.directions.detach())
    np.testing.assert_allclose(*directions, atol=1e-6)
    np.testing.assert_allclose(*errors, rtol=1e-3)  # in other units, as moments are in float32


def test_directions_are_updated_by_ridge_regression_of_the_residual(digits, pursued):
    network, data = pursued.network_.network, make_data(pursued, digits)
    with torch.no_grad():
        x = data.rows[data.train].double()
        code, residual = network.encode(x), x - network.decode(network.encode(x))
        pre_activation = network.pre_activation(x)
        gram = code.T @ code
        penalty = RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
        change = torch.linalg.solve(gram + penalty, code.T @ residual)
        expected = network.decoder.directions + change
        length = expected.norm(dim=1)
        _update_directions(network, data)
        # The encoder is rescaled, as the directions have unit length.
        rescaled = network.pre_activation(x)
    torch.testing.assert_close(network.decoder.directions, expected / length[:, None])
    torch.testing.assert_close(rescaled, pre_activation * length)


def test_updates_continue_while_the_held_out_error_falls(digits, pursued):
    network, data = pursued.network_.network, make_data(pursued, digits, digits[:200])
    updated, once = copy.deepcopy(network), copy.deepcopy(network)
    method_of_optimal_directions(updated, data)
    with torch.no_grad():
        _update_directions(once, data)
    errors = [_held_out_error(coder, data) for coder in (network, once, updated)]
    assert errors[0] > errors[1] > errors[2]


def test_an_update_that_raises_the_held_out_error_is_undone(digits, pursued, global_random_seed):
    # The dictionary is one for digits; an update for noise reconstructs them worse.
    noise = digits.mean() + 5 * np.random.RandomState(global_random_seed).normal(size=digits.shape)
    network, data = pursued.network_.network, make_data(pursued, noise, digits)
    before = copy.deepcopy(network.state_dict())
    method_of_optimal_directions(network, data)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_fit_updates_the_dictionary_for_searched_codes_only(digits, coder):
    encoded, pursued = (coder(transform_max_iter=n).fit(digits) for n in (0, 3))
    assert not np.allclose(pursued.components_, encoded.components_)
    assert pursued.score(digits) > encoded.score(digits) + 0.02
