"""Sliding windows of time series as rows of a table."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._data.groups import RowGroups
from .._data.labels import numbers_of_objects
from .._data.memory import check_memory
from .._data.rows import array_of_target, validate_codes, validate_rows
from .._data.validation import check_parameters, integer, parameter, restore_on_error
from .._nn.pickling import VersionPickleMixin


class SeriesSteps(NamedTuple):
    """The time steps of a table, sorted by series, and in each series by time."""

    row: np.ndarray  # (n_steps,), the row of each step in the table
    position: np.ndarray  # (n_steps,), its number within its series, from 0
    series: np.ndarray  # (n_steps,), the number of its series, from 0

    @classmethod
    def of_table(cls, n_rows: int, groups: Any) -> Self:
        """The steps of a table of one series, or of the series that `groups` names."""
        if groups is None:
            return cls(np.arange(n_rows), np.arange(n_rows), np.zeros(n_rows, dtype=np.intp))
        series = RowGroups.from_labels(groups, n_rows).of_row
        row = np.argsort(series, kind="stable")
        sizes = np.bincount(series)
        first = np.repeat(np.cumsum(sizes) - sizes, sizes)
        return cls(row, np.arange(n_rows) - first, series[row])

    def windows(self, X: np.ndarray, ends: np.ndarray, window_size: int) -> np.ndarray:
        """The windows that end at these steps, (n_ends, n_features * window_size).

        Entries before the start of a series are NaN.
        """
        lags = np.arange(window_size - 1, -1, -1)
        is_before = lags > self.position[ends, None]  # (n_ends, window_size)
        steps = np.where(is_before, 0, ends[:, None] - lags)
        windows = X[self.row[steps]]  # (n_ends, window_size, n_features)
        windows[is_before] = np.nan
        return windows.transpose(0, 2, 1).reshape(len(ends), -1)

    def in_order_of_rows(self) -> np.ndarray:
        """The step of each row of the table, (n_steps,)."""
        step = np.empty_like(self.row)
        step[self.row] = np.arange(len(step))
        return step


def labels_of_steps(y: Any, n_rows: int) -> np.ndarray | None:
    """The labels of all time steps."""
    if y is None:
        return None
    labels = array_of_target(y)
    if labels.dtype == object and (numbers := numbers_of_objects(labels)) is not None:
        labels = numbers
    if labels.shape[:1] != (n_rows,):
        raise ValueError(
            f"`y` must have a label for each of the {n_rows} time steps, got shape {labels.shape}."
        )
    return labels


def check_squares(windows: np.ndarray, detector: str) -> None:
    """Refuse windows whose distances are infinite in float64, so that a detector has no scores."""
    largest = np.sqrt(np.finfo(np.float64).max / (8 * windows.shape[1]))
    size = np.abs(windows[~np.isnan(windows)]).max(initial=0)
    if size > largest:
        raise ValueError(
            f"X must have values of at most {largest:.1e} for {detector}, whose distances are "
            f"infinite otherwise, got {size:.1e}: divide X by a number."
        )


@dataclass(eq=False, repr=False)
class SlidingWindows(OneToOneFeatureMixin, TransformerMixin, VersionPickleMixin):
    """Replace each time step of a series by the window that ends at it.

    The rows of `X` are the time steps of a series, in chronological order. The window of a step
    contains the values of all features at this step and at the ``window_size - 1`` steps before
    it::

        transform(X)[t] = [x0(t - window_size + 1), ..., x0(t), x1(t - window_size + 1), ..., x1(t)]

    So a window contains no later time steps, and there are as many windows as time steps. The first
    ``window_size - 1`` windows of a series are incomplete: NaN marks the missing time steps.

    Parameters
    ----------
    window_size : int, default=1
        Number of time steps in a window. With 1, a window is the time step itself.

    Attributes
    ----------
    window_size_ : int
        The value of `window_size` in `fit`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had them as strings.

    See Also
    --------
    TimeSeriesOutlierDetector : Scores the time steps of a series by their windows.
    numpy.lib.stride_tricks.sliding_window_view : Windows without a copy, of one series.

    References
    ----------
    .. [1] N. Golyandina, V. Nekrutkin and A. Zhigljavsky, "Analysis of time series structure: SSA
       and related techniques", Chapman & Hall/CRC, 2001. (The windows, and `inverse_transform`.)

    Examples
    --------
    >>> from skae import SlidingWindows
    >>> X = [[1, 10], [2, 20], [3, 30]]
    >>> windows = SlidingWindows(window_size=2).fit(X)
    >>> windows.transform(X)
    array([[nan,  1., nan, 10.],
           [ 1.,  2., 10., 20.],
           [ 2.,  3., 20., 30.]])
    >>> windows.get_feature_names_out()
    array(['x0_lag1', 'x0_lag0', 'x1_lag1', 'x1_lag0'], dtype=object)
    """

    __module__ = "skae"

    window_size: int = parameter(1, integer(1))

    def fit(self, X, y=None) -> Self:
        """Store the number and the names of the features.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features)
            Time steps. NaN is allowed.
        y : ignored
            Present by scikit-learn's convention.

        Returns
        -------
        self : object
            The transformer itself.

        Raises
        ------
        ValueError, TypeError
            If `window_size` or `X` is not as documented.
        """
        with restore_on_error(self):
            check_parameters(self)
            X = validate_rows(self, X, reset=True, accept_sparse=False)
            check_memory(
                float(X.nbytes) * self.window_size,
                f"The windows of X need more memory than there is: `window_size`="
                f"{self.window_size} times the memory of X.",
            )
            self.window_size_ = self.window_size
        return self

    def fit_transform(self, X, y=None, *, groups=None) -> np.ndarray:
        """Store the number and the names of the features, and make the windows.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features)
            Time steps. NaN is allowed.
        y : ignored
            Present by scikit-learn's convention.
        groups : array-like of shape (n_time_steps,), default=None
            Labels of the series, as in `transform`.

        Returns
        -------
        windows : ndarray of shape (n_time_steps, n_features * window_size)
            The windows.
        """
        return self.fit(X).transform(X, groups=groups)

    def transform(self, X, *, groups=None) -> np.ndarray:
        """Make the window of each time step.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features)
            Time steps. NaN is allowed.
        groups : array-like of shape (n_time_steps,), default=None
            Label of the series of each time step, such as the number of a machine. Windows contain
            steps of one series only. None means that `X` is one series.

        Returns
        -------
        windows : ndarray of shape (n_time_steps, n_features * window_size)
            The windows in the dtype of `X`, feature by feature, with the oldest value first.
            ``windows.reshape(len(X), n_features, window_size)`` has separate axes for features and
            time steps.
        """
        check_is_fitted(self)
        X = validate_rows(self, X, reset=False, accept_sparse=False)
        steps = SeriesSteps.of_table(X.shape[0], groups)
        return steps.windows(X, steps.in_order_of_rows(), self.window_size_)

    def inverse_transform(self, X, *, groups=None) -> np.ndarray:
        """Convert windows to a series.

        The value at a time step is its mean over all windows that contain the time step.

        Parameters
        ----------
        X : array-like of shape (n_time_steps, n_features * window_size)
            Windows as `transform` returns them, or their reconstructions.
        groups : array-like of shape (n_time_steps,), default=None
            Labels of the series, as in `transform`.

        Returns
        -------
        X_original : ndarray of shape (n_time_steps, n_features)
            The time steps, in the dtype of `X`.

        Raises
        ------
        ValueError
            If the windows have another number of columns.
        """
        check_is_fitted(self)
        X = validate_codes(
            X,
            dtype=[np.float64, np.float32],
            input_name="X",
            estimator=self,
            ensure_all_finite="allow-nan",
        )
        n_steps, size = X.shape[0], self.window_size_
        if X.shape[1] != self.n_features_in_ * size:
            raise ValueError(
                f"X must have n_features_in_ * window_size = {self.n_features_in_ * size} columns "
                f"to be windows, got {X.shape[1]}."
            )
        steps = SeriesSteps.of_table(n_steps, groups)
        windows = X.reshape(n_steps, self.n_features_in_, size)[steps.row]
        mean = np.zeros(windows.shape[:2])
        for lag in range(size):  # updates the means, as sums would overflow
            ends = np.flatnonzero(steps.position >= lag)  # those in which this lag is a time step
            difference = windows[ends, :, size - 1 - lag] - mean[ends - lag]
            mean[ends - lag] += difference / (lag + 1)
        return mean[steps.in_order_of_rows()].astype(X.dtype)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the columns, such as "x0_lag2" for x0 two time steps earlier.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the features. None means `feature_names_in_`, or x0, x1, ...

        Returns
        -------
        feature_names_out : ndarray of str objects of shape (n_features * window_size,)
            The names.
        """
        names = super().get_feature_names_out(input_features)
        lags = range(self.window_size_ - 1, -1, -1)
        return np.array([f"{name}_lag{lag}" for name in names for lag in lags], dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
