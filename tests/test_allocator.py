"""The memory of freed arrays."""

import platform
import subprocess
import sys

import pytest

COUNT_PAGES = """
import resource
import numpy as np
from skae._data.allocator import keep_freed_memory
{call}
pages = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(2**20, np.uint8) for _ in range(10)]
    del arrays
    pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(pages[-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc only")
def test_arrays_use_the_memory_of_freed_ones():
    def new_pages(call: str) -> int:
        command = [sys.executable, "-c", COUNT_PAGES.format(call=call)]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert new_pages("keep_freed_memory()") < 100 < 1000 < new_pages("")
