"""The display of codes together with the features that they are correlated with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from .._data.array_api import ArrayLike
from .._data.correlations import correlations, sums_of_products
from .._data.validation import check_value, integer
from .latent_space_display import LatentSpaceDisplay, codes_of
from .plotting import make_axes
from .protocols import Transformer
from .scoring import dense, observed_mean
from .table_values import numeric_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox
    from pandas import DataFrame

# Positions of a label: gaps between it and the tip of its arrow, in points, and directions, in
# degrees from that of the arrow; the best first.
GAPS, ANGLES = (6, 14, 24, 36, 50, 66), (0, 30, -30, 60, -60, 90, -90, 130, -130)
HEAD = 4  # half the width of the head of an arrow, in points
# The longest arrow of perfect correlation has this share of the largest code.
REACH = 0.9


@dataclass(eq=False, repr=False, kw_only=True)
class BiplotDisplay:
    """Scatter plot of two components of codes, with arrows for the main features.

    An arrow has the correlations of a feature with both components as its coordinates. A feature
    with a long arrow is nearly a linear function of the two components, and increases in the
    direction of the arrow. Features with similar arrows are correlated. The circle marks the
    maximum length of an arrow if the components are uncorrelated.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
        The codes of the rows, as `transform` returns them.
    loadings : ndarray of shape (n_components, n_features)
        The correlations of the features with the components of the codes.
    feature_names : sequence of str
        Names of the features.
    y : array-like of shape (n_samples,) or None, default=None
        Classes or numbers that mark the points, as in :class:`LatentSpaceDisplay`.
    components : tuple of two int, default=(0, 1)
        The components to draw.
    max_features : int, default=10
        The number of arrows. These are the longest ones.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure of the axes.
    arrows_ : list of matplotlib Annotation
        The arrows, in decreasing order of length.
    labels_ : list of matplotlib Annotation
        The names of the features at the arrows.

    See Also
    --------
    LatentSpaceDisplay : The points alone.
    AutoencoderTransformer.feature_contributions : Contributions of the features for one row.

    References
    ----------
    .. [1] K. R. Gabriel, "The biplot graphic display of matrices with application to principal
       component analysis", Biometrika, 1971.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import scale
    >>> from skae import AutoencoderTransformer, BiplotDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X[:] = scale(X)
    >>> fitted = AutoencoderTransformer(2, max_iter=10, random_state=0).fit(X)
    >>> display = BiplotDisplay.from_estimator(fitted, X, y)
    >>> display.to_frame().head(3)  # doctest: +SKIP
                           component 0  component 1
    flavanoids                    0.92        -0.05
    total_phenols                 0.84        -0.11
    color_intensity              -0.12         0.86
    """

    __module__ = "skae"

    codes: np.ndarray
    loadings: np.ndarray
    feature_names: Sequence[str]
    y: ArrayLike = None
    components: tuple[int, int] = (0, 1)
    max_features: int = 10

    @classmethod
    def from_estimator(
        cls,
        estimator: Transformer,
        X: ArrayLike,
        y: ArrayLike = None,
        *,
        components: tuple[int, int] = (0, 1),
        max_features: int = 10,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the codes of rows, and the correlations of features with these codes.

        Parameters
        ----------
        estimator : transformer
            A fitted estimator or pipeline, such as an autoencoder or PCA.
        X : array-like of shape (n_samples, n_features)
            Rows, as `transform` takes them. Missing values (NaN) are left out. A column of
            categories has an arrow for each category, for the correlation with its indicator.
        y : array-like of shape (n_samples,), default=None
            Classes or numbers.
        components : tuple of two int, default=(0, 1)
            The two components to draw. The first one is on the horizontal axis.
        max_features : int, default=10
            The number of arrows. These are the longest ones.
        ax : matplotlib Axes, default=None
            The axes to draw on. None means a new figure.

        Returns
        -------
        display : BiplotDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `components` do not exist, or if `y` has another length than `X`.
        ImportError
            If matplotlib is not installed.
        """
        codes = dense(codes_of(estimator, X))
        to_numbers = numeric_rows(estimator, X)
        rows = to_numbers(X)
        return cls(
            codes=codes,
            loadings=_loadings(codes, rows),
            feature_names=to_numbers.names or [f"x{i}" for i in range(rows.shape[1])],
            y=y,
            components=components,
            max_features=max_features,
        ).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the points and the arrows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None means a new figure.

        Returns
        -------
        self : BiplotDisplay
        """
        check_value("max_features", self.max_features, (integer(0),))
        self.ax_ = ax = make_axes("BiplotDisplay", ax)
        points = LatentSpaceDisplay(codes=self.codes, y=self.y, components=self.components)
        for collection in points.plot(ax).points_:
            collection.set_alpha(0.5)
        self.figure_ = ax.figure
        centre, radius = self._unit_circle()
        angles = np.linspace(0, 2 * np.pi, 100)
        ax.plot(*(centre + radius * np.c_[np.cos(angles), np.sin(angles)]).T, lw=0.8, color="0.7")
        ax.margins(x=0.12)
        directions, order = self._directions()
        longest = [i for i in order[: self.max_features] if directions[i].any()]
        self.arrows_ = [
            ax.annotate(
                "",
                xy=tuple(centre + radius * directions[i]),
                xytext=tuple(centre),
                arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 1.1, "shrinkA": 0,
                            "shrinkB": 0},
            )
            for i in longest
        ]  # fmt: skip
        names = [str(self.feature_names[i]) for i in longest]
        self.labels_ = list(_labels(ax, centre, radius * directions[longest], names))
        return self

    def to_frame(self) -> DataFrame:
        """Return the correlations of all features with the two components, the longest arrow first.

        Returns
        -------
        frame : DataFrame of shape (n_features, 2)

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("`to_frame` needs pandas, install it or use `loadings`.") from error
        directions, order = self._directions()
        columns = [f"component {i}" for i in self.components]
        return pd.DataFrame(directions, index=list(self.feature_names), columns=columns).iloc[order]

    def _directions(self) -> tuple[np.ndarray, np.ndarray]:
        """The correlations of each feature with both components, and the order by their lengths."""
        directions = np.asarray(self.loadings)[list(self.components)].T  # (n_features, 2)
        return directions, np.argsort(-np.linalg.norm(directions, axis=1), kind="stable")

    def _unit_circle(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean code, and the lengths of arrows of perfect correlation along both axes."""
        codes = np.asarray(self.codes, dtype=np.float64)[:, list(self.components)]
        centre = codes.mean(axis=0)
        largest = np.abs(codes - centre).max(axis=0)
        return centre, REACH * np.where(largest > 0, largest, 1.0)


def _loadings(codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Correlations of the columns of rows with codes, (n_components, n_features)."""
    centred = rows - observed_mean(rows)
    parts = (centred, codes - codes.mean(axis=0))
    return correlations(sums_of_products(*map(torch.as_tensor, parts)))


def _labels(
    ax: Axes, centre: np.ndarray, arrows: np.ndarray, names: list[str]
) -> Iterator[Annotation]:
    """Write the names at the tips of the arrows, so that no two overlap if there is a place."""
    from matplotlib.patheffects import withStroke
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    ax.figure.canvas.figure.draw_without_rendering()  # the layout determines what overlaps
    per_point = ax.figure.dpi / 72
    tips = ax.transData.transform(centre + arrows) if names else np.empty((0, 2))
    origin = ax.transData.transform(centre)
    occupied = [Bbox([tip - HEAD * per_point, tip + HEAD * per_point]) for tip in tips]
    for arrow, name, tip in zip(arrows, names, tips, strict=True):
        label = ax.annotate(
            name,
            xy=tuple(centre + arrow),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize="small",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": "0.4", "lw": 0.6, "shrinkA": 0, "shrinkB": 0},
        )
        box = Text.get_window_extent(label)
        box = box.translated(*(tip - (box.p0 + box.p1) / 2))
        offsets = per_point * _offsets(tip - origin, np.array(box.size) / per_point)
        places = [box.translated(*offset) for offset in offsets]
        best = min(range(len(places)), key=lambda i: _overlap(places[i], occupied, ax.bbox))
        label.set_position(tuple(offsets[best] / per_point))
        occupied.append(places[best])
        yield label


def _offsets(direction: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Offsets of the centre of a label from the tip of an arrow, the best first, (n, 2)."""
    angles = np.arctan2(direction[1], direction[0]) + np.radians(ANGLES)
    units = np.column_stack([np.cos(angles), np.sin(angles)])
    # The distance from the centre of the label to its edge, towards the tip.
    to_edge = (size / 2 / np.abs(units).clip(min=1e-9)).min(axis=1)
    return np.concatenate([units * (to_edge + gap)[:, None] for gap in GAPS])


def _overlap(place: Bbox, occupied: list[Bbox], inside: Bbox) -> float:
    """The area of a label on other labels and heads of arrows, or outside of the axes."""
    outside = place.width * place.height - _common_area(place, inside)
    return outside + sum(_common_area(place, other) for other in occupied)


def _common_area(first: Bbox, second: Bbox) -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return max(width, 0.0) * max(height, 0.0)
