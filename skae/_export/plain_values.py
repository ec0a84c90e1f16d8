"""Values of parameters that are no numbers, strings or arrays, but need no code: types and slices.

Files refer to types by names, so that they can choose among those listed here only.
"""

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


def parts_of(value: Any) -> tuple[str, Any] | None:
    """The kind of a value, and the values that it is made of; None for other values."""
    if isinstance(value, type) and value in NAMES:
        return "type", NAMES[value]
    if type(value) is slice:
        return "slice", [value.start, value.stop, value.step]
    if type(value) is make_column_selector:
        return "column_selector", [getattr(value, name) for name in SELECTOR]
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


# The inverse of `parts_of`, by kind.
MAKE: dict[str, Callable[[Any], Any]] = {
    "column_selector": _column_selector,
    "slice": _slice,
    "type": TYPES.__getitem__,
}
