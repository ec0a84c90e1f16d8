"""Imputation of missing values."""

import sys
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from sklearn.base import TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._data.groups import RowGroups
from .._data.moments import moments
from .._data.process_group import refuse_process_group
from .._data.rows import validate_rows
from .._data.sample_weight import copied
from .._data.table import as_rows
from .._data.table_rows import CATEGORICAL_FEATURES, table_of
from .._data.threads import threads_for
from .._data.torch_defaults import training_mode, with_torch_defaults
from .._data.validation import (
    BOOLEAN,
    NONE,
    RANDOM_STATE,
    Rule,
    check_finite_results,
    check_parameters,
    estimator_with,
    parameter,
    restore_on_error,
)
from .._nn.pickling import ModulePickleMixin
from .estimator_correction import refuse_names
from .initial_imputer import is_marker, is_nan
from .limits import LIMIT, Limit, limits_in, limits_of_cells, limits_of_columns
from .table_cells import (
    append_columns,
    encode_cells,
    fit_imputer_of_columns,
    missing_entries,
    with_imputed,
)
from .uncertainty import UncertaintyMixin

MARKER = Rule(
    "a number, np.nan or pandas.NA",
    lambda value: is_nan(value) or isinstance(value, int | float | np.integer | np.floating),
    lambda value: is_nan(value) or abs(value) <= sys.float_info.max or abs(value) == np.inf,
)


