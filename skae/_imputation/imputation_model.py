"""The fitted models of an imputer: fits, predictions, probabilities and quantiles of errors."""

from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from sklearn.impute import SimpleImputer
from sklearn.utils import check_random_state
from torch import Tensor

from .._data.groups import RowGroups
from .._data.table import Table
from .._data.table_rows import table_of
from .category_probabilities import CategoryModel, default_model, fit_coefficients, packed_size
from .column_scaling import ColumnScaling
from .conditional_frequencies import LabelledRows, fit_frequencies
from .correction_networks import CorrectionConfig
from .estimator_correction import EstimatorCorrection, fit_estimator_correction
from .factor_analysis import LowRankGaussian, fit_low_rank_gaussian
from .gaussian import ConditionalGaussian, fit_gaussian
from .masking import Gaussian, HeldOutCells, IncompleteRows
from .residual_quantiles import normal_quantiles, residual_quantiles
from .stacked_correction import StackedCorrection, fit_stacked_correction
from .table_cells import category_slices, columns_of_cells

# Fewer rows are too few to validate a correction.
MIN_ROWS_FOR_CORRECTION = 20
# With more columns a full covariance, solved for each row, takes longer than all other steps.
MAX_FULL_COVARIANCE_COLUMNS = 128


class Rows(NamedTuple):
    """Standardised rows with missing cells."""

    x: Tensor  # (n, d), within the range of `fit`; 0 where missing
    missing: Tensor  # (n, d)

    def with_cells(self, columns: slice, cells: Tensor, rows: Tensor) -> "Rows":
        """The same rows, with observed cells in some columns of these rows, a mask."""
        x, missing = self.x.clone(), self.missing.clone()
        x[:, columns] = torch.where(rows[:, None], cells, x[:, columns])
        missing[rows, columns] = False
        return Rows(x, missing)


