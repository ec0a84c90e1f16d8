"""Where a sparse autoencoder begins: at rows, and at codes of the right size."""

import copy

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ._sparse_codes import SparseCoder
from ._task import Task

# What is added to the rows at which the dictionary begins, in their own length.
NOISE = 0.3

# So many rows fix the size of the first codes.
TYPICAL_ROWS = 2048


def some_rows(task: Task, mean: Tensor, n_components: int) -> Tensor:
    """Unit vectors from the mean to training rows; (n_components, n_features)."""
    chance = torch.Generator().manual_seed(task.seeds.weights)
    n_rows = len(task.train)
    drawn = [torch.randperm(n_rows, generator=chance) for _ in range(-(-n_components // n_rows))]
    rows = torch.cat(drawn)[:n_components].to(task.device)
    away = torch.nan_to_num(task.rows.everywhere(task.train[rows]).cpu().double() - mean)
    # No two are to be the same, nor zero; and each row is to have more than itself to learn from.
    noise = torch.randn(away.shape, generator=chance, dtype=away.dtype)
    noise *= torch.from_numpy(task.moments.deviation)  # none where nothing varies
    return normalize(normalize(away, dim=1) + normalize(noise, dim=1) * NOISE, dim=1)


def best_factor(network: SparseCoder, task: Task) -> float:
    """What makes the first reconstructions best if all codes are multiplied by it.

    A row's codes are its projections on directions that overlap; their sum is much too long.
    """
    network = copy.deepcopy(network).double()
    n_rows = min(len(task.train), TYPICAL_ROWS)
    x = task.rows.everywhere(task.train[:n_rows]).cpu().double()
    with torch.no_grad():
        away = torch.nan_to_num(x - network.linear.mean)
        made = network.decoder(network.encode(x))
        return float((made * away).sum() / made.square().sum().clamp_min(1e-30))
