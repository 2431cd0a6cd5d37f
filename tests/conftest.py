from __future__ import annotations

import gc
import os
import sys

import pytest
from hypothesis import settings

# Networks of the tests are tiny: a second thread only waits. Before torch is imported, and for child processes too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A slow moment of a busy machine is no failure of the code.
settings.register_profile("netpick", deadline=None)
settings.load_profile("netpick")


def pytest_collection_finish():
    """Keep modules and tests out of garbage collection: a report collects after each of its figures."""
    gc.freeze()


@pytest.fixture(autouse=True)
def subnormal_numbers():
    """A worker's work done in this process turns numbers below 1e-38 into zeros; hypothesis, and math, need them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
