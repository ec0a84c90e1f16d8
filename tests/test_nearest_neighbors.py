import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from skae._imputation.nearest_neighbors import BEYOND, OWN_WEIGHT, NeighborImputer


@pytest.fixture
def rows():
    return torch.from_numpy(np.random.RandomState(0).normal(size=(80, 5)))


@pytest.fixture
def asked(rows):
    """Rows that are not remembered, and the last two columns unseen."""
    filled = torch.from_numpy(np.random.RandomState(1).normal(size=(30, 5)))
    unseen = torch.zeros_like(filled)
    unseen[:, 3:] = 1
    return filled, unseen


def test_near_rows_speak_as_of_nearest_neighbours(rows, asked):
    filled, unseen = asked
    told = NeighborImputer(rows, torch.ones_like(rows)).correct(filled, unseen, 4) + filled
    distances, index = NearestNeighbors(n_neighbors=20).fit(rows[:, :3]).kneighbors(filled[:, :3])
    squares = distances**2
    weights = np.maximum(1 - squares / (BEYOND * squares[:, [4]]), 0)
    weights /= weights.sum(1, keepdims=True)
    expected = (weights[:, :, None] * rows.numpy()[index]).sum(1)
    expected = (expected + OWN_WEIGHT * filled.numpy()) / (1 + OWN_WEIGHT)
    np.testing.assert_allclose(told[:, 3:], expected[:, 3:], atol=1e-9)


def test_a_cell_that_was_not_observed_is_not_recalled(rows, asked):
    filled, unseen = asked
    observed = torch.ones_like(rows)
    observed[::2, 4] = 0
    memory = NeighborImputer(rows, observed)
    changed = rows.clone()
    changed[::2, 4] = 1e3  # too far to be near, if it counted in distances
    told = memory.correct(filled, unseen, 4)
    torch.testing.assert_close(NeighborImputer(changed, observed).correct(filled, unseen, 4), told)
    none = NeighborImputer(rows, torch.zeros_like(rows)).correct(filled, unseen, 4)
    assert not none.any()


def test_a_remembered_row_is_told_as_if_it_were_not_remembered(rows):
    own = torch.tensor([7, 30])
    unseen = torch.zeros(2, 5).double()
    unseen[0, 1] = unseen[1, 2] = 1
    whole = NeighborImputer(rows, torch.ones_like(rows))
    for i, place in enumerate(own):
        one = slice(i, i + 1)
        left = [j for j in range(len(rows)) if j != place]
        rest = NeighborImputer(rows[left], torch.ones_like(rows[left]))
        torch.testing.assert_close(
            whole.correct(rows[own][one], unseen[one], 6, torch.arange(80)[None] == place),
            rest.correct(rows[own][one], unseen[one], 6),
        )
        # In `transform` of the rows of `fit`, the cell that is asked for was not observed.
        observed = torch.ones_like(rows)
        observed[place] -= unseen[i]
        lacking = NeighborImputer(rows, observed).correct(rows[own][one], unseen[one], 6)
        torch.testing.assert_close(lacking, rest.correct(rows[own][one], unseen[one], 6))


def test_rows_that_are_equally_far_weigh_alike(asked):
    filled, unseen = asked
    rows = filled[0].repeat(6, 1)
    rows[:, :3] += torch.eye(6, 3).double() + torch.eye(6, 6).double()[:, 3:]  # each one unit away
    rows[:, 3] = torch.arange(6)
    told = NeighborImputer(rows, torch.ones_like(rows)).correct(filled[:1], unseen[:1], 2)[0, 3]
    expected = (2.5 - filled[0, 3]) / (1 + OWN_WEIGHT)
    torch.testing.assert_close(told, expected)


def test_more_neighbours_than_rows_are_all_of_them(rows, asked):
    memory = NeighborImputer(rows[:3], torch.ones_like(rows[:3]))
    told, all_three = (memory.correct(*asked, n) for n in (30, 3))
    assert torch.equal(told, all_three)
    assert told[:, 3:].any()
