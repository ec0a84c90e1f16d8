"""What a fit learns from: the rows, the units, the device and the streams of chance."""

from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from .._data.array_api import to_native
from .._data.dataset import Dataset, as_array, make_dataset, resolve_device
from .._data.process_group import SINGLE_PROCESS, SingleProcess
from .._losses.reconstruction import LOSSES
from .._nn.fitted import FittedAutoencoder
from .pca import Moments, moments


class Seeds(NamedTuple):
    """One seed a stream, so that more noise, or another size of code, reorders no batch."""

    components: int
    split: int
    weights: int
    order: int
    noise: int


class FitData(NamedTuple):
    """What is learned from: the rows, the units, the device and the streams of chance."""

    X: Any  # as a NumPy array or CSR matrix or, on an accelerator, a tensor
    X_input: Any  # the same as the user's library has it
    rows: Dataset
    train: Tensor  # indices into rows
    held_out_rows: Dataset
    held_out: Tensor  # indices into held_out_rows
    shift: np.ndarray  # the network works on (X - shift) / scale
    scale: float
    moments: Moments
    seeds: Seeds
    device: torch.device
    group: SingleProcess = SINGLE_PROCESS

    def rng(self, device: torch.device | str = "cpu") -> torch.Generator:
        """A stream of noise for rows that are here, the same each time."""
        # Ranks whose rows had the same noise would learn from less of it.
        return torch.Generator(device).manual_seed(self.seeds.noise + self.group.rank)


def make_task(
    estimator, X, X_val, before: FittedAutoencoder | None, group: SingleProcess = SINGLE_PROCESS
) -> FitData:
    """Settle the units, those of `before` if there is one; move the rows to the device once."""
    given, X = X, to_native(X)
    chance = check_random_state(estimator.random_state)
    seeds = Seeds(*group.broadcast(chance.randint(2**31 - 1, size=5).tolist()))
    stats = moments(X, group)
    shift, scale = stats.mean, stats.rms_std
    if LOSSES[estimator.loss].degree == 0:
        shift, scale = np.zeros_like(shift), 1.0
    if before is not None:
        shift, scale = as_array(before.shift), before.scale.item()
    device = resolve_device(estimator.device, given)
    rows = held_out_rows = group.shard(make_dataset(X, shift, scale, device))
    train = held_out = torch.arange(len(rows))
    if X_val is not None:
        held_out_rows = group.shard(make_dataset(to_native(X_val), shift, scale, device))
        held_out = torch.arange(len(held_out_rows))
    elif estimator.early_stopping:
        permutation = torch.randperm(len(rows), generator=generator(seeds.split))
        n_held_out = _n_held_out(estimator.validation_fraction, len(rows))
        held_out, train = permutation.tensor_split([n_held_out])
    return FitData(
        X, given, rows, train.to(device), held_out_rows, held_out.to(device),
        shift, scale, stats, seeds, device, group,
    )  # fmt: skip


def _n_held_out(fraction: Any, n_rows: int) -> int:
    # Fewer than 50 rows can hardly tell an improvement from chance, see `significantly_better`.
    share = min(max(0.1 * n_rows, 50), 0.25 * n_rows) if fraction == "auto" else fraction * n_rows
    return min(max(round(share), 1), n_rows - 1)


def generator(seed: int) -> torch.Generator:
    """A stream of chance on the host."""
    return torch.Generator().manual_seed(seed)
