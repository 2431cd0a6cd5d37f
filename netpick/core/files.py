"""Files that have their name only when they are whole: written aside, on the disk, renamed.

What goes into a file is the caller's; here is only how it gets there, and how an error of the system is said.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from netpick.core.errors import WorkError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write a file or a folder to; it becomes `path` when the block ends well.

    Otherwise it is removed; only a kill leaves it, as `.NAME.PID.tmp`. The process is in the name, so that two of them
    never write into the same.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
        raise


def atomic_write(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Write a file that appears under `path` only when it is complete and on the disk.

    Parameters
    ----------
    path : Path
        What was there before stays until the new file is whole.
    content : bytes or callable
        What is written, or a function that writes it into the open file.
    """
    with written_aside(path) as temporary, open(temporary, "wb") as file:
        content(file) if callable(content) else file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder last through a power failure, where the system can do that."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows can't open a folder
        return
    try:
        os.fsync(fd)
    except OSError:  # some network file systems refuse it: the files themselves are synchronised
        pass
    finally:
        os.close(fd)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Say of an error of the system, in one line, that `path` can't be written."""
    try:
        yield
    except OSError as e:
        raise WorkError(f"{path} can't be written ({e.strerror or e}): give another path") from None
