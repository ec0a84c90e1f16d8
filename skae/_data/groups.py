"""Groups of rows, such as patients or machines: the rows of a group are held out together."""

import heapq
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from .messages import described


class TooFewGroupsError(ValueError):
    """There are too few groups, those of the user or parts of a series, to hold some out.

    `found` is their number, and `requirement` what is true of groups and of parts.
    """

    def __init__(self, message: str, found: int, requirement: str):
        super().__init__(message, found, requirement)
        self.message, self.found, self.requirement = message, found, requirement

    def __str__(self) -> str:
        return self.message


class RowGroups(NamedTuple):
    """The group of each row; only which rows have equal labels matters, not the labels."""

    labels: list[Hashable]  # distinct
    of_row: np.ndarray  # (n_rows,), the position of each row's label in `labels`

    @classmethod
    def from_labels(cls, groups: Any, n_rows: int) -> Self:
        """The groups of `n_rows` rows with these labels, numbered in the order of the rows."""
        unordered = isinstance(groups, set | frozenset | Mapping)
        if unordered or isinstance(groups, str) or not isinstance(groups, Iterable):
            given = described(groups)
            raise TypeError(f"`groups` must be array-like of shape (n_samples,), got {given}.")
        shape = getattr(groups, "shape", None)
        if shape is not None and len(shape) != 1:
            raise ValueError(f"`groups` must have shape (n_samples,), got {tuple(shape)}.")
        try:  # entries of tensors and NumPy arrays are Python's numbers only in lists
            labels = groups.tolist() if hasattr(groups, "tolist") else list(groups)
        except RuntimeError as error:  # a tensor on the meta device
            raise TypeError(f"`groups` must have entries, got {described(groups)}.") from error
        if len(labels) != n_rows:
            raise ValueError(
                f"`groups` must have a label for each of the {n_rows} rows of `X`, got "
                f"{len(labels)}."
            )
        try:
            return cls.concatenate([cls(labels, np.arange(n_rows))])
        except TypeError as error:
            raise TypeError(f"The labels in `groups` must be hashable: {error}.") from error

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The groups of the rows of all parts, in which equal labels are the same group."""
        positions: dict[Hashable, int] = {}
        of_row = []
        for part in parts:
            own = [positions.setdefault(_key(label), len(positions)) for label in part.labels]
            of_row.append(np.array(own, dtype=np.intp)[part.of_row])
        return cls(list(positions), np.concatenate(of_row))

    def take(self, index: np.ndarray) -> "RowGroups":
        """The groups of some of the rows, numbered in the order of these."""
        labels, of_row = np.unique(self.of_row[index], return_inverse=True)
        first = np.full(len(labels), len(index))
        np.minimum.at(first, of_row, np.arange(len(index)))
        position = np.argsort(np.argsort(first))
        ordered = labels[np.argsort(first)]
        return RowGroups([self.labels[label] for label in ordered], position[of_row])

    def hold_out(self, n_rows: int, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Training rows and about `n_rows` held-out rows, of groups drawn in this order.

        A group is held out if the number of rows is then nearer to `n_rows`. The largest group is
        for training if it has more than half of the rows.
        """
        if len(self.labels) < 2:
            n_groups, advice = len(self.labels), "early_stopping=False holds out no rows"
            raise TooFewGroupsError(
                "`groups` must have at least two groups of rows that are used, so that one can be "
                f"held out, got {n_groups}; {advice}.",
                n_groups,
                f"there must be two, so that one can be held out; {advice}",
            )
        sizes, n_all = np.bincount(self.of_row), len(self.of_row)
        allowed = order[2 * sizes[order] <= n_all]
        chosen, total = [], 0
        for group in allowed:
            after = total + sizes[group]
            if after < n_all and abs(after - n_rows) < n_rows - total:
                chosen.append(group)
                total = after
                if total >= n_rows:
                    break
        is_held_out = np.isin(order, chosen or allowed[sizes[allowed].argmin()])
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        # Sorted by groups: groups of one row each are then split as rows without groups are.
        rows = np.argsort(position[self.of_row], kind="stable")
        held_out = is_held_out[position[self.of_row[rows]]]
        return rows[~held_out], rows[held_out]

    def folds(self, n_folds: int, order: np.ndarray) -> np.ndarray:
        """The fold of each row: the largest groups first, each is put into the smallest fold."""
        if len(self.labels) < n_folds:
            raise ValueError(
                f"`groups` must have at least {n_folds} groups, one for each fold, got "
                f"{len(self.labels)}."
            )
        sizes, fold = np.bincount(self.of_row), np.empty(len(self.labels), dtype=np.intp)
        smallest_first = [(0, k) for k in range(n_folds)]  # numbers of rows and folds, a heap
        for group in order[np.argsort(-sizes[order], kind="stable")]:
            n_rows, fold[group] = smallest_first[0]
            heapq.heapreplace(smallest_first, (n_rows + sizes[group], fold[group]))
        return fold[self.of_row]


def _key(label: Hashable) -> Hashable:
    """The label, with the same object for each NaN, as NaN is unequal to itself."""
    return math.nan if isinstance(label, float | np.floating) and math.isnan(label) else label