@dataclass(eq=False, repr=False)
class AutoencoderImputer(UncertaintyMixin, TransformerMixin, ModulePickleMixin):
    """Imputation of missing values by a Gaussian model and denoising networks.

    `fit` has three steps:

    1. A Gaussian distribution is fitted to the observed values by EM [1]_. Missing values are
       replaced by their conditional means.
    2. Some observed values are masked, and three models learn to correct the predictions of the
       Gaussian distribution for them [2]_: a kernel regression [3]_, five networks, and nearest
       neighbours among at most 2048 training rows.
    3. Each correction gets a weight for each column, by cross-validation over five folds. The
       weight is zero if the correction does not reduce the error of masked values.

    `transform` also imputes rows that were not in `fit`, with missing values in any column.
    Observed values are returned unchanged. Imputed values are within the range of the observed
    values of the column in `fit`, except samples by `sample_posterior`. A missing category is
    replaced by the most probable one. For a table with categories, the result is a table of the
    same kind.

    Parameters
    ----------
    estimator : transformer or None, default=None
        A transformer with `inverse_transform`, such as an autoencoder or `PCA`. It replaces the
        three models of the second step: a clone is fitted once to the rows after the first step.
        Then missing values are replaced by their reconstructions ten times. The rows of a table
        with categories are first encoded and standardised. None means the three models.

    missing_values : float or pandas.NA, default=np.nan
        The value that marks a missing value. `pandas.NA` is the same as NaN. It must be NaN if
        there are categorical columns, in which None also marks a missing value.

    sample_posterior : bool, default=False
        Whether `transform` imputes random samples instead of expected values, for multiple
        imputation. The mean of a sample is the corrected value, and its standard deviation
        corresponds to the error of the imputation. `random_state` is the seed.

    keep_empty_features : bool, default=False
        Whether columns without any observed value are kept and filled with zeros. If False, they
        are dropped. Categorical columns without any observed value stay missing.

    add_indicator : bool, default=False
        Whether the output of a :class:`~sklearn.impute.MissingIndicator` is appended, for the
        columns with missing values in `fit`.

    min_value : float, array-like of shape (n_features,) or None, default=-np.inf
        Lower limit of the imputed values, of all columns or of each. None means no limit.

    max_value : float, array-like of shape (n_features,) or None, default=np.inf
        Upper limit of the imputed values. Both limits also apply to samples. Categories have no
        limits, and columns of integers get integers between the limits.

    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        The categorical columns: a Boolean mask, or names or numbers of columns. None means that
        there are none. "from_dtype" means the columns of a frame whose dtype is categorical, and
        columns of strings, unless all strings are numbers. The Gaussian distribution and the models
        have an indicator for each category. Categories that were not in `fit` do not contribute to
        the imputed values of their row; `transform` returns them unchanged.

    random_state : int, RandomState instance or None, default=None
        Seed of the masked values, the folds, the networks and the samples of `sample_posterior`.

    Attributes
    ----------
    estimator_ : transformer or None
        The `estimator`, fitted to all rows.
    categories_ : list of ndarray of shape (n_categories,)
        The categories of each categorical column. Only if there are categorical columns.
    error_ratio_ : ndarray of shape (n_features_kept,)
        Squared error of masked values with the corrections, divided by that of the Gaussian
        distribution, in cross-validation. It is 1 for columns without a correction. If there are
        categorical columns, it has an entry for each number and then for each category.
    initial_imputer_ : SimpleImputer
        Selects the columns that are kept and computes the indicator.
    indicator_ : MissingIndicator or None
        Appends the indicators to the output of `transform`. None if `add_indicator` is False.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had them as strings.

    See Also
    --------
    sklearn.impute.IterativeImputer : Regression of each column on all others, in turn.
    ReconstructionTransformer : Replaces all values by their reconstructions.

    Notes
    -----
    Columns are standardised internally, so the units of the columns have no influence.

    A fitted imputer, its pickles and its files contain up to 2048 training rows.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird and D. B. Rubin, "Maximum likelihood from incomplete data via
       the EM algorithm", Journal of the Royal Statistical Society B, 1977.
    .. [2] P. Vincent, H. Larochelle, Y. Bengio and P.-A. Manzagol, "Extracting and composing robust
       features with denoising autoencoders", ICML, 2008.
    .. [3] D. S. Broomhead and D. Lowe, "Multivariable functional interpolation and adaptive
       networks", Complex Systems, 1988.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderImputer
    >>> X, _ = load_iris(return_X_y=True)
    >>> gaps = np.random.RandomState(0).uniform(size=X.shape) < 0.1
    >>> imputer = AutoencoderImputer(random_state=0)
    >>> filled = imputer.fit_transform(np.where(gaps, np.nan, X))
    >>> bool(np.abs(filled - X)[gaps].mean() < 0.3)
    True
    """

    __module__ = "skae"

    estimator: Any = parameter(None, NONE, estimator_with("fit", "transform", "inverse_transform"))
    _: KW_ONLY
    missing_values: float = parameter(np.nan, MARKER)
    sample_posterior: bool = parameter(False, BOOLEAN)
    keep_empty_features: bool = parameter(False, BOOLEAN)
    add_indicator: bool = parameter(False, BOOLEAN)
    min_value: Limit = parameter(-np.inf, NONE, LIMIT)
    max_value: Limit = parameter(np.inf, NONE, LIMIT)
    categorical_features: Any = parameter("from_dtype", *CATEGORICAL_FEATURES)
    random_state: int | np.random.RandomState | None = parameter(None, *RANDOM_STATE)

    _module_name = "_correction"

    def fit(self, X, y=None, sample_weight=None, *, groups=None) -> Self:
        """Fit the Gaussian distribution and its corrections to the observed values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with missing values, marked by `missing_values`.
        y : ignored
            Present by scikit-learn's convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. An integer weight k has the effect of k copies of the row.
            Other weights are divided by their mean and rounded up or down at random.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that belong together, such as the patient of each row. Rows with equal
            labels are in the same fold of the cross-validation. At least five groups are needed.
            `groups` are also passed to `fit` of `estimator`, if it accepts them.

        Returns
        -------
        self : object
            The fitted imputer.

        Raises
        ------
        ValueError, TypeError
            If a parameter, or `X`, is not as documented; the message names it.
        """
        with restore_on_error(self), training_mode(), threads_for(0):
            check_parameters(self)
            refuse_names(self.estimator)
            refuse_process_group(type(self).__name__)
            cells = self._validate(X, reset=True)
            if groups is not None:
                groups = RowGroups.from_labels(groups, len(cells))
            is_missing = is_marker(cells, self.missing_values)
            observed = np.where(is_missing, np.nan, cells)
            labels = None if groups is None else groups.of_row
            index = copied(observed, sample_weight, self.random_state, labels)
            if index is not None:
                cells, is_missing, observed = (a[index] for a in (cells, is_missing, observed))
                groups = None if groups is None else groups.take(index)
            # Refuses values too large, and rows without any observed cell.
            stats = moments(observed)
            self.initial_imputer_ = fit_imputer_of_columns(self, cells, is_missing)
            self.indicator_ = self.initial_imputer_.indicator_
            limits = limits_of_columns(self.min_value, self.max_value, self.n_features_in_)
            self._limits = limits_of_cells(limits, self._columns, table_of(self))
            kept = self._kept_cells
            cells, is_missing = cells[:, kept], is_missing[:, kept]
            self._mean, self._std = stats.mean[kept], stats.std[kept]
            for columns in self._categories.values():
                # The variances of its indicators have the sum of one number.
                n_contrasts = max(columns.stop - columns.start - 1, 1)
                self._std[columns] = np.where(self._std[columns] > 0, np.sqrt(n_contrasts), 0)
            self._lowest, self._highest = observed_range(cells, is_missing)
            x = self._scaling.standardize(cells, is_missing)
            self._fit_model(x, torch.from_numpy(is_missing), groups)
            check_finite_results(self)
        return self

    if TYPE_CHECKING:  # scikit-learn's method has no annotations

        def fit_transform(self, X, y=None, **fit_params: Any) -> np.ndarray: ...

    @with_torch_defaults
    def transform(self, X) -> np.ndarray:
        """Impute the missing values of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with missing values, marked by `missing_values`.

        Returns
        -------
        X_filled : array or frame of shape (n_samples, n_features_kept + n_indicators)
            The rows with imputed values. If there are categorical columns, the result is a frame or
            an array like `X`, with the same dtypes; otherwise an array in the dtype of `X`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        cells = self._validate(X)[:, self._kept_cells]
        is_missing = is_marker(cells, self._marker)
        with torch.no_grad(), threads_for(0):
            rows = self._rows_of(cells, is_missing)
            values = self._sampled(rows) if self.sample_posterior else self._expected(rows)
        if hasattr(self, "_limits"):  # new in 0.2
            values = np.clip(values, *limits_in(cells.dtype, self._limits))
        cells[is_missing] = values[is_missing]
        if self.indicator_ is None and table_of(self) is None:
            return cells
        return self._as_given(X, cells)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the kept columns and of the indicators.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns. None means the names in `fit`.

        Returns
        -------
        feature_names_out : ndarray of str objects
        """
        check_is_fitted(self)
        return self.initial_imputer_.get_feature_names_out(input_features)

    def _as_given(self, X: Any, cells: np.ndarray) -> Any:
        """Imputed cells as rows, or as a table like `X`, with the indicators."""
        if (table := table_of(self)) is None:
            missing = is_marker(self._validate(X), self._marker)
            return np.hstack([cells, self._indicators_of(missing).astype(cells.dtype)])
        missing = missing_entries(X := as_rows(X))
        encoded = np.zeros((len(cells), table.width))
        encoded[:, self._kept_cells] = cells
        result = with_imputed(X, missing, table, encoded, self._is_kept)
        if self.indicator_ is None:
            return result
        names = self.get_feature_names_out()[self._is_kept.sum() :]
        return append_columns(result, names, self._indicators_of(missing))

    def _indicators_of(self, missing: np.ndarray) -> np.ndarray:
        assert self.indicator_ is not None
        return np.asarray(self.indicator_.transform(missing))

    def _validate(self, X, *, reset: bool = False) -> np.ndarray:
        marker = self.missing_values if reset else self._marker
        if (encoded := encode_cells(self, X, reset=reset)) is not None:
            return encoded
        return validate_rows(
            self,
            X,
            reset=reset,
            accept_sparse=False,
            ensure_all_finite="allow-nan" if is_nan(marker) else True,
        )

    def _set_state(self, state: dict[str, Any]) -> None:
        super()._set_state(state)
        if hasattr(self, "_min"):  # version 0.1 had the range in standard units
            standard = np.stack([self.__dict__.pop(name) for name in ("_min", "_max")])
            ends = self._mean + self._std * standard
            self._lowest, self._highest = _without_rounding(ends, self._std)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "error_ratio_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = is_nan(self.missing_values)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def observed_range(cells: np.ndarray, is_missing: np.ndarray) -> np.ndarray:
    """Lowest and highest observed cell of each column in float64, (2, d); 0 if there is none."""
    ends = np.stack(
        [
            np.where(is_missing, np.inf, cells).min(axis=0),
            np.where(is_missing, -np.inf, cells).max(axis=0),
        ]
    )
    return np.where(is_missing.all(axis=0), 0, ends).astype(np.float64)


def _without_rounding(ends: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Ends of ranges, without the rounding errors of integers."""
    whole = np.round(ends)
    return np.where(np.abs(ends - whole) <= 1e-12 * (std + np.abs(ends)), whole, ends)
