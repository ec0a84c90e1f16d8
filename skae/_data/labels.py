"""Class labels, of which -1 means "no label"."""

import math
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from .messages import described
from .rows import naming
from .user_warnings import warn_user

UNLABELED = -1


def encode_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes and, for each row, the index of its class or -1."""
    is_text = y.dtype.kind in "US"
    if is_text and "-1" in y.astype(str):
        raise ValueError(
            "`y` must not contain '-1' as a string: give strings and the number -1, for rows "
            "without a label, in an array with dtype=object."
        )
    if y.dtype == object:
        y = _without_objects(y)
    labeled = has_label(y)
    values = list(set(y[labeled].tolist()))
    if len(values) == 1 and not labeled.all() and not isinstance(values[0], str):
        warn_user(
            f"`y` has no values but {values[0]!r} and -1, so these are taken as two "
            "classes: -1 marks rows without a label only if there are two or more other values.",
            UserWarning,
        )
        labeled[:] = True
    with naming("y"), np.errstate(invalid="ignore"):  # scikit-learn casts them to integers
        check_classification_targets(y[labeled])
    classes, indices = np.unique(y[labeled], return_inverse=True)
    if len(classes) < 2:
        given = f"1 class: {classes.tolist()}" if len(classes) else "no labels other than -1"
        raise ValueError(f"`y` must have at least two classes, got {given}.")
    labels = np.full(len(y), UNLABELED)
    labels[labeled] = indices
    return classes, labels


def _without_objects(y: np.ndarray) -> np.ndarray:
    """Labels that are objects: as numbers, or as they are if they are strings and -1."""
    texts = [label for label in y if isinstance(label, str)]
    others = [label for label in y if not isinstance(label, str)]
    if texts:
        for label in others:
            if np.ndim(label) or label != UNLABELED:
                raise ValueError(
                    "`y` must hold either numbers or strings as labels, got "
                    f"{described(label)} and {described(texts[0])}."
                )
        return y
    numbers = numbers_of_objects(y)
    if numbers is None:
        raise ValueError(
            "`y` must hold strings or numbers of at most 64 bits as labels, got "
            f"{described(max(others, key=_size))}."
        )
    return numbers


def numbers_of_objects(y: np.ndarray) -> np.ndarray | None:
    """An array of objects as one of numbers; None unless all are numbers of at most 64 bits."""
    try:
        numbers = np.array(y.tolist())
    except (TypeError, ValueError):  # sequences of different lengths, for example
        return None
    return numbers if numbers.dtype.kind in "biuf" and numbers.ndim == y.ndim else None


def _size(label: Any) -> float:
    """The absolute value of an integer, infinite for other labels."""
    return abs(label) if isinstance(label, int) else math.inf


def has_label(y: np.ndarray) -> np.ndarray:
    """Whether each label is not -1; strings never are."""
    return np.full(len(y), True) if y.dtype.kind in "US" else np.asarray(y != UNLABELED)
