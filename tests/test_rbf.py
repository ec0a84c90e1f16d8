import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel

from skae._imputation import rbf
from skae._imputation.masking import N_FOLDS, MaskedCells
from skae._imputation.rbf import (
    RELATIVE_BANDWIDTHS,
    RIDGE_PENALTIES,
    NystroemFeatures,
    fit_ridge,
    select_features,
)


@pytest.fixture
def rng(global_random_seed):
    return torch.Generator().manual_seed(global_random_seed)


@pytest.fixture
def centres(rng):
    return torch.randn(40, 3, generator=rng)


def draw_cells(rng, n=200):
    """Rows whose first column is a smooth function of the others; all cells masked at random."""
    filled = torch.randn(N_FOLDS, n, 3, generator=rng)
    masked = (torch.rand(N_FOLDS, n, 3, generator=rng) < 0.5).float()
    target = masked * torch.sin(filled.sum(-1, keepdim=True))
    row = torch.arange(n).expand(N_FOLDS, n)
    return MaskedCells(row, filled, masked, target, masked)


def test_inner_products_of_features_are_the_kernel_between_centres(centres):
    features = NystroemFeatures.from_centres(centres.double(), 0.5)
    codes = features.transform(centres.double())
    expected = rbf_kernel(centres, gamma=0.5 / features.bandwidth.item() ** 2)
    np.testing.assert_allclose(codes @ codes.T, expected, atol=1e-4)  # jitter of 1e-5


def test_the_bandwidth_is_relative_to_the_median_distance(centres):
    distances = torch.cdist(centres, centres)
    features = NystroemFeatures.from_centres(centres, 0.25)
    assert features.bandwidth == pytest.approx(0.25 * distances[distances > 0].median())
    rescaled = NystroemFeatures.from_centres(100 * centres, 0.25)
    torch.testing.assert_close(
        rescaled.transform(100 * centres), features.transform(centres), atol=1e-2, rtol=1e-2
    )


def test_equal_centres_have_finite_features():
    features = NystroemFeatures.from_centres(torch.ones(5, 2), 0.5)
    assert torch.isfinite(features.transform(torch.zeros(3, 2))).all()


def test_coefficients_equal_ridge_regression_on_masked_cells(centres, rng):
    cells = draw_cells(rng)
    features = NystroemFeatures.from_centres(centres, 0.5)
    coefficients = fit_ridge(features, cells, 3.0)
    for k in range(N_FOLDS):
        codes = features.transform(cells.filled[k]).numpy()
        for j in range(3):
            masked = cells.masked[k, :, j].numpy() > 0
            ridge = Ridge(alpha=3.0, fit_intercept=False)
            ridge.fit(codes[masked], cells.target[k, masked, j])
            # Solved in float32.
            np.testing.assert_allclose(coefficients[k, :, j], ridge.coef_, atol=1e-3)


def test_the_selected_bandwidth_and_penalty_have_the_lowest_validation_error(centres, rng):
    training, validation = draw_cells(rng), draw_cells(rng)

    def error(relative_bandwidth, penalty):
        features = NystroemFeatures.from_centres(centres, relative_bandwidth)
        coefficients = fit_ridge(features, training, penalty)
        prediction = features.transform(validation.filled[0]) @ coefficients[0]
        return ((prediction - validation.target[0]) * validation.masked[0]).square().sum().item()

    features, penalty = select_features(centres, training, validation)
    relative = features.bandwidth / NystroemFeatures.from_centres(centres, 1.0).bandwidth
    lowest = min(error(b, p) for b in RELATIVE_BANDWIDTHS for p in RIDGE_PENALTIES)
    assert error(relative.item(), penalty) == pytest.approx(lowest, rel=1e-3)


def test_columns_solved_as_one_batch_equal_those_solved_one_by_one(rng, monkeypatch):
    codes, target = torch.randn(80, 6, generator=rng), torch.randn(80, 9, generator=rng)
    masked = (torch.rand(80, 9, generator=rng) < 0.4).float()
    masked[:, 4] = 0
    batched = rbf._ridge_coefficients(codes, target * masked, masked, 0.5)
    monkeypatch.setattr(rbf, "MAX_PRODUCT_ENTRIES", 0)
    one_by_one = rbf._ridge_coefficients(codes, target * masked, masked, 0.5)
    torch.testing.assert_close(batched, one_by_one)
    assert not batched[:, 4].any()
