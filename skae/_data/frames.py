"""Columns of pandas and polars frames and of arrays: their types, their values, and new frames."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

# The names of the dtypes of dates and of differences of dates, of frames of any library.
DATES = re.compile("date|duration|time", re.IGNORECASE)
ARROW_DAYS = "[day]"  # in the name of the dtype
# The dtypes of text, by their names.
TEXT = ("object", "str", "string", "large_string", "string_view", "String", "Utf8", "Object")
ARROW_STRING = "string[pyarrow]"  # of Arrow's own dtype; pandas takes the name for one of its own
INTEGERS, BOOLEANS = re.compile(r"u?int(8|16|32|64)\b"), ("bool", "boolean")
# The dtypes of polars that columns are made with, and the parameters of those of dates.
POLARS = re.compile("U?Int(8|16|32|64)|Float(32|64)|Boolean|String|Utf8|Categorical|Date|Time")
POLARS_DATES = re.compile(
    r"(Datetime|Duration)(?:\(time_unit='(ms|us|ns)'(?:, time_zone=(?:None|'([\w/+-]+)'))?\))?"
)


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
        columns = without_fill_values(X.iloc[:, list(positions)])
        for position, dtype in enumerate(columns.dtypes):
            if DATES.match(str(dtype)):
                dates = columns.iloc[:, position]
                if ARROW_DAYS in str(dtype):  # has no integers
                    dates = dates.astype("datetime64[s]")
                columns.isetitem(position, dates.astype("int64").where(dates.notna()))
        return columns
    columns = X[:, list(positions)]
    if container_of(X) == "polars":
        dates = [column.name for column in columns if DATES.match(str(column.dtype))]
        return columns.with_columns(*(columns[name].to_physical() for name in dates))
    if columns.dtype == object:
        missing = [[is_missing(entry) for entry in row] for row in columns.tolist()]
        columns = np.where(missing, np.nan, columns)
    return columns


def without_fill_values(X: Any) -> Any:
    """Rows; sparse columns of a pandas frame are dense if what they do not store is not zero.

    SciPy has no such matrices, and scikit-learn refuses these frames.
    """
    if container_of(X) != "pandas":
        return X
    positions = [j for j, dtype in enumerate(X.dtypes) if getattr(dtype, "fill_value", 0) != 0]
    if not positions:
        return X
    dense = X.copy(deep=False)
    for position in positions:
        dense.isetitem(position, X.iloc[:, position].sparse.to_dense())
    return dense


def dtype_name(column: Any) -> str:
    """The name of the dtype of a column, without parameters such as categories."""
    return str(column.dtype).partition("(")[0]


def result_dtype(column: Any, *, is_text: bool) -> str:
    """The name of a dtype for decoded entries; that of the column if `with_dtype` can make it."""
    name, text = dtype_name(column), str(column.dtype)
    if type(column).__module__.startswith("polars"):
        if POLARS_DATES.fullmatch(text):
            return text
        known = name in ("Enum", "Object") or POLARS.fullmatch(name)
        return name if known else "String" if is_text else "Float64"
    if isinstance(column, np.ndarray):
        return name
    try:
        made = column.iloc[:0].astype(name).dtype
    except (TypeError, ValueError):  # such as a decimal, whose name has its number of digits
        return "object" if is_text else "float64"
    # Strings of pandas are in memory of Python or of Arrow, and have one name.
    return f"string[{column.dtype.storage}]" if name == "string" and made != column.dtype else name


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
    """Numbers, or objects, as a column with a dtype of a name, see `rounded`."""
    values = rounded(name, values)
    if name.lower().startswith("date") and values.dtype.kind == "f":
        values = values.round().astype(np.int64)
    if container == "pandas":
        return _as_pandas(name, values, declared, ordered=ordered)
    if container == "polars":
        return _as_polars(name, values, declared)
    return values


def rounded(name: str, values: np.ndarray) -> np.ndarray:
    """Numbers that a dtype of a name can have; objects unchanged.

    For integers, numbers are rounded, and limited to the range of the dtype. For Booleans, they are
    compared with 0.5.
    """
    lower = name.lower()
    if values.dtype.kind == "f" and INTEGERS.match(lower):
        return np.clip(np.round(values), *_range_of(lower))
    if values.dtype.kind == "f" and lower.startswith(BOOLEANS):
        return values >= 0.5
    return values


def _as_pandas(name: str, values: np.ndarray, declared: np.ndarray | None, *, ordered: bool) -> Any:
    import pandas as pd

    dtype: Any = name
    if ARROW_DAYS in name:
        values = values.astype("datetime64[s]")
    if name == "category":
        dtype = pd.CategoricalDtype(declared, ordered=ordered)
    if name == ARROW_STRING:
        import pyarrow as pa

        dtype = pd.ArrowDtype(pa.string())
    return pd.Series(values).astype(dtype)


def _as_polars(name: str, values: np.ndarray, declared: np.ndarray | None) -> Any:
    import polars as pl

    entries = values.tolist() if values.dtype == object else values
    if name == "Enum":
        return pl.Series(entries, dtype=pl.Enum([] if declared is None else declared.tolist()))
    if name == "Object":
        return pl.Series(entries, dtype=pl.Object)
    if date := POLARS_DATES.fullmatch(name):
        kind, *parameters = (part for part in date.groups() if part is not None)
        return pl.Series(entries).cast(getattr(pl, kind)(*parameters))
    return pl.Series(entries).cast(getattr(pl, name))


def make_frame(container: str, columns: dict[str, Any], like: Any = None) -> Any:
    """A frame of columns; a pandas frame has the index of `like`, if that is a pandas object."""
    if container == "polars":
        import polars as pl

        return pl.DataFrame(columns)
    import pandas as pd

    aligned = {  # by their positions
        name: column.reset_index(drop=True) if isinstance(column, pd.Series) else column
        for name, column in columns.items()
    }
    return with_index_of(pd.DataFrame(aligned), like)


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


def with_entries(column: Any, where: np.ndarray, values: np.ndarray) -> Any:
    """A column with other values at some of its rows; with another dtype, if it cannot have them.

    The values are numbers, or objects if they are categories.
    """
    if isinstance(column, np.ndarray):
        return np.where(where, values, column)
    container, name = type(column).__module__.partition(".")[0], dtype_name(column)
    if values.dtype != object and not has_categories(column):
        name, numbers = result_dtype(column, is_text=False), values.astype(np.float64)
        new = values_of(with_dtype(name, numbers, container, None, ordered=False))
    else:
        new = values.tolist()
    given = values_of(column)
    entries = [new[i] if is_new else given[i] for i, is_new in enumerate(where.tolist())]
    return (_like_pandas if container == "pandas" else _like_polars)(column, name, entries)


def _like_pandas(column: Any, name: str, entries: list[Any]) -> Any:
    import pandas as pd

    dtype = column.dtype if name == dtype_name(column) else name
    if name == "category":
        known = column.cat.categories
        new = [v for v in dict.fromkeys(entries) if not is_missing(v) and v not in known]
        dtype = column.cat.add_categories(new).dtype
    try:
        return pd.Series(entries, dtype=dtype)
    except (TypeError, ValueError):  # such as strings among numbers
        return pd.Series(entries, dtype=object)


def _like_polars(column: Any, name: str, entries: list[Any]) -> Any:
    import polars as pl

    dtype: Any = pl.Float64 if name == "Float64" else column.dtype
    try:
        if name == "Enum":
            known = dtype.categories.to_list()
            dtype = pl.Enum([*known, *sorted({*entries} - {*known, None})])
        return pl.Series(entries, dtype=dtype)
    except (TypeError, pl.exceptions.PolarsError):
        return pl.Series(entries, strict=False)
