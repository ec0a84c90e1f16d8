"""The display of explained variance: that of the codes beside that of principal components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA

from .._data.array_api import ArrayLike
from .plotting import check_has_attributes, make_axes
from .protocols import HasExplainedVariance
from .scoring import as_numbers, refuse_categories

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Curves of more components have no markers, which would hide the lines.
MAX_MARKERS = 40


@dataclass(eq=False, repr=False, kw_only=True)
class ExplainedVarianceDisplay:
    """The share of variance that the first components explain, and that of PCA.

    Parameters
    ----------
    explained_variance_ratio : array-like of shape (n_components,)
        The share of variance that each component of the codes explains.
    pca_ratio : array-like of shape (n_components,) or None, default=None
        The share of variance that each principal component explains.
    pca_score : float or None, default=None
        The share of variance that all principal components explain. It is drawn if `pca_ratio` is
        None.
    name : str, default="autoencoder"
        The label of the first curve.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the curves.
    figure_ : matplotlib Figure
        The figure of the axes.
    line_ : matplotlib Line2D
        The curve of the autoencoder.
    pca_line_ : matplotlib Line2D or None
        The curve of PCA, or a horizontal line if `pca_ratio` is None.

    Notes
    -----
    The curve of an autoencoder may begin below that of PCA and end above it. The components of an
    autoencoder are optimised together, so the first of them may explain less variance than the
    first principal components.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer, ExplainedVarianceDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> fitted = AutoencoderTransformer(8, max_iter=10, random_state=0).fit(X)
    >>> display = ExplainedVarianceDisplay.from_estimator(fitted, X)
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['AutoencoderTransformer', 'PCA']
    """

    __module__ = "skae"

    explained_variance_ratio: np.ndarray
    pca_ratio: np.ndarray | None = None
    pca_score: float | None = None
    name: str = "autoencoder"

    @classmethod
    def from_estimator(
        cls, estimator: HasExplainedVariance, X: ArrayLike = None, *, ax: Axes | None = None
    ) -> Self:
        """Draw the variance of the training rows that the codes of an autoencoder explain.

        Parameters
        ----------
        estimator : autoencoder
            A fitted estimator.
        X : array-like of shape (n_samples, n_features), default=None
            The training rows, to which PCA is fitted. With None, only the variance that all
            principal components explain is drawn (`pca_score_`), and not its curve.
        ax : matplotlib Axes, default=None
            The axes to draw on. None means a new figure.

        Returns
        -------
        display : ExplainedVarianceDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator has no `explained_variance_ratio_`.
        ValueError
            If PCA cannot be fitted to `X`.
        ImportError
            If matplotlib is not installed.
        """
        check_has_attributes(estimator, "explained_variance_ratio_", "pca_score_")
        ratio = estimator.explained_variance_ratio_
        pca_ratio = None
        if X is not None:
            pca_ratio = _ratio_of_pca(X, len(ratio))
        return cls(
            explained_variance_ratio=ratio,
            pca_ratio=pca_ratio,
            pca_score=estimator.pca_score_,
            name=type(estimator).__name__,
        ).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the cumulative shares of the variance.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None means a new figure.

        Returns
        -------
        self : ExplainedVarianceDisplay
        """
        self.ax_ = ax = make_axes("ExplainedVarianceDisplay", ax)
        self.figure_ = ax.figure
        sizes = range(1, len(self.explained_variance_ratio) + 1)
        few = len(sizes) <= MAX_MARKERS
        total = np.cumsum(self.explained_variance_ratio)
        (self.line_,) = ax.plot(sizes, total, ls="-", marker="o" if few else None, label=self.name)
        self.pca_line_ = None
        if self.pca_ratio is not None:
            total_of_pca = np.cumsum(self.pca_ratio)  # of fewer components if rows are narrower
            (self.pca_line_,) = ax.plot(
                sizes[: len(total_of_pca)],
                total_of_pca,
                ls="--",
                marker="s" if few else None,
                label="PCA",
            )
        elif self.pca_score is not None:
            self.pca_line_ = ax.axhline(
                self.pca_score, ls=":", color="black", label=f"PCA, {len(sizes)} components"
            )
        ax.set(xlabel="components", ylabel="share of variance explained")
        ax.set_ylim(min(0.0, *total), 1.02)
        ax.locator_params(axis="x", integer=True)
        ax.legend()
        return self


def _ratio_of_pca(X: ArrayLike, n_components: int) -> np.ndarray:
    """The explained variance ratio of PCA with at most so many components."""
    refuse_categories(X, "pass X=None")
    rows = as_numbers(X)
    values = rows.data if sparse.issparse(rows) else rows
    if len(values) and np.isnan(values).any():
        raise ValueError("X must not have missing values, which PCA does not take: pass X=None.")
    if rows.shape[0] < 2:
        raise ValueError(f"X must have at least two rows, got {rows.shape[0]}.")
    with np.errstate(all="ignore"):
        pca = PCA(min(n_components, *rows.shape), random_state=0).fit(rows)
    ratio = pca.explained_variance_ratio_
    if not np.isfinite(ratio).all():  # divided by a variance of zero, or by one that overflows
        raise ValueError("X must have a variance that is finite and not zero: pass X=None.")
    return ratio
