"""Corrections of filled rows by kernel ridge regression, networks and neighbours, stacked."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .._nn.autoencoder import reciprocal
from .._training.acceptance import gains, in_standard_errors
from .correction_networks import CorrectionConfig, CorrectionNetworks, batch_size, fit_networks
from .masking import N_FOLDS, Folds, Gaussian, HeldOutCells, IncompleteRows, MaskedCells
from .nearest_neighbors import (
    N_NEIGHBORS_TO_TRY,
    NeighborImputer,
    leave_group_out_corrections,
)
from .rbf import MAX_CENTRES, NystroemFeatures, fit_ridge, select_features

# Entries and rows of the validation cells. The first rows serve early stopping and the choice of
# the number of neighbours.
VALIDATION_ENTRIES = 2**19
MIN_VALIDATION_ROWS, MAX_VALIDATION_ROWS = 2**11, 2**14
EARLY_STOPPING_ROWS = 2**13
# Each column has a ridge regression of its own: the product of columns and centres is limited.
MAX_COLUMNS_TIMES_CENTRES = 2**16

# Of coordinate descent; after twenty no weight changed by more than 1e-3.
N_DESCENT_SWEEPS = 50

# Weight of the prior that the stacking weights of all columns are equal.
SHRINKAGE = 0.5

# Rows that are corrected at once.
BLOCK_ROWS = 4096


class StackedCorrection(nn.Module):
    """Weighted sum of three corrections: by kernel ridge regression, networks and neighbours."""

    centres: Tensor  # these three are `NystroemFeatures`
    bandwidth: Tensor
    whitening: Tensor
    coefficients: Tensor  # (n_centres, d)
    train_rows: Tensor  # (n_train, d)
    train_observed: Tensor  # (n_train, d)
    weights: Tensor  # (3, d), of each correction in each column

    def __init__(
        self,
        features: NystroemFeatures,
        coefficients: Tensor,
        networks: CorrectionNetworks,
        neighbors: NeighborImputer,
        n_neighbors: int,
        weights: Tensor,
    ):
        super().__init__()
        buffers = features._asdict() | {
            "train_rows": neighbors.rows,
            "train_observed": neighbors.observed,
            "coefficients": coefficients,
            "weights": weights,
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)
        self.networks, self.n_neighbors = networks, n_neighbors

    def forward(self, filled: Tensor, missing: Tensor) -> Tensor:
        """Correct the missing cells of filled rows, (n, d)."""
        blocks = zip(filled.split(BLOCK_ROWS), missing.split(BLOCK_ROWS), strict=True)
        return torch.cat([self._correct(*block) for block in blocks])

    def _correct(self, filled: Tensor, missing: Tensor) -> Tensor:
        is_missing = missing.to(filled)
        features = NystroemFeatures(self.centres, self.bandwidth, self.whitening)
        correction = self.weights[0] * (features.transform(filled) @ self.coefficients)
        if self.weights[1].any():
            by_networks = self.networks(filled, is_missing).mean(0)
            correction = correction + self.weights[1] * by_networks
        if self.weights[2].any():
            neighbors = NeighborImputer(self.train_rows, self.train_observed)
            by_neighbors = neighbors.correct(filled, is_missing, self.n_neighbors)
            correction = correction + self.weights[2] * by_neighbors
        return torch.where(missing, filled + correction, filled)


def fit_stacked_correction(
    rows: IncompleteRows,
    gaussian: Gaussian,
    rng: torch.Generator,
    config: CorrectionConfig,
) -> tuple[StackedCorrection, Tensor, HeldOutCells]:
    """Fit corrections without one fold at a time, and stack them by their out-of-fold predictions.

    The rows of a group are in the same fold. Also returns the squared error of each column with the
    correction, relative to that of the Gaussian alone, (d,), and the out-of-fold predictions.
    """
    x, missing = rows.x, rows.missing
    n_samples, n_features = x.shape
    folds = Folds.split(rows, gaussian, rng)
    training = folds.training_cells(_n_training_rows(n_samples, n_features, config), rng)
    validation = folds.validation_cells(n_validation_rows(n_features) // N_FOLDS, rng)
    target_scale = _target_scale(training)
    training, validation = (
        cells._replace(target=cells.target * reciprocal(target_scale))
        for cells in (training, validation)
    )
    filled, order = gaussian.fill(x, missing), torch.randperm(n_samples, generator=rng)
    ridge = _fit_kernel_ridge(filled[order[:MAX_CENTRES]], training, validation, config)
    stopping = validation.head(EARLY_STOPPING_ROWS // N_FOLDS)
    networks = fit_networks(training, stopping, n_samples, config, rng)
    train_row = order[: config.max_train_rows]
    neighbors = NeighborImputer(filled[train_row], (~missing[train_row]).to(x))
    train_group = folds.group[train_row]
    n_neighbors = _select_n_neighbors(neighbors, train_group, stopping)

    with torch.no_grad():
        by_networks = networks(validation.filled, validation.missing)
    by_neighbors = leave_group_out_corrections(neighbors, train_group, validation, (n_neighbors,))[
        0
    ]
    corrections = torch.stack(
        [ridge.correct(validation.filled), by_networks, by_neighbors * reciprocal(target_scale)]
    )
    corrections = (corrections * validation.masked).flatten(1, 2)
    weights, error_ratio = stacking_weights(corrections, validation.flatten_folds())
    weighted = (weights[:, None] * corrections).sum(0) * target_scale
    validation = validation._replace(target=validation.target * target_scale)
    held_out = validation.predicted_by(weighted, folds.fold)
    # The ridge regression and the networks predict scaled targets, the neighbours unscaled cells.
    scales = torch.stack([target_scale, target_scale, torch.ones_like(target_scale)])
    correction = StackedCorrection(
        ridge.features.double(),
        ridge.coefficients.mean(0).double(),
        networks.double(),
        neighbors,
        n_neighbors,
        (weights * scales).double().contiguous(),
    )
    return correction.eval(), error_ratio.double(), held_out


class _KernelRidge(NamedTuple):
    features: NystroemFeatures
    coefficients: Tensor  # (N_FOLDS, n_centres, d)

    def correct(self, filled: Tensor) -> Tensor:
        """Out-of-fold predictions for rows of each fold, (N_FOLDS, n, d)."""
        return self.features.transform(filled) @ self.coefficients


def _fit_kernel_ridge(
    rows: Tensor, training: MaskedCells, validation: MaskedCells, config: CorrectionConfig
) -> _KernelRidge:
    """Kernel ridge regression for each fold, with centres at the first of these random rows."""
    n_centres = max(MAX_COLUMNS_TIMES_CENTRES // rows.shape[1], 1)
    training = training.head(config.max_ridge_rows // N_FOLDS)
    features, penalty = select_features(rows[:n_centres].float(), training, validation)
    return _KernelRidge(features, fit_ridge(features, training, penalty))


def _select_n_neighbors(
    neighbors: NeighborImputer, train_group: Tensor, validation: MaskedCells
) -> int:
    corrections = leave_group_out_corrections(
        neighbors, train_group, validation, N_NEIGHBORS_TO_TRY
    )
    reductions = [_error_reduction(correction, validation) for correction in corrections]
    return N_NEIGHBORS_TO_TRY[int(np.argmax(reductions))]


def _error_reduction(correction: Tensor, cells: MaskedCells) -> float:
    """Reduction of squared error by the correction, with the best weight for each column."""
    correction = correction * cells.masked
    product = (correction * cells.target).sum((0, 1)).clamp_min(0)
    return (product.square() / correction.square().sum((0, 1)).clamp_min(1e-30)).sum().item()


def _n_training_rows(n_samples: int, n_features: int, config: CorrectionConfig) -> int:
    """Rows with masked cells for each fold: hardly more than the training steps can use."""
    n_used = max(config.max_steps * batch_size(n_samples), config.max_ridge_rows)
    return min(config.max_training_entries // n_features, n_used) // N_FOLDS + 1


def n_validation_rows(n_features: int) -> int:
    """Rows for validation, of all folds; their number of cells is the same for most widths."""
    rows = VALIDATION_ENTRIES // n_features
    return int(np.clip(rows, MIN_VALIDATION_ROWS, MAX_VALIDATION_ROWS))


def _target_scale(cells: MaskedCells) -> Tensor:
    """Root mean square of the target in each column, (d,)."""
    squares = cells.target.square().sum((0, 1))
    return (squares / cells.masked.sum((0, 1)).clamp_min(1)).sqrt()


def stacking_weights(
    corrections: Tensor, validation: MaskedCells, shrinkage: float = SHRINKAGE
) -> tuple[Tensor, Tensor]:
    """Weights of each correction in each column, in [0, 1]; (n_corrections, d).

    They minimise the squared error of out-of-fold `corrections`, (n_corrections, n, d), and are
    zero if the improvement is not significant. Also returns the squared error of each column with
    the weighted correction, relative to that without, (d,).
    """
    weights = _bounded_least_squares(corrections, validation.target, shrinkage)
    weighted = (weights[:, None] * corrections).sum(0)
    before, after = (
        _sum_by_group(
            (validation.target - prediction).square() * validation.masked, validation.group
        )
        for prediction in (torch.zeros_like(weighted), weighted)
    )
    if not _is_significant_gain(before, after):
        return torch.zeros_like(weights), torch.ones_like(weights[0])
    return weights, _error_ratio(validation.target, weighted, validation.masked)


def _is_significant_gain(before: Tensor, after: Tensor) -> bool:
    """Whether the errors of rows, or of groups of rows, fell.

    The mean error must fall by two standard errors, or by one if the mean relative change falls by
    three: in some tables a few outlying rows carry most of the error, and either all other rows or
    only these may gain.
    """
    mean_gain, relative_gain = map(in_standard_errors, gains(after, before))
    return mean_gain > 2 or (mean_gain > 1 and relative_gain > 3)


def _bounded_least_squares(corrections: Tensor, target: Tensor, shrinkage: float) -> Tensor:
    """Weights of each column, shrunk to those of all columns together; (n_corrections, d)."""
    gram = torch.einsum("knd,lnd->dkl", corrections, corrections)
    right = torch.einsum("knd,nd->dk", corrections, target)
    small = 1e-6 * (1 + gram.sum()) * torch.eye(len(corrections), dtype=corrections.dtype)
    common = _coordinate_descent(gram.sum(0)[None] + small, right.sum(0)[None])[0]
    prior = shrinkage * gram.mean(0) + small
    return _coordinate_descent(gram + prior, right + prior @ common).T


def _coordinate_descent(gram: Tensor, right: Tensor) -> Tensor:
    """Minimise w'Gw - 2 r'w over w in [0, 1], for each of n problems; (n, k)."""
    weights = torch.zeros_like(right)
    for _ in range(N_DESCENT_SWEEPS):
        for k in range(right.shape[1]):
            slope = right[:, k] - (gram[:, k] * weights).sum(1)
            weights[:, k] = (weights[:, k] + slope / gram[:, k, k]).clamp(0, 1)
    return weights


def _sum_by_group(errors: Tensor, group: Tensor) -> Tensor:
    """Sum of the errors of each group; a row of the data may have been drawn several times."""
    groups, index = torch.unique(group, return_inverse=True)
    return errors.new_zeros(len(groups)).index_add_(0, index, errors.sum(1))


def _error_ratio(target: Tensor, correction: Tensor, masked: Tensor) -> Tensor:
    """Squared error of each column with the correction over that without, at most 1; (d,)."""
    after, before = (
        ((residual * masked).square()).sum(0) for residual in (target - correction, target)
    )
    return torch.where(before > 0, after / before, 1.0).clamp(0, 1)
