"""Training rows of an outlier detector, and scores by an autoencoder that is fitted to them."""

import numpy as np
import pytest
from sklearn.base import clone

from skae import DenoisingEnsemble
from skae._outliers.outlier_scores import (
    OutlierScores,
    TrainingRows,
    concentration_step,
    fit_scores,
    held_out_scores,
)


@pytest.fixture
def rows(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    return TrainingRows(rng.normal(size=(40, 3)), np.arange(40) // 4, rng.uniform(size=40) < 0.2)


@pytest.fixture
def unfitted(global_random_seed):
    return DenoisingEnsemble(n_steps=5, random_state=global_random_seed)


def test_known_outliers_stay_with_some_of_the_other_rows(rows, global_random_seed):
    others = rows.others()
    some = np.random.RandomState(global_random_seed).permutation(others.n)[7:]
    kept = rows.with_some(some)
    assert kept.n == 33
    assert kept.is_outlier.sum() == rows.is_outlier.sum()
    np.testing.assert_array_equal(kept.others().X, others.X[np.sort(some)])
    np.testing.assert_array_equal(kept.others().groups, others.groups[np.sort(some)])
    unlabelled = rows._replace(is_outlier=None)
    np.testing.assert_array_equal(unlabelled.with_some(some).X, rows.X[np.sort(some)])


def test_rows_without_entries_are_left_out_with_their_labels(rows):
    rows.X[[3, 8]], rows.X[5, 0] = np.nan, np.nan
    kept, weights = rows.with_entries(np.arange(float(rows.n)))
    np.testing.assert_array_equal(kept.groups, np.delete(rows.groups, [3, 8]))
    np.testing.assert_array_equal(kept.is_outlier, np.delete(rows.is_outlier, [3, 8]))
    np.testing.assert_array_equal(weights, np.delete(np.arange(rows.n), [3, 8]))
    assert kept.n == 38


def test_scores_of_blocks_are_those_of_all_rows(rows, unfitted, monkeypatch):
    scores = OutlierScores.fit(unfitted, rows)
    expected = scores.contributions(rows.X).sum(axis=1)
    monkeypatch.setattr(
        "skae._outliers.outlier_scores.row_blocks",
        lambda X, times: [slice(0, 7), slice(7, 40)],
    )
    np.testing.assert_allclose(scores.of(rows.X), expected)


def test_the_second_fit_is_to_the_half_with_the_highest_scores(rows, unfitted):
    rows = rows._replace(is_outlier=None)
    first = OutlierScores.fit(clone(unfitted), rows).of(rows.X)
    half = concentration_step(first)
    assert len(half) == 20
    assert first[half].min() >= np.delete(first, half).max()
    expected = clone(unfitted).fit(rows.X[half]).score_samples(rows.X)
    got = fit_scores(unfitted, has_no_outliers=False, rows=rows).of(rows.X)
    np.testing.assert_allclose(got, expected)


def test_held_out_rows_are_scored_by_fits_to_the_others(rows):
    fitted = []

    class Recorded:
        def __init__(self, part):
            fitted.append(part)

        def of(self, X):
            assert not set(map(tuple, X)) & set(map(tuple, fitted[-1].X))
            return X[:, 0]

    scores = held_out_scores(Recorded, rows, 3)
    np.testing.assert_array_equal(scores, rows.others().X[:, 0])
    assert [part.is_outlier.sum() for part in fitted] == [rows.is_outlier.sum()] * 3
