"""Markers of missing values, and the columns without an observed value."""

import sys

import numpy as np
from sklearn.impute import SimpleImputer

from .._data.user_warnings import warn_user


def is_nan(value: object) -> bool:
    """Whether a value is NaN, the only one that is unequal to itself, or `pandas.NA`."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and value is pandas.NA:
        return True
    return isinstance(value, float | np.floating) and bool(value != value)


def is_marker(cells: np.ndarray, marker: float) -> np.ndarray:
    """Whether each cell is the value that marks missing ones."""
    return np.isnan(cells) if is_nan(marker) else cells == marker


def fit_initial_imputer(
    imputer: SimpleImputer, cells: np.ndarray, is_missing: np.ndarray, names: np.ndarray | None
) -> SimpleImputer:
    """Fit an imputer to cells, and warn of the columns that it drops.

    `names` are those of the columns, if they have names.
    """
    is_empty = np.logical_and.reduce(is_missing)
    if is_empty.any() and not imputer.keep_empty_features:
        labels = np.arange(len(is_empty)) if names is None else names
        warn_user(
            f"The columns {labels[is_empty].tolist()} have no observed value and are dropped; "
            "`keep_empty_features=True` keeps them.",
            UserWarning,
        )
    # In float64, in which no sum of a column that has moments overflows.
    imputer.fit(np.where(is_missing, imputer.missing_values, cells.astype(np.float64)))
    if names is not None:
        imputer.feature_names_in_ = names
    return imputer
