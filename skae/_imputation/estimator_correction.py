"""Correction of filled cells by the reconstructions of a scikit-learn transformer."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol
from warnings import WarningMessage

import numpy as np
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from torch import Tensor

from .._data.fit_params import accepted_fit_params, fitting_part
from .._data.messages import described
from .._data.user_warnings import issue_warnings, recorded_warnings
from .._training.diagnostics import without_warnings
from .column_scaling import ColumnScaling
from .masking import N_FOLDS, Folds, Gaussian, HeldOutCells, IncompleteRows
from .stacked_correction import n_validation_rows, stacking_weights

# How often missing cells are replaced by their reconstruction.
N_RECONSTRUCTIONS = 10


class InvertibleTransformer(Protocol):
    """A transformer with `inverse_transform`."""

    def fit(self, X: np.ndarray) -> "InvertibleTransformer":
        """Fit to rows."""

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Encode rows."""

    def inverse_transform(self, X: np.ndarray) -> np.ndarray:
        """Decode codes."""


class EstimatorCorrection(NamedTuple):
    """A fitted transformer, and the weight of its correction in each column."""

    estimator: InvertibleTransformer
    weights: np.ndarray  # (d,), in [0, 1]

    def correct(self, filled: Tensor, missing: Tensor, scaling: ColumnScaling) -> Tensor:
        """Move the missing cells of filled, standardised rows towards their reconstruction."""
        reconstructed = reconstruct_missing(self.estimator, filled, missing, scaling)
        return filled + torch.tensor(self.weights) * (reconstructed - filled)


def refuse_names(estimator: Any) -> None:
    """Refuse an estimator with parameters that name columns: it is fitted to an array."""
    for step in getattr(estimator, "steps", [("", estimator)]):
        for name in ("loss", "categorical_features"):
            value = getattr(step[1], name, None)
            if not isinstance(value, str) and any(
                isinstance(entry, str) for entry in _entries(value)
            ):
                raise ValueError(
                    f"`estimator` must have numbers of columns in `{name}`, because it is fitted "
                    f"to an array without names, got {described(value)}."
                )


def _entries(value: Any) -> Iterable[Any]:
    return value if isinstance(value, Iterable) else ()


def fit_estimator_correction(
    estimator: InvertibleTransformer,
    rows: IncompleteRows,
    gaussian: Gaussian,
    scaling: ColumnScaling,
    rng: torch.Generator,
) -> tuple[EstimatorCorrection, Tensor, HeldOutCells]:
    """Fit clones of a transformer to rows that the Gaussian has filled.

    One clone is fitted to all rows. A second one, fitted without one fold, sets the weights by the
    masked cells of this fold. The rows of a group are in the same fold. Also returns the squared
    error of each column with the correction, relative to that of the Gaussian alone, (d,), and the
    out-of-fold predictions.
    """
    x, missing = rows.x, rows.missing
    folds = Folds.split(rows, gaussian, rng, n_validation_folds=1)
    n_rows = n_validation_rows(x.shape[1]) // N_FOLDS
    by_fold = folds.validation_cells(n_rows, rng)
    cells = by_fold.flatten_folds()
    in_training = folds.fold != 0
    filled = folds.gaussians[0][0].fill(x[in_training], missing[in_training])
    group = None if rows.groups is None else rows.groups.of_row
    own_group = None if group is None else group[in_training.numpy()]
    # First, so that an error about some of the rows is never one about all of them.
    final = _fit(estimator, scaling.to_observed_range(gaussian.fill(x, missing)), group)
    part = fitting_part(len(filled), len(x), f"those outside one of {N_FOLDS} folds")
    with without_warnings(), recorded_warnings(), part:  # as those of the first fit
        fitted = _fit(estimator, scaling.to_observed_range(filled), own_group)
    # A step such as NMF after MinMaxScaler refuses rows beyond those of its fit.
    own_scaling = scaling.within(filled)
    prediction = reconstruct_missing(fitted, cells.filled.double(), cells.missing > 0, own_scaling)
    correction = (prediction - cells.filled) * cells.masked
    cells = cells._replace(target=cells.target.double(), masked=cells.masked.double())
    weights, error_ratio = stacking_weights(correction[None], cells)
    held_out = by_fold.predicted_by(weights * correction, folds.fold)
    return EstimatorCorrection(final, weights[0].numpy()), error_ratio, held_out


def _fit(
    estimator: InvertibleTransformer, X: np.ndarray, groups: np.ndarray | None
) -> InvertibleTransformer:
    if isinstance(estimator, FrozenEstimator):  # whose `fit` requires a target
        return estimator
    return clone(estimator).fit(X, **accepted_fit_params(estimator, groups=groups))


def reconstruct_missing(
    estimator: InvertibleTransformer, filled: Tensor, missing: Tensor, scaling: ColumnScaling
) -> Tensor:
    """Replace missing cells of filled rows by their reconstruction, `N_RECONSTRUCTIONS` times.

    Where the reconstruction is not finite, as those of a logarithm or a power may be, cells stay.
    Warnings of the estimator are issued once, and not if they may be about such cells.
    """
    inverse_std = scaling.inverse_std()
    issued: dict[tuple[type[Warning], str], WarningMessage] = {}
    for _ in range(N_RECONSTRUCTIONS):
        with recorded_warnings() as recorded:
            codes = estimator.transform(scaling.to_observed_range(filled))
            reconstruction = np.asarray(estimator.inverse_transform(codes), dtype=np.float64)
        if np.isfinite(reconstruction).all():
            issued |= {(warning.category, str(warning.message)): warning for warning in recorded}
        standardized = torch.from_numpy((reconstruction - scaling.mean) * inverse_std)
        filled = torch.where(missing & torch.isfinite(standardized), standardized, filled)
    issue_warnings(issued.values())
    return filled
