"""The display of traversals: rows decoded while one component of the code changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Self

import numpy as np

from .._data.array_api import ArrayLike
from .._data.validation import Interval, check_value, estimator_with, integer
from .plotting import (
    GREY,
    check_image_shape,
    choose_components,
    draw_image,
    height_of_names,
    image_shape_of,
    label_features,
    label_row,
    make_grid,
    mean_and_std,
)
from .protocols import Reducer
from .scoring import dense
from .table_values import numeric_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

# The number of components that are drawn by default.
MAX_TRAVERSALS = 5


@dataclass(eq=False, repr=False, kw_only=True)
class LatentTraversalDisplay:
    """Rows decoded from the mean code while one component changes.

    Images are drawn as images. Other rows are drawn as lines over the features, in standard
    deviations from the mean of each feature.

    Parameters
    ----------
    decoded : ndarray of shape (n_traversals, n_steps, n_features)
        The decoded codes of each traversal.
    values : ndarray of shape (n_traversals, n_steps)
        The values of the component that changes.
    components : sequence of int of length n_traversals
        The component that changes in each traversal.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(channels, height, width)`` with 1 or 3 channels, if rows are
        images.
    feature_names : sequence of str or None, default=None
        Names of the features. They are drawn if there are at most 30.
    mean, std : array-like of shape (n_features,), default=0.0 and 1.0
        Lines are drawn as ``(decoded - mean) / std``.

    Attributes
    ----------
    axes_ : ndarray of Axes
        The axes, with one row for each traversal. There is one column for each step if rows are
        images, and a single column otherwise.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer, LatentTraversalDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> fitted = AutoencoderTransformer(8, max_iter=10, random_state=0).fit(X)
    >>> display = LatentTraversalDisplay.from_estimator(
    ...     fitted, X, components=[0, 1, 2], image_shape=(8, 8)
    ... )
    >>> display.axes_.shape
    (3, 7)
    """

    __module__ = "skae"

    decoded: np.ndarray
    values: np.ndarray
    components: Sequence[int]
    image_shape: Sequence[int] | None = None
    feature_names: Sequence[str] | None = None
    mean: float | np.ndarray = 0.0
    std: float | np.ndarray = 1.0

    @classmethod
    def from_estimator(
        cls,
        estimator: Reducer,
        X: ArrayLike,
        *,
        components: Sequence[int] | None = None,
        n_steps: int = 7,
        spread: float = 2.0,
        image_shape: Sequence[int] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the mean code of rows, decoded while single components change.

        Parameters
        ----------
        estimator : transformer with `inverse_transform`
            A fitted estimator or pipeline.
        X : array-like of shape (n_samples, n_features)
            Rows. The mean and the range of each component are computed from their codes. A column
            of categories is drawn as an indicator for each category.
        components : sequence of int, default=None
            The components that change. None means the first five.
        n_steps : int, default=7
            Number of values of each component.
        spread : float, default=2.0
            Largest distance from the mean code, in standard deviations of the component. Values are
            within the range of the codes of `X`.
        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(channels, height, width)``. None means the `image_shape` of
            the estimator, if it has one.
        ax : matplotlib Axes, default=None
            The axes that are replaced by the grid. None means a new figure.

        Returns
        -------
        display : LatentTraversalDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If there is no such component, or `image_shape` does not fit the rows.
        TypeError
            If the estimator has no `inverse_transform`.
        ImportError
            If matplotlib is not installed.
        """
        check_value("estimator", estimator, (estimator_with("transform", "inverse_transform"),))
        check_value("n_steps", n_steps, (integer(1),))
        check_value("spread", spread, (Interval(Real, 0),))
        codes = dense(estimator.transform(X))
        chosen = choose_components(components, codes.shape[1], MAX_TRAVERSALS)
        centre, half_range = codes.mean(axis=0), spread * codes.std(axis=0)
        low = np.maximum(centre - half_range, codes.min(axis=0))
        high = np.minimum(centre + half_range, codes.max(axis=0))
        values = np.linspace(low, high, n_steps).T[chosen]
        traversals = np.tile(centre, (len(chosen), n_steps, 1))
        for traversal, component, value in zip(traversals, chosen, values, strict=True):
            traversal[:, component] = value
        to_numbers = numeric_rows(estimator, X)
        mean, std = mean_and_std(to_numbers(X))
        decoded = to_numbers(estimator.inverse_transform(traversals.reshape(-1, len(centre))))
        return cls(
            decoded=decoded.reshape(len(chosen), n_steps, -1),
            values=values,
            components=chosen,
            image_shape=image_shape_of(estimator) if image_shape is None else image_shape,
            feature_names=to_numbers.names,
            mean=mean,
            std=std,
        ).plot(ax)

    def plot(self, ax: Axes | None = None, *, cmap: str | Colormap = GREY) -> Self:
        """Draw the decoded rows of each traversal.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes that are replaced by the grid. None means a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.

        Returns
        -------
        self : LatentTraversalDisplay
        """
        n_traversals, n_steps, n_features = self.decoded.shape
        shape = check_image_shape(self.image_shape, n_features)
        name = "LatentTraversalDisplay"
        if shape is None:
            below = height_of_names(self.feature_names)
            self.axes_ = make_grid(name, ax, (n_traversals, 1), (6.0, 1.8), below)
            self._draw_lines()
        else:
            self.axes_ = make_grid(name, ax, (n_traversals, n_steps), (1.1, 1.2))
            self._draw_images(shape, cmap)
        self.figure_ = self.axes_[0, 0].figure
        return self

    def _draw_images(self, shape: tuple[int, ...], cmap: str | Colormap) -> None:
        limits = float(self.decoded.min()), float(self.decoded.max())
        traversals = zip(self.axes_, self.components, self.values, self.decoded, strict=True)
        for axes, component, values, rows in traversals:
            for ax, value, row in zip(axes, values, rows, strict=True):
                draw_image(ax, row, shape, limits, cmap)
                ax.set_title(f"{value:.2g}", fontsize="small")
            label_row(axes[0], f"component {component}")

    def _draw_lines(self) -> None:
        """Lines from dark to light as the component grows; the ends and the middle are labelled."""
        from matplotlib import colormaps

        n_steps = self.values.shape[1]
        labelled = {0, n_steps // 2, n_steps - 1}
        decoded = (self.decoded - self.mean) / self.std
        traversals = zip(self.axes_[:, 0], self.components, self.values, decoded, strict=True)
        for ax, component, values, rows in traversals:
            for i, (value, row) in enumerate(zip(values, rows, strict=True)):
                colour = colormaps["viridis"](0.9 * i / max(n_steps - 1, 1))
                style = "--" if i < n_steps // 2 else "-"
                label = f"{value:.2g}" if i in labelled else None
                ax.plot(row, style, color=colour, label=label)
            ax.legend(
                title=f"component {component}", fontsize="small", title_fontsize="small",
                loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0,
            )  # fmt: skip
            ax.set_ylabel("std. deviations")
            ax.tick_params(labelbottom=False)
        label_features(ax, self.feature_names)
        ax.tick_params(labelbottom=True)
