"""Settings of the process that are changed while any thread of Python is in a context."""

import os
import threading
from abc import ABC, abstractmethod

from .forks import ForkLock


class HeldSetting(ABC):
    """A context in which a setting of the process has another value.

    The first thread that enters sets the value, and the last thread that leaves restores it. The
    value is also restored after an interrupt, and in the child of a fork, where other threads in
    the context do not exist.
    """

    def __init__(self) -> None:
        self.is_held = False
        self._depths: dict[int, int] = {}  # how often each thread has entered
        self._lock = ForkLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork_in_child)

    @abstractmethod
    def _hold(self) -> None:
        """Remember the value of the setting, and change it."""

    @abstractmethod
    def _restore(self) -> None:
        """Restore the value; `_hold` may have been interrupted."""

    def _enter_thread(self) -> None:
        """Called in each thread when it enters."""

    def _leave_thread(self) -> None:
        """Called in each thread when it leaves for the last time."""

    def __enter__(self) -> None:
        depth = self._depths.get(threading.get_ident(), 0)
        try:
            self._set_depth(depth + 1)
        except BaseException:
            self._set_depth(depth)
            raise

    def __exit__(self, *exception: object) -> None:
        depth = self._depths.get(threading.get_ident(), 1) - 1
        try:
            self._set_depth(depth)
        except BaseException:
            self._set_depth(depth)
            raise

    def _set_depth(self, depth: int) -> None:
        """Set how often this thread has entered; a second call with the same depth repairs."""
        with self._lock:
            if depth:
                self._depths[threading.get_ident()] = depth
                if not self.is_held:
                    self.is_held = True
                    self._hold()
                self._enter_thread()
                return
            self._depths.pop(threading.get_ident(), None)
            if self.is_held and not self._depths:
                self._restore()
                self.is_held = False
            self._leave_thread()

    def _after_fork_in_child(self) -> None:
        depth = self._depths.get(threading.get_ident(), 0)
        self._depths = {threading.get_ident(): depth} if depth else {}
        if self.is_held and not depth:
            self._restore()
            self.is_held = False
