"""Correlations of features with codes over the training rows."""

from collections.abc import Iterator
from functools import reduce

import numpy as np
import torch

from .._data.correlations import correlations, sums_of_products
from .._data.dataset import dense_block, row_blocks
from .._data.device import as_tensor
from .._nn.fitted import FittedAutoencoder
from .fit_data import FitData

# Correlations of so many rows have standard errors of at most .022. With 10,000 rows instead, a fit
# to 40,000 rows took a tenth longer.
MAX_ROWS = 2000
# With more entries, there are fewer rows: of 5000 sparse rows of 100,000 columns, 2000 took half of
# the time of a fit of one epoch. With 300 rows standard errors are at most .06.
MAX_ENTRIES, MIN_ROWS = 2**25, 300
# Blocks of rows are at most so long as if rows had this width: hidden layers are wider than some X.
MIN_WIDTH = 512


def loadings(fitted: FittedAutoencoder, data: FitData) -> np.ndarray:
    """Correlations of observed entries with codes, (n_components, n_features); 0 for constants.

    Of more rows than `n_rows_of_loadings`, these are evenly spaced.
    """
    width = 3 + 3 * fitted.n_components, data.X.shape[1]
    own = reduce(np.add, _sums_of_blocks(fitted, data), np.zeros(width))
    return correlations(np.sum(data.group.gather(own), axis=0))


def n_rows_of_loadings(data: FitData) -> int:
    """The largest number of rows of this process that are used."""
    n_rows = min(MAX_ROWS, max(MAX_ENTRIES // data.X.shape[1], MIN_ROWS))
    return max(n_rows // data.group.size, 1)


def _sums_of_blocks(fitted: FittedAutoencoder, data: FitData) -> Iterator[np.ndarray]:
    """The sums over the rows of this process, for blocks of them."""
    dtype, device = fitted.shift.dtype, fitted.shift.device
    mean = as_tensor(data.moments.mean, dtype, device)
    used = np.arange(data.X.shape[0]) if data.weights is None else np.flatnonzero(data.weights)
    codes = None
    if len(used) > (n_rows := n_rows_of_loadings(data)):
        used = used[np.linspace(0, len(used) - 1, n_rows).astype(int)]
    elif data.codes_of is not None and data.codes_of[0] is fitted:
        codes = fitted.from_network_code(data.codes_of[1].to(fitted.shift))
    for block in row_blocks(used, max(len(mean), MIN_WIDTH), times=8):
        rows = used[block]
        x = as_tensor(dense_block(data.X, rows), dtype, device)
        weights = None if data.weights is None else torch.from_numpy(data.weights[rows])
        with torch.no_grad():
            code = fitted.encode(x) if codes is None else codes[block]
            yield sums_of_products(x - mean, code, weights)
