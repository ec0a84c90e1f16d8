"""The data of a fit: the rows, their units, the split, the device, the random generators."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from .._data.array_api import to_native
from .._data.dataset import Dataset, make_dataset
from .._data.device import as_array, resolve_device
from .._data.groups import RowGroups
from .._data.moments import Moments, moments
from .._data.process_group import SINGLE_PROCESS, SingleProcess
from .._losses.reconstruction import LOSSES, ReconstructionLoss
from .._nn.fitted import FittedAutoencoder
from .config import TrainingConfig
from .objective import Objective
from .pca import PrincipalComponents, principal_components


class FitParameters(Protocol):
    """The parameters of an estimator that `make_fit_data` reads."""

    loss: Any  # a name of LOSSES
    device: str
    random_state: int | np.random.RandomState | None
    early_stopping: bool
    validation_fraction: float | Literal["auto"]


class Seeds(NamedTuple):
    """One seed for each use, so that a change of one does not change the others."""

    components: int
    split: int
    weights: int
    order: int
    noise: int


@dataclass
class FitData:
    """The data of a fit: rows, held-out rows, units, device and random seeds.

    Attributes
    ----------
    X : ndarray, CSR matrix or Tensor of shape (n_samples, n_features)
        The training rows; a tensor if they are on an accelerator.
    X_input : array-like
        The training rows as the user has passed them: a NumPy array, a tensor or another array.
    rows, held_out_rows : Dataset
        Data sets that contain the training and the held-out rows, as ``(X - shift) / scale``.
    train, held_out : Tensor of int
        Indices of the training rows in `rows`, and of the held-out rows in `held_out_rows`.
    shift : ndarray of shape (n_features,)
        The number that is subtracted from each column of `X`: its mean, or 0 for log loss and
        Poisson loss.
    scale : float
        The number by which `X` is divided: the root mean square of the columns' standard
        deviations, or 1 for log loss and Poisson loss.
    moments : Moments
        Mean and standard deviation of each column, in the units of `X`.
    loss : ReconstructionLoss
        The reconstruction loss that the parameter `loss` names.
    config : TrainingConfig
        The batch size, the number of epochs, and the settings of early stopping.
    seeds : Seeds
        Seeds of the random generators.
    device : torch.device
        Where the network is trained.
    group : SingleProcess
        The processes that train one model together.
    fitted : FittedAutoencoder or None
        The network of an earlier fit, if its training is continued.
    held_out_groups : torch.Tensor or None
        The group of each held-out row, numbered from 0, if groups of rows are held out together.
    """

    X: Any
    X_input: Any
    rows: Dataset
    train: Tensor
    held_out_rows: Dataset
    held_out: Tensor
    shift: np.ndarray
    scale: float
    moments: Moments
    loss: ReconstructionLoss
    config: TrainingConfig
    seeds: Seeds
    device: torch.device
    group: SingleProcess = SINGLE_PROCESS
    fitted: FittedAutoencoder | None = None
    held_out_groups: Tensor | None = None
    objective: Objective = None  # type: ignore[assignment]  # made from all else, and set then
    _components: PrincipalComponents | None = None

    def rng(self, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a new random generator. Each call returns one with the same seed."""
        # Processes whose rows had the same noise would learn from less noise.
        return torch.Generator(device).manual_seed(self.seeds.noise + self.group.rank)

    def principal_components(self, n_components: int | float) -> PrincipalComponents:
        """Principal components of the training rows: a number of them, or a share of variance."""
        if self._components is None:
            components = principal_components(
                self.X, self.moments, n_components, self.seeds.components, self.group
            )
            # Eigenvectors may have another sign on another machine.
            self._components = self.group.broadcast(components)
        if 1 <= n_components < len(self._components.components):
            return self._components.truncate(int(n_components))
        return self._components


def make_fit_data(
    X: Any,
    X_val: Any,
    parameters: FitParameters,
    config: TrainingConfig,
    fitted: FittedAutoencoder | None = None,
    group: SingleProcess = SINGLE_PROCESS,
    groups: RowGroups | None = None,
) -> FitData:
    """Split the rows, and put them on the device in the network's units.

    The units are those of `fitted`, the network of an earlier fit, if there is one. The rows of one
    of `groups` are held out together.
    """
    X_input, X = X, to_native(X)
    random_state = check_random_state(parameters.random_state)
    seeds = Seeds(*group.broadcast(random_state.randint(2**31 - 1, size=5).tolist()))
    stats, loss = moments(X, group), LOSSES[parameters.loss]
    shift, scale = stats.mean, stats.rms_std
    if loss.degree == 0:
        shift, scale = np.zeros_like(shift), 1.0
    if fitted is not None:
        shift, scale = as_array(fitted.shift), fitted.scale.item()
    device = resolve_device(parameters.device, X_input)
    rows = held_out_rows = group.shard(make_dataset(X, shift, scale, device))
    train = held_out = torch.arange(len(rows))
    held_out_groups = None
    if X_val is not None:
        held_out_rows = group.shard(make_dataset(to_native(X_val), shift, scale, device))
        held_out = torch.arange(len(held_out_rows))
    elif parameters.early_stopping:
        if groups is not None:
            groups = RowGroups.concatenate(group.gather(groups))
        n_held_out = _n_held_out(parameters.validation_fraction, len(rows))
        train, held_out = _split(len(rows), n_held_out, groups, seeds.split)
        if groups is not None:
            of_row = groups.of_row[held_out.numpy()]  # the rows of a group follow each other
            position = np.cumsum(np.append(False, of_row[1:] != of_row[:-1]))
            held_out_groups = torch.from_numpy(position).to(device)
    return FitData(
        X, X_input, rows, train.to(device), held_out_rows, held_out.to(device),
        shift, scale, stats, loss, config, seeds, device, group, fitted, held_out_groups,
    )  # fmt: skip


def _n_held_out(fraction: float | str, n_rows: int) -> int:
    if isinstance(fraction, str):
        # With fewer than 50 rows few improvements are significant, see `Acceptance`; more than
        # 5000 are no better evidence, and take time after each epoch.
        n_held_out = min(max(0.1 * n_rows, 50), 0.25 * n_rows, 5000)
    else:
        n_held_out = fraction * n_rows
    return min(max(round(n_held_out), 1), n_rows - 1)


def _split(
    n_rows: int, n_held_out: int, groups: RowGroups | None, seed: int
) -> tuple[Tensor, Tensor]:
    """Indices of training and held-out rows, drawn at random, in a random order."""
    n_units = n_rows if groups is None else len(groups.labels)
    permutation = torch.randperm(n_units, generator=generator(seed))
    if groups is None:
        return permutation[n_held_out:], permutation[:n_held_out]
    train, held_out = groups.hold_out(n_held_out, permutation.numpy())
    return torch.from_numpy(train), torch.from_numpy(held_out)


def generator(seed: int) -> torch.Generator:
    """A random generator on the host."""
    return torch.Generator().manual_seed(seed)
