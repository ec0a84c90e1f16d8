"""Values other than numbers, strings and arrays of them that need no code: types, slices, dates.

Files refer to types by names, so that they can choose among those listed here only.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.compose import make_column_selector

_NUMPY = (
    *("bool_", "floating", "generic", "inexact", "integer", "number", "object_", "signedinteger"),
    *("str_", "unsignedinteger", "float16", "float32", "float64"),
    *(f"{sign}int{size}" for sign in ("", "u") for size in (8, 16, 32, 64)),
)
TYPES: dict[str, type] = {cls.__name__: cls for cls in (bool, float, int, object, str)} | {
    f"numpy.{name}": getattr(np, name) for name in _NUMPY
}
NAMES = {cls: name for name, cls in TYPES.items()}
SELECTOR = ("pattern", "dtype_include", "dtype_exclude")
DATES = re.compile(r"<[mM]8\[(Y|M|W|D|h|m|s|ms|us|ns)\]")
# Parameters with an entry for each column, or for some, which may be array-like.
OF_COLUMNS = ("categorical_features", "min_value", "max_value")
SIDES = ("left", "right", "both", "neither")


def parts_of(value: Any) -> tuple[str, Any] | None:
    """The kind of a value, and the values that it is made of; None for other values."""
    if isinstance(value, type) and value in NAMES:
        return "type", NAMES[value]
    if type(value) is slice:
        return "slice", [value.start, value.stop, value.step]
    if type(value) is make_column_selector:
        return "column_selector", [getattr(value, name) for name in SELECTOR]
    if isinstance(value, np.ndarray) and value.ndim == 1 and len(value):
        if DATES.fullmatch(value.dtype.str):
            return "dates", [value.dtype.str, value.astype(np.int64)]
        if value.dtype == object:
            return _parts_of_objects(value, *{type(entry) for entry in value})
    return None


def without_library(value: Any, place: str) -> Any:
    """A column or an index of a frame, given for columns, as an array; other values unchanged."""
    if isinstance(value, np.ndarray | np.generic) or not hasattr(value, "__array__"):
        return value
    return np.asarray(value) if place.endswith(OF_COLUMNS) else value


def _parts_of_objects(values: np.ndarray, cls: type, *others: type) -> tuple[str, Any] | None:
    """The same for objects of pandas, of one class: categories of dates and of `pandas.cut`."""
    if others or cls.__module__.partition(".")[0] != "pandas":
        return None
    if cls.__name__ == "Interval":
        ends = [np.array([getattr(i, end) for i in values]) for end in ("left", "right")]
        if all(end.dtype.kind in "iuf" for end in ends):
            return "intervals", [*ends, values[0].closed]
    if cls.__name__ == "Timedelta" or (cls.__name__ == "Timestamp" and values[0].tz is None):
        dates = np.array([entry.to_numpy() for entry in values])
        return "date_objects", [dates.dtype.str, dates.astype(np.int64)]
    return None


def _slice(parts: list[Any]) -> slice:
    if not all(part is None or type(part) in (int, str) for part in parts):
        raise ValueError("a slice has other bounds than numbers and names")
    return slice(*parts)


def _column_selector(parts: list[Any]) -> make_column_selector:
    pattern, *dtypes = parts
    listed = [dtype for entry in dtypes for dtype in (entry if type(entry) is list else [entry])]
    if not (pattern is None or type(pattern) is str) or not all(
        dtype is None or type(dtype) is str or dtype in NAMES for dtype in listed
    ):
        raise ValueError("a selector of columns has another pattern or other dtypes")
    return make_column_selector(**dict(zip(SELECTOR, parts, strict=True)))


def _dates(parts: list[Any]) -> np.ndarray:
    dtype, numbers = parts
    if not (DATES.fullmatch(dtype) and numbers.dtype == np.int64):
        raise ValueError("dates have another dtype or other numbers")
    return np.asarray(numbers).view(dtype)


def _date_objects(parts: list[Any]) -> np.ndarray:
    import pandas as pd

    return pd.Series(_dates(parts)).astype(object).to_numpy()


def _intervals(parts: list[Any]) -> np.ndarray:
    import pandas as pd

    left, right, closed = parts
    if closed not in SIDES or not left.dtype.kind == right.dtype.kind in ("i", "u", "f"):
        raise ValueError("intervals have other ends than numbers")
    return np.asarray(pd.arrays.IntervalArray.from_arrays(left, right, closed), dtype=object)


# The inverse of `parts_of`, by kind.
MAKE: dict[str, Callable[[Any], Any]] = {
    "column_selector": _column_selector,
    "date_objects": _date_objects,
    "dates": _dates,
    "intervals": _intervals,
    "slice": _slice,
    "type": TYPES.__getitem__,
}
