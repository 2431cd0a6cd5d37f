"""One process at a time in a run's folder, on any file system.

What holds is the system's own lock of a file, which ends with its process however that ends. Network file systems may
keep such a lock to one machine: there a file is made beside it that must not be there yet, and says who made it. Of a
process that was killed it stays. On the same machine it is worth nothing, since the system's lock is free; on another
that can't be known, and the user is told which file to remove. It never expires by itself: a process that was only
stopped would go on writing.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import psutil

from netpick.core.errors import RunError
from netpick.core.files import atomic_write, read_text
from netpick.store.writing import disk_errors

LOCK, NOTE, MARK = LOCKS = (".lock", ".lock.pid", ".lock.host")
"""The system's lock, who holds it, and the file that holds where other machines may not see the first."""

SHARED = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "lustre", "ceph", "glusterfs", "beegfs", "fhgfs", "gpfs", "afs",
        "9p", "panfs", "pvfs2", "virtiofs", "sshfs", "s3fs", "gcsfuse", "rclone", "davfs", "webdav", "afpfs",
    }
)  # fmt: skip
"""Types of file systems that other machines may write to; before such a word there may be `fuse.`."""


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the run for this process alone; RunError where another one does. A killed process holds nothing."""
    with contextlib.ExitStack() as held:
        own = filelock.FileLock(path / LOCK)
        try:
            with disk_errors(path):
                own.acquire(timeout=0)
        except filelock.Timeout:
            pid = _lines(path / NOTE)[0]
            by = f"another process (pid {pid})" if pid else "another process"
            raise RunError(f"{path} is in use by {by}: wait until it ends, or stop it") from None
        held.callback(own.release)
        if file_system(path) in SHARED:
            _make_mark(path)
            held.callback((path / MARK).unlink, missing_ok=True)
        held.callback((path / NOTE).unlink, missing_ok=True)
        with disk_errors(path):
            atomic_write(path / NOTE, f"{os.getpid()}\n".encode())
        yield


def in_use(path: Path) -> bool:
    """Whether another process holds the run's lock now."""
    if _is_locked(path / LOCK):
        return True
    mark = path / MARK
    return file_system(path) in SHARED and mark.exists() and _lines(mark)[2] != _machine()


def _make_mark(path: Path) -> None:
    """Make the file that is there once only; this machine's lock is held."""
    mark = path / MARK
    pid, host, machine = _lines(mark)
    with disk_errors(path):
        if machine == _machine():
            mark.unlink(missing_ok=True)  # of a process that has gone, or its lock would not be ours
        try:
            file = open(mark, "x", encoding="utf-8")  # noqa: SIM115  only this may say that it is there
        except FileExistsError:
            raise RunError(
                f"{path} is in use by process {pid or '?'} on {host or 'another machine'}: wait until it ends, or stop "
                f"it; if it was killed, remove {mark}"
            ) from None
        with file:
            file.write(f"{os.getpid()}\n{socket.gethostname()}\n{_machine()}\n")


@functools.cache
def _machine() -> str:
    """Return what tells this machine from others that may have its name; containers of one have the same."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def file_system(path: Path) -> str:
    """Return the type of the file system that a folder lies in, such as ext4 or nfs; nothing where it is not known."""
    there = path.resolve()
    try:
        mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    except (OSError, psutil.Error):
        return ""
    kinds = (mounts[folder] for folder in (there, *there.parents) if folder in mounts)
    return next(kinds, "").removeprefix("fuse.")


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
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


def _lines(path: Path) -> list[str]:
    """Return process, host and machine of a file that says who made it, as far as it does."""
    try:
        lines = read_text(path, 1000).splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    return [line.strip() for line in (*lines, "", "", "")][:3]
