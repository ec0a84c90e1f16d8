"""What the displays share: matplotlib on demand, grids of axes, rows as pictures."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

# Told apart by most who are colour-blind (M. A. Petroff, "Accessible color sequences for data
# visualization", 2021; matplotlib has it as a style from 3.10 on), and by markers without colour.
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
MARKERS = "osX^Dv*P<>"

# Names of more features than this would not fit below an axis.
FEW_FEATURES = 30

# From black over grey to white: lightness alone tells less from more.
GREY = "gray"


def pyplot(who: str) -> Any:
    """Return `matplotlib.pyplot`, or raise an ImportError that says how to get it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(f"{who} needs matplotlib: pip install 'skae[plot]'.") from error
    return pyplot


def axes_for(who: str, ax: Any, size: tuple[float, float] | None = None) -> Any:
    """Return `ax`, or the axes of a new figure of this size in inches."""
    plt = pyplot(who)
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def grid_for(
    who: str, ax: Any, shape: tuple[int, int], cell: tuple[float, float], below: float = 0.4
) -> np.ndarray:
    """Return axes in the place of `ax`, or in a new figure.

    The figure has room for such cells, in inches, and for as much text below them.
    """
    plt = pyplot(who)
    n_rows, n_columns = shape
    if ax is None:
        size = (max(n_columns * cell[0], 2.5) + 1, max(n_rows * cell[1], 1.5) + below)
        figure = plt.figure(figsize=size, layout="constrained")
        return figure.subplots(n_rows, n_columns, squeeze=False)
    ax.set_axis_off()
    return ax.get_subplotspec().subgridspec(n_rows, n_columns).subplots(squeeze=False)


def check_image_shape(image_shape: Any, n_features: int) -> tuple[int, ...] | None:
    """Return the shape as a tuple, or raise unless rows of this width are such pictures."""
    if image_shape is None:
        return None
    shape = tuple(image_shape)
    if prod(shape) != n_features:
        raise ValueError(
            f"`image_shape` must be of n_features = {n_features} pixels in all, got {image_shape}, "
            f"which are {prod(shape)}."
        )
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] not in (1, 3)):
        raise ValueError(
            "`image_shape` must be (height, width) or (channels, height, width) with 1 or 3 "
            f"channels to be shown, got {image_shape}."
        )
    return shape


def draw_picture(
    ax: Any, row: np.ndarray, shape: tuple[int, ...], limits: tuple[float, float], cmap: Any = GREY
) -> None:
    """Draw a row as a picture, without ticks; its values reach from dark to light in `limits`."""
    low, high = limits
    image = np.clip((row.reshape(shape) - low) / ((high - low) or 1.0), 0, 1)
    if len(shape) == 3:
        image = np.moveaxis(image, 0, -1) if shape[0] == 3 else image[0]
    ax.imshow(image, cmap=cmap, vmin=0, vmax=1)
    hide_ticks(ax)


def hide_ticks(ax: Any) -> None:
    """Leave a thin frame and no ticks."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("0.7")


def side_label(ax: Any, text: str) -> None:
    """Write what a row of pictures is, upright and to its left."""
    ax.set_ylabel(text, rotation=0, ha="right", va="center")


def room_for_names(names: Sequence[str] | None) -> float:
    """How many inches `name_features` takes, about."""
    if names is None or len(names) > FEW_FEATURES:
        return 0.4
    return 0.4 + 0.08 * max(map(len, names))


def name_features(ax: Any, names: Sequence[str] | None) -> None:
    """Write the names of the features under the axis, if they have some and are few."""
    if names is not None and len(names) <= FEW_FEATURES:
        ax.set_xticks(range(len(names)), names, rotation=90)
    else:
        ax.set_xlabel("feature")


def symmetric_limits(values: np.ndarray) -> tuple[float, float]:
    """Limits between which zero is in the middle."""
    largest = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    return -largest, largest


def standard_units(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of each column; 1 where it does not vary."""
    std = np.nanstd(X, axis=0)
    return np.nanmean(X, axis=0), np.where(std > 0, std, 1.0)


def check_fitted_with(estimator: Any, *attributes: str) -> None:
    """Raise a TypeError unless the estimator has what is to be drawn."""
    missing = [name for name in attributes if not hasattr(estimator, name)]
    if missing:
        raise TypeError(
            f"`estimator` must have {', '.join(f'`{name}`' for name in missing)}, as a fitted "
            f"autoencoder has, got {estimator!r}. Of a pipeline, pass the step."
        )


def names_of_features(estimator: Any) -> list[str] | None:
    """Return the names of the columns that an estimator was fitted to, if they had some."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]
