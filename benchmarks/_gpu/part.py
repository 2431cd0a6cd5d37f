"""A part of gpu.py: cases that are measured one by one, the file of what they gave, and when to stop.

After each case the part's file is written anew, whole or not at all, so that a part can be taken up where it was left.
Knows nothing of cards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from netpick.core.errors import RunError
from netpick.core.files import atomic_write

Found = Mapping[str, Any]
"""What the cases of a part gave, by their names."""

Table = Mapping[str, float]
"""The figures of cards."""

SAME = ("card", "torch", "stand_in")
"""What must be the same for a part to be taken up."""


class Case(NamedTuple):
    """Something to be measured: `work` returns plain values. `seconds`: what it takes on a card, roughly."""

    name: str
    work: Callable[[], Any]
    seconds: float = 10.0


class Part(Protocol):
    """A module that is a part."""

    NAME: str
    TITLE: str
    MINUTES: float
    """After so many minutes, over all calls, cases that are left are left out."""

    def cases(self, bench: Any, found: Found) -> Iterator[Case]:
        """Yield the cases; later ones may depend on what was found before."""

    def figures(self, found: Found, table: Table) -> dict[str, float]:
        """Return figures of the table that follow; `table` is what stood there when the part was begun."""

    def section(self, found: Found, table: Table) -> str:
        """Return what the page says of it: sentences and tables that claim no more than what is there."""


class Record(msgspec.Struct):
    """The file of a part. `table` has the figures of cards as they were when it was begun."""

    about: dict[str, Any]
    begun: str
    table: dict[str, float]
    seconds: float = 0.0
    finished: bool = False
    left_out: list[str] = []
    cases: dict[str, Any] = {}

    @property
    def good(self) -> dict[str, Any]:
        """The cases that did not fail and are whole."""
        bad = ("error", "unfinished")
        return {k: v for k, v in self.cases.items() if not any(word in v for word in bad)}

    @property
    def errors(self) -> dict[str, str]:
        """What was wrong with those that failed."""
        return {name: value["error"] for name, value in self.cases.items() if "error" in value}


class Clock:
    """The time that is left to this call; the first case is begun whatever it takes."""

    def __init__(self, minutes: float | None) -> None:
        self.until = None if minutes is None else time.monotonic() + 60 * minutes
        self.begun = 0

    def left(self) -> float | None:
        """Return the seconds that are left, or None where there is no limit."""
        return None if self.until is None else self.until - time.monotonic()

    def allows(self, seconds: float) -> bool:
        """Return whether something that takes so long may begin."""
        left = self.left()
        return left is None or not self.begun or seconds <= left


def file_of(folder: Path, name: str) -> Path:
    """Return where a part's file lies."""
    return folder / f"{name}.json"


def read(folder: Path, name: str, about: Mapping[str, Any] | None = None) -> Record | None:
    """Return what is there of a part, or None; refuse the file of another card than `about` says."""
    file = file_of(folder, name)
    if not file.is_file():
        return None
    try:
        record = msgspec.json.decode(file.read_bytes(), type=Record)
    except msgspec.DecodeError as error:
        raise RunError(f"{file} is no file of gpu.py ({error}): remove it, or give another --folder") from None
    if about is not None and any(record.about[key] != about[key] for key in SAME):
        was, now = (", ".join(f"{key} {one[key]}" for key in SAME) for one in (record.about, about))
        raise RunError(f"{file} is of {was}; here it is {now}: say --again, or give another --folder")
    return record


def write(folder: Path, name: str, record: Record) -> None:
    """Write a part's file."""
    atomic_write(file_of(folder, name), msgspec.json.format(msgspec.json.encode(record), indent=1))


def measure(part: Part, bench: Any, record: Record, folder: Path, clock: Clock, say: Callable[[str], object]) -> Record:
    """Measure the cases of a part that are missing, and return what is there; not finished where the time is up."""
    for case in part.cases(bench, record.cases):
        known = record.cases.get(case.name)
        if case.name in record.left_out or (known is not None and "unfinished" not in known):
            continue
        if record.cases and record.seconds + case.seconds > 60 * part.MINUTES:
            record.left_out.append(case.name)
            continue
        if not clock.allows(case.seconds):
            return record
        clock.begun += 1
        start = time.monotonic()
        value = attempt(case)
        record.cases[case.name] = value
        record.seconds += time.monotonic() - start
        write(folder, part.NAME, record)
        say(f"{part.NAME}: {case.name}: {value.get('error') or f'{time.monotonic() - start:.1f} s'}")
        if "unfinished" in value:
            return record
        bench.check()
    record.finished = True
    write(folder, part.NAME, record)
    return record


def attempt(case: Case) -> dict[str, Any]:
    """Return what a case gave, or its error: one that fails takes no other with it."""
    try:
        value: dict[str, Any] = case.work()
    except Exception as error:  # noqa: BLE001  whatever torch or the card say belongs on the page
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    return value


def begin(about: Mapping[str, Any], table: Mapping[str, float]) -> Record:
    """Return an empty record."""
    return Record(dict(about), datetime.now(UTC).isoformat(timespec="seconds"), dict(table))
