"""Whether the kernels of `compiled` have been compiled on this machine, and having it done before workers need them.

Without it every worker would compile for itself, at the same time, and the first networks would seem to take half a
minute. Loads neither torch nor numba here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from netpick.training.plan import Plan

SOURCE = Path(__file__).with_name("kernels.py")


def is_ready() -> bool:
    """Return whether numba's cache beside the source has what was compiled last, `score`, from the source as it is."""
    try:
        written = SOURCE.stat().st_mtime
        version = f"py{sys.version_info.major}{sys.version_info.minor}"
        kept = (SOURCE.parent / "__pycache__").glob(f"kernels.score-*.{version}*.nbi")
        return any(file.stat().st_mtime >= written for file in kept)
    except OSError:
        return False


def make_ready(plans: Iterable[Plan], on_note: Callable[[str], None]) -> None:
    """Compile the kernels in a process of their own, if a plan needs them and they are not there yet.

    Where that fails the workers compile for themselves, and say what is wrong if it is not the cache.
    """
    if any(plan.mode == "compiled" for plan in plans) and not is_ready():
        on_note("compiling the training steps of small networks, once after an installation, for half a minute")
        code = "from netpick.training.engines.compiled.program import prepare; prepare()"
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
