"""Codes, components and explained variances of a fitted autoencoder."""

import numpy as np
import pytest
import torch

from skae import AutoencoderTransformer


def test_codes_are_centred_uncorrelated_and_sorted_by_variance(digits, small):
    fitted = small(AutoencoderTransformer, max_iter=200).fit(digits)
    assert fitted.best_iter_ > 0  # not PCA
    codes = fitted.transform(digits)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(
        np.cov(codes.T), np.diag(fitted.explained_variance_), atol=1e-9 * codes.var()
    )
    assert (np.diff(fitted.explained_variance_) < 0).all()


def test_explained_variance_ratios_sum_to_the_score(digits, small):
    fitted = small(AutoencoderTransformer, max_iter=200).fit(digits)
    assert fitted.explained_variance_ratio_.sum() == pytest.approx(fitted.score(digits))
    total = digits.var(axis=0, ddof=1).sum()
    np.testing.assert_allclose(fitted.explained_variance_, fitted.explained_variance_ratio_ * total)


def test_components_are_the_derivative_of_the_decoder_at_the_mean(digits, small):
    fitted = small(AutoencoderTransformer, max_iter=200).fit(digits)
    steps = np.r_[np.eye(4), -np.eye(4)] * 1e-4
    up, down = np.split(fitted.inverse_transform(steps), 2)
    np.testing.assert_allclose(fitted.components_, (up - down) / 2e-4, atol=1e-6)


def test_codes_farther_than_all_training_codes_are_decoded_linearly(digits, small):
    fitted = small(AutoencoderTransformer, max_iter=200).fit(digits)
    assert fitted.best_iter_ > 0
    codes = fitted.transform(digits)
    near, far = (fitted.inverse_transform(factor * codes[:1]) for factor in (1, 100))
    farther = fitted.inverse_transform(199 * codes[:1])
    linear = far + (farther - far) / 99 * -99  # extrapolated to the codes themselves
    assert np.abs(linear - near).max() > 0.1  # the network is not linear there
    farthest = fitted.inverse_transform(298 * codes[:1])
    np.testing.assert_allclose(farthest - farther, farther - far, atol=1e-9)
    distance = fitted.network_.distance(torch.from_numpy(codes)).max()
    assert distance <= fitted.network_.network.max_train_distance


def test_the_largest_distance_is_that_of_the_anchors_the_starts_and_all_steps(digits, small):
    def check(n_steps):
        fitted = small(AutoencoderTransformer, transform_max_iter=n_steps).fit(digits).network_
        distances = []
        fitted.encode(
            torch.tensor(digits),
            lambda code: distances.append(fitted.network.distance(code).max()),
        )
        assert len(distances) == n_steps + 2  # the anchors, the starts and each step
        torch.testing.assert_close(max(distances), fitted.network.max_train_distance)

    check(1)
    check(3)


def test_whitening_scales_codes_and_changes_no_reconstruction(digits, small):
    plain, white = (small(AutoencoderTransformer, whiten=w).fit(digits) for w in (False, True))
    np.testing.assert_allclose(white.transform(digits).var(axis=0, ddof=1), 1)
    np.testing.assert_allclose(white.reconstruct(digits), plain.reconstruct(digits))
    np.testing.assert_allclose(white.components_, plain.components_)
    np.testing.assert_allclose(white.explained_variance_, plain.explained_variance_)
