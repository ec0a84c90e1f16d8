"""Densities of rows by a variational autoencoder: bounds, units, missing values."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from skae import VAE


@pytest.fixture
def linear(small):
    """A function that fits a VAE without hidden layers, which is probabilistic PCA."""

    def linear(X, n_components=5):
        return small(VAE, n_components, hidden_layer_sizes=()).fit(X)

    return linear


@pytest.fixture(scope="module")
def densities(digits, small):
    """A function that returns rows in the domain of a loss, and a model of them to read only."""

    @cache
    def learned(loss):
        X = digits / 16 if loss == "log_loss" else digits
        return X, small(VAE, loss=loss, max_iter=15).fit(X)

    return learned


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "log_loss", "poisson"])
def test_the_evidence_lower_bound_is_below_the_density(densities, loss):
    X, vae = densities(loss)
    bound = vae.score_samples(X).mean()
    assert bound < vae.log_likelihood(X, n_samples=200).mean()


def test_densities_transform_with_the_units_of_X(digits, small):
    one = small(VAE).fit(digits)
    for factor in (1e-6, 1e6):
        other = small(VAE).fit(digits * factor)
        expected = one.score_samples(digits) - 64 * np.log(factor)
        # The two fits differ by the rounding of float32.
        np.testing.assert_allclose(other.score_samples(digits * factor), expected, atol=0.5)
        np.testing.assert_allclose(
            other.transform(digits * factor), one.transform(digits), atol=0.1
        )
        curve = np.array(other.validation_curve_) - 64 * np.log(factor)
        np.testing.assert_allclose(curve, one.validation_curve_, atol=0.5)


def test_the_score_of_a_row_does_not_depend_on_other_rows(digits, small):
    X, X_test = digits[:200], digits[200:]
    vae = small(VAE).fit(X)
    for method in (vae.score_samples, vae.log_likelihood):
        scores = method(X_test)
        np.testing.assert_array_equal(method(X_test), scores)
        np.testing.assert_allclose(method(X_test[::-1])[::-1], scores, rtol=1e-12)
        row_by_row = np.concatenate([method(X_test[[i]]) for i in range(5)])
        np.testing.assert_allclose(row_by_row, scores[:5], rtol=1e-12)


def test_few_rows_need_few_passes_over_the_decoder(digits, small, monkeypatch):
    vae, calls = small(VAE, max_iter=1).fit(digits), []
    decode = type(vae.network_.network).decode
    monkeypatch.setattr(
        type(vae.network_.network), "decode", lambda *args: [calls.append(0), decode(*args)][1]
    )
    for method in (vae.score_samples, vae.log_likelihood):
        method(digits[:1])
    assert len(calls) == 2  # one for each, not one for each code


def test_a_missing_value_is_left_out_of_the_density(global_random_seed, linear):
    # A linear VAE whose code has no effect: the entries are independent and normal.
    X = np.random.RandomState(global_random_seed).normal(size=(500, 4)) * 3 + 1
    vae = linear(X, 1)
    vae.network_.network.encoder_gain.zero_(), vae.network_.network.decoder_gain.zero_()
    nn.init.zeros_(vae.network_.network.encoder.log_var)
    X_missing = X.copy()
    X_missing[:, 2] = np.nan
    scale = vae.network_.network.decoder.log_scale.exp().item() * vae.network_.scale.item()
    normal = torch.distributions.Normal(torch.from_numpy(X.mean(axis=0)), scale)
    expected = normal.log_prob(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(vae.score_samples(X), expected.sum(axis=1))
    np.testing.assert_allclose(vae.score_samples(X_missing), expected[:, [0, 1, 3]].sum(axis=1))


def test_rows_that_are_drawn_depend_on_the_seed_alone(densities):
    _, vae = densities("squared_error")
    for seed in (0, 7):
        rows = vae.sample(5, random_state=seed)
        np.testing.assert_array_equal(rows, vae.sample(5, random_state=seed))
        generator = np.random.RandomState(seed)
        np.testing.assert_array_equal(rows, vae.sample(5, random_state=generator))
        assert not np.array_equal(rows, vae.sample(5, random_state=generator))
    assert not np.array_equal(rows, vae.sample(5, random_state=8))
    own = vae.sample(5, random_state=vae.random_state)
    np.testing.assert_array_equal(own, vae.sample(5))
    with pytest.raises((TypeError, ValueError), match="`random_state` must be"):
        vae.sample(5, random_state="seed")
