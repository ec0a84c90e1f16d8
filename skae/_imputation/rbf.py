"""Corrections of filled cells by kernel ridge regression with Nystroem features."""

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from .masking import MaskedCells

MAX_CENTRES = 400
RELATIVE_BANDWIDTHS = (0.25, 0.5, 1.0)  # multiples of the median distance between centres
RIDGE_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
N_SELECTION_COLUMNS = 12
JITTER = 1e-5
# Products of features, of all rows at once, up to which all columns are solved as one batch.
MAX_PRODUCT_ENTRIES = 2**20


class NystroemFeatures(NamedTuple):
    """Whitened features exp(-|x - c|^2 / (2 bandwidth^2)) of some centres c."""

    centres: Tensor  # (n_centres, d)
    bandwidth: Tensor  # one number
    whitening: Tensor  # (n_centres, n_centres)

    @classmethod
    def from_centres(cls, centres: Tensor, relative_bandwidth: float) -> "NystroemFeatures":
        """Features with a bandwidth relative to the median distance between the centres."""
        # Neither in float32 nor by products of matrices: rows that nearly coincide would have
        # distances of rounding errors, of which a kernel matrix has negative eigenvalues.
        distances = _distances(centres.double(), centres.double())
        positive = distances[distances > 0]
        median = positive.median() if len(positive) else torch.ones((), dtype=torch.float64)
        bandwidth = relative_bandwidth * median
        kernel = torch.exp(-0.5 * (distances / bandwidth).square())
        identity = torch.eye(len(centres), dtype=torch.float64)
        kernel += JITTER * identity  # centres may coincide
        factor = torch.linalg.cholesky(kernel)
        inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
        return cls(centres, bandwidth.to(centres), inverse.T.to(centres))

    def transform(self, rows: Tensor) -> Tensor:
        """Features of rows, (n, n_centres)."""
        distances = _distances(rows, self.centres)
        return torch.exp(-0.5 * (distances / self.bandwidth).square()) @ self.whitening

    def double(self) -> "NystroemFeatures":
        """The same in float64."""
        return NystroemFeatures(*(part.double() for part in self))


def _distances(rows: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(rows, centres, compute_mode="donot_use_mm_for_euclid_dist")


def select_features(
    centres: Tensor, training: MaskedCells, validation: MaskedCells
) -> tuple[NystroemFeatures, float]:
    """Features and ridge penalty with the lowest validation error in the first fold.

    The error is that of at most `N_SELECTION_COLUMNS` columns: each needs its own solution.
    """
    n_features = centres.shape[1]
    n_columns = min(N_SELECTION_COLUMNS, n_features)
    columns = torch.linspace(0, n_features - 1, n_columns).long().tolist()
    candidates = {b: NystroemFeatures.from_centres(centres, b) for b in RELATIVE_BANDWIDTHS}
    errors = dict.fromkeys(product(RELATIVE_BANDWIDTHS, RIDGE_PENALTIES), 0.0)
    for bandwidth, features in candidates.items():
        codes, validation_codes = (
            features.transform(cells.filled[0]) for cells in (training, validation)
        )
        for j in columns:
            in_training, in_validation = (
                cells.masked[0, :, j] > 0 for cells in (training, validation)
            )
            code, target = codes[in_training], validation.target[0, in_validation, j]
            # One eigendecomposition serves all penalties.
            values, vectors = torch.linalg.eigh(code.T @ code)
            right = vectors.T @ (code.T @ training.target[0, in_training, j])
            rotated = validation_codes[in_validation] @ vectors
            for penalty in RIDGE_PENALTIES:
                prediction = rotated @ (right / (values.clamp_min(0) + penalty))
                errors[bandwidth, penalty] += (prediction - target).square().sum().item()
    bandwidth, penalty = min(errors, key=lambda pair: errors[pair])
    return candidates[bandwidth], penalty


def fit_ridge(features: NystroemFeatures, training: MaskedCells, penalty: float) -> Tensor:
    """Coefficients of the ridge regression of each column, for each fold.

    Shape (N_FOLDS, n_centres, d).
    """
    folds = zip(training.filled, training.target, training.masked, strict=True)
    return torch.stack(
        [
            _ridge_coefficients(features.transform(filled), target, masked, penalty)
            for filled, target, masked in folds
        ]
    )


def _ridge_coefficients(codes: Tensor, target: Tensor, masked: Tensor, penalty: float) -> Tensor:
    """Each column is regressed in the rows where it is masked; (n_centres, d)."""
    n_rows, n_centres = codes.shape
    ridge = penalty * torch.eye(n_centres)
    if n_rows * n_centres**2 <= MAX_PRODUCT_ENTRIES:  # many columns, of which each has few rows
        products = (codes[:, :, None] * codes[:, None, :]).flatten(1)
        gram = ((masked > 0).to(codes).T @ products).unflatten(1, (n_centres, n_centres))
        right = codes.T @ torch.where(masked > 0, target, 0.0)
        return torch.linalg.solve(gram + ridge, right.T[..., None])[..., 0].T
    coefficients = []
    for column, in_column in zip(target.T, masked.T > 0, strict=True):
        code = codes[in_column]
        coefficients.append(torch.linalg.solve(code.T @ code + ridge, code.T @ column[in_column]))
    return torch.stack(coefficients, 1)
