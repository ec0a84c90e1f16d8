"""The number of threads that torch and BLAS use."""

import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

from .held_setting import HeldSetting

# Below this many multiply-adds a step, or a block of rows, there is a single thread. Each operation
# of several threads waits for the slowest. With four busy processes on two cores, two threads took
# 3 to 6 x the time of one at 2e8 to 1e9 multiply-adds a step, and 2.5 x at 4e9; on a quiet machine
# they gained at most 1.4 x at 5e7. A single thread also gives the same bits under any `n_jobs`.
MULTITHREADING_MIN_FLOPS = 2_000_000_000


@cache
def _libraries() -> ThreadpoolController:
    """The loaded libraries that start threads; a search for them takes 3 ms.

    One search is enough: the libraries that this package uses are loaded with it.
    """
    return ThreadpoolController()


class _OneThread(HeldSetting):
    """One thread in torch and BLAS as long as any thread of Python is within the context.

    BLAS has one limit for all threads of Python. Torch has one for each, and a new thread of Python
    inherits the limit that was set last. So the first to enter records both limits, each thread
    restores its own limit of torch, and the last to leave restores that of BLAS.
    """

    _limits: Any = None
    _threads_of_fork = 1

    def __init__(self) -> None:
        if hasattr(os, "register_at_fork"):
            # First, so that these are called while the fork holds the lock.
            os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork)
        super().__init__()

    def _hold(self) -> None:
        self._torch_threads = torch.get_num_threads()
        self._limits = _libraries().limit(limits=1)

    def _restore(self) -> None:
        if self._limits is not None:
            self._limits.restore_original_limits()
            self._limits = None

    def _enter_thread(self) -> None:
        torch.set_num_threads(1)

    def _leave_thread(self) -> None:
        torch.set_num_threads(self._torch_threads)

    def _before_fork(self) -> None:
        """Let torch have no threads that it starts again in the child.

        Torch starts them in a hook of its own. The start of a thread may wait for a lock of the C
        library that another thread of the parent held.
        """
        self._threads_of_fork = torch.get_num_threads()
        if self._threads_of_fork > 1:
            torch.set_num_threads(1)

    def _after_fork(self) -> None:
        if self._threads_of_fork > 1:
            torch.set_num_threads(self._threads_of_fork)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        # A child that is forked after torch has used several threads waits for threads that do not
        # exist in the child; with a single thread it waits for none (pytorch issue 17199).
        torch.set_num_threads(1)
        self._torch_threads = 1


_ONE_THREAD = _OneThread()


def threads_for(multiply_adds: float) -> AbstractContextManager[None]:
    """Return a context of one thread for small work, of the caller's threads for large work."""
    return nullcontext() if multiply_adds >= MULTITHREADING_MIN_FLOPS else _ONE_THREAD
