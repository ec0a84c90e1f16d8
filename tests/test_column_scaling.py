import numpy as np
import pytest

from skae._imputation.column_scaling import ColumnScaling


def ends_of(cells):
    return np.stack([cells.min(axis=0), cells.max(axis=0)])


@pytest.fixture
def cells(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    cells = rng.normal(size=(50, 3)) * [1e-3, 1.0, 1e3] + [5.0, 0.0, -1e4]
    cells[:, 1] = 7.0
    return cells


@pytest.fixture
def scaling(cells):
    return ColumnScaling(cells.mean(axis=0), cells.std(axis=0), ends_of(cells))


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


def test_the_range_of_some_rows_is_part_of_the_range(cells, scaling):
    observed = np.zeros_like(cells, dtype=bool)
    x = scaling.standardize(cells, observed)
    part = scaling.within(0.5 * x)
    np.testing.assert_allclose(part.ends, scaling.mean + (scaling.ends - scaling.mean) / 2)
    np.testing.assert_array_equal(scaling.within(2 * x).ends, scaling.ends)


def test_cells_beyond_the_range_become_its_ends_exactly(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    for cells in (
        rng.poisson(3, size=(50, 300)).astype(float),
        rng.dirichlet(np.ones(300), size=50),
        rng.lognormal(sigma=8, size=(50, 300)),
    ):
        scaling = ColumnScaling(cells.mean(axis=0), cells.std(axis=0), ends_of(cells))
        x = scaling.standardize(cells, np.zeros_like(cells, dtype=bool))
        low, high = scaling.standardized_ends()
        np.testing.assert_array_equal(x.clamp(low, high), x)
        np.testing.assert_array_equal(ends_of(scaling.to_observed_range(2 * x)), scaling.ends)
