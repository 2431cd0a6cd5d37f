"""What holds for processes whatever they do: where those that we start look for modules, and waiting for a core."""

from __future__ import annotations

import contextlib
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
