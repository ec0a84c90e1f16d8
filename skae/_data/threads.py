"""The number of threads that torch and BLAS use."""

import os
import threading
from contextlib import AbstractContextManager, nullcontext

import torch
from threadpoolctl import threadpool_limits

# Below this many multiply-adds a step, a second thread gained at most 1.4 x on a quiet machine and
# cost 3 x on a busy one; a fixed single thread also gives the same bits under any `n_jobs`.
MULTITHREADING_MIN_FLOPS = 50_000_000

# A child that is forked after torch has used several threads waits for threads that do not exist
# in the child; with a single thread it waits for none (pytorch issue 17199).
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class _OneThread:
    """One thread in torch and BLAS as long as any thread of Python is within the context.

    BLAS has one limit for all threads of Python. Torch has one for each, and a new thread of Python
    inherits the limit that was set last. So the first to enter records both limits, each thread
    restores its own limit of torch, and the last to leave restores that of BLAS.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_entered = 0
        self._own = threading.local()  # `depth`: how often this thread of Python has entered

    def __enter__(self) -> None:
        with self._lock:
            if self._n_entered == 0:
                self._torch_threads = torch.get_num_threads()
                self._limits = threadpool_limits(1)
            self._n_entered += 1
            self._own.depth = getattr(self._own, "depth", 0) + 1
            torch.set_num_threads(1)

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._n_entered -= 1
            if self._n_entered == 0:
                self._limits.restore_original_limits()
            self._own.depth -= 1
            if self._own.depth == 0:
                torch.set_num_threads(self._torch_threads)


_ONE_THREAD = _OneThread()


def threads_for(multiply_adds: float) -> AbstractContextManager[None]:
    """Return a context of one thread for small work, of the caller's threads for large work."""
    return nullcontext() if multiply_adds >= MULTITHREADING_MIN_FLOPS else _ONE_THREAD
