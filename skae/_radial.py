"""Corrections by a layer of radial units and a linear decoder, learned in closed form."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

MAX_UNITS = 400
WIDTHS = (0.25, 0.5, 1.0)  # times the median distance between units
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
COLUMNS_TO_CHOOSE_BY = 12


class RadialUnits(NamedTuple):
    """Units that respond to rows near their centres: exp(-|x - c|^2 / (2 width^2)), made white."""

    centres: Tensor  # (n_units, d)
    width: Tensor
    whitening: Tensor  # (n_units, n_units)

    @classmethod
    def at(cls, centres: Tensor, share: float) -> "RadialUnits":
        """Units at these rows, as wide as a share of their median distance."""
        distances = torch.cdist(centres, centres)
        apart = distances[distances > 0]
        width = share * (apart.median() if len(apart) else torch.ones(()).to(centres))
        kernel = torch.exp(-0.5 * (distances / width).square()).double()
        # Jitter: centres may coincide.
        kernel += 1e-5 * torch.eye(len(centres), dtype=torch.float64)
        factor = torch.linalg.cholesky(kernel)
        identity = torch.eye(len(centres), dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
        return cls(centres, width, inverse.T.to(centres))

    def encode(self, rows: Tensor) -> Tensor:
        """Codes of rows, (n, n_units)."""
        distances = torch.cdist(rows, self.centres)
        return torch.exp(-0.5 * (distances / self.width).square()) @ self.whitening

    def double(self) -> "RadialUnits":
        """The same in float64."""
        return RadialUnits(*(part.double() for part in self))


class Normal(NamedTuple):
    """The normal equations of one column: Gram matrix and right-hand side of each fold."""

    gram: Tensor  # (n_folds, n_units, n_units)
    right: Tensor  # (n_folds, n_units)


def choose_units(
    centres: Tensor, filled: Tensor, wanted: Tensor, hidden: Tensor, fold: Tensor
) -> tuple[RadialUnits, float]:
    """The width and the penalty with which fold 0 is best told by the others.

    Judged by some of the columns only: all of them need a solution each.
    """
    n_columns = min(COLUMNS_TO_CHOOSE_BY, filled.shape[1])
    columns = torch.linspace(0, filled.shape[1] - 1, n_columns).long().tolist()
    units = {share: RadialUnits.at(centres, share) for share in WIDTHS}
    errors = dict.fromkeys(product(WIDTHS, PENALTIES), 0.0)
    for share in WIDTHS:
        codes = units[share].encode(filled)
        for j in columns:
            learns, judges = (((fold == 0) == own) & (hidden[:, j] > 0) for own in (False, True))
            code, target = codes[learns], wanted[learns, j]
            values, vectors = torch.linalg.eigh(code.T @ code)
            right = vectors.T @ (code.T @ target)
            judging = codes[judges] @ vectors
            for penalty in PENALTIES:
                told = judging @ (right / (values.clamp_min(0) + penalty))
                errors[share, penalty] += (told - wanted[judges, j]).square().sum().item()
    share, penalty = min(errors, key=lambda pair: errors[pair])
    return units[share], penalty


def decoders(
    codes: Tensor, wanted: Tensor, hidden: Tensor, fold: Tensor, n_folds: int, penalty: float
) -> Tensor:
    """Ridge regression of each column from the codes, once without each fold.

    Shape (n_folds, n_units, d).
    """
    solved = [
        _without_each_fold(_normal(codes, wanted[:, j], hidden[:, j] > 0, fold, n_folds), penalty)
        for j in range(wanted.shape[1])
    ]
    return torch.stack(solved, 2)


def _normal(codes: Tensor, target: Tensor, known: Tensor, fold: Tensor, n_folds: int) -> Normal:
    parts = [(codes[rows], target[rows]) for rows in _folds(known, fold, n_folds)]
    return Normal(
        torch.stack([code.T @ code for code, _ in parts]),
        torch.stack([code.T @ t for code, t in parts]),
    )


def _folds(known: Tensor, fold: Tensor, n_folds: int) -> Iterator[Tensor]:
    return ((known & (fold == k)).nonzero()[:, 0] for k in range(n_folds))


def _without_each_fold(normal: Normal, penalty: float) -> Tensor:
    gram, right = (part.sum(0) - part for part in normal)
    gram.diagonal(dim1=1, dim2=2).add_(penalty)
    return torch.linalg.solve(gram, right)
