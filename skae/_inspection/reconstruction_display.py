"""The display of rows and their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy import sparse
from sklearn.pipeline import Pipeline

from .._data.array_api import ArrayLike
from .._data.validation import NONE, check_value, estimator_with, integer
from .plotting import (
    GREY,
    check_image_shape,
    draw_image,
    height_of_names,
    image_shape_of,
    label_features,
    label_row,
    make_grid,
    mean_and_std,
    symmetric_limits,
)
from .protocols import Reducer
from .scoring import as_reconstruction, dense
from .table_values import numeric_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

# The lines of an original and of up to three reconstructions.
LINE_STYLES = ("-", "--", ":", "-.")


@dataclass(eq=False, repr=False, kw_only=True)
class ReconstructionDisplay:
    """Rows, their reconstructions and the differences, as images or as lines.

    The differences are reconstructions minus rows, and ``rms`` is their root mean square. If rows
    are images, differences are drawn as images in which zero is grey. Other rows are drawn as lines
    over the features, in standard deviations from the mean of each feature.

    Parameters
    ----------
    original : ndarray of shape (n_rows, n_features)
        The rows.
    restored : dict of str to ndarray of shape (n_rows, n_features)
        The reconstructions. The keys are the names of the reducers.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(channels, height, width)`` with 1 or 3 channels, if rows are
        images.
    feature_names : sequence of str or None, default=None
        Names of the features, drawn if there are at most 30.
    mean, std : array-like of shape (n_features,), default=0.0 and 1.0
        Lines are drawn as ``(x - mean) / std``.

    Attributes
    ----------
    axes_ : ndarray of Axes
        The axes, with one column for each row of `X`. If rows are images, there is one row of axes
        for the originals, and two for each reducer: reconstructions and differences. Otherwise
        there are two rows: originals with reconstructions, and differences.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import AutoencoderTransformer, ReconstructionDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> fitted = AutoencoderTransformer(8, max_iter=10, random_state=0).fit(X[:1500])
    >>> display = ReconstructionDisplay.from_estimator(
    ...     fitted, X[1500:], n_rows=5, image_shape=(8, 8), baseline=PCA(8).fit(X[:1500])
    ... )
    >>> display.axes_.shape
    (5, 5)
    """

    __module__ = "skae"

    original: np.ndarray
    restored: dict[str, np.ndarray]
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
        baseline: Reducer | None = None,
        n_rows: int = 6,
        image_shape: Sequence[int] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the reconstructions of rows, preferably of rows that were not used in `fit`.

        Parameters
        ----------
        estimator : transformer with `inverse_transform`
            A fitted estimator or pipeline.
        X : array-like of shape (n_samples, n_features)
            Rows. The first `n_rows` are drawn. The mean and the standard deviation of each feature
            are those of all rows. A column of categories is drawn as an indicator for each
            category.
        baseline : transformer with `inverse_transform`, default=None
            Another fitted reducer for comparison, such as PCA.
        n_rows : int, default=6
            Number of rows to draw.
        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(channels, height, width)``. None means the `image_shape` of
            the estimator, if it has one.
        ax : matplotlib Axes, default=None
            The axes that are replaced by the grid. None means a new figure.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `image_shape` does not fit the rows.
        TypeError
            If the estimator has no `inverse_transform`.
        ImportError
            If matplotlib is not installed.
        """
        transformer = estimator_with("transform", "inverse_transform")
        check_value("estimator", estimator, (transformer,))
        check_value("baseline", baseline, (transformer, NONE))
        check_value("n_rows", n_rows, (integer(1),))
        to_numbers = numeric_rows(estimator, X)
        mean, std = mean_and_std(to_numbers(X))
        X = (X.tocsr() if sparse.issparse(X) else X)[:n_rows]
        rows = to_numbers(X)
        reducers = [estimator] if baseline is None else [estimator, baseline]
        restored = {
            _name(reducer): as_reconstruction(
                to_numbers(reducer.inverse_transform(dense(reducer.transform(X)))), rows.shape
            )
            for reducer in reducers
        }
        return cls(
            original=rows,
            restored=restored,
            image_shape=image_shape_of(estimator) if image_shape is None else image_shape,
            feature_names=to_numbers.names,
            mean=mean,
            std=std,
        ).plot(ax)

    def plot(self, ax: Axes | None = None, *, cmap: str | Colormap = GREY) -> Self:
        """Draw the rows, their reconstructions and the differences.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes that are replaced by the grid. None means a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.

        Returns
        -------
        self : ReconstructionDisplay
        """
        original = np.asarray(self.original)
        n_rows, n_features = original.shape
        shape = check_image_shape(self.image_shape, n_features)
        if shape is None:
            below = height_of_names(self.feature_names)
            self.axes_ = make_grid("ReconstructionDisplay", ax, (2, n_rows), (2.6, 2.0), below)
            self._draw_lines(original)
        else:
            size = (1 + 2 * len(self.restored), n_rows)
            self.axes_ = make_grid("ReconstructionDisplay", ax, size, (1.1, 1.1))
            self._draw_images(original, shape, cmap)
        self.figure_ = self.axes_[0, 0].figure
        return self

    def _draw_images(
        self, original: np.ndarray, shape: tuple[int, ...], cmap: str | Colormap
    ) -> None:
        """All originals and reconstructions in one scale, all differences in another."""
        differences = {name: rows - original for name, rows in self.restored.items()}
        observed = original[~np.isnan(original)]
        limits = (float(observed.min()), float(observed.max())) if observed.size else (0.0, 1.0)
        difference_limits = symmetric_limits(np.concatenate(list(differences.values())))
        kinds = [("original", original, limits)]
        for name, rows in self.restored.items():
            kinds += [(name, rows, limits), ("difference", differences[name], difference_limits)]
        for axes, (label, rows, row_limits) in zip(self.axes_, kinds, strict=True):
            for ax, row in zip(axes, rows, strict=True):
                draw_image(ax, row, shape, row_limits, cmap)
                if label == "difference":
                    ax.set_xlabel(f"rms {_rms(row):.2g}", fontsize="small")
            label_row(axes[0], label)

    def _draw_lines(self, original: np.ndarray) -> None:
        original = (original - self.mean) / self.std
        restored = {name: (rows - self.mean) / self.std for name, rows in self.restored.items()}
        for i, (above, below) in enumerate(self.axes_.T):
            above.plot(original[i], LINE_STYLES[0], color="black", label="original")
            below.axhline(0, color="black", lw=0.8)
            for style, (name, rows) in zip(LINE_STYLES[1:], restored.items(), strict=False):
                above.plot(rows[i], style, label=name)
                difference = rows[i] - original[i]
                below.plot(difference, style, label=f"rms {_rms(difference):.2g}")
            below.legend(fontsize="small")
            above.tick_params(labelbottom=False)
            label_features(below, self.feature_names)
        for axes in self.axes_:  # one scale for all rows
            limits = np.array([ax.get_ylim() for ax in axes])
            for ax in axes:
                ax.set_ylim(limits.min(), limits.max())
        self.axes_[0, 0].set_ylabel("standard deviations")
        self.axes_[1, 0].set_ylabel("difference")
        self.axes_[0, 0].legend(
            fontsize="small", loc="lower left", bbox_to_anchor=(0, 1.02), borderaxespad=0
        )


def _name(reducer: Reducer) -> str:
    """The label of a reducer: its class; of a pipeline, the class of its last step."""
    return type(reducer[-1] if isinstance(reducer, Pipeline) else reducer).__name__


def _rms(difference: np.ndarray) -> float:
    """Root mean square over the observed entries; NaN if there are none."""
    observed = difference[~np.isnan(difference)]
    return float(np.sqrt(np.mean(observed**2))) if observed.size else np.nan
