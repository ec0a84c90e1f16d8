"""The display of codes: rows at two of their components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.multiclass import type_of_target

from .._data.array_api import ArrayLike
from .._data.rows import explained_conversion, naming
from .._data.validation import check_value
from .labels import as_labels, as_target
from .map_elements import draw_class_labels, draw_density, draw_images, draw_new_rows
from .plotting import (
    COLOURS,
    COMPONENTS,
    MARKERS,
    check_has_attributes,
    check_image_shape,
    make_axes,
)
from .protocols import Embedding, Transformer
from .scoring import dense

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

# More different numbers than this are drawn by a colour map, fewer as classes.
MAX_CLASSES = 20
# More rows than this are dots, with the names of the classes in the map.
MAX_FEW_ROWS = 1000
# More rows than this are drawn as a density: a scatter plot of a million rows takes a minute.
MAX_POINTS = 50_000
MAX_LEGEND_ROWS = 18


@dataclass(eq=False, repr=False, kw_only=True)
class LatentSpaceDisplay:
    """Scatter plot of two components of codes, marked by `y`.

    Classes are drawn with different markers and colours. In a map of up to 1000 rows, class names
    of a single character are the markers, and other names are in a legend. In a map of more rows,
    each name is also written at each large group of the class. Numbers are drawn with colours from
    dark to light. More than 50,000 rows are drawn as an image of their density.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
        The codes of the rows, as `transform` returns them.
    y : array-like of shape (n_samples,) or None, default=None
        Classes or numbers.
    components : tuple of two int, default=(0, 1)
        The components to draw.
    new_codes : ndarray of shape (n_new_samples, n_components) or None, default=None
        The codes of further rows, which are drawn as rings.
    images : ndarray of shape (n_samples, n_features) or None, default=None
        Rows that are images. Some of them are drawn at their codes, without overlap.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(channels, height, width)`` of the `images`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the points.
    figure_ : matplotlib Figure
        The figure of the axes.
    points_ : list of matplotlib PathCollection or AxesImage
        The points: one collection for each class, or a single one if `y` is numeric or None. For
        more than 50,000 rows, a single image.
    labels_ : list of matplotlib Text
        The names of the classes in the map; that of a class with several groups at each of them.
    images_ : list of matplotlib AnnotationBbox
        The images of rows.
    new_points_ : matplotlib PathCollection or None
        The points of `new_codes`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer, LatentSpaceDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> fitted = AutoencoderTransformer(2, max_iter=10, random_state=0).fit(X)
    >>> display = LatentSpaceDisplay.from_estimator(fitted, X, y)
    >>> len(display.points_)
    10
    """

    __module__ = "skae"

    codes: np.ndarray
    y: ArrayLike = None
    components: tuple[int, int] = (0, 1)
    new_codes: np.ndarray | None = None
    images: np.ndarray | None = None
    image_shape: Sequence[int] | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Transformer | Embedding,
        X: ArrayLike,
        y: ArrayLike = None,
        *,
        components: tuple[int, int] = (0, 1),
        X_new: ArrayLike = None,
        image_shape: Sequence[int] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the codes of rows.

        Parameters
        ----------
        estimator : transformer
            A fitted estimator or pipeline. If it has no `transform`, as
            :class:`sklearn.manifold.TSNE`, its attribute `embedding_` is drawn.
        X : array-like of shape (n_samples, n_features)
            Rows, as `transform` takes them.
        y : array-like of shape (n_samples,), default=None
            Classes or numbers. If there are more than 20 different numbers, a colour map is used.
        components : tuple of two int, default=(0, 1)
            The two components to draw. The first one is on the horizontal axis.
        X_new : array-like of shape (n_new_samples, n_features), default=None
            Further rows, such as rows that were not in `fit`, which are drawn as rings.
        image_shape : tuple of int, default=None
            ``(height, width)`` or ``(channels, height, width)``, to draw some of the rows as images
            at their codes.
        ax : matplotlib Axes, default=None
            The axes to draw on. None means a new figure.

        Returns
        -------
        display : LatentSpaceDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `components` do not exist, if `y` has another length than `X`, or if `image_shape`
            does not fit the rows. For an estimator without `transform`, if `X` has another length
            than the training rows.
        TypeError
            If the estimator has neither `transform` nor `embedding_`.
        ImportError
            If matplotlib is not installed.
        """
        codes, new_codes, images = dense(codes_of(estimator, X)), None, None
        if X_new is not None:
            with naming("X_new"):
                new_codes = dense(codes_of(estimator, X_new))
        if image_shape is not None:
            with explained_conversion(X):
                images = np.asarray(dense(X), dtype=float)
        return cls(
            codes=codes,
            y=y,
            components=components,
            new_codes=new_codes,
            images=images,
            image_shape=image_shape,
        ).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None means a new figure.

        Returns
        -------
        self : LatentSpaceDisplay
        """
        positions = self._positions(self.codes)
        y = None if self.y is None else as_labels(as_target(self.y).ravel())[0]
        if y is not None and len(y) != len(positions):
            raise ValueError(
                f"`y` must have one entry for each of the {len(positions)} rows, got {len(y)}."
            )
        shape = None
        if self.images is not None:
            shape = check_image_shape(self.image_shape, self.images.shape[1])
        self.ax_ = ax = make_axes("LatentSpaceDisplay", ax)
        self.figure_ = ax.figure
        self.points_, self.labels_ = _draw_points(ax, positions, y)
        self.new_points_ = None
        if self.new_codes is not None:
            self.new_points_ = draw_new_rows(ax, self._positions(self.new_codes))
        first, second = self.components
        ax.set(xlabel=f"component {first}", ylabel=f"component {second}")
        self._draw_legend()
        self.images_ = []
        if shape is not None and self.images is not None:
            self.images_ = draw_images(ax, positions, self.images, shape)
        return self

    def _draw_legend(self) -> None:
        """Name the classes, unless the map has all names, and the new rows."""
        named = [points for points in self.points_ if not points.get_label().startswith("_")]
        if all(len(points.get_label()) == 1 for points in named):
            named = []
        new = [] if self.new_points_ is None else [self.new_points_]
        if named:
            # Beside the map, where it hides no points.
            n_columns = -(-len(named + new) // MAX_LEGEND_ROWS)
            self.ax_.legend(
                handles=named + new, title="y", loc="upper left", bbox_to_anchor=(1.01, 1.0),
                ncols=n_columns, borderaxespad=0.0, fontsize="small",
                markerscale=max(1.0, 4 / _size(self.codes) ** 0.5),
            )  # fmt: skip
        elif new:
            self.ax_.legend(handles=new, loc="upper right", fontsize="small")

    def _positions(self, codes: np.ndarray) -> np.ndarray:
        """The chosen ones of some codes, (n_samples, 2)."""
        codes = np.asarray(codes)
        check_value("components", self.components, (COMPONENTS,))
        chosen = tuple(self.components)
        if codes.shape[1] < 2:
            raise ValueError(
                f"The codes must have at least two components to be drawn, got {codes.shape[1]}."
            )
        if len(chosen) != 2 or not all(0 <= i < codes.shape[1] for i in chosen):
            raise ValueError(
                f"`components` must be two of the {codes.shape[1]} components, from 0 on, got "
                f"{self.components!r}."
            )
        return codes[:, chosen]


def codes_of(estimator: Any, X: ArrayLike) -> Any:
    """The codes of rows."""
    if hasattr(estimator, "transform") and not isinstance(estimator, type):
        return estimator.transform(X)
    check_has_attributes(estimator, "embedding_")
    codes = estimator.embedding_
    if len(codes) != (n_rows := (*np.shape(X), 0)[0]):
        raise ValueError(
            f"`X` must be the {len(codes)} rows that the estimator was fitted to, because a "
            f"{type(estimator).__name__} cannot transform others, got {n_rows}."
        )
    return codes


def _is_numeric(y: np.ndarray) -> bool:
    """Whether `y` holds numbers rather than classes."""
    if type_of_target(y, input_name="y") == "continuous":
        return True
    return np.issubdtype(y.dtype, np.number) and len(np.unique(y)) > MAX_CLASSES


def _size(positions: np.ndarray) -> float:
    """The size of each of so many points."""
    return float(np.clip(20_000 / len(positions), 5, 36))


def _draw_points(
    ax: Axes, positions: np.ndarray, y: np.ndarray | None
) -> tuple[list[Any], list[Text]]:
    """Draw the points, and the names of the classes; returns both."""
    if y is not None and not _is_numeric(y):
        return _draw_classes(ax, positions, y)
    # Rasterised, so that files in vector formats stay small.
    options: dict[str, Any] = {"s": _size(positions), "rasterized": len(positions) > MAX_FEW_ROWS}
    if y is None:
        if len(positions) > MAX_POINTS:
            grey = np.full((len(positions), 3), 0.2)
            return [draw_density(ax, positions, grey)], []
        return [ax.scatter(positions[:, 0], positions[:, 1], alpha=0.6, **options)], []
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours = ScalarMappable(Normalize(np.nanmin(y), np.nanmax(y)), "viridis")
    points: Any = None
    if len(positions) > MAX_POINTS:
        points = draw_density(ax, positions, colours.to_rgba(y)[:, :3])
    else:
        points = ax.scatter(positions[:, 0], positions[:, 1], c=y, cmap="viridis", **options)
    ax.figure.colorbar(colours, ax=ax, label="y")
    return [points], []


def _draw_classes(ax: Axes, positions: np.ndarray, y: np.ndarray) -> tuple[list[Any], list[Text]]:
    """Draw the points of one class after the other, and the names of the classes."""
    classes = np.unique(y)
    labels = [f"{label:g}" if isinstance(label, float) else str(label) for label in classes]
    members = [y == value for value in classes]
    is_large = len(positions) > MAX_FEW_ROWS
    single = all(len(label) == 1 and label.isalnum() for label in labels)
    if len(positions) > MAX_POINTS:
        from matplotlib.colors import to_rgba_array

        index = np.searchsorted(classes, y) % len(COLOURS)
        points: list[Any] = [draw_density(ax, positions, to_rgba_array(COLOURS)[index, :3])]
    else:
        size = _size(positions)
        points = [
            ax.scatter(
                positions[rows, 0],
                positions[rows, 1],
                s=2 * size if single and not is_large else size,
                # Each ten classes have other pairs of a marker and a colour.
                marker=f"${label}$"
                if single and not is_large
                else MARKERS[(i + i // len(COLOURS)) % len(MARKERS)],
                color=COLOURS[i % len(COLOURS)],
                linewidths=0 if is_large else 0.3,
                rasterized=is_large,
                label=label,
            )
            for i, (rows, label) in enumerate(zip(members, labels, strict=True))
        ]
    return points, draw_class_labels(ax, positions, members, labels) if is_large else []
