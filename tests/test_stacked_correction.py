import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from skae._imputation.correction_networks import CorrectionConfig
from skae._imputation.gaussian import fit_gaussian
from skae._imputation.masking import IncompleteRows, MaskedCells
from skae._imputation.stacked_correction import fit_stacked_correction, stacking_weights

IMPUTES_AS_FOR_USERS = True


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


def cells(target):
    """Validation cells of which all are masked, one per row of the data."""
    everywhere = torch.ones_like(target)
    return MaskedCells(torch.arange(len(target)), target, everywhere, target, everywhere)


def test_stacking_weights_solve_bounded_least_squares_without_shrinkage(rng):
    corrections = torch.from_numpy(rng.normal(size=(3, 400, 4)))
    corrections[1] += corrections[0]  # so that bounds change the other weights, too
    truth = torch.tensor([[0.4, 0.5, 0.2], [1.5, -0.7, 0.3], [0.0, 1.2, 0.9], [0.6, 0.0, -0.5]])
    noise = torch.from_numpy(rng.normal(size=(400, 4)))
    target = torch.einsum("knd,dk->nd", corrections, truth.double()) + 0.1 * noise
    weights, error_ratio = stacking_weights(corrections, cells(target), shrinkage=0.0)
    for j in range(4):
        best = lsq_linear(corrections[:, :, j].T.numpy(), target[:, j].numpy(), bounds=(0, 1))
        np.testing.assert_allclose(weights[:, j], best.x, atol=1e-3)
        expected = 2 * best.cost / target[:, j].square().sum().item()
        assert abs(error_ratio[j].item() - expected) < 1e-3


def test_shrinkage_makes_the_weights_of_columns_equal(rng):
    corrections = torch.from_numpy(rng.normal(size=(1, 50, 6)))
    target = 0.5 * corrections[0] + torch.from_numpy(rng.normal(size=(50, 6)))
    std = [
        stacking_weights(corrections, cells(target), shrinkage)[0].std().item()
        for shrinkage in (0.0, 0.5, 1e6)
    ]
    assert std[0] > std[1] > std[2]
    assert std[2] < 1e-4


def test_corrections_without_a_significant_gain_have_zero_weights(rng):
    corrections = torch.from_numpy(rng.normal(size=(2, 300, 4)))
    target = torch.from_numpy(rng.normal(size=(300, 4)))
    weights, error_ratio = stacking_weights(corrections, cells(target))
    assert not weights.any()
    assert (error_ratio == 1).all()


def test_only_missing_cells_are_corrected(curve, global_random_seed):
    x = torch.from_numpy((curve - curve.mean(0)) / curve.std(0))
    rng = torch.Generator().manual_seed(global_random_seed)
    missing = torch.rand(x.shape, generator=rng) < 0.2
    gaussian = fit_gaussian(x, missing)
    config = CorrectionConfig(max_width=(32, 32), max_steps=60, max_training_entries=2**12)
    rows = IncompleteRows(x, missing)
    correction, error_ratio, _ = fit_stacked_correction(rows, gaussian, rng, config)
    filled = gaussian.fill(x, missing)
    corrected = correction(filled, missing)
    assert torch.equal(corrected[~missing], filled[~missing])
    before, after = ((values - x)[missing].square().mean() for values in (filled, corrected))
    # A parabola: errors of the first column remain, as its sign is unknown.
    assert after < 0.8 * before
    assert error_ratio.mean() < 0.8
