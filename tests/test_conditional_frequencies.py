import numpy as np
import pytest
import torch

from skae._imputation.conditional_frequencies import LabelledRows, fit_frequencies
from skae._imputation.masking import N_FOLDS, HeldOutCells

N = 500


@pytest.fixture
def rng(global_random_seed):
    return torch.Generator().manual_seed(global_random_seed)


def fit(x, missing, category, n_categories):
    """Frequencies, and those of the same rows, out of fold."""
    fold = torch.arange(len(x)) % N_FOLDS
    group = torch.arange(len(x))
    held_out = HeldOutCells(group, fold, fold, x, x.float(), missing, ~missing)
    shares = torch.bincount(category, minlength=n_categories).double() / len(x)
    rows = LabelledRows(x, missing, category, fold)
    return fit_frequencies(rows, np.arange(x.shape[1]), shares, held_out)


def test_the_number_is_chosen_of_which_the_category_is_a_function(rng):
    x = torch.randint(9, (N, 3), generator=rng).double()
    category = torch.tensor([2, 0, 1, 1, 2, 0, 0, 2, 1])[x[:, 1].long()]
    missing = torch.rand(x.shape, generator=rng) < 0.2
    frequencies, evidence = fit(x, missing, category, 3)
    assert frequencies.cell == 1
    observed = ~missing[:, 1]
    for values in (frequencies.of(x, missing), evidence):
        assert (values.argmax(1) == category)[observed].all()
        assert not values[~observed].any()


def test_without_a_dependence_out_of_fold_frequencies_are_used_by_no_category(rng):
    x = torch.randn(N, 4, generator=rng, dtype=torch.float64)
    category = torch.randint(3, (N,), generator=rng)
    frequencies, evidence = fit(x, torch.zeros_like(x, dtype=torch.bool), category, 3)
    assert frequencies.cell == -1
    assert not evidence.any()
    assert not frequencies.of(x, x > 9).any()


def test_frequencies_of_held_out_rows_are_those_of_other_folds():
    # Values up to 9 are in one fold only, the others are in all folds.
    x = torch.arange(20.0).repeat_interleave(50)[:, None].double()
    category = (x[:, 0] % 2).long()
    is_common = x[:, 0] >= 10
    fold = torch.where(is_common, torch.arange(1000), x[:, 0].long()) % N_FOLDS
    held_out = HeldOutCells(fold, fold, fold, x, x.float(), x > 99, x < 99)
    shares = torch.tensor([0.5, 0.5], dtype=torch.float64)
    rows = LabelledRows(x, x > 99, category, fold)
    frequencies, evidence = fit_frequencies(rows, np.array([0]), shares, held_out)
    assert (evidence.argmax(1) == category)[is_common].all()
    assert not evidence[~is_common].any()
    assert (frequencies.of(x, x > 99).argmax(1) == category).all()
