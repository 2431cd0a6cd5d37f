"""A disk that is full at every write point: a file system of set size, by root in a mount namespace of its own.

Each command is first given with room enough, and what it wrote is kept. Then it is given again and again where so many
pages are free and no more, from none to what it needs: each number of pages is another write point. What must hold: one
line, exit code 1, what the run held is there and the same, nothing that was to be written lies there in part; and after
room is made the same command ends well, with the same tables.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from _attack.outcome import Outcome

from _faults.processes import in_a_fork
from _faults.sessions import train_words
from _faults.tables import differences

KIND = "disk"
PAGE = os.sysconf("SC_PAGE_SIZE")
ROOM = 64 * 2**20
NEW_NAMESPACE, PRIVATE, REMOUNT = 0x00020000, 1 << 18 | 1 << 14, 32


def commands(here: Path, bases: Path) -> dict[str, tuple[str, tuple[object, ...]]]:
    """Return each command that writes, by name: the run that it begins with (nothing: none), and its words."""
    run, out = here / "run", here / "out"
    networks = ("--networks", bases / "networks.jsonl", "--dataset", "digits")
    sets = ("--set", "recipe.epochs=1", "--set", "recipe.batch_size=100", "--set", "recipe.train_samples=200")
    return {
        "generate": ("", ("generate", *networks, *sets, "--run", run)),
        "train": ("tiny", train_words(run)),
        "train --no-compact": ("tiny", train_words(run, "--no-compact")),
        "compact": ("scattered", ("compact", run)),
        "estimate": ("tiny", ("estimate", run, "--device", "cpu", "--seconds", "0")),
        "time": ("tiny-trained", ("time", run, "--limit", "1", "--seconds", "0.05", "--busy", "--devices", "cpu")),
        "distances": ("tiny-trained", ("distances", run)),
        "figures": ("tiny-trained", ("figures", run, "--formats", "svg", "--to", out / "figures")),
        "report": ("tiny-trained", ("report", run, "--to", out / "report.html")),
        "ask --plot": ("tiny-trained", ("ask", run, "scores", "--plot", out / "scores.png")),
        "export": ("tiny-trained", ("export", run, "Basic_0", "--to", out / "basic.py")),
        "export onnx": ("tiny-trained", ("export", run, "Basic_0", "--to", out / "basic.onnx")),
        "kit": ("tiny-trained", ("kit", run, "Basic_0", "--to", out / "kit")),
        "relabel": ("tiny-trained", ("relabel", run, bases / "fixes.csv", "--run", out / "relabelled")),
        "export networks": ("tiny-trained", ("export", run, "--to", out / "networks.jsonl")),
        "explore": ("tiny-trained", ("explore", run, "--to", out / "explore.html")),
        "publish": ("tiny-trained", ("publish", run, "--to", out / "set", "--license", "mit", "--creator", "me")),
    }


def needed(name: str, bases: Path, folder: Path) -> int:
    """Return the pages that a command needs, by giving it with room enough; what it wrote is kept in `bases`."""
    pages: int = in_a_fork(_with_room, name, bases, folder)
    return pages


def case(name: str, free: int, bases: Path, folder: Path) -> Iterator[Outcome]:
    """Give a command where so many pages are free; yield what came of it."""
    begun = time.monotonic()
    word, line = in_a_fork(_without_room, name, free, bases, folder)
    what = f"{name} with {free} pages free"
    yield Outcome(KIND, free, word, what, name, line, seconds=time.monotonic() - begun)


def write_points(pages: int, most: int, rng: random.Random) -> list[int]:
    """Return numbers of free pages below what is needed: all, or so many of them, few pages more often than many."""
    if pages <= most:
        return list(range(pages))
    drawn = {0, 1, 2, pages - 1, pages - 2} | {int(pages * rng.random() ** 1.5) for _ in range(4 * most)}
    return sorted(rng.sample(sorted(drawn), min(most, len(drawn))))


def _mounted(folder: Path, size: int) -> Path:
    """Give this process a file system of its own, of a size, at a folder."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder.mkdir(parents=True, exist_ok=True)

    def done(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    done(libc.unshare(NEW_NAMESPACE))
    done(libc.mount(b"none", b"/", None, PRIVATE, None))
    done(libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={size}".encode()))
    return folder


def _resized(folder: Path, size: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", bytes(folder), b"tmpfs", REMOUNT, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _used(folder: Path) -> int:
    about = os.statvfs(folder)
    return (about.f_blocks - about.f_bfree) * about.f_frsize // PAGE


def _prepared(name: str, bases: Path, here: Path) -> tuple[object, ...]:
    """Put the run of a command into a file system; return the command's words."""
    base, words = commands(here, bases)[name]
    (here / "out").mkdir()
    if base:
        shutil.copytree(bases / base, here / "run")
    return words


def _given(words: tuple[object, ...], log: Path) -> tuple[int, str]:
    """Give a command to a fork of this process, in whose file system it is."""
    from _faults.warm import give

    start = log.stat().st_size if log.exists() else 0
    pid = os.fork()
    if not pid:
        give([*map(str, words)], str(log), "threading", "")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, log.read_bytes()[start:].decode(errors="replace")


def _with_room(name: str, bases: Path, folder: Path) -> int:
    here = _mounted(folder / "mounted", ROOM)
    words = _prepared(name, bases, here)
    before = _used(here)
    code, text = _given(words, folder / "log")
    if code:
        raise SystemExit(f"{name} with room enough: exit code {code}: {text[-800:]}")
    kept = bases / f"after {name}"
    shutil.copytree(here, kept, dirs_exist_ok=True)
    return 2 * abs(_used(here) - before) + 8  # what was there while it worked and went again


def _without_room(name: str, free: int, bases: Path, folder: Path) -> tuple[str, str]:
    here = _mounted(folder / "mounted", ROOM)
    words = _prepared(name, bases, here)
    before = _files(here)
    _resized(here, max(1, _used(here) + free) * PAGE)  # 0 would be no limit
    code, text = _given(words, folder / "log")
    lines = [line for line in text.splitlines() if line.startswith("netpick: ")]
    if "Traceback" in text:
        return "TRACEBACK", text[-600:]
    if code and (code != 1 or len(lines) != 1 or text.strip().splitlines()[-1:] != lines):
        return "UNSAID", f"exit code {code}: {text[-600:]}"
    if fault := _left(name, here, bases, before, bool(code)):
        return "SILENT", f"with {free} pages: {fault} ({text[-200:]})"
    _resized(here, ROOM)
    again, text = _given(words, folder / "log") if code else (0, "")
    if again:
        return "UNSAID", f"with room again: exit code {again}: {text[-600:]}"
    if fault := next(_different(name, here, bases), ""):
        return "SILENT", f"with room again: {fault}"
    return ("refused", lines[0]) if code else ("ok", "")


def _files(here: Path) -> dict[str, bytes]:
    """Return what lies in a file system and must not change: all of it but logs and locks."""
    files = (path for path in here.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(here)): path.read_bytes() for path in files if path.name != "events.jsonl"}


def _left(name: str, here: Path, bases: Path, before: dict[str, bytes], failed: bool) -> str:
    """Say what is not as it should be after a command: what was there has changed, or something is there in part."""
    if (here / "run" / "run.toml").exists() and (fault := _unreadable(here / "run", bases)):
        return fault
    if not failed:
        return ""
    if name not in ("train", "train --no-compact", "compact"):  # whose files may be merged, and are read above
        now = _files(here)
        gone = [path for path in before if path not in now or (now[path] != before[path] and path != "run/run.toml")]
        if gone:
            return f"{gone[0]} has changed"
    expected = bases / f"after {name}" / "out"
    for path in (here / "out").rglob("*"):
        other = expected / path.relative_to(here / "out")
        if path.is_file() and not path.name.startswith(".") and not _is_like(path, other):
            return f"out/{path.name} lies there in part"
    return ""


def _is_like(path: Path, other: Path) -> bool:
    """Whether a file is whole: of the size and the end of one that was written with room, but for times in it."""
    if not other.is_file():
        return False
    size, ends = other.stat().st_size, [one.read_bytes().strip()[-4:] for one in (path, other)]
    return abs(path.stat().st_size - size) <= 0.01 * size + 64 and (ends[0] == ends[1] or path.suffix == ".parquet")


def _unreadable(run: Path, bases: Path) -> str:
    """Say what is wrong with what a run holds, by the tables of the one that was trained with room."""
    import pandas as pd

    from netpick import Run

    right = pd.read_parquet(bases / "tiny-trained" / "predictions")
    keys = ["network", "epoch", "split", "sample"]
    try:
        there = Run(run)
        rows = there.predictions(epoch=None, split=None) if len(there.trainings) else right[:0]
    except Exception as error:  # noqa: BLE001  whatever it is, the run can't be read any more
        return f"the run can't be read: {error}"
    both = rows.astype({"network": str, "split": str}).merge(
        right.astype({"network": str, "split": str}), on=keys, suffixes=("", "_right")
    )
    if len(both) != len(rows) or rows.duplicated(keys).any() or (both["score_1"] != both["score_1_right"]).any():
        return "the run holds other predictions"
    return ""


def _different(name: str, here: Path, bases: Path) -> Iterator[str]:
    """Yield what differs from what the command gave with room enough."""
    after = bases / f"after {name}"
    if name.startswith("train"):
        yield from differences(bases / "tiny-trained", here / "run")
    expected = {path.relative_to(after) for path in after.rglob("*") if ".lock" not in path.name}
    got = {path.relative_to(here) for path in here.rglob("*") if ".lock" not in path.name}
    for path in sorted(expected ^ got):
        if path.parent.name not in ("trainings", "epochs", "predictions") and ".decoded" not in path.parts:
            yield f"{path} is {'missing' if path in expected else 'left over'}"
