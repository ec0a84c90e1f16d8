"""The contractive autoencoder: special cases, its Jacobian by autograd, codes of noisy digits."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skae import AutoencoderTransformer, ContractiveAutoencoder


@pytest.mark.parametrize(
    "parameters", [{}, {"loss": "absolute_error"}, {"hidden_layer_sizes": ()}], ids=str
)
def test_contraction_zero_is_a_plain_autoencoder(digits, parameters, small):
    same = {"hidden_layer_sizes": (20, 10), "batch_size": 32, "learning_rate_init": 0.01}
    parameters = same | parameters  # the defaults differ
    plain = small(AutoencoderTransformer, transform_max_iter=0, **parameters).fit(digits)
    contractive = small(ContractiveAutoencoder, contraction=0, **parameters).fit(digits)
    np.testing.assert_array_equal(contractive.transform(digits), plain.transform(digits))
    assert contractive.validation_curve_ == plain.validation_curve_


@pytest.mark.parametrize("hidden_layer_sizes", [(), (20,), (20, 10)], ids=str)
def test_the_objective_is_the_error_plus_the_weighted_squared_norm_of_the_jacobian(
    digits, hidden_layer_sizes, small, global_random_seed
):
    # For one component the estimate is exact.
    fitted = small(
        ContractiveAutoencoder,
        n_components=1,
        contraction=0.7,
        hidden_layer_sizes=hidden_layer_sizes,
    ).fit(digits)
    objective = fitted._objective(None)
    network, fitted = fitted.network_.network, fitted.network_
    x = ((torch.from_numpy(digits.copy()) - fitted.shift) / fitted.scale)[:20]
    jacobian = torch.autograd.functional.jacobian(network.encode, x)  # (20, 1, 20, 64)
    norm = torch.stack([jacobian[i, :, i].square().sum() for i in range(20)])
    expected = (network.decode(network.encode(x)) - x).square().sum(1) + 0.7 * norm
    rng = torch.Generator().manual_seed(global_random_seed)
    torch.testing.assert_close(objective.per_row(network, x, rng), expected)
    with torch.no_grad():
        held_out = objective.per_row(network, x, rng)
    torch.testing.assert_close(held_out, expected.detach())


def test_the_jacobian_of_pca_has_squared_norm_n_components(digits, small):
    start = small(ContractiveAutoencoder, contraction=2.0, learning_rate_init=1e-30, max_iter=1)
    start.fit(digits[:200], X_val=digits[200:])
    pca = PCA(4).fit(digits[:200])
    errors = (digits[200:] - pca.inverse_transform(pca.transform(digits[200:]))) ** 2
    scale = digits[:200].var(axis=0).mean()
    expected = errors.sum(axis=1).mean() + 2.0 * 4 * scale
    assert start.validation_curve_[0] == pytest.approx(expected, rel=1e-5)


def test_an_unobserved_row_has_no_loss(digits_with_gaps, small):
    fitted = small(ContractiveAutoencoder, n_components=1, contraction=1.0).fit(digits_with_gaps)
    x = torch.full((3, 64), torch.nan, dtype=torch.float64)
    losses = fitted._objective(None).per_row(fitted.network_.network, x, torch.Generator())
    assert (losses == 0).all()


def test_codes_of_noisy_digits_move_less_and_are_classified_better(global_random_seed):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=global_random_seed)
    noise = np.random.RandomState(global_random_seed).normal(size=X_test.shape)

    def evaluate(reducer):
        codes, clean = reducer.fit_transform(X_train), reducer.transform(X_test)
        noisy = reducer.transform(X_test + 0.5 * noise)
        classifier = KNeighborsClassifier().fit(codes, y_train)
        return (
            np.mean((noisy - clean) ** 2) / codes.var(),
            classifier.score(reducer.transform(X_test + 2 * noise), y_test),
            reducer.score(X_test),
        )

    parameters = {"n_components": 8, "max_iter": 60, "transform_max_iter": 0, "random_state": 0}
    movement, accuracy, score = evaluate(ContractiveAutoencoder(**parameters))
    plain_movement, plain_accuracy, plain_score = evaluate(AutoencoderTransformer(**parameters))
    assert movement < 0.25 * plain_movement
    assert accuracy > plain_accuracy
    assert score > plain_score - 0.02  # the score of PCA is 0.16 lower
