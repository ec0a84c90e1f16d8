"""The display of components, as images or as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Self

import numpy as np

from .plotting import (
    GREY,
    check_has_attributes,
    check_image_shape,
    choose_components,
    draw_image,
    feature_names_of,
    height_of_names,
    hide_ticks,
    image_shape_of,
    label_features,
    make_grid,
    symmetric_limits,
)
from .protocols import HasComponents

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

# The number of components that are drawn by default.
MAX_COMPONENTS = 100

# The numbers of more components than this do not fit beside a table.
MAX_LABELS = 30


@dataclass(eq=False, repr=False, kw_only=True)
class DictionaryDisplay:
    """The components as images or as a table.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        The components.
    components : sequence of int of length n_atoms
        The index of each component.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(channels, height, width)`` with 1 or 3 channels, if rows are
        images.
    feature_names : sequence of str or None, default=None
        Names of the features. They are drawn if there are at most 30.

    Attributes
    ----------
    axes_ : ndarray of Axes
        The axes: one for each image, or one for a table.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer, DictionaryDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> fitted = AutoencoderTransformer(9, max_iter=10, random_state=0).fit(X)
    >>> display = DictionaryDisplay.from_estimator(fitted, image_shape=(8, 8))
    >>> display.axes_.shape
    (3, 3)
    """

    __module__ = "skae"

    atoms: np.ndarray
    components: Sequence[int]
    image_shape: Sequence[int] | None = None
    feature_names: Sequence[str] | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: HasComponents,
        *,
        components: Sequence[int] | None = None,
        image_shape: Sequence[int] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the `components_` of a fitted estimator.

        Parameters
        ----------
        estimator : estimator with `components_`
            A fitted estimator, such as an autoencoder, PCA or DictionaryLearning.
        components : sequence of int, default=None
            The components to draw. None means the first hundred.
        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(channels, height, width)``. None means the `image_shape` of
            the estimator, if it has one.
        ax : matplotlib Axes, default=None
            The axes that are replaced by the grid. None means a new figure.

        Returns
        -------
        display : DictionaryDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator has no `components_`.
        ValueError
            If there is no such component, or `image_shape` does not fit the rows.
        ImportError
            If matplotlib is not installed.
        """
        check_has_attributes(estimator, "components_")
        chosen = choose_components(components, len(estimator.components_), MAX_COMPONENTS)
        return cls(
            atoms=estimator.components_[chosen],
            components=chosen,
            image_shape=image_shape_of(estimator) if image_shape is None else image_shape,
            feature_names=feature_names_of(estimator),
        ).plot(ax)

    def plot(self, ax: Axes | None = None, *, cmap: str | Colormap = GREY) -> Self:
        """Draw the components. Each image has its own scale.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes that are replaced by the grid. None means a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of components with one channel.

        Returns
        -------
        self : DictionaryDisplay
        """
        n_atoms, n_features = self.atoms.shape
        shape = check_image_shape(self.image_shape, n_features)
        if shape is None:
            cell = (float(np.clip(0.25 * n_features, 4, 10)), float(np.clip(0.3 * n_atoms, 2, 8)))
            below = height_of_names(self.feature_names)
            self.axes_ = make_grid("DictionaryDisplay", ax, (1, 1), cell, below)
            self._draw_table(self.axes_[0, 0], cmap)
        else:
            n_columns = ceil(sqrt(n_atoms))
            size = (ceil(n_atoms / n_columns), n_columns)
            self.axes_ = make_grid("DictionaryDisplay", ax, size, (0.9, 1.05))
            self._draw_images(shape, cmap)
        self.figure_ = self.axes_.flat[0].figure
        return self

    def _draw_images(self, shape: tuple[int, ...], cmap: str | Colormap) -> None:
        for ax in self.axes_.flat[len(self.atoms) :]:
            ax.set_axis_off()
        for ax, number, atom in zip(self.axes_.flat, self.components, self.atoms, strict=False):
            draw_image(ax, atom, shape, symmetric_limits(atom), cmap)
            ax.set_title(str(number), fontsize="small", pad=2)

    def _draw_table(self, ax: Axes, cmap: str | Colormap) -> None:
        low, high = symmetric_limits(self.atoms)
        image = ax.imshow(self.atoms, cmap=cmap, vmin=low, vmax=high, aspect="auto")
        hide_ticks(ax)
        if len(self.components) <= MAX_LABELS:
            ax.set_yticks(range(len(self.components)), list(map(str, self.components)))
        ax.set_ylabel("component")
        label_features(ax, self.feature_names)
        ax.figure.colorbar(image, ax=ax, label="feature per unit of code")
