"""Quantiles of the errors of predicted cells, in conditional standard deviations."""

import numpy as np
from scipy.special import ndtr, ndtri

from .masking import HeldOutCells

# The levels of the quantiles as those of a normal distribution.
SCORES = np.linspace(-3.0, 3.0, 31)
# Columns with fewer rows that have masked cells have the quantiles of a normal distribution.
MIN_ROWS = 10


def normal_quantiles(n_columns: int) -> np.ndarray:
    """Those of a normal distribution, (n_levels, n_columns)."""
    return np.repeat(SCORES[:, None], n_columns, axis=1)


def residual_quantiles(cells: HeldOutCells, std: np.ndarray) -> np.ndarray:
    """Quantiles of the out-of-fold errors of each column, over `std`; (n_levels, n_columns).

    Rows are as exchangeable with new rows as in conformal prediction: the levels are somewhat
    farther from one half than those of the sample.
    """
    quantiles = normal_quantiles(std.shape[1])
    error = (cells.truth - cells.predicted).double().numpy()
    masked, group = cells.masked.numpy(), cells.group.numpy()
    for j, in_column in enumerate(masked.T):
        n_groups = len(np.unique(group[in_column]))
        if n_groups < MIN_ROWS:
            continue
        levels = 0.5 + (ndtr(SCORES) - 0.5) * (n_groups + 1) / (n_groups - 1)
        ratio = error[in_column, j] / np.maximum(std[in_column, j], 1e-12)
        quantiles[:, j] = np.quantile(ratio, levels.clip(0, 1))
    return quantiles


def quantiles_at(level: float, quantiles: np.ndarray) -> np.ndarray:
    """The quantile of each column at a level, (n_columns,)."""
    position = np.interp(ndtri(level), SCORES, np.arange(len(SCORES)))
    low = int(min(position, len(SCORES) - 2))
    share = position - low
    return (1 - share) * quantiles[low] + share * quantiles[low + 1]
