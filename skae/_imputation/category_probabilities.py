"""Probabilities of categories, from predictions of their indicators by least squares."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .._training.lbfgs import minimize_loss
from .conditional_frequencies import N_BINS, ConditionalFrequencies

# Predicted indicators below this number have the same logarithm.
SMALLEST_SHARE = 3e-3
# Penalties of the logistic regression, for rows with a weight of one. Of 1, 3 and 10 for each pair
# of categories, over nine tables, 10 had the lowest log loss if columns have many categories, and 3
# if they have few; the difference was up to 2 %.
PENALTY_OF_ALL, PENALTY_OF_PAIRS = 1.0, 6.0
MAX_ITER = 60


class CategoryModel(NamedTuple):
    """Logits of the categories of a column.

    They are linear functions of predicted indicators, of their logarithms, and of logarithms of
    frequencies.
    """

    frequencies: ConditionalFrequencies
    coefficients: Tensor  # (3 * n_categories + 1, n_categories)

    def logits(self, predicted: Tensor, x: Tensor, missing: Tensor) -> Tensor:
        """Logits for predicted indicators of rows, (n, n_categories)."""
        return _logits(predicted, self.frequencies.of(x, missing), self.coefficients)

    def packed(self) -> np.ndarray:
        """All numbers in one array."""
        cell, edges, evidence = self.frequencies
        parts = edges, evidence.flatten(), self.coefficients.flatten()
        return np.concatenate([[float(cell)], *(part.numpy() for part in parts)])

    @classmethod
    def unpacked(cls, numbers: np.ndarray, n_categories: int) -> "CategoryModel":
        """The inverse of `packed`."""
        ends = np.cumsum([1, N_BINS - 1, N_BINS * n_categories])
        cell, edges, evidence, coefficients = np.split(numbers, ends)
        frequencies = ConditionalFrequencies(
            int(cell[0]),
            torch.from_numpy(edges),
            torch.from_numpy(evidence.reshape(N_BINS, n_categories)),
        )
        return cls(frequencies, torch.from_numpy(coefficients.reshape(-1, n_categories)))


def packed_size(n_categories: int) -> int:
    """The size of a packed model."""
    return N_BINS * (1 + n_categories) + (3 * n_categories + 1) * n_categories


def default_model(n_categories: int) -> CategoryModel:
    """The model with which probabilities are proportional to the predicted indicators."""
    edges, evidence = torch.zeros(N_BINS - 1), torch.zeros(N_BINS, n_categories)
    frequencies = ConditionalFrequencies(-1, edges.double(), evidence.double())
    return CategoryModel(frequencies, default_coefficients(n_categories))


def default_coefficients(n_categories: int) -> Tensor:
    """Those with which probabilities are proportional to the predicted indicators."""
    coefficients = torch.zeros(3 * n_categories + 1, n_categories, dtype=torch.float64)
    coefficients[:n_categories] = torch.eye(n_categories)
    return coefficients


def fit_coefficients(
    predicted: Tensor, evidence: Tensor, category: Tensor, shares: Tensor, n_distinct: int
) -> Tensor:
    """Logistic regression of observed categories on out-of-fold predictions, (n, n_categories).

    Its coefficients are shrunk to a form with four numbers: multiples of the logarithm of the
    predicted indicator, of the logarithm of the frequency, of the predicted indicator and of the
    `evidence`. The rows are `n_distinct` rows, some of them several times.
    """
    n_categories = len(shares)
    if len(predicted) == 0 or n_categories == 1:
        return default_coefficients(n_categories)
    weight = min(1.0, n_distinct / len(predicted))
    identity = torch.eye(n_categories, dtype=torch.float64)
    mean, root = predicted.mean(0), shares.sqrt()[:, None]
    common = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    pairs = torch.zeros(2, n_categories, n_categories, dtype=torch.float64, requires_grad=True)

    def coefficients() -> Tensor:
        of_indicators = pairs[1] / root
        bias = common[1] * shares.log() - mean @ of_indicators
        parts = common[0] * identity + pairs[0], common[2] * identity + of_indicators
        return torch.cat([*parts, common[3] * identity, bias[None]])

    start = common.detach().clone()

    def penalized_loss() -> Tensor:
        loss = cross_entropy(_logits(predicted, evidence, coefficients()), category)
        penalty = PENALTY_OF_ALL * (common - start).square().sum()
        penalty = penalty + PENALTY_OF_PAIRS * pairs.square().sum()
        return weight * loss + penalty / len(predicted)

    minimize_loss(penalized_loss, [common, pairs], MAX_ITER)
    return coefficients().detach()


def _logits(predicted: Tensor, evidence: Tensor, coefficients: Tensor) -> Tensor:
    features = torch.cat([predicted.clamp_min(SMALLEST_SHARE).log(), predicted, evidence], 1)
    return features @ coefficients[:-1] + coefficients[-1]
