"""What a worker process sets up for itself, seen from outside."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ASKS_AGAIN = """
import resource, sys
import numpy as np
from netpick.core.processes import keep_memory
sys.argv[1] == "kept" and keep_memory()
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [np.full(2_000_000, 1.0, np.float32) for _ in range(12)]
    del held
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such option")
def test_memory_that_was_freed_is_there_when_it_is_asked_for_again():
    def faults(word):
        done = subprocess.run([sys.executable, "-c", ASKS_AGAIN, word], check=True, capture_output=True, text=True)
        return int(done.stdout)

    assert faults("kept") < 100
    assert faults("given back") > 1000  # or the system has become better than what is done about it
