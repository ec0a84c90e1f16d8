"""What a map of codes consists of: densities, labels of classes, images of rows, new rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from .plotting import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.image import AxesImage
    from matplotlib.offsetbox import AnnotationBbox
    from matplotlib.text import Text

# Cells of a density, and of the grid in which groups of a class are found, along each axis.
N_PIXELS, N_CELLS = 400, 32
# A cell of a group has at least this share of the density of the densest cell, and a group beside
# the largest one at least this share of the rows of its class, and this number of rows.
DENSE_SHARE, GROUP_SHARE, MIN_GROUP_ROWS = 0.2, 0.15, 15
# The opacity of a pixel with a single row; that with the most rows is opaque.
LEAST_OPACITY = 0.3
# Cells of images along each axis, and the distance of two images, in cells.
N_IMAGES, IMAGE_SHARE = 18, 0.95


def draw_density(ax: Axes, positions: np.ndarray, colours: np.ndarray) -> AxesImage:
    """Draw many points as an image: the mean of their colours, more opaque where there are more.

    `colours`, (n_samples, 3), are red, green and blue.
    """
    (low, high), edges = _limits(positions), N_PIXELS
    column, row = ((positions - low) / (high - low) * edges).astype(int).clip(0, edges - 1).T
    pixel = row * edges + column
    counts = np.bincount(pixel, minlength=edges**2)
    image = np.zeros((edges**2, 4))
    for channel in range(3):
        totals = np.bincount(pixel, colours[:, channel], minlength=edges**2)
        image[:, channel] = totals / np.maximum(counts, 1)
    opacity = np.log1p(counts) / np.log1p(counts.max())
    image[:, 3] = np.where(counts > 0, LEAST_OPACITY + (1 - LEAST_OPACITY) * opacity, 0)
    image = image.reshape(edges, edges, 4).clip(0, 1)
    extent = (low[0], high[0], low[1], high[1])
    return ax.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="none")


def draw_class_labels(
    ax: Axes, positions: np.ndarray, classes: Sequence[np.ndarray], labels: Sequence[str]
) -> list[Text]:
    """Write the name of each class at each of its large groups, above all points.

    `classes` are masks of rows.
    """
    from matplotlib.patheffects import withStroke

    limits = _limits(positions)
    halo = [withStroke(linewidth=3, foreground="white")]
    return [
        ax.text(
            x, y, label, ha="center", va="center", weight="bold", path_effects=halo, zorder=6,
            clip_on=True,
        )
        for members, label in zip(classes, labels, strict=True)
        for x, y in centers_of_groups(positions[members], limits)
    ]  # fmt: skip


def centers_of_groups(
    positions: np.ndarray, limits: tuple[np.ndarray, np.ndarray]
) -> list[np.ndarray]:
    """A point within each large group of points, where most of them are; the largest group first.

    A group consists of cells of a grid that are next to each other and dense.
    """
    low, high = limits
    cell = ((positions - low) / (high - low) * N_CELLS).astype(int).clip(0, N_CELLS - 1)
    counts = np.zeros((N_CELLS, N_CELLS))
    np.add.at(counts, tuple(cell.T), 1)
    density, smooth = (ndimage.gaussian_filter(counts, s, mode="constant") for s in (1.0, 2.0))
    cells, n_groups = ndimage.label(density >= DENSE_SHARE * density.max(), np.ones((3, 3)))
    group = cells[tuple(cell.T)]
    sizes = np.bincount(group, minlength=n_groups + 1)[1:]
    n_large = (sizes >= max(GROUP_SHARE * len(positions), MIN_GROUP_ROWS)).sum()
    largest = np.argsort(-sizes, kind="stable")[: max(n_large, 1)] + 1
    most = [np.where(group == number, smooth[tuple(cell.T)], -1).argmax() for number in largest]
    return [positions[(abs(cell - cell[row]) <= 1).all(axis=1)].mean(axis=0) for row in most]


def draw_images(
    ax: Axes, positions: np.ndarray, rows: np.ndarray, shape: tuple[int, ...]
) -> list[AnnotationBbox]:
    """Draw the images of some rows at their positions."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    chosen = separate_rows(positions)
    values = rows[chosen].reshape(len(chosen), *shape)
    low, high = np.nanmin(rows), np.nanmax(rows)
    values = np.nan_to_num((values - low) / ((high - low) or 1.0)).clip(0, 1)
    if len(shape) == 3:
        values = np.moveaxis(values, 1, -1) if shape[0] == 3 else values[:, 0]
    # In points: the width of a cell, for the size that the figure has now.
    room = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    size = 72 * min(room.width, room.height) / N_IMAGES * 0.9
    frame = {"edgecolor": "0.7", "linewidth": 0.5}
    boxes = [
        AnnotationBbox(
            OffsetImage(image, zoom=size / max(shape[-2:]), cmap=GREY, interpolation="none"),
            (x, y), pad=0.0, bboxprops=frame, zorder=3,
        )
        for image, (x, y) in zip(values, positions[chosen], strict=True)
    ]  # fmt: skip
    for box in boxes:
        ax.add_artist(box)
    return boxes


def separate_rows(positions: np.ndarray) -> np.ndarray:
    """Rows whose images do not overlap, at most one in each cell of a grid."""
    low, high = _limits(positions)
    place = (positions - low) / (high - low) * N_IMAGES
    cell = place.astype(int).clip(0, N_IMAGES - 1)
    distance = np.linalg.norm(place - cell - 0.5, axis=1)
    order = np.argsort(distance, kind="stable")
    _, first = np.unique(cell[order] @ [N_IMAGES, 1], return_index=True)
    chosen: list[int] = []
    for row in order[np.sort(first)]:
        if (abs(place[chosen] - place[row]).max(axis=1) >= IMAGE_SHARE).all():
            chosen.append(row)
    return np.array(chosen)


def draw_new_rows(ax: Axes, positions: np.ndarray) -> PathCollection:
    """Draw rows as rings in black with a white border, which all colours contrast with."""
    size = float(np.clip(8000 / max(len(positions), 1), 30, 80))
    for colour, width in (("white", 3.0), ("black", 1.2)):
        rings = ax.scatter(
            positions[:, 0], positions[:, 1], s=size, facecolors="none", edgecolors=colour,
            linewidths=width, zorder=5, label="new rows" if colour == "black" else "_",
        )  # fmt: skip
    return rings


def _limits(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest position along each axis; never equal."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    return low, np.where(high > low, high, low + 1)
