"""Epochs of several networks computed as one.

Networks whose layers are alike are laid on each other: each parameter gets a leading axis of
networks, and one batched product does for all what each would do by itself. Where codes differ in
size the smaller ones are padded with zeros, which stay zeros: nothing comes through them, and their
gradient is zero. Each network goes its own way, as alone but for the rounding.
"""

import copy
from collections import defaultdict
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from .._data.dataset import threads_for
from .._nn.autoencoder import Autoencoder
from .loop import Optimizer, split_batches, train_epoch
from .manual_backward import ManualGradient, SquaredErrorGradient


class Epoch(NamedTuple):
    """What `train_epoch` is given."""

    optimizer: Optimizer
    gradient: ManualGradient
    permutation: Tensor
    batch_size: int

    def kind(self) -> Hashable:
        """Epochs of one kind can be run together: all but the rows and the size of codes agree."""
        network, optimizer = self.gradient.network, self.optimizer
        encoder, decoder = list(network.encoder.children()), list(network.decoder.children())
        layers = tuple(type(layer) for layer in encoder + decoder)
        widths = tuple(layer.out_features for layer in encoder if isinstance(layer, nn.Linear))
        n_batches = len(split_batches(self.permutation, self.batch_size))
        n_features, device = len(network.scales.inputs), self.permutation.device
        schedule = optimizer.solver, optimizer.schedule, optimizer.n_steps
        return layers, widths[:-1], n_features, network.linear.active, device, n_batches, schedule


class Epochs:
    """Runs epochs of many networks, those of one kind together."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[Optimizer, ...], Stack] = {}

    def run(self, epochs: Sequence[Epoch]) -> list[float]:
        """The mean loss of each."""
        groups = defaultdict(list)
        for i, epoch in enumerate(epochs):
            groups[epoch.kind()].append(i)
        losses, stacks = [0.0] * len(epochs), {}
        for members in groups.values():
            group = [epochs[i] for i in members]
            if len(group) == 1:
                losses[members[0]] = train_epoch(*group[0])
                continue
            optimizers = tuple(epoch.optimizer for epoch in group)
            # The same networks as in the last epoch, unless one has stopped.
            stacks[optimizers] = self._stacks.get(optimizers) or Stack(group)
            for i, loss in zip(members, stacks[optimizers].run(group), strict=True):
                losses[i] = loss
        self._stacks = stacks
        return losses


class Stack:
    """Several networks of one kind as one."""

    def __init__(self, epochs: Sequence[Epoch]):
        cores = [epoch.gradient.network for epoch in epochs]
        self._core, first = stack_networks(cores), epochs[0].optimizer
        units = torch.tensor([[epoch.optimizer.unit] for epoch in epochs]).to(first.weights)
        self._stepper = Optimizer(self._core, first.solver, first.schedule, units, n_axes=1)
        self._squared_error = SquaredErrorGradient(self._core)
        self._places = [_places(network, self._core).to(units.device) for network in cores]
        self._take([epoch.optimizer for epoch in epochs])

    def run(self, epochs: Sequence[Epoch]) -> list[float]:
        """Run an epoch of each of the networks, and return its mean loss."""
        optimizer = self._stepper
        n_rows = [len(epoch.permutation) for epoch in epochs]
        batches = [split_batches(epoch.permutation, epoch.batch_size) for epoch in epochs]
        total = torch.zeros(len(epochs), device=optimizer.weights.device)

        def gradient(index: Sequence[Tensor]) -> Tensor:
            pairs = [epoch.gradient.batch(rows) for epoch, rows in zip(epochs, index, strict=True)]
            x = pad_sequence([x for _, x in pairs], batch_first=True)
            as_is = all(shown is x for shown, x in pairs)
            shown = x if as_is else pad_sequence([shown for shown, _ in pairs], batch_first=True)
            shares = _shares(tuple(map(len, index))).to(x)
            return self._squared_error(self._squared_error.cached_inputs(shown, x), shares)

        n_weights = optimizer.weights.numel()
        with threads_for(3.0 * n_weights * epochs[0].batch_size):
            for index in zip(*batches, strict=True):
                sizes = torch.tensor([len(rows) for rows in index], device=total.device)
                total += optimizer.step(gradient, index) * sizes
        self._give_back([epoch.optimizer for epoch in epochs])
        return (total / torch.tensor(n_rows, device=total.device)).tolist()

    def _take(self, members: Sequence[Optimizer]) -> None:
        """Begin where each of the networks stands."""
        optimizer, first = self._stepper, members[0]
        optimizer.n_steps = first.n_steps
        if first.running_norm is not None:
            optimizer.running_norm = torch.stack([cast(Tensor, m.running_norm) for m in members])
        for name, whole in optimizer.state().items():
            parts = [member.state()[name] for member in members]
            if whole.ndim == 0:  # a count, the same for all
                whole.copy_(parts[0])
                continue
            for row, places, part in zip(whole, self._places, parts, strict=True):
                row[places] = part

    def _give_back(self, members: Sequence[Optimizer]) -> None:
        """Leave each of the networks where its epoch has brought it."""
        state, norms = self._stepper.state(), cast(Tensor, self._stepper.running_norm)
        for i, (member, places) in enumerate(zip(members, self._places, strict=True)):
            member.n_steps, member.running_norm = self._stepper.n_steps, norms[i]
            for name, part in member.state().items():
                whole = state[name]
                part.copy_(whole if whole.ndim == 0 else whole[i, places])


@lru_cache(maxsize=16)
def _shares(sizes: tuple[int, ...]) -> Tensor:
    """What each row counts in the mean of its batch, (n_batches, largest size, 1)."""
    return pad_sequence([torch.full((size, 1), 1 / size) for size in sizes], batch_first=True)


def stack_networks(cores: Sequence[Autoencoder]) -> Autoencoder:
    """One network with a leading axis of networks in each tensor; see `_gradients.py`."""
    whole = copy.deepcopy(cores[0])
    states = [network.state_dict(keep_vars=True) for network in cores]
    for name, tensor in states[0].items():
        tensors = [state[name].detach() for state in states]
        shape = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
        padded = torch.stack([_padded(t, shape) for t in tensors])
        if tensor.ndim == 1:
            padded = padded.unsqueeze(1)
        module, _, attribute = name.rpartition(".")
        learned = isinstance(tensor, nn.Parameter)
        setattr(whole.get_submodule(module), attribute, nn.Parameter(padded) if learned else padded)
    return whole


def _padded(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The tensor with zeros at the end of each axis, up to a shape."""
    missing = [wanted - size for wanted, size in zip(shape, tensor.shape, strict=True)]
    return pad(tensor, [n for last in reversed(missing) for n in (0, last)])


def _places(network: Autoencoder, whole: Autoencoder) -> Tensor:
    """Where the weights of a network lie in its row of the weights of the whole."""
    places, start = [], 0
    for part, all_parts in zip(network.parameters(), whole.parameters(), strict=True):
        shape = all_parts.shape[-part.ndim :]
        numbers = torch.arange(start, start + shape.numel()).view(shape)
        places.append(numbers[tuple(slice(size) for size in part.shape)].flatten())
        start += shape.numel()
    return torch.cat(places)
