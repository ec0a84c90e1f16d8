"""Corrections of filled cells by the nearest training rows."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .masking import MaskedCells

N_NEIGHBORS_TO_TRY = (3, 10, 30)

# The kernel is somewhat wider than the distance of the first row that is not among the neighbours:
# rows at equal distances, frequent in rounded data, then have equal weights, and rounding errors do
# not select among them.
BANDWIDTH_FACTOR = 1.1
# Distances in memory at once: half of the time of 2^23, as they stay in the cache.
BLOCK_ENTRIES = 2**19
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
        return self.correct_by_each((n_neighbors,), filled, missing, excluded)[0]

    def correct_by_each(
        self,
        n_neighbors: Sequence[int],
        filled: Tensor,
        missing: Tensor,
        excluded: Tensor | None = None,
    ) -> Tensor:
        """The same for several numbers of neighbours, (len(n_neighbors), n, d)."""
        if excluded is None:
            excluded = torch.zeros(len(filled), 1, dtype=torch.bool)
        size = max(BLOCK_ENTRIES // len(self.rows), 1)
        blocks = zip(*(part.split(size) for part in (filled, missing, excluded)), strict=True)
        return torch.cat([self._correct_block(n_neighbors, *block) for block in blocks], 1)

    def _correct_block(
        self, n_neighbors: Sequence[int], filled: Tensor, missing: Tensor, excluded: Tensor
    ) -> Tensor:
        squares = self._squared_distances(filled, 1 - missing)
        squares.masked_fill_((missing @ self.observed.T == 0) | excluded, torch.inf)
        limited = [min(k, len(self.rows) - 1) for k in n_neighbors]
        nearest = squares.topk(max(limited) + 1, dim=1, largest=False).values
        values = torch.cat([self.rows * self.observed, self.observed], 1)
        corrections = []
        for k in limited:
            bandwidth = (BANDWIDTH_FACTOR * nearest[:, k : k + 1]).clamp_(1e-9, 1e9)
            weight = (squares / -bandwidth).add_(1).relu_()
            total, observed_weight = (weight @ values).chunk(2, 1)
            sum_of_weights = weight.sum(1, keepdim=True).clamp_min(1e-30)
            difference = total - observed_weight * filled
            corrections.append(difference / (observed_weight + FILLED_WEIGHT * sum_of_weights))
        return torch.stack(corrections)

    def _squared_distances(self, filled: Tensor, observed: Tensor) -> Tensor:
        """Squared distances of rows from training rows in the observed cells, (n, n_train)."""
        squares = (filled.square() * observed).sum(1, keepdim=True)
        queries = torch.cat([observed, filled * observed], 1)
        rows = torch.cat([self.rows.square(), -2 * self.rows], 1)
        return torch.addmm(squares, queries, rows.T).clamp_min_(0)


def leave_group_out_corrections(
    neighbors: NeighborImputer,
    train_group: Tensor,
    cells: MaskedCells,
    n_neighbors: Sequence[int],
) -> Tensor:
    """Corrections of masked rows by training rows of other groups.

    `train_group` is the group of each training row, (n_train,). The shape of the result is
    (len(n_neighbors), N_FOLDS, n, d).
    """
    neighbors = NeighborImputer(*(part.float() for part in neighbors))
    return torch.stack(
        [
            neighbors.correct_by_each(n_neighbors, filled, missing, group[:, None] == train_group)
            for filled, missing, group in zip(cells.filled, cells.missing, cells.group, strict=True)
        ],
        1,
    )
