"""Epochs of several networks computed as one.

Networks with equal layers are stacked: each parameter gets a leading axis of networks, and one
batched product replaces a product of each network. Where codes differ in size, the smaller ones are
padded with zeros, whose gradients are zero. The networks share no weights: each is trained as it
would be alone, except for rounding errors.
"""

import copy
from collections import defaultdict
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .._data.threads import threads_for
from .._nn.autoencoder import Autoencoder
from .loop import Optimizer, split_batches, train_epoch
from .manual_backward import ManualGradient, SquaredErrorGradient, layers_of


def can_be_batched(gradient: object) -> bool:
    """Whether epochs with this gradient can be computed with those of other networks."""
    return (
        isinstance(gradient, ManualGradient)
        and not gradient.projects
        and gradient.dtype == torch.float32
        and all(parameter.requires_grad for parameter in gradient.network.parameters())
    )


class Epoch(NamedTuple):
    """The arguments of `train_epoch`."""

    optimizer: Optimizer
    gradient: ManualGradient
    permutation: Tensor
    batch_size: int

    def batch_key(self) -> Hashable:
        """Epochs with equal keys can be batched: only rows and sizes of codes may differ."""
        network, optimizer = self.gradient.network, self.optimizer
        encoder, decoder = layers_of(network.encoder), layers_of(network.decoder)
        types = tuple(type(layer) for layer in encoder + decoder)
        names = tuple(name for name, _ in network.named_parameters())
        widths = tuple(layer.out_features for layer in encoder if isinstance(layer, nn.Linear))
        return (
            types,
            names,
            widths[:-1],
            len(network.scales.inverse_input_scale),
            network.pca_path.active,
            self.permutation.device,
            len(split_batches(self.permutation, self.batch_size)),
            (optimizer.solver, optimizer.schedule, optimizer.n_steps, optimizer.epsilon),
        )


