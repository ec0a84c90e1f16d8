"""Validation of rows: conversion to floats of one precision and to canonical sparse matrices."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data
from torch import Tensor, strided

from .array_api import as_numpy, library_of
from .device import TORCH_DTYPES
from .frames import DATES, column_of, is_frame, is_missing, values_of, without_fill_values
from .messages import described, shortened
from .user_warnings import warn_user
from .validation import as_tuple

# The number of channels of grey, colour and transparent images.
COLOUR_CHANNELS = (1, 3, 4)


def validate_rows(
    estimator: BaseEstimator, X: Any, *, any_library: bool = False, **options: Any
) -> Any:
    """Validate rows of floats as `validate_data` does; NaN and CSR matrices are allowed.

    Masked entries become NaN. With a target `y` the result is `X` and `y`. Under scikit-learn's
    `array_api_dispatch`, arrays of other libraries than NumPy raise an error unless `any_library`.
    Without `array_api_dispatch`, scikit-learn converts them to NumPy arrays.
    """
    if not any_library and get_config()["array_api_dispatch"]:
        for name, values in (("X", X), ("y", options.get("y"))):
            _check_of_numpy(estimator, name, values)
    if getattr(X, "ndim", 2) > 2:
        _refuse_images(estimator, X.shape, in_fit=options.get("reset", True))
    defaults = {
        "accept_sparse": "csr",
        "dtype": list(TORCH_DTYPES),
        "ensure_all_finite": "allow-nan",
    }
    options = defaults | options
    if "y" in options:
        check_labels(options["y"])
    with explained_conversion(X):
        X = _prepared(X)
        checked = validate_data(estimator, X, **options)
    if options.get("reset", True):
        _warn_of_dates(X)
    if "y" in options:
        X, y = checked
        return as_floats(X, options["dtype"]), y
    return as_floats(checked, options["dtype"])


def _check_of_numpy(estimator: BaseEstimator, name: str, values: Any) -> None:
    if (library := library_of(values)) != "numpy":
        raise TypeError(
            f"{type(estimator).__name__} takes no arrays of {library} under array_api_dispatch: "
            f"pass a NumPy array as `{name}`, or set array_api_dispatch=False."
        )


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Name this parameter instead of `X` in the errors about its rows."""
    try:
        yield
    except NotFittedError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        text = re.sub(r"\bX\b", name, str(error))
        if not re.search(rf"\b{name}\b", text):
            text = f"`{name}`: {text}"
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(text) from error


@contextmanager
def explained_conversion(X: Any) -> Iterator[None]:
    """Name `X` in the errors of its conversion to an array of numbers."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # scikit-learn adds up all values
            yield
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        if is_frame(X):
            check_columns(list(X.columns))
        reason = shortened(str(error).partition("\n")[0])
        if "Complex data" not in reason and (re.search(r"\bX\b", reason) or _is_convertible(X)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        text, column = "X must be convertible to an array of real numbers", _described_column(X)
        if not (column and "<class" in reason):  # NumPy writes of its own classes
            text += f": {reason.rstrip('.')}"
        raise kind(f"{text}.{column}") from error


def _described_column(X: Any) -> str:
    """The first column of a frame that cannot be converted to numbers, as a sentence."""
    if is_frame(X):
        for position, name in enumerate(X.columns):
            column = column_of(X, position)
            if not _has_numbers(column):
                remedy = ": convert it to numbers" if DATES.match(str(column.dtype)) else ""
                return f" Column {name!r} has the dtype {column.dtype}{remedy}."
    return ""


def _warn_of_dates(X: Any) -> None:
    """Warn of dates that scikit-learn's checks have converted to integers."""
    columns = X.columns if is_frame(X) else [0]
    for position, name in enumerate(columns):
        values = column_of(X, position) if is_frame(X) else X
        if DATES.match(str(getattr(values, "dtype", ""))):
            warn_user(
                f"Column {name!r} of X has dates, which are read as integers. This will be an "
                "error in version 0.4: convert it to numbers.",
                FutureWarning,
            )
            return


