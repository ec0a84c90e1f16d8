"""A search for better units of a dictionary than an encoder has named: subspace pursuit."""

import torch
from torch import Tensor
from torch.nn.functional import relu

# A step tries that part of the active units in addition. Of a quarter, a half and all, on digits
# and images of clothes, a quarter did best in 3 steps, with 6, 16 and 64 active units.
TRIED = 0.25

# Added to the squared length of each direction: two that are the same have an answer then.
RIDGE = 1e-6

# So many numbers are gathered at once.
GATHERED = 2**23


def subspace_pursuit(
    code: Tensor, x: Tensor, directions: Tensor, n_nonzero: int, n_steps: int
) -> Tensor:
    """Codes of at most `n_nonzero` units that restore each row at least as well as those given.

    Each step adds the units that point most along what is left over, fits all by least squares, and
    fits the `n_nonzero` largest again (Dai and Milenkovic, "Subspace pursuit", 2009).

    Parameters
    ----------
    code : Tensor of shape (n_samples, n_components)
        Where the search begins, not negative, with at most `n_nonzero` active units in a row.
    x : Tensor of shape (n_samples, n_features)
        Rows, from the mean.
    directions : Tensor of shape (n_components, n_features)
        The dictionary, of unit length.
    """
    n_tried = min(n_nonzero + max(1, round(TRIED * n_nonzero)), len(directions))
    n_rows = max(1, GATHERED // (n_tried * directions.shape[1]))
    parts = zip(code.split(n_rows), x.split(n_rows), strict=True)
    return torch.cat([_pursued(*part, directions, n_nonzero, n_tried, n_steps) for part in parts])


def _pursued(
    code: Tensor, x: Tensor, directions: Tensor, n_nonzero: int, n_tried: int, n_steps: int
) -> Tensor:
    left_over = x - code @ directions
    for _ in range(n_steps):
        slope = left_over @ directions.T
        units = torch.where(code > 0, torch.inf, slope).topk(n_tried, dim=1).indices
        largest = _fit(x, directions, units).topk(n_nonzero, dim=1).indices
        units = units.gather(1, largest)
        found = torch.zeros_like(code).scatter(1, units, relu(_fit(x, directions, units)))
        left_by_found = x - found @ directions
        better = (left_by_found.square().sum(1) < left_over.square().sum(1))[:, None]
        code = torch.where(better, found, code)
        left_over = torch.where(better, left_by_found, left_over)
    return code


def _fit(x: Tensor, directions: Tensor, units: Tensor) -> Tensor:
    """What those units of each row, (n_samples, n), are times their directions to be nearest it."""
    chosen = directions[units]
    overlaps = chosen @ chosen.mT
    overlaps.diagonal(dim1=1, dim2=2).add_(RIDGE)
    # Where there is no answer after all it is not a number, and no better than what there was.
    return torch.linalg.solve_ex(overlaps, (chosen @ x[:, :, None]))[0][:, :, 0]