class EpochBatcher:
    """Computes epochs of many networks, those with equal keys together."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[tuple[Optimizer, int], ...], NetworkStack] = {}

    def run(self, epochs: Sequence[Epoch]) -> list[float]:
        """Train each network for an epoch and return the mean losses."""
        groups = defaultdict(list)
        for i, epoch in enumerate(epochs):
            groups[epoch.batch_key()].append(i)
        losses, stacks = [0.0] * len(epochs), {}
        for members in groups.values():
            group = [epochs[i] for i in members]
            if len(group) == 1:
                losses[members[0]] = train_epoch(*group[0])
                continue
            optimizers = (epoch.optimizer for epoch in group)
            # The same networks as in the epoch before, unless one has stopped, or continues with
            # the best weights in its next stage.
            key = tuple((optimizer, optimizer.n_restarts) for optimizer in optimizers)
            stacks[key] = self._stacks.get(key) or NetworkStack(group)
            for i, loss in zip(members, stacks[key].run(group), strict=True):
                losses[i] = loss
        self._stacks = stacks
        return losses


class NetworkStack:
    """Several networks as one."""

    def __init__(self, epochs: Sequence[Epoch]):
        networks = [epoch.gradient.network for epoch in epochs]
        self._network, first = stack_networks(networks), epochs[0].optimizer
        loss_scales = torch.tensor([[epoch.optimizer.loss_scale] for epoch in epochs])
        loss_scales = loss_scales.to(first.weights)
        self._optimizer = Optimizer(
            self._network, first.solver, first.schedule, loss_scales, 1, first.epsilon
        )
        self._squared_error = SquaredErrorGradient(self._network)
        self._positions = [
            _positions(network, self._network).to(loss_scales.device) for network in networks
        ]
        self._gather([epoch.optimizer for epoch in epochs])

    def run(self, epochs: Sequence[Epoch]) -> list[float]:
        """Train each network for an epoch and return the mean losses."""
        optimizer = self._optimizer
        n_rows = [len(epoch.permutation) for epoch in epochs]
        batches = [split_batches(epoch.permutation, epoch.batch_size) for epoch in epochs]
        total = torch.zeros(len(epochs), device=optimizer.weights.device)

        def gradient(index: Sequence[Tensor]) -> Tensor:
            pairs = [epoch.gradient.batch(rows) for epoch, rows in zip(epochs, index, strict=True)]
            targets = pad_sequence([target for _, target in pairs], batch_first=True)
            if all(network_input is target for network_input, target in pairs):
                inputs = targets
            else:
                inputs = pad_sequence([network_input for network_input, _ in pairs], True)
            weights = _row_weights(tuple(map(len, index))).to(targets)
            cached_inputs = self._squared_error.cached_inputs(inputs, targets)
            return self._squared_error(cached_inputs, weights)

        n_weights = optimizer.weights.numel()
        with threads_for(3.0 * n_weights * epochs[0].batch_size):
            for index in zip(*batches, strict=True):
                sizes = torch.tensor([len(rows) for rows in index], device=total.device)
                total += optimizer.step(gradient, index) * sizes
        self._scatter([epoch.optimizer for epoch in epochs])
        return (total / torch.tensor(n_rows, device=total.device)).tolist()

    def _gather(self, members: Sequence[Optimizer]) -> None:
        """Copy the states of all networks into the stack."""
        optimizer, first = self._optimizer, members[0]
        optimizer.n_steps = first.n_steps
        if first.running_norm is not None:
            optimizer.running_norm = torch.stack([cast(Tensor, m.running_norm) for m in members])
        for name, stacked in optimizer.state().items():
            parts = [member.state()[name] for member in members]
            if stacked.ndim == 0:  # a count, equal for all
                stacked.copy_(parts[0])
                continue
            for row, positions, part in zip(stacked, self._positions, parts, strict=True):
                row[positions] = part

    def _scatter(self, members: Sequence[Optimizer]) -> None:
        """Copy the states in the stack back to the networks."""
        state, norms = self._optimizer.state(), cast(Tensor, self._optimizer.running_norm)
        for i, (member, positions) in enumerate(zip(members, self._positions, strict=True)):
            member.n_steps, member.running_norm = self._optimizer.n_steps, norms[i]
            for name, part in member.state().items():
                stacked = state[name]
                part.copy_(stacked if stacked.ndim == 0 else stacked[i, positions])


@lru_cache(maxsize=16)
def _row_weights(sizes: tuple[int, ...]) -> Tensor:
    """The weight of each row in the mean of its batch, (n_networks, largest size, 1)."""
    return pad_sequence([torch.full((size, 1), 1 / size) for size in sizes], batch_first=True)


def stack_networks(networks: Sequence[Autoencoder]) -> Autoencoder:
    """One network with a leading axis of networks; see `manual_backward`."""
    stacked = copy.deepcopy(networks[0])
    states = [network.state_dict(keep_vars=True) for network in networks]
    for name, first in states[0].items():
        tensors = [state[name].detach() for state in states]
        shape = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
        padded = torch.stack([_padded(t, shape) for t in tensors])
        if first.ndim == 1:
            padded = padded.unsqueeze(1)
        module, _, attribute = name.rpartition(".")
        is_parameter = isinstance(first, nn.Parameter)
        value = nn.Parameter(padded) if is_parameter else padded
        setattr(stacked.get_submodule(module), attribute, value)
    return stacked


def _padded(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The tensor with zeros at the end of each axis, up to a shape."""
    padded = tensor.new_zeros(tuple(shape))
    padded[tuple(slice(n) for n in tensor.shape)] = tensor
    return padded


def _positions(network: Autoencoder, stacked: Autoencoder) -> Tensor:
    """The positions of a network's weights in its row of the stacked weights."""
    positions, start = [], 0
    for parameter, padded in zip(network.parameters(), stacked.parameters(), strict=True):
        shape = padded.shape[-parameter.ndim :]
        numbers = torch.arange(start, start + shape.numel()).view(shape)
        positions.append(numbers[tuple(slice(size) for size in parameter.shape)].flatten())
        start += shape.numel()
    return torch.cat(positions)
