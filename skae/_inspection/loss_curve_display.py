"""The display of training: the loss of each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .plotting import check_has_attributes, make_axes
from .protocols import HasLossCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Curves of more epochs have no markers, which would hide the lines.
MAX_MARKERS = 40


@dataclass(eq=False, repr=False, kw_only=True)
class LossCurveDisplay:
    """The loss of each epoch, the epoch whose weights were kept, and the loss of PCA.

    Parameters
    ----------
    training : array-like of shape (n_epochs,)
        Mean loss of a training row in each epoch.
    held_out : array-like of shape (n_epochs + 1,) or (0,), default=()
        Mean loss of a held-out row before training and after each epoch.
    best_epoch : int or None, default=None
        The epoch whose weights were kept.
    pca_level : float or None, default=None
        Mean loss of a held-out row with PCA.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the curves.
    figure_ : matplotlib Figure
        The figure of the axes.
    lines_ : list of matplotlib Line2D
        The curves of the training rows and of the held-out rows.
    pca_line_ : matplotlib Line2D or None
        The level of PCA.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer, LossCurveDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> fitted = AutoencoderTransformer(8, max_iter=10, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(fitted)
    >>> display.ax_.get_xlabel()
    'epoch'
    """

    __module__ = "skae"

    training: Sequence[float]
    held_out: Sequence[float] = ()
    best_epoch: int | None = None
    pca_level: float | None = None

    @classmethod
    def from_estimator(cls, estimator: HasLossCurve, *, ax: Axes | None = None) -> Self:
        """Draw the training of a fitted autoencoder.

        Parameters
        ----------
        estimator : autoencoder
            A fitted autoencoder. The loss of PCA is drawn if training started with PCA.
        ax : matplotlib Axes, default=None
            The axes to draw on. None means a new figure.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator has no `loss_curve_`.
        ImportError
            If matplotlib is not installed.
        """
        check_has_attributes(estimator, "loss_curve_", "validation_curve_", "best_iter_")
        held_out = estimator.validation_curve_
        started_at_pca = len(held_out) > 0 and estimator.init == "pca" and not estimator.warm_start
        return cls(
            training=estimator.loss_curve_,
            held_out=held_out,
            best_epoch=estimator.best_iter_ if len(held_out) else None,
            pca_level=held_out[0] if started_at_pca else None,
        ).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None means a new figure.

        Returns
        -------
        self : LossCurveDisplay
        """
        self.ax_ = ax = make_axes("LossCurveDisplay", ax)
        self.figure_ = ax.figure
        self._draw_curves(ax)
        self.pca_line_ = None
        if self.pca_level is not None:
            self.pca_line_ = ax.axhline(
                self.pca_level, ls=":", color="black", label="PCA, held-out rows"
            )
        if self.best_epoch is not None:
            ax.plot(
                self.best_epoch, self.held_out[self.best_epoch], ls="", marker="o", ms=9,
                mfc="none", mec="black", label=f"kept: epoch {self.best_epoch}",
            )  # fmt: skip
        ax.set(xlabel="epoch", ylabel="mean loss of a row")
        ax.locator_params(axis="x", integer=True)
        if len(self.training):
            ax.legend()
        else:
            ax.text(
                0.5, 0.5, "nothing to train: PCA is the best", transform=ax.transAxes, ha="center"
            )
        return self

    def _draw_curves(self, ax: Axes) -> None:
        n_epochs = len(self.training)
        marker = "." if n_epochs <= MAX_MARKERS else None
        self.lines_ = ax.plot(
            range(1, n_epochs + 1), self.training, ls="-", marker=marker, label="training rows"
        )
        if len(self.held_out):
            self.lines_ += ax.plot(
                range(len(self.held_out)), self.held_out, ls="--", marker=marker,
                label="held-out rows",
            )  # fmt: skip
