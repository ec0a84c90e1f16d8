import numpy as np
import pytest
import torch

from skae._imputation.gaussian import PRIOR_ROWS, ConditionalGaussian, fit_gaussian


@pytest.fixture
def gaussian():
    root = torch.from_numpy(np.random.RandomState(0).normal(size=(4, 4)))
    return ConditionalGaussian(torch.arange(4.0).double(), root @ root.T + 0.1 * torch.eye(4))


@pytest.fixture
def rows():
    return torch.from_numpy(np.random.RandomState(1).normal(size=(50, 4)))


@pytest.fixture
def missing(rows):
    return torch.from_numpy(np.random.RandomState(2).uniform(size=rows.shape) < 0.4)


def test_gaps_are_filled_as_by_the_textbook(gaussian, rows, missing):
    filled = gaussian.fill(rows, missing).numpy()
    mean, covariance = (part.numpy() for part in gaussian)
    for row, gaps, answer in zip(rows.numpy(), missing.numpy(), filled, strict=True):
        seen = ~gaps
        pull = np.linalg.solve(covariance[np.ix_(seen, seen)], row[seen] - mean[seen])
        expected = mean[gaps] + covariance[np.ix_(gaps, seen)] @ pull
        np.testing.assert_allclose(answer[gaps], expected, atol=1e-10)
        np.testing.assert_array_equal(answer[seen], row[seen])


def test_a_row_without_any_value_is_filled_with_the_mean(gaussian):
    gaps = torch.ones(1, 4, dtype=torch.bool)
    filled = gaussian.fill(torch.zeros(1, 4).double(), gaps)
    np.testing.assert_allclose(filled[0], gaussian.mean, atol=1e-12)


def test_draws_have_the_conditional_covariance(gaussian):
    n = 40_000
    gaps = torch.tensor([True, False, True, False]).expand(n, 4)
    drawn = gaussian.sample(torch.zeros(n, 4).double(), gaps, torch.Generator().manual_seed(0))
    (a, b), c = (gaussian.covariance[[0, 2]][:, columns] for columns in ([0, 2], [1, 3])), None
    c = gaussian.covariance[[1, 3]][:, [1, 3]]
    expected = a - b @ torch.linalg.solve(c, b.T)
    # A covariance of n draws has a relative error of about 1 / sqrt(n) = 0.005.
    np.testing.assert_allclose(np.cov(drawn[:, [0, 2]].T), expected, atol=0.03 * expected.max())
    assert not drawn[:, [1, 3]].any()


def test_complete_rows_give_the_shrunk_covariance_in_closed_form(rows):
    complete = torch.zeros_like(rows, dtype=torch.bool)
    fitted = fit_gaussian(rows, complete)
    n = len(rows)
    expected = (n * np.cov(rows.T, bias=True) + PRIOR_ROWS * np.eye(4)) / (n + PRIOR_ROWS)
    np.testing.assert_allclose(fitted.mean, rows.mean(0), atol=1e-12)
    np.testing.assert_allclose(fitted.covariance, expected, atol=1e-12)


def test_a_correlation_is_found_through_the_gaps():
    rng = np.random.RandomState(0)
    rows = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=3000)
    # The second column is seen only where the first is large: its observed mean is off by 0.8 of
    # the mean of the upper half of a normal, 0.64; EM corrects that.
    gaps = torch.from_numpy(np.c_[np.zeros(3000), rows[:, 0] < 0] > 0)
    fitted = fit_gaussian(torch.from_numpy(rows), gaps)
    assert abs(fitted.mean[1].item()) < 0.15
    assert fitted.covariance[0, 1].item() == pytest.approx(0.8, abs=0.15)
