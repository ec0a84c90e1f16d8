"""The memory of freed arrays."""

import os
import platform
import subprocess
import sys

import pytest

COUNT_PAGES = """
import resource
import numpy as np
from skae._data.allocator import keep_freed_memory
keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(2**20, np.uint8) for _ in range(10)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc only")
def test_arrays_use_the_memory_of_freed_ones():
    """Ten arrays have 2560 pages of 4 KiB."""
    # Settings of the user have precedence.
    environment = {key: v for key, v in os.environ.items() if not key.startswith("MALLOC_")}
    command = [sys.executable, "-c", COUNT_PAGES]
    found = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    assert int(found.stdout) < 100
