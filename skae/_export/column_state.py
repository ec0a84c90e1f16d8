"""The fitted state of a `ColumnTransformer`: which columns each of its transformers takes."""

from collections import UserList
from string import Formatter
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, make_column_selector

from .state_rules import Rule, Sizes, count, number

# Longer formats of names could make names of any length.
MAX_FORMAT = 256
FORMAT_FIELDS = {"transformer_name", "feature_name"}


def columns(value: Any, sizes: Sizes) -> bool:
    """One selection of columns: names, numbers, a mask or a slice."""
    if type(value) is slice:
        bounds = (value.start, value.stop)
        return value.step in (None, 1) or not any(type(bound) is str for bound in bounds)
    if isinstance(value, np.ndarray):
        kinds = "biuUO"
        return value.ndim == 1 and value.dtype.kind in kinds and columns(value.tolist(), sizes)
    entries = value if type(value) is list else [value]
    return any(all(type(entry) is cls for entry in entries) for cls in (bool, int, str))


def selection(value: Any, sizes: Sizes) -> bool:
    """A parameter that selects columns, which may also be a function."""
    return columns(value, sizes) or isinstance(value, make_column_selector) or callable(value)


def part(value: Any, sizes: Sizes) -> bool:
    """A transformer, or what stands for one."""
    return isinstance(value, BaseEstimator) or value in ("drop", "passthrough")


def _is_entry(value: Any, rule: Rule, containers: tuple[type, ...]) -> bool:
    return (
        type(value) in containers
        and len(value) == 3
        and type(value[0]) is str
        and part(value[1], {})
        and rule(value[2], {})
    )


def transformers(value: Any, sizes: Sizes) -> bool:
    """The parameter `transformers`."""
    return type(value) in (list, tuple) and all(
        _is_entry(entry, selection, (list, tuple)) for entry in value
    )


def fitted_transformers(value: Any, sizes: Sizes) -> bool:
    """The attribute `transformers_`: each name occurs once."""
    return (
        type(value) is list
        and all(_is_entry(entry, columns, (tuple,)) for entry in value)
        and len({name for name, _, _ in value}) == len(value)
    )


def remainder(value: Any, sizes: Sizes) -> bool:
    """The transformer of the remaining columns."""
    return _is_entry(value, columns, (tuple,)) and value[0] == "remainder"


def input_indices(value: Any, sizes: Sizes) -> bool:
    """The numbers of the columns of each transformer."""
    n_columns = sizes.get("n_features_in_", 0)
    return type(value) is dict and all(
        type(name) is str
        and type(indices) is list
        and all(type(i) is int and 0 <= i < n_columns for i in indices)
        for name, indices in value.items()
    )


def output_indices(value: Any, sizes: Sizes) -> bool:
    """The columns of the output that each transformer returns."""
    return type(value) is dict and all(
        type(name) is str
        and type(columns) is slice
        and count(columns.start, {})
        and count(columns.stop, {})
        and columns.step is None
        for name, columns in value.items()
    )


def weights(value: Any, sizes: Sizes) -> bool:
    """One number for each transformer, by name."""
    return value is None or (
        type(value) is dict
        and all(type(name) is str and number(entry, {}) for name, entry in value.items())
    )


def names_out(value: Any, sizes: Sizes) -> bool:
    """The parameter `verbose_feature_names_out`: a format may insert the two names only."""
    if type(value) is not str:
        return type(value) is bool or callable(value)
    fields = list(Formatter().parse(value))
    return len(value) <= MAX_FORMAT and all(
        field is None or (field in FORMAT_FIELDS and not specification and conversion is None)
        for _, field, specification, conversion in fields
    )


def with_lists(value: Any) -> Any:
    """Selections of columns with lists in place of indexes of pandas, and lists of scikit-learn."""
    if type(value) in (list, tuple):
        return type(value)(map(with_lists, value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, UserList):  # scikit-learn before 1.7 has one that warns
        return list(value.data)
    if type(value).__module__.partition(".")[0] in ("pandas", "polars"):
        return np.asarray(value).tolist()
    return value


def active(fitted: ColumnTransformer) -> list[tuple[str, BaseEstimator, list[int]]]:
    """The transformers that return columns, each with the numbers of the columns that it takes."""
    indices = fitted._transformer_to_input_indices
    return [
        (name, transformer, indices[name])
        for name, transformer, _ in fitted.transformers_
        if transformer != "drop" and indices[name]
    ]


def check_columns(fitted: ColumnTransformer) -> None:
    """Check that the selections of a fitted transformer have the numbers that it has for them.

    They cover all columns, so there are not more columns than the file has numbers.
    """
    n_columns, indices = fitted.n_features_in_, fitted._transformer_to_input_indices
    names = {name: i for i, name in enumerate(getattr(fitted, "feature_names_in_", ()))}
    if len(set().union(*indices.values())) != n_columns:
        raise ValueError("a column is in none of its selections")
    for name, _, selected in fitted.transformers_:
        if _numbers(selected, n_columns, names) != indices[name]:
            raise ValueError(f"the columns of {name!r} are not those of its fit")
    start = 0
    for name, transformer, numbers in active(fitted):
        if not isinstance(transformer, BaseEstimator):
            raise ValueError(f"{name!r} is not fitted")
        if getattr(transformer, "n_features_in_", len(numbers)) != len(numbers):
            raise ValueError(f"{name!r} takes another number of columns")
        place = fitted.output_indices_[name]
        if place.start != start or place.stop < start:
            raise ValueError(f"{name!r} returns columns in another place")
        start = place.stop
    if start and not hasattr(fitted, "sparse_output_"):
        raise ValueError("it has no 'sparse_output_'")


def _numbers(selected: Any, n_columns: int, names: dict[str, int]) -> list[int]:
    """The numbers of the columns that are selected."""
    if isinstance(selected, np.ndarray):
        selected = selected.tolist()
    if type(selected) is slice:
        start, stop = selected.start, selected.stop
        if type(start) is str:
            start = names[start]
        if type(stop) is str:
            stop = names[stop] + 1
        return list(range(n_columns)[slice(start, stop, selected.step)])
    entries = selected if type(selected) is list else [selected]
    if entries and type(entries[0]) is bool:
        if len(entries) != n_columns:
            raise ValueError("a mask has another number of columns")
        return [i for i, entry in enumerate(entries) if entry]
    positions = range(n_columns)
    return [names[e] if type(e) is str else positions[e] for e in entries]
