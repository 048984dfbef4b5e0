"""The command line keeps freed memory, so that no array is zeroed anew by the system."""

import subprocess
import sys

import pytest

from isodiff.allocator import keep_freed_memory

SCRIPT = """
import os, torch
from isodiff.allocator import keep_freed_memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
if {kept}:
    assert keep_freed_memory()
before = resident()
layers = [torch.ones(6 * 2**20) for _ in range(4)]
assert resident() - before > 90 * 2**20
del layers
print((resident() - before) // 2**20)
"""


def left(kept: bool) -> int:
    """MiB of 96 that stay with the process after they are freed."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(kept=kept)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="no glibc")
def test_freed_memory_stays_with_the_process() -> None:
    assert left(kept=False) < 10
    assert left(kept=True) > 90
