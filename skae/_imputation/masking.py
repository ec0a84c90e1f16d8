"""Masking of observed cells of incomplete rows, to train and validate corrections on them."""

from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from .._data.groups import RowGroups

N_FOLDS = 5
# EM iterations from the Gaussian of all rows to the Gaussian of all rows but one fold.
N_FOLD_EM_ITERATIONS = 5


class Gaussian(Protocol):
    """A Gaussian that fills missing cells."""

    def fill(self, x: Tensor, missing: Tensor) -> Tensor:
        """Fill missing cells with their conditional mean."""

    def std(self, x: Tensor, missing: Tensor) -> Tensor:
        """Conditional standard deviations; 0 where observed."""

    def sample(self, x: Tensor, missing: Tensor, rng: torch.Generator) -> Tensor:
        """Draw deviations from the conditional mean; 0 where observed."""

    def e_step(self, x: Tensor, missing: Tensor) -> tuple[Tensor, ...]:
        """Expected sufficient statistics, summed over rows."""

    def m_step(self, statistics: tuple[Tensor, ...]) -> "Gaussian":
        """The Gaussian fitted to these statistics."""


class HeldOutCells(NamedTuple):
    """Masked cells of rows, and their out-of-fold predictions."""

    group: Tensor  # (n,), the group of each row
    fold: Tensor  # (n,), the fold of each row
    fold_of_data: Tensor  # (n_samples,), the fold of each row of the data
    truth: Tensor  # (n, d), the true values where masked
    predicted: Tensor  # (n, d), the predicted values where masked
    missing: Tensor  # (n, d), whether a cell is missing or masked
    masked: Tensor  # (n, d), whether a cell is masked


class MaskedCells(NamedTuple):
    """Rows of which some observed cells are masked: n rows for each fold."""

    group: Tensor  # (N_FOLDS, n), the group of each row; without groups its position in the data
    filled: Tensor  # (N_FOLDS, n, d), the rows as the Gaussian fills them
    missing: Tensor  # (N_FOLDS, n, d), 1 where a cell is missing or masked, else 0
    target: Tensor  # (N_FOLDS, n, d), true value minus filled value where masked, else 0
    masked: Tensor  # (N_FOLDS, n, d), 1 where a cell is masked, else 0

    def head(self, n_rows: int) -> "MaskedCells":
        """The first rows of each fold."""
        return MaskedCells(*(part[:, :n_rows] for part in self))

    def flatten_folds(self) -> "MaskedCells":
        """The rows of all folds, without the leading axis."""
        return MaskedCells(*(part.flatten(0, 1) for part in self))

    def predicted_by(self, correction: Tensor, fold_of_data: Tensor) -> HeldOutCells:
        """The cells, predicted by a correction of each, (N_FOLDS * n, d)."""
        fold = torch.arange(len(self.group))[:, None].expand_as(self.group)
        cells = self.flatten_folds()
        return HeldOutCells(
            group=cells.group,
            fold=fold.flatten(),
            fold_of_data=fold_of_data,
            truth=cells.filled + cells.target,
            predicted=cells.filled + correction,
            missing=cells.missing > 0,
            masked=cells.masked > 0,
        )


class IncompleteRows(NamedTuple):
    """Standardised rows with missing cells, of a table whose columns may have several cells."""

    x: Tensor  # (n, d), 0 where missing
    missing: Tensor  # (n, d)
    groups: RowGroups | None = None
    # The column of each cell: the indicators of a category are missing, and masked, together.
    column: Tensor | None = None  # (d,), ascending; None if each cell is a column


