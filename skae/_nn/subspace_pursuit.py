"""Subspace pursuit: a search for better active units than the encoder's."""

import torch
from torch import Tensor
from torch.nn.functional import relu

# Each step adds this fraction of the active units as candidates. Of a quarter, a half and all, a
# quarter was best in 3 steps on digits and images of clothes, with 6, 16 and 64 active units.
CANDIDATE_FRACTION = 0.25

# Added to the squared length of each direction, so that two equal directions have a solution.
RIDGE = 1e-6

# Rows are processed in blocks of which the directions have at most so many entries.
MAX_GATHERED_ENTRIES = 2**23


def subspace_pursuit(
    code: Tensor, x: Tensor, directions: Tensor, n_nonzero: int, n_steps: int
) -> Tensor:
    """Codes with at most `n_nonzero` units, with errors no larger than before.

    Each step adds the units with the largest projections of the residual, fits
    all by least squares, keeps the `n_nonzero` largest and fits these again (Dai and Milenkovic,
    "Subspace pursuit", 2009).

    Parameters
    ----------
    code : Tensor of shape (n_samples, n_components)
        Initial codes, not negative, with at most `n_nonzero` active units in a row.
    x : Tensor of shape (n_samples, n_features)
        Centred rows.
    directions : Tensor of shape (n_components, n_features)
        The dictionary, of unit length.
    n_nonzero : int
        The largest number of active units in a row.
    n_steps : int
        The number of steps.
    """
    n_candidates = n_nonzero + max(1, round(CANDIDATE_FRACTION * n_nonzero))
    n_candidates = min(n_candidates, len(directions))
    n_rows = max(1, MAX_GATHERED_ENTRIES // (n_candidates * directions.shape[1]))
    blocks = zip(code.split(n_rows), x.split(n_rows), strict=True)
    return torch.cat(
        [_pursue(*block, directions, n_nonzero, n_candidates, n_steps) for block in blocks]
    )


def _pursue(
    code: Tensor, x: Tensor, directions: Tensor, n_nonzero: int, n_candidates: int, n_steps: int
) -> Tensor:
    residual = x - code @ directions
    for _ in range(n_steps):
        projection = residual @ directions.T
        units = torch.where(code > 0, torch.inf, projection).topk(n_candidates, dim=1).indices
        largest = _least_squares(x, directions, units).topk(n_nonzero, dim=1).indices
        units = units.gather(1, largest)
        coefficients = relu(_least_squares(x, directions, units))
        new_code = torch.zeros_like(code).scatter(1, units, coefficients)
        new_residual = x - new_code @ directions
        better = (new_residual.square().sum(1) < residual.square().sum(1))[:, None]
        if not better.any():
            break
        code = torch.where(better, new_code, code)
        residual = torch.where(better, new_residual, residual)
    return code


def _least_squares(x: Tensor, directions: Tensor, units: Tensor) -> Tensor:
    """The least-squares coefficients of the given units of each row, (n_samples, n)."""
    selected = directions[units]
    gram = selected @ selected.mT
    gram.diagonal(dim1=1, dim2=2).add_(RIDGE)
    # Without a solution the result is NaN, which is not better than the code before.
    return torch.linalg.solve_ex(gram, (selected @ x[:, :, None]))[0][:, :, 0]
