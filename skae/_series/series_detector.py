"""Outlier detection in time series by their windows."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import OutlierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._data.fit_params import fit_weighted
from .._data.groups import TooFewGroupsError
from .._data.rows import validate_rows
from .._data.sample_weight import check_sample_weight
from .._data.validation import (
    NONE,
    check_parameters,
    estimator_with,
    instance_of,
    integer,
    parameter,
    restore_on_error,
)
from .._nn.pickling import VersionPickleMixin
from .._outliers.detector import SCORERS, AutoencoderOutlierDetector
from .sliding_windows import SeriesSteps, check_squares, labels_of_steps

# Windows are scored in blocks of so many entries, 32 MiB in float64: the windows of a long series
# take `window_size` times the memory of the series.
BLOCK_ENTRIES = 2**22
# Consecutive windows overlap. The windows of a series, or of a part of it if there are fewer series
# than this, are held out together.
MIN_GROUPS = 20
MAX_SCORED = 100  # windows by which the threshold is found

DETECTOR = estimator_with("fit", "score_samples", "decision_function")
AUTOENCODER = instance_of(SCORERS, "an autoencoder of this package")


def _detector_has(method: str) -> Callable[[Any], bool]:
    """Whether the estimator for windows has a method."""

    def has_method(self: "TimeSeriesOutlierDetector") -> bool:
        return hasattr(getattr(self, "estimator_", self._detector()), method)

    return has_method


@dataclass(eq=False, repr=False)
class TimeSeriesOutlierDetector(OutlierMixin, VersionPickleMixin):
    """Outlier detection in time series by sliding windows.

    The rows of `X` are the time steps of a series, in chronological order. The score of a time step
    is the score of the window that ends at it, by any outlier detector::

        score_samples(X)[t] = estimator_.score_samples(window(t))
        window(t) = x(t - window_size + 1), ..., x(t)

    So a score does not depend on later time steps. The first ``window_size - 1`` time steps of a
    series have no complete window: their scores are NaN, and `predict` returns 1.

    As for all outlier detectors of scikit-learn, *outliers have low scores*, and `predict` returns
    -1 for outliers and 1 for inliers.

    Parameters
    ----------
    estimator : outlier detector, autoencoder or None, default=None
        The detector of windows, with `score_samples` and `decision_function`. `fit` fits a clone of
        it. An autoencoder of this package becomes the estimator of an
        :class:`AutoencoderOutlierDetector`. None means an :class:`AutoencoderOutlierDetector` with
        its defaults. The folds of its `cv` hold out all windows of a series together or, if there
        are fewer than 20 series, all windows of a part of a series.

    window_size : int, default=1
        Number of time steps in a window. With 1, a window is a single time step. Choose about the
        length of the patterns whose changes are outliers.

    stride : int, default=1
        Number of time steps from one window of `fit` to the next. With larger values `fit` needs
        less time and memory. The other methods return a score for each time step.

    Attributes
    ----------
    estimator_ : object
        The detector that is fitted to windows.
    offset_ : float
        The threshold of `estimator_`: time steps with a lower score are outliers.
        `decision_function` returns ``score_samples(X) - offset_``.
    window_size_ : int
        The value of `window_size` in `fit`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had them as strings.

    See Also
    --------
    AutoencoderOutlierDetector : The default detector of windows.
    SlidingWindows : A transformer that returns the windows.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import AutoencoderOutlierDetector, TimeSeriesOutlierDetector
    >>> X = np.sin(np.arange(400) / 5)[:, None]
    >>> X[300:310] = X[300]  # usual values, but the signal is constant
    >>> rows = AutoencoderOutlierDetector(random_state=0)
    >>> detector = TimeSeriesOutlierDetector(rows, window_size=10).fit(X[:200])
    >>> bool(300 < np.nanargmin(detector.score_samples(X)) < 320)
    True
    """

    __module__ = "skae"

    estimator: Any = parameter(None, NONE, DETECTOR, AUTOENCODER)
    _: KW_ONLY
    window_size: int = parameter(1, integer(1))
    stride: int = parameter(1, integer(1))

    def fit(self, X, y=None, *, groups=None, sample_weight=None) -> Self:
        """Fit the detector to the complete windows of the series.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features)
            Time steps. NaN marks missing values, if `estimator` allows them.
        y : array-like of shape (n_time_steps,), default=None
            Labels of the time steps, such as known outliers. They are passed on to `estimator`: the
            label of a window is the label of its last time step.
        groups : array-like of shape (n_time_steps,), default=None
            Label of the series of each time step, such as the number of a machine. Windows contain
            steps of one series only. None means that `X` is one series.
        sample_weight : array-like of shape (n_time_steps,), default=None
            Weights of the time steps. The weight of a window is that of its last time step. If
            `estimator` has no weights, it is fitted to copies of the windows.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError, TypeError
            If a parameter, or `X`, is not as documented, or fewer than two windows are complete.
        """
        with restore_on_error(self):
            check_parameters(self)
            detector = clone(self._detector())
            X = self._validated(X, detector, reset=True)
            steps = SeriesSteps.of_table(X.shape[0], groups)
            after_first = steps.position - (self.window_size - 1)
            ends = np.flatnonzero((after_first >= 0) & (after_first % self.stride == 0))
            if len(ends) < 2:
                raise ValueError(
                    f"X must have at least 2 windows of window_size={self.window_size} time steps "
                    f"with stride={self.stride}, got {len(ends)}: its longest series has "
                    f"{steps.position.max() + 1} time steps."
                )
            labels, weights = labels_of_steps(y, len(X)), check_sample_weight(sample_weight, len(X))
            if weights is not None:
                ends = ends[weights[steps.row[ends]] > 0]
                if len(ends) < 2:
                    raise ValueError(
                        f"`sample_weight` leaves {len(ends)} sample(s), which are windows, while a "
                        "minimum of 2 is required."
                    )
            windows = steps.windows(X, ends, self.window_size)
            if not isinstance(detector, AutoencoderOutlierDetector | Pipeline):
                check_squares(windows, type(detector).__name__)
            together = _held_out_together(steps.series[ends])
            labels, weights = (a if a is None else a[steps.row[ends]] for a in (labels, weights))
            params = {"groups": together}
            with _parts_of_series(groups, labels, weights):
                self.estimator_ = fit_weighted(detector, windows, labels, weights, params)
            self.window_size_ = self.window_size
            self.offset_ = _threshold(detector, windows)
        return self

    def fit_predict(self, X, y=None, *, groups=None, sample_weight=None) -> np.ndarray:
        """Fit the detector, and classify the same time steps.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features)
            Time steps.
        y : array-like of shape (n_time_steps,), default=None
            Labels of the time steps, as in `fit`.
        groups : array-like of shape (n_time_steps,), default=None
            Labels of the series, as in `fit`.
        sample_weight : array-like of shape (n_time_steps,), default=None
            Weights of the time steps, as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_time_steps,)
            1 for inliers, -1 for outliers.
        """
        fitted = self.fit(X, y, groups=groups, sample_weight=sample_weight)
        return fitted.predict(X, groups=groups)

    def score_samples(self, X, *, groups=None) -> np.ndarray:
        """Outlier score of each time step; low is abnormal.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features)
            Time steps, in their order.
        groups : array-like of shape (n_time_steps,), default=None
            Labels of the series, as in `fit`.

        Returns
        -------
        scores : ndarray of shape (n_time_steps,)
            The scores of the windows that end at the time steps, in float64. NaN for the first
            ``window_size - 1`` time steps of each series.
        """
        check_is_fitted(self)
        return self._of_windows(self.estimator_.score_samples, X, groups)

    @available_if(_detector_has("feature_contributions"))
    def feature_contributions(self, X, *, groups=None) -> np.ndarray:
        """Contribution of each feature to the score of a time step; outliers have low values.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features)
            Time steps, in their order.
        groups : array-like of shape (n_time_steps,), default=None
            Labels of the series, as in `fit`.

        Returns
        -------
        contributions : ndarray of shape (n_time_steps, n_features)
            The contribution of a feature is summed over the time steps of the window. The
            contributions of all features add up to the score. NaN without a complete window.

        Raises
        ------
        AttributeError
            If `estimator` has no such method.
        """
        check_is_fitted(self)

        def contributions(windows: np.ndarray) -> np.ndarray:
            of_entries = self.estimator_.feature_contributions(windows)
            return of_entries.reshape(len(windows), self.n_features_in_, -1).sum(axis=2)

        return self._of_windows(contributions, X, groups, (self.n_features_in_,))

    @available_if(_detector_has("p_values"))
    def p_values(self, X, *, groups=None) -> np.ndarray:
        """Share of the windows of `fit` that are at least as abnormal as that of a time step.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features)
            Time steps, in their order.
        groups : array-like of shape (n_time_steps,), default=None
            Labels of the series, as in `fit`.

        Returns
        -------
        p_values : ndarray of shape (n_time_steps,)
            See :meth:`AutoencoderOutlierDetector.p_values`. NaN without a complete window.

        Raises
        ------
        AttributeError
            If `estimator` has no such method.
        """
        check_is_fitted(self)
        return self._of_windows(self.estimator_.p_values, X, groups)

    def decision_function(self, X, *, groups=None) -> np.ndarray:
        """Score of each time step minus the threshold.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features)
            Time steps, in their order.
        groups : array-like of shape (n_time_steps,), default=None
            Labels of the series, as in `fit`.

        Returns
        -------
        decision : ndarray of shape (n_time_steps,)
            ``score_samples(X) - offset_``; negative for outliers, NaN without a complete window.
        """
        return self.score_samples(X, groups=groups) - self.offset_

    def predict(self, X, *, groups=None) -> np.ndarray:
        """Classify time steps as inliers or outliers.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features)
            Time steps, in their order.
        groups : array-like of shape (n_time_steps,), default=None
            Labels of the series, as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_time_steps,)
            1 for inliers and time steps without a complete window, -1 for outliers.
        """
        return np.where(self.decision_function(X, groups=groups) < 0, -1, 1)

    def _detector(self) -> Any:
        """The unfitted detector of windows; an invalid `estimator` is returned unchanged."""
        if self.estimator is None or AUTOENCODER.has_type(self.estimator):
            return AutoencoderOutlierDetector(self.estimator)
        return self.estimator

    def _of_windows(
        self, method: Callable[[np.ndarray], np.ndarray], X, groups, shape: tuple[int, ...] = ()
    ) -> np.ndarray:
        """Results of a method of the fitted detector for the window of each time step."""
        X, size = self._validated(X, self.estimator_), self.window_size_
        steps = SeriesSteps.of_table(X.shape[0], groups)
        ends = np.flatnonzero(steps.position >= size - 1)
        n_ends = max(1, BLOCK_ENTRIES // (size * X.shape[1]))
        results = np.full((X.shape[0], *shape), np.nan)
        for start in range(0, len(ends), n_ends):
            block = ends[start : start + n_ends]
            results[steps.row[block]] = method(steps.windows(X, block, size))
        return results

    def _validated(self, X, detector: Any, *, reset: bool = False) -> np.ndarray:
        allows_nan = get_tags(detector).input_tags.allow_nan
        return validate_rows(
            self,
            X,
            reset=reset,
            accept_sparse=False,
            ensure_min_samples=1 + reset,
            ensure_all_finite="allow-nan" if allows_nan else True,
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        detector = self._detector()
        if DETECTOR.has_type(detector):
            tags.input_tags.allow_nan = get_tags(detector).input_tags.allow_nan
        return tags


def _threshold(detector: Any, windows: np.ndarray) -> float:
    """The threshold of a fitted detector; pipelines have no `offset_`."""
    some = windows[:: len(windows) // MAX_SCORED + 1]
    # All detectors of scikit-learn have both methods.
    scores = np.ravel(detector.score_samples(some))
    smallest = np.abs(scores).argmin()  # the difference is rounded as the score is
    return float(scores[smallest] - np.ravel(detector.decision_function(some))[smallest])


@contextmanager
def _parts_of_series(groups: Any, labels: Any, weights: Any) -> Iterator[None]:
    """Do not name the groups of an error that are parts of the series, not those of the user."""
    try:
        yield
    except TooFewGroupsError as error:
        if groups is not None:
            raise
        left_out = ["without values"]
        if labels is not None:
            left_out.append("that `y` labels as outliers")
        if weights is not None:
            left_out.append("with a small `sample_weight`")
        raise ValueError(
            f"X has windows to fit to in {error.found} of the {MIN_GROUPS} parts of the series "
            f"that are held out together, as their windows overlap: {error.requirement}. Windows "
            f"{' and '.join(left_out)} are left out."
        ) from error


def _held_out_together(series: np.ndarray) -> np.ndarray:
    """Group of each window, by the sorted numbers of their series: the series, or a part of it."""
    _, first, series, size = np.unique(
        series, return_index=True, return_inverse=True, return_counts=True
    )
    n_parts = math.ceil(MIN_GROUPS / len(size))
    position = np.arange(len(series)) - first[series]
    return series * n_parts + position * n_parts // size[series]
