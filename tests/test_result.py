"""Codes, components and explained variances of a fitted autoencoder."""

import numpy as np
import pytest
import torch

from skae import AutoencoderTransformer


@pytest.fixture(scope="module")
def trained(digits, small):
    """An autoencoder that was trained long enough to differ from PCA; tests do not change it."""
    fitted = small(AutoencoderTransformer, max_iter=60).fit(digits)
    assert fitted.best_iter_ > 0
    return fitted


def test_codes_are_centred_uncorrelated_and_sorted_by_variance(digits, trained):
    codes = trained.transform(digits)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(
        np.cov(codes.T), np.diag(trained.explained_variance_), atol=1e-9 * codes.var()
    )
    assert (np.diff(trained.explained_variance_) < 0).all()


def test_explained_variance_ratios_sum_to_the_score(digits, trained):
    assert trained.explained_variance_ratio_.sum() == pytest.approx(trained.score(digits))
    total = digits.var(axis=0, ddof=1).sum()
    np.testing.assert_allclose(
        trained.explained_variance_, trained.explained_variance_ratio_ * total
    )


def test_components_are_the_derivative_of_the_decoder_at_the_mean(trained):
    steps = np.r_[np.eye(4), -np.eye(4)] * 1e-4
    up, down = np.split(trained.inverse_transform(steps), 2)
    np.testing.assert_allclose(trained.components_, (up - down) / 2e-4, atol=1e-6)


def test_codes_farther_than_all_training_codes_are_decoded_linearly(digits, trained):
    codes = trained.transform(digits)
    near, far = (trained.inverse_transform(factor * codes[:1]) for factor in (1, 100))
    farther = trained.inverse_transform(199 * codes[:1])
    linear = far + (farther - far) / 99 * -99  # extrapolated to the codes themselves
    assert np.abs(linear - near).max() > 0.1  # the network is not linear there
    farthest = trained.inverse_transform(298 * codes[:1])
    np.testing.assert_allclose(farthest - farther, farther - far, atol=1e-9)


@pytest.mark.parametrize(("n_steps", "n_far"), [(0, 0), (1, 1), (3, 1)])
def test_the_distance_from_which_a_decoder_fades_is_that_of_most_training_rows(
    n_steps, n_far, digits, small
):
    fitted = small(AutoencoderTransformer, 3, transform_max_iter=n_steps).fit(digits).network_
    network = fitted.network
    codes = network.encode((torch.tensor(digits) - fitted.shift) / fitted.scale), network.anchors
    distances = [network.distance(code).flatten().sort(descending=True).values for code in codes]
    # Of projected codes one row, and one anchor, may be farther.
    expected = max(distance[n_far] for distance in distances if len(distance))
    torch.testing.assert_close(network.max_train_distance, expected)


def test_one_far_row_does_not_change_the_distance_by_much(digits, small, global_random_seed):
    distances = []
    for factor in (1, 1000):
        X = digits.copy()
        X[global_random_seed % len(X)] *= factor
        estimator = small(AutoencoderTransformer, max_iter=1)
        distances.append(estimator.fit(X).network_.network.max_train_distance.item())
    assert distances[1] < 2 * distances[0]


def test_whitening_scales_codes_and_changes_no_reconstruction(digits, small):
    plain, white = (small(AutoencoderTransformer, whiten=w).fit(digits) for w in (False, True))
    np.testing.assert_allclose(white.transform(digits).var(axis=0, ddof=1), 1)
    np.testing.assert_allclose(white.reconstruct(digits), plain.reconstruct(digits))
    np.testing.assert_allclose(white.components_, plain.components_)
    np.testing.assert_allclose(white.explained_variance_, plain.explained_variance_)


FEW_DIRECTIONS = {
    "fewer rows than columns": lambda X: X[:5, :12],
    "repeated rows": lambda X: X[:2, :12].repeat(15, axis=0),
    "constant columns": lambda X: np.hstack([X[:40, 20:22], np.full((40, 9), 3.7)]),
    "one row repeated": lambda X: X[:1, :12].repeat(9, axis=0),
    "zeros": lambda X: np.zeros((9, 3)),
}


@pytest.mark.filterwarnings("ignore:.*components are constant")  # of random initial weights
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rows", FEW_DIRECTIONS)
@pytest.mark.parametrize("params", [{}, {"init": "random"}, {"transform_max_iter": 0}], ids=str)
def test_whitening_does_not_amplify_rounding_errors(rows, dtype, params, digits, small):
    X = FEW_DIRECTIONS[rows](digits).astype(dtype)
    fitted = small(AutoencoderTransformer, min(X.shape), whiten=True, **params).fit(X)
    codes = fitted.transform(X)
    # Each code has variance one or, if it does not vary beyond rounding errors, none.
    variances = codes.astype(np.float64).var(axis=0, ddof=1)
    np.testing.assert_allclose(variances[variances > 1e-6], 1, rtol=0.01)
    tolerance = {np.float64: 1e-6, np.float32: 0.1}[dtype]
    alone = np.concatenate([fitted.transform(row[None]) for row in X])
    np.testing.assert_allclose(alone, codes, atol=tolerance)
    np.testing.assert_allclose(
        fitted.inverse_transform(codes), fitted.reconstruct(X), rtol=1e-3, atol=1e-3
    )
