"""Writing in a run's folder: one process at a time, and what the disk refuses it is said in one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from netpick.core.errors import RunError, WorkError
from netpick.core.files import atomic_write, read_text
from netpick.store.shards import BrokenShardError, scan


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the run for this process alone; RunError where another one does. A killed process holds nothing."""
    held = filelock.FileLock(path / ".lock")
    note = path / ".lock.pid"
    try:
        with disk_errors(path):
            held.acquire(timeout=0)
    except filelock.Timeout:
        try:
            pid = read_text(note, 100).strip()
        except (OSError, UnicodeDecodeError):
            pid = ""
        by = f"another process (pid {pid})" if pid else "another process"
        raise RunError(f"{path} is in use by {by}: wait until it ends, or stop it") from None
    try:
        with disk_errors(path):
            atomic_write(note, f"{os.getpid()}\n".encode())
        yield
    finally:
        note.unlink(missing_ok=True)
        held.release()


def in_use(path: Path) -> bool:
    """Whether another process holds the run's lock now."""
    try:
        fd = os.open(path / ".lock", os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:  # nobody has ever trained there
        return False
    try:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except ImportError:  # not a Unix: there the lock is a file that exists as long as it is held
        return True
    except OSError:
        return True
    finally:
        os.close(fd)


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
