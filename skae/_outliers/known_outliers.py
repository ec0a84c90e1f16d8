"""Outlier scores by a few known outliers: a logistic regression on features and errors."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from .._data.array_api import as_numpy
from .._data.dataset import Rows, dense_block, row_blocks
from .._data.frames import is_missing
from .._data.labels import numbers_of_objects
from .._data.messages import described
from .._data.moments import moments
from .._data.user_warnings import warn_user

OUTLIER, UNKNOWN, INLIER = -1, 0, 1
# Weight of the likelihood of one known outlier, for one feature. Mean AUROC over 31 data sets with
# 1, 5 and 10 known outliers: 83.4, 87.5, 88.0 at 2; 84.0, 88.2, 88.9 at 4; 83.8, 88.4, 89.4 at 16,
# where more sets are worse than without labels.
STRENGTH = 4.0
# The error enters as a feature of this standard deviation: it is a better one than the others.
ERROR_STD = 2.0
# At most so many other rows, and so many of their numbers, take part in the regression.
MAX_OTHERS, MAX_NUMBERS = 10_000, 20_000_000
# Beyond this multiple of the largest standardised logarithm of an error of the training rows, the
# score falls in proportion to it, whatever the coefficients: far rows are outliers.
FAR = 2.0
# The share of a typical error that is added to all before the logarithm.
OFFSET_SHARE = 0.1


def known_outliers(y: object, n_rows: int) -> np.ndarray | None:
    """Whether each row is a known outlier; None if `y` has no labels of outliers.

    Other values are targets that `fit` ignores by convention. A warning is given for what may be
    meant as labels of outliers.
    """
    if y is None:
        return None
    try:
        given = np.asarray(as_numpy(y))
    except (TypeError, ValueError):  # sequences of different lengths, for example
        return None
    if given.ndim == 2 and given.shape[1] == 1:  # a frame of one column, for example
        given = given[:, 0]
    is_outlier = _is_outlier(given)
    if not is_outlier.any():
        values = _values_if_few(given)
        if _seem_labels(values):
            missing = " and missing ones" if any(map(is_missing, given.tolist())) else ""
            warn_user(
                "`y` has no effect: labels are -1 for outliers, 1 for inliers and 0 for unknown "
                f"rows, and `y` has the values {described(values)}{missing}.",
                UserWarning,
            )
        return None
    if len(is_outlier) != n_rows:
        raise ValueError(
            f"`y` must have one label for each row of X: {n_rows}, got {len(is_outlier)}"
        )
    return is_outlier


def _is_outlier(y: np.ndarray) -> np.ndarray:
    """Whether each label is that of an outlier; empty if there are other values than labels."""
    labels = numbers_of_objects(y) if y.dtype == object else y
    if labels is None or labels.dtype.kind not in "if" or labels.ndim != 1:
        return np.zeros(0, dtype=bool)
    is_label = np.isin(labels, [OUTLIER, UNKNOWN, INLIER]).all()
    return np.asarray(labels == OUTLIER) if is_label else np.zeros(0, dtype=bool)


def _seem_labels(values: list[Any]) -> bool:
    """Whether values may be labels: all three, two with -1, 0 and 1, only 1, or two strings."""
    if len(values) > 2:
        return set(values) in ({OUTLIER, UNKNOWN, INLIER}, {"-1", "0", "1"})
    are_two_texts = [isinstance(value, str) for value in values] == [True, True]
    return OUTLIER in values or are_two_texts or values in ([INLIER], [UNKNOWN, INLIER])


def _values_if_few(y: np.ndarray) -> list[Any]:
    """The different values, without missing ones; none if there are more than three."""
    if y.ndim != 1:
        return []
    try:
        values = {value for value in y.tolist() if not is_missing(value)}
    except TypeError:  # such as lists
        return []
    return sorted(values, key=_rank) if len(values) <= 3 else []


def _rank(value: Any) -> tuple[Any, ...]:
    """Orders real numbers, and then other values."""
    return (0, value) if isinstance(value, int | float) else (1, str(value))


class KnownOutliers(NamedTuple):
    """Scores by a logistic regression; see `AutoencoderOutlierDetector` for the formula."""

    mean: np.ndarray  # (n_features,), of the training rows
    scale: np.ndarray  # (n_features,)
    coef: np.ndarray  # (2, n_features), of the terms of the features
    # What is added to errors, the median and spread of their logarithm, its coefficient, and its
    # largest value of a training row, (5,).
    by_error: np.ndarray
    # The largest function of a feature, for the training rows below and above the mean,
    # (2, n_features).
    largest: np.ndarray = np.full((2, 1), np.inf)

    @classmethod
    def fit(
        cls, X: Rows, errors: np.ndarray, is_outlier: np.ndarray, rng: np.random.RandomState
    ) -> "KnownOutliers":
        """Fit to the error of each row, and to whether the row is a known outlier."""
        n_most = max(min(MAX_OTHERS, MAX_NUMBERS // X.shape[1]), 1)
        others = rng.permutation(np.flatnonzero(~is_outlier))[:n_most]
        units, log_errors = moments(X), np.log(errors[others] + _offset(errors[others]))
        lower, median, upper = np.percentile(log_errors, [25, 50, 75])
        spread = (upper - lower) / 1.35 or 1.0  # the standard deviation of a normal distribution
        new = cls(
            units.mean,
            units.scale,
            np.zeros((2, X.shape[1])),
            np.array([_offset(errors[others]), median, spread, 1.0, np.inf]),
        )
        index = np.append(np.flatnonzero(is_outlier), others)
        n_outliers = len(index) - len(others)
        by_feature, by_error = new._terms(dense_block(X, index)), _g(new._standard(errors[index]))
        signed = by_feature[:, 0]
        largest = np.stack([-signed.min(axis=0), signed.max(axis=0)]).clip(min=0)
        terms = np.c_[by_feature.reshape(len(index), -1), ERROR_STD * by_error]
        strength = STRENGTH * n_outliers / np.sqrt(terms.shape[1])
        model = LogisticRegression(
            C=2 * strength / len(index), class_weight="balanced", max_iter=1000
        )
        coef = model.fit(terms, np.arange(len(index)) < n_outliers).coef_[0]
        coefficient = 1 + ERROR_STD * coef[-1]
        return new._replace(
            coef=coef[:-1].reshape(2, -1),
            by_error=np.append(new.by_error[:3], [coefficient, by_error.max()]),
            largest=largest,
        )

    def contributions(self, X: Rows, contributions: np.ndarray) -> np.ndarray:
        """Contributions of features to the score, from those to the negative error."""
        result = np.empty_like(contributions)
        for rows in row_blocks(X):
            x, parts = dense_block(X, rows), -contributions[rows]
            is_observed = ~np.isnan(x)
            errors = parts.sum(axis=1, keepdims=True)
            equal = is_observed / np.maximum(is_observed.sum(axis=1, keepdims=True), 1)
            share = np.divide(parts, errors, out=equal, where=errors > 0)
            by_error = self._term_of_error(errors) * share
            result[rows] = -(self._terms(x) * self.coef).sum(axis=1) - by_error
        return result

    def _terms(self, x: np.ndarray) -> np.ndarray:
        """Functions of the features, (n_rows, 2, n_features)."""
        with np.errstate(over="ignore"):
            standard = (x.astype(np.float64) - self.mean) / self.scale
        standard = np.nan_to_num(standard)
        size, sign = np.log1p(np.abs(standard)), np.sign(standard)
        # Values beyond those of the training rows do not raise the score.
        lowers = self.coef[1] + sign * self.coef[0] < 0
        largest = np.where(sign < 0, *self.largest[:, None])
        size = np.where(lowers, np.minimum(size, largest), size)
        return np.stack([sign * size, size], axis=1)

    def _term_of_error(self, errors: np.ndarray) -> np.ndarray:
        coefficient, largest = self.by_error[3:]
        standard = self._standard(errors)
        term = _g(standard) if coefficient > 0 else np.minimum(_g(standard), largest)
        return coefficient * term + np.maximum(standard - FAR * np.expm1(max(largest, 0.0)), 0.0)

    def _standard(self, errors: np.ndarray) -> np.ndarray:
        """The standardised logarithm of errors."""
        offset, median, spread = self.by_error[:3]
        return (np.log(errors + offset) - median) / spread


def _g(t: np.ndarray) -> np.ndarray:
    return np.sign(t) * np.log1p(np.abs(t))


def _offset(errors: np.ndarray) -> float:
    return max(OFFSET_SHARE * float(np.median(errors)), np.finfo(float).tiny)
