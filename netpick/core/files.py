"""Files that have their name only when they are whole, and files that may be anyone's.

What goes into a file is the caller's; here is only how it gets there, and how an error of the system is said. A link
that lies where a file is to be written is never followed: a folder from elsewhere must not lead out of itself.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
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
    if temporary.is_symlink():
        temporary.unlink()
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
    with written_aside(path) as temporary, open(temporary, "w+b", opener=_no_link) as file:
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


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file, in one piece; OSError where that is a link.

    Where a full disk has cut off the line before, that one is ended first.
    """
    with open(path, "ab+", opener=_no_link) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        ended = file.read(1) in (b"", b"\n")
        file.write(f"{'' if ended else chr(10)}{line}\n".encode())


def open_regular(path: Path, most: int | None = None) -> IO[bytes]:
    """Open a regular file, of at most so many bytes, to read it; OSError for anything else: a pipe waits for ever."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    about = os.fstat(fd)
    if stat.S_ISREG(about.st_mode) and (most is None or about.st_size <= most):
        return os.fdopen(fd, "rb")
    os.close(fd)
    if stat.S_ISDIR(about.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISREG(about.st_mode):
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes")
    if stat.S_ISFIFO(about.st_mode):
        raise OSError(errno.EINVAL, "not a regular file but a pipe: write what it gives into a file first")
    raise OSError(errno.EINVAL, "not a regular file")


def read_text(path: str | Path, most: int, errors: str = "strict") -> str:
    """Return the text of a regular file of at most so many bytes.

    Raises
    ------
    OSError
        It can't be read, is no regular file, or is larger.
    UnicodeDecodeError
        It is not UTF-8.
    """
    with open_regular(Path(path), most) as file:
        content = file.read(most + 1)
    if len(content) > most:  # it has grown
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes")
    return content.decode("utf-8", errors)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Say of an error of the system, in one line, that `path` can't be written; also where it was said of a part."""
    try:
        yield
    except (OSError, WorkError) as error:
        e = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(e, OSError):
            raise
        raise WorkError(f"{path} can't be written ({e.strerror or e}): give another path") from None
