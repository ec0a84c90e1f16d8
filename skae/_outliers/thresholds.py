"""The threshold of outlier scores, and folds of rows of which each is held out in turn."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.model_selection import GroupKFold, KFold

from .._data.dataset import Rows
from .._data.groups import TooFewGroupsError

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

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`.
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

        Raises
        ------
        ValueError, TypeError
            If a parameter, or `X`, is not as documented; the message names it.
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

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)


def folds(
    X: Rows, groups: np.ndarray | None, n_folds: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows to fit to and rows to score. Each row is scored once."""
    n_units, units = (X.shape[0], "rows") if groups is None else (len(np.unique(groups)), "groups")
    if n_units // 2 < n_folds:
        message = (
            f"`cv` must be at most {n_units // 2}, half of the {n_units} {units}, got {n_folds}. "
            "Rows that all occur equally often count once."
        )
        if groups is None:
            raise ValueError(message)
        requirement = f"`cv` must be at most half of their number, got {n_folds}"
        raise TooFewGroupsError(message, n_units, requirement)
    if groups is not None:
        return GroupKFold(n_folds).split(X, groups=groups)
    return KFold(n_folds, shuffle=True, random_state=0).split(X)


class Parts(NamedTuple):
    """Parts of the rows, each of which is in the same folds of given pairs of row numbers."""

    of_row: np.ndarray  # (n_samples,), the part of each row
    is_fitted: np.ndarray  # (n_folds, n_parts)
    is_held_out: np.ndarray  # (n_folds, n_parts)

    @classmethod
    def from_pairs(cls, pairs: list[tuple[np.ndarray, np.ndarray]], n_rows: int) -> Self:
        """The parts for pairs of rows to fit to and rows to score."""
        used = np.zeros((n_rows, 2, len(pairs)), dtype=bool)
        for i, pair in enumerate(pairs):
            for j, rows in enumerate(pair):
                used[rows, j, i] = True
        parts, of_row = np.unique(used.reshape(n_rows, -1), axis=0, return_inverse=True)
        is_fitted, is_held_out = np.split(parts.T, 2)
        return cls(of_row.ravel(), is_fitted, is_held_out)

    def folds(self, of_row: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs of rows to fit to and rows to score, of rows with these parts."""
        for parts in zip(self.is_fitted, self.is_held_out, strict=True):
            fitted, held_out = (np.flatnonzero(chosen[of_row]) for chosen in parts)
            if len(held_out):
                yield fitted, held_out


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
