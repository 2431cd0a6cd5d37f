"""Writing in a run's folder: what the disk refuses is said in one line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from netpick.core.errors import WorkError
from netpick.store.shards import BrokenShardError, scan


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line that says how to go on."""
    try:
        yield
    except filelock.Timeout:  # an OSError too, and not the disk's
        raise
    except OSError as e:
        full = e.errno in (errno.ENOSPC, errno.EDQUOT)
        if full:
            what, way = "the disk is full", "free some space"
        elif e.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            what, way = "the folder can't be written to (read-only, or no permission)", "make it writable"
        else:
            what, way = f"writing failed ({e.strerror or e})", "see to it"
        raise WorkError(f"{path}: {what}; {way} and give the same command again{_safe(path)}") from e


def _safe(path: Path) -> str:
    """Say how many trainings need no second time."""
    try:
        n = sum(len(s.holds) for s in scan(path / "trainings")[0])
    except (OSError, BrokenShardError):
        return ""
    return f"; {n} finished training{'' if n == 1 else 's'} {'is' if n == 1 else 'are'} safe"
