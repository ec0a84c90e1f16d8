import numpy as np
import pytest
import torch

from skae._imputation.factor_analysis import fit_low_rank_gaussian
from skae._imputation.gaussian import fit_gaussian
from skae._imputation.masking import N_FOLDS, Folds

N, D = 120, 8
FITS = [fit_gaussian, fit_low_rank_gaussian]


@pytest.fixture
def noise():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def x():
    return torch.from_numpy(np.random.RandomState(0).normal(size=(N, D)))


@pytest.fixture
def missing(x):
    return torch.from_numpy(np.random.RandomState(1).uniform(size=x.shape) < 0.2)


@pytest.mark.parametrize("fit", FITS)
def test_what_judges_was_not_learned_from(x, missing, noise, fit):
    folds = Folds.of(x, missing, fit(x, missing), noise)
    learned, judging = folds.to_learn(500, noise), folds.to_judge(500, noise)
    for k in range(N_FOLDS):
        assert set(folds.fold[learned.row[k]].tolist()) == set(range(N_FOLDS)) - {k}
        assert set(folds.fold[judging.row[k]].tolist()) == {k}


@pytest.mark.parametrize("fit", FITS)
def test_cells_that_were_observed_are_hidden(x, missing, noise, fit):
    folds = Folds.of(x, missing, fit(x, missing), noise)
    for cells in (folds.to_learn(500, noise), folds.to_judge(500, noise)):
        hidden, unseen, own = cells.hidden > 0, cells.unseen > 0, missing[cells.row]
        assert hidden.any(1).all()  # each column for each fold
        assert torch.equal(unseen, hidden | own)
        assert not (hidden & own).any()
        truth = x[cells.row].float()
        assert torch.equal(cells.filled[~unseen], truth[~unseen])
        told = (cells.filled + cells.wanted)[hidden]
        torch.testing.assert_close(told, truth[hidden], atol=1e-6, rtol=1e-5)
        assert not cells.wanted[~hidden].any()


def test_no_row_is_completed_by_a_gaussian_that_was_fitted_to_it(x, noise):
    # Of complete rows the Gaussian has a closed form.
    complete = torch.zeros_like(x, dtype=torch.bool)
    folds = Folds.of(x, complete, fit_gaussian(x, complete), noise)
    for k, gaussians in enumerate(folds.gaussians):
        for j, gaussian in enumerate(gaussians):
            others = (folds.fold != k) & (folds.fold != j)
            expected = fit_gaussian(x[others], complete[others])
            torch.testing.assert_close(gaussian.mean, expected.mean)
            torch.testing.assert_close(gaussian.covariance, expected.covariance)
    for cells, member in ((folds.to_learn(300, noise), 1), (folds.to_judge(300, noise), 2)):
        row = cells.row[member]
        for j in range(N_FOLDS):
            own = folds.fold[row] == j
            unseen = cells.unseen[member][own] > 0
            filled = folds.gaussians[member][j].fill(x[row[own]], unseen)
            torch.testing.assert_close(cells.filled[member][own], filled.float())


@pytest.mark.parametrize("fit", FITS)
def test_sums_over_rows_add_up(x, missing, fit):
    gaussian = fit(x, missing)
    whole = gaussian.statistics(x, missing)
    parts = gaussian.statistics(x[:50], missing[:50]), gaussian.statistics(x[50:], missing[50:])
    for all_rows, some, others in zip(whole, *parts, strict=True):
        torch.testing.assert_close(some + others, all_rows)


def test_the_judges_are_as_hard_to_tell_as_new_rows(noise):
    # Columns that nothing connects, and few rows: the Gaussian finds its own rows easy.
    rng = np.random.RandomState(0)
    rows, new = (torch.from_numpy(rng.normal(size=(n, 40))) for n in (150, 4000))
    complete = torch.zeros_like(rows, dtype=torch.bool)
    gaussian = fit_gaussian(rows, complete)
    judging = Folds.of(rows, complete, gaussian, noise).to_judge(2000, noise)
    hidden = torch.from_numpy(rng.uniform(size=new.shape) < 0.02)
    error = (new - gaussian.fill(new, hidden))[hidden].square().mean()
    flattered = torch.from_numpy(rng.uniform(size=rows.shape) < 0.02)
    own_error = (rows - gaussian.fill(rows, flattered))[flattered].square().mean()
    judged = judging.wanted.square().sum() / judging.hidden.sum()
    assert own_error < 0.8 * error
    # With a fifth fewer rows to learn from they are somewhat harder.
    assert 0.9 * error < judged < 1.3 * error
