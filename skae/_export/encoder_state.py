"""The fitted state of `OneHotEncoder` and `OrdinalEncoder`: their categories.

scikit-learn does not check positions of categories when it builds a sparse matrix, so wrong ones
would write outside of it.
"""

from typing import Any, TypeAlias

import numpy as np
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from .state_rules import LABELS, Sizes, array, count

Encoder: TypeAlias = OneHotEncoder | OrdinalEncoder


def flag(value: Any, sizes: Sizes) -> bool:
    """True and False, Python's or NumPy's."""
    return isinstance(value, bool | np.bool_)


def categories(value: Any, sizes: Sizes) -> bool:
    """The categories of each column; numbers are sorted, because they are searched for."""
    return type(value) is list and all(
        array(LABELS, f"n_categories {i}", allows_nan=True)(entries, sizes)
        and len(entries) > 0
        and (entries.dtype.kind in "UO" or _is_sorted(entries))
        for i, entries in enumerate(value)
    )


def _is_sorted(numbers: np.ndarray) -> bool:
    known = numbers[:-1] if np.isnan(numbers[-1]) else numbers
    return bool((known[:-1] < known[1:]).all())


def positions(value: Any, sizes: Sizes) -> bool:
    """Positions in the categories of each column, or None."""
    return type(value) is list and all(
        entry is None or array("iu", "n")(entry, {}) for entry in value
    )


def dropped(value: Any, sizes: Sizes) -> bool:
    """One position for each column, or None."""
    return value is None or (
        array("O", "n_features_in_")(value, sizes)
        and all(entry is None or (type(entry) is int and entry >= 0) for entry in value)
    )


def widths(value: Any, sizes: Sizes) -> bool:
    """The number of columns of the output for each column."""
    return type(value) is list and all(count(entry, {}) for entry in value)


def missing(value: Any, sizes: Sizes) -> bool:
    """The position of NaN in the categories of a column."""
    return type(value) is dict and all(
        type(entry) is int and entry >= 0 for pair in value.items() for entry in pair
    )


def code(value: Any, sizes: Sizes) -> bool:
    """A number that stands for a category, NaN, or None."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return value is None or (is_number and not np.isinf(value))


def number_dtype(value: Any, sizes: Sizes) -> bool:
    """A dtype of numbers, as a type, a string or a dtype."""
    is_dtype = isinstance(value, type | str | np.dtype)
    return is_dtype and np.dtype(value).kind in "biuf"


def is_concat(value: Any, sizes: Sizes) -> bool:
    """The name of the default `feature_name_combiner`."""
    return type(value) is str and value == "concat"


def check_categories(encoder: Encoder) -> None:
    """Check that the positions of a fitted encoder are those of its categories."""
    sizes = [len(entries) for entries in encoder.categories_]
    if len(sizes) != encoder.n_features_in_:
        raise ValueError("it has categories of another number of columns")
    if isinstance(encoder, OrdinalEncoder):
        for i, position in encoder._missing_indices.items():
            if position != sizes[i] - 1:
                raise ValueError("NaN is not the last category of a column")
            sizes[i] -= 1
    if encoder._infrequent_enabled:
        infrequent, mappings = encoder._infrequent_indices, encoder._default_to_infrequent_mappings
        sizes = [
            size if rare is mapping is None else _check_mapping(rare, mapping, size)
            for rare, mapping, size in zip(infrequent, mappings, sizes, strict=True)
        ]
    if isinstance(encoder, OneHotEncoder):
        _check_widths(encoder, sizes)


def _check_mapping(rare: np.ndarray, mapping: np.ndarray, n_categories: int) -> int:
    """Check the positions of categories of which the rare ones are one; return their number."""
    is_rare = np.zeros(n_categories, dtype=bool)
    is_rare[rare] = True
    expected = np.where(is_rare, (~is_rare).sum(), np.cumsum(~is_rare) - 1)
    if not (len(rare) and (rare >= 0).all() and np.array_equal(mapping, expected)):
        raise ValueError("its infrequent categories are not those of its fit")
    return int((~is_rare).sum()) + 1


def _check_widths(encoder: OneHotEncoder, sizes: list[int]) -> None:
    left_out = encoder._drop_idx_after_grouping
    if (left_out is None) != (encoder.drop_idx_ is None):
        raise ValueError("it drops other categories than those of its fit")
    for dropped, limits in (
        (left_out, sizes),
        (encoder.drop_idx_, [len(entries) for entries in encoder.categories_]),
    ):
        if dropped is not None and any(
            position is not None and position >= size
            for position, size in zip(dropped, limits, strict=True)
        ):
            raise ValueError("it drops a category that a column does not have")
    n_dropped = [0] * len(sizes) if left_out is None else [i is not None for i in left_out]
    if encoder._n_features_outs != [n - k for n, k in zip(sizes, n_dropped, strict=True)]:
        raise ValueError("its output has another number of columns")


def typical_categories(encoder: Encoder) -> np.ndarray:
    """A row of the first category of each column."""
    row = np.empty(encoder.n_features_in_, dtype="O")
    row[:] = [entries.tolist()[0] for entries in encoder.categories_]
    return row
