"""How glibc, the C library of most Linux systems, keeps memory that was freed."""

from functools import cache

import numpy as np

# The size of the largest array by which glibc sets its limits: 32 MiB, less what it adds itself.
LARGEST_ARRAY = 31 * 2**20


@cache
def keep_freed_memory() -> None:
    """Let arrays up to 31 MiB use memory that others left, for the rest of the process.

    At first, glibc returns each freed array of more than 128 KiB to the system, which takes up to
    ten times as long as an operation on all of its entries, as the next array needs new pages of
    zeros. When an array is freed that is larger than this limit, it becomes the new limit: after
    one of 31 MiB, up to 62 MiB of freed memory are kept. The array has no pages, as nothing is
    written to it. Other C libraries are not changed.
    """
    np.empty(LARGEST_ARRAY, dtype=np.uint8)
