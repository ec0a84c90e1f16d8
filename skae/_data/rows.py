"""Validation of rows: floats of a precision that is asked for, and sparse matrices in one form."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from .device import TORCH_DTYPES


def validate_rows(estimator: BaseEstimator, X: Any, **options: Any) -> Any:
    """Validate rows of floats as `validate_data` does; NaN and CSR matrices are allowed.

    With a target `y` the result is the pair of both.
    """
    defaults = {
        "accept_sparse": "csr",
        "dtype": list(TORCH_DTYPES),
        "ensure_all_finite": "allow-nan",
    }
    options = defaults | options
    with np.errstate(over="ignore", invalid="ignore"):  # scikit-learn adds up all values
        checked = validate_data(estimator, X, **options)
    if "y" in options:
        X, y = checked
        return as_floats(X, options["dtype"]), y
    return as_floats(checked, options["dtype"])


def validate_codes(X: Any, **options: Any) -> Any:
    """Validate codes of floats, or a CSR matrix of them, as `check_array` does."""
    with np.errstate(over="ignore", invalid="ignore"):
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
