"""Validation of rows: floats of a precision that is asked for, and sparse matrices in one form."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from .array_api import library_of
from .device import TORCH_DTYPES
from .validation import shortened


def validate_rows(
    estimator: BaseEstimator, X: Any, *, any_library: bool = False, **options: Any
) -> Any:
    """Validate rows of floats as `validate_data` does; NaN and CSR matrices are allowed.

    With a target `y` the result is the pair of both. Unless `any_library`, arrays of other
    libraries than NumPy are refused under scikit-learn's `array_api_dispatch`; without it
    scikit-learn makes NumPy arrays of them.
    """
    if not any_library and get_config()["array_api_dispatch"]:
        for name, values in (("X", X), ("y", options.get("y"))):
            _check_of_numpy(estimator, name, values)
    if getattr(X, "ndim", 2) > 2:
        _refuse_images(estimator, X.shape)
    defaults = {
        "accept_sparse": "csr",
        "dtype": list(TORCH_DTYPES),
        "ensure_all_finite": "allow-nan",
    }
    options = defaults | options
    _check_indices(X)
    # scikit-learn adds up all values
    with np.errstate(over="ignore", invalid="ignore"), _explained_conversion(X):
        checked = validate_data(estimator, X, **options)
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
def _explained_conversion(X: Any) -> Iterator[None]:
    """Name `X` in the errors of its conversion to an array of numbers."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        reason = shortened(str(error).partition("\n")[0])
        if "Complex data" not in reason and (re.search(r"\bX\b", reason) or _is_convertible(X)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"X must be convertible to an array of real numbers: {reason}") from error


def _is_convertible(X: Any) -> bool:
    if sparse.issparse(X) or (get_config()["array_api_dispatch"] and library_of(X) != "numpy"):
        return True
    try:
        np.asarray(X, dtype=np.float64)
    except Exception:  # of any object that a user passes
        return False
    return True


def _check_indices(X: Any) -> None:
    """Refuse a sparse matrix that points outside its columns: SciPy reads and writes there."""
    if not (sparse.issparse(X) and X.format in ("csr", "csc", "bsr")):
        return
    try:
        X.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"X must be a valid sparse matrix: {error}.") from error


def _refuse_images(estimator: BaseEstimator, shape: tuple[int, ...]) -> None:
    """Say how images are passed as rows, channels first."""
    rows, image_shape = "X.reshape(len(X), -1)", tuple(shape[1:])
    if len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4):
        rows = "X.transpose(0, 3, 1, 2).reshape(len(X), -1)"
        image_shape = (shape[3], shape[1], shape[2])
    with_shape = ""
    if hasattr(estimator, "image_shape") and len(shape) <= 4:
        with_shape = f" with image_shape={image_shape}"
    raise ValueError(
        f"X must have two dimensions, rows and columns, to be taken by {type(estimator).__name__}, "
        f"got shape {tuple(shape)}. If it consists of images, pass {rows}{with_shape}."
    )


def validate_codes(X: Any, **options: Any) -> Any:
    """Validate codes of floats, or a CSR matrix of them, as `check_array` does."""
    _check_indices(X)
    with np.errstate(over="ignore", invalid="ignore"), _explained_conversion(X):
        checked = check_array(X, accept_sparse="csr", **options)
    return as_floats(checked, options["dtype"])


def as_floats(X: Any, dtypes: list[Any]) -> Any:
    """What scikit-learn's validation returned, in one of the dtypes and, if CSR, canonical.

    A sparse frame of Booleans passes scikit-learn's checks as Booleans, whatever dtype is asked
    for. The same entry may be stored several times in a CSR matrix, of which the sum counts; all
    that reads the stored entries would take each for a value.
    """
    if (sparse.issparse(X) or isinstance(X, np.ndarray)) and X.dtype not in dtypes:
        X = X.astype(dtypes[0])
    if sparse.issparse(X) and not X.has_canonical_format:
        X = X.copy()  # the caller's matrix stays as it is
        X.sum_duplicates()
        if np.isinf(X.data).any():
            raise ValueError("X has entries, stored several times, whose sum is infinite.")
    return X
