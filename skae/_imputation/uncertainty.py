"""Probabilities of imputed categories, and prediction intervals of imputed numbers."""

from abc import abstractmethod
from numbers import Real

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._data.table_rows import table_of
from .._data.threads import threads_for
from .._data.torch_defaults import with_torch_defaults
from .._data.validation import Interval, check_value
from .imputation_model import ImputationModel
from .initial_imputer import is_marker
from .residual_quantiles import normal_quantiles, quantiles_at

INSIDE = Interval(Real, 0, 1, closed="neither")


def _has_categories(imputer: "UncertaintyMixin") -> bool:
    """Whether there are categorical columns."""
    if table_of(imputer) is None:
        raise AttributeError("`predict_proba` needs categorical columns in `fit`.")
    return True


class UncertaintyMixin(ImputationModel):
    """Methods of an imputer that describe the errors of its results."""

    @abstractmethod
    def _validate(self, X, *, reset: bool = False) -> np.ndarray:
        """Encoded cells of rows."""

    @available_if(_has_categories)
    @with_torch_defaults
    def predict_proba(self, X) -> list[np.ndarray]:
        """Probabilities of the categories of missing values.

        The probabilities are those of a logistic regression, which is fitted to out-of-fold
        predictions of masked values. `transform` imputes the most probable category.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with missing values.

        Returns
        -------
        probabilities : list of ndarray of shape (n_samples, n_categories)
            An array for each categorical column, with the order of `categories_`. An observed
            category has the probability 1.

        Raises
        ------
        AttributeError
            If there were no categorical columns in `fit`.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        cells = self._validate(X)[:, self._kept_cells]
        is_missing = np.isnan(cells)
        with torch.no_grad(), threads_for(0):
            rows = self._rows_of(cells, is_missing)
            filled = self._predict(rows)
            by_column = {j: self._probabilities(rows, filled, j).numpy() for j in self._categories}
        for j, columns in self._categories.items():
            observed = ~is_missing[:, columns.start]
            by_column[j][observed] = cells[observed, columns] > 0
        none = np.empty((len(cells), 0))
        n_columns = len(self._table.categories)
        return [
            by_column.get(j, none)
            for j in range(n_columns)
            if self._table.categories[j] is not None
        ]

    @with_torch_defaults
    def predict_interval(self, X, confidence_level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Prediction intervals of missing numbers.

        The interval is the imputed value plus quantiles of the errors of masked values, in
        conditional standard deviations of the Gaussian distribution. The errors are those of
        out-of-fold predictions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with missing values, marked by `missing_values`.
        confidence_level : float in (0, 1), default=0.9
            Share of the missing numbers that are in their intervals.

        Returns
        -------
        lower, upper : ndarray of shape (n_samples, n_features_kept)
            Ends of the intervals, within `min_value` and `max_value`; both are the value itself if
            it is observed, and NaN in categorical columns.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError, TypeError
            If `confidence_level` is not as documented, or `X` is not as in `fit`.
        """
        check_is_fitted(self)
        check_value("confidence_level", confidence_level, (INSIDE,))
        cells = self._validate(X)[:, self._kept_cells]
        is_missing, cells = is_marker(cells, self._marker), cells.astype(np.float64)
        with torch.no_grad(), threads_for(0):
            rows = self._rows_of(cells, is_missing)
            filled = self._predict(rows).numpy()
            std = self._fitted_gaussian.std(*rows).numpy()
        quantiles = getattr(self, "_quantiles", normal_quantiles(len(self._mean)))  # new in 0.2
        limits = getattr(self, "_limits", (-np.inf, np.inf))
        tail = (1 - confidence_level) / 2
        is_number = self._is_number
        ends = []
        for level in (tail, 1 - tail):
            x = torch.from_numpy(filled + std * quantiles_at(level, quantiles))
            end = np.where(is_missing, np.clip(self._scaling.to_data_units(x), *limits), cells)
            by_column = np.full((len(cells), self.n_features_in_), np.nan)
            by_column[:, self._columns[is_number]] = end[:, is_number]
            ends.append(by_column[:, self._is_kept])
        return ends[0], ends[1]

    @property
    def categories_(self) -> list[np.ndarray]:
        """The categories of each categorical column, in `fit`; only if there are such columns."""
        if (table := table_of(self)) is None:
            raise AttributeError(f"{type(self).__name__} has no categories of columns.")
        return [categories for categories in table.categories if categories is not None]