def _has_numbers(column: Any) -> bool:
    """Whether all entries of a column of a frame are real numbers, strings of them, or missing."""
    if DATES.match(str(column.dtype)):
        return False
    values = [None if is_missing(value) else value for value in values_of(column)]
    if not _is_convertible(values) or str(column.dtype).startswith("complex"):
        return False
    return np.asarray(values, dtype=np.float64).ndim == 1


def check_columns(names: list[Any]) -> None:
    """Explain what scikit-learn refuses: no columns, and names of columns that are not distinct."""
    if not names:
        raise ValueError("X must have at least one column, got a frame with 0 feature(s).")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"X must have distinct names of columns, got {name!r} {count} times.")


def _is_convertible(X: Any) -> bool:
    if sparse.issparse(X) or (get_config()["array_api_dispatch"] and library_of(X) != "numpy"):
        return True
    try:
        np.asarray(X, dtype=np.float64)
    except Exception:  # of any object that a user passes
        return False
    return True


def _prepared(X: Any) -> Any:
    """Rows without what scikit-learn's checks do not read, or read as other numbers."""
    X = _masked_as_missing(X)
    _check_lazy(X)
    _check_tensor(X)
    _check_indices(X)
    _check_dates(X)
    return without_fill_values(X)


def _check_lazy(X: Any) -> None:
    """Refuse the lazy frames of polars, which have no rows yet."""
    if hasattr(X, "collect_schema") and not hasattr(X, "shape"):
        raise TypeError(
            f"X must be an array or a frame, got a {type(X).__name__}, which has no rows yet: pass "
            "`X.collect()`."
        )


def _check_tensor(X: Any) -> None:
    """Refuse tensors that have no memory of one number for each entry."""
    if isinstance(X, Tensor) and (X.layout != strided or X.is_meta):
        raise TypeError(
            f"X must be a dense array or a SciPy matrix, got a tensor of {X.layout} on device "
            f"{X.device}."
        )


def _check_indices(X: Any) -> None:
    """Refuse a sparse matrix that points outside its columns: SciPy reads and writes there."""
    if not (sparse.issparse(X) and X.format in ("csr", "csc", "bsr")):
        return
    try:
        X.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"X must be a valid sparse matrix: {error}.") from error


def _check_dates(X: Any) -> None:
    """Refuse NaT, which NumPy converts to a number."""
    values = X
    if is_frame(X):
        is_date = any(DATES.match(str(dtype)) for dtype in X.dtypes)
        values = np.asarray(X) if is_date else None
    elif isinstance(X, list | tuple):
        values = np.asarray(X[0]) if len(X) else None
        if getattr(values, "dtype", np.dtype(float)).kind in "mM":
            values = np.asarray(X)
    if isinstance(values, np.ndarray) and values.dtype.kind in "mM" and np.isnat(values).any():
        raise ValueError(
            "X must not have dates that are missing (NaT), which have no number: convert its dates "
            "to numbers, and NaT to NaN."
        )


def check_labels(y: Any) -> None:
    """Refuse labels that scikit-learn refuses without naming `y`, or takes silently."""
    labels = _labels(y)
    if labels.dtype.kind == "c" or any(isinstance(v, complex) for v in _objects(labels)):
        raise ValueError("`y` must hold numbers or strings: Complex data not supported.")
    for label in _objects(labels):
        if not isinstance(label, Hashable):
            raise TypeError(f"`y` must hold numbers or strings, got {described(label)}.")
    if has_missing_labels(y):
        raise ValueError("`y` must not have missing labels: -1 marks a row without a label.")


def has_missing_labels(y: Any) -> bool:
    """Whether entries of a target are masked, or objects that stand for a missing label."""
    if isinstance(y, np.ma.MaskedArray):
        return np.ma.is_masked(y)
    labels = _labels(y)
    if labels.dtype.kind in "fmM":
        return bool((labels != labels).any())  # NaN and NaT
    return any(map(is_missing, _objects(labels)))


