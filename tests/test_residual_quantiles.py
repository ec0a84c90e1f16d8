import numpy as np
import pytest
import torch

from skae._imputation.masking import HeldOutCells
from skae._imputation.residual_quantiles import (
    SCORES,
    normal_quantiles,
    quantiles_at,
    residual_quantiles,
)


def cells(error, masked):
    group = torch.arange(len(error))
    return HeldOutCells(group, group, group, error, torch.zeros_like(error), masked, masked)


def test_normal_errors_have_normal_quantiles(global_random_seed):
    rng = torch.Generator().manual_seed(global_random_seed)
    std = 0.1 + torch.rand(20_000, 2, generator=rng)
    error = std * torch.randn(std.shape, generator=rng)
    masked = torch.ones_like(error, dtype=torch.bool)
    quantiles = residual_quantiles(cells(error, masked), std.numpy())
    # Three standard errors of a quantile at 1.96 standard deviations.
    inside = np.abs(SCORES) < 2
    np.testing.assert_allclose(quantiles[inside, 0], SCORES[inside], atol=0.06)
    for level, expected in ((0.05, -1.645), (0.5, 0.0), (0.975, 1.96)):
        assert quantiles_at(level, normal_quantiles(3))[1] == pytest.approx(expected, abs=0.01)


def test_columns_with_few_masked_rows_have_normal_quantiles(global_random_seed):
    rng = torch.Generator().manual_seed(global_random_seed)
    error = 7 * torch.randn(50, 2, generator=rng)
    masked = torch.ones_like(error, dtype=torch.bool)
    masked[5:, 1] = False
    quantiles = residual_quantiles(cells(error, masked), np.ones((50, 2)))
    np.testing.assert_array_equal(quantiles[:, 1], SCORES)
    assert quantiles[-1, 0] > 7


def test_intervals_of_few_rows_cover_new_errors_on_average(global_random_seed):
    rng = torch.Generator().manual_seed(global_random_seed)
    covered = []
    for _ in range(100):
        error = torch.randn(20, 2, generator=rng)
        quantiles = residual_quantiles(cells(error, error < 99), np.ones((20, 2)))
        low, high = (quantiles_at(level, quantiles) for level in (0.1, 0.9))
        new = torch.randn(500, 2, generator=rng).numpy()
        covered.append(((low <= new) & (new <= high)).mean())
    # The mean of 200 intervals has a standard error of 0.007.
    assert np.mean(covered) == pytest.approx(0.8, abs=0.03)
