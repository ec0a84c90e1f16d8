"""Columns of pandas and polars frames and of arrays: their types, their values, and new frames."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

# The names of the dtypes of dates and of differences of dates, of frames of any library.
DATES = re.compile("date|duration|time", re.IGNORECASE)
# The dtypes of text, by their names.
TEXT = ("object", "str", "string", "String", "Utf8", "Object")
INTEGERS, BOOLEANS = ("int", "uint"), ("bool", "boolean")


def is_frame(X: Any) -> bool:
    """Whether `X` has columns with names and dtypes."""
    return hasattr(X, "shape") and hasattr(X, "columns") and hasattr(X, "dtypes")


def container_of(X: Any) -> str:
    """The library of a frame, "pandas" or "polars"; "numpy" for all else."""
    library = type(X).__module__.partition(".")[0]
    return library if is_frame(X) and library in ("pandas", "polars") else "numpy"


def column_of(X: Any, position: int) -> Any:
    """A column of a frame or an array."""
    return X.iloc[:, position] if container_of(X) == "pandas" else X[:, position]


def is_missing(entry: Any) -> bool:
    """Whether an entry is None, NaN, or one of pandas' objects, which cannot be compared."""
    if isinstance(entry, float | np.floating):
        return bool(np.isnan(entry))
    return entry is None or type(entry).__name__ in ("NAType", "NaTType")


def values_of(column: Any) -> list[Any]:
    """The entries of a column as Python's objects."""
    return column.tolist() if isinstance(column, np.ndarray) else column.to_list()


def numeric_columns(X: Any, positions: Sequence[int]) -> Any:
    """Some columns as a frame or an array of numbers; dates are integers, and missing ones NaN."""
    if container_of(X) == "pandas":
        columns = X.iloc[:, list(positions)]
        dates = [name for name, dtype in columns.dtypes.items() if DATES.match(str(dtype))]
        return columns.assign(**{name: columns[name].astype("int64") for name in dates})
    columns = X[:, list(positions)]
    if container_of(X) == "polars":
        dates = [column.name for column in columns if DATES.match(str(column.dtype))]
        return columns.with_columns(*(columns[name].to_physical() for name in dates))
    if columns.dtype == object:
        missing = [[is_missing(entry) for entry in row] for row in columns.tolist()]
        columns = np.where(missing, np.nan, columns)
    return columns


def dtype_name(column: Any) -> str:
    """The name of the dtype of a column, without parameters such as categories."""
    return str(column.dtype).partition("(")[0]


def has_categories(column: Any) -> bool:
    """Whether the dtype of a column of a frame is one of categories."""
    return dtype_name(column) in ("category", "Categorical", "Enum")


def is_text(column: Any) -> bool:
    """Whether a column may have strings, by its dtype."""
    return dtype_name(column).partition("[")[0] in TEXT


def declared_categories(column: Any) -> np.ndarray | None:
    """All categories that a dtype allows, or None if it does not list them."""
    if dtype_name(column) == "category":
        return np.asarray(column.cat.categories)
    if dtype_name(column) == "Enum":
        return np.asarray(column.dtype.categories.to_list(), dtype=object)
    return None


def is_ordered(column: Any) -> bool:
    """Whether the categories of a pandas column are ordered."""
    return dtype_name(column) == "category" and bool(column.cat.ordered)


def with_dtype(
    name: str, values: np.ndarray, container: str, declared: np.ndarray | None, *, ordered: bool
) -> Any:
    """Numbers, or objects, as a column with a dtype of a name.

    For integers, numbers are rounded, and limited to the range of the dtype. For Booleans, they are
    compared with 0.5.
    """
    lower = name.lower()
    if values.dtype.kind == "f" and lower.startswith(INTEGERS):
        values = np.clip(np.round(values), *_range_of(lower))
    elif values.dtype.kind == "f" and lower.startswith(BOOLEANS):
        values = values >= 0.5
    elif values.dtype.kind == "f" and lower.startswith("date"):
        values = values.round().astype(np.int64)
    if container == "pandas":
        return _as_pandas(name, values, declared, ordered=ordered)
    if container == "polars":
        return _as_polars(name, values, declared)
    return values


def _as_pandas(name: str, values: np.ndarray, declared: np.ndarray | None, *, ordered: bool) -> Any:
    import pandas as pd

    dtype: Any = name
    if name == "category":
        dtype = pd.CategoricalDtype(declared, ordered=ordered)
    return pd.Series(values).astype(dtype)


def _as_polars(name: str, values: np.ndarray, declared: np.ndarray | None) -> Any:
    import polars as pl

    entries = values.tolist() if values.dtype == object else values
    if name == "Enum":
        return pl.Series(entries, dtype=pl.Enum([] if declared is None else declared.tolist()))
    return pl.Series(entries).cast(getattr(pl, name))


def make_frame(container: str, columns: dict[str, Any], like: Any = None) -> Any:
    """A frame of columns; a pandas frame has the index of `like`, if that is a pandas object."""
    if container == "polars":
        import polars as pl

        return pl.DataFrame(columns)
    import pandas as pd

    return with_index_of(pd.DataFrame(columns), like)


def with_index_of(frame: Any, like: Any) -> Any:
    """A frame with the index of another one, if both are frames of pandas."""
    both = container_of(frame) == container_of(like) == "pandas"
    return frame.set_axis(like.index) if both else frame


def _range_of(name: str) -> tuple[float, float]:
    """The range of an integer dtype; with 64 bits, of the floats that it can represent."""
    info = np.iinfo(name.partition("[")[0])
    if info.bits < 64:
        return info.min, info.max
    return float(info.min), float(np.nextafter(float(info.max), 0))
