"""Displays of one picture each: how training went, what is explained, where the codes lie."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.multiclass import type_of_target

from .plotting import COLOURS, MARKERS, axes_for, check_fitted_with
from .scoring import dense

# With more points than this, markers on a line hide it.
FEW_POINTS = 40

# More different numbers than this are shown by a scale of colours, not by one marker each.
MOST_CLASSES = 20


@dataclass(eq=False, repr=False, kw_only=True)
class LossCurveDisplay:
    """How training went: the loss by epoch, the epoch that was kept, and where PCA stands.

    Parameters
    ----------
    training : array-like of shape (n_epochs,)
        Mean loss of a training row in each epoch.
    held_out : array-like of shape (n_epochs + 1,) or (0,), default=()
        Mean loss of a held-out row before training and after each epoch.
    best_epoch : int or None, default=None
        The epoch whose weights were kept.
    pca_level : float or None, default=None
        Mean loss of a held-out row from PCA.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        What it is part of.
    lines_ : list of matplotlib Line2D
        The curves: training rows, then held-out rows.
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

    training: Any
    held_out: Any = ()
    best_epoch: int | None = None
    pca_level: float | None = None

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the training of a fitted autoencoder.

        Parameters
        ----------
        estimator : autoencoder
            Fitted. The level of PCA is shown if training began there: with ``init="pca"`` and
            without `warm_start`.
        ax : matplotlib Axes, default=None
            Where to draw; None is for a new figure.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        TypeError
            If the estimator has no `loss_curve_`.
        ImportError
            Where matplotlib is not installed.
        """
        check_fitted_with(estimator, "loss_curve_", "validation_curve_", "best_iter_")
        held_out = estimator.validation_curve_
        began_at_pca = len(held_out) > 0 and estimator.init == "pca" and not estimator.warm_start
        return cls(
            training=estimator.loss_curve_,
            held_out=held_out,
            best_epoch=estimator.best_iter_ if len(held_out) else None,
            pca_level=held_out[0] if began_at_pca else None,
        ).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None is for a new figure.

        Returns
        -------
        self : LossCurveDisplay
        """
        self.ax_ = ax = axes_for("LossCurveDisplay", ax)
        self.figure_ = ax.figure
        n_epochs = len(self.training)
        marker = "." if n_epochs <= FEW_POINTS else None
        self.lines_ = ax.plot(
            range(1, n_epochs + 1), self.training, ls="-", marker=marker, label="training rows"
        )
        if len(self.held_out):
            self.lines_ += ax.plot(
                range(len(self.held_out)), self.held_out, ls="--", marker=marker,
                label="held-out rows",
            )  # fmt: skip
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
        if n_epochs:
            ax.legend()
        else:
            ax.text(
                0.5, 0.5, "nothing to train: PCA is the best", transform=ax.transAxes, ha="center"
            )
        return self


@dataclass(eq=False, repr=False, kw_only=True)
class ExplainedVarianceDisplay:
    """The share of the variance that the first codes explain, beside that of as many of PCA's.

    Parameters
    ----------
    explained_variance_ratio : array-like of shape (n_components,)
        What each code explains.
    pca_ratio : array-like of shape (n_components,) or None, default=None
        What each principal component explains.
    pca_score : float or None, default=None
        What all of them explain; drawn where `pca_ratio` is not known.
    name : str, default="autoencoder"
        What the first curve is called.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        What it is part of.
    line_ : matplotlib Line2D
        The autoencoder.
    pca_line_ : matplotlib Line2D or None
        PCA.

    Notes
    -----
    All codes of an autoencoder together are the best code of their size that was found; its first
    ones need not be the best of theirs, as those of PCA are. So its curve may begin below that of
    PCA and still end above it.

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

    explained_variance_ratio: Any
    pca_ratio: Any = None
    pca_score: float | None = None
    name: str = "autoencoder"

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None, *, ax: Any = None) -> Self:
        """Draw what the codes of a fitted autoencoder explain of its training rows.

        Parameters
        ----------
        estimator : autoencoder
            Fitted.
        X : array-like of shape (n_samples, n_features), default=None
            The training rows, to which PCA is fitted. None draws PCA's total only, `pca_score_`.
        ax : matplotlib Axes, default=None
            Where to draw; None is for a new figure.

        Returns
        -------
        display : ExplainedVarianceDisplay

        Raises
        ------
        TypeError
            If the estimator has no `explained_variance_ratio_`.
        ImportError
            Where matplotlib is not installed.
        """
        check_fitted_with(estimator, "explained_variance_ratio_", "pca_score_")
        ratio = estimator.explained_variance_ratio_
        pca_ratio = None
        if X is not None:
            pca_ratio = PCA(len(ratio), random_state=0).fit(X).explained_variance_ratio_
        return cls(
            explained_variance_ratio=ratio,
            pca_ratio=pca_ratio,
            pca_score=estimator.pca_score_,
            name=type(estimator).__name__,
        ).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None is for a new figure.

        Returns
        -------
        self : ExplainedVarianceDisplay
        """
        self.ax_ = ax = axes_for("ExplainedVarianceDisplay", ax)
        self.figure_ = ax.figure
        sizes = range(1, len(self.explained_variance_ratio) + 1)
        few = len(sizes) <= FEW_POINTS
        total = np.cumsum(self.explained_variance_ratio)
        (self.line_,) = ax.plot(sizes, total, ls="-", marker="o" if few else None, label=self.name)
        self.pca_line_ = None
        if self.pca_ratio is not None:
            (self.pca_line_,) = ax.plot(
                sizes, np.cumsum(self.pca_ratio), ls="--", marker="s" if few else None, label="PCA"
            )
        elif self.pca_score is not None:
            self.pca_line_ = ax.axhline(
                self.pca_score, ls=":", color="black", label=f"PCA, {len(sizes)} components"
            )
        ax.set(xlabel="components", ylabel="share of variance explained")
        ax.set_ylim(min(0.0, *total), 1.02)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
        return self