def array_of_target(y: Any, name: str = "y") -> np.ndarray:
    """A target as an array of numbers, strings or objects."""
    try:
        array = np.asarray(as_numpy(y), dtype=object if isinstance(y, list | tuple) else None)
    except (TypeError, ValueError, RuntimeError) as error:  # such as bfloat16, which NumPy lacks
        text = f"`{name}` must be convertible to an array of numbers or strings: {error}."
        raise TypeError(text) from error
    if array.dtype.kind == "V":
        raise TypeError(f"`{name}` must hold numbers or strings, got dtype {array.dtype}.")
    return array


def _labels(y: Any) -> np.ndarray:
    """A target as an array; of no labels if it is None."""
    return array_of_target(() if y is None else y)


def _objects(labels: np.ndarray) -> Iterable[Any]:
    return labels.flat if labels.dtype == object else ()


def _masked_as_missing(X: Any) -> Any:
    """A masked array as an array with NaN, the entries of which NumPy would take as observed."""
    if isinstance(X, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in X):
        X = np.ma.array(X)
    if not isinstance(X, np.ma.MaskedArray):
        return X
    if not np.ma.is_masked(X):
        return X.data
    if X.dtype.kind in "mM":
        return np.where(np.ma.getmaskarray(X), np.array("NaT", X.dtype), X.data)
    dtype = X.dtype if X.dtype.kind in "fc" else np.float64 if X.dtype.kind in "biu" else object
    return np.ma.filled(X.astype(dtype), np.nan)


def _refuse_images(estimator: BaseEstimator, shape: tuple[int, ...], *, in_fit: bool) -> None:
    """Say how images are passed as rows, channels first."""
    image_shape, given = tuple(shape[1:]), getattr(estimator, "image_shape", None)
    given = None if given is None else as_tuple(given)
    rows = "X.reshape(len(X), -1)"
    if len(shape) == 4:
        channels_first = (shape[3], shape[1], shape[2])
        seem_last = shape[3] in COLOUR_CHANNELS and shape[1] not in COLOUR_CHANNELS
        if given == channels_first != image_shape or (seem_last and given != image_shape):
            rows = "X.transpose(0, 3, 1, 2).reshape(len(X), -1)"
            image_shape = channels_first
    with_shape = ""
    takes_images = hasattr(estimator, "image_shape") and getattr(estimator, "network", None) is None
    has_such_a_shape = given is not None and prod(given) == prod(image_shape)
    if in_fit and takes_images and len(shape) <= 4 and not has_such_a_shape:
        with_shape = f" with image_shape={image_shape}"
    raise ValueError(
        f"X must have two dimensions, rows and columns, for {type(estimator).__name__}, got shape "
        f"{tuple(shape)}. If it consists of images, pass {rows}{with_shape}."
    )


def validate_codes(X: Any, **options: Any) -> Any:
    """Validate codes of floats, or a CSR matrix of them, as `check_array` does."""
    with explained_conversion(X):
        X = _prepared(X)
        checked = check_array(X, accept_sparse="csr", **options)
    return as_floats(checked, options["dtype"])


def as_floats(X: Any, dtypes: list[Any]) -> Any:
    """The result of scikit-learn's validation, in one of the dtypes and, if CSR, canonical.

    A sparse frame of Booleans passes scikit-learn's checks as Booleans, whatever dtype is asked
    for. A CSR matrix may store several numbers for an entry, whose value is their sum. In canonical
    form there is one number for each entry.
    """
    if (sparse.issparse(X) or isinstance(X, np.ndarray)) and X.dtype not in dtypes:
        X = X.astype(dtypes[0])
    if sparse.issparse(X) and not X.has_canonical_format:
        X = X.copy()  # the caller's matrix stays as it is
        X.sum_duplicates()
        if np.isinf(X.data).any():
            raise ValueError("X has entries, stored several times, whose sum is infinite.")
    return X
