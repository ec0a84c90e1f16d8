"""What a fit learns from: the rows, the units, the device and the streams of chance."""

from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from .._data.array_api import native
from .._data.dataset import Rows, as_array, make_rows, resolve_device
from .._data.process_group import ALONE, Alone
from .._losses.reconstruction import LOSSES
from .._nn.fitted import Codec
from .pca import Moments, moments


class Seeds(NamedTuple):
    """One seed a stream, so that more noise, or another size of code, reorders no batch."""

    components: int
    split: int
    weights: int
    order: int
    noise: int


class Task(NamedTuple):
    """What is learned from: the rows, the units, the device and the streams of chance."""

    X: Any  # as a NumPy array or CSR matrix or, on an accelerator, a tensor
    given: Any  # the same as the user's library has it
    rows: Rows
    train: Tensor  # indices into rows
    held_out_rows: Rows
    held_out: Tensor  # indices into held_out_rows
    shift: np.ndarray  # the network works on (X - shift) / scale
    scale: float
    moments: Moments
    seeds: Seeds
    device: torch.device
    ranks: Alone = ALONE

    def noise(self, device: torch.device | str = "cpu") -> torch.Generator:
        """A stream of noise for rows that are here, the same each time."""
        # Ranks whose rows had the same noise would learn from less of it.
        return torch.Generator(device).manual_seed(self.seeds.noise + self.ranks.rank)


def make_task(estimator, X, X_val, before: Codec | None, ranks: Alone = ALONE) -> Task:
    """Settle the units, those of `before` if there is one; move the rows to the device once."""
    given, X = X, native(X)
    chance = check_random_state(estimator.random_state)
    seeds = Seeds(*ranks.first(chance.randint(2**31 - 1, size=5).tolist()))
    stats = moments(X, ranks)
    shift, scale = stats.mean, stats.spread
    if LOSSES[estimator.loss].degree == 0:
        shift, scale = np.zeros_like(shift), 1.0
    if before is not None:
        shift, scale = as_array(before.shift), before.scale.item()
    device = resolve_device(estimator.device, given)
    rows = held_out_rows = ranks.share(make_rows(X, shift, scale, device))
    train = held_out = torch.arange(len(rows))
    if X_val is not None:
        held_out_rows = ranks.share(make_rows(native(X_val), shift, scale, device))
        held_out = torch.arange(len(held_out_rows))
    elif estimator.early_stopping:
        permutation = torch.randperm(len(rows), generator=generator(seeds.split))
        n_held_out = _n_held_out(estimator.validation_fraction, len(rows))
        held_out, train = permutation.tensor_split([n_held_out])
    return Task(
        X, given, rows, train.to(device), held_out_rows, held_out.to(device),
        shift, scale, stats, seeds, device, ranks,
    )  # fmt: skip


def _n_held_out(fraction: Any, n_rows: int) -> int:
    # Fewer than 50 rows can hardly tell an improvement from chance, see `better_than_chance`.
    share = min(max(0.1 * n_rows, 50), 0.25 * n_rows) if fraction == "auto" else fraction * n_rows
    return min(max(round(share), 1), n_rows - 1)


def generator(seed: int) -> torch.Generator:
    """A stream of chance on the host."""
    return torch.Generator().manual_seed(seed)
