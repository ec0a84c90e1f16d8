"""The display of rows that come back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.pipeline import Pipeline

from .plotting import (
    GREY,
    check_image_shape,
    draw_picture,
    grid_for,
    name_features,
    names_of_features,
    room_for_names,
    side_label,
    standard_units,
    symmetric_limits,
)
from .scoring import as_numbers, as_reconstruction, dense

# Lines of an original and of up to three reconstructions.
LINE_STYLES = ("-", "--", ":", "-.")


@dataclass(eq=False, repr=False, kw_only=True)
class ReconstructionDisplay:
    """Rows, what becomes of them, and the difference; as images, or as lines over the features.

    A difference is what became of a row minus the row; ``rms`` is the root of its mean square. In
    images of differences zero is grey. Lines are in standard deviations from the mean, as columns
    of a table may have any units.

    Parameters
    ----------
    original : ndarray of shape (n_rows, n_features)
        The rows.
    restored : dict of str to ndarray of shape (n_rows, n_features)
        What becomes of them, by the name of what restored them.
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
        One column for each row of `X`. Of images one row for the originals, then two for each of
        `restored`: the reconstructions and their differences from the originals. Else two rows:
        all of these as lines, and the differences.
    figure_ : matplotlib Figure
        What they are part of.

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

    original: Any
    restored: dict[str, Any]
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
        baseline: Any = None,
        n_rows: int = 6,
        image_shape: Any = None,
        ax: Any = None,
    ) -> Self:
        """Draw what a fitted reducer makes of rows, best of rows that it has not seen.

        Parameters
        ----------
        estimator : transformer with `inverse_transform`
            Fitted; pipelines too.
        X : array-like of shape (n_samples, n_features)
            Rows, of which the first `n_rows` are drawn. All of them make the units of lines.
        baseline : transformer with `inverse_transform`, default=None
            Another one to set beside it, fitted to the same rows, such as PCA.
        n_rows : int, default=6
            How many rows to draw.
        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(channels, height, width)``; None takes the estimator's
            `image_shape`, if it has one.
        ax : matplotlib Axes, default=None
            Whose place the pictures take; None is for a new figure.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        ValueError
            If `image_shape` does not fit the rows.
        ImportError
            Where matplotlib is not installed.
        """
        mean, std = standard_units(dense(as_numbers(X)))
        X = X[:n_rows]
        rows = dense(as_numbers(X))
        reducers = [estimator] if baseline is None else [estimator, baseline]
        restored = {
            _name(reducer): as_reconstruction(
                reducer.inverse_transform(dense(reducer.transform(X))), rows.shape
            )
            for reducer in reducers
        }
        return cls(
            original=rows,
            restored=restored,
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
        self : ReconstructionDisplay
        """
        original = np.asarray(self.original)
        n_rows, n_features = original.shape
        shape = check_image_shape(self.image_shape, n_features)
        differences = {name: rows - original for name, rows in self.restored.items()}
        if shape is None:
            room = room_for_names(self.feature_names)
            self.axes_ = grid_for("ReconstructionDisplay", ax, (2, n_rows), (2.6, 2.0), room)
            self._draw_lines()
        else:
            size = (1 + 2 * len(self.restored), n_rows)
            self.axes_ = grid_for("ReconstructionDisplay", ax, size, (1.1, 1.1))
            self._draw_pictures(original, differences, shape, cmap)
        self.figure_ = self.axes_[0, 0].figure
        return self

    def _draw_pictures(
        self, original: np.ndarray, differences: dict, shape: tuple[int, ...], cmap: Any
    ) -> None:
        """All originals and reconstructions in one scale, all differences in another."""
        limits = float(np.nanmin(original)), float(np.nanmax(original))
        middle = symmetric_limits(np.concatenate(list(differences.values())))
        kinds = [("original", original, limits)]
        for name, rows in self.restored.items():
            kinds += [(name, rows, limits), ("difference", differences[name], middle)]
        for axes, (label, rows, row_limits) in zip(self.axes_, kinds, strict=True):
            for ax, row in zip(axes, rows, strict=True):
                draw_picture(ax, row, shape, row_limits, cmap)
                if label == "difference":
                    ax.set_xlabel(f"rms {_rms(row):.2g}", fontsize="small")
            side_label(axes[0], label)

    def _draw_lines(self) -> None:
        original = (self.original - self.mean) / self.std
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
            name_features(below, self.feature_names)
        for axes in self.axes_:  # one scale for all rows
            limits = np.array([ax.get_ylim() for ax in axes])
            for ax in axes:
                ax.set_ylim(limits.min(), limits.max())
        self.axes_[0, 0].set_ylabel("standard deviations")
        self.axes_[1, 0].set_ylabel("difference")
        self.axes_[0, 0].legend(
            fontsize="small", loc="lower left", bbox_to_anchor=(0, 1.02), borderaxespad=0
        )


def _name(reducer: Any) -> str:
    """What a reducer is called in a picture: its class; of a pipeline, that of its last step."""
    return type(reducer[-1] if isinstance(reducer, Pipeline) else reducer).__name__


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(difference**2)))
