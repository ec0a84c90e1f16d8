"""The variational autoencoder before training: probabilistic PCA, or random weights."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from skae import VAE
from skae._autoencoders.vae_init import MIN_NOISE_SCALE


def test_the_validation_curve_starts_with_probabilistic_pca(digits, small):
    X, X_test = digits[:200], digits[200:]
    vae = small(VAE, max_iter=1).fit(X, X_val=X_test)
    expected = PCA(4, svd_solver="full").fit(X).score(X_test)
    # One random code for each of 100 rows: the error is below one of about 160 nats.
    assert -vae.validation_curve_[0] == pytest.approx(expected, abs=2)


def test_the_minimal_noise_scale_bounds_the_density(global_random_seed):
    # A plane without noise: the density would be unbounded without a minimal noise scale.
    t = np.random.RandomState(global_random_seed).normal(size=(300, 2))
    X = np.c_[t, t @ [[1.0, 2.0], [0.5, -1.0]]]
    vae = VAE(2, max_iter=30, random_state=global_random_seed).fit(X)
    scale = vae.network_.network.decoder.log_scale.exp().item()
    assert MIN_NOISE_SCALE <= scale < 1.1 * MIN_NOISE_SCALE
    assert np.isfinite(vae.score_samples(X)).all()
    assert vae.score(X) == pytest.approx(1, abs=1e-6)


def test_training_from_random_weights_beats_probabilistic_pca(digits, small):
    vae = small(VAE, init="random", max_iter=40).fit(digits)
    assert vae.score_samples(digits).mean() > PCA(4).fit(digits).score(digits)
