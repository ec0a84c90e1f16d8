"""Strings together with the number -1, which means "no label"."""

from itertools import cycle, islice

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from skae import (
    AutoencoderClassifier,
    LatentSpaceDisplay,
    SupervisedAutoencoder,
    compare_reducers,
)
from skae._inspection.labels import as_labels, as_target


def mixed(y, has_label):
    """Names of the classes, and the number -1."""
    names = np.array(["none", "one", "two"], dtype=object)[y]
    names[~has_label] = -1
    return names


@pytest.mark.parametrize("no_label", [-1, -1.0, np.int64(-1), np.float32(-1)])
def test_the_number_is_no_class_among_strings(no_label):
    labels, has_label = as_labels(np.array(["a", no_label, "b"], dtype=object))
    assert has_label.tolist() == [True, False, True]
    assert labels[has_label].tolist() == ["a", "b"]
    assert np.unique(labels).size == 3


@pytest.mark.parametrize(
    "y",
    [
        np.array([-1, 0, 1]),
        np.array([-1, 0, 1], dtype=object),
        np.array(["-1", "a"]),
        np.array(["-1", "a"], dtype=object),
        np.array([[-1.0, 2.0]]),
    ],
)
def test_other_labels_are_returned_as_they_are(y):
    labels, has_label = as_labels(y)
    assert labels is y
    assert has_label.all()


def test_scores_of_codes_are_those_of_the_rows_with_labels(digits):
    y = np.arange(len(digits)) % 3
    train, test = np.arange(0, len(digits), 2), np.arange(1, len(digits), 2)
    has_label = np.arange(len(digits)) % 5 < 2
    options = {"cv": [(train, test)], "downstream": LogisticRegression(max_iter=2000)}
    scores = compare_reducers({"pca": PCA(2)}, digits, mixed(y, has_label), **options)
    codes = PCA(2).fit(digits[train]).transform(digits)
    train, test = train[has_label[train]], test[has_label[test]]
    model = options["downstream"].fit(codes[train], y[train])
    assert scores.mean()["pca"].downstream_score == model.score(codes[test], y[test])


def test_reducers_and_folds_take_rows_without_labels(digits, small):
    y = mixed(np.arange(len(digits)) % 3, np.arange(len(digits)) % 5 < 2)
    reducers = {"classifier": small(AutoencoderClassifier, max_iter=1)}
    comparison = compare_reducers(reducers, digits, y, n_neighbors=3, random_state=0)
    assert 0 <= comparison.mean()["classifier"].knn_score <= 1


def test_a_display_has_a_marker_for_rows_without_a_label(digits):
    y = mixed(np.arange(len(digits)) % 3, np.arange(len(digits)) % 5 < 2)
    display = LatentSpaceDisplay.from_estimator(PCA(2).fit(digits), digits, y)
    assert [points.get_label() for points in display.points_] == ["-1", "none", "one", "two"]
    assert sum(len(points.get_offsets()) for points in display.points_) == len(digits)


MISSING = [None, np.nan, np.float32("nan"), pd.NA, pd.NaT, np.ma.masked]


@pytest.mark.parametrize("missing", MISSING, ids=repr)
@pytest.mark.parametrize("label", [1, 1.5, "a", pd.Timestamp("2020")])
def test_missing_entries_are_refused(missing, label):
    y = np.ma.array([label] * 4, mask=np.arange(4) == 1)
    if missing is not np.ma.masked:
        y = np.array([label, missing, label, label], dtype=object)
    with pytest.raises(ValueError, match="`y` must not have missing entries"):
        as_target(y)
    X = np.eye(4)
    with pytest.raises(ValueError, match="`y` must not have missing labels"):
        AutoencoderClassifier().fit(X, y)


@pytest.mark.parametrize("y", [[1, "a"], [object(), object()], [1j, 1], [True, "a"]])
def test_labels_that_cannot_be_compared_are_refused(y):
    types = " and ".join(sorted({type(label).__name__ for label in y}))
    with pytest.raises(TypeError, match=f"`y` must have labels .* got {types}"):
        as_target(np.array(y, dtype=object))


@pytest.mark.parametrize("y", [[1, 2], [1.5, np.inf], ["a", "b"], [[1, 2], [3, 4]], [True, False]])
def test_labels_that_can_be_compared_are_an_array(y):
    np.testing.assert_array_equal(as_target(y), y)


def test_complex_numbers_are_no_labels():
    with pytest.raises(ValueError, match="`y` must be labels or real numbers"):
        as_target(np.array([1.0, 2j]))


@pytest.mark.parametrize("labels", [[1, 2, -1], [True, False, True], [0, 3, 3]])
def test_numbers_as_objects_are_the_same_labels(digits, small, labels):
    y = np.array(labels * 20)
    classifier = small(AutoencoderClassifier, max_iter=1).fit(digits[:60], y)
    of_objects = clone(classifier).fit(digits[:60], y.astype(object))
    assert of_objects.classes_.dtype == classifier.classes_.dtype
    np.testing.assert_array_equal(of_objects.classes_, classifier.classes_)
    np.testing.assert_array_equal(
        of_objects.predict_proba(digits), classifier.predict_proba(digits)
    )


@pytest.mark.parametrize("cls", [AutoencoderClassifier, SupervisedAutoencoder])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "a"], "`y` must hold either numbers or strings as labels, got 1 and 'a'"),
        ([2**70, 1], "`y` must hold strings or numbers of at most 64 bits as labels, got 1180"),
        ([{}, {1: 2}], "`y` must hold "),
        ([(1, 2), (3,)], "`y` must hold "),
        ([[1], [2]], "`y` must hold "),
        ([b"a", b"b", -1], "`y` must hold strings or numbers .* got b'a'"),
    ],
)
def test_labels_that_have_no_common_order_are_named(digits, small, cls, labels, message):
    y = np.empty(60, dtype=object)
    y[:] = list(islice(cycle(labels), 60))
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        small(cls, max_iter=1).fit(digits[:60], y)
