import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from skae._imputation.masking import MaskedCells
from skae._imputation.nearest_neighbors import (
    BANDWIDTH_FACTOR,
    FILLED_WEIGHT,
    NeighborImputer,
    leave_group_out_corrections,
)


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


@pytest.fixture
def rows(rng):
    return torch.from_numpy(rng.normal(size=(80, 5)))


@pytest.fixture
def query(rng):
    """New rows, of which the last two columns are missing."""
    filled = torch.from_numpy(rng.normal(size=(30, 5)))
    missing = torch.zeros_like(filled)
    missing[:, 3:] = 1
    return filled, missing


def complete(rows):
    return NeighborImputer(rows, torch.ones_like(rows))


def test_corrections_equal_an_epanechnikov_mean_of_nearest_neighbors(rows, query):
    filled, missing = query
    corrected = complete(rows).correct(filled, missing, 4) + filled
    distances, index = NearestNeighbors(n_neighbors=30).fit(rows[:, :3]).kneighbors(filled[:, :3])
    squares = distances**2
    weights = np.maximum(1 - squares / (BANDWIDTH_FACTOR * squares[:, [4]]), 0)
    weights /= weights.sum(1, keepdims=True)
    expected = (weights[:, :, None] * rows.numpy()[index]).sum(1)
    expected = (expected + FILLED_WEIGHT * filled.numpy()) / (1 + FILLED_WEIGHT)
    np.testing.assert_allclose(corrected[:, 3:], expected[:, 3:], atol=1e-9)


def test_cells_not_observed_in_training_rows_are_not_used(rows, query):
    observed = torch.ones_like(rows)
    observed[::2, 4] = 0
    correction = NeighborImputer(rows, observed).correct(*query, 4)
    changed = rows.clone()
    changed[::2, 4] = 1e3  # would be too far away, if distances included missing cells
    torch.testing.assert_close(NeighborImputer(changed, observed).correct(*query, 4), correction)
    assert not NeighborImputer(rows, torch.zeros_like(rows)).correct(*query, 4).any()


def test_excluded_training_rows_are_left_out(rows):
    own = torch.tensor([7, 30])
    missing = torch.zeros(2, 5).double()
    missing[0, 1] = missing[1, 2] = 1
    for i, position in enumerate(own):
        row, gaps = rows[own][i : i + 1], missing[i : i + 1]
        others = [j for j in range(len(rows)) if j != position]
        expected = complete(rows[others]).correct(row, gaps, 6)
        excluded = torch.arange(80)[None] == position
        torch.testing.assert_close(complete(rows).correct(row, gaps, 6, excluded), expected)
        # When rows of `fit` are transformed, their missing cells were not observed in `fit`.
        observed = torch.ones_like(rows)
        observed[position] -= missing[i]
        torch.testing.assert_close(NeighborImputer(rows, observed).correct(row, gaps, 6), expected)


@pytest.mark.parametrize("n_groups", [20, 80])
def test_leave_group_out_corrections_exclude_the_rows_of_the_group(rows, query, n_groups):
    rows, missing = rows.float(), query[1].float()
    group = torch.arange(len(rows)) % n_groups
    filled = rows[: len(missing)]
    parts = group[: len(missing)], filled, missing, torch.zeros_like(filled), missing
    cells = MaskedCells(*(part[None] for part in parts))
    train_row = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    corrections = leave_group_out_corrections(
        complete(rows[train_row]), group[train_row], cells, [6]
    )[0]
    for i in range(len(missing)):
        others = group != group[i]
        expected = complete(rows[others]).correct(filled[[i]], missing[[i]], 6)
        # Squared distances in float32, by their expansion.
        torch.testing.assert_close(corrections[0, [i]], expected, atol=1e-4, rtol=1e-4)


def test_training_rows_at_equal_distances_have_equal_weights(query):
    filled, missing = query
    rows = filled[0].repeat(6, 1)
    # Each at distance one.
    rows[:, :3] += torch.eye(6, 3).double() + torch.eye(6, 6).double()[:, 3:]
    rows[:, 3] = torch.arange(6)
    correction = complete(rows).correct(filled[:1], missing[:1], 2)[0, 3]
    torch.testing.assert_close(correction, (2.5 - filled[0, 3]) / (1 + FILLED_WEIGHT))


def test_n_neighbors_is_limited_to_the_training_rows(rows, query):
    few = complete(rows[:3])
    correction = few.correct(*query, 30)
    assert torch.equal(correction, few.correct(*query, 3))
    assert correction[:, 3:].any()


def test_rows_are_corrected_alike_in_blocks_and_with_several_numbers(rows, query, monkeypatch):
    neighbors = complete(rows)
    expected = [neighbors.correct(*query, k) for k in (3, 10)]
    monkeypatch.setattr("skae._imputation.nearest_neighbors.BLOCK_ENTRIES", 7 * len(rows))
    torch.testing.assert_close(neighbors.correct_by_each((3, 10), *query), torch.stack(expected))
