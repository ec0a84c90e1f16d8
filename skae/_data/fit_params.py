"""Parameters that an estimator passes on to `fit` of its inner estimator, and its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from .sample_weight import check_sample_weight, copied


def accepted_fit_params(estimator: Any, **params: Any) -> dict[str, Any]:
    """The parameters that are not None and that `fit` of the estimator accepts.

    A pipeline or a search accepts those that it routes to one of its estimators.
    """
    params = {name: value for name, value in params.items() if value is not None}
    routed: set[str] = set()
    if get_config()["enable_metadata_routing"]:
        routed = get_routing_for_object(estimator).consumes("fit", params)
    return {
        name: value
        for name, value in params.items()
        if name in routed or has_fit_parameter(estimator, name)
    }


def fit_weighted(estimator: Any, X: Any, y: Any, sample_weight: Any, params: dict[str, Any]) -> Any:
    """Fit an estimator with weights of rows or, if it takes none, to copies of the rows.

    The `params` are those of `accepted_fit_params`.
    """
    weights = check_sample_weight(sample_weight, X.shape[0])
    accepted = accepted_fit_params(estimator, sample_weight=weights, **params)
    if weights is None or "sample_weight" in accepted:
        return estimator.fit(X, y, **accepted)
    numbers = np.arange(1.0, X.shape[0] + 1)[:, None]
    index = copied(numbers, weights, getattr(estimator, "random_state", None))
    if index is None:
        return estimator.fit(X, y, **accepted)
    if "groups" in accepted:
        accepted["groups"] = np.asarray(accepted["groups"])[index]
    y = None if y is None else np.asarray(y)[index]
    return estimator.fit(X.iloc[index] if hasattr(X, "iloc") else X[index], y, **accepted)


@contextmanager
def fitting_part(n_rows: int, n_all: int, which: str) -> Iterator[None]:
    """Say in errors that the estimator within was fitted to some of the rows, and to which."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"`estimator` cannot be fitted to {n_rows} of the {n_all} rows of X, {which}: {error}"
        ) from error
