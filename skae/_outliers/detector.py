"""Outlier detection by reconstruction errors."""

from dataclasses import KW_ONLY, dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._autoencoders.base import BaseAutoencoder
from .._data.groups import RowGroups
from .._data.process_group import refuse_process_group
from .._data.sample_weight import check_sample_weight, copied
from .._data.splits import CV, make_splits
from .._data.table import always_makes_table
from .._data.table_rows import CATEGORICAL_FEATURES, by_column, encoded_rows
from .._data.validation import (
    BOOLEAN,
    NONE,
    RANDOM_STATE,
    Interval,
    Rule,
    StrOptions,
    check_finite_results,
    check_parameters,
    parameter,
    restore_on_error,
)
from .._nn.pickling import VersionPickleMixin
from .denoising_ensemble import DenoisingEnsemble
from .known_outliers import KnownOutliers, known_outliers
from .outlier_scores import OutlierScores, Scorer, TrainingRows, fit_scores, held_out_scores
from .thresholds import Parts, ThresholdMixin, threshold

# Noise levels and training steps of the default ensemble if `fit` may see outliers, chosen with
# `benchmarks/outliers.py`. With strong noise and few steps networks learn the outline of the rows,
# and do not overfit to a few outliers.
ROBUST_LEVELS, ROBUST_STEPS = (2.0, 3.0, 5.0), 100
# Stored rows of the default. Mean AUROC over 25 data sets of more than 1000 rows, with outliers in
# `fit`: 79.5 with 1000 rows, 79.7 with 2000, 79.6 with 4000; without, 19 sets: 89.8, 90.2, 90.3.
ROBUST_SAMPLES = 2000

SCORERS = (BaseAutoencoder, DenoisingEnsemble)
# The columns of the encoded rows that the estimator is fitted to have other numbers.
ESTIMATOR = Rule(
    "an autoencoder of this package with one `loss` for all columns and without "
    "`categorical_features`, which are a parameter of the detector",
    lambda value: isinstance(value, SCORERS),
    lambda value: (
        isinstance(value, DenoisingEnsemble)
        or not always_makes_table(value.categorical_features, value.loss)
    ),
)


def _has_folds(detector: "AutoencoderOutlierDetector") -> bool:
    """Whether there are held-out scores, or will be."""
    was_fitted_without = hasattr(detector, "offset_") and not hasattr(detector, "held_out_scores_")
    if detector.cv is None or was_fitted_without:
        raise AttributeError("`p_values` needs `cv` to be a number of folds in `fit`, got None")
    return True


