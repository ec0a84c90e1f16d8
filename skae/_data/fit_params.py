"""What an estimator passes on to `fit` of the estimator within it."""

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
