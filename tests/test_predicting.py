"""An autoencoder whose codes predict targets, also after their projection."""

import copy

import numpy as np
import pytest
import torch
from fitting import network_rows

from skae import SupervisedAutoencoder
from skae._losses.reconstruction import loss_of_link


def fit(small, digits, **options):
    y = (digits[:, 20] > 8) + 2 * (digits[:, 42] > 8)
    options = {"max_iter": 4, "transform_max_iter": 30} | options
    return small(SupervisedAutoencoder, 2, **options).fit(digits, y)


@pytest.fixture
def fitted(digits, small):
    return fit(small, digits)


def encoder_codes(fitted, X):
    with torch.no_grad():
        return fitted.network_.network.encode(network_rows(fitted, X))


def network_codes(fitted, X):
    with torch.no_grad():
        return fitted.network_.to_network_code(torch.from_numpy(fitted.transform(X)))


def objective(fitted, X, codes):
    """The reconstruction loss plus the change of the prediction since the encoder."""
    network = fitted.network_.network
    loss = loss_of_link(network.link)
    with torch.no_grad():
        change = (codes - encoder_codes(fitted, X)) * network.scales.inverse_code_scale
        change = change @ network.head.weight.T
        retained = ((change @ network.retention) * change).sum(1)
        return loss.loss(network.decode(codes), network_rows(fitted, X)) + retained


@pytest.mark.parametrize("options", [{}, {"loss": "poisson"}, {"init": "random"}], ids=str)
def test_no_code_near_a_projected_one_has_a_lower_objective(digits, small, options):
    fitted = fit(small, digits, **options)
    codes = network_codes(fitted, digits)
    lowest = objective(fitted, digits, codes)
    assert (lowest <= objective(fitted, digits, encoder_codes(fitted, digits)) + 1e-9).all()
    scale = codes.std(0)
    for change in ([1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]):
        moved = objective(fitted, digits, codes + torch.tensor(change) * scale)
        assert (moved >= lowest - 1e-6 * lowest.abs()).double().mean() > 0.95


def test_a_changed_prediction_is_kept_from_then_on(fitted, digits):
    before = fitted.transform(digits)
    with torch.no_grad():
        fitted.network_.network.head.weight.mul_(30)
    after = fitted.transform(digits)
    assert not np.allclose(after, before, atol=0.01)
    np.testing.assert_array_equal(copy.deepcopy(fitted).transform(digits), after)


def test_without_retention_rows_are_projected_as_by_the_plain_network(fitted, digits):
    network = fitted.network_.network
    network.retention.zero_()
    error = objective(fitted, digits, network_codes(fitted, digits))
    network.retention.add_(1e6 * torch.eye(len(network.retention)))
    retained = network_codes(fitted, digits)
    np.testing.assert_allclose(retained, encoder_codes(fitted, digits), atol=0.02)
    network.retention.zero_()
    assert (error < objective(fitted, digits, retained) + 1e-9).all()


def test_single_rows_have_the_codes_of_rows_together(fitted, digits):
    single = np.concatenate([fitted.transform(row[None]) for row in digits[:20]])
    np.testing.assert_allclose(single, fitted.transform(digits[:20]), atol=1e-6)


@pytest.mark.parametrize("n_steps", [0, 30])
def test_contributions_to_codes_of_a_linear_network_are_its_slopes(digits, small, n_steps):
    options = {"hidden_layer_sizes": (), "transform_max_iter": n_steps, "max_iter": 1}
    y = digits[:, 20] > 8
    fitted = small(SupervisedAutoencoder, 2, **options).fit(digits, y)
    row = digits[3].copy()
    step = np.zeros(64)
    step[20] = 1.0
    slope = fitted.transform([row + step])[0] - fitted.transform([row])[0]
    found = fitted.feature_contributions([row])[0, :, 20]
    np.testing.assert_allclose(found, slope * (row[20] - fitted.mean_[20]), rtol=1e-3)
