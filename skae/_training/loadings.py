"""Correlations of features with codes over the training rows."""

from collections.abc import Iterator
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import dense_block, row_blocks
from .._data.device import as_array, as_tensor, max_float_dtype
from .._nn.fitted import FittedAutoencoder
from .fit_data import FitData

# Correlations of so many rows have standard errors of at most .01.
MAX_ROWS = 10_000
# A product of variances that is a smaller share of that of the mean squares is a rounding error.
EPS = 1e-12


def loadings(fitted: FittedAutoencoder, data: FitData) -> np.ndarray:
    """Correlations of observed entries with codes, (n_components, n_features); 0 for constants.

    Of more rows than `MAX_ROWS`, these are evenly spaced.
    """
    own = as_array(reduce(torch.add, _sums_of_blocks(fitted, data)))
    n, x, x_squares, *of_codes = np.sum(data.group.gather(own), axis=0)
    code, code_squares, products = np.reshape(of_codes, (3, -1, len(n)))
    n = n.clip(min=np.finfo(n.dtype).tiny)
    variance = (x_squares - x**2 / n) * (code_squares - code**2 / n)
    correlations = np.zeros_like(code)
    is_varying = (variance > EPS * x_squares * code_squares) & (variance > 0)
    np.divide(
        products - x * code / n, np.sqrt(variance.clip(min=0)), correlations, where=is_varying
    )
    return correlations.clip(-1, 1)


def _sums_of_blocks(fitted: FittedAutoencoder, data: FitData) -> Iterator[Tensor]:
    """Sums over rows of blocks, (3 + 3 * n_components, n_features), in float64.

    These are the weights of observed entries, the entries, their squares, the codes and their
    squares in rows in which the entry is observed, and the products.
    """
    mean = as_tensor(data.moments.mean, fitted.shift.dtype, fitted.shift.device)
    double = max_float_dtype(fitted.shift.device)
    used = np.arange(data.X.shape[0]) if data.weights is None else np.flatnonzero(data.weights)
    n_rows = max(MAX_ROWS // data.group.size, 1)
    used = used[np.linspace(0, len(used) - 1, min(len(used), n_rows)).astype(int)]
    yield torch.zeros(3 + 3 * fitted.n_components, len(mean), dtype=double, device=mean.device)
    for block in row_blocks(used[:, None], max(len(mean), 512), times=8):
        rows = used[block]
        x = as_tensor(dense_block(data.X, rows), mean.dtype, mean.device)
        with torch.no_grad():
            code = fitted.encode(x).to(double)
        x, missing = (x - mean).to(double), x.isnan()
        observed, x = (~missing).to(double), x.masked_fill(missing, 0.0)
        weights = code.new_ones(len(code))
        if data.weights is not None:
            weights = as_tensor(data.weights[rows], double, mean.device)
        weighted = code * weights[:, None]
        yield torch.cat([
            torch.stack([weights @ values for values in (observed, x, x.square())]),
            weighted.mT @ observed,
            (weighted * code).mT @ observed,
            weighted.mT @ x,
        ])  # fmt: skip
