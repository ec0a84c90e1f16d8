"""Processes that learn one model together, each from rows of its own, over `torch.distributed`.

What a fit says of all rows goes through here: sums of what each rank knows of its own. A process
without others is `ALONE`, whose sums are what it has, to the bit.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from .dataset import Dataset


class SingleProcess:
    """A process that has all the rows."""

    rank, size = 0, 1
    interrupted = False

    def gather(self, value: Any) -> list[Any]:
        """The value of each rank, in their order; for what is small."""
        return [value]

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0."""
        return value

    def all_reduce_array(self, values: np.ndarray) -> np.ndarray:
        """The sum over the ranks."""
        return values

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over the ranks, in place."""
        return values

    def broadcast_module(self, module: nn.Module) -> None:
        """Give a module the weights and buffers that it has at rank 0."""

    def shard(self, rows: Dataset) -> Dataset:
        """The rows of all ranks, counted through; see `ShardedDataset`."""
        return rows

    def callback(self, callback: Any) -> Any:
        """One that ends the training on all ranks if it wants to end it on one."""
        return callback

    @contextmanager
    def synchronize_errors(self) -> Iterator[None]:
        """Raise on every rank if the body raises on one; it may not talk with the others."""
        yield

    def __deepcopy__(self, memo: dict) -> Self:
        return self  # who is there is no part of what is copied


SINGLE_PROCESS = SingleProcess()


class ProcessGroup(SingleProcess):
    """The processes of the default process group, connected anew for one fit.

    A fit that fails leaves the connection: the others, who wait for it, are told at once, and the
    user's own group is as before.
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

    def gather(self, value: Any) -> list[Any]:
        values = [None] * self.size
        self._call(dist.all_gather_object, values, value, group=self._group)
        return values

    def broadcast(self, value: Any) -> Any:
        values = [value]
        self._call(dist.broadcast_object_list, values, src=0, group=self._group)
        return values[0]

    def all_reduce_array(self, values: np.ndarray) -> np.ndarray:
        return self.all_reduce(torch.from_numpy(np.array(values))).numpy()

    def all_reduce(self, values: Tensor) -> Tensor:
        sent = values.to(self._near(values.device))
        self._call(dist.all_reduce, sent, group=self._group)
        return values.copy_(sent)

    def broadcast_module(self, module: nn.Module) -> None:
        with torch.no_grad():
            for values in [*module.parameters(), *module.buffers()]:
                sent = values.detach().to(self._near(values.device)).contiguous()
                self._call(dist.broadcast, sent, src=0, group=self._group)
                values.copy_(sent)

    def shard(self, rows: Dataset) -> Dataset:
        return ShardedDataset(rows, self)

    def callback(self, callback: Any) -> Any:
        return _Agreed(callback, self)

    @contextmanager
    def synchronize_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.gather(f"{type(error).__name__}: {error}")
            raise
        for rank, text in enumerate(self.gather(None)):
            if text is not None:
                raise ValueError(f"rank {rank} of {self.size} cannot take part: {text}")

    def _near(self, device: torch.device) -> torch.device:
        """Where the backend takes what lies on a device."""
        if device.type in self._devices:
            return device
        return torch.device("cpu" if "cpu" in self._devices else self._devices[0])

    def _call(self, collective: Callable, *args: Any, **options: Any) -> Any:
        try:
            return collective(*args, **options)
        except RuntimeError as error:  # those of torch.distributed derive from it
            raise RuntimeError(
                f"rank {self.rank} of {self.size} is without the others: one of them has raised an "
                f"error or has ended, see its own output, or did not answer within {self._timeout}."
            ) from error


@contextmanager
def process_group() -> Iterator[SingleProcess]:
    """All processes of the default group, if there is one, for a fit by all of them."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        yield SINGLE_PROCESS
        return
    group = ProcessGroup()
    try:
        with _interrupts_wait(group):
            yield group
            late = any(group.gather(group.interrupted))  # nobody leaves before all have learned
    finally:
        group.close()
    if late:
        raise KeyboardInterrupt


def refuse_process_group(name: str) -> None:
    """Raise if there is a process group: what is to come sees the rows of one process only."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        raise ValueError(
            f"{name} does not learn from the rows of several processes: call it without a process "
            "group, before `torch.distributed.init_process_group` or after "
            "`destroy_process_group`. Autoencoders do."
        )


