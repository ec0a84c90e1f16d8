"""Rows as numbers, for displays: categories become indicators."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from .._data.table import Table, make_table
from .._data.table_rows import table_of
from .plotting import feature_names_of
from .scoring import as_numbers, dense


class NumericRows(NamedTuple):
    """Converts rows to numbers, (n_samples, n_numbers), and names these numbers.

    Each column is a number. A column of categories is replaced by an indicator for each category.
    """

    names: list[str] | None  # None if the columns have no names
    table: Table | None  # None if all columns are numbers

    def __call__(self, X: Any) -> np.ndarray:
        """The numbers of rows; NaN where an entry is missing or an unknown category."""
        return dense(as_numbers(X)) if self.table is None else self.table.indicators(X)


def numeric_rows(estimator: Any, X: Any) -> NumericRows:
    """The numbers of rows like `X`, by the table that an estimator or its first step has."""
    first = estimator[0] if isinstance(estimator, Pipeline) and len(estimator) else estimator
    table = table_of(first) if isinstance(first, BaseEstimator) else None
    if table is None:
        table = make_table(X, "from_dtype", "squared_error")
    if table is not None:
        return NumericRows(table.names_of_indicators(), table)
    if (names := getattr(X, "columns", None)) is None:
        return NumericRows(feature_names_of(estimator), None)
    return NumericRows(list(map(str, names)), None)


def encoding_of(X: Any) -> Callable[[Any], Any]:
    """A function from rows like `X` to numbers, an array or CSR matrix.

    If `X` is a frame with categories, its columns have the units of factor analysis of mixed data.
    """
    table = make_table(X, "from_dtype", "squared_error")
    return as_numbers if table is None else table.encode
