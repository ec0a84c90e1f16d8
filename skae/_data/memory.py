"""Errors about networks and results that need more memory than there is."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

# How torch and NumPy say that memory is too small, or that no memory can be large enough.
OUT_OF_MEMORY = re.compile(
    "DefaultCPUAllocator|Storage size calculation overflowed|Unable to allocate|array is too big"
    "|Maximum allowed dimension"
)


@contextmanager
def explained_memory(message: str) -> Iterator[None]:
    """Raise a MemoryError with this message for an error of torch or NumPy about memory."""
    try:
        yield
    except (MemoryError, RuntimeError, ValueError) as error:
        if not OUT_OF_MEMORY.search(str(error)):
            raise
        raise MemoryError(message) from error


def check_memory(n_bytes: float, message: str) -> None:
    """Raise a MemoryError with this message for what does not fit into the memory of the machine.

    Linux grants more memory than there is, and ends the process when it is used.
    """
    if n_bytes > memory_of_machine():
        raise MemoryError(message)


def memory_of_machine() -> float:
    """The bytes of the memory of this machine; infinite if they are not known."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return float("inf")
