"""Correlations from sums over rows, so that they can be computed block by block."""

import numpy as np

# A product of variances that is a smaller share of that of the mean squares is a rounding error.
EPS = 1e-12


def sums_of_products(
    x: np.ndarray, code: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Sums over rows for `correlations`, (3 + 3 * n_components, n_features).

    These are the weights of the observed entries of `x`, the entries and their squares, then the
    codes and their squares in rows in which the entry is observed, and the products. NaN in `x` is
    a missing entry.
    """
    weights = np.ones(len(x)) if weights is None else weights
    weighted = code * weights[:, None]
    of_rows = np.column_stack([weights, weighted, weighted * code])
    missing = np.isnan(x)
    if missing.any():
        observed, x = (~missing).astype(x.dtype), np.where(missing, 0, x)
        counts = of_rows.T @ observed
    else:  # all columns are equal; the product would take most of the time for wide rows
        counts = np.broadcast_to(of_rows.sum(axis=0)[:, None], (of_rows.shape[1], x.shape[1]))
    return np.concatenate([counts[:1], [weights @ x, weights @ x**2], counts[1:], weighted.T @ x])


def correlations(sums: np.ndarray) -> np.ndarray:
    """Correlations of observed entries with codes, (n_components, n_features); 0 for constants."""
    n, x, x_squares, *of_codes = sums
    code, code_squares, products = np.reshape(of_codes, (3, -1, len(n)))
    n = n.clip(min=np.finfo(n.dtype).tiny)
    variance = (x_squares - x**2 / n) * (code_squares - code**2 / n)
    covariance, result = products - x * code / n, np.zeros_like(code)
    is_varying = (variance > EPS * x_squares * code_squares) & (variance > 0)
    np.divide(covariance, np.sqrt(variance.clip(min=0)), result, where=is_varying)
    return result.clip(-1, 1)