class ImputationModel:
    """The Gaussian, its correction and their errors, for the kept cells of rows."""

    estimator: Any
    random_state: int | np.random.RandomState | None
    initial_imputer_: SimpleImputer
    error_ratio_: np.ndarray
    estimator_: Any
    n_features_in_: int
    _config: ClassVar[CorrectionConfig] = CorrectionConfig()
    # Weights of the columns, if there is an `estimator`; None without a correction.
    _correction: StackedCorrection | np.ndarray | None
    _gaussian: tuple[np.ndarray, ...]
    _highest: np.ndarray
    _lowest: np.ndarray
    _mean: np.ndarray
    _std: np.ndarray
    _quantiles: np.ndarray  # (n_levels, n_kept)
    _category_models: np.ndarray  # those of all categorical columns, one after the other
    _table: Table  # only if there are categorical columns

    def _fit_model(self, x: Tensor, missing: Tensor, groups: RowGroups | None) -> None:
        """Fit the Gaussian, the correction and their errors to standardised rows."""
        wide = x.shape[1] > MAX_FULL_COVARIANCE_COLUMNS
        gaussian = (fit_low_rank_gaussian if wide else fit_gaussian)(x, missing)
        self._gaussian = tuple(part.numpy() for part in gaussian)
        self._correction, self.estimator_ = None, None
        self.error_ratio_ = np.ones(x.shape[1])
        self._quantiles = normal_quantiles(x.shape[1])
        vars(self).pop("_category_models", None)  # of an earlier fit
        held_out = None
        if len(x) >= MIN_ROWS_FOR_CORRECTION and x.any():
            column = None
            if table_of(self) is not None:
                column = torch.from_numpy(_ascending(self._columns))
            held_out = self._fit_correction(IncompleteRows(x, missing, groups, column), gaussian)
            std = gaussian.std(held_out.predicted.double(), held_out.missing)
            self._quantiles = residual_quantiles(held_out, std.numpy())
        if table_of(self) is not None:
            self._fit_probabilities(Rows(x, missing), held_out)

    def _fit_correction(self, rows: IncompleteRows, gaussian: Gaussian) -> HeldOutCells:
        """Fit the correction; returns out-of-fold predictions within the observed range."""
        rng = self._new_rng()
        if self.estimator is None:
            self._correction, ratio, held_out = fit_stacked_correction(
                rows, gaussian, rng, self._config
            )
        else:
            (self.estimator_, self._correction), ratio, held_out = fit_estimator_correction(
                self.estimator, rows, gaussian, self._estimator_scaling, rng
            )
        self.error_ratio_ = ratio.numpy()
        low, high = (end.to(held_out.predicted) for end in self._scaling.standardized_ends())
        return held_out._replace(predicted=held_out.predicted.clamp(low, high))

    def _fit_probabilities(self, rows: Rows, held_out: HeldOutCells | None) -> None:
        """Fit the probabilities of the categories to out-of-fold predictions."""
        parts = [np.empty(0)]
        for j in self._categories:
            n_categories = len(self._shares_of(j))
            model = default_model(n_categories)
            if held_out is not None and n_categories > 1:
                model = self._fit_category_model(j, rows, held_out)
            parts.append(model.packed())
        self._category_models = np.concatenate(parts)

    def _fit_category_model(self, j: int, rows: Rows, held_out: HeldOutCells) -> CategoryModel:
        columns, shares = self._categories[j], torch.from_numpy(self._shares_of(j))
        observed = ~rows.missing[:, columns.start]
        category = self._indicators(rows.x, j).argmax(1)
        parts = rows.x, rows.missing, category, held_out.fold_of_data
        labelled = LabelledRows(*(part[observed] for part in parts))
        numbers = np.flatnonzero(self._is_number)
        frequencies, evidence = fit_frequencies(labelled, numbers, shares, held_out)
        masked = held_out.masked[:, columns.start]
        predicted, truth = (
            self._indicators(values[masked], j) for values in (held_out.predicted, held_out.truth)
        )
        n_distinct = len(held_out.group[masked].unique())
        coefficients = fit_coefficients(
            predicted, evidence[masked], truth.argmax(1), shares, n_distinct
        )
        return CategoryModel(frequencies, coefficients)

    def _rows_of(self, cells: np.ndarray, is_missing: np.ndarray) -> Rows:
        """Standardised rows, clipped to the range of `fit`.

        Filled cells are linear in the observed ones of their row: one outlying cell would move all
        of them far away.
        """
        low, high = self._scaling.standardized_ends()
        x = self._scaling.standardize(cells, is_missing).clamp(low, high)
        return Rows(x, torch.from_numpy(is_missing))

    def _predict(self, rows: Rows) -> Tensor:
        """Filled and corrected rows, within the range of `fit`."""
        low, high = self._scaling.standardized_ends()
        filled = self._fitted_gaussian.fill(*rows)
        return self._correct(filled, rows.missing).clamp(low, high)

    def _expected(self, rows: Rows) -> np.ndarray:
        """Rows in the units of the data with expected numbers, and probabilities of categories."""
        filled = self._predict(rows)
        values = self._scaling.to_observed_range(filled)
        for j, columns in self._categories.items():
            probable = (
                self._probabilities(rows, filled, j) / torch.from_numpy(self._shares_of(j)).sqrt()
            )
            values[:, columns] = probable.numpy()
        return values

    def _sampled(self, rows: Rows) -> np.ndarray:
        """Rows in the units of the data with random samples.

        Categories are drawn one column after the other, each given those drawn before, and then
        numbers, given all categories.
        """
        rng = self._new_rng()
        for j, columns in self._categories.items():
            missing = rows.missing[:, columns.start]
            if missing.any():
                probabilities = self._probabilities(rows, self._predict(rows), j)
                drawn = torch.multinomial(probabilities, 1, generator=rng)
                cells = torch.zeros_like(probabilities).scatter_(1, drawn, 1.0)
                rows = rows.with_cells(columns, self._standardized_indicators(cells, j), missing)
        filled = self._predict(rows)
        relative_error = torch.from_numpy(np.sqrt(self.error_ratio_))
        deviation = self._fitted_gaussian.sample(rows.x, rows.missing, rng)
        return self._scaling.to_data_units(filled + relative_error * deviation)

    def _correct(self, filled: Tensor, missing: Tensor) -> Tensor:
        if self._correction is None:
            return filled
        if isinstance(self._correction, StackedCorrection):
            return self._correction(filled, missing)
        correction = EstimatorCorrection(self.estimator_, self._correction)
        return correction.correct(filled, missing, self._estimator_scaling)

    def _probabilities(self, rows: Rows, filled: Tensor, j: int) -> Tensor:
        """The probabilities of the categories of a column, (n, n_categories)."""
        sizes = [len(self._shares_of(k)) for k in self._categories]
        ends = np.cumsum([packed_size(size) for size in sizes])
        parts = np.split(self._category_models, ends[:-1])
        numbers = dict(zip(self._categories, parts, strict=True))[j]
        model = CategoryModel.unpacked(numbers, len(self._shares_of(j)))
        return model.logits(self._indicators(filled, j), *rows).softmax(1)

    def _indicators(self, x: Tensor, j: int) -> Tensor:
        """The indicators of the categories of a column, from standardised cells."""
        columns = self._categories[j]
        scale, shift = (torch.from_numpy(part[columns]) for part in (self._std, self._mean))
        return (x[:, columns].double() * scale + shift) * torch.from_numpy(
            self._shares_of(j)
        ).sqrt()

    def _standardized_indicators(self, indicators: Tensor, j: int) -> Tensor:
        columns = self._categories[j]
        inverse = torch.from_numpy(self._scaling.inverse_std()[columns])
        encoded = indicators / torch.from_numpy(self._shares_of(j)).sqrt()
        return (encoded - torch.from_numpy(self._mean[columns])) * inverse

    def _shares_of(self, j: int) -> np.ndarray:
        shares = self._table.shares[j]
        assert shares is not None
        return shares

    @property
    def _columns(self) -> np.ndarray:
        """The column of each kept cell, in the order of cells."""
        table = table_of(self)
        of_cells = np.arange(self.n_features_in_) if table is None else columns_of_cells(table)
        return of_cells[self._is_kept[of_cells]]

    @property
    def _kept_cells(self) -> np.ndarray:
        """Whether each encoded cell is of a column that is kept."""
        table = table_of(self)
        return self._is_kept if table is None else self._is_kept[columns_of_cells(table)]

    @property
    def _marker(self) -> float:
        """The marker of the fit."""
        return self.initial_imputer_.missing_values

    @property
    def _categories(self) -> dict[int, slice]:
        """The cells of each categorical column."""
        table = table_of(self)
        return {} if table is None else category_slices(table, self._columns)

    @property
    def _is_number(self) -> np.ndarray:
        """Whether each kept cell is of a column of numbers."""
        return ~np.isin(self._columns, list(self._categories))

    @property
    def _fitted_gaussian(self) -> Gaussian:
        wide = len(self._mean) > MAX_FULL_COVARIANCE_COLUMNS
        family = LowRankGaussian if wide else ConditionalGaussian
        return family(*map(torch.tensor, self._gaussian))

    @property
    def _scaling(self) -> ColumnScaling:
        return ColumnScaling(self._mean, self._std, np.stack([self._lowest, self._highest]))

    @property
    def _estimator_scaling(self) -> ColumnScaling:
        """The units of the rows of `estimator`: those of the data, or standardised for a table."""
        return self._scaling if table_of(self) is None else self._scaling.of_standardized()

    @property
    def _is_kept(self) -> np.ndarray:
        return ~np.isnan(self.initial_imputer_.statistics_)

    def _new_rng(self) -> torch.Generator:
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        return torch.Generator().manual_seed(int(seed))


def _ascending(columns: np.ndarray) -> np.ndarray:
    """Numbers of columns in ascending order, of cells of which those of a column are adjacent."""
    return (np.diff(columns, prepend=-1) != 0).cumsum() - 1
