"""An autoencoder whose codes predict targets, also after their projection."""

import numpy as np
import pytest
import torch

from skae import SupervisedAutoencoder


@pytest.fixture
def fitted(digits, small):
    y = (digits[:, 20] > 8) + 2 * (digits[:, 42] > 8)
    return small(SupervisedAutoencoder, 2, max_iter=4, transform_max_iter=30).fit(digits, y)


def encoder_codes(fitted, X):
    network = fitted.network_.network
    with torch.no_grad():
        return network.encode(torch.from_numpy((X - fitted.mean_) / fitted.network_.scale.item()))


def network_codes(fitted, X):
    with torch.no_grad():
        return fitted.network_.to_network_code(torch.from_numpy(fitted.transform(X)))


def objective(fitted, X, codes):
    """The reconstruction error plus the change of the prediction since the encoder."""
    network = fitted.network_.network
    x = torch.from_numpy((X - fitted.mean_) / fitted.network_.scale.item())
    with torch.no_grad():
        change = (codes - encoder_codes(fitted, X)) * network.scales.inverse_code_scale
        change = change @ network.head.weight.T
        retained = ((change @ network.retention) * change).sum(1)
        return (network.decode(codes) - x).square().sum(1) + retained


def test_no_code_near_a_projected_one_has_a_lower_objective(fitted, digits):
    codes = network_codes(fitted, digits)
    lowest = objective(fitted, digits, codes)
    assert (lowest <= objective(fitted, digits, encoder_codes(fitted, digits)) + 1e-9).all()
    scale = codes.std(0)
    for change in ([1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]):
        moved = objective(fitted, digits, codes + torch.tensor(change) * scale)
        assert (moved >= lowest - 1e-6 * lowest).double().mean() > 0.95


def test_without_retention_rows_are_projected_as_by_the_plain_network(fitted, digits):
    network = fitted.network_.network
    x = torch.from_numpy(digits.copy())
    assert network.rows_for_projection(x, encoder_codes(fitted, digits)).shape[1] == 66
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


def test_contributions_to_projected_codes_of_a_linear_network_are_its_slopes(digits, small):
    options = {"hidden_layer_sizes": (), "transform_max_iter": 30, "max_iter": 1}
    y = digits[:, 20] > 8
    fitted = small(SupervisedAutoencoder, 2, **options).fit(digits, y)
    row = digits[3].copy()
    step = np.zeros(64)
    step[20] = 1.0
    slope = fitted.transform([row + step])[0] - fitted.transform([row])[0]
    found = fitted.feature_contributions([row])[0, :, 20]
    np.testing.assert_allclose(found, slope * (row[20] - fitted.mean_[20]), rtol=1e-3)
