"""Corrections by a layer of radial units and a linear decoder, learned in closed form."""

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from .masking import MaskedCells

MAX_UNITS = 400
WIDTHS = (0.25, 0.5, 1.0)  # times the median distance between units
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
COLUMNS_TO_CHOOSE_BY = 12


class NystroemFeatures(NamedTuple):
    """Units that respond to rows near their centres: exp(-|x - c|^2 / (2 width^2)), made white."""

    centres: Tensor  # (n_units, d)
    width: Tensor
    whitening: Tensor  # (n_units, n_units)

    @classmethod
    def at(cls, centres: Tensor, share: float) -> "NystroemFeatures":
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

    def double(self) -> "NystroemFeatures":
        """The same in float64."""
        return NystroemFeatures(*(part.double() for part in self))


def choose_units(
    centres: Tensor, pool: MaskedCells, judges: MaskedCells
) -> tuple[NystroemFeatures, float]:
    """The width and the penalty with which the first fold is best told by the others.

    Judged by some of the columns only: all of them need a solution each.
    """
    n_features = centres.shape[1]
    n_columns = min(COLUMNS_TO_CHOOSE_BY, n_features)
    columns = torch.linspace(0, n_features - 1, n_columns).long().tolist()
    units = {share: NystroemFeatures.at(centres, share) for share in WIDTHS}
    errors = dict.fromkeys(product(WIDTHS, PENALTIES), 0.0)
    for share in WIDTHS:
        codes, judging = (units[share].encode(part.filled[0]) for part in (pool, judges))
        for j in columns:
            known, asked = (part.hidden[0, :, j] > 0 for part in (pool, judges))
            code, truth = codes[known], judges.wanted[0, asked, j]
            values, vectors = torch.linalg.eigh(code.T @ code)
            right = vectors.T @ (code.T @ pool.wanted[0, known, j])
            turned = judging[asked] @ vectors
            for penalty in PENALTIES:
                told = turned @ (right / (values.clamp_min(0) + penalty))
                errors[share, penalty] += (told - truth).square().sum().item()
    share, penalty = min(errors, key=lambda pair: errors[pair])
    return units[share], penalty


def decoders(units: NystroemFeatures, pool: MaskedCells, penalty: float) -> Tensor:
    """Ridge regression of each column from the codes of each fold's rows.

    Shape (n_folds, n_units, d).
    """
    folds = zip(pool.filled, pool.wanted, pool.hidden, strict=True)
    return torch.stack(
        [
            _decoder(units.encode(filled), wanted, hidden, penalty)
            for filled, wanted, hidden in folds
        ]
    )


def _decoder(codes: Tensor, wanted: Tensor, hidden: Tensor, penalty: float) -> Tensor:
    ridge = penalty * torch.eye(codes.shape[1])
    solved = []
    for target, known in zip(wanted.T, hidden.T > 0, strict=True):
        code = codes[known]
        solved.append(torch.linalg.solve(code.T @ code + ridge, code.T @ target[known]))
    return torch.stack(solved, 1)
