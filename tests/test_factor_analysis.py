import numpy as np
import pytest
import torch

from skae._imputation.factor_analysis import LowRankGaussian, fit_low_rank_gaussian
from skae._imputation.gaussian import ConditionalGaussian


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


@pytest.fixture
def gaussian(rng):
    parts = rng.normal(size=5), rng.normal(size=(5, 2)), rng.uniform(0.1, 1, size=5)
    return LowRankGaussian(*map(torch.from_numpy, parts))


def full(gaussian):
    """The same distribution with a full covariance."""
    covariance = gaussian.loadings @ gaussian.loadings.T + torch.diag(gaussian.noise_variance)
    return ConditionalGaussian(gaussian.mean, covariance)


def test_fill_equals_that_of_the_full_covariance(gaussian, rng):
    rows = torch.from_numpy(rng.normal(size=(30, 5)))
    missing = torch.from_numpy(rng.uniform(size=(30, 5)) < 0.5)
    filled, expected = (g.fill(rows, missing) for g in (gaussian, full(gaussian)))
    np.testing.assert_allclose(filled, expected, atol=1e-10)


def test_samples_have_the_covariance_of_the_full_gaussian(gaussian, global_random_seed):
    gaps = torch.tensor([True, True, False, False, True]).expand(20_000, 5)
    rows = torch.zeros(20_000, 5).double()
    covariance, expected = (
        np.cov(g.sample(rows, gaps, torch.Generator().manual_seed(global_random_seed)).T)
        for g in (gaussian, full(gaussian))
    )
    # Two covariances of n samples each differ by about 1.4 / sqrt(n) = 0.01 of their size.
    np.testing.assert_allclose(covariance, expected, atol=0.05 * expected.max())


def test_missing_cells_of_low_rank_data_are_predicted(rng):
    rows = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 30)) + 0.1 * rng.normal(size=(500, 30))
    rows /= rows.std(axis=0)
    gaps = rng.uniform(size=rows.shape) < 0.3
    x, missing = torch.from_numpy(np.where(gaps, 0, rows)), torch.from_numpy(gaps)
    error = fit_low_rank_gaussian(x, missing).fill(x, missing).numpy() - rows
    assert np.sqrt(np.mean(error[gaps] ** 2)) < 0.4  # the mean leaves 1
