import numpy as np
import pytest
import torch

from skae._imputation.gaussian import COVARIANCE_PRIOR_ROWS, ConditionalGaussian, fit_gaussian


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


@pytest.fixture
def gaussian(rng):
    root = torch.from_numpy(rng.normal(size=(4, 4)))
    return ConditionalGaussian(torch.arange(4.0).double(), root @ root.T + 0.1 * torch.eye(4))


@pytest.fixture
def rows(rng):
    return torch.from_numpy(rng.normal(size=(50, 4)))


@pytest.fixture
def missing(rng):
    return torch.from_numpy(rng.uniform(size=(50, 4)) < 0.4)


def test_fill_equals_the_conditional_mean(gaussian, rows, missing):
    filled = gaussian.fill(rows, missing).numpy()
    mean, covariance = (part.numpy() for part in gaussian)
    for row, gaps, answer in zip(rows.numpy(), missing.numpy(), filled, strict=True):
        seen = ~gaps
        weights = np.linalg.solve(covariance[np.ix_(seen, seen)], row[seen] - mean[seen])
        expected = mean[gaps] + covariance[np.ix_(gaps, seen)] @ weights
        np.testing.assert_allclose(answer[gaps], expected, atol=1e-8)
        np.testing.assert_array_equal(answer[seen], row[seen])


@pytest.mark.parametrize("n_features", [4, 20])
def test_rows_with_the_same_missing_cells_are_filled_as_alone(n_features, rng):
    root = torch.from_numpy(rng.normal(size=(n_features, n_features)))
    gaussian = ConditionalGaussian(root[0], root @ root.T + torch.eye(n_features))
    rows = torch.from_numpy(rng.normal(size=(60, n_features)))
    missing = torch.from_numpy(rng.uniform(size=(6, n_features)) < 0.4).repeat(10, 1)
    alone = zip(rows.split(1), missing.split(1), strict=True)
    torch.testing.assert_close(
        gaussian.fill(rows, missing), torch.cat([gaussian.fill(*row) for row in alone])
    )
    alone = [gaussian.e_step(*row) for row in zip(rows.split(1), missing.split(1), strict=True)]
    for together, parts in zip(
        gaussian.e_step(rows, missing), zip(*alone, strict=True), strict=True
    ):
        torch.testing.assert_close(together, torch.stack(parts).sum(0))


def test_a_row_without_any_value_is_filled_with_the_mean(gaussian):
    gaps = torch.ones(1, 4, dtype=torch.bool)
    filled = gaussian.fill(torch.zeros(1, 4).double(), gaps)
    np.testing.assert_allclose(filled[0], gaussian.mean, atol=1e-12)


def test_samples_have_the_conditional_covariance(gaussian, global_random_seed):
    n = 40_000
    gaps = torch.tensor([True, False, True, False]).expand(n, 4)
    rng = torch.Generator().manual_seed(global_random_seed)
    samples = gaussian.sample(torch.zeros(n, 4).double(), gaps, rng)
    missing, observed = [0, 2], [1, 3]
    cross = gaussian.covariance[missing][:, observed]
    explained = cross @ torch.linalg.solve(gaussian.covariance[observed][:, observed], cross.T)
    expected = gaussian.covariance[missing][:, missing] - explained
    # The covariance of n samples has a relative error of about 1 / sqrt(n) = 0.005.
    np.testing.assert_allclose(np.cov(samples[:, missing].T), expected, atol=0.03 * expected.max())
    assert not samples[:, observed].any()


def test_the_fit_to_complete_rows_is_the_shrunk_covariance(rows):
    complete = torch.zeros_like(rows, dtype=torch.bool)
    fitted = fit_gaussian(rows, complete)
    n, prior = len(rows), COVARIANCE_PRIOR_ROWS
    expected = (n * np.cov(rows.T, bias=True) + prior * np.eye(4)) / (n + prior)
    np.testing.assert_allclose(fitted.mean, rows.mean(0), atol=1e-12)
    np.testing.assert_allclose(fitted.covariance, expected, atol=1e-12)


def test_mean_and_covariance_are_estimated_from_cells_missing_at_random(rng):
    rows = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=3000)
    # The second column is observed only where the first is positive: the mean of its observed cells
    # is 0.8 times that of the upper half of a normal distribution, 0.64; EM corrects that.
    gaps = torch.from_numpy(np.c_[np.zeros(3000), rows[:, 0] < 0] > 0)
    fitted = fit_gaussian(torch.from_numpy(rows), gaps)
    assert abs(fitted.mean[1].item()) < 0.15
    assert fitted.covariance[0, 1].item() == pytest.approx(0.8, abs=0.15)
