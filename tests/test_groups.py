"""Groups of rows: which rows are held out together, and their folds."""

import numpy as np
import pandas as pd
import pytest
import torch

from skae._data.groups import RowGroups


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


def split(labels, n_rows, rng):
    groups = RowGroups.from_labels(labels, len(labels))
    return groups.hold_out(n_rows, rng.permutation(len(groups.labels)))


@pytest.mark.parametrize("n_groups", [2, 3, 10, 100])
@pytest.mark.parametrize("n_held_out", [1, 50, 250, 499])
def test_each_row_is_in_one_part_and_each_group_too(n_groups, n_held_out, rng):
    labels = rng.randint(n_groups, size=500)
    train, held_out = split(labels, n_held_out, rng)
    assert sorted([*train, *held_out]) == list(range(500))
    assert len(train) > 0
    assert len(held_out) > 0
    assert not set(labels[train]) & set(labels[held_out])


def test_the_number_of_held_out_rows_differs_by_at_most_half_a_group(rng):
    labels = np.repeat(np.arange(40), 25)
    _, held_out = split(labels, 110, rng)
    assert len(held_out) == 100


@pytest.mark.parametrize("n_held_out", [1, 100, 899])
def test_a_group_of_more_than_half_of_the_rows_is_for_training(n_held_out, rng):
    labels = rng.permutation(np.repeat(["most", "some", "few"], [600, 250, 50]))
    train, _ = split(labels, n_held_out, rng)
    assert "most" in labels[train]


def test_of_groups_that_are_all_too_large_the_smallest_is_held_out(rng):
    labels = rng.permutation(np.repeat([0, 1, 2], [40, 30, 35]))
    _, held_out = split(labels, 5, rng)
    assert set(labels[held_out]) == {1}


def test_groups_of_one_row_are_split_as_the_permutation_of_rows(rng):
    order = rng.permutation(100)
    train, held_out = RowGroups.from_labels(range(100), 100).hold_out(17, order)
    np.testing.assert_array_equal(held_out, order[:17])
    np.testing.assert_array_equal(train, order[17:])


def test_every_group_is_held_out_at_times(rng):
    labels = np.repeat(np.arange(10), rng.randint(20, 30, size=10))
    held_out = [labels[split(labels, 25, rng)[1]] for _ in range(200)]
    assert set(np.concatenate(held_out)) == set(range(10))


GROUPS = [0, 1, 0, 2, 1]


@pytest.mark.parametrize(
    "labels",
    [
        GROUPS,
        tuple(GROUPS),
        np.array(GROUPS),
        np.array(GROUPS, dtype=float),
        np.array([np.nan, 1, np.nan, 2, 1]),
        np.array([None, 1, None, np.nan, 1], dtype=object),
        [float("nan"), "b", np.float32("nan"), None, "b"],
        ["x", "y", "x", "z", "y"],
        np.array(["x", "y", "x", "z", "y"]),
        [("a", 1), ("a", 2), ("a", 1), ("b", 1), ("a", 2)],
        np.array(["2020-01", "2020-02", "2020-01", "2021-01", "2020-02"], dtype="datetime64[s]"),
        torch.tensor(GROUPS),
        pd.Series(GROUPS, index=[7, 7, 8, 9, 1]),
        pd.Series(["x", pd.NA, "x", "z", pd.NA], dtype="string"),
        pd.Categorical(["x", None, "x", "z", None]),
    ],
    ids=lambda labels: f"{type(labels).__name__} {list(labels)}",
)
def test_only_which_labels_are_equal_matters(labels):
    groups = RowGroups.from_labels(labels, 5)
    assert groups.of_row.tolist() == GROUPS
    assert len(groups.labels) == 3


def test_groups_of_several_parts_are_those_of_all_rows():
    labels = ["a", np.nan, "b", "b", float("nan"), "c", "a"]
    parts = [RowGroups.from_labels(part, len(part)) for part in (labels[:3], labels[3:])]
    joined, whole = RowGroups.concatenate(parts), RowGroups.from_labels(labels, 7)
    np.testing.assert_array_equal(joined.of_row, whole.of_row)


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([1, 2], ValueError, "`groups` must have a label for each of the 3 rows of `X`, got 2"),
        (np.ones((3, 1)), ValueError, r"`groups` must have shape \(n_samples,\), got \(3, 1\)"),
        (np.array(1), ValueError, r"`groups` must have shape \(n_samples,\), got \(\)"),
        ("abc", TypeError, "`groups` must be array-like"),
        (3, TypeError, "`groups` must be array-like"),
        ({"a", "b", "c"}, TypeError, "`groups` must be array-like"),
        ({0: "a", 1: "b", 2: "c"}, TypeError, "`groups` must be array-like"),
        ([[1], [2], [3]], TypeError, "labels in `groups` must be hashable"),
        (torch.zeros(3, device="meta"), TypeError, "`groups` must have entries, got tensor"),
    ],
)
def test_groups_that_are_no_labels_of_the_rows_are_errors(groups, error, message):
    with pytest.raises(error, match=message):
        RowGroups.from_labels(groups, 3)


def test_a_single_group_cannot_be_held_out(rng):
    with pytest.raises(ValueError, match=r"`groups` must have at least two groups.*got 1"):
        split(["a"] * 10, 2, rng)


def test_folds_hold_whole_groups_and_have_nearly_equal_sizes(rng):
    labels = rng.randint(60, size=1000)
    groups = RowGroups.from_labels(labels, 1000)
    fold = groups.folds(5, rng.permutation(len(groups.labels)))
    assert all(len(set(fold[labels == label])) == 1 for label in labels)
    assert np.ptp(np.bincount(fold)) <= np.bincount(labels).max()


def test_a_large_group_is_balanced_by_many_small_ones(rng):
    labels = rng.permutation(np.r_[np.full(50, -1), np.arange(50)])
    fold = RowGroups.from_labels(labels, 100).folds(2, rng.permutation(51))
    assert np.bincount(fold).tolist() == [50, 50]


def test_folds_of_groups_of_one_row_follow_the_order(rng):
    order = rng.permutation(100)
    fold = RowGroups.from_labels(range(100), 100).folds(5, order)
    np.testing.assert_array_equal(fold[order], np.arange(100) % 5)


def test_fewer_groups_than_folds_are_an_error(rng):
    with pytest.raises(ValueError, match="`groups` must have at least 5 groups"):
        RowGroups.from_labels([1, 2, 3, 4], 4).folds(5, rng.permutation(4))
