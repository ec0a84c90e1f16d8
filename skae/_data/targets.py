"""Targets of rows: classes or numbers, of which some may be missing."""

from collections.abc import Sequence
from datetime import date, time, timedelta
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array, column_or_1d

from .frames import is_missing
from .labels import UNLABELED, encode_labels
from .rows import array_of_target, naming


class Targets(NamedTuple):
    """The targets of the training rows, and of the rows of `X_val` if there are any.

    Numbers are as given. A class is its index: indicators of many classes would be large. NaN marks
    targets that are missing.
    """

    values: np.ndarray  # (n_samples, n_targets), or (n_samples, 1) for classes
    n_classes: int | None = None  # None if the targets are numbers
    held_out: np.ndarray | None = None  # the same as `values`, for X_val

    @property
    def n_outputs(self) -> int:
        """The number of outputs of a prediction: the targets, or the classes."""
        return self.values.shape[1] if self.n_classes is None else self.n_classes

    def take(self, index: np.ndarray) -> "Targets":
        """The targets of some of the training rows, and all of the others."""
        return self._replace(values=self.values[index])

    def number_rows(self, others: np.ndarray | None) -> np.ndarray:
        """A number for each row, which is equal if the targets and the other number are equal."""
        # One kind of NaN, and no negative zero.
        values = np.where(np.isnan(self.values), np.nan, self.values + 0.0)
        if others is not None:
            values = np.column_stack([values, others])
        as_bytes = np.ascontiguousarray(values).view(f"V{8 * values.shape[1]}")
        return np.unique(as_bytes[:, 0], return_inverse=True)[1]


def make_targets(parts: Sequence[Any], lengths: Sequence[int], kind: str) -> Targets | None:
    """The targets of the training rows, and of held-out rows if `lengths` has two numbers.

    The second part may be None: then all of these are missing. `kind` is "classification",
    "regression" or "auto", which means regression for floats and for several columns. The result is
    None if no training row has a target.
    """
    names = [name for name, y in zip(("y", "y_val"), parts, strict=True) if y is not None]
    given = [_checked(*arguments) for arguments in zip(parts, lengths, names, strict=False)]
    are_classes = not _are_numbers(given[0]) if kind == "auto" else kind == "classification"
    if are_classes:
        values, n_classes = _class_indices(given, names)
    else:
        values, n_classes = _numbers(given, names), None
    if np.isnan(values[0]).all():
        return None
    if len(lengths) > len(given):
        values.append(np.full((lengths[1], values[0].shape[1]), np.nan))
    return Targets(values[0], n_classes, *values[1:])


def _checked(y: Any, n_rows: int, name: str) -> np.ndarray:
    """A target as an array of `n_rows` rows."""
    if isinstance(y, np.ma.MaskedArray) and np.ma.is_masked(y):
        y = np.ma.filled(y.astype(object), np.nan)
    if hasattr(y, "to_list"):  # a column of a frame: NumPy has no integers with missing entries
        y = y.to_list()
    y = array_of_target(y, name)
    if y.ndim not in (1, 2) or len(y) != n_rows:
        raise ValueError(
            f"`{name}` must have shape ({n_rows},) or ({n_rows}, n_targets), one entry for each "
            f"row, got {y.shape}."
        )
    if y.dtype.kind == "c" or (y.dtype == object and any(isinstance(v, complex) for v in y.flat)):
        raise ValueError(f"`{name}` must hold numbers or strings: Complex data not supported.")
    if y.dtype.kind in "mM" or (y.dtype == object and any(map(_is_date, y.flat))):
        raise TypeError(f"`{name}` must hold numbers or strings, got dates: convert them first.")
    return y


def _is_date(entry: Any) -> bool:
    return isinstance(entry, date | time | timedelta | np.datetime64 | np.timedelta64)


def _are_numbers(y: np.ndarray) -> bool:
    """Whether targets are numbers, not classes: floats, or several columns."""
    if y.dtype == object:
        known = [v for v in y.flat if not is_missing(v)]
        return not known or any(isinstance(v, float | np.floating) for v in known)
    return y.dtype.kind == "f" or (y.ndim == 2 and y.shape[1] > 1)


def _numbers(given: list[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
    """Numbers as floats, (n_samples, n_targets)."""
    options = {"dtype": np.float64, "ensure_2d": False, "ensure_all_finite": "allow-nan"}
    values = []
    for y, name in zip(given, names, strict=True):
        if y.dtype == object:
            missing = np.array([is_missing(v) for v in y.flat], dtype=bool)
            y = np.where(missing.reshape(y.shape), np.nan, y)
        with naming(name):
            y = check_array(y, input_name=name, **options)
        values.append(y.reshape(len(y), -1))
    n_targets = values[0].shape[1]
    n_val_targets = values[-1].shape[1]
    if n_val_targets != n_targets:
        raise ValueError(f"`y_val` must have {n_targets} columns, as `y`, got {n_val_targets}.")
    return values


def _class_indices(given: list[np.ndarray], names: Sequence[str]) -> tuple[list[np.ndarray], int]:
    """The indices of classes as floats, (n_samples, 1), and the number of classes."""
    labels = []
    for y, name in zip(given, names, strict=True):
        with naming(name):
            labels.append(_labels(y))
    with naming(names[0]):
        classes, index = encode_labels(labels[0])
    positions = {label: i for i, label in enumerate(classes.tolist())}
    indices = [index]
    for y in labels[1:]:
        found = [positions.get(label, UNLABELED) for label in y.tolist()]
        for label in y.tolist():
            if label != UNLABELED and label not in positions:
                raise ValueError(f"`y_val` must have labels of `y`, got {label!r}.")
        indices.append(np.array(found))
    values = [np.where(index == UNLABELED, np.nan, index)[:, None] for index in indices]
    return values, len(classes)


def _labels(y: np.ndarray) -> np.ndarray:
    """Labels, (n_samples,), with -1 for those that are missing."""
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f":
        return np.where(np.isnan(y), UNLABELED, y)
    if y.dtype != object:
        return y
    is_unlabeled = np.array([is_missing(label) for label in y], dtype=bool)
    return np.where(is_unlabeled, np.array(UNLABELED, dtype=object), y)
