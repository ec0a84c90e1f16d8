"""Helpers of the displays: matplotlib on demand, grids of axes, rows as images or lines."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .._data.messages import described
from .._data.validation import (
    NONE,
    Rule,
    as_tuple,
    check_value,
    instance_of,
    integer,
    positive_integers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

# Distinguishable with most forms of colour blindness (M. A. Petroff, "Accessible color sequences
# for data visualization", 2021; a style of matplotlib from 3.10 on); markers need no colour.
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
MARKERS = "osX^Dv*P<>"

# The names of more features than this do not fit below an axis.
MAX_FEATURE_NAMES = 30

# Numbers of components. Whether there are such components is checked where they are counted.
COMPONENTS = Rule(
    "a sequence of integers",
    lambda value: isinstance(value, list | tuple | range | np.ndarray),
    lambda value: all(map(integer(0).has_type, as_tuple(value))),
)

# From black over grey to white: values can be compared by lightness alone.
GREY = "gray"


def pyplot(caller: str) -> ModuleType:
    """Return `matplotlib.pyplot`, or raise an ImportError that says how to install it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(f"{caller} needs matplotlib: `pip install matplotlib`.") from error
    return pyplot


def make_axes(caller: str, ax: Axes | None) -> Axes:
    """Return `ax`, or the axes of a new figure."""
    plt = pyplot(caller)
    _check_axes(ax)
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def make_grid(
    caller: str,
    ax: Axes | None,
    shape: tuple[int, int],
    cell: tuple[float, float],
    below: float = 0.4,
) -> np.ndarray:
    """Return a grid of axes in the place of `ax`, or in a new figure.

    A new figure has room for cells of this width and height, in inches, and for text below them.
    """
    plt = pyplot(caller)
    _check_axes(ax)
    n_rows, n_columns = shape
    if ax is None:
        size = (max(n_columns * cell[0], 2.5) + 1, max(n_rows * cell[1], 1.5) + below)
        figure = plt.figure(figsize=size, layout="constrained")
        return figure.subplots(n_rows, n_columns, squeeze=False)
    ax.set_axis_off()
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError("`ax` must be part of a grid of subplots, as `plt.subplots` makes them.")
    return place.subgridspec(n_rows, n_columns).subplots(squeeze=False)


def _check_axes(ax: object) -> None:
    from matplotlib.axes import Axes

    check_value("ax", ax, (instance_of(Axes, "a matplotlib Axes"), NONE))


def check_image_shape(image_shape: Sequence[int] | None, n_features: int) -> tuple[int, ...] | None:
    """Return the shape as a tuple, or raise unless rows with so many features are such images."""
    if image_shape is None:
        return None
    check_value("image_shape", image_shape, (positive_integers(lengths=(2, 3)), NONE))
    shape = as_tuple(image_shape)
    if prod(shape) != n_features:
        raise ValueError(
            f"`image_shape` must have n_features = {n_features} pixels, got {image_shape} with "
            f"{prod(shape)}."
        )
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] not in (1, 3)):
        raise ValueError(
            "`image_shape` must be (height, width) or (channels, height, width) with 1 or 3 "
            f"channels to be drawn, got {image_shape}."
        )
    return shape


def draw_image(
    ax: Axes,
    row: np.ndarray,
    shape: tuple[int, ...],
    limits: tuple[float, float],
    cmap: str | Colormap = GREY,
) -> None:
    """Draw a row as an image without ticks; the colours cover the values between the limits."""
    low, high = limits
    image = np.clip((row.reshape(shape) - low) / ((high - low) or 1.0), 0, 1)
    if len(shape) == 3:
        image = np.moveaxis(image, 0, -1) if shape[0] == 3 else image[0]
    ax.imshow(image, cmap=cmap, vmin=0, vmax=1)
    hide_ticks(ax)


def hide_ticks(ax: Axes) -> None:
    """Leave a thin frame and no ticks."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("0.7")


def label_row(ax: Axes, text: str) -> None:
    """Write the label of a row of images, upright, to the left of its first image."""
    ax.set_ylabel(text, rotation=0, ha="right", va="center")


def height_of_names(names: Sequence[str] | None) -> float:
    """The approximate height, in inches, of the labels that `label_features` writes."""
    if names is None or len(names) > MAX_FEATURE_NAMES:
        return 0.4
    return 0.4 + 0.08 * max(map(len, names))


def label_features(ax: Axes, names: Sequence[str] | None) -> None:
    """Write the names of the features below the axis, if they have names and are few."""
    if names is not None and len(names) <= MAX_FEATURE_NAMES:
        ax.set_xticks(range(len(names)), names, rotation=90)
    else:
        ax.set_xlabel("feature")


def symmetric_limits(values: np.ndarray) -> tuple[float, float]:
    """The narrowest limits that contain all values and have zero in the middle."""
    largest = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    return -largest, largest


def mean_and_std(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of the observed entries of each column.

    The mean is 0 for a column without any, the standard deviation 1 for a constant column.
    """
    observed = np.ma.masked_invalid(X)
    mean, std = observed.mean(axis=0), observed.std(axis=0)
    return np.ma.filled(mean, 0.0), np.where(np.ma.filled(std, 0.0) > 0, std, 1.0)


def check_has_attributes(estimator: object, *attributes: str) -> None:
    """Raise an error unless the estimator has the fitted attributes that a display draws."""
    missing = [name for name in attributes if not hasattr(estimator, name)]
    if not missing:
        return
    if isinstance(estimator, BaseEstimator):
        check_is_fitted(estimator)
    raise TypeError(
        f"`estimator` must have {', '.join(f'`{name}`' for name in missing)}, as a fitted "
        f"autoencoder has, got {described(estimator)}. Of a pipeline, pass the step."
    )


def image_shape_of(estimator: object) -> Any:
    """The parameter `image_shape` of an estimator, None if it has no such parameter."""
    return getattr(estimator, "image_shape", None)


def feature_names_of(estimator: object) -> list[str] | None:
    """The names of the columns that an estimator was fitted to, None if they had no names."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def choose_components(
    components: Sequence[int] | None, n_components: int, default: int
) -> list[int]:
    """The numbers of the components to draw: the first `default` of them unless some are given."""
    if components is None:
        return list(range(min(n_components, default)))
    check_value("components", components, (COMPONENTS, NONE))
    chosen = list(components)
    if not chosen or not all(0 <= i < n_components for i in chosen):
        raise ValueError(
            f"`components` must be among the {n_components} components, from 0 on, got "
            f"{components!r}."
        )
    return chosen
