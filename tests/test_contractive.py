"""The contractive autoencoder: plain at weight zero, its Jacobian by autograd, what it is for."""

import numpy as np
import pytest
import torch
from conftest import quick
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skae import AutoencoderTransformer, ContractiveAutoencoder


@pytest.mark.parametrize(
    "parameters", [{}, {"loss": "absolute_error"}, {"hidden_layer_sizes": ()}], ids=str
)
def test_without_contraction_it_is_a_plain_autoencoder(digits, parameters):
    plain = quick(AutoencoderTransformer, **parameters).fit(digits)
    other = quick(ContractiveAutoencoder, contraction=0, **parameters).fit(digits)
    np.testing.assert_array_equal(other.transform(digits), plain.transform(digits))
    assert other.validation_curve_ == plain.validation_curve_


@pytest.mark.parametrize("hidden_layer_sizes", [(), (20,), (20, 10)], ids=str)
def test_the_objective_is_the_error_plus_the_weighted_norm_of_the_jacobian(
    digits, hidden_layer_sizes
):
    # For one component the estimate is exact.
    fitted = quick(
        ContractiveAutoencoder,
        n_components=1,
        contraction=0.7,
        hidden_layer_sizes=hidden_layer_sizes,
        max_iter=50,
    ).fit(digits)
    network, fitted = fitted.network_.network, fitted.network_
    x = ((torch.from_numpy(digits.copy()) - fitted.shift) / fitted.scale)[:20]
    jacobian = torch.autograd.functional.jacobian(network.encode, x)  # (20, 1, 20, 64)
    norm = torch.stack([jacobian[i, :, i].square().sum() for i in range(20)])
    expected = (network.decode(network.encode(x)) - x).square().sum(1) + 0.7 * norm
    torch.testing.assert_close(fitted._loss(network, x, torch.Generator().manual_seed(0)), expected)
    with torch.no_grad():
        held_out = fitted._loss(network, x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(held_out, expected.detach())


def test_training_starts_at_pca_whose_norm_is_the_number_of_components(digits):
    start = quick(ContractiveAutoencoder, contraction=2.0, learning_rate_init=1e-30, max_iter=1)
    start.fit(digits[:200], X_val=digits[200:])
    pca = PCA(4).fit(digits[:200])
    errors = (digits[200:] - pca.inverse_transform(pca.transform(digits[200:]))) ** 2
    unit = digits[:200].var(axis=0).mean()  # the squared spread
    expected = errors.sum(axis=1).mean() + 2.0 * 4 * unit
    assert start.validation_curve_[0] == pytest.approx(expected, rel=1e-5)


def test_an_unobserved_feature_has_no_slope(digits_with_gaps):
    fitted = quick(ContractiveAutoencoder, n_components=1, contraction=1.0).fit(digits_with_gaps)
    x = torch.full((3, 64), torch.nan, dtype=torch.float64)
    assert (fitted._loss(fitted.network_.network, x, torch.Generator()) == 0).all()


def test_codes_of_unseen_digits_move_less_and_keep_their_neighbours_under_noise():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    noise = np.random.RandomState(0).normal(size=X_test.shape)

    def measured(reducer):
        codes, clean = reducer.fit_transform(X_train), reducer.transform(X_test)
        slightly = reducer.transform(X_test + 0.5 * noise)
        neighbours = KNeighborsClassifier().fit(codes, y_train)
        return (
            np.mean((slightly - clean) ** 2) / codes.var(),
            neighbours.score(reducer.transform(X_test + 2 * noise), y_test),
            reducer.score(X_test),
        )

    parameters = {"n_components": 8, "max_iter": 60, "random_state": 0}
    movement, accuracy, score = measured(ContractiveAutoencoder(**parameters))
    plain_movement, plain_accuracy, plain_score = measured(AutoencoderTransformer(**parameters))
    assert movement < 0.25 * plain_movement
    assert accuracy > plain_accuracy
    assert score > plain_score - 0.02  # PCA, which moves little, is 0.16 below
