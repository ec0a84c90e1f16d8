"""Labels of classes, also strings together with the number -1, which means "no label"."""

from numbers import Real

import numpy as np

from .._data.array_api import ArrayLike
from .._data.messages import described
from .._data.rows import array_of_target, has_missing_labels

NO_LABEL = -1


def as_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of one type, and whether each row has a label.

    `AutoencoderClassifier.fit` accepts arrays of strings and the number -1. The number becomes the
    string "-1" here, so that labels can be compared. Other arrays are returned unchanged, and every
    row has a label: in an array of numbers -1 may be a class.
    """
    every_row = np.ones(len(y), dtype=bool)
    if y.dtype != object or y.ndim != 1:
        return y, every_row
    has_label = ~np.array([isinstance(v, Real) and v == NO_LABEL for v in y], dtype=bool)
    if has_label.all() or not all(isinstance(v, str) for v in y[has_label]):
        return y, every_row
    return y.astype(str), has_label


def as_target(y: ArrayLike) -> np.ndarray:
    """A target as an array, or an error unless its entries can be compared."""
    if has_missing_labels(y):
        raise ValueError("`y` must not have missing entries: leave these rows out.")
    y = array_of_target(y)
    if y.dtype.kind == "c":
        raise ValueError(f"`y` must be labels or real numbers, got {described(y)}.")
    try:
        np.unique(as_labels(y)[0] if y.ndim == 1 else y)
    except TypeError as error:
        types = " and ".join(sorted({type(entry).__name__ for entry in y.flat}))
        raise TypeError(
            f"`y` must have labels that can be compared, such as strings or numbers, got {types}."
        ) from error
    return y
