"""Networks for few wide rows, trained in coordinates of the space that the rows span.

A training step then takes as long as for rows of as many features as there are rows.
"""

import numpy as np
import torch
from torch import Tensor, nn

from .._data.dataset import Rows
from .._data.device import as_array, as_tensor
from .._data.moments import Moments
from .._nn.batched_linear import BatchedLinear
from .._training.pca import MIN_EIGENVALUE, descending_eigh
from .._training.row_products import principal_coordinates, row_products

# Eigenvectors of larger Gram matrices take longer than training.
MAX_ROWS = 2000


class SpannedSpace:
    """The space that standardised rows span.

    The rows are ``values @ axes`` with orthonormal axes, (n_coordinates, n_features). Divided by
    `scale`, the coordinates have a mean variance of one, as the features have. The total variance
    of the noise is then the same in the coordinates and in the features.
    """

    def __init__(self, X: Rows, units: Moments):
        self._products = row_products(X, units, units.scale)
        gram = torch.as_tensor(self._products.gram())
        squares, left = descending_eigh(gram, torch)
        self._coordinates = principal_coordinates(squares, left, MIN_EIGENVALUE)
        self.values = as_array(self._coordinates.values)
        self.scale = float((X.shape[1] / self.values.shape[1]) ** 0.5)

    def units(self) -> Moments:
        """Units in which the values have a mean variance of one."""
        width = self.values.shape[1]
        return Moments(np.zeros(width), np.full(width, self.scale), self.scale)

    @torch.no_grad()
    def expand(self, trained: nn.Sequential, networks: nn.Sequential) -> None:
        """Copy networks for coordinates, divided by `scale`, to networks for features."""
        state = trained.state_dict()
        layers = trained.named_children()
        names = [name for name, layer in layers if isinstance(layer, BatchedLinear)]
        weight, bias = f"{names[-1]}.weight", f"{names[-1]}.bias"
        outputs = torch.cat([state[weight], state[bias]], 1) * self.scale
        outputs = self._to_features(outputs.mT).mT
        state[weight], state[bias] = outputs[:, :-1], outputs[:, -1:]
        first = f"{names[0]}.weight"
        state[first] = self._to_features(state[first]) / self.scale
        networks.load_state_dict(state)

    def _to_features(self, vectors: Tensor) -> Tensor:
        """Vectors with these coordinates, (n_networks, n_coordinates, n_vectors)."""
        parts = vectors.to(self._coordinates.values)
        results = [self._coordinates.to_features(self._products, part) for part in parts]
        return torch.stack([as_tensor(result, vectors.dtype, vectors.device) for result in results])


def spanned_space(X: Rows, units: Moments) -> SpannedSpace | None:
    """The space of complete rows, if there are few."""
    is_wide = X.shape[0] < X.shape[1] and X.shape[0] <= MAX_ROWS
    return SpannedSpace(X, units) if is_wide and not units.n_missing and units.std.any() else None
