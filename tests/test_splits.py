"""Folds of a comparison: pairs of row numbers, and errors that name `cv`."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from skae._data.splits import FOLDS, make_splits

N_ROWS = 30


def splits_of(cv, y=None, groups=None, random_state=0):
    classes = y is not None
    return make_splits(cv, np.zeros((N_ROWS, 2)), y, groups, classes, random_state)


@pytest.mark.parametrize("kind", FOLDS)
def test_each_row_is_in_one_test_part(kind, global_random_seed):
    has_classes, has_groups = kind
    y = np.arange(N_ROWS) % 2 if has_classes else None
    groups = np.arange(N_ROWS) % 10 if has_groups else None
    splits = splits_of(3, y, groups, random_state=global_random_seed)
    assert len(splits) == 3
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(N_ROWS))
    assert all(len(set(train) & set(test)) == 0 for train, test in splits)


@pytest.mark.parametrize(
    "cv",
    [
        None,
        np.int8(2),
        KFold(2),
        StratifiedKFold(2),
        GroupKFold(2),
        [(range(10), range(10, 30))],
        [([-1], [0])],
        [(np.arange(N_ROWS) < 9, np.arange(N_ROWS) > 8)],
        (pair for pair in [([1, 2], [3])]),
    ],
    ids=lambda cv: type(cv).__name__,
)
@pytest.mark.filterwarnings("ignore:The groups parameter is ignored")
def test_splits_are_pairs_of_row_numbers(cv):
    for pair in splits_of(cv, np.arange(N_ROWS) % 2, np.arange(N_ROWS) % 5):
        for rows in pair:
            assert rows.dtype.kind == "i"
            assert len(np.zeros(N_ROWS)[rows]) == len(rows) > 0


@pytest.mark.parametrize(
    "cv",
    [
        0, 1, -3, True, 2.5, "three", 31, [], [()], [(1, 2, 3)], [([0], [30])], [([0], [-31])],
        [([0.0], [1.0])], [([], [0])], [([0], [])], [([[0]], [1])], [(["a"], [0])], [(None, [1])],
        [(np.ones(3, bool), [0])], GroupKFold(2),
    ],
    ids=str,
)  # fmt: skip
def test_errors_name_the_parameter(cv):
    with pytest.raises((TypeError, ValueError), match="`cv`"):
        splits_of(cv)


@pytest.mark.parametrize("cv", [[None], [()], [(1, 2, 3)], [0, 1], [[0]], ["abc"]], ids=str)
def test_entries_that_are_no_pairs_are_named(cv):
    with pytest.raises(TypeError, match="`cv` must have pairs of row numbers, got"):
        splits_of(cv)


@pytest.mark.parametrize("cv", [torch.tensor(8), torch.tensor([8]), "8", b"8"], ids=repr)
def test_what_has_another_method_split_is_no_splitter(cv):
    with pytest.raises(TypeError, match="`cv` must be None or an integer >= 2 or a cross-valid"):
        splits_of(cv)


@pytest.mark.parametrize("seed", ["a", -1, 2**32, 1.5, np.random.default_rng(0)], ids=str)
def test_a_random_state_that_is_no_seed_is_refused(seed):
    with pytest.raises((TypeError, ValueError), match="`random_state` must be"):
        splits_of(3, random_state=seed)


def test_the_error_of_row_numbers_has_the_allowed_ones():
    with pytest.raises(ValueError, match=r"`cv` must have row numbers from 0 to 29, got 0 to 30\."):
        splits_of([([0], [0, 30])])
