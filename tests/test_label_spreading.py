import numpy as np
import pytest

from skae._semi_supervised.label_spreading import (
    ALPHA,
    N_ITERATIONS,
    normalized_affinity,
    pseudo_label,
    spread_labels,
)


@pytest.fixture
def rng(global_random_seed):
    return np.random.RandomState(global_random_seed)


def test_pseudo_labels_are_the_largest_balanced_sums_over_paths_to_the_labels(rng):
    codes = rng.normal(size=(300, 2))
    # Labels of the first class are at the rim, those of the second at the centre.
    order = np.argsort(-np.linalg.norm(codes, axis=1))
    labels = np.full(300, -1)
    labels[order[:3]], labels[order[-3:]] = 0, 1
    A = ALPHA * normalized_affinity(codes, 8).toarray()
    Y = np.eye(2)[labels] * (labels >= 0)[:, None]
    # The geometric series I + A + ... + A^n, times Y.
    power = np.linalg.matrix_power(A, N_ITERATIONS + 1)
    F = np.linalg.solve(np.eye(300) - A, (np.eye(300) - power) @ Y)
    expected = (F * Y.sum(axis=0) / F.sum(axis=0)).argmax(axis=1)
    pseudo_labels = spread_labels(codes, labels, 8)
    np.testing.assert_array_equal(pseudo_labels, expected)
    assert (pseudo_labels != F.argmax(axis=1)).any()


def test_many_classes_are_spread_in_parts_with_the_same_result(rng, monkeypatch):
    codes = rng.normal(size=(300, 2))
    labels = np.append(np.arange(7), rng.randint(-20, 7, size=293).clip(-1))
    expected = spread_labels(codes, labels, 8)
    for n_classes in (1, 3):
        monkeypatch.setattr(
            "skae._semi_supervised.label_spreading.MAX_ENTRIES", n_classes * len(codes)
        )
        np.testing.assert_array_equal(spread_labels(codes, labels, 8), expected)


def test_the_affinity_is_symmetric_and_scale_invariant_and_contracting(rng):
    codes = rng.normal(size=(50, 3))
    S = normalized_affinity(codes, 5)
    np.testing.assert_allclose(S.toarray(), S.toarray().T, atol=1e-12)
    np.testing.assert_allclose(
        normalized_affinity(1e6 * codes, 5).toarray(), S.toarray(), atol=1e-9
    )
    assert abs(np.linalg.eigvalsh(S.toarray())).max() <= 1 + 1e-9  # so the iterations converge


def test_labels_are_spread_within_connected_components_only():
    codes = np.r_[np.zeros((5, 1)), np.full((5, 1), 9.0), np.full((5, 1), 99.0)]
    codes += np.arange(15)[:, None] / 1000
    labels = np.full(15, -1)
    labels[[0, 5]] = 0, 1
    np.testing.assert_array_equal(spread_labels(codes, labels, 3), [0] * 5 + [1] * 5 + [-1] * 5)


def test_duplicates_of_rows_have_the_label_of_each_other():
    codes = np.repeat([[0.0], [1.0], [5.0]], 20, axis=0)
    labels = np.full(60, -1)
    labels[[0, 20, 40]] = 0, 1, 2
    np.testing.assert_array_equal(spread_labels(codes, labels, 25), np.repeat([0, 1, 2], 20))


def test_pseudo_labels_do_not_depend_on_the_unit_of_codes(rng):
    codes = rng.randint(4, size=(60, 8)) * (np.arange(8) == 0)
    labels = np.where(np.arange(60) < 20, rng.randint(2, size=60), -1)
    smallest = np.finfo(np.float32).smallest_subnormal
    of_units = [
        pseudo_label((codes * unit).astype(np.float32), labels, np.random.RandomState(0), 5, 100)
        for unit in (1.0, smallest)
    ]
    np.testing.assert_array_equal(*of_units)
