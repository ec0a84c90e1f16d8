"""Corrections of filled cells by the nearest training rows."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu

from .masking import MaskedCells

N_NEIGHBORS_TO_TRY = (3, 10, 30)

# The kernel is somewhat wider than the distance of the first row that is not among the neighbours:
# rows at equal distances, frequent in rounded data, then have equal weights, and rounding errors do
# not select among them.
BANDWIDTH_FACTOR = 1.1
# Weight of the filled value itself, relative to the neighbours with total weight one.
FILLED_WEIGHT = 0.01


class NeighborImputer(NamedTuple):
    """Filled training rows, and which of their cells were observed."""

    rows: Tensor  # (n_train, d)
    observed: Tensor  # (n_train, d), 1 where observed, else 0

    def correct(
        self, filled: Tensor, missing: Tensor, n_neighbors: int, excluded: Tensor | None = None
    ) -> Tensor:
        """Weighted mean of the neighbours minus the filled value, for each cell; (n, d).

        Distances are computed in the observed cells of a row (`missing` is 1 elsewhere). Weights
        follow the Epanechnikov kernel, as wide as the distance of neighbour number `n_neighbors`;
        only cells observed in a training row contribute. Training rows in which none of the missing
        cells was observed are left out, and so are those `excluded`, a mask of shape (n, n_train).
        """
        squares = self._squared_distances(filled, 1 - missing)
        squares[missing @ self.observed.T == 0] = torch.inf
        if excluded is not None:
            squares[excluded] = torch.inf
        k = min(n_neighbors + 1, len(self.rows))
        bandwidth = BANDWIDTH_FACTOR * squares.kthvalue(k, dim=1, keepdim=True).values
        weight = relu(1 - squares / bandwidth.clamp(1e-9, 1e9))
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-30)
        observed_weight = weight @ self.observed
        total = weight @ (self.rows * self.observed)
        return (total - observed_weight * filled) / (observed_weight + FILLED_WEIGHT)

    def _squared_distances(self, filled: Tensor, observed: Tensor) -> Tensor:
        """Squared distances of rows from training rows in the observed cells, (n, n_train)."""
        squares = (filled.square() * observed).sum(1, keepdim=True)
        squares = squares + observed @ self.rows.square().T
        return (squares - 2 * (filled * observed) @ self.rows.T).clamp_min_(0)


def leave_group_out_corrections(
    neighbors: NeighborImputer, train_group: Tensor, cells: MaskedCells, n_neighbors: int
) -> Tensor:
    """Corrections of masked rows by training rows of other groups, (N_FOLDS, n, d).

    `train_group` is the group of each training row, (n_train,).
    """
    neighbors = NeighborImputer(*(part.float() for part in neighbors))
    return torch.stack(
        [
            neighbors.correct(filled, missing, n_neighbors, group[:, None] == train_group)
            for filled, missing, group in zip(cells.filled, cells.missing, cells.group, strict=True)
        ]
    )
