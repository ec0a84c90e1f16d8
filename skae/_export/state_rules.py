"""Rules for the attributes of estimators from files: their types, and the shapes of arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.impute import MissingIndicator
from torch import nn

Sizes = dict[str, int]  # of the axes of arrays, by name
Rule = Callable[[Any, Sizes], bool]
REAL = "fiu"
LABELS = "biufUO"


def either(*rules: Rule) -> Rule:
    """Values that follow one of the rules."""
    return lambda value, sizes: any(rule(value, sizes) for rule in rules)


def _kind(values: np.ndarray | torch.Tensor) -> str:
    """The kind of dtype, as in NumPy."""
    if isinstance(values, np.ndarray):
        return values.dtype.kind
    return "b" if values.dtype == torch.bool else "f" if values.is_floating_point() else "i"


def is_finite(values: np.ndarray | torch.Tensor, *, allows_nan: bool = False) -> bool:
    """Whether all numbers are finite, or NaN where this is allowed."""
    library: Any = np if isinstance(values, np.ndarray) else torch
    refused = library.isinf(values) if allows_nan else ~library.isfinite(values)
    return not refused.any()


def array(kinds: str, *axes: str, allows_nan: bool = False) -> Rule:
    """Arrays or tensors of finite numbers, of these kinds of dtype and these axes.

    Axes of one name have one size.
    """

    def rule(value: Any, sizes: Sizes) -> bool:
        return (
            isinstance(value, np.ndarray | torch.Tensor)
            and _kind(value) in kinds
            and value.ndim == len(axes)
            and all(
                sizes.setdefault(axis, n) == n for axis, n in zip(axes, value.shape, strict=True)
            )
            and (_kind(value) != "f" or is_finite(value, allows_nan=allows_nan))
        )

    return rule


def all_of(container: type[list] | type[tuple], entry: Rule) -> Rule:
    """Lists, or tuples, whose entries follow a rule."""
    return lambda value, sizes: type(value) is container and all(entry(v, sizes) for v in value)


def named(*names: str) -> Rule:
    """Objects of the classes of this package that have one of the names, or None among them."""
    return lambda value, sizes: (
        type(value).__name__ in names and type(value).__module__.split(".")[0] == "skae"
    )


def module(*names: str) -> Rule:
    """Networks of the classes that have one of the names."""
    is_named = named(*names)
    return lambda value, sizes: isinstance(value, nn.Module) and is_named(value, sizes)


def none(value: Any, sizes: Sizes) -> bool:
    """None."""
    return value is None


def number(value: Any, sizes: Sizes) -> bool:
    """Finite numbers, Python's or NumPy's."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return is_number and bool(np.isfinite(value))


def count(value: Any, sizes: Sizes) -> bool:
    """Numbers of things."""
    return isinstance(value, int | np.integer) and type(value) is not bool and bool(value >= 0)


def flag(value: Any, sizes: Sizes) -> bool:
    """True and False."""
    return isinstance(value, bool)


def text(value: Any, sizes: Sizes) -> bool:
    """Strings."""
    return isinstance(value, str)


def function(value: Any, sizes: Sizes) -> bool:
    """Functions, which a file refers to by name, or None."""
    return value is None or callable(value)


def dtype(value: Any, sizes: Sizes) -> bool:
    """The dtypes of arrays."""
    return isinstance(value, np.dtype)


def estimator(value: Any, sizes: Sizes) -> bool:
    """Estimators, which are checked themselves, for rows of the same width."""
    width = getattr(value, "n_features_in_", None)
    return isinstance(value, BaseEstimator) and width in (None, sizes.get("n_features_in_", width))


def estimator_of(axis: str) -> Rule:
    """Estimators for rows that have as many columns as an axis of arrays has entries."""

    def rule(value: Any, sizes: Sizes) -> bool:
        width = getattr(value, "n_features_in_", None)
        columns = {} if width is None else {"n_features_in_": sizes.setdefault(axis, width)}
        return estimator(value, columns)

    return rule


def estimator_of_windows(value: Any, sizes: Sizes) -> bool:
    """Estimators for windows of a series: their columns are those of the series, several times."""
    if "window_size_" not in sizes or "n_features_in_" not in sizes:  # which is noticed later
        return estimator(value, {})
    return estimator(value, {"n_features_in_": sizes["n_features_in_"] * sizes["window_size_"]})


def missing_indicator(value: Any, sizes: Sizes) -> bool:
    """scikit-learn's indicators of missing entries, for rows of the same width."""
    return type(value) is MissingIndicator and estimator(value, sizes)


def record(*names: str) -> Rule:
    """Statistics of the codes: named tuples of numbers and arrays."""
    is_named = named(*names)
    statistic = either(array(REAL, "n_components_"), array(REAL, "n_components_", "n_components_"))

    def rule(value: Any, sizes: Sizes) -> bool:
        return is_named(value, sizes) and all(
            statistic(getattr(value, name), sizes)
            if field is np.ndarray
            else number(getattr(value, name), sizes)
            for name, field in type(value).__annotations__.items()
        )

    return rule


def names_of_features(value: Any, sizes: Sizes) -> bool:
    """The names of the columns."""
    return array("O", "n_features_in_")(value, sizes) and all(type(v) is str for v in value)


def container_config(value: Any, sizes: Sizes) -> bool:
    """The settings of `set_output`."""
    return isinstance(value, dict) and all(
        key == "transform" and kind in ("default", "pandas", "polars")
        for key, kind in value.items()
    )


def texts_by_name(value: Any, sizes: Sizes) -> bool:
    """Strings by name."""
    return isinstance(value, dict) and all(
        type(name) is type(entry) is str for name, entry in value.items()
    )


def steps(value: Any, sizes: Sizes) -> bool:
    """The steps of a pipeline."""
    return isinstance(value, list) and all(
        isinstance(step, tuple)
        and len(step) == 2
        and isinstance(step[0], str)
        and (step[1] in (None, "passthrough") or isinstance(step[1], BaseEstimator))
        for step in value
    )
