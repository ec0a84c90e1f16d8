"""Columns of a table and their encoded cells, and tables with imputed entries."""

from typing import Any

import numpy as np
from sklearn.impute import SimpleImputer

from .._data.frames import (
    column_of,
    container_of,
    make_frame,
    rounded,
    values_of,
    with_entries,
)
from .._data.rows import is_missing
from .._data.table import Table, as_rows
from .._data.table_rows import encode_table, table_of
from .initial_imputer import fit_initial_imputer, is_nan


def encode_cells(estimator: Any, X: Any, *, reset: bool) -> np.ndarray | None:
    """The cells of a table with categories, with numbers as they are; None for other rows."""
    encoded = encode_table(estimator, X, reset=reset)
    if encoded is None or not reset:
        return encoded
    if not is_nan(estimator.missing_values):
        raise ValueError(
            "`missing_values` must be np.nan if there are categorical columns, got "
            f"{estimator.missing_values!r}: replace the entries that are missing by NaN or None."
        )
    table = vars(estimator)["_table"]
    n_columns = len(table.names)
    in_units = table._replace(shift=np.zeros(n_columns), scale=np.ones(n_columns), is_single=False)
    vars(estimator)["_table"] = in_units
    return in_units.encode(as_rows(X))


def columns_of_cells(table: Table) -> np.ndarray:
    """The position of the column of each encoded cell, (width,)."""
    return np.repeat(np.array(table.order, dtype=np.int64), table.sizes)


def fit_imputer_of_columns(
    parameters: Any, cells: np.ndarray, is_missing: np.ndarray
) -> SimpleImputer:
    """Select the columns that are kept; of a category, by its first cell."""
    if (table := table_of(parameters)) is not None:
        cells = first_cells(table, cells)
        is_missing = np.isnan(cells)
    imputer = SimpleImputer(
        missing_values=np.nan if is_nan(parameters.missing_values) else parameters.missing_values,
        add_indicator=parameters.add_indicator,
        keep_empty_features=parameters.keep_empty_features,
    )
    names = getattr(parameters, "feature_names_in_", None)
    return fit_initial_imputer(imputer, cells, is_missing, names)


def first_cells(table: Table, encoded: np.ndarray) -> np.ndarray:
    """The first encoded cell of each column, (n, n_columns); NaN if a column has none."""
    cells = np.full((len(encoded), len(table.names)), np.nan)
    starts = np.cumsum([0, *table.sizes])
    for j, start, size in zip(table.order, starts[:-1], table.sizes, strict=True):
        if size:
            cells[:, j] = encoded[:, start]
    return cells


def category_slices(table: Table, columns: np.ndarray) -> dict[int, slice]:
    """The cells of each categorical column, if `columns` are the columns of the cells."""
    slices = {}
    for j, categories in enumerate(table.categories):
        position = np.flatnonzero(columns == j)
        if categories is not None and len(position):
            slices[j] = slice(int(position[0]), int(position[-1]) + 1)
    return slices


def missing_entries(X: Any) -> np.ndarray:
    """Whether each entry of a table is missing, (n, n_columns)."""
    columns = [column_of(X, j) for j in range(X.shape[1])]
    return np.array([[is_missing(v) for v in values_of(column)] for column in columns]).T


def with_imputed(
    X: Any, missing: np.ndarray, table: Table, encoded: np.ndarray, kept: np.ndarray
) -> Any:
    """The kept columns of a table, with decoded entries where they are missing.

    `missing` has all columns, `kept` marks those of the result. A column without any entry has the
    dtype of the fit, if `X` is of the same library.
    """
    container, columns = container_of(X), {}
    values = table.values(encoded)
    for j in np.flatnonzero(kept).tolist():
        column = column_of(X, j)
        if missing[:, j].all() and container == table.container:
            column = table.column(j, values[j])
        elif missing[:, j].any():
            new = rounded(table.dtypes[j], values[j])  # the column may have another dtype
            column = with_entries(column, missing[:, j], new)
        columns[j] = column
    if container == "numpy":
        return np.stack(list(columns.values()), axis=1).astype(X.dtype)
    return make_frame(container, {X.columns[j]: column for j, column in columns.items()}, X)


def append_columns(X: Any, names: np.ndarray, indicators: np.ndarray) -> Any:
    """A table with further columns of Booleans."""
    if container_of(X) == "numpy":
        return np.hstack([X, indicators.astype(X.dtype)])
    columns = {name: column_of(X, j) for j, name in enumerate(X.columns)}
    for name, values in zip(names, indicators.T, strict=True):
        columns[name] = values.astype(bool)
    return make_frame(container_of(X), columns, X)
