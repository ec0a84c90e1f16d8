"""Limits of imputed values, given by the user."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._data.messages import described
from .._data.validation import Rule

# One number for all columns, or one for each.
Limit = float | Sequence[float] | np.ndarray | None


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


def _of_columns(name: str, limit: Limit, default: float, n_features: int) -> np.ndarray:
    try:
        values = np.asarray(default if limit is None else limit, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape not in ((), (n_features,)) or np.isnan(values).any():
        raise ValueError(
            f"`{name}` must be a number, or have a number for each of the {n_features} columns of "
            f"`X`, got {described(limit)}."
        )
    return np.broadcast_to(values, n_features)
