"""Each kind of noise does what it says, to what it should, from the generator it is given."""

import pytest
import torch

from skae._losses.corruption import CORRUPTIONS, Columns

N_ROWS, N_FEATURES = 20_000, 5
REPLACING = sorted(set(CORRUPTIONS) - {"gaussian"})


@pytest.fixture
def x():
    """Rows on a scale of their own for each column, all entries different."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(N_ROWS, N_FEATURES, generator=generator, dtype=torch.float64)
    return rows * torch.arange(1.0, 6.0)


@pytest.fixture
def columns(x):
    """Zero of X lies at 100, far from all rows, and a unit of the network is three of X."""
    zero = torch.full((N_FEATURES,), 100.0, dtype=torch.float64)
    return Columns(zero, x.amin(0), x.amax(0), torch.tensor(2.0), torch.tensor(3.0))


def corrupt(kind, x, level, columns, seed=0):
    return CORRUPTIONS[kind](x, level, columns, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_level_zero_changes_no_bit(kind, x, columns):
    assert torch.equal(corrupt(kind, x, 0.0, columns), x)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_chance_comes_from_the_generator_alone(kind, x, columns):
    first = corrupt(kind, x, 0.5, columns)
    torch.randn(3)
    assert torch.equal(corrupt(kind, x, 0.5, columns), first)
    assert not torch.equal(corrupt(kind, x, 0.5, columns, seed=1), first)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_what_is_missing_stays_missing_and_nothing_else_is(kind, x, columns):
    x[::3, 1] = torch.nan
    assert torch.equal(corrupt(kind, x, 0.7, columns).isnan(), x.isnan())


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_batch_itself_is_left_alone(kind, x, columns):
    before = x.clone()
    corrupt(kind, x, 0.5, columns)
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", REPLACING)
@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
def test_the_level_is_the_share_of_entries_replaced(kind, x, columns, level):
    share = (corrupt(kind, x, level, columns) != x).double().mean(0)
    # Five standard deviations of a share of 20,000.
    assert (share - level).abs().max() <= 5 * (level * (1 - level) / N_ROWS) ** 0.5 + 1e-4


def test_gaussian_noise_is_the_same_in_all_columns(x, columns):
    added = corrupt("gaussian", x, 0.5, columns) - x
    # Level 0.5 of a spread of 2; the standard error of a standard deviation is 1 / sqrt(2 n).
    assert (added.std(0) - 1.0).abs().max() < 5 / (2 * N_ROWS) ** 0.5
    assert added.mean(0).abs().max() < 5 / N_ROWS**0.5


def test_masked_entries_are_zero_in_the_units_of_X(x, columns):
    masked = corrupt("masking", x, 0.5, columns)
    replaced = masked != x
    assert (columns.to_units_of_X(masked)[replaced] == 0).all()


def test_salt_and_pepper_is_a_fair_coin_between_the_extremes(x, columns):
    noisy = corrupt("salt_and_pepper", x, 1.0, columns)
    salt, pepper = noisy == columns.high, noisy == columns.low
    assert (salt | pepper).all()
    assert (salt.double().mean(0) - 0.5).abs().max() < 5 * 0.5 / N_ROWS**0.5


def test_swapping_all_entries_permutes_each_column(x, columns):
    swapped = corrupt("swap", x, 1.0, columns)
    assert torch.equal(swapped.sort(0).values, x.sort(0).values)
    assert (swapped != x).all()


def test_swapping_parts_what_belongs_together(columns):
    same = torch.arange(float(N_ROWS))[:, None].expand(N_ROWS, N_FEATURES)
    swapped = corrupt("swap", same, 1.0, columns)
    assert (swapped[:, 0] != swapped[:, 1]).all()


def test_no_row_swaps_with_itself(columns):
    few = torch.arange(3.0)[:, None].expand(3, N_FEATURES)
    assert all((corrupt("swap", few, 1.0, columns, seed) != few).all() for seed in range(10))


def test_a_row_alone_has_nothing_to_swap_with(x, columns):
    assert torch.equal(corrupt("swap", x[:1], 1.0, columns), x[:1])


def test_units_of_X_and_back(x, columns):
    there = columns.to_units_of_X(x)
    torch.testing.assert_close(there[0, 0], (x[0, 0] - 100) * 3)
    torch.testing.assert_close(columns.from_units_of_X(there), x)
