"""The columns of a table, as the state of an estimator: their types and sizes."""

from typing import Any

import numpy as np

from .._data.table import Table

MAX_COLUMNS = 2**20


def table(value: Any, sizes: dict[str, int]) -> bool:
    """The columns of a table, of as many columns as an estimator has features."""
    n_columns = sizes.get("n_features_in_")
    return type(value) is Table and n_columns is not None and _is_valid(value, n_columns)


def width_of(state: dict[str, Any]) -> int | None:
    """The number of columns of the network: encoded ones, if there is a table."""
    n_columns, value = state.get("n_features_in_"), state.get("_table")
    if type(value) is not Table or type(n_columns) is not int or not _is_valid(value, n_columns):
        return n_columns if type(n_columns) is int else None
    return value.width


def _is_valid(value: Table, n_columns: int) -> bool:
    lists = (value.names, value.dtypes, value.declared, value.ordered)
    others = (value.categories, value.shares, value.losses)
    return (
        value.container in ("numpy", "pandas", "polars")
        and type(value.is_single) is bool
        and all(type(entries) is list and len(entries) == n_columns for entries in lists + others)
        and all(type(name) in (str, int) for name in value.names)
        and all(type(text) is str for text in [*value.dtypes, *value.losses])
        and all(type(flag) is bool for flag in value.ordered)
        and all(entries is None or _are_categories(entries) for entries in value.declared)
        and all(map(_match, value.categories, value.shares, value.losses))
        and all(_are_numbers(numbers, n_columns) for numbers in (value.shift, value.scale))
        and bool((value.scale > 0).all())
    )


def _are_categories(value: Any) -> bool:
    """Whether these are distinct values, none of them missing."""
    if not (isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "biufUOmM"):
        return False
    if value.dtype.kind in "mM" and np.isnat(value).any():
        return False
    entries = value.tolist()
    are_distinct = len(set(entries)) == len(entries)
    return are_distinct and not any(entry is None or entry != entry for entry in entries)


def _match(categories: Any, shares: Any, loss: str) -> bool:
    """Whether a column has categories and their positive frequencies, or neither."""
    if categories is None or shares is None:
        return categories is None and shares is None and loss != "categorical"
    return (
        loss == "categorical"
        and _are_categories(categories)
        and len(categories) < MAX_COLUMNS
        and _are_numbers(shares, len(categories))
        and bool((shares > 0).all())
    )


def _are_numbers(value: Any, size: int) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.float64
        and value.shape == (size,)
        and bool(np.isfinite(value).all())
    )
