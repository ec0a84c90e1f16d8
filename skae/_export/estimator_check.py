"""A check that an estimator from a file works: its methods return what their shapes promise."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import MissingIndicator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelBinarizer,
    LabelEncoder,
    OneHotEncoder,
    OrdinalEncoder,
)
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._autoencoders.base import BaseAutoencoder
from .._data.table import Table
from .._data.table_rows import table_of
from .column_state import active, check_columns
from .encoder_state import check_categories, typical_categories
from .fitted_state import check_is_complete
from .module_state import one_step
from .network_check import MAX_ENTRIES, MAX_ENTRIES_PER_FEATURE, SizeLimit, check_network

# Methods of rows. scikit-learn's `score_samples` can fail for fits that are sound.
METHODS_OF_ALL = ("transform", "predict", "predict_proba", "decision_function")
OUR_METHODS = ("reconstruct", "score_samples", "feature_contributions", "posterior")
# Attributes that hold the means of the columns, or numbers like them.
TYPICAL_VALUES = ("mean_", "statistics_", "center_", "data_min_")


def check_estimator(estimator: BaseEstimator, is_known: Callable[[type], bool]) -> None:
    """Check a fitted estimator: its attributes are all there, and its methods return numbers.

    Of a custom class only the network is checked. Any exception can be raised if the file was not
    written by `save`.
    """
    check_is_complete(estimator)
    if not _is_fitted(estimator):
        return
    if isinstance(estimator, BaseAutoencoder):
        check_network(estimator)
    if isinstance(estimator, ColumnTransformer):
        check_columns(estimator)
    if isinstance(estimator, OneHotEncoder | OrdinalEncoder):
        check_categories(estimator)
    if not all(is_known(type(part)) for part in _estimators_in(estimator)):
        return
    if any(_has_function(part) for part in _estimators_in(estimator)):
        return
    probe = _without_names(estimator)
    with ExitStack() as stack:
        # Settings of the program do not matter here.
        stack.enter_context(config_context(transform_output="default", array_api_dispatch=False))
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of what an imputer has found in the rows of its fit
        for part in _estimators_in(probe):
            for value in vars(part).values():
                if isinstance(value, nn.Module):
                    stack.enter_context(one_step(value))
        if isinstance(probe, Pipeline):
            _output_width(probe)
        elif isinstance(probe, ColumnTransformer):
            _check_outputs(probe)
        elif isinstance(probe, OneHotEncoder | OrdinalEncoder):
            _check_result("transform", probe.transform(_typical_row(probe)[None]), 1)
        elif isinstance(probe, FrozenEstimator):  # its estimator was checked
            pass
        elif isinstance(probe, LabelEncoder | LabelBinarizer):
            probe.inverse_transform(probe.transform(probe.classes_))
        elif isinstance(probe, MissingIndicator):
            if not ((probe.features_ >= 0) & (probe.features_ < probe.n_features_in_)).all():
                raise ValueError("it marks columns that it does not have")
        elif (n_entries := sum(_sizes_of_arrays(probe))) > 0:
            _check_rows(probe, n_entries)


def _check_rows(estimator: Any, n_entries: int) -> None:
    """Check what an estimator whose arrays have so many entries returns for a few rows."""
    width = estimator.n_features_in_
    if width > n_entries:
        raise ValueError(f"{width} columns are more than its arrays have entries")
    row = _typical_row(estimator)[None]
    limit = MAX_ENTRIES + n_entries + MAX_ENTRIES_PER_FEATURE * width
    # The networks of autoencoders have been checked.
    has_network = any(isinstance(value, nn.Module) for value in vars(estimator).values())
    is_checked = isinstance(estimator, BaseAutoencoder) or not has_network
    with nullcontext() if is_checked else SizeLimit(limit):
        _check_methods(estimator, row)
    # An array with an axis too many would fit one number of rows.
    for n_rows in (2, 3):
        _check_methods(estimator, np.repeat(row, n_rows, axis=0))


def _check_methods(estimator: Any, X: np.ndarray) -> None:
    is_ours = type(estimator).__module__.partition(".")[0] == "skae"
    has_missing = hasattr(estimator, "missing_values")
    if has_missing and len(X) > 1 < X.shape[1]:
        X[1, ::2] = estimator.missing_values
    # The first time steps of a series have no scores.
    n_before = vars(estimator).get("window_size_", 1) - 1
    rows = np.concatenate([np.repeat(X[:1], n_before, axis=0), X]) if n_before else X
    for name in (*METHODS_OF_ALL, *OUR_METHODS) if is_ours else METHODS_OF_ALL:
        if hasattr(estimator, name):
            results = getattr(estimator, name)(rows)
            for result in results if isinstance(results, tuple | list) else (results,):
                _check_result(name, result[n_before:], len(X), is_finite=is_ours)
    if hasattr(estimator, "inverse_transform") and not has_missing:
        restored = estimator.inverse_transform(estimator.transform(X))
        _check_result("inverse_transform", restored, len(X), is_finite=is_ours)
    if hasattr(estimator, "sample"):
        _check_result("sample", estimator.sample(len(X)), len(X), is_finite=False)
    if is_classifier(estimator):
        shape = estimator.predict_proba(X).shape
        if shape != (len(X), len(estimator.classes_)):
            raise ValueError(f"its probabilities of {len(X)} rows have the shape {shape}")


def _check_result(name: str, result: Any, n_rows: int, *, is_finite: bool = False) -> None:
    values = result.toarray() if hasattr(result, "toarray") else np.asarray(result)
    if len(values) != n_rows:
        raise ValueError(f"its `{name}` returns {len(values)} rows for {n_rows}")
    if is_finite and values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"its `{name}` returns numbers that are not finite")


def _output_width(estimator: Any) -> int | None:
    """The number of columns that `transform` returns, None if this is not known.

    Each step of a pipeline takes rows of the width that the step before it returns. A step is
    applied to a typical row of its own: one that the steps before return can be unusual for it.
    """
    if isinstance(estimator, FrozenEstimator):
        return _output_width(estimator.estimator)
    if isinstance(estimator, ColumnTransformer) and hasattr(estimator, "transformers_"):
        return sum(_slice_width(estimator, name) for name, _, _ in active(estimator))
    if isinstance(estimator, FunctionTransformer):
        return getattr(estimator, "n_features_in_", None)
    if not isinstance(estimator, Pipeline):
        if not (_is_fitted(estimator) and hasattr(estimator, "transform")):
            return None
        return estimator.transform(_typical_row(estimator)[None]).shape[1]
    width = None
    for _, step in estimator.steps:
        if step in (None, "passthrough"):
            continue
        expected = getattr(step, "n_features_in_", None)
        if None not in (width, expected) and width != expected:
            raise ValueError(f"a step takes {expected} columns, the one before returns {width}")
        width = _output_width(step)
    return width


def _slice_width(estimator: ColumnTransformer, name: str) -> int:
    place = estimator.output_indices_[name]
    return place.stop - place.start


def _check_outputs(estimator: ColumnTransformer) -> None:
    for name, transformer, _ in active(estimator):
        width, expected = _output_width(transformer), _slice_width(estimator, name)
        if width != expected:
            raise ValueError(f"{name!r} returns {width} columns instead of {expected}")


def _has_function(estimator: BaseEstimator) -> bool:
    """Whether an estimator of scikit-learn calls a function of the user."""
    return any(callable(vars(estimator).get(name)) for name in ("func", "inverse_func"))


def _typical_row(estimator: Any) -> np.ndarray:
    """A row that is in the domain of a fitted estimator, such as the mean."""
    n_features = estimator.n_features_in_
    if isinstance(estimator, FrozenEstimator):
        return _typical_row(estimator.estimator)
    if isinstance(estimator, OneHotEncoder | OrdinalEncoder):
        return typical_categories(estimator)
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        return _typical_row(steps[0]) if steps else np.zeros(n_features)
    if isinstance(estimator, ColumnTransformer):
        row = np.zeros(n_features, dtype=object)
        for _, transformer, columns in active(estimator):
            row[columns] = _typical_row(transformer)
        return row
    if (table := table_of(estimator)) is not None:
        if hasattr(estimator, "initial_imputer_"):  # takes any numbers
            return table.decode(np.zeros((1, table.width)))[0]
        inner = getattr(estimator, "encoder_", getattr(estimator, "estimator_", None))
        row = estimator.mean_ if inner is None else _typical_row(inner)
        return row if row.dtype == object else table.decode(row[None])[0]
    for name in ("initial_imputer_", "estimator_", "encoder_"):  # the first is of all columns
        if isinstance(inner := getattr(estimator, name, None), BaseEstimator):
            # That of a window has all time steps of a feature, then those of the next.
            return _typical_row(inner).reshape(n_features, -1)[:, -1]
    for name in TYPICAL_VALUES:
        if isinstance(values := getattr(estimator, name, None), np.ndarray):
            return values if values.dtype.kind != "f" else np.nan_to_num(values)
    if denoisers := getattr(estimator, "denoisers_", None):
        return denoisers.shift.numpy()
    return np.zeros(n_features)


def _is_fitted(estimator: BaseEstimator) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _estimators_in(value: Any) -> Iterator[BaseEstimator]:
    """An estimator and those in it."""
    if isinstance(value, BaseEstimator):
        yield value
        value = list(vars(value).values())
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _estimators_in(entry)


def _sizes_of_arrays(estimator: BaseEstimator) -> Iterator[int]:
    for part in _estimators_in(estimator):
        for value in vars(part).values():
            if isinstance(value, np.ndarray):
                yield value.size
            elif isinstance(value, nn.Module):
                yield from (tensor.numel() for tensor in value.parameters())
                yield from (tensor.numel() for tensor in value.buffers())


def _without_names(value: Any) -> Any:
    """A copy that shares all arrays, without feature names and output containers.

    The copy has another random state, so the random state of the estimator does not change.
    """
    if isinstance(value, list | tuple) and any(True for _ in _estimators_in(value)):
        return type(value)(map(_without_names, value))
    if type(value) is Table:
        return value._replace(container="numpy", dtypes=["object"] * len(value.dtypes))
    if not isinstance(value, BaseEstimator):
        return value
    copied = object.__new__(type(value))
    state = {name: _without_names(part) for name, part in vars(value).items()}
    for name in ("feature_names_in_", "_sklearn_output_config"):
        state.pop(name, None)
    # A file must not choose how many processes the check starts.
    state |= {name: new for name, new in (("random_state", 0), ("n_jobs", None)) if name in state}
    vars(copied).update(state)
    return copied
