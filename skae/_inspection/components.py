"""Displays of what single codes mean: ways through the code, and the components."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, Self

import numpy as np

from .plotting import (
    GREY,
    check_fitted_with,
    check_image_shape,
    draw_picture,
    grid_for,
    hide_ticks,
    name_features,
    names_of_features,
    room_for_names,
    side_label,
    standard_units,
    symmetric_limits,
)
from .scoring import as_numbers, dense

# The most components that are drawn unless some are asked for.
MOST_COMPONENTS, MOST_WAYS = 100, 5


@dataclass(eq=False, repr=False, kw_only=True)
class LatentTraversalDisplay:
    """What the decoder makes of a code while one component moves and the others stay.

    Lines are in standard deviations from the mean, as columns of a table may have any units.

    Parameters
    ----------
    decoded : ndarray of shape (n_ways, n_steps, n_features)
        What the codes on each way are decoded to.
    values : ndarray of shape (n_ways, n_steps)
        The values that the moving component takes.
    components : sequence of int of length n_ways
        Which component moves.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(channels, height, width)`` with 1 or 3 channels, if rows are
        images.
    feature_names : sequence of str or None, default=None
        Names of the features, shown if they are 30 at most.
    mean, std : array-like of shape (n_features,), default=0.0 and 1.0
        The zero and the unit of lines.

    Attributes
    ----------
    axes_ : ndarray of Axes
        One row for each way; of images one column for each step, else a single one.
    figure_ : matplotlib Figure
        What they are part of.

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

    decoded: Any
    values: Any
    components: Sequence[int]
    image_shape: Any = None
    feature_names: Sequence[str] | None = None
    mean: Any = 0.0
    std: Any = 1.0

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        components: Sequence[int] | None = None,
        n_steps: int = 7,
        spread: float = 2.0,
        image_shape: Any = None,
        ax: Any = None,
    ) -> Self:
        """Draw what becomes of the mean code of rows when single components move.

        Parameters
        ----------
        estimator : transformer with `inverse_transform`
            Fitted; pipelines too.
        X : array-like of shape (n_samples, n_features)
            Rows whose codes tell where to begin, and how far to go.
        components : sequence of int, default=None
            Which components move; None is for the first five.
        n_steps : int, default=7
            Pictures on each way.
        spread : float, default=2.0
            How far to go to either side, in standard deviations of the component, but no farther
            than the codes of `X` reach.
        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(channels, height, width)``; None takes the estimator's
            `image_shape`, if it has one.
        ax : matplotlib Axes, default=None
            Whose place the pictures take; None is for a new figure.

        Returns
        -------
        display : LatentTraversalDisplay

        Raises
        ------
        ValueError
            If there is no such component, or `image_shape` does not fit the rows.
        ImportError
            Where matplotlib is not installed.
        """
        codes = dense(estimator.transform(X))
        chosen = _chosen(components, codes.shape[1], MOST_WAYS)
        centre, reach = codes.mean(axis=0), spread * codes.std(axis=0)
        begin = np.maximum(centre - reach, codes.min(axis=0))
        end = np.minimum(centre + reach, codes.max(axis=0))
        values = np.linspace(begin, end, n_steps).T[chosen]
        ways = np.tile(centre, (len(chosen), n_steps, 1))
        for way, component, value in zip(ways, chosen, values, strict=True):
            way[:, component] = value
        mean, std = standard_units(dense(as_numbers(X)))
        decoded = dense(estimator.inverse_transform(ways.reshape(-1, len(centre))))
        return cls(
            decoded=decoded.reshape(len(chosen), n_steps, -1),
            values=values,
            components=chosen,
            image_shape=image_shape or getattr(estimator, "image_shape", None),
            feature_names=names_of_features(estimator),
            mean=mean,
            std=std,
        ).plot(ax)

    def plot(self, ax: Any = None, *, cmap: Any = GREY) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Whose place the pictures take; None is for a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.

        Returns
        -------
        self : LatentTraversalDisplay
        """
        n_ways, n_steps, n_features = self.decoded.shape
        shape = check_image_shape(self.image_shape, n_features)
        if shape is None:
            room = room_for_names(self.feature_names)
            self.axes_ = grid_for("LatentTraversalDisplay", ax, (n_ways, 1), (6.0, 1.8), room)
            self._draw_lines()
        else:
            self.axes_ = grid_for("LatentTraversalDisplay", ax, (n_ways, n_steps), (1.1, 1.2))
            self._draw_pictures(shape, cmap)
        self.figure_ = self.axes_[0, 0].figure
        return self

    def _draw_pictures(self, shape: tuple[int, ...], cmap: Any) -> None:
        limits = float(self.decoded.min()), float(self.decoded.max())
        ways = zip(self.axes_, self.components, self.values, self.decoded, strict=True)
        for axes, component, values, rows in ways:
            for ax, value, row in zip(axes, values, rows, strict=True):
                draw_picture(ax, row, shape, limits, cmap)
                ax.set_title(f"{value:.2g}", fontsize="small")
            side_label(axes[0], f"component {component}")

    def _draw_lines(self) -> None:
        """From dark to light, as the component grows; the ends and the middle are named."""
        from matplotlib import colormaps

        n_steps = self.values.shape[1]
        named = {0, n_steps // 2, n_steps - 1}
        decoded = (self.decoded - self.mean) / self.std
        ways = zip(self.axes_[:, 0], self.components, self.values, decoded, strict=True)
        for ax, component, values, rows in ways:
            for i, (value, row) in enumerate(zip(values, rows, strict=True)):
                colour = colormaps["viridis"](0.9 * i / max(n_steps - 1, 1))
                style = "--" if i < n_steps // 2 else "-"
                ax.plot(row, style, color=colour, label=f"{value:.2g}" if i in named else None)
            ax.legend(
                title=f"component {component}", fontsize="small", title_fontsize="small",
                loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0,
            )  # fmt: skip
            ax.set_ylabel("std. deviations")
            ax.tick_params(labelbottom=False)
        name_features(ax, self.feature_names)
        ax.tick_params(labelbottom=True)


@dataclass(eq=False, repr=False, kw_only=True)
class DictionaryDisplay:
    """The components, as images or as one table of lightness: zero is grey, less is darker.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        The components.
    components : sequence of int of length n_atoms
        Their numbers.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(channels, height, width)`` with 1 or 3 channels, if rows are
        images.
    feature_names : sequence of str or None, default=None
        Names of the features, shown if they are 30 at most.

    Attributes
    ----------
    axes_ : ndarray of Axes
        One for each image, in a grid; else a single one.
    figure_ : matplotlib Figure
        What they are part of.

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

    atoms: Any
    components: Sequence[int]
    image_shape: Any = None
    feature_names: Sequence[str] | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        components: Sequence[int] | None = None,
        image_shape: Any = None,
        ax: Any = None,
    ) -> Self:
        """Draw the `components_` of a fitted estimator.

        Parameters
        ----------
        estimator : estimator with `components_`
            Fitted, such as an autoencoder, PCA or DictionaryLearning.
        components : sequence of int, default=None
            Which of them to draw; None is for the first hundred.
        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(channels, height, width)``; None takes the estimator's
            `image_shape`, if it has one.
        ax : matplotlib Axes, default=None
            Whose place the pictures take; None is for a new figure.

        Returns
        -------
        display : DictionaryDisplay

        Raises
        ------
        TypeError
            If the estimator has no `components_`.
        ValueError
            If there is no such component, or `image_shape` does not fit the rows.
        ImportError
            Where matplotlib is not installed.
        """
        check_fitted_with(estimator, "components_")
        chosen = _chosen(components, len(estimator.components_), MOST_COMPONENTS)
        return cls(
            atoms=estimator.components_[chosen],
            components=chosen,
            image_shape=image_shape or getattr(estimator, "image_shape", None),
            feature_names=names_of_features(estimator),
        ).plot(ax)

    def plot(self, ax: Any = None, *, cmap: Any = GREY) -> Self:
        """Draw; images each in a scale of their own.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Whose place the pictures take; None is for a new figure.
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
            room = room_for_names(self.feature_names)
            self.axes_ = grid_for("DictionaryDisplay", ax, (1, 1), cell, room)
            self._draw_table(self.axes_[0, 0], cmap)
        else:
            n_columns = ceil(sqrt(n_atoms))
            size = (ceil(n_atoms / n_columns), n_columns)
            self.axes_ = grid_for("DictionaryDisplay", ax, size, (0.9, 1.05))
            for ax in self.axes_.flat[n_atoms:]:
                ax.set_axis_off()
            atoms = zip(self.axes_.flat, self.components, self.atoms, strict=False)
            for ax, number, atom in atoms:
                draw_picture(ax, atom, shape, symmetric_limits(atom), cmap)
                ax.set_title(str(number), fontsize="small", pad=2)
        self.figure_ = self.axes_.flat[0].figure
        return self

    def _draw_table(self, ax: Any, cmap: Any) -> None:
        low, high = symmetric_limits(self.atoms)
        image = ax.imshow(self.atoms, cmap=cmap, vmin=low, vmax=high, aspect="auto")
        hide_ticks(ax)
        if len(self.components) <= 30:
            ax.set_yticks(range(len(self.components)), self.components)
        ax.set_ylabel("component")
        name_features(ax, self.feature_names)
        ax.figure.colorbar(image, ax=ax, label="feature per unit of code")


def _chosen(components: Sequence[int] | None, n_components: int, most: int) -> list[int]:
    """The numbers of the components to draw, all there are up to `most` unless some are named."""
    if components is None:
        return list(range(min(n_components, most)))
    chosen = list(components)
    if not chosen or not all(0 <= i < n_components for i in chosen):
        raise ValueError(
            f"`components` must be among the {n_components} components, from 0 on, got "
            f"{components!r}."
        )
    return chosen
