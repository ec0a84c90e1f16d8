"""Correlations from sums over rows, so that they can be computed block by block."""

import numpy as np
import torch
from torch import Tensor

from .device import as_array, max_float_dtype

# A product of variances that is a smaller share of that of the mean squares is a rounding error.
EPS = 1e-12


def sums_of_products(x: Tensor, code: Tensor, weights: Tensor | None = None) -> np.ndarray:
    """Sums over rows for `correlations`, (3 + 3 * n_components, n_features).

    These are the weights of the observed entries of `x`, the entries and their squares, then the
    codes and their squares in rows in which the entry is observed, and the products. NaN in `x` is
    a missing entry. Rows stay on their device.
    """
    dtype = max_float_dtype(x.device)
    x, code = x.to(dtype), code.to(dtype)
    weights = torch.ones_like(x[:, 0]) if weights is None else weights.to(x)
    weighted = code * weights[:, None]
    of_rows = torch.cat([weights[:, None], weighted, weighted * code], dim=1)
    missing = x.isnan()
    if missing.any():
        x = x.nan_to_num()
        counts = of_rows.T @ (~missing).to(dtype)
    else:  # all columns are equal; the product would take most of the time for wide rows
        counts = of_rows.sum(0)[:, None].expand(-1, x.shape[1])
    moments = torch.stack([weights @ x, weights @ x.square()])
    return as_array(torch.cat([counts[:1], moments, counts[1:], weighted.T @ x]))


def correlations(sums: np.ndarray) -> np.ndarray:
    """Correlations of observed entries with codes, (n_components, n_features); 0 for constants."""
    n, x, x_squares, *of_codes = sums
    code, code_squares, products = np.reshape(of_codes, (3, -1, len(n)))
    n = n.clip(min=np.finfo(n.dtype).tiny)
    # Roots and shares: the product of two variances overflows far from units of one.
    x_size, code_size = np.sqrt(x_squares), np.sqrt(code_squares)
    x_share = _share(x_squares - x**2 / n, x_squares)
    code_share = _share(code_squares - code**2 / n, code_squares)
    std = np.sqrt(x_share) * x_size * (np.sqrt(code_share) * code_size)
    result = np.zeros_like(code)
    is_varying = (x_share * code_share > EPS) & (std > 0)
    np.divide(products - x * code / n, std, result, where=is_varying)
    return result.clip(-1, 1)


def _share(variance: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The share of the variance in the mean square; 0 if there is none."""
    return np.divide(variance.clip(min=0), squares, np.zeros_like(squares), where=squares > 0)
