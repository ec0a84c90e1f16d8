import numpy as np
import pytest
import torch

from skae._imputation.column_scaling import ColumnScaling


@pytest.fixture
def cells(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    cells = rng.normal(size=(50, 3)) * [1e-3, 1.0, 1e3] + [5.0, 0.0, -1e4]
    cells[:, 1] = 7.0
    return cells


@pytest.fixture
def scaling(cells):
    return ColumnScaling(cells.mean(axis=0), cells.std(axis=0))


def test_data_units_invert_the_standardisation(cells, scaling):
    observed = np.zeros_like(cells, dtype=bool)
    x = scaling.standardize(cells, observed)
    np.testing.assert_allclose(scaling.to_data_units(x), cells)
    np.testing.assert_allclose(x[:, [0, 2]].std(0, correction=0), 1)


def test_missing_cells_and_constant_columns_are_zero(cells, scaling):
    missing = np.zeros_like(cells, dtype=bool)
    missing[::2, 0] = True
    x = scaling.standardize(np.where(missing, np.nan, cells), missing)
    assert not x[::2, 0].any()
    assert not x[:, 1].any()
    assert x[1::2, 0].all()


def test_the_inverse_of_a_zero_deviation_is_zero(scaling):
    np.testing.assert_allclose(scaling.inverse_std() * scaling.std, [1, 0, 1])


def test_the_range_within_some_rows_is_no_larger(scaling):
    scaling = scaling._replace(ends=np.array([[-1.0] * 3, [1.0] * 3]))
    rows = torch.tensor([[-3.0] * 3, [0.5] * 3], dtype=torch.float64)
    np.testing.assert_array_equal(scaling.within(rows).ends, [[-1.0] * 3, [0.5] * 3])
    np.testing.assert_array_equal(scaling._replace(ends=None).within(rows).ends, rows)


def test_whole_numbers_at_the_ends_of_ranges_are_exact(global_random_seed):
    counts = np.random.RandomState(global_random_seed).poisson(3, size=(50, 300)).astype(float)
    scaling = ColumnScaling(counts.mean(axis=0), counts.std(axis=0))
    x = scaling.standardize(counts, np.zeros_like(counts, dtype=bool))
    within = scaling.within(x).to_observed_range(2 * x)
    np.testing.assert_array_equal(within.min(axis=0), counts.min(axis=0))
    np.testing.assert_array_equal(within.max(axis=0), counts.max(axis=0))
