"""The data of a fit: the rows, their units, the split, the device, the random generators."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from .._data.allocator import keep_freed_memory
from .._data.array_api import to_native
from .._data.dataset import Dataset, make_dataset
from .._data.device import as_array, resolve_device
from .._data.groups import RowGroups
from .._data.moments import Moments, moments
from .._data.process_group import SINGLE_PROCESS, SingleProcess
from .._data.sample_weight import WeightedRows
from .._data.targets import Targets
from .._losses.reconstruction import ReconstructionLoss
from .._nn.fitted import FittedAutoencoder
from .config import TrainingConfig
from .objective import Objective
from .pca import PrincipalComponents, principal_components

# Of more rows, PCA is nearly the same with and without the held-out ones.
MAX_ROWS_OF_OWN_PCA = 2000


class FitParameters(Protocol):
    """The parameters of an estimator that `make_fit_data` reads."""

    device: str
    random_state: int | np.random.RandomState | None
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
    weights : ndarray of shape (n_samples,) or None
        The weight of each row of `X`, or None if all are equal. Those above zero have the mean one.
    held_out_weights : Tensor or None
        The weight of each held-out row. Their mean is one.
    n_rows : int
        The number of rows with a weight above zero, of all processes.
    n_samples : int
        The number of rows that their weights stand for.
    targets : Targets or None
        The targets of the rows of `X` and of `X_val`, for objectives that predict them.
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
    weights: np.ndarray | None = None
    held_out_weights: Tensor | None = None
    n_rows: int = 0
    n_samples: int = 0
    targets: Targets | None = None
    objective: Objective = None  # type: ignore[assignment]  # made from all else, and set then
    # A network, and its codes of all rows with a weight above zero, before they are rotated.
    codes_of: tuple[FittedAutoencoder, Tensor] | None = None
    _components: PrincipalComponents | None = None
    _all_weights: Tensor | None = None  # of the rows of all processes, in host memory

    def rng(self, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a new random generator. Each call returns one with the same seed."""
        # Processes whose rows had the same noise would learn from less noise.
        return torch.Generator(device).manual_seed(self.seeds.noise + self.group.rank)

    def epoch(self, rng: torch.Generator) -> Tensor:
        """Return the training rows in a random order; the expected number of each is its weight.

        Systematic sampling: the number of a row differs from its weight by less than one. A loss
        that is the mean over the drawn rows needs no weights, and large weights are no large steps.
        """
        order = torch.randperm(len(self.train), generator=rng)
        ends = self._ends_of_weights(self.train.cpu()[order])
        if ends is not None:
            # The offset is rounded to float32, so that sums with it are less than the next integer.
            counts = (ends + torch.rand(1, generator=rng)).long().diff(prepend=order.new_zeros(1))
            order = order.repeat_interleave(counts)
            order = order[torch.randperm(len(order), generator=rng)]
        return self.train[order.to(self.device)]

    def by_weight(self, index: Tensor, positions: Tensor) -> Tensor:
        """Return entries of an index of rows by position, if each were as long as its weight."""
        ends = self._ends_of_weights(index.cpu())
        if ends is not None:
            positions = torch.searchsorted(ends, positions.cpu() + 0.5, right=True)
        return index[positions.to(index.device)]

    def _ends_of_weights(self, index: Tensor) -> Tensor | None:
        """The sum of the weights of rows up to each, with the mean one; None if all are equal."""
        if self._all_weights is None or self._all_weights[index].unique().numel() == 1:
            return None
        ends = self._all_weights[index].cumsum(0)
        ends *= len(index) / ends[-1]
        ends[-1] = len(index)  # without rounding errors
        return ends

    def principal_components(self, n_components: int | float) -> PrincipalComponents:
        """Principal components of the training rows: a number of them, or a share of variance."""
        if self._components is None:
            components = principal_components(
                self.X,
                self.moments,
                n_components,
                self.seeds.components,
                self.group,
                self.weights,
            )
            # Eigenvectors may have another sign on another machine.
            self._components = self.group.broadcast(components)
        if 1 <= n_components < len(self._components.components):
            return self._components.truncate(int(n_components))
        return self._components

    def without_held_out(self, n_components: int) -> "FitData | None":
        """The same data with the PCA of the training rows; None if that is (nearly) PCA of all."""
        n_rows, n_train = len(self.rows), len(self.train)
        are_held_out = self.held_out_rows is self.rows and n_train + len(self.held_out) <= n_rows
        if not are_held_out or n_rows > MAX_ROWS_OF_OWN_PCA or self.fitted is not None:
            return None
        weights, train = np.zeros(self.X.shape[0]), self.rows.local_index(self.train).cpu().numpy()
        weights[train] = 1.0 if self.weights is None else self.weights[train]
        arguments = self.X, self.moments, n_components, self.seeds.components, self.group, weights
        own = self.group.broadcast(principal_components(*arguments))
        if own.is_exact:
            return None
        # The inputs of the encoder stay whitened by all rows.
        components = self.principal_components(n_components)._replace(
            components=own.components, code_std=own.code_std, residual_std=own.residual_std
        )
        return replace(self, _components=components)


