import numpy as np
import pytest
import torch

from skae._data.groups import RowGroups
from skae._imputation.factor_analysis import fit_low_rank_gaussian
from skae._imputation.gaussian import fit_gaussian
from skae._imputation.masking import N_FOLDS, Folds, IncompleteRows

N, D = 120, 8
FITS = [fit_gaussian, fit_low_rank_gaussian]


@pytest.fixture
def rng(global_random_seed):
    return torch.Generator().manual_seed(global_random_seed)


@pytest.fixture
def x(rng):
    return torch.randn(N, D, generator=rng, dtype=torch.float64)


@pytest.fixture
def missing(rng):
    return torch.rand(N, D, generator=rng) < 0.2


@pytest.mark.parametrize("fit", FITS)
def test_training_and_validation_rows_are_of_different_folds(x, missing, rng, fit):
    folds = Folds.split(IncompleteRows(x, missing), fit(x, missing), rng)
    training, validation = folds.training_cells(500, rng), folds.validation_cells(500, rng)
    for k in range(N_FOLDS):
        assert set(folds.fold[training.group[k]].tolist()) == set(range(N_FOLDS)) - {k}
        assert set(folds.fold[validation.group[k]].tolist()) == {k}


def test_groups_are_in_one_fold_and_are_drawn_with_their_rows(x, missing, rng):
    groups = RowGroups.from_labels(torch.arange(N) % 40, N)
    folds = Folds.split(IncompleteRows(x, missing, groups), fit_gaussian(x, missing), rng)
    for group in range(40):
        assert len(set(folds.fold[group::40].tolist())) == 1
    validation = folds.validation_cells(500, rng)
    for k in range(N_FOLDS):
        assert set(validation.group[k].tolist()) == set(folds.group[folds.fold == k].tolist())


@pytest.mark.parametrize("fit", FITS)
def test_masked_cells_were_observed_and_their_target_is_the_residual(x, missing, rng, fit):
    folds = Folds.split(IncompleteRows(x, missing), fit(x, missing), rng)
    for cells in (folds.training_cells(500, rng), folds.validation_cells(500, rng)):
        masked, unobserved, own = cells.masked > 0, cells.missing > 0, missing[cells.group]
        assert masked.any(1).all()  # each column in each fold
        assert torch.equal(unobserved, masked | own)
        assert not (masked & own).any()
        truth = x[cells.group].float()
        assert torch.equal(cells.filled[~unobserved], truth[~unobserved])
        # The target was rounded to float32.
        torch.testing.assert_close(
            (cells.filled + cells.target)[masked], truth[masked], atol=1e-6, rtol=1e-5
        )
        assert not cells.target[~masked].any()


def test_no_row_is_filled_by_a_gaussian_that_was_fitted_to_it(x, rng):
    # For complete rows the fit has a closed form.
    complete = torch.zeros_like(x, dtype=torch.bool)
    folds = Folds.split(IncompleteRows(x, complete), fit_gaussian(x, complete), rng)
    for k, gaussians in enumerate(folds.gaussians):
        for j, gaussian in enumerate(gaussians):
            others = (folds.fold != k) & (folds.fold != j)
            expected = fit_gaussian(x[others], complete[others])
            torch.testing.assert_close(gaussian.mean, expected.mean)
            torch.testing.assert_close(gaussian.covariance, expected.covariance)
    for cells, k in ((folds.training_cells(300, rng), 1), (folds.validation_cells(300, rng), 2)):
        row = cells.group[k]
        for j in range(N_FOLDS):
            in_fold = folds.fold[row] == j
            gaps = cells.missing[k][in_fold] > 0
            filled = folds.gaussians[k][j].fill(x[row[in_fold]], gaps)
            torch.testing.assert_close(cells.filled[k][in_fold], filled.float())


@pytest.mark.parametrize("fit", FITS)
def test_statistics_of_disjoint_rows_add_up(x, missing, fit):
    gaussian = fit(x, missing)
    parts = gaussian.e_step(x[:50], missing[:50]), gaussian.e_step(x[50:], missing[50:])
    for whole, first, second in zip(gaussian.e_step(x, missing), *parts, strict=True):
        torch.testing.assert_close(first + second, whole)


def test_validation_errors_equal_errors_of_new_rows(rng):
    # Independent columns and few rows: a Gaussian fits its own training rows much better.
    rows, new = (torch.randn(n, 40, generator=rng, dtype=torch.float64) for n in (150, 4000))
    complete = torch.zeros_like(rows, dtype=torch.bool)
    gaussian = fit_gaussian(rows, complete)
    validation = Folds.split(IncompleteRows(rows, complete), gaussian, rng).validation_cells(
        2000, rng
    )

    def error(x):
        masked = torch.rand(x.shape, generator=rng) < 0.02
        return (x - gaussian.fill(x, masked))[masked].square().mean()

    validation_error = validation.target.square().sum() / validation.masked.sum()
    assert error(rows) < 0.8 * error(new)
    # Training on a fifth fewer rows makes the validation error somewhat larger.
    assert 0.9 * error(new) < validation_error < 1.3 * error(new)


def test_flatten_folds_and_head_keep_the_order_of_rows(x, missing, rng):
    cells = Folds.split(IncompleteRows(x, missing), fit_gaussian(x, missing), rng).validation_cells(
        10, rng
    )
    np.testing.assert_array_equal(cells.flatten_folds().group, np.concatenate(list(cells.group)))
    np.testing.assert_array_equal(cells.head(3).filled, cells.filled[:, :3])


def test_the_cells_of_a_column_are_masked_together(x, missing, rng):
    column = torch.tensor([0, 0, 0, 1, 2, 2, 3, 4])
    first = torch.tensor([0, 3, 4, 6, 7])
    together = missing[:, first][:, column]
    rows = IncompleteRows(torch.where(together, 0.0, x), together, None, column)
    folds = Folds.split(rows, fit_gaussian(rows.x, together), rng)
    for cells in (folds.training_cells(200, rng), folds.validation_cells(200, rng)):
        assert torch.equal(cells.masked, cells.masked[..., first][..., column])
        assert cells.masked.any(1).all()
        assert (cells.masked[..., 0] != cells.masked[..., 4]).any()


@pytest.mark.parametrize("fit", FITS)
def test_conditional_standard_deviations_are_those_of_samples(x, missing, rng, fit):
    gaussian = fit(x @ torch.randn(D, D, generator=rng).double(), missing)
    rows, gaps = x[:1].repeat(4000, 1), missing[:1].repeat(4000, 1)
    std = gaussian.std(rows, gaps)
    assert not std[~gaps].any()
    # The standard deviation of 4000 samples has an error of 1.1 %.
    samples = gaussian.sample(rows, gaps, rng).std(0)
    torch.testing.assert_close(samples[gaps[0]], std[0, gaps[0]], rtol=0.06, atol=0)
