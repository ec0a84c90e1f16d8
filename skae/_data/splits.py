"""The folds of a cross-validation: training and test rows, from a number, a splitter or pairs."""

from collections.abc import Iterable
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from sklearn.model_selection import (
    BaseCrossValidator,
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from torch import Tensor

from .array_api import ArrayLike
from .messages import described
from .rows import naming
from .validation import NONE, RANDOM_STATE, Rule, check_value, integer

# The folds for a number of folds, by whether `y` holds classes and whether there are groups.
FOLDS = {
    (False, False): KFold,
    (True, False): StratifiedKFold,
    (False, True): GroupKFold,
    (True, True): StratifiedGroupKFold,
}

# The allowed values of `cv`.
CV = (
    NONE,
    integer(2),
    Rule(
        "a cross-validation splitter or an iterable of pairs of row numbers",
        lambda value: (
            not isinstance(value, type | str | bytes | Tensor)  # some have a method `split`
            and (hasattr(value, "split") or isinstance(value, Iterable))
        ),
    ),
)

# A pair of train and test indices for each fold.
Splits: TypeAlias = Iterable[tuple[np.ndarray, np.ndarray]]
RandomState: TypeAlias = int | np.random.RandomState | None


def make_splits(
    cv: int | BaseCrossValidator | Splits | None,
    X: ArrayLike,
    y: np.ndarray | None,
    groups: np.ndarray | None,
    classes: bool,
    random_state: RandomState,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of train and test indices; a number of folds is shuffled, as rows may be sorted."""
    check_value("random_state", random_state, RANDOM_STATE)
    check_value("cv", cv, CV)
    if cv is None:
        cv = 5
    if isinstance(cv, Integral):
        folds = FOLDS[classes, groups is not None]
        cv = folds(int(cv), shuffle=True, random_state=random_state)
    with naming("cv"):
        pairs: Any = cv.split(X, y, groups) if hasattr(cv, "split") else cv
        splits = [
            (_indices(train, X.shape[0]), _indices(test, X.shape[0]))
            for train, test in map(_pair, pairs)
        ]
        if not splits:
            raise ValueError("`cv` must have at least one pair of row numbers, got none.")
    return splits


def _pair(rows: Any) -> tuple[Any, Any]:
    """The rows of training and those of a test."""
    try:
        train, test = rows
    except (TypeError, ValueError) as error:
        raise TypeError(f"`cv` must have pairs of row numbers, got {described(rows)}.") from error
    return train, test


def _indices(rows: Any, n_rows: int) -> np.ndarray:
    """The numbers of some rows, from numbers or a mask."""
    chosen = np.asarray(rows)
    if chosen.dtype == bool and chosen.shape == (n_rows,):
        return np.flatnonzero(chosen)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not chosen.size:
        raise TypeError(f"`cv` must have pairs of arrays of row numbers, got {described(chosen)}.")
    if chosen.min() < -n_rows or chosen.max() >= n_rows:
        raise ValueError(
            f"`cv` must have row numbers from 0 to {n_rows - 1}, got {chosen.min()} to "
            f"{chosen.max()}."
        )
    return chosen
