"""Principal components, for arrays, sparse matrices and tensors of any shape."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA

from skae._data.moments import moments
from skae._training import pca, row_products
from skae._training.pca import WHITENING_DAMPING, principal_components


@pytest.fixture
def without_copies(monkeypatch):
    """Rows of any size are treated as those that are too large to copy."""
    monkeypatch.setattr(pca, "DOUBLE_PRECISION_ENTRIES", 1000)

    def copy(X, moments):
        raise AssertionError("all rows were copied")

    monkeypatch.setattr(pca, "_standard", copy)
    return monkeypatch


@pytest.fixture(params=["covariance", "LOBPCG"])
def solver(request, without_copies):
    """The two solvers that make no copy of the rows."""
    if request.param == "LOBPCG":
        without_copies.setattr(pca, "COVARIANCE_FEATURES", 10)
    return request.param


def falling_spectrum(n_rows, n_features, seed):
    """Rows of independent columns whose standard deviations fall, as in real data."""
    rows = np.random.RandomState(seed).normal(size=(n_rows, n_features))
    return rows / (1 + np.arange(n_features))


def test_components_are_those_of_scikit_learn_in_standard_units(digits):
    stats = moments(digits)
    found = principal_components(digits, stats, 5, seed=0)
    expected = PCA(5).fit(digits)
    np.testing.assert_allclose(found.components, expected.components_, atol=1e-10)
    n = len(digits)  # population variances here, sample variances in PCA
    variances = (found.code_std * stats.rms_std) ** 2 * n / (n - 1)
    np.testing.assert_allclose(variances, expected.explained_variance_)
    residual = digits - expected.inverse_transform(expected.transform(digits))
    np.testing.assert_allclose(
        found.residual_std * stats.rms_std, np.sqrt((residual**2).mean(axis=0)), atol=1e-12
    )


def test_truncated_components_equal_those_of_the_smaller_number(digits):
    stats = moments(digits)
    truncated = principal_components(digits, stats, 9, seed=0).truncate(4)
    direct = principal_components(digits, stats, 4, seed=0)
    for name in ("components", "code_std", "residual_std"):
        np.testing.assert_allclose(getattr(truncated, name), getattr(direct, name), atol=1e-10)


def test_missing_values_are_the_mean_and_have_no_residual(digits_with_gaps):
    stats = moments(digits_with_gaps)
    found = principal_components(digits_with_gaps, stats, 5, seed=0)
    filled = np.where(np.isnan(digits_with_gaps), stats.mean, digits_with_gaps)
    expected = PCA(5).fit(filled)
    np.testing.assert_allclose(found.components, expected.components_, atol=1e-10)
    residual = digits_with_gaps - expected.inverse_transform(expected.transform(filled))
    np.testing.assert_allclose(
        found.residual_std * stats.rms_std,
        np.sqrt(np.nanmean(residual**2, axis=0)),
        atol=1e-10,
    )
    assert not found.complete


def test_a_share_of_variance_gives_as_many_components_as_in_scikit_learn(digits):
    found = principal_components(digits, moments(digits), 0.8, seed=0)
    assert len(found.components) == PCA(0.8).fit(digits).n_components_


@pytest.mark.parametrize("shape", [(40, 90), (700, 600), (601, 3000)])
def test_components_explain_the_most_variance_for_every_shape(shape, global_random_seed):
    X = falling_spectrum(*shape, global_random_seed)
    assert_leading(X, global_random_seed)


@pytest.mark.parametrize("shape", [(90, 40), (501, 600)])
def test_components_of_large_data_explain_the_most_variance(shape, monkeypatch, global_random_seed):
    # As if both the rows and the features were too many for a matrix of their products.
    monkeypatch.setattr(pca, "COVARIANCE_FEATURES", 30)
    X = falling_spectrum(*shape, global_random_seed)
    assert_leading(X, global_random_seed)


def assert_leading(X, seed):
    """The first three components explain as much variance as those of an exact method."""
    found = principal_components(X, moments(X), 3, seed=seed)
    explained = PCA(3, svd_solver="full").fit(X).explained_variance_ratio_.sum()
    residual = (found.residual_std**2).sum()
    share = 1 - residual / (residual + (found.code_std**2).sum())
    assert share == pytest.approx(explained, rel=1e-4)


def test_large_sparse_rows_are_not_made_dense(solver, global_random_seed):
    X = sparse.random_array((200, 50), density=0.2, rng=np.random.default_rng(global_random_seed))
    X = sparse.csr_array(X @ np.diag(1 / (1 + np.arange(50.0))))
    X.data[3] = np.nan
    stats = moments(X)
    found = principal_components(X, stats, 3, seed=global_random_seed)
    filled = np.where(np.isnan(X.toarray()), stats.mean, X.toarray())
    np.testing.assert_allclose(
        np.abs(found.components), np.abs(PCA(3).fit(filled).components_), atol=1e-5
    )


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_memory_is_a_fraction_of_that_of_the_rows(kind, solver, without_copies):
    without_copies.setattr("skae._data.dataset.BLOCK_ENTRIES", 2**14)
    X = kind(falling_spectrum(40_000, 100, 0).astype(np.float32))
    (X if kind is np.asarray else X.data).setflags(write=False)
    tracemalloc.start()
    principal_components(X, moments(X), 3, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 40_000 * 100 / 4


def test_components_of_a_tensor_equal_those_of_an_array(solver, global_random_seed):
    X = falling_spectrum(90, 60, global_random_seed)
    stats = moments(X)
    array, tensor = (
        principal_components(rows, stats, 3, seed=0).components for rows in (X, torch.from_numpy(X))
    )
    # The sums are in float32 here.
    np.testing.assert_allclose(np.abs(tensor), np.abs(array), atol=1e-5)
    np.testing.assert_allclose(np.abs(array), np.abs(PCA(3).fit(X).components_), atol=1e-3)


def test_whitening_gives_uncorrelated_components_of_damped_variance(
    monkeypatch, global_random_seed
):
    monkeypatch.setattr(pca, "WHITENED_FEATURES", 20)
    rng = np.random.RandomState(global_random_seed)
    X = rng.normal(size=(100, 30)) @ rng.normal(size=(30, 30)) + 5
    stats = moments(X)
    whitening = principal_components(X, stats, 2, seed=0).whitening
    assert whitening.shape == (30, 20)
    covariance = np.cov((X - stats.mean) / stats.rms_std @ whitening, rowvar=False, bias=True)
    variances = PCA(20).fit(X / stats.rms_std).explained_variance_ * 0.99  # of 100 rows, not 99
    damped = variances / (variances + WHITENING_DAMPING * variances.mean())
    np.testing.assert_allclose(covariance, np.diag(damped), atol=1e-12)


def wide(seed, n_features=300):
    rng = np.random.RandomState(seed)
    return rng.normal(size=(20, 20)) @ rng.normal(size=(20, n_features)) + 5


def test_few_rows_have_coordinates_along_all_their_components(global_random_seed):
    X = wide(global_random_seed)
    stats = moments(X)
    found = principal_components(X, stats, 3, seed=0)
    exact = PCA(19).fit((X - stats.mean) / stats.rms_std)
    scores = exact.transform((X - stats.mean) / stats.rms_std)
    np.testing.assert_allclose(np.abs(found.coordinates.values), np.abs(scores), atol=1e-8)
    np.testing.assert_allclose(found.components, exact.components_[:3], atol=1e-8)
    assert found.truncate(2).coordinates is found.coordinates


def test_few_rows_are_whitened_along_all_their_components(global_random_seed):
    X = wide(global_random_seed)
    stats = moments(X)
    whitening = principal_components(X, stats, 2, seed=0).whitening
    covariance = np.cov((X - stats.mean) / stats.rms_std @ whitening, rowvar=False, bias=True)
    variances = PCA(19).fit(X / stats.rms_std).explained_variance_ * 0.95  # of 20 rows, not 19
    damped = variances / (variances + WHITENING_DAMPING * variances.mean())
    np.testing.assert_allclose(covariance, np.diag(damped), atol=1e-10)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_more_rows_have_triangular_coordinates(kind, global_random_seed, monkeypatch):
    monkeypatch.setattr(pca, "COVARIANCE_FEATURES", 10)
    monkeypatch.setattr(pca, "WHITENED_FEATURES", 8)
    X = falling_spectrum(40, 100, global_random_seed) + 3
    X[1] = X[0]  # fewer dimensions than rows
    stats = moments(X)
    found = principal_components(kind(X), stats, 3, seed=0)
    assert found.coordinates.triangular
    expected = PCA(8).fit((X - stats.mean) / stats.rms_std)
    np.testing.assert_allclose(found.components, expected.components_[:3], atol=1e-3)
    variances = expected.explained_variance_ * 39 / 40  # of 40 rows, not 39
    np.testing.assert_allclose(found.code_std**2, variances[:3], rtol=1e-6)
    standard = (X - stats.mean) / stats.rms_std
    values = np.asarray(found.coordinates.values)
    np.testing.assert_allclose(values @ values.T, standard @ standard.T, atol=1e-6)
    whitened = standard @ np.asarray(found.whitening)
    damped = variances / (variances + WHITENING_DAMPING * variances.mean())
    np.testing.assert_allclose(np.diag(np.cov(whitened.T, bias=True)), damped, rtol=1e-2)


@pytest.mark.parametrize("kind", [sparse.csr_array, torch.from_numpy])
def test_few_rows_have_the_same_components_in_every_form(kind, global_random_seed, monkeypatch):
    monkeypatch.setattr(row_products, "BLOCK_ENTRIES", 40)  # eight features at a time
    X = wide(global_random_seed)
    X[X < 5] = 0.0
    X[1, 2] = X[3, 4] = np.nan
    stats = moments(X)
    expected, found = (principal_components(rows, stats, 2, seed=0) for rows in (X, kind(X)))
    for values in zip(found[:-2], expected[:-2], strict=True):
        np.testing.assert_allclose(*values, atol=1e-10)
    filled = np.where(np.isnan(X), stats.mean, X)
    np.testing.assert_allclose(found.components, PCA(2).fit(filled).components_, atol=1e-8)
    assert found.coordinates is None


@pytest.mark.parametrize("n_samples", [30, 70, 200])
def test_sparse_wide_rows_are_not_made_dense(n_samples, global_random_seed, monkeypatch):
    """By the products of few rows, all eigenvectors or not, and by LOBPCG for more rows."""
    monkeypatch.setattr(pca, "COVARIANCE_FEATURES", 50)
    monkeypatch.setattr(pca, "DOUBLE_PRECISION_ENTRIES", 0)
    rng = np.random.default_rng(global_random_seed)
    X = sparse.random_array((n_samples, 300), density=0.05, format="csr", rng=rng)
    stats = moments(X)
    expected = principal_components(X.toarray(), stats, 2, seed=0)
    monkeypatch.delattr(pca, "dense_block")
    monkeypatch.setattr(row_products.RowProducts, "_columns", None)
    found = principal_components(X, stats, 2, seed=0)
    # The components themselves are as exact as the passes of LOBPCG.
    np.testing.assert_allclose(found.code_std, expected.code_std, rtol=1e-5)
    np.testing.assert_allclose(found.residual_std, expected.residual_std, rtol=1e-2, atol=1e-3)
    angles = np.linalg.svd(found.components @ expected.components.T)[1]
    np.testing.assert_allclose(angles, 1, atol=1e-3)


def test_components_beyond_the_rank_are_orthonormal(global_random_seed):
    X = np.repeat(wide(global_random_seed)[:4], 3, axis=0)  # of rank three
    found = principal_components(X, moments(X), 6, seed=0)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(6), atol=1e-12)
    assert found.coordinates.values.shape == (12, 3)
    assert found.is_exact


def test_narrow_data_are_not_whitened(digits):
    assert principal_components(digits, moments(digits), 2, seed=0).whitening is None


def test_a_small_residual_is_not_lost_in_rounding_errors(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = (rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6))).astype(np.float32)
    X += 1e-3 * rng.normal(size=X.shape).astype(np.float32)
    stats = moments(X)
    found = principal_components(X, stats, 2, seed=0)
    residual = (X - PCA(2).fit(X).inverse_transform(PCA(2).fit_transform(X))).std(axis=0)
    np.testing.assert_allclose(found.residual_std * stats.rms_std, residual, rtol=1e-3)


def test_components_are_exact_for_complete_data_of_low_rank(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = rng.normal(size=(50, 2)) @ np.ones((2, 6))
    assert principal_components(X, moments(X), 2, seed=0).is_exact
    noisy = X + 1e-3 * rng.normal(size=X.shape)
    assert not principal_components(noisy, moments(noisy), 2, seed=0).is_exact
