"""Loadings: the correlations of features with codes."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer
from skae._nn.fitted import FittedAutoencoder
from skae._training import loadings


def correlations(X, codes):
    """Pairwise over observed entries, by pandas."""
    frame = pd.DataFrame(np.c_[codes, X])
    return frame.corr().to_numpy()[: codes.shape[1], codes.shape[1] :]


@pytest.fixture
def rows(global_random_seed):
    """Rows with columns in different units, a mean, and a constant, (100, 5)."""
    rng = np.random.RandomState(global_random_seed)
    X = rng.normal(size=(100, 4)) @ rng.normal(size=(4, 4)) * [1, 1, 3, 1] + [0, 50, 0, 0]
    return np.c_[X, np.full(100, 7.0)]


def test_loadings_are_correlations_with_the_codes(autoencoder, rows, small):
    fitted = small(autoencoder, 2).fit(rows)
    assert fitted.loadings_.shape == (2, 5)
    with np.errstate(all="ignore"):
        expected = np.nan_to_num(correlations(rows, fitted.transform(rows)))
    np.testing.assert_allclose(fitted.loadings_, expected, atol=1e-9)
    assert not hasattr(fitted.partial_fit(rows), "loadings_")


@pytest.mark.parametrize("unit", [2.0**-300, 2.0**300])
def test_loadings_do_not_depend_on_the_units(autoencoder, rows, small, unit):
    expected = small(autoencoder, 2, max_iter=1).fit(rows).loadings_
    found = small(autoencoder, 2, max_iter=1).fit(rows * unit).loadings_
    np.testing.assert_allclose(found, expected, atol=1e-6)  # the networks are in float32


def test_loadings_of_a_linear_autoencoder_are_those_of_principal_components(rows):
    X = rows[:, :4]
    fitted = AutoencoderTransformer(2, hidden_layer_sizes=()).fit(X)
    pca = PCA(2).fit(X)
    expected = pca.components_ * np.sqrt(pca.explained_variance_)[:, None] / X.std(axis=0, ddof=1)
    np.testing.assert_allclose(fitted.loadings_, expected, atol=1e-9)


def test_loadings_are_of_observed_entries(rows, small, global_random_seed):
    gaps = np.random.RandomState(global_random_seed).uniform(size=rows.shape) < 0.2
    X = np.where(gaps, np.nan, rows)
    fitted = small(AutoencoderTransformer, 2).fit(X)
    expected = correlations(X[:, :4], fitted.transform(X))
    np.testing.assert_allclose(fitted.loadings_[:, :4], expected, atol=1e-5)  # codes by blocks


def test_loadings_of_weighted_rows_are_weighted(rows, small, global_random_seed):
    weights = np.random.RandomState(global_random_seed).exponential(size=100)
    weights[::3] = 0
    fitted = small(AutoencoderTransformer, 2).fit(rows, sample_weight=weights)
    covariance = np.cov(np.c_[fitted.transform(rows), rows[:, :4]].T, aweights=weights)
    std = np.sqrt(np.diag(covariance))
    expected = (covariance / std / std[:, None])[:2, 2:]
    np.testing.assert_allclose(fitted.loadings_[:, :4], expected, atol=1e-5)


@pytest.mark.parametrize("limit", ["MAX_ROWS", "MAX_ENTRIES"])
def test_loadings_are_those_of_evenly_spaced_rows_of_many(limit, rows, small, monkeypatch):
    monkeypatch.setattr(loadings, "MIN_ROWS", 1)
    monkeypatch.setattr(loadings, limit, 10 if limit == "MAX_ROWS" else 10 * rows.shape[1])
    fitted = small(AutoencoderTransformer, 2).fit(sparse.csr_array(rows))
    expected = correlations(rows[::11, :4], fitted.transform(rows)[::11])
    np.testing.assert_allclose(fitted.loadings_[:, :4], expected, atol=1e-5)


def test_rows_are_not_encoded_again(autoencoder, rows, small, monkeypatch):
    encode, n_encoded = FittedAutoencoder.encode, []

    def counted(fitted, x):
        n_encoded.append(len(x))
        return encode(fitted, x)

    monkeypatch.setattr(FittedAutoencoder, "encode", counted)
    monkeypatch.setattr("skae._autoencoders.base.diagnose", lambda *arguments: [])
    estimator = small(autoencoder, 2, max_iter=1).fit(rows)
    with_loadings = sum(n_encoded)
    n_encoded.clear()
    monkeypatch.setattr("skae._autoencoders.base.loadings", lambda *arguments: np.zeros(1))
    estimator.fit(rows)
    assert sum(n_encoded) == with_loadings >= len(rows)
