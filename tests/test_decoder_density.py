"""The density of decoded normal codes plus noise: that of PCA if the decoder is linear."""

import numpy as np
import pytest
from conftest import AUTOENCODERS
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

LIKE_PCA = [cls for cls in AUTOENCODERS if hasattr(cls, "get_covariance")]


@pytest.fixture(params=LIKE_PCA, ids=lambda cls: cls.__name__)
def like_pca(request):
    """Each class with the attributes of PCA."""
    return request.param


@pytest.fixture
def rows(global_random_seed):
    """Rows near a parabola, (200, 3)."""
    rng = np.random.RandomState(global_random_seed)
    t = rng.normal(size=200)
    return np.c_[t, t**2, -t] + 0.3 * rng.normal(size=(200, 3))


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("n_components", [1, 7])
def test_the_density_of_a_linear_autoencoder_is_that_of_pca(digits, n_components, whiten):
    X, X_test = digits[:200], digits[200:]
    linear = AutoencoderTransformer(n_components, hidden_layer_sizes=(), whiten=whiten).fit(X)
    pca = PCA(n_components).fit(X)
    for n_samples in (1, 5):
        found = linear.log_likelihood(X_test, n_samples)
        np.testing.assert_allclose(found, pca.score_samples(X_test), rtol=1e-9)
    # Rounding errors of float32 relative to the noise.
    in_float32 = linear.log_likelihood(X_test.astype(np.float32), 1)
    assert in_float32.dtype == np.float32
    np.testing.assert_allclose(in_float32, pca.score_samples(X_test), rtol=1e-4)


def test_missing_values_are_integrated_out(digits, global_random_seed):
    linear = AutoencoderTransformer(5, hidden_layer_sizes=()).fit(digits)
    gaps = np.random.RandomState(global_random_seed).uniform(size=(10, 64)) < 0.5
    X = np.where(gaps, np.nan, digits[:10])
    covariance = linear.get_covariance()
    expected = [
        multivariate_normal(linear.mean_[~gap], covariance[~gap][:, ~gap]).logpdf(x[~gap])
        for x, gap in zip(X, gaps, strict=True)
    ]
    np.testing.assert_allclose(linear.log_likelihood(X, 1), expected, rtol=1e-9)
    assert linear.log_likelihood(np.full((1, 64), np.nan), 3) == pytest.approx([0.0], abs=1e-12)


def test_the_density_is_the_mean_of_that_of_normal_codes(like_pca, rows, small):
    fitted = small(like_pca, 1, max_iter=10).fit(rows)
    std = np.sqrt(fitted.explained_variance_ - fitted.noise_variance_)
    codes = np.linspace(-6, 6, 1001)[:, None]
    decoded = fitted.inverse_transform(std * codes)
    squares = ((rows[:, None] - decoded) ** 2).sum(axis=2)
    log_noise = 1.5 * np.log(2 * np.pi * fitted.noise_variance_)
    joint = -squares / (2 * fitted.noise_variance_) - log_noise - codes[:, 0] ** 2 / 2
    expected = logsumexp(joint, axis=1) + np.log(12 / 1000) - np.log(2 * np.pi) / 2
    found = fitted.log_likelihood(rows, n_samples=200)
    # A row that is equally near to two places of the curve has two modes.
    assert np.abs(found - expected).mean() < 0.05
    np.testing.assert_array_equal(found, fitted.log_likelihood(rows, n_samples=200))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_near_the_largest_number_have_a_low_density(like_pca, rows, dtype, small):
    fitted = small(like_pca, 1).fit(rows.astype(dtype))
    far = np.finfo(dtype).max * np.array([*np.eye(3), *-np.eye(3), [0.6, 0.6, 0.6]])
    assert (fitted.log_likelihood(far.astype(dtype), 3) < -1e15).all()


def test_a_model_without_noise_has_no_density(like_pca, rows, small):
    fitted = small(like_pca, 3).fit(rows)
    assert fitted.noise_variance_ == 0
    with pytest.raises(ValueError, match="`noise_variance_` is 0: use fewer components"):
        fitted.log_likelihood(rows)
    with pytest.raises(ValueError, match="`n_samples` must be"):
        fitted.log_likelihood(rows, n_samples=0)
