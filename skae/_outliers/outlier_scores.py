"""Training rows of an outlier detector, and the scores of an autoencoder that is fitted to them."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from .._autoencoders.base import BaseAutoencoder
from .._data.dataset import Rows, observed_rows, row_blocks
from .._data.fit_params import accepted_fit_params, fitting_part
from .._data.torch_defaults import with_torch_defaults
from .._training.diagnostics import without_warnings
from .denoising_ensemble import DenoisingEnsemble
from .known_outliers import KnownOutliers
from .thresholds import Parts, folds

Scorer: TypeAlias = BaseAutoencoder | DenoisingEnsemble


class OutlierScores(NamedTuple):
    """Scores of rows by an autoencoder, and by known outliers, if there are any."""

    estimator: Scorer
    known: KnownOutliers | None = None

    @classmethod
    def fit(cls, unfitted: Scorer, rows: "TrainingRows") -> "OutlierScores":
        """Scores by an autoencoder alone."""
        params = accepted_fit_params(unfitted, groups=rows.groups)
        return cls(unfitted.fit(rows.X, **params))

    @with_torch_defaults
    def contributions(self, X: Rows) -> np.ndarray:
        """Contribution of each feature to the score of a row, (n_samples, n_features)."""
        # In float64: in float32 the square of 1e-25 is zero, and that of 1e25 is infinite.
        contributions = self.estimator._feature_scores(X, precise=True)
        return contributions if self.known is None else self.known.contributions(X, contributions)

    def of(self, X: Rows) -> np.ndarray:
        """The score of each row, (n_samples,)."""
        blocks = [self.contributions(X[rows]).sum(axis=1) for rows in row_blocks(X, times=8)]
        return np.concatenate([np.zeros(0), *blocks])


class TrainingRows(NamedTuple):
    """Rows, their groups, and whether each is a known outlier; None if there are none.

    Rows of the same `part` are in the same folds, if these are given.
    """

    X: Rows
    groups: np.ndarray | None
    is_outlier: np.ndarray | None
    part: np.ndarray | None = None

    @property
    def n(self) -> int:
        return self.X.shape[0]

    def labels(self) -> np.ndarray:
        """An integer for each row; rows with equal ones differ in nothing but `X`."""
        others = [np.zeros(self.n, int) if a is None else a.astype(int) for a in self[1:]]
        return np.unique(np.column_stack(others), axis=0, return_inverse=True)[1].ravel()

    def take(self, index: np.ndarray) -> "TrainingRows":
        """Some of the rows."""
        return TrainingRows(self.X[index], *(None if a is None else a[index] for a in self[1:]))

    def with_checked_labels(self) -> "TrainingRows":
        """The rows without labels, if no known outlier is left; an error if hardly others are."""
        if self.is_outlier is None:
            return self
        n_outliers = np.count_nonzero(self.is_outlier)
        if self.n - n_outliers < 2:
            raise ValueError(
                f"`y` must be -1 (outlier) for at most {self.n - 2} of the {self.n} rows of X that "
                f"have a value and a weight, got {n_outliers}."
            )
        return self if n_outliers else self._replace(is_outlier=None)

    def with_entries(
        self, weights: np.ndarray | None = None
    ) -> tuple["TrainingRows", np.ndarray | None]:
        """The rows with an observed value, and their weights: the error of others would be zero."""
        observed = observed_rows(self.X)
        if observed.all() or not observed.any():  # of no row at all `fit` of the estimator says so
            return self, weights
        return self.take(observed), None if weights is None else weights[observed]

    def others(self) -> "TrainingRows":
        """The rows that are not known outliers."""
        return self if self.is_outlier is None else self.take(~self.is_outlier)

    def with_some(self, others: np.ndarray) -> "TrainingRows":
        """The known outliers, and some of the `others`."""
        if self.is_outlier is None:
            return self.take(np.sort(others))
        kept = self.is_outlier.copy()
        kept[np.flatnonzero(~kept)[others]] = True
        return self.take(np.flatnonzero(kept))


def fit_scores(
    unfitted: Scorer,
    has_no_outliers: bool,
    rows: TrainingRows,
) -> OutlierScores:
    """Fit an autoencoder to the rows that are not known outliers, and then the known outliers.

    Unless `has_no_outliers`, the autoencoder is fitted again to the half of the rows with the
    highest scores.
    """
    others = rows.others()
    if has_no_outliers:
        scores = OutlierScores.fit(clone(unfitted), others)
    else:
        with without_warnings():
            first = OutlierScores.fit(clone(unfitted), others)
        half = others.take(concentration_step(first.of(others.X)))
        with fitting_part(half.n, others.n, "those with the highest scores"):
            scores = OutlierScores.fit(clone(unfitted), half)
    if rows.is_outlier is None:
        return scores
    rng = check_random_state(unfitted.random_state)
    known = KnownOutliers.fit(rows.X, -scores.of(rows.X), rows.is_outlier, rng)
    return scores._replace(known=known)


def held_out_scores(
    fit: Callable[[TrainingRows], OutlierScores], rows: TrainingRows, cv: int | Parts
) -> np.ndarray:
    """Scores of rows by autoencoders that are not fitted to them, (n_samples,).

    Known outliers take part in each fit, and have no scores. `cv` is a number of folds, or has the
    folds of each `part`.
    """
    others, scores, order = rows.others(), [np.zeros(0)], [np.zeros(0)]
    if isinstance(cv, Parts):
        pairs = cv.folds(np.asarray(others.part))
    else:
        pairs = folds(others.X, others.groups, cv)
    for fitted, held_out in pairs:
        with (
            fitting_part(len(fitted), others.n, "those of all folds but one"),
            without_warnings(),
        ):
            part = fit(rows.with_some(fitted))
        scores.append(part.of(others.X[held_out]))
        order.append(held_out)
    return np.concatenate(scores)[np.argsort(np.concatenate(order), kind="stable")]


def concentration_step(scores: np.ndarray) -> np.ndarray:
    """Indices of the half of the rows with the highest scores, at least two rows."""
    n_rows = max((len(scores) + 1) // 2, 2)
    return np.sort(np.argsort(-scores, kind="stable")[:n_rows])
