"""Corruptions: the entries that each changes, their distribution, and the random generator."""

import pytest
import torch
from networks import make_rng

from skae._losses.corruption import CORRUPTIONS, ColumnStatistics

N_ROWS, N_FEATURES = 20_000, 5
REPLACING = sorted(set(CORRUPTIONS) - {"gaussian"})


@pytest.fixture
def x(global_random_seed):
    """Rows with another scale in each column and no equal entries."""
    rng = make_rng(global_random_seed)
    rows = torch.randn(N_ROWS, N_FEATURES, generator=rng, dtype=torch.float64)
    return rows * torch.arange(1.0, 6.0)


@pytest.fixture
def columns(x):
    """The zero of X is at 100, far from all rows; the network's unit is 3 units of X."""
    zero = torch.full((N_FEATURES,), 100.0, dtype=torch.float64)
    return ColumnStatistics(zero, x.amin(0), x.amax(0), torch.tensor(2.0), torch.tensor(3.0))


@pytest.fixture
def corrupt(columns, global_random_seed):
    """A function that corrupts rows; the seed is relative to the global one."""

    def function(kind, x, level, seed=0):
        return CORRUPTIONS[kind](x, level, columns, make_rng(global_random_seed + seed))

    return function


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_level_zero_changes_nothing(kind, x, corrupt):
    assert torch.equal(corrupt(kind, x, 0.0), x)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_random_numbers_come_from_the_given_generator(kind, x, corrupt):
    first = corrupt(kind, x, 0.5)
    before = torch.get_rng_state()
    assert torch.equal(corrupt(kind, x, 0.5), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(corrupt(kind, x, 0.5, seed=1), first)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_missing_entries_stay_missing_and_no_others_become_missing(kind, x, corrupt):
    x[::3, 1] = torch.nan
    assert torch.equal(corrupt(kind, x, 0.7).isnan(), x.isnan())


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_batch_is_not_modified(kind, x, corrupt):
    before = x.clone()
    corrupt(kind, x, 0.5)
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", REPLACING)
@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
def test_the_level_is_the_fraction_of_replaced_entries(kind, x, corrupt, level):
    fraction = (corrupt(kind, x, level) != x).double().mean(0)
    # Five standard deviations of the fraction of 20,000.
    assert (fraction - level).abs().max() <= 5 * (level * (1 - level) / N_ROWS) ** 0.5 + 1e-4


def test_gaussian_noise_has_the_same_standard_deviation_in_all_columns(x, corrupt):
    added = corrupt("gaussian", x, 0.5) - x
    # 0.5 times an overall standard deviation of 2, with a standard error of 1 / sqrt(2 n).
    assert (added.std(0) - 1.0).abs().max() < 5 / (2 * N_ROWS) ** 0.5
    assert added.mean(0).abs().max() < 5 / N_ROWS**0.5


def test_masked_entries_are_zero_in_the_units_of_X(x, columns, corrupt):
    masked = corrupt("masking", x, 0.5)
    assert (columns.to_units_of_X(masked)[masked != x] == 0).all()


def test_salt_and_pepper_are_equally_frequent_extremes(x, columns, corrupt):
    corrupted = corrupt("salt_and_pepper", x, 1.0)
    salt, pepper = corrupted == columns.maximum, corrupted == columns.minimum
    assert (salt | pepper).all()
    assert (salt.double().mean(0) - 0.5).abs().max() < 5 * 0.5 / N_ROWS**0.5


def test_swapping_all_entries_permutes_each_column(x, corrupt):
    swapped = corrupt("swap", x, 1.0)
    assert torch.equal(swapped.sort(0).values, x.sort(0).values)
    assert (swapped != x).all()


def test_swapping_moves_columns_independently(corrupt):
    equal = torch.arange(float(N_ROWS))[:, None].expand(N_ROWS, N_FEATURES)
    swapped = corrupt("swap", equal, 1.0)
    assert (swapped[:, 0] != swapped[:, 1]).double().mean() > 0.5


def test_no_entry_is_swapped_with_itself(corrupt):
    few = torch.arange(3.0)[:, None].expand(3, N_FEATURES)
    assert all((corrupt("swap", few, 1.0, seed) != few).all() for seed in range(10))


def test_a_single_row_is_not_swapped(x, corrupt):
    assert torch.equal(corrupt("swap", x[:1], 1.0), x[:1])


def test_units_of_X_are_converted_back(x, columns):
    in_units_of_X = columns.to_units_of_X(x)
    torch.testing.assert_close(in_units_of_X[0, 0], (x[0, 0] - 100) * 3)
    torch.testing.assert_close(columns.from_units_of_X(in_units_of_X), x)


@pytest.mark.parametrize("name", ["masking", "salt_and_pepper", "swap"])
def test_the_columns_of_a_category_are_replaced_together(name, global_random_seed):
    rng = make_rng(global_random_seed)
    x = torch.rand(400, 5, generator=rng) + 1
    feature = torch.tensor([0, 1, 1, 1, 2])
    ones = torch.ones(5)
    columns = ColumnStatistics(0 * ones, 0 * ones, 3 * ones, ones[0], ones[0], feature)
    changed = CORRUPTIONS[name](x, 0.5, columns, rng) != x
    assert (changed[:, 1] == changed[:, 2]).all()
    assert (changed[:, 1] == changed[:, 3]).all()
    assert 0.4 < changed.float().mean() < 0.6
    assert (changed[:, 0] != changed[:, 1]).any()
