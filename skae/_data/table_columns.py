"""The columns of a table: which are categorical, and which loss each has."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .frames import (
    DATES,
    column_of,
    dtype_name,
    has_categories,
    is_frame,
    is_missing,
    is_text,
    values_of,
)
from .messages import described, shortened
from .validation import as_tuple

CATEGORICAL = "categorical"  # the loss of a categorical column
NUMERIC = ("bool", "int", "uint", "float")  # how the names of dtypes of numbers begin


def has_categorical_columns(X: Any) -> bool:
    """Whether `X` is a frame with categories or text."""
    return is_frame(X) and bool(selected_columns(X, list(X.columns), "from_dtype").any())


def selected_columns(X: Any, names: list[Any], chosen: Any) -> np.ndarray:
    """Whether each column is categorical, (n_columns,)."""
    mask = np.zeros(len(names), dtype=bool)
    if chosen is None:
        return mask
    if isinstance(chosen, str):
        if is_frame(X):
            is_numeric = [str(dtype).lower().startswith(NUMERIC) for dtype in X.dtypes]
            mask[:] = [
                not numeric and _is_categorical(column_of(X, j))
                for j, numeric in enumerate(is_numeric)
            ]
        return mask
    entries = column_entries(chosen)
    if all(isinstance(entry, bool) for entry in entries):
        if len(entries) not in (0, len(names)):
            raise ValueError(
                "`categorical_features`, as a mask, must have an entry for each of the "
                f"{len(names)} columns of X, got {len(entries)}."
            )
        mask[: len(entries)] = entries
        return mask
    for entry in entries:
        mask[_position(entry, names, "categorical_features")] = True
    return mask


def column_entries(chosen: Any) -> tuple[Any, ...]:
    """The entries of a sequence of columns, each as Python's object."""
    return as_tuple(np.asarray(chosen, dtype=object))


def are_columns(chosen: Any) -> bool:
    """Whether a value is a sequence of names or numbers of columns, or of Booleans."""
    try:
        one_dimensional = np.asarray(chosen, dtype=object).ndim == 1
    except (TypeError, ValueError, RuntimeError):  # such as a tensor with a gradient
        return False
    return one_dimensional and all(isinstance(v, str | int) for v in column_entries(chosen))


def _position(entry: Any, names: list[Any], parameter: str) -> int:
    """The position of a column that is named, or numbered."""
    if isinstance(entry, str) and entry in names:
        return names.index(entry)
    if isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry < len(names):
        return entry
    known = shortened(", ".join(map(repr, names)))
    raise ValueError(
        f"`{parameter}` must have names of columns of X, or numbers from 0 to {len(names) - 1}, "
        f"got {described(entry)}; the columns are {known}."
    )


def _is_categorical(column: Any) -> bool:
    """Whether a column of a frame has categories, or text that is not only numbers."""
    if has_categories(column):
        return True
    return is_text(column) and not all(map(_is_number, values_of(column)))


def _is_number(value: Any) -> bool:
    """Whether scikit-learn would convert an entry to a number, or to NaN."""
    if is_missing(value):
        return True
    try:
        float(value)
    except (TypeError, ValueError):
        return not isinstance(value, str)  # what is no category either is refused later
    return True


def losses_of_columns(names: list[Any], chosen: np.ndarray, loss: Any) -> list[str]:
    """The loss of each column."""
    if not isinstance(loss, Mapping):
        return [CATEGORICAL if c else loss for c in chosen]
    losses = [CATEGORICAL if c else "squared_error" for c in chosen]
    for entry, name in loss.items():
        position = _position(entry, names, "loss")
        if chosen[position]:
            raise ValueError(f"`loss` must not have categorical columns, got {described(entry)}.")
        losses[position] = name
    return losses


def refuse_dates(columns: list[Any], names: list[Any], loss: Any) -> None:
    """Refuse dates, which become numbers only if the user asks for it, and complex numbers."""
    requested = loss if isinstance(loss, Mapping) else ()
    for position, (column, name) in enumerate(zip(columns, names, strict=True)):
        if dtype_name(column).startswith("complex"):
            raise TypeError(f"Column {name!r} of X has complex numbers, which are not supported.")
        if DATES.match(str(column.dtype)) and name not in requested and position not in requested:
            raise TypeError(
                f"Column {name!r} of X has dates, which have no natural unit: convert it to "
                f"numbers. An autoencoder takes its integers with "
                f"`loss={{{name!r}: 'squared_error'}}`."
            )
