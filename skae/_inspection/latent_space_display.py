"""The display of codes: rows at two of their components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.multiclass import type_of_target

from .._data.array_api import ArrayLike
from .._data.validation import check_value
from .labels import as_labels, as_target
from .plotting import COLOURS, COMPONENTS, MARKERS, check_has_attributes, make_axes
from .protocols import Embedding, Transformer
from .scoring import dense

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

# More different numbers than this are drawn by a colour map, fewer as classes.
MAX_CLASSES = 20


@dataclass(eq=False, repr=False, kw_only=True)
class LatentSpaceDisplay:
    """Scatter plot of two of the codes of rows, marked by `y`.

    Classes are drawn with different markers and colours. If all class names are single characters,
    these characters are the markers. Numbers are drawn with colours from dark to light.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
        The codes of the rows, as `transform` returns them.
    y : array-like of shape (n_samples,) or None, default=None
        Classes or numbers.
    components : tuple of two int, default=(0, 1)
        The codes to draw.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the points.
    figure_ : matplotlib Figure
        The figure of the axes.
    points_ : list of matplotlib PathCollection
        The points: one collection for each class, or a single one if `y` is numeric or None.

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

    @classmethod
    def from_estimator(
        cls,
        estimator: Transformer | Embedding,
        X: ArrayLike,
        y: ArrayLike = None,
        *,
        components: tuple[int, int] = (0, 1),
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
        ax : matplotlib Axes, default=None
            The axes to draw on. None means a new figure.

        Returns
        -------
        display : LatentSpaceDisplay

        Raises
        ------
        ValueError
            If `components` do not exist, or if `y` has another length than `X`. For an estimator
            without `transform`, if `X` has another length than the training rows.
        TypeError
            If the estimator has neither `transform` nor `embedding_`.
        ImportError
            If matplotlib is not installed.
        """
        codes = dense(_codes(estimator, X))
        return cls(codes=codes, y=y, components=components).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None means a new figure.

        Returns
        -------
        self : LatentSpaceDisplay
        """
        positions = self._positions()
        y = None if self.y is None else as_labels(as_target(self.y).ravel())[0]
        if y is not None and len(y) != len(positions):
            raise ValueError(
                f"`y` must have one entry for each of the {len(positions)} rows, got {len(y)}."
            )
        self.ax_ = ax = make_axes("LatentSpaceDisplay", ax)
        self.figure_ = ax.figure
        size = float(np.clip(20_000 / len(positions), 6, 36))
        if y is None:
            self.points_ = [ax.scatter(positions[:, 0], positions[:, 1], s=size, alpha=0.6)]
        elif _is_numeric(y):
            self.points_ = [
                ax.scatter(positions[:, 0], positions[:, 1], s=size, c=y, cmap="viridis")
            ]
            self.figure_.colorbar(self.points_[0], ax=ax, label="y")
        else:
            self.points_ = list(_draw_classes(ax, positions, y, size))
        first, second = self.components
        ax.set(xlabel=f"component {first}", ylabel=f"component {second}")
        return self

    def _positions(self) -> np.ndarray:
        """The chosen codes, (n_samples, 2)."""
        codes = np.asarray(self.codes)
        check_value("components", self.components, (COMPONENTS,))
        chosen = tuple(self.components)
        if len(chosen) != 2 or not all(0 <= i < codes.shape[1] for i in chosen):
            raise ValueError(
                f"`components` must be two of the {codes.shape[1]} components, from 0 on, got "
                f"{self.components!r}."
            )
        return codes[:, chosen]


def _codes(estimator: Any, X: ArrayLike) -> Any:
    """The codes of rows."""
    if hasattr(estimator, "transform") and not isinstance(estimator, type):
        return estimator.transform(X)
    check_has_attributes(estimator, "embedding_")
    codes = estimator.embedding_
    if len(codes) != (n_rows := X.shape[0] if hasattr(X, "shape") else len(X)):
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


def _draw_classes(
    ax: Axes, positions: np.ndarray, y: np.ndarray, size: float
) -> Iterator[PathCollection]:
    """Draw the points of one class after the other."""
    classes = np.unique(y)
    labels = [f"{label:g}" if isinstance(label, float) else str(label) for label in classes]
    as_glyphs = all(len(label) == 1 and label.isalnum() for label in labels)
    for i, (value, label) in enumerate(zip(classes, labels, strict=True)):
        yield ax.scatter(
            positions[y == value, 0],
            positions[y == value, 1],
            s=2 * size if as_glyphs else size,
            marker=f"${label}$" if as_glyphs else MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            linewidths=0.3,
            label=label,
        )
    if not as_glyphs:
        ax.legend(title="y")