@dataclass(eq=False, repr=False, kw_only=True)
class LatentSpaceDisplay:
    """Rows at two of their codes, told apart by `y`.

    Classes have a marker and a colour each; where all their names are single characters, these
    are the markers. Numbers are told by lightness.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
        From `transform`.
    y : array-like of shape (n_samples,) or None, default=None
        Classes or numbers.
    components : tuple of two int, default=(0, 1)
        Which codes to draw.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        What it is part of.
    points_ : list of matplotlib PathCollection
        One for each class, in order; else one.

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

    codes: Any
    y: Any = None
    components: tuple[int, int] = (0, 1)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        components: tuple[int, int] = (0, 1),
        ax: Any = None,
    ) -> Self:
        """Draw the codes of rows.

        Parameters
        ----------
        estimator : transformer
            Fitted; pipelines too.
        X : array-like of shape (n_samples, n_features)
            Rows, as `transform` takes them.
        y : array-like of shape (n_samples,), default=None
            Classes or numbers. More than 20 different numbers are a scale.
        components : tuple of two int, default=(0, 1)
            Which codes to draw, the first along the horizontal axis.
        ax : matplotlib Axes, default=None
            Where to draw; None is for a new figure.

        Returns
        -------
        display : LatentSpaceDisplay

        Raises
        ------
        ValueError
            If there are no such components, or `y` has another length.
        ImportError
            Where matplotlib is not installed.
        """
        codes = dense(estimator.transform(X))
        return cls(codes=codes, y=y, components=components).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None is for a new figure.

        Returns
        -------
        self : LatentSpaceDisplay
        """
        at = self._chosen()
        y = None if self.y is None else np.asarray(self.y).ravel()
        if y is not None and len(y) != len(at):
            raise ValueError(
                f"`y` must have one entry for each of the {len(at)} rows, got {len(y)}."
            )
        self.ax_ = ax = axes_for("LatentSpaceDisplay", ax)
        self.figure_ = ax.figure
        size = float(np.clip(20_000 / len(at), 6, 36))
        if y is None:
            self.points_ = [ax.scatter(*at.T, s=size, alpha=0.6)]
        elif _is_scale(y):
            self.points_ = [ax.scatter(*at.T, s=size, c=y, cmap="viridis")]
            self.figure_.colorbar(self.points_[0], ax=ax, label="y")
        else:
            self.points_ = list(_draw_classes(ax, at, y, size))
        first, second = self.components
        ax.set(xlabel=f"component {first}", ylabel=f"component {second}")
        return self

    def _chosen(self) -> np.ndarray:
        codes = np.asarray(self.codes)
        chosen = tuple(self.components)
        if len(chosen) != 2 or not all(0 <= i < codes.shape[1] for i in chosen):
            raise ValueError(
                f"`components` must be two of the {codes.shape[1]} components, from 0 on, got "
                f"{self.components!r}."
            )
        return codes[:, chosen]


def _is_scale(y: np.ndarray) -> bool:
    """Whether `y` holds numbers rather than classes."""
    if type_of_target(y, input_name="y") == "continuous":
        return True
    return np.issubdtype(y.dtype, np.number) and len(np.unique(y)) > MOST_CLASSES


def _draw_classes(ax: Any, at: np.ndarray, y: np.ndarray, size: float) -> Any:
    classes = np.unique(y)
    labels = [f"{label:g}" if isinstance(label, float) else str(label) for label in classes]
    as_glyphs = all(len(label) == 1 and label.isalnum() for label in labels)
    for i, (value, label) in enumerate(zip(classes, labels, strict=True)):
        yield ax.scatter(
            *at[y == value].T,
            s=2 * size if as_glyphs else size,
            marker=f"${label}$" if as_glyphs else MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            linewidths=0.3,
            label=label,
        )
    if not as_glyphs:
        ax.legend(title="y")
