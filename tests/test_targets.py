"""Targets of rows: classes or numbers, of which some may be missing."""

import numpy as np
import pandas as pd
import pytest
import torch

from skae._data.targets import make_targets


def targets(y, kind="auto"):
    return make_targets([y, None], [len(y)], kind)


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, -1, 1],
        np.array([0, 1, -1, 1]),
        [0, 1, None, 1],
        ["a", "b", None, "b"],
        np.array(["a", "b", -1, "b"], dtype=object),
        np.array(["a", "b", np.nan, "b"], dtype=object),
        pd.Series([0, 1, None, 1], dtype="Int64"),
        np.ma.array([0, 1, 1, 1], mask=[False, False, True, False]),
        np.array([[0], [1], [-1], [1]]),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.filterwarnings("ignore:`y` has no values but")
def test_classes_become_indices(y):
    found = targets(y)
    assert found.n_classes == found.n_outputs == 2
    np.testing.assert_array_equal(found.values, [[0], [1], [np.nan], [1]])


@pytest.mark.parametrize(
    "y", [[0.5, 2.0, np.nan], [0.5, 2.0, None], np.array([0.5, 2, np.nan], dtype=np.float32)]
)
def test_floats_are_numbers(y):
    found = targets(y)
    assert found.n_classes is None
    np.testing.assert_array_equal(found.values, [[0.5], [2.0], [np.nan]])


def test_the_kind_may_be_given():
    assert targets([0, 1, 2], "regression").n_classes is None
    assert targets([0.0, 1.0, np.nan], "classification").n_classes == 2
    found = targets(np.arange(6).reshape(3, 2))
    assert found.n_classes is None
    assert found.n_outputs == 2


def test_without_a_target_there_are_none():
    assert targets([np.nan, np.nan]) is None


def test_held_out_targets_have_the_classes_of_the_others():
    found = make_targets([["a", "b", "c"], ["c", None]], [3, 2], "auto")
    np.testing.assert_array_equal(found.held_out, [[2], [np.nan]])
    np.testing.assert_array_equal(make_targets([[0, 1], None], [2, 1], "auto").held_out, [[np.nan]])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([[0, 1, 2], None], r"`y` must have shape \(2,\)"),
        ([[1, 1], None], "`y` must have at least two classes"),
        ([[0.1, np.inf], None], "y contains infinity"),
        ([[0, 1j], None], "`y` must hold numbers or strings"),
        ([["a", 0.5], None], "`y`: could not convert string to float: 'a'"),
        ([[0.5, 1], ["a", "b"]], "`y_val`: could not convert"),
        ([[0, 1], [[0, 1], [1, 0]]], "`y_val`: y should be a 1d array"),
        ([[0, 1], [2, 0]], "`y_val` must have labels of `y`, got 2"),
        ([[0.5, 1], np.ones((2, 2))], "`y_val` must have 1 columns"),
    ],
)
def test_other_targets_are_errors(parts, message):
    with pytest.raises(ValueError, match=message):
        make_targets(parts, [2, 2], "auto")


@pytest.mark.parametrize("kind", ["auto", "classification", "regression"])
@pytest.mark.parametrize(
    "y", [torch.ones(2, dtype=torch.bfloat16), np.zeros(2, "V3"), np.zeros(2, "f8,f8")], ids=repr
)
def test_arrays_of_other_things_than_numbers_are_no_targets(kind, y):
    with pytest.raises(TypeError, match=r"`y` must .*numbers or strings"):
        make_targets([y, None], [2], kind)


@pytest.mark.parametrize("kind", ["auto", "classification", "regression"])
@pytest.mark.parametrize("unit", ["D", "ns"])
def test_dates_are_no_targets(kind, unit):
    y = np.array(["2020", "NaT"], dtype=f"M8[{unit}]")
    for dates in (y, y - y[0], pd.Series(y), y.tolist() if unit == "D" else list(y)):
        with pytest.raises(TypeError, match="`y` must hold numbers or strings, got dates"):
            targets(dates, kind)


def test_rows_have_equal_numbers_if_their_targets_are_equal():
    found = targets([0.0, -0.0, np.nan, np.nan, 1.0])
    numbers = found.number_rows(None)
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3] != numbers[4]
    with_others = found.number_rows(np.array([0, 1, 0, 0, 0]))
    assert with_others[0] != with_others[1]
    assert with_others[2] == with_others[3]
