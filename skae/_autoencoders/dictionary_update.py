"""A dictionary that suits searched codes: the method of optimal directions."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from .._data.dataset import Dataset, max_float_dtype
from .._nn.sparse import SparseCoder
from .._training.fit_data import FitData

# The rows restored in turn with new codes and new directions, at most so often.
MAX_REFITS = 5

# How much a direction is held where it is, in terms of the average unit's activity.
RIDGE = 0.1

BATCH = 1024


@torch.no_grad()
def refit(coder: SparseCoder, data: FitData) -> None:
    """Fit the directions to the codes that the search finds for the training rows; in place.

    Codes held, the best directions are those of least squares (Engan, Aase and Husøy, "Method of
    optimal directions for frame design", 1999). New directions want new codes: in turn, as long as
    held-out rows come back better.
    """
    error = _held_out_error(coder, data)
    for _ in range(MAX_REFITS):
        before = copy.deepcopy(coder.state_dict())
        _move(coder, data)
        error, former = _held_out_error(coder, data), error
        if not error < former:
            coder.load_state_dict(before)
            break


def _move(coder: SparseCoder, data: FitData) -> None:
    units, directions = coder.encoder, coder.decoder.directions
    pull = torch.zeros_like(directions, dtype=max_float_dtype(data.device))
    activity = pull.new_zeros(len(directions), len(directions))
    for x in _batches(data.rows, data.train):
        code = coder.encode(x.to(directions))
        left_over = torch.nan_to_num(x - coder.decode(code))  # a missing value pulls at nothing
        activity += code.T @ code
        pull += code.T @ left_over.to(code)
    activity, pull = data.group.all_reduce(activity), data.group.all_reduce(pull)
    held = RIDGE * activity.diagonal().mean()
    activity.diagonal().add_(held.clamp_min(torch.finfo(activity.dtype).tiny))
    moved = directions + torch.linalg.solve(activity, pull).to(directions)
    length = moved.norm(dim=1)
    coder.decoder.weight.copy_(moved / length[:, None])
    units.scale(length)  # so that the encoder's codes restore as before


def _held_out_error(coder: SparseCoder, data: FitData) -> float:
    """The squared error of the observed entries of all held-out rows, from searched codes."""
    weight = coder.decoder.weight
    error = torch.zeros(1, dtype=torch.float64)
    for x in _batches(data.held_out_rows, data.held_out):
        x = x.to(weight)
        error += torch.nan_to_num(x - coder.decode(coder.encode(x))).square().sum().item()
    return data.group.all_reduce(error).item()


def _batches(rows: Dataset, index: Tensor) -> Iterator[Tensor]:
    """The rows at `index` that are here, in the network's units."""
    for part in index.split(BATCH):
        if len(rows.here(part)):
            yield rows.take(part)