def make_fit_data(
    given: WeightedRows,
    X_val: Any,
    parameters: FitParameters,
    loss: ReconstructionLoss,
    config: TrainingConfig,
    fitted: FittedAutoencoder | None = None,
    group: SingleProcess = SINGLE_PROCESS,
    *,
    holds_out: bool = False,
) -> FitData:
    """Split the rows, and put them on the device in the network's units.

    The units are those of `fitted`, the network of an earlier fit, if there is one. If `holds_out`
    and there are no `X_val`, some rows are held out, those of a group together.
    """
    keep_freed_memory()
    X = given.X
    random_state = check_random_state(parameters.random_state)
    seeds = Seeds(*group.broadcast(random_state.randint(2**31 - 1, size=5).tolist()))
    stats = moments(X, group, given.weights)
    shift, scale = stats.mean, stats.rms_std
    if loss.degree == 0:
        shift, scale = np.zeros_like(shift), 1.0
    if fitted is not None:
        shift, scale = as_array(fitted.shift), fitted.scale.item()
    device = resolve_device(parameters.device, given.X_input)
    rows = held_out_rows = group.shard(make_dataset(X, shift, scale, device))
    weights = None if given.weights is None else np.concatenate(group.gather(given.weights))
    train = torch.arange(len(rows)) if weights is None else torch.from_numpy(weights.nonzero()[0])
    held_out = train
    held_out_groups = held_out_weights = None
    if X_val is not None:
        held_out_rows = group.shard(make_dataset(to_native(X_val), shift, scale, device))
        held_out = torch.arange(len(held_out_rows))
    elif holds_out:
        groups = given.groups
        if groups is not None:
            groups = RowGroups.concatenate(group.gather(groups)).take(train.numpy())
        n_held_out = _n_held_out(parameters.validation_fraction, len(train))
        split = _split(len(train), n_held_out, groups, seeds.split)
        if groups is not None:
            of_row = groups.of_row[split[1].numpy()]  # the rows of a group follow each other
            position = np.cumsum(np.append(False, of_row[1:] != of_row[:-1]))
            held_out_groups = torch.from_numpy(position).to(device)
        train, held_out = train[split[0]], train[split[1]]
    if weights is not None and X_val is None:
        held_out_weights = torch.from_numpy(weights)[held_out]
        held_out_weights = (held_out_weights / held_out_weights.mean()).to(device, torch.float32)
    return FitData(
        X, given.X_input, rows, train.to(device), held_out_rows, held_out.to(device),
        shift, scale, stats, loss, config, seeds, device, group, fitted, held_out_groups,
        given.weights, held_out_weights, given.n_rows, given.n_samples, given.targets,
        _all_weights=None if weights is None else torch.from_numpy(weights),
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
