"""Parameters that an estimator passes on to `fit` of its inner estimator, and its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sklearn import get_config
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter


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
