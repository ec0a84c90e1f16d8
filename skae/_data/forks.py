"""Safe forks while other threads are running, which do not exist in the child process.

A lock that such a thread holds is never released in the child. So a fork waits for the locks of
this package. It does not wait for the locks of `functools.cached_property` (before Python 3.12) and
of imports.

The last hook to be registered is called first. That of `logging` acquires a lock that imports need,
so `logging` is imported here: a fork then waits for imports before it acquires that lock.
"""

import logging  # noqa: F401
import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

Value = TypeVar("Value")


# Seconds that a fork waits for a lock: as many as the first import of torch may need.
FORK_TIMEOUT = 30


class ForkLock:
    """A lock that a thread may acquire several times, and that no other thread holds in a child."""

    def __init__(self) -> None:
        self._lock, self._held_for_fork = threading.RLock(), False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork,
                after_in_child=self._after_fork_in_child,
            )

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def _before_fork(self) -> None:
        self._held_for_fork = self._lock.acquire(timeout=FORK_TIMEOUT)

    def _after_fork(self) -> None:
        if self._held_for_fork:
            self._held_for_fork = False
            self._lock.release()

    def _after_fork_in_child(self) -> None:
        if not self._held_for_fork:
            self._lock = threading.RLock()
        self._after_fork()


# Held during the imports that are not at the top of a module.
IMPORT_LOCK = ForkLock()


class cached_attribute(Generic[Value]):  # like cached_property
    """`functools.cached_property` without a lock: several threads may compute the same value."""

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute, self._name = compute, compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> "cached_attribute[Value]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        # Found before this descriptor from now on.
        value = vars(instance)[self._name] = self._compute(instance)
        return value
