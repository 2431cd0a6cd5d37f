from __future__ import annotations

import os

from hypothesis import settings

# Networks of the tests are tiny: a second thread only waits. Before torch is imported, and for child processes too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A slow moment of a busy machine is no failure of the code.
settings.register_profile("netpick", deadline=None)
settings.load_profile("netpick")
