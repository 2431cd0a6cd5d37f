"""What holds for processes whatever they do: where those that we start look for modules, memory, waiting for a core."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Have the processes that are started meanwhile look for modules where this one does, not in the current folder.

    joblib starts its workers by `python -m`, which puts the current folder first: a `random.py` or a `queue.py` there
    would be executed in the place of Python's own, and no worker would start.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def waited_for_core() -> float:
    """Return the seconds for which this thread could have run and others had the cores; 0 where no system says so."""
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


KEPT_BYTES, LARGEST_KEPT = 2**27, 2**25
"""Free memory at the end of a process's own that stays with it, and the largest piece that comes from there: glibc
takes no larger one."""


def keep_memory() -> None:
    """Have this process keep memory that it has freed for what it will ask for next, where the C library is glibc.

    By itself glibc gives large pieces back to the system as they are freed, and gets them anew, page by page, filled
    with zeros: in the training of a network whose layers make some million values, several hundred pages a step.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another system
        set_option = ctypes.CDLL(None).mallopt
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
        set_option(trim_threshold, KEPT_BYTES)
        set_option(mmap_threshold, LARGEST_KEPT)
