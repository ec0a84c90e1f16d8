"""Corrections by remembered rows: those most like a row say what it lacks."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu

from .masking import MaskedCells

MAX_ROWS = 2048
N_NEAREST = (3, 10, 30)

# Squared distances count up to somewhat more than that of the last row that is wanted, so that rows
# which are equally far, as many are in rounded data, weigh alike, and rounding chooses none.
BEYOND = 1.1
# The row's own completion weighs as so much of the rows that are near.
OWN_WEIGHT = 0.01


class NeighborImputer(NamedTuple):
    """Completed rows, and which of their cells were observed."""

    rows: Tensor  # (n, d)
    observed: Tensor  # (n, d)

    def correct(
        self, filled: Tensor, unseen: Tensor, n_nearest: int, excluded: Tensor | None = None
    ) -> Tensor:
        """What the nearest rows say of each cell, minus what is there; (len(filled), d).

        They are near in what is seen (`unseen` is 1 elsewhere), weigh the less the farther they are
        (the kernel of Epanechnikov, as wide as `n_nearest` rows are far), and speak for cells that
        were observed in them. Remembered rows that have nothing to say do not count, nor do those
        `excluded`, a mask of shape (len(filled), n).
        """
        squares = self._squares(filled, 1 - unseen)
        squares[unseen @ self.observed.T == 0] = torch.inf
        if excluded is not None:
            squares[excluded] = torch.inf
        farthest = squares.kthvalue(min(n_nearest + 1, len(self.rows)), dim=1, keepdim=True).values
        weight = relu(1 - squares / (BEYOND * farthest).clamp(1e-9, 1e9))
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-30)
        known = weight @ self.observed
        total = weight @ (self.rows * self.observed)
        return (total - known * filled) / (known + OWN_WEIGHT)

    def _squares(self, filled: Tensor, seen: Tensor) -> Tensor:
        """Squared distances in the cells that are seen, (len(filled), n)."""
        squares = (filled.square() * seen).sum(1, keepdim=True) + seen @ self.rows.square().T
        return (squares - 2 * (filled * seen) @ self.rows.T).clamp_min_(0)


def recalled(
    neighbors: NeighborImputer, kept: Tensor, cells: MaskedCells, n_nearest: int
) -> Tensor:
    """Corrections of cells by remembered rows other than their own, (N_FOLDS, n, d).

    `kept` is which row of the data each remembered one is.
    """
    neighbors = NeighborImputer(*(part.float() for part in neighbors))
    folds = zip(cells.filled, cells.unseen, cells.row, strict=True)
    return torch.stack(
        [neighbors.correct(x, unseen, n_nearest, row[:, None] == kept) for x, unseen, row in folds]
    )
