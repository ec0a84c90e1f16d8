"""Frequencies of categories given one number of the row.

A category that is any function of a number, such as a school degree of the years of education, is
no linear function of it.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .masking import N_FOLDS, HeldOutCells

# Intervals of a number. Each value has one of its own if there are no more values; if there are,
# the number of intervals is at most the root of the number of rows.
N_BINS = 64
BINS_PER_ROOT = 2.5
# The most numbers of which the best one is chosen.
MAX_CANDIDATES = 64
# Weight of the prior that the frequencies of an interval are those of all rows, in rows.
PRIOR_ROWS = 1.0


class ConditionalFrequencies(NamedTuple):
    """Logarithms of frequencies in intervals of a number, over the frequencies in all rows."""

    cell: int  # the position of the number among the cells; -1 if there is none
    edges: Tensor  # (N_BINS - 1,)
    evidence: Tensor  # (N_BINS, n_categories)

    def of(self, x: Tensor, missing: Tensor) -> Tensor:
        """The logarithms for each row, (n, n_categories); 0 where the number is missing."""
        if self.cell < 0:
            return torch.zeros(len(x), self.evidence.shape[1], dtype=torch.float64)
        evidence = self.evidence[_bins(x[:, self.cell], self.edges)]
        return torch.where(missing[:, self.cell, None], 0.0, evidence)


class LabelledRows(NamedTuple):
    """Rows with an observed category."""

    x: Tensor  # (n, d)
    missing: Tensor  # (n, d)
    category: Tensor  # (n,)
    fold: Tensor  # (n,)


def fit_frequencies(
    rows: LabelledRows, numbers: np.ndarray, shares: Tensor, held_out: HeldOutCells
) -> tuple[ConditionalFrequencies, Tensor]:
    """Frequencies given the best one of the `numbers`, by the log loss of out-of-fold frequencies.

    Also returns the logarithms of out-of-fold frequencies for held-out rows, (n, n_categories).
    """
    if len(numbers) > MAX_CANDIDATES:
        chosen = np.linspace(0, len(numbers) - 1, MAX_CANDIDATES).astype(int)
        numbers = numbers[chosen]
    best, best_gain = -1, 0.0
    for cell in numbers.tolist():
        gain = _gain(rows, cell, shares)
        if gain > best_gain:
            best, best_gain = cell, gain
    if best < 0:
        edges = torch.zeros(N_BINS - 1, dtype=torch.float64)
        none = ConditionalFrequencies(-1, edges, torch.zeros(N_BINS, len(shares)).double())
        return none, none.of(held_out.predicted, held_out.missing)
    edges, counts = _counts(rows, best, len(shares))
    evidence = _evidence(counts.sum(0) - counts, shares)  # without each fold
    bins = _bins(held_out.predicted[:, best].double(), edges)
    of_held_out = torch.where(held_out.missing[:, best, None], 0.0, evidence[held_out.fold, bins])
    return ConditionalFrequencies(best, edges, _evidence(counts.sum(0), shares)), of_held_out


def _gain(rows: LabelledRows, cell: int, shares: Tensor) -> float:
    """Sum of the logarithms of the out-of-fold frequencies of the categories of rows."""
    _, counts = _counts(rows, cell, len(shares))
    return (counts * _evidence(counts.sum(0) - counts, shares)).sum().item()


def _counts(rows: LabelledRows, cell: int, n_categories: int) -> tuple[Tensor, Tensor]:
    """Edges of the intervals of a number, and rows by fold, interval and category."""
    observed = ~rows.missing[:, cell]
    values = rows.x[observed, cell]
    edges = _edges(values)
    index = (rows.fold[observed] * N_BINS + _bins(values, edges)) * n_categories
    size = N_FOLDS * N_BINS * n_categories
    counts = torch.bincount(index + rows.category[observed], minlength=size)
    return edges, counts.reshape(N_FOLDS, N_BINS, n_categories).double()


def _edges(values: Tensor) -> Tensor:
    """The ends of intervals between the values, or of intervals with as many values each."""
    distinct = values.unique()
    n_bins = min(int(BINS_PER_ROOT * len(values) ** 0.5), N_BINS)
    if len(distinct) > n_bins:
        levels = torch.linspace(0, 1, n_bins + 1, dtype=values.dtype)
        edges = torch.quantile(values, levels[1:-1]).unique()
    else:
        edges = (distinct[1:] + distinct[:-1]) / 2
    last = edges[-1:] if len(edges) else values.new_zeros(1)
    return torch.cat([edges, last.expand(N_BINS - 1 - len(edges))])


def _bins(values: Tensor, edges: Tensor) -> Tensor:
    return torch.bucketize(values.contiguous(), edges)


def _evidence(counts: Tensor, shares: Tensor) -> Tensor:
    """Logarithm of the smoothed frequencies over those of all rows, (..., n_categories)."""
    frequencies = (counts + PRIOR_ROWS * shares) / (counts.sum(-1, keepdim=True) + PRIOR_ROWS)
    return (frequencies / shares).log()
