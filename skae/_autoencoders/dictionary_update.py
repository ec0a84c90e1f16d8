"""The method of optimal directions: a dictionary fitted to the codes of a search."""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .._data.dataset import Dataset
from .._data.device import max_float_dtype
from .._nn.sparse_coder import SparseCoder
from .._training.fit_data import FitData

# Largest number of updates, each followed by a new search for codes.
MAX_UPDATES = 5

# Penalty on the change of a direction, as a multiple of the mean activity of a unit.
RIDGE = 0.1

BATCH_SIZE = 1024


@torch.no_grad()
def method_of_optimal_directions(coder: SparseCoder, data: FitData) -> None:
    """Fit the dictionary to the codes that the search finds for the training rows, in place.

    For fixed codes the best directions are a least-squares solution (Engan, Aase and Husøy, "Method
    of optimal directions for frame design", 1999). Codes and directions are updated in turn, as
    long as the error of held-out rows decreases.
    """
    error = _held_out_error(coder, data)
    for _ in range(MAX_UPDATES):
        before = copy.deepcopy(coder.state_dict())
        _update_directions(coder, data)
        error, previous = _held_out_error(coder, data), error
        if not error < previous:
            coder.load_state_dict(before)
            break


def _update_directions(coder: SparseCoder, data: FitData) -> None:
    """Ridge regression of the residual on the codes; codes are scaled to unit directions."""
    directions = coder.decoder.directions
    products = torch.zeros_like(directions, dtype=max_float_dtype(data.device))
    gram = products.new_zeros(len(directions), len(directions))
    for x, weights in _batches(data.rows, data.train, data.weights):
        code = coder.encode(x.to(directions))
        residual = torch.nan_to_num(x - coder.decode(code))  # zero where nothing was observed
        weighted = code if weights is None else code * weights.to(code)[:, None]
        gram += weighted.T @ code
        products += weighted.T @ residual.to(code)
    gram, products = data.group.all_reduce(gram), data.group.all_reduce(products)
    ridge = RIDGE * gram.diagonal().mean()
    gram.diagonal().add_(ridge.clamp_min(torch.finfo(gram.dtype).tiny))
    updated = directions + torch.linalg.solve(gram, products).to(directions)
    length = updated.norm(dim=1)
    coder.decoder.weight.copy_(updated / length[:, None])
    coder.encoder.rescale(length)  # so that the encoder's codes have the same reconstructions


def _held_out_error(coder: SparseCoder, data: FitData) -> float:
    """The squared error of the observed entries of all held-out rows, from searched codes."""
    weight = coder.decoder.weight
    error = torch.zeros(1, dtype=torch.float64)
    # Rows of `X_val` have no weights.
    weights = None if data.held_out_weights is None else data.weights
    for x, row_weights in _batches(data.held_out_rows, data.held_out, weights):
        x = x.to(weight)
        errors = torch.nan_to_num(x - coder.decode(coder.encode(x))).square().sum(1)
        errors = errors if row_weights is None else errors * row_weights.to(errors)
        error += errors.sum().item()
    return data.group.all_reduce(error).item()


def _batches(
    rows: Dataset, index: Tensor, weights: np.ndarray | None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The rows at `index` that this process has, in the network's units, and their weights."""
    for part in index.split(BATCH_SIZE):
        if len(local := rows.local_index(part)):
            yield rows[part], None if weights is None else torch.from_numpy(weights[local.cpu()])
