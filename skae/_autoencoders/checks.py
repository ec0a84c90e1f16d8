"""Checks of the parameters of a fit against the data and against other processes."""

from math import prod
from numbers import Integral, Real
from typing import Any

from .._data.groups import RowGroups
from .._data.process_group import SingleProcess, check_same_on_all_ranks
from .._nn.fitted import FittedAutoencoder
from .._training.callbacks import callback_names
from .shared_parameters import SharedParameters


def check_same_fit(
    estimator: SharedParameters,
    group: SingleProcess,
    X: Any,
    X_val: Any = None,
    groups: RowGroups | None = None,
    *,
    continues: bool,
) -> None:
    """Raise on all ranks unless parameters, columns and dtypes are the same on all of them."""
    # Devices, seeds and `verbose` may differ; functions and the like cannot be compared.
    own = ("device", "random_state", "verbose")
    parameters = {
        f"`{name}`": value
        for name, value in estimator.get_params(deep=False).items()
        if name not in own and isinstance(value, str | Real | tuple | list | None)
    }
    state = {
        "The number of columns of `X`": X.shape[1],
        "The dtype of `X`": str(X.dtype),
        "Whether `X_val` is given": X_val is not None,
        "Whether `groups` is given": groups is not None,
        "Whether an earlier fit is continued": continues,
        "The callbacks": callback_names(estimator),
    }
    check_same_on_all_ranks(group, {"The estimator": type(estimator).__name__} | parameters | state)


def check_streamable(
    estimator: SharedParameters, n_components: int | float, fitted: FittedAutoencoder | None
) -> None:
    """Raise unless the parameters are valid for partial_fit."""
    if isinstance(n_components, float):
        raise ValueError(
            "`n_components` must be an integer or None in partial_fit, which cannot search "
            f"for a share of the variance, got {n_components}."
        )
    if estimator.pretraining is not None and fitted is None:
        raise ValueError(
            "`pretraining` must be None in the first partial_fit, which passes over its "
            f"rows once, got {estimator.pretraining!r}; begin with fit instead."
        )


def code_size(
    estimator: SharedParameters, n_samples: int, n_features: int, fitted: FittedAutoencoder | None
) -> int | float:
    """`n_components` as a number, or a share, checked against the shape of `X`."""
    if estimator.image_shape is not None and prod(estimator.image_shape) != n_features:
        raise ValueError(
            f"`image_shape` must have n_features = {n_features} pixels, got "
            f"{estimator.image_shape} with {prod(estimator.image_shape)}."
        )
    given, largest = estimator.n_components, min(n_samples, n_features)
    is_share = given is not None and not isinstance(given, Integral)
    if fitted is not None:
        n_fitted = fitted.n_components
        if not is_share and given not in (n_fitted, None):
            raise ValueError(
                f"`n_components` must stay {n_fitted} while training continues, got "
                f"{given}; use warm_start=False to begin anew."
            )
        return n_fitted
    if given is None:
        return n_features if estimator._overcomplete else largest
    if is_share:
        return float(given)
    if given > largest and not estimator._overcomplete:
        raise ValueError(
            f"`n_components` must be at most min(n_samples, n_features) = {largest}, got "
            f"{given}; here n_samples = {n_samples}, n_features = {n_features}."
        )
    return int(given)


def check_user_network(parameters: SharedParameters) -> None:
    """Refuse parameters that describe the layers where `network` returns them."""
    if parameters.network is None:
        return
    for name, value in {"tied_weights": False, "image_shape": None, "pretraining": None}.items():
        if (given := getattr(parameters, name)) != value:
            raise ValueError(
                f"`{name}` must be {value} with a `network` of your own, got {given!r}: build "
                "that into its modules instead."
            )
