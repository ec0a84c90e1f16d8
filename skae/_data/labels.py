"""Class labels, of which -1 means "no label"."""

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

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
    labeled = has_label(y)
    values = list(set(y[labeled].tolist()))
    if len(values) == 1 and not labeled.all() and not isinstance(values[0], str):
        warn_user(
            f"`y` has no values but {values[0]!r} and -1, so these are taken as two "
            "classes: -1 marks rows without a label only if there are two or more other values.",
            UserWarning,
        )
        labeled[:] = True
    with naming("y"):
        check_classification_targets(y[labeled])
    classes, indices = np.unique(y[labeled], return_inverse=True)
    if len(classes) < 2:
        given = f"1 class: {classes.tolist()}" if len(classes) else "no labels other than -1"
        raise ValueError(f"`y` must have at least two classes, got {given}.")
    labels = np.full(len(y), UNLABELED)
    labels[labeled] = indices
    return classes, labels


def has_label(y: np.ndarray) -> np.ndarray:
    """Whether each label is not -1; strings never are."""
    return np.full(len(y), True) if y.dtype.kind in "US" else np.asarray(y != UNLABELED)
