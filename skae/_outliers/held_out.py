"""Folds of rows of which each is held out in turn."""

from collections.abc import Iterator

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from .._data.dataset import Rows


def folds(
    X: Rows, groups: np.ndarray | None, n_folds: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit to, and rows to score, which are all rows in turn."""
    n_units, units = (X.shape[0], "rows") if groups is None else (len(np.unique(groups)), "groups")
    if n_units // 2 < n_folds:
        raise ValueError(
            f"`cv` must be at most half of the number of {units}, which is {n_units}, got {n_folds}"
        )
    if groups is not None:
        return GroupKFold(n_folds).split(X, groups=groups)
    return KFold(n_folds, shuffle=True, random_state=0).split(X)
