"""Checks of the parameters of a fit against the data and against other processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from .._data.array_api import to_native
from .._data.dataset import nothing_observed, observed_rows
from .._data.groups import RowGroups
from .._data.memory import check_memory
from .._data.messages import described
from .._data.process_group import SingleProcess, check_same_on_all_ranks
from .._data.rows import COLOUR_CHANNELS, naming
from .._data.table_rows import table_of
from .._data.user_warnings import warn_user
from .._data.validation import as_tuple, check_parameters
from .._nn.fitted import FittedAutoencoder
from .._nn.old_names import REMOVED_IN
from .._nn.precision import FAR
from .._training.callbacks import callback_names
from .._training.diagnostics import WARNS
from .._training.fit_data import FitData
from .._training.initialization import flops_per_row
from .shared_parameters import SharedParameters

# The largest ratio of the sides of what is taken for an image.
MAX_ASPECT = 4


def check_same_fit(
    estimator: SharedParameters,
    group: SingleProcess,
    X: Any,
    X_val: Any = None,
    groups: RowGroups | None = None,
    weights: np.ndarray | None = None,
    *,
    continues: bool,
) -> None:
    """Raise on all ranks unless parameters, columns and dtypes are the same on all of them."""
    if group.size > 1 and table_of(estimator) is not None:
        raise ValueError(
            "X must consist of numbers in a process group, whose processes have different rows: "
            "encode the categories first, with categories that you list, as OneHotEncoder does."
        )
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
        "Whether `sample_weight` is given": weights is not None,
        "Whether an earlier fit is continued": continues,
        "The callbacks": callback_names(estimator),
    }
    check_same_on_all_ranks(group, {"The estimator": type(estimator).__name__} | parameters | state)


def network_parameters(estimator: SharedParameters) -> dict[str, str]:
    """The parameters that a network was made by and keeps while its training continues, as text."""
    return {name: _as_text(getattr(estimator, name)) for name in estimator._of_network}


def network_to_continue(estimator: Any) -> FittedAutoencoder | None:
    """The network of an earlier fit, unless there is none.

    Raises an error if a parameter of the network has another value than in that fit.
    """
    if not estimator.__sklearn_is_fitted__():
        return None
    before = vars(estimator).get("_fit_parameters", {})  # absent in pickles of version 0.1
    for name, text in network_parameters(estimator).items():
        if (fitted := before.get(name, text)) != text:
            raise ValueError(
                f"`{name}` must stay {fitted} while training continues, got "
                f"{getattr(estimator, name)!r}; use warm_start=False and fit to begin anew."
            )
    return estimator.network_


def _as_text(value: Any) -> str:
    """A parameter in a form in which equal numbers and sequences are equal."""
    if value is None or isinstance(value, str):
        return repr(value)
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    numbers = np.asarray(value)
    return repr(tuple(numbers.tolist()) if numbers.ndim else numbers.item())


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


def rows_for_early_stopping(estimator: Any, X_val: Any) -> Any:
    """`X_val` as validated rows, or None."""
    if X_val is None:
        return None
    if not estimator.early_stopping:
        warn_without_effect(estimator, "early_stopping", "with `X_val`, whose rows compare epochs")
    with naming("X_val"):
        X_val = estimator._checked_for_fit(X_val)
        if not observed_rows(to_native(X_val)).any():
            raise nothing_observed()
    return X_val


@contextmanager
def naming_units(data: FitData) -> Iterator[None]:
    """Name the units in an error of a fit that continues with much larger rows."""
    try:
        yield
    except ValueError as error:
        distance = np.hypot(data.moments.std, data.moments.mean - data.shift)
        size = np.sqrt(np.mean(distance**2)) / data.scale
        if data.fitted is None or size < FAR[torch.float32]:
            raise
        raise ValueError(
            "X must have the units of the rows of the first `fit` or `partial_fit`, which the "
            f"network has: it is about {size:.0e} times as large, and results are not finite."
        ) from error


def code_size(
    estimator: SharedParameters, n_samples: int, n_features: int, fitted: FittedAutoencoder | None
) -> int | float:
    """`n_components` as a number, or a share, checked against the shape of `X`."""
    if estimator.image_shape is not None:
        _check_image_shape(as_tuple(estimator.image_shape), n_features, warns=fitted is None)
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
        given = n_features if estimator._overcomplete else largest
    if is_share:
        return float(given)
    if given > largest and not estimator._overcomplete:
        encoded = "" if table_of(estimator) is None else ", with a feature for each category"
        raise ValueError(
            f"`n_components` must be at most min(n_samples, n_features) = {largest}, got "
            f"{given}; here n_samples = {n_samples}, n_features = {n_features}{encoded}."
        )
    _check_network_size(estimator, n_features, int(given))
    return int(given)


def _check_network_size(estimator: SharedParameters, n_features: int, n_components: int) -> None:
    """Refuse a network whose weights alone, of 64 bits at first, are larger than the memory."""
    n_weights = float(n_features) * n_components
    if estimator.network is None and estimator.image_shape is None:
        n_weights = flops_per_row(estimator, n_features, n_components) / 6
    n_networks = 1 if estimator.tied_weights else 2
    check_memory(
        8 * n_networks * n_weights,
        f"A network for {n_features} features with `n_components`={n_components} and "
        f"`hidden_layer_sizes`={described(estimator.hidden_layer_sizes)} needs more memory than "
        "there is.",
    )


def _check_image_shape(shape: tuple[int, ...], n_features: int, *, warns: bool) -> None:
    """Refuse a wrong number of pixels; warn of what seems to be (height, width, channels)."""
    if prod(shape) != n_features:
        raise ValueError(
            f"`image_shape` must have n_features = {n_features} pixels, got "
            f"{shape} with {prod(shape)}."
        )
    if not (warns and WARNS.get()) or len(shape) == 2 or shape[2] not in COLOUR_CHANNELS:
        return
    height, width, channels = shape
    if channels < min(height, width) and max(height, width) <= MAX_ASPECT * min(height, width):
        warn_user(
            f"`image_shape`={shape} means {height} channels of {width} x {channels} pixels. For "
            f"images of shape {shape} with the channels last, use image_shape="
            f"{(channels, height, width)} and the rows images.transpose(0, 3, 1, 2)"
            ".reshape(len(images), -1).",
            UserWarning,
        )


def check_shared_parameters(parameters: SharedParameters) -> None:
    """Raise a TypeError or ValueError unless the parameters are valid, each and together."""
    refuse_mle(parameters)
    check_parameters(parameters)
    check_user_network(parameters)
    warn_of_parameters_without_effect(parameters)


def refuse_mle(parameters: SharedParameters) -> None:
    """Refuse `n_components="mle"` of PCA with the reason, and with what to use instead."""
    if str(parameters.n_components) == "mle":
        raise ValueError(
            "`n_components` must be an int, a share of the variance or None, got 'mle'. Minka's "
            "estimate is the dimension of a linear subspace, and a curved surface has a smaller "
            "one. Use a share, such as 0.9, or PCA('mle').fit(X).n_components_."
        )


def check_user_network(parameters: SharedParameters) -> None:
    """Refuse parameters of layers beside a `network`."""
    if parameters.network is None:
        return
    for name in ("tied_weights", "image_shape", "pretraining"):
        if _is_given(parameters, name):
            raise ValueError(
                f"`{name}` must be {getattr(SharedParameters, name)!r} with a `network` of your "
                f"own, got {getattr(parameters, name)!r}: build that into its modules instead."
            )
    ignored = [n for n in ("hidden_layer_sizes", "activation") if _is_given(parameters, n)]
    if ignored and WARNS.get():
        names = " and ".join(f"`{name}`={getattr(parameters, name)!r}" for name in ignored)
        warn_user(
            f"{names} has no effect, because `network` makes all layers. This will be an error in "
            f"version {REMOVED_IN}: leave it out.",
            FutureWarning,
        )


def warn_of_parameters_without_effect(parameters: SharedParameters) -> None:
    """Warn of a parameter that is given although another one makes it idle."""
    if parameters.l1_ratio and not parameters.alpha:
        warn_without_effect(parameters, "l1_ratio", "with `alpha`=0")


def warn_without_effect(parameters: SharedParameters, name: str, reason: str) -> None:
    """Warn that a parameter has no effect, unless another fit warns of it."""
    if WARNS.get():
        value = getattr(parameters, name)
        warn_user(f"`{name}`={value!r} has no effect {reason}.", UserWarning)


def _is_given(parameters: SharedParameters, name: str) -> bool:
    """Whether a parameter has another value than its default, or its default in version 0.1."""
    defaults = getattr(type(parameters), name), getattr(SharedParameters, name)
    return _as_text(getattr(parameters, name)) not in map(_as_text, defaults)