class Folds(NamedTuple):
    """Incomplete rows in folds: each fold validates what was learned from the others.

    A Gaussian fits its own training rows better than new rows, and the residuals of some of these
    rows are negatively correlated with those of the others. Therefore no row is filled by a
    Gaussian that was fitted to this row, and no training row by one that was fitted to validation
    rows.
    """

    rows: IncompleteRows
    group: Tensor  # (n,), the group of each row, without groups its position
    fold: Tensor  # (n,), the fold of each row, the same for the rows of a group
    gaussians: list[list[Gaussian]]  # [k][j] was fitted without the folds k and j

    @classmethod
    def split(
        cls,
        rows: IncompleteRows,
        gaussian: Gaussian,
        rng: torch.Generator,
        n_validation_folds: int = N_FOLDS,
    ) -> Self:
        """Split rows at random and fit the Gaussians, starting at the one fitted to all rows.

        The rows of a group are in the same fold. Cells can be masked for the first
        `n_validation_folds` folds.
        """
        n_rows = len(rows.x)
        if rows.groups is None:
            group = torch.arange(n_rows)
            fold = torch.randperm(n_rows, generator=rng) % N_FOLDS
        else:
            group = torch.from_numpy(rows.groups.of_row)
            order = torch.randperm(len(rows.groups.labels), generator=rng)
            fold = torch.from_numpy(rows.groups.folds(N_FOLDS, order.numpy()))
        gaussians = [_fit_without(rows, fold, k, gaussian) for k in range(n_validation_folds)]
        return cls(rows, group, fold, gaussians)

    def training_cells(self, n_rows: int, rng: torch.Generator) -> MaskedCells:
        """For each validation fold, rows of all other folds."""
        return self._draw_cells(n_rows, rng, validation=False)

    def validation_cells(self, n_rows: int, rng: torch.Generator) -> MaskedCells:
        """Rows of each validation fold, with few cells masked.

        So the rows have hardly more missing cells than those that the imputer will fill.
        """
        return self._draw_cells(n_rows, rng, validation=True)

    def _draw_cells(self, n_rows: int, rng: torch.Generator, *, validation: bool) -> MaskedCells:
        mask = mask_few_cells if validation else mask_cells
        x, column = self.rows.x, self.rows.column
        first = None if column is None else _first_cells(column)
        parts = []
        for k, gaussians in enumerate(self.gaussians):
            row = _draw_rows(((self.fold == k) == validation).nonzero()[:, 0], n_rows, rng)
            missing = self.rows.missing[row]
            if column is None:
                masked = mask(missing, rng)
            else:
                masked = mask(missing[:, first], rng)[:, column]
            missing = missing | masked
            filled = x[row].clone()
            for j, gaussian in enumerate(gaussians):
                in_fold = (self.fold[row] == j).nonzero()[:, 0]
                filled[in_fold] = gaussian.fill(filled[in_fold], missing[in_fold])
            target = torch.where(masked, x[row] - filled, 0.0)
            values = filled, missing, target, masked
            parts.append((self.group[row], *(part.float() for part in values)))
        return MaskedCells(*map(torch.stack, zip(*parts, strict=True)))


def _first_cells(column: Tensor) -> Tensor:
    """The position of the first cell of each column."""
    is_first = column.diff(prepend=column.new_tensor([-1])) > 0
    return is_first.nonzero()[:, 0]


def _fit_without(rows: IncompleteRows, fold: Tensor, k: int, gaussian: Gaussian) -> list[Gaussian]:
    """Gaussians fitted without fold k and one more fold each."""
    x, missing, others = rows.x, rows.missing, fold != k
    for _ in range(N_FOLD_EM_ITERATIONS):
        gaussian = gaussian.m_step(gaussian.e_step(x[others], missing[others]))
    by_fold = []
    for j in range(N_FOLDS):
        own = others & (fold == j)
        by_fold.append(gaussian.e_step(x[own], missing[own]))
    total = [torch.stack(terms).sum(0) for terms in zip(*by_fold, strict=True)]
    return [gaussian.m_step(tuple(map(torch.sub, total, part))) for part in by_fold]


def _draw_rows(rows: Tensor, n_rows: int, rng: torch.Generator) -> Tensor:
    """Random rows, each at most once more often than any other."""
    n_times = -(-n_rows // len(rows))
    shuffled = [rows[torch.randperm(len(rows), generator=rng)] for _ in range(n_times)]
    return torch.cat(shuffled)[:n_rows]


def mask_cells(missing: Tensor, rng: torch.Generator) -> Tensor:
    """Choose cells to mask for training, with many patterns of missing cells.

    Most rows take the missing cells of another row, as rows to fill have such patterns, too; in the
    others each cell is masked with a probability between 0.05 and 0.6.
    """
    n, d = missing.shape
    rate = 0.05 + 0.55 * torch.rand(n, 1, generator=rng)
    at_random = torch.rand(n, d, generator=rng) < rate
    takes_pattern = torch.rand(n, 1, generator=rng) < 0.75
    pattern = _missing_of_other_rows(missing, rng) | (torch.rand(n, d, generator=rng) < 0.05)
    return torch.where(takes_pattern, pattern, at_random) & ~missing


def mask_few_cells(missing: Tensor, rng: torch.Generator) -> Tensor:
    """Choose cells to mask for validation: a quarter of the missing cells of another row.

    Two percent of the other cells are added, so that complete columns are validated, too.
    """
    uniform = torch.rand(missing.shape, generator=rng)
    pattern = _missing_of_other_rows(missing, rng)
    return ((pattern & (uniform < 0.25)) | (uniform > 0.98)) & ~missing


def _missing_of_other_rows(missing: Tensor, rng: torch.Generator) -> Tensor:
    return missing[torch.randint(len(missing), (len(missing),), generator=rng)]
