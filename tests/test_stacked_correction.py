import numpy as np
import torch
from scipy.optimize import lsq_linear

from skae._imputation import stacked_correction
from skae._imputation.masking import MaskedCells
from skae._imputation.stacked_correction import stacking_weights


def cells(wanted):
    everywhere = torch.ones_like(wanted)
    return MaskedCells(torch.arange(len(wanted)), wanted, everywhere, wanted, everywhere)


def test_corrections_are_weighed_by_least_squares_within_bounds(monkeypatch):
    monkeypatch.setattr(stacked_correction, "SHRINKAGE", 0.0)
    rng = np.random.RandomState(0)
    steps = torch.from_numpy(rng.normal(size=(3, 400, 4)))
    steps[1] += steps[0]  # so that the best without bounds is not the best cut off at them
    truth = torch.tensor([[0.4, 0.5, 0.2], [1.5, -0.7, 0.3], [0.0, 1.2, 0.9], [0.6, 0.0, -0.5]])
    noise = torch.from_numpy(rng.normal(size=(400, 4)))
    wanted = torch.einsum("knd,dk->nd", steps, truth.double()) + 0.1 * noise
    factors, left = stacking_weights(steps, cells(wanted))
    for j in range(4):
        best = lsq_linear(steps[:, :, j].T.numpy(), wanted[:, j].numpy(), bounds=(0, 1))
        np.testing.assert_allclose(factors[:, j], best.x, atol=1e-3)
        share = 2 * best.cost / wanted[:, j].square().sum().item()
        assert abs(left[j].item() - share) < 1e-3


def test_columns_are_drawn_to_one_another(monkeypatch):
    rng = np.random.RandomState(0)
    steps = torch.from_numpy(rng.normal(size=(1, 50, 6)))
    wanted = 0.5 * steps[0] + torch.from_numpy(rng.normal(size=(50, 6)))
    spread = []
    for draw in (0.0, 0.5, 1e6):
        monkeypatch.setattr(stacked_correction, "SHRINKAGE", draw)
        spread.append(stacking_weights(steps, cells(wanted))[0].std().item())
    assert spread[0] > spread[1] > spread[2]
    assert spread[2] < 1e-4


def test_what_is_no_better_than_chance_is_not_done():
    rng = np.random.RandomState(0)
    steps = torch.from_numpy(rng.normal(size=(2, 300, 4)))
    wanted = torch.from_numpy(rng.normal(size=(300, 4)))
    factors, left = stacking_weights(steps, cells(wanted))
    assert not factors.any()
    assert (left == 1).all()