def check_same_on_all_ranks(group: SingleProcess, values: dict[str, Any]) -> None:
    """Raise on every rank unless each of the named values is the same on all of them."""
    first, *others = group.gather(values)
    for rank, other in enumerate(others, 1):
        for name, value in first.items():
            if (its := other.get(name)) != value:
                raise ValueError(
                    f"{name} must be the same on all ranks, got {value!r} on rank 0 and {its!r} "
                    f"on rank {rank}."
                )


class ShardedDataset(Dataset):
    """The rows of all ranks: those of rank 0 are counted first, then those of rank 1, and so on."""

    def __init__(self, rows: Dataset, group: ProcessGroup):
        counts = group.gather(len(rows))
        self._rows, self._ranks = rows, group
        self._begin, self._end = sum(counts[: group.rank]), sum(counts[: group.rank + 1])
        self._n_rows = sum(counts)

    def __len__(self) -> int:
        return self._n_rows

    def here(self, index: Tensor) -> Tensor:
        return index[self._is_here(index)] - self._begin

    def take(self, index: Tensor) -> Tensor:
        here = self.here(index)
        # A batch without a row is nothing that objectives, or a user's modules, expect.
        return self._rows.take(here if len(here) else index.new_zeros(1))

    def everywhere(self, index: Tensor) -> Tensor:
        return self.gathered(index, [self._rows.take(self.here(index))])

    def gathered(self, index: Tensor, parts: list[Tensor]) -> Tensor:
        own = torch.cat(parts) if parts else torch.zeros(0, device=index.device)
        values = own.new_zeros(len(index), *own.shape[1:])
        values[self._is_here(index)] = own
        return self._ranks.all_reduce(values)

    def over_ranks(
        self, network: nn.Module, gradient: Callable[[Tensor], Tensor]
    ) -> Callable[[Tensor], Tensor]:
        def mean(index: Tensor) -> Tensor:
            loss, n_here = gradient(index), int(self._is_here(index).sum())
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            own = torch.cat([*(part.reshape(-1) for part in gradients), loss.reshape(1)])
            # Not times zero, as the row that stands in for none may be far out.
            own = own * (n_here / len(index)) if n_here else own.zero_()
            whole, mean_loss = self._ranks.all_reduce(own).split([len(own) - 1, 1])
            pieces = whole.split([part.numel() for part in gradients])
            for part, piece in zip(gradients, pieces, strict=True):
                part.copy_(piece.view_as(part))
            return mean_loss[0]

        return mean

    def _is_here(self, index: Tensor) -> Tensor:
        return (index >= self._begin) & (index < self._end)


class _Agreed:
    """An observer that ends the training after the same epoch everywhere."""

    def __init__(self, callback: Any, group: ProcessGroup):
        self._observer, self._ranks = callback, group

    def epoch_begins(self) -> None:
        self._observer.epoch_begins()

    def epoch_ends(self, history: Any, kept: Callable) -> bool:
        stopped = bool(self._observer.epoch_ends(history, kept))
        wishes = self._ranks.gather((stopped, self._ranks.interrupted))
        if any(interrupted for _, interrupted in wishes):
            self._ranks.interrupted = False  # no longer: it is answered
            raise KeyboardInterrupt
        return any(stopped for stopped, _ in wishes)


@contextmanager
def _interrupts_wait(group: ProcessGroup) -> Iterator[None]:
    """Let an interrupt wait for the end of the epoch, when all ranks hear of it; a second does not.

    At another moment it would leave the others in the middle of a sum.
    """
    in_charge = threading.current_thread() is threading.main_thread()
    if not in_charge or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def wait(*_: object) -> None:
        group.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _timeout() -> timedelta | None:
    """That of the user's group, which a new group does not take over by itself."""
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    group: Any = dist.group.WORLD
    try:
        return group._get_backend(device).options._timeout  # there is no public name
    except (AttributeError, RuntimeError):
        return None
