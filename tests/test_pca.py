"""Moments and principal components, however the rows come."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA

from skae._training.pca import WHITENING_DAMPING, _lobpcg, moments, principal_components


def test_moments_pass_over_missing_values(digits_with_gaps):
    found = moments(digits_with_gaps)
    np.testing.assert_allclose(found.mean, np.nanmean(digits_with_gaps, axis=0))
    np.testing.assert_allclose(found.deviation, np.nanstd(digits_with_gaps, axis=0))
    assert found.spread == pytest.approx(np.sqrt((found.deviation**2).mean()))


def test_sparse_rows_have_the_same_moments(digits):
    dense, other = moments(digits), moments(sparse.csr_array(digits))
    np.testing.assert_allclose(other.mean, dense.mean)
    np.testing.assert_allclose(other.deviation, dense.deviation, atol=1e-12)


def test_rounding_errors_of_a_constant_column_are_not_variance():
    X = np.full((100, 2), 0.1)
    X[:, 1] = np.arange(100)
    X[::2, 0] = np.nextafter(0.1, 1)
    found = moments(X)
    assert found.deviation[0] == 0
    assert found.deviation[1] > 0


def test_components_are_those_of_scikit_learn_in_standard_units(digits):
    stats = moments(digits)
    start = principal_components(digits, stats, 5, seed=0)
    pca = PCA(5).fit(digits)
    np.testing.assert_allclose(start.directions, pca.components_, atol=1e-10)
    n = len(digits)  # population variances here, sample variances in PCA
    variances = (start.code_std * stats.spread) ** 2 * n / (n - 1)
    np.testing.assert_allclose(variances, pca.explained_variance_)
    residual = digits - pca.inverse_transform(pca.transform(digits))
    np.testing.assert_allclose(
        start.residual_std * stats.spread, np.sqrt((residual**2).mean(axis=0)), atol=1e-12
    )


def test_a_smaller_start_is_cut_from_a_larger(digits):
    stats = moments(digits)
    cut = principal_components(digits, stats, 9, seed=0).first(4)
    direct = principal_components(digits, stats, 4, seed=0)
    for name in ("directions", "code_std", "residual_std"):
        np.testing.assert_allclose(getattr(cut, name), getattr(direct, name), atol=1e-10)


def test_missing_values_count_as_the_mean_and_are_not_charged(digits_with_gaps):
    stats = moments(digits_with_gaps)
    start = principal_components(digits_with_gaps, stats, 5, seed=0)
    filled = np.where(np.isnan(digits_with_gaps), stats.mean, digits_with_gaps)
    pca = PCA(5).fit(filled)
    np.testing.assert_allclose(start.directions, pca.components_, atol=1e-10)
    residual = digits_with_gaps - pca.inverse_transform(pca.transform(filled))
    np.testing.assert_allclose(
        start.residual_std * stats.spread,
        np.sqrt(np.nanmean(residual**2, axis=0)),
        atol=1e-10,
    )
    assert not start.complete


def test_a_share_gives_as_many_components_as_reach_it(digits):
    start = principal_components(digits, moments(digits), 0.8, seed=0)
    assert len(start.directions) == PCA(0.8).fit(digits).n_components_


@pytest.mark.parametrize("shape", [(40, 90), (700, 600), (601, 3000)])
def test_every_shape_reaches_the_optimum(shape):
    # Wide, square and tall: three solvers. A falling spectrum, as real data have.
    rng = np.random.RandomState(0)
    X = rng.normal(size=shape) / (1 + np.arange(shape[1]))
    start = principal_components(X, moments(X), 3, seed=0)
    explained = PCA(3, svd_solver="full").fit(X).explained_variance_ratio_.sum()
    left = (start.residual_std**2).sum()
    share = 1 - left / (left + (start.code_std**2).sum())
    assert share == pytest.approx(explained, rel=1e-4)


@pytest.mark.parametrize("widest_covariance", [50, 10])
def test_large_sparse_rows_are_not_made_dense(monkeypatch, widest_covariance):
    monkeypatch.setattr("skae._training.pca.DOUBLE_PRECISION_ENTRIES", 1000)
    monkeypatch.setattr("skae._training.pca.COVARIANCE_FEATURES", widest_covariance)
    monkeypatch.setattr("skae._training.pca._standard", None)  # what would make them dense
    rng = np.random.default_rng(0)
    X = sparse.random_array((200, 50), density=0.2, rng=rng, format="csr") @ np.diag(
        1 / (1 + np.arange(50.0))
    )
    X = sparse.csr_array(X)
    X.data[3] = np.nan
    start = principal_components(X, moments(X), 3, seed=0)
    filled = X.toarray()
    filled = np.where(np.isnan(filled), moments(X).mean, filled)
    np.testing.assert_allclose(
        np.abs(start.directions), np.abs(PCA(3).fit(filled).components_), atol=1e-5
    )


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("widest_covariance", [200, 10])
def test_the_start_takes_little_memory_beside_the_rows(monkeypatch, kind, widest_covariance):
    monkeypatch.setattr("skae._training.pca.DOUBLE_PRECISION_ENTRIES", 1000)
    monkeypatch.setattr("skae._training.pca.COVARIANCE_FEATURES", widest_covariance)
    monkeypatch.setattr("skae._data.dataset.BLOCK_ENTRIES", 2**14)
    X = np.random.default_rng(0).normal(size=(40_000, 100)) / (1 + np.arange(100))
    X = kind(X.astype(np.float32))
    (X if kind is np.asarray else X.data).setflags(write=False)
    tracemalloc.start()
    principal_components(X, moments(X), 3, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 40_000 * 100 / 4


def test_passes_over_a_tensor_find_what_passes_over_an_array_do():
    X = np.random.RandomState(0).normal(size=(90, 60)) / (1 + np.arange(60))
    stats = moments(X)
    array, tensor = (_lobpcg(rows, stats, 3, seed=0) for rows in (X, torch.from_numpy(X)))
    np.testing.assert_allclose(np.abs(tensor), np.abs(array), atol=1e-9)
    np.testing.assert_allclose(np.abs(array), np.abs(PCA(3).fit(X).components_), atol=1e-3)


def test_whitening_gives_uncorrelated_components_of_damped_variance(monkeypatch):
    monkeypatch.setattr("skae._training.pca.WHITENED_FEATURES", 20)
    rng = np.random.RandomState(0)
    X = rng.normal(size=(100, 30)) @ rng.normal(size=(30, 30)) + 5
    stats = moments(X)
    whitening = principal_components(X, stats, 2, seed=0).whitening
    assert whitening.shape == (30, 20)
    covariance = np.cov((X - stats.mean) / stats.spread @ whitening, rowvar=False, bias=True)
    variances = PCA(20).fit(X / stats.spread).explained_variance_ * 0.99  # of 100 rows, not 99
    damped = variances / (variances + WHITENING_DAMPING * variances.mean())
    np.testing.assert_allclose(covariance, np.diag(damped), atol=1e-12)


def test_narrow_data_are_not_whitened(digits):
    assert principal_components(digits, moments(digits), 2, seed=0).whitening is None


def test_a_tiny_residual_is_not_lost_in_rounding():
    rng = np.random.RandomState(0)
    X = (rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6))).astype(np.float32)
    X += 1e-3 * rng.normal(size=X.shape).astype(np.float32)
    start = principal_components(X, moments(X), 2, seed=0)
    residual = (X - PCA(2).fit(X).inverse_transform(PCA(2).fit_transform(X))).std(axis=0)
    np.testing.assert_allclose(start.residual_std * moments(X).spread, residual, rtol=1e-3)


def test_complete_data_of_low_rank_leave_nothing_to_learn():
    X = np.random.RandomState(0).normal(size=(50, 2)) @ np.ones((2, 6))
    assert principal_components(X, moments(X), 2, seed=0).is_exact
    noisy = X + 1e-3 * np.random.RandomState(1).normal(size=X.shape)
    assert not principal_components(noisy, moments(noisy), 2, seed=0).is_exact
