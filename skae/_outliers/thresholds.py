"""The threshold of outlier scores, and folds of rows of which each is held out in turn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.model_selection import GroupKFold, KFold

from .._data.dataset import Rows

# The rounding error of scores, relative to the larger ones, and to the range of half of them.
ROUNDING, MAX_ROUNDING = 1e-6, 1e-3


class ThresholdMixin(OutlierMixin):
    """Decisions by `score_samples` and the threshold `offset_`."""

    def decision_function(self, X) -> np.ndarray:
        """Score of each row minus the threshold.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``; negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def fit_predict(self, X, y=None, **fit_params: Any) -> np.ndarray:
        """Fit the detector, and classify the rows of `fit` as inliers or outliers.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,), default=None
            See `fit`.
        **fit_params : dict
            Further parameters of `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            1 for inliers, -1 for outliers.
        """
        return self.fit(X, y, **fit_params).predict(X)

    def predict(self, X) -> np.ndarray:
        """Classify rows as inliers or outliers.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows, those of `fit` or new ones.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            1 for inliers, -1 for outliers.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)


def folds(
    X: Rows, groups: np.ndarray | None, n_folds: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows to fit to and rows to score. Each row is scored once."""
    n_units, units = (X.shape[0], "rows") if groups is None else (len(np.unique(groups)), "groups")
    if n_units // 2 < n_folds:
        raise ValueError(
            f"`cv` must be at most half of the number of {units}, which is {n_units}, got {n_folds}"
        )
    if groups is not None:
        return GroupKFold(n_folds).split(X, groups=groups)
    return KFold(n_folds, shuffle=True, random_state=0).split(X)


def threshold(scores: np.ndarray, contamination: float | str) -> float:
    """The score below which rows are outliers, minus a bound on the rounding error.

    The threshold can be the score of a row that occurs often. Whether this row is an outlier must
    not depend on its precision or on the number of rows in a call.
    """
    lower, upper = np.percentile(scores, [25, 75])
    rounding = ROUNDING * np.percentile(np.abs(scores), 99, method="lower")
    if upper > lower:
        rounding = min(rounding, MAX_ROUNDING * (upper - lower))
    if not isinstance(contamination, str):
        return float(np.percentile(scores, 100 * contamination) - rounding)
    return float(lower - 1.5 * (upper - lower) - rounding)
