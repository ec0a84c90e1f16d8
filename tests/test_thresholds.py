import numpy as np
import pytest
from scipy import sparse

from skae._outliers.thresholds import Parts, folds


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("groups", [None, np.arange(60) % 6])
def test_each_row_is_held_out_once_with_its_group(form, groups):
    X = form(np.arange(60.0)[:, None])
    held_out = []
    for fitted, others in folds(X, groups, 3):
        assert sorted([*fitted, *others]) == list(range(60))
        held_out.extend(others)
        if groups is not None:
            assert not set(groups[fitted]) & set(groups[others])
    assert sorted(held_out) == list(range(60))


def test_rows_of_a_fold_are_not_neighbours():
    # Rows are often sorted, by time or by class.
    for _, held_out in folds(np.zeros((300, 1)), None, 3):
        assert np.ptp(held_out) > 200


def test_too_few_rows_or_groups_for_the_folds():
    with pytest.raises(ValueError, match="`cv` must be at most 4, half of the 9 rows, got 5"):
        folds(np.zeros((9, 1)), None, 5)
    with pytest.raises(ValueError, match="at most 1, half of the 3 groups, got 2"):
        folds(np.zeros((9, 1)), np.arange(9) % 3, 2)


def test_copies_of_rows_are_in_the_folds_of_the_row(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    pairs = [(rows[:5], rows[5:8]) for rows in (rng.permutation(10) for _ in range(3))]
    parts = Parts.from_pairs(pairs, 10)
    copies = rng.randint(10, size=40)
    found = parts.folds(parts.of_row[copies])
    for (fitted, held_out), (expected, others) in zip(found, pairs, strict=True):
        np.testing.assert_array_equal(fitted, np.flatnonzero(np.isin(copies, expected)))
        np.testing.assert_array_equal(held_out, np.flatnonzero(np.isin(copies, others)))
