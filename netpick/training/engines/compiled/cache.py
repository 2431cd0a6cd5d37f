"""Where the machine code of `kernels` lies on the disk, and whether it has been checked as it lies there.

One folder for all processes of a machine, which each of them finds by itself. That what lies there can be loaded, is
found out by loading it, which takes seconds (see `ready`); a stamp beside it says so from then on, for as long as
neither the files nor anything that numba goes by change. Loads neither torch nor numba, but for `in_use`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from netpick.core.files import atomic_write
from netpick.training.engines.compiled import ENTRIES

SOURCE = Path(__file__).with_name("kernels.py")


def folder() -> Path | None:
    """Return the first folder that can be written: the user's for numba, the package's, the user's, a temporary one."""
    name = f"netpick-{hashlib.sha256(bytes(SOURCE)).hexdigest()[:16]}"  # the folders of several installations
    given = os.environ.get("NUMBA_CACHE_DIR")
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places = [SOURCE.parent / "__pycache__", Path(caches) / name]
    if given:
        places.insert(0, Path(given).absolute() / name)
    return next(filter(_can_be_written, places), None) or _temporary(name)


@contextlib.contextmanager
def in_use() -> Iterator[None]:
    """Have numba keep the functions that it is given meanwhile in `folder`."""
    import numba

    place, before = folder(), numba.config.CACHE_DIR
    # Unless it is told of a folder, numba takes `__pycache__`.
    numba.config.CACHE_DIR = "" if place in (None, SOURCE.parent / "__pycache__") else str(place)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def is_checked(place: Path, names: Sequence[str] = ENTRIES) -> bool:
    """Return whether the files of some functions are those that were loaded when they were last checked."""
    try:
        checked = json.loads(_stamp(place).read_bytes())
        mine = {file: about for file, about in checked.items() if _function(file) in names}
    except (OSError, ValueError, AttributeError):
        return False
    return {*names} == {_function(file) for file in mine} and mine == _files(place, names)


def mark_checked(place: Path, names: Sequence[str] = ENTRIES) -> None:
    """Write down that the files of some functions as they are have been loaded."""
    atomic_write(_stamp(place), json.dumps(_files(place, names)).encode())


def clear(place: Path) -> None:
    """Remove the files of this version of Python."""
    for name in _files(place, ("*",)):
        (place / name).unlink(missing_ok=True)


def _files(place: Path, names: Sequence[str]) -> dict[str, list[int]]:
    """Return size and time of each file of numba's for some functions and this version of Python."""
    mine = [f"kernels.{name}-*.py{sys.version_info.major}{sys.version_info.minor}*.nb[ic]" for name in names]
    sizes = {str(path.relative_to(place)): path.stat() for one in mine for path in sorted(place.rglob(one))}
    return {name: [status.st_size, status.st_mtime_ns] for name, status in sizes.items()}


def _function(file: str) -> str:
    """Return whose file it is."""
    return Path(file).name.removeprefix("kernels.").partition("-")[0]


def _stamp(place: Path) -> Path:
    """Return where it is said that the files were checked, for all that decides whether numba takes them."""
    code = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    # joblib gives its workers a number of threads; the kernels use one, and are the same for all.
    settings = sorted((k, v) for k, v in os.environ.items() if k.startswith("NUMBA_") and k != "NUMBA_NUM_THREADS")
    versions = [sys.version, version("numba"), version("llvmlite")]
    decides = [code, SOURCE.stat().st_mtime_ns, versions, _processor(), settings]
    return place / f"kernels-{hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]}.checked"


def _processor() -> list[str]:
    """Return the processor's name and what it can do, as far as the system says that without starting a program."""
    said = [platform.machine()]
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as cores:
        for line in cores:
            if not line.strip():
                break  # the others are like the first one
            if line.startswith(("model name", "flags", "Features", "CPU part")):
                said.append(line)
    return said


def _can_be_written(place: Path) -> bool:
    try:
        place.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=place).close()
    except OSError:
        return False
    return place.is_absolute()


def _temporary(name: str) -> Path | None:
    """Return a folder for temporary files that nobody else can have put anything into: what lies there is executed."""
    shared = hasattr(os, "getuid")  # Windows has a folder for each user
    with contextlib.suppress(OSError):
        place = Path(tempfile.gettempdir()) / (f"{name}-{os.getuid()}" if shared else name)
        place.mkdir(mode=0o700, exist_ok=True)
        status = place.lstat()
        theirs = shared and (status.st_uid != os.getuid() or status.st_mode & 0o022)
        if stat.S_ISDIR(status.st_mode) and not theirs and _can_be_written(place):
            return place
    return None
