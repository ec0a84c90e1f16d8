"""Limits of imputed values, given by the user."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._data.frames import INTEGERS
from .._data.messages import described
from .._data.table import Table
from .._data.validation import Rule

# One number for all columns, or one for each.
Limit = float | Sequence[float] | np.ndarray | None

FLOAT32 = ("float32", "float[")  # as pandas and Arrow name it


def _is_scalar(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_sequence(value: Any) -> bool:
    return not isinstance(value, str | dict | set) and hasattr(value, "__len__")


LIMIT = Rule(
    "a number, or a number for each column",
    lambda value: _is_scalar(value) or _is_sequence(value),
    lambda value: _is_sequence(value) or value == value,
)


def limits_of_columns(min_value: Limit, max_value: Limit, n_features: int) -> np.ndarray:
    """The lowest and the highest value of each column, (2, n_features), which are finite."""
    low = _of_columns("min_value", min_value, -np.inf, n_features)
    high = _of_columns("max_value", max_value, np.inf, n_features)
    if (wrong := np.flatnonzero(low >= high)).size:
        j = wrong[0]
        raise ValueError(
            "`min_value` must be less than `max_value` for each column, got "
            f"{low[j]:g} and {high[j]:g} for column {j}."
        )
    return np.nan_to_num(np.stack([low, high]))


def limits_of_cells(limits: np.ndarray, columns: np.ndarray, table: Table | None) -> np.ndarray:
    """The limits of each cell, (2, n_cells), whose columns these are.

    Cells of categories have none. Those of columns of integers are integers, as cells are rounded.
    """
    of_cells = limits[:, columns]
    if table is None:
        return of_cells
    for cell, j in enumerate(columns):
        name = table.dtypes[j].lower()
        if table.categories[j] is not None:
            of_cells[:, cell] = -sys.float_info.max, sys.float_info.max
        elif name.startswith(FLOAT32):
            of_cells[:, cell] = limits_in(np.dtype(np.float32), of_cells[:, cell])
        elif INTEGERS.match(name):
            low, high = of_cells[:, cell]
            of_cells[:, cell] = np.ceil(low), np.floor(high)
            if np.ceil(low) > np.floor(high):
                raise ValueError(
                    "There must be an integer between `min_value` and `max_value` for each column "
                    f"of integers, got {low:g} and {high:g} for column {table.names[j]!r}."
                )
    return of_cells


def limits_in(dtype: np.dtype, limits: np.ndarray) -> np.ndarray:
    """The nearest limits in a dtype that are not outside of the limits."""
    numbers = np.finfo(dtype)
    low, high = limits.clip(numbers.min, numbers.max).astype(dtype)
    low = np.where(low < limits[0], np.nextafter(low, numbers.max), low)
    return np.stack([low, np.where(high > limits[1], np.nextafter(high, numbers.min), high)])


def _of_columns(name: str, limit: Limit, default: float, n_features: int) -> np.ndarray:
    try:
        values = np.asarray(default if limit is None else limit, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        values = np.array(np.nan)
    if values.shape not in ((), (n_features,)) or np.isnan(values).any():
        raise ValueError(
            f"`{name}` must be a number, or have a number for each of the {n_features} columns of "
            f"`X`, got {described(limit)}."
        )
    return np.broadcast_to(values, n_features)
