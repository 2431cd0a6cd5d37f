"""Removing a run and nothing else: which files of a folder are netpick's own, and what a stopped `generate` leaves.

A removal that is stopped half way can be taken up again: what a folder is known by goes last.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from netpick.core.errors import RunError, WorkError, listed
from netpick.store.locking import LOCKS, in_use
from netpick.store.manifest import MANIFEST
from netpick.store.shards import MEASURED, TABLES

_KNOWN_BY = (*TABLES, "networks.parquet")

_FOLDERS = {
    ".cache": r".*",
    "figures": r".*\.(svg|png|pdf)",
    "weights": r".*\.safetensors",
    **dict.fromkeys(TABLES, r".*\.parquet"),
}
"""The folders in a run's folder, with what lies in each."""

_PAGES = ("report.html", "explore.html")
_SINGLE = tuple(f"{table}.parquet" for table in ("samples", *MEASURED))
_FILES = (*_PAGES, "calibration.json", *LOCKS, MANIFEST, "events.jsonl", *_SINGLE)
_ORDER = (".cache", "figures", *_FILES, "weights", *_KNOWN_BY)
_UNFINISHED = re.compile(r"\.(.+?)(\.\d+)?\.(tmp|part)|\.netpick-\w+")
"""Files that were being written when something was stopped; the latter is there to try whether one can write."""


def is_unfinished(folder: Path) -> bool:
    """Whether this is what a `generate` left that was stopped, or ran into a full disk: there is no result in it."""
    if not os.path.isdir(folder) or os.path.islink(folder):
        return False
    names = os.listdir(folder)
    return (
        bool(names)
        and all(name != MANIFEST and _of(name) in (MANIFEST, *LOCKS, *_KNOWN_BY) for name in names)
        and not any(os.listdir(folder / table) for table in TABLES if table in names)
    )


def check_removable(folder: Path) -> None:
    """Raise RunError for what is no run, holds what netpick did not write, or is in use."""
    if os.path.islink(folder):
        raise RunError(f"{folder} is a link: give the folder that it leads to, or another one")
    if not os.path.isdir(folder):
        raise RunError(f"{folder} is a file and no folder: give another folder")
    names = os.listdir(folder)
    if names and not is_unfinished(folder) and not {MANIFEST, *_KNOWN_BY} & set(names):
        raise RunError(f"{folder} is not a run's folder: it is left alone, give another folder")
    if others := _others(folder):
        raise RunError(
            f"{folder} has what netpick did not write there, {listed(others, 4)}: move it elsewhere, or give another"
            " folder"
        )
    if in_use(folder):
        raise RunError(f"{folder} is in use by another process: wait until it ends, or stop it")


def remove(folder: Path) -> None:
    """Remove a run that `check_removable` has passed; WorkError where that is not possible."""
    try:
        for name in sorted(os.listdir(folder), key=lambda name: _ORDER.index(name) if name in _ORDER else -1):
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as e:
        raise WorkError(
            f"{e.filename or folder} can't be removed ({e.strerror or e}): see to it, and give the same command again"
        ) from None


def _others(folder: Path) -> list[str]:
    """Return what lies in a run's folder and is not netpick's."""
    out = []
    with os.scandir(folder) as entries:
        for entry in entries:
            inner = _FOLDERS.get(entry.name)
            if inner is None or not entry.is_dir(follow_symlinks=False):
                if _of(entry.name) not in _ORDER or entry.is_dir(follow_symlinks=False):
                    out.append(entry.name)
                continue
            with os.scandir(entry) as held:
                mine = re.compile(f"({inner})|{_UNFINISHED.pattern}")
                out += [
                    f"{entry.name}/{e.name}"
                    for e in held
                    if not mine.fullmatch(e.name) or e.is_dir(follow_symlinks=False)
                ]
    return sorted(out)


def _of(name: str) -> str:
    """Return the name that a file was to have; any of netpick's for one that was never to have one."""
    unfinished = _UNFINISHED.fullmatch(name)
    return name if unfinished is None else unfinished[1] or MANIFEST
