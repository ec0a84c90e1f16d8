"""Labels of classes, also strings together with the number -1, which means "no label"."""

from numbers import Real

import numpy as np

NO_LABEL = -1


def as_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of one type, and whether each row has a label.

    In an array of strings and the number -1, as `AutoencoderClassifier.fit` takes it, the latter
    becomes the string "-1", so that labels can be compared. All others are returned as they are,
    and every row has a label: in an array of numbers -1 may be a class.
    """
    every_row = np.ones(len(y), dtype=bool)
    if y.dtype != object or y.ndim != 1:
        return y, every_row
    has_label = ~np.array([isinstance(v, Real) and v == NO_LABEL for v in y], dtype=bool)
    if has_label.all() or not all(isinstance(v, str) for v in y[has_label]):
        return y, every_row
    return y.astype(str), has_label
