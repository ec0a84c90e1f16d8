"""Cells that were observed and are hidden, to learn from and to judge by."""

from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

N_FOLDS = 5
# Of EM, from the Gaussian of all rows to that of all but one fold.
N_STEPS = 5


class Gaussian(Protocol):
    """What makes the first completion."""

    def fill(self, x: Tensor, missing: Tensor) -> Tensor:
        """Rows with the conditional mean at their missing cells."""

    def statistics(self, x: Tensor, missing: Tensor) -> tuple[Tensor, ...]:
        """Sums over rows that a Gaussian can be fitted to."""

    def maximised(self, sums: tuple[Tensor, ...]) -> "Gaussian":
        """The Gaussian fitted to them."""


class MaskedCells(NamedTuple):
    """Rows with hidden cells, some for each fold: what is seen of them, and what is wanted."""

    row: Tensor  # (N_FOLDS, n): which row of the data each is
    filled: Tensor  # (N_FOLDS, n, d): the first completion
    unseen: Tensor  # (N_FOLDS, n, d): 1 where a cell is missing or hidden, else 0
    wanted: Tensor  # (N_FOLDS, n, d): truth minus first completion where hidden, else 0
    hidden: Tensor  # (N_FOLDS, n, d): 1 where hidden, else 0

    def first(self, n_rows: int) -> "MaskedCells":
        """The first rows of each fold."""
        return MaskedCells(*(part[:, :n_rows] for part in self))

    def together(self) -> "MaskedCells":
        """The rows of all folds, without the leading axis."""
        return MaskedCells(*(part.flatten(0, 1) for part in self))


class Folds(NamedTuple):
    """Incomplete rows in folds: what is learned from all but one of them is judged in that one.

    A Gaussian flatters the rows that it was fitted to, and what it leaves over in some of them has
    the opposite sign in the others. So no row is completed by a Gaussian that was fitted to it, nor
    is any that something is learned from by one that was fitted to rows that judge.
    """

    x: Tensor  # (n, d)
    missing: Tensor  # (n, d)
    fold: Tensor  # (n,): of each row
    gaussians: list[list[Gaussian]]  # [k][j]: of all rows but those of the folds k and j

    @classmethod
    def of(
        cls,
        x: Tensor,
        missing: Tensor,
        gaussian: Gaussian,
        noise: torch.Generator,
        n_judging: int = N_FOLDS,
    ) -> Self:
        """The Gaussians start at that of all rows; cells are hidden for `n_judging` folds."""
        fold = torch.randperm(len(x), generator=noise) % N_FOLDS
        gaussians = [_without(x, missing, fold, k, gaussian) for k in range(n_judging)]
        return cls(x, missing, fold, gaussians)

    def to_learn(self, n_rows: int, noise: torch.Generator) -> MaskedCells:
        """For each fold, rows of all the others."""
        return self._drawn(n_rows, noise, judging=False)

    def to_judge(self, n_rows: int, noise: torch.Generator) -> MaskedCells:
        """Rows of each fold, with few cells hidden, so that hardly more are unseen than will be."""
        return self._drawn(n_rows, noise, judging=True)

    def _drawn(self, n_rows: int, noise: torch.Generator, *, judging: bool) -> MaskedCells:
        hiding = mask_few_cells if judging else mask_cells
        drawn = []
        for k, gaussians in enumerate(self.gaussians):
            row = _draw(((self.fold == k) == judging).nonzero()[:, 0], n_rows, noise)
            hidden = hiding(self.missing[row], noise)
            unseen = self.missing[row] | hidden
            filled = self.x[row].clone()
            for j, gaussian in enumerate(gaussians):
                there = (self.fold[row] == j).nonzero()[:, 0]
                filled[there] = gaussian.fill(filled[there], unseen[there])
            wanted = torch.where(hidden, self.x[row] - filled, 0.0)
            drawn.append((row, filled.float(), unseen.float(), wanted.float(), hidden.float()))
        return MaskedCells(*map(torch.stack, zip(*drawn, strict=True)))


def _without(
    x: Tensor, missing: Tensor, fold: Tensor, k: int, gaussian: Gaussian
) -> list[Gaussian]:
    """Gaussians of all rows but those of fold k and of each fold."""
    others = fold != k
    for _ in range(N_STEPS):
        gaussian = gaussian.maximised(gaussian.statistics(x[others], missing[others]))
    parts = []
    for j in range(N_FOLDS):
        own = others & (fold == j)
        parts.append(gaussian.statistics(x[own], missing[own]))
    whole = [torch.stack(terms).sum(0) for terms in zip(*parts, strict=True)]
    return [gaussian.maximised(tuple(map(torch.sub, whole, part))) for part in parts]


def _draw(rows: Tensor, n_rows: int, noise: torch.Generator) -> Tensor:
    """Some of the rows, or each of them several times."""
    times = -(-n_rows // len(rows))
    shuffled = [rows[torch.randperm(len(rows), generator=noise)] for _ in range(times)]
    return torch.cat(shuffled)[:n_rows]


def mask_cells(missing: Tensor, noise: torch.Generator) -> Tensor:
    """More cells of each row to hide, so that each pattern of gaps may be met.

    Most rows take the gaps of another row, as those to be filled will have such gaps, too; the
    others hide each cell with a probability between 0.05 and 0.6.
    """
    n, d = missing.shape
    rate = 0.05 + 0.55 * torch.rand(n, 1, generator=noise)
    anything = torch.rand(n, d, generator=noise) < rate
    like_others = torch.rand(n, 1, generator=noise) < 0.75
    others = _gaps_of_others(missing, noise) | (torch.rand(n, d, generator=noise) < 0.05)
    return torch.where(like_others, others, anything) & ~missing


def mask_few_cells(missing: Tensor, noise: torch.Generator) -> Tensor:
    """A quarter of the gaps of another row, and few others: complete columns may have gaps, too."""
    chance = torch.rand(missing.shape, generator=noise)
    return ((_gaps_of_others(missing, noise) & (chance < 0.25)) | (chance > 0.98)) & ~missing


def _gaps_of_others(missing: Tensor, noise: torch.Generator) -> Tensor:
    return missing[torch.randint(len(missing), (len(missing),), generator=noise)]