@dataclass(eq=False, repr=False)
class AutoencoderOutlierDetector(ThresholdMixin, VersionPickleMixin):
    """Outlier detection by the reconstruction error of an autoencoder.

    The reconstruction error of an autoencoder is small for rows that are similar to most training
    rows, and large for outliers [1]_. The score of a row is its negative error::

        score_samples(x) = sum over features of feature_contributions(x)
        feature_contributions(x) = -(x - reconstruct(x))^2

    These formulas are for an autoencoder with the squared error. With other losses, the
    contribution of a feature is its negative loss. The default estimator is a
    :class:`DenoisingEnsemble`, which divides the error of each feature by a typical error.

    If `y` contains known outliers, the autoencoder is fitted to the other rows, and a logistic
    regression separates the known outliers from the other rows. With z, the standardised features,
    and e, the standardised logarithm of the error above, the score is::

        score_samples(x) = -(a g(e) + sum over features j of (b_j g(z_j) + c_j |g(z_j)|) + h(e))
        g(t) = sign(t) log(1 + |t|),   h(t) = max(t - 2 m, 0)

    Here m is the largest e of a training row: h lowers the score of rows with far larger errors.
    For training rows, ``f(x) = -score_samples(x) - g(e)`` is the logit of the regression, whose
    coefficients minimise, for k known outliers and d features::

        ((a - 1) / 2)^2 + |b|^2 + |c|^2 + 8 k / sqrt(2 d + 1) * (
            mean over known outliers of log(1 + exp(-f - f_0))
            + mean over other rows of log(1 + exp(f + f_0))
        )

    If there are few known outliers, the coefficients (a, b, c) are near (1, 0, 0), so the score
    depends mostly on the error. Terms that raise the score of a row are limited to the largest
    values that they have for training rows.

    As for all outlier detectors of scikit-learn, *outliers have low scores*, and `predict` returns
    -1 for outliers and 1 for inliers. PyOD has the opposite sign.

    Parameters
    ----------
    estimator : autoencoder, DenoisingEnsemble or None, default=None
        Any autoencoder of this package, with one `loss` for all columns and without
        `categorical_features`. None means a :class:`DenoisingEnsemble` whose parameters depend on
        `novelty`.

    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training rows that are below the threshold `offset_`. With "auto", the
        threshold is 1.5 interquartile ranges below the lower quartile of the training scores, as in
        a box plot. New rows have lower scores than training rows, especially if these are few: use
        `cv` for a threshold that is valid for new rows.

    novelty : bool or "auto", default="auto"
        Whether the rows of `fit` contain no outliers.

        - "auto": they may or may not. If `estimator` is None, it is a :class:`DenoisingEnsemble`
          with ``global_distances=True`` and ``max_samples=2000``. Otherwise "auto" is False.
        - True: they contain none. If `estimator` is None, it is a :class:`DenoisingEnsemble` with
          its defaults. New outliers that are similar to an outlier in `fit` are not found.
        - False: they contain some. The autoencoder is fitted twice, the second time to the half of
          the rows with the smallest errors of the first [2]_. If `estimator` is None, it is a
          :class:`DenoisingEnsemble` with ``noise_levels=(2.0, 3.0, 5.0)``, ``exact_levels=()`` and
          ``n_steps=100``: with strong noise and few steps it does not reconstruct rare rows.

    cv : int, cross-validation splitter, iterable or None, default=None
        Number of folds, at most half the number of rows. If it is given, `offset_` is determined
        from held-out scores: the rows of each fold are scored by an autoencoder that was fitted to
        the other folds. Held-out scores are comparable to the scores of new rows, whereas the
        scores of training rows are too high. `p_values` [3]_ needs held-out scores. `fit` takes
        about ``cv`` times as long. An iterable has pairs of numbers of training rows and of
        held-out rows.

    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        The categorical columns: a Boolean mask, or names or numbers of columns. None means that
        there are none. "from_dtype" means the columns of a frame whose dtype is categorical, and
        columns of strings, unless all strings are numbers. If there are categorical columns, the
        autoencoder is fitted to encoded rows: numbers in standard deviations, and for each category
        an indicator that is divided by the root of its frequency. A row with a rare category has a
        lower score. Categories that were not in `fit` are missing values.

    random_state : int, RandomState instance or None, default=None
        Seed of the autoencoder. None means the `random_state` of `estimator`.

    Attributes
    ----------
    estimator_ : object
        The fitted autoencoder.
    held_out_scores_ : ndarray of shape (n_held_out,)
        Scores of the rows of `fit`, without the known outliers, by autoencoders that were not
        fitted to them, in increasing order. Only with `cv`. If `cv` is an iterable, only the rows
        that it holds out.
    offset_ : float
        The threshold: rows with a lower score are outliers. `decision_function` returns
        ``score_samples(X) - offset_``.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had them as strings.

    See Also
    --------
    DenoisingEnsemble : The default autoencoder.
    sklearn.ensemble.IsolationForest : Outliers by random splits.
    sklearn.neighbors.LocalOutlierFactor : Outliers by the density around their neighbours.

    References
    ----------
    .. [1] S. Hawkins, H. He, G. Williams and R. Baxter, "Outlier detection using replicator neural
       networks", Data Warehousing and Knowledge Discovery, 2002.
    .. [2] P. J. Rousseeuw and K. Van Driessen, "A fast algorithm for the minimum covariance
       determinant estimator", Technometrics, 1999. (Concentration steps.)
    .. [3] S. Bates, E. Candès, L. Lei, Y. Romano and M. Sesia, "Testing for outliers with conformal
       p-values", Annals of Statistics, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import AutoencoderOutlierDetector
    >>> t = np.random.RandomState(0).uniform(-1, 1, size=300)
    >>> X = np.c_[t, t**2, t**3]
    >>> detector = AutoencoderOutlierDetector(novelty=True, random_state=0).fit(X)
    >>> odd = [[0.5, 0.9, 0.125]]  # the square is wrong
    >>> detector.predict(odd)
    array([-1])
    >>> int(detector.feature_contributions(odd).argmin())
    1
    """

    __module__ = "skae"

    estimator: Scorer | None = parameter(None, NONE, ESTIMATOR)
    _: KW_ONLY
    contamination: float | str = parameter(
        "auto", StrOptions(["auto"]), Interval(Real, 0, 0.5, closed="right")
    )
    novelty: bool | str = parameter("auto", BOOLEAN, StrOptions(["auto"]))
    cv: Any = parameter(None, *CV)
    categorical_features: Any = parameter("from_dtype", *CATEGORICAL_FEATURES)
    random_state: int | np.random.RandomState | None = parameter(None, *RANDOM_STATE)

    def fit(self, X, y=None, sample_weight=None, *, groups=None) -> Self:
        """Fit the autoencoder and set the threshold of the scores.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Training rows. NaN marks missing values. Rows without any value are left out.
        y : array-like of shape (n_samples,), default=None
            Labels of the rows: -1 for known outliers, 1 for inliers, and 0 for unlabelled rows. The
            labels 1 and 0 have the same effect. If `y` contains other values, or no -1, it is
            ignored, with a warning if it seems to contain labels of outliers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. An integer weight k has the effect of k copies of the row, and
            a weight of zero that of leaving it out. Weights that are not integers are divided
            by their mean and rounded up or down at random.
        groups : array-like of shape (n_samples,), default=None
            Label of the group of each row, such as a machine or a patient. The rows of a group are
            held out together, in the folds of `cv` and for the early stopping of `estimator`.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError, TypeError
            If a parameter, or `X`, is not as documented; the message names it.
        """
        with restore_on_error(self):
            check_parameters(self)
            refuse_process_group(type(self).__name__)
            X = encoded_rows(self, X, reset=True, ensure_min_samples=2)
            is_outlier = known_outliers(y, X.shape[0])
            if groups is not None:
                groups = RowGroups.from_labels(groups, X.shape[0]).of_row
            cv = self.cv
            if cv is not None and not isinstance(cv, Integral):
                cv = Parts.from_pairs(make_splits(cv, X, None, groups, False, None), X.shape[0])
            rows = TrainingRows(X, groups, is_outlier, getattr(cv, "of_row", None))
            rows, weights = rows.with_entries(check_sample_weight(sample_weight, X.shape[0]))
            estimator = self._new_estimator()
            index = copied(rows.X, weights, estimator.random_state, rows.labels())
            rows = (rows if index is None else rows.take(index)).with_checked_labels()
            for name in ("held_out_scores_", "_known_outliers"):
                self.__dict__.pop(name, None)
            is_clean = self._is_robust() or (self.novelty != "auto" and bool(self.novelty))
            fit = partial(fit_scores, estimator, is_clean)
            fitted = fit(rows)
            self.estimator_ = fitted.estimator
            if fitted.known is not None:
                self._known_outliers = tuple(fitted.known)
            if cv is None:
                scores = fitted.of(rows.others().X)
            else:
                scores = np.sort(held_out_scores(fit, rows, cv))
                self.held_out_scores_ = scores
            self.offset_ = threshold(scores, self.contamination)
            check_finite_results(self)
        return self

    def score_samples(self, X) -> np.ndarray:
        """Outlier score of each row; low is abnormal.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; missing values (NaN) do not contribute. A row without any value has the score 0.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            The sum of the `feature_contributions` of each row, in float64.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            If the estimator is not fitted, or `X` is not as in `fit`.
        """
        check_is_fitted(self)
        return self._scores.of(encoded_rows(self, X))

    def feature_contributions(self, X) -> np.ndarray:
        """Contribution of each feature to the score of a row; outliers have low values.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows; missing values (NaN) contribute 0.

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features)
            The contributions, in float64. The sum over the features is the score of the row.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            If the estimator is not fitted, or `X` is not as in `fit`.
        """
        check_is_fitted(self)
        return by_column(self, self._scores.contributions(encoded_rows(self, X)))

    @available_if(_has_folds)
    def p_values(self, X) -> np.ndarray:
        """Share of the rows of `fit` that are at least as abnormal as a row.

        This is a conformal p-value (Bates et al., 2023). If rows with a p-value of at most `alpha`
        are called outliers, about a share of `alpha` of the new inliers are false alarms, or fewer.
        There are fewer if outliers are among the rows of `fit`.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            New rows.

        Returns
        -------
        p_values : ndarray of shape (n_samples,)
            ``(1 + k) / (1 + n)``, where k of the n `held_out_scores_` are at most that of the row.

        Raises
        ------
        AttributeError
            If `cv` is None, or was None in `fit`.
        """
        check_is_fitted(self)
        held_out = self.held_out_scores_
        n_lower = np.searchsorted(held_out, self.score_samples(X), side="right")
        return (1 + n_lower) / (1 + len(held_out))

    def _new_estimator(self) -> Scorer:
        """An unfitted autoencoder, by the parameters."""
        estimator: Scorer
        if self.estimator is not None:
            estimator = clone(self.estimator)
        elif self.novelty:
            estimator = DenoisingEnsemble()
            if self._is_robust():
                estimator.set_params(global_distances=True, max_samples=ROBUST_SAMPLES)
        else:
            estimator = DenoisingEnsemble(
                noise_levels=ROBUST_LEVELS, exact_levels=(), n_steps=ROBUST_STEPS
            )
        if self.random_state is not None:
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            estimator.set_params(random_state=seed)
        return estimator

    def _is_robust(self) -> bool:
        """Whether the estimator is one that is hardly changed by outliers in `fit`."""
        return self.novelty == "auto" and self.estimator is None

    @property
    def _scores(self) -> OutlierScores:
        known = getattr(self, "_known_outliers", None)
        return OutlierScores(self.estimator_, known and KnownOutliers(*known))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        estimator = self.estimator if isinstance(self.estimator, SCORERS) else DenoisingEnsemble()
        tags.input_tags = get_tags(estimator).input_tags
        return tags
