"""Process groups of `torch.distributed`: processes that fit one model, each to its own rows.

A fit uses all rows through the collectives here: sums over the ranks of values that each rank
computes from its own rows. Without a process group, `SINGLE_PROCESS` returns the values of the only
process unchanged, so results are bitwise identical to those without collectives.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from .dataset import Dataset

T = TypeVar("T")


class Callback(Protocol):
    """A callback of the training loop that is called for each epoch and may end the training."""

    def on_epoch_begin(self) -> None:
        """Called before the first step of an epoch."""

    def on_epoch_end(self, history: Any, get_weights: Callable[[], Any], /) -> bool:
        """Whether to stop after this epoch."""


class SingleProcess:
    """A process that has all rows."""

    rank, size = 0, 1
    interrupted = False

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in the order of the ranks; for small values."""
        return [value]

    def broadcast(self, value: T) -> T:
        """The value of rank 0."""
        return value

    def all_reduce_array(self, values: np.ndarray) -> np.ndarray:
        """The sum over the ranks."""
        return values

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over the ranks, in place."""
        return values

    def broadcast_module(self, module: nn.Module) -> None:
        """Copy the weights and buffers of rank 0 into a module."""

    def shard(self, rows: Dataset) -> Dataset:
        """The rows of all ranks as one data set, from those of each; see `ShardedDataset`."""
        return rows

    def callback(self, callback: Callback) -> Callback:
        """A callback that ends the training on all ranks if `callback` ends it on one of them."""
        return callback

    @contextmanager
    def synchronize_errors(self) -> Iterator[None]:
        """Raise on every rank if the body raises on one; the body must use no collectives."""
        yield

    def __deepcopy__(self, memo: dict) -> Self:
        return self  # a copy of a module stays in the group of its processes


SINGLE_PROCESS = SingleProcess()


class ProcessGroup(SingleProcess):
    """The processes of the default process group, connected by a new group for one fit.

    If a fit fails on one rank, its new group is closed, which raises an error at once on the ranks
    that wait for it; the default group stays as it was.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._timeout = _timeout()
        self._devices = [name.split(":")[0] for name in dist.get_backend_config().split(",")]
        self._group: Any = None
        self._group = self._call(dist.new_group, timeout=self._timeout)

    def close(self) -> None:
        """Close the connection."""
        group, self._group = self._group, None
        dist.destroy_process_group(group)

    def gather(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.size
        self._call(dist.all_gather_object, values, value, group=self._group)
        return values

    def broadcast(self, value: T) -> T:
        values = [value]
        self._call(dist.broadcast_object_list, values, src=0, group=self._group)
        return values[0]

    def all_reduce_array(self, values: np.ndarray) -> np.ndarray:
        return self.all_reduce(torch.from_numpy(np.array(values))).numpy()

    def all_reduce(self, values: Tensor) -> Tensor:
        sent = values.to(self._backend_device(values.device))
        self._call(dist.all_reduce, sent, group=self._group)
        return values.copy_(sent)

    def broadcast_module(self, module: nn.Module) -> None:
        with torch.no_grad():
            for values in [*module.parameters(), *module.buffers()]:
                sent = values.detach().to(self._backend_device(values.device)).contiguous()
                self._call(dist.broadcast, sent, src=0, group=self._group)
                values.copy_(sent)

    def shard(self, rows: Dataset) -> Dataset:
        return ShardedDataset(rows, self)

    def callback(self, callback: Callback) -> Callback:
        return _SynchronizedCallback(callback, self)

    @contextmanager
    def synchronize_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.gather(f"{type(error).__name__}: {error}")
            raise
        for rank, text in enumerate(self.gather(None)):
            if text is not None:
                raise ValueError(f"rank {rank} of {self.size} raised {text}")

    def _backend_device(self, device: torch.device) -> torch.device:
        """The device from which the backend sends a tensor: its own, if the backend supports it."""
        if device.type in self._devices:
            return device
        return torch.device("cpu" if "cpu" in self._devices else self._devices[0])

    def _call(self, collective: Callable[..., T], *args: Any, **options: Any) -> T:
        try:
            return collective(*args, **options)
        except RuntimeError as error:  # the base of the errors of torch.distributed
            raise RuntimeError(
                f"rank {self.rank} of {self.size} has lost the other ranks: one of them has raised "
                f"an error or ended, see its output, or did not answer within {self._timeout}."
            ) from error


@contextmanager
def process_group() -> Iterator[SingleProcess]:
    """The processes of the default group, for one fit, or the single process without a group."""
    if not _has_default_group():
        yield SINGLE_PROCESS
        return
    group = ProcessGroup()
    try:
        with _defer_interrupt(group):
            yield group
            # Also a barrier: no rank closes its group before all have finished.
            interrupted = any(group.gather(group.interrupted))
    finally:
        group.close()
    if interrupted:
        raise KeyboardInterrupt


def refuse_process_group(name: str) -> None:
    """Raise if there is a process group, for a fit that uses the rows of one process only."""
    if _has_default_group():
        raise ValueError(
            f"{name} supports a single process only, got a process group: call it before "
            "`torch.distributed.init_process_group` or after `destroy_process_group`. "
            "Autoencoders support several processes."
        )


def check_same_on_all_ranks(group: SingleProcess, values: dict[str, Any]) -> None:
    """Raise on every rank unless each of the named values is the same on all of them."""
    first, *others = group.gather(values)
    for rank, other in enumerate(others, 1):
        for name, value in first.items():
            if other.get(name) != value:
                raise ValueError(
                    f"{name} must be the same on all ranks, got {value!r} on rank 0 and "
                    f"{other.get(name)!r} on rank {rank}."
                )


def _has_default_group() -> bool:
    """Whether there is a process group of several processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class ShardedDataset(Dataset):
    """The rows of all ranks; an index counts those of rank 0 first, then those of rank 1, etc."""

    def __init__(self, rows: Dataset, group: ProcessGroup) -> None:
        counts = group.gather(len(rows))
        self._rows, self._group = rows, group
        self._begin, self._end = sum(counts[: group.rank]), sum(counts[: group.rank + 1])
        self._n_rows = sum(counts)

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, index: Tensor) -> Tensor:
        local = self.local_index(index)
        # Neither objectives nor the modules of a user expect a batch without rows.
        return self._rows[local if len(local) else index.new_zeros(1)]

    def local_index(self, index: Tensor) -> Tensor:
        return index[self._is_local(index)] - self._begin

    def all_gather_rows(self, index: Tensor) -> Tensor:
        return self.all_gather_values(index, self._rows[self.local_index(index)])

    def all_gather_values(self, index: Tensor, local_values: Tensor) -> Tensor:
        values = local_values.new_zeros(len(index), *local_values.shape[1:])
        values[self._is_local(index)] = local_values
        return self._group.all_reduce(values)

    def all_reduce_gradient(
        self, network: nn.Module, gradient: Callable[[Tensor], Tensor]
    ) -> Callable[[Tensor], Tensor]:
        def mean_gradient(index: Tensor) -> Tensor:
            loss, n_local = gradient(index), int(self._is_local(index).sum())
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            own = torch.cat([*(part.reshape(-1) for part in gradients), loss.reshape(1)])
            # Not times zero: the loss of the row in place of an empty batch need not be finite.
            own = own * (n_local / len(index)) if n_local else own.zero_()
            mean, mean_loss = self._group.all_reduce(own).split([len(own) - 1, 1])
            pieces = mean.split([part.numel() for part in gradients])
            for part, piece in zip(gradients, pieces, strict=True):
                part.copy_(piece.view_as(part))
            return mean_loss[0]

        return mean_gradient

    def _is_local(self, index: Tensor) -> Tensor:
        return (index >= self._begin) & (index < self._end)


class _SynchronizedCallback:
    """A callback that ends the training after the same epoch on all ranks."""

    def __init__(self, callback: Callback, group: ProcessGroup) -> None:
        self._callback, self._group = callback, group

    def on_epoch_begin(self) -> None:
        self._callback.on_epoch_begin()

    def on_epoch_end(self, history: Any, get_weights: Callable[[], Any]) -> bool:
        stop = bool(self._callback.on_epoch_end(history, get_weights))
        ranks = self._group.gather((stop, self._group.interrupted))
        if any(interrupted for _, interrupted in ranks):
            self._group.interrupted = False  # handled by the KeyboardInterrupt below
            raise KeyboardInterrupt
        return any(stop for stop, _ in ranks)


@contextmanager
def _defer_interrupt(group: ProcessGroup) -> Iterator[None]:
    """Defer an interrupt to the end of the epoch, when all ranks handle it; a second is immediate.

    An immediate interrupt would leave the other ranks waiting in the middle of a collective.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def defer(*_: object) -> None:
        group.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, defer)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _timeout() -> timedelta | None:
    """The timeout of the default group, which a new group does not inherit."""
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    group: Any = dist.group.WORLD
    try:
        return group._get_backend(device).options._timeout  # there is no public name
    except (AttributeError, RuntimeError):
        return None
