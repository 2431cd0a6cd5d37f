"""Cases, each watched: time, memory, signals, files, markers.

A process forked from the warm one does several cases of a kind, one after the other; what then looks like a fault is
done again by a process of its own, and that is what counts. Time is the processor's, so that a busy machine finds no
hang that is not there; what waits for ever uses none, and is found by that. Memory is the highest of each case.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from .box import Box, Kind
from .child import do_cases, stack_frame
from .outcome import OUTCOMES, Outcome

SECONDS = 20
PATIENT_SECONDS = 120
PATIENT = ("report", "figures", "train", "time")
"""Commands that take longer than others where nothing is wrong."""
IDLE_SECONDS = 10
MOST_BYTES = 2 * 2**30
STOP_BYTES = 3 * 2**30
LOOK_SECONDS = 0.25


@dataclass
class _Case:
    """The case that a process is at, and what it has noted of it."""

    kind: Kind
    number: int
    box: Box
    begun: float = field(default_factory=time.monotonic)
    what: str = ""
    before: dict[str, str] | None = None
    command: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)

    def note(self, note: dict[str, Any]) -> None:
        """Take what its process has noted."""
        self.what = note.get("what", self.what)
        self.before = note.get("before", self.before)
        self.command = note.get("command", self.command)
        if "result" in note:
            self.results.append({"command": self.command, **note})

    def add(self, result: str, line: str = "", where: str = "") -> None:
        """Take what was seen from outside."""
        self.results.append({"result": result, "command": self.command, "line": line, "where": where})

    def outcome(self, peak: int, seconds: float) -> Outcome:
        """Say what came of it, looking for what it left on the disk."""
        if peak > MOST_BYTES:
            self.add("MEMORY", f"{peak / 1e9:.1f} GB")
        if self.box.marker.exists():
            self.add("CODE", "a marker was written")
        if self.before is not None and (touched := _touched(self.before, self.box.state())):
            self.add("OUTSIDE", touched)
        worst = max(self.results, key=_badness, default={"result": "HARNESS", "line": "ended without a word"})
        said = (worst.get("command", ""), worst.get("line", ""), worst.get("where", ""))
        return Outcome(self.kind.name, self.number, worst["result"], self.what, *said, round(seconds, 2), peak)


class _Watched:
    """A process that does cases of one kind, one after the other; `left` are those that it has not begun."""

    def __init__(self, kind: Kind, numbers: tuple[int, ...], seed: int, work: Path) -> None:
        self.kind, self.left, self.alone = kind, deque(numbers), len(numbers) == 1
        self.boxes = {number: Box(work / "cases" / f"{kind.name}-{number}", work / "bases") for number in numbers}
        self.log = work / "cases" / f"{kind.name}-{'-'.join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))}.log"
        self.log.write_text("")
        self.case: _Case | None = None
        self.begun = self.moved = time.monotonic()
        self.noted_cpu = self.cpu = self.looked = 0.0
        self.noted, self.stopped = False, ""
        self.pid = os.fork()
        if not self.pid:
            do_cases(kind, self.boxes, seed, self.log)
        self.handle = os.pidfd_open(self.pid)
        self.notes: BinaryIO = open(self.log, "rb")  # noqa: SIM115  closed by `end`
        self.rest = b""

    def outcomes(self) -> Iterator[Outcome]:
        """Read what was noted since the last time; yield what came of the cases that have ended in company."""
        *lines, self.rest = (self.rest + self.notes.read()).split(b"\n")
        self.noted = self.noted or bool(lines)
        for line in lines:
            note = json.loads(line)
            if "case" in note:
                self.case = self._next()
            elif self.case and "peak" not in note:
                self.case.note(note)
            elif self.case and not self.alone:
                yield self.case.outcome(note["peak"], note["seconds"])
                self.case = None

    def _next(self) -> _Case:
        number = self.left.popleft()
        return _Case(self.kind, number, self.boxes[number])

    def look(self) -> str:
        """Return why the process is to be stopped, if it is."""
        now = time.monotonic()
        try:
            process = psutil.Process(self.pid)
            resident, cpu = process.memory_info().rss, sum(process.cpu_times()[:4])
            if now - self.begun > 2 and now - self.looked > 0.5:
                self.looked = now
                for child in process.children(recursive=True):
                    with suppress(psutil.Error):
                        resident = max(resident, child.memory_info().rss)
                        cpu += sum(child.cpu_times()[:2])
                if cpu > self.cpu + 0.02:
                    self.cpu, self.moved = cpu, now
        except psutil.Error:
            return ""
        if self.noted:
            self.noted, self.noted_cpu, self.moved = False, cpu, now
        if resident > STOP_BYTES:
            return "MEMORY"
        limit = PATIENT_SECONDS if self.case and self.case.command.startswith(PATIENT) else SECONDS
        return "HANG" if cpu - self.noted_cpu > limit or now - self.moved > IDLE_SECONDS else ""

    def stop(self, why: str) -> None:
        """Let the process write down where it is, and kill it with all its children."""
        self.stopped = why
        with suppress(OSError):
            os.kill(self.pid, signal.SIGUSR1)
            time.sleep(0.2)
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)

    def end(self, status: int, peak: int) -> Iterator[Outcome]:
        """Yield what came of the last cases, once the process has ended."""
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        os.close(self.handle)
        yield from self.outcomes()
        self.notes.close()
        if not self.case and self.alone and self.left:  # not a word: it didn't come so far
            self.case = self._next()
        if self.case:
            stack = self.log.with_suffix(".stack")
            where = stack_frame(stack.read_text(errors="replace")) if stack.exists() else ""
            if self.stopped:
                self.case.add(self.stopped, where=where)
            elif os.WIFSIGNALED(status):
                self.case.add("CRASH", signal.Signals(os.WTERMSIG(status)).name)
            yield self.case.outcome(peak, time.monotonic() - self.case.begun)

    def clear(self) -> None:
        """Remove its files."""
        for suffix in (".log", ".out", ".stack"):
            self.log.with_suffix(suffix).unlink(missing_ok=True)


def run_cases(
    cases: Iterable[tuple[Kind, int]], seed: int, work: Path, jobs: int = 1, keep: bool = False
) -> Iterator[Outcome]:
    """Run cases in forks of this process, several at the same time; yield what came of each.

    With `keep` each has a process of its own, and the folders stay, with a log of what was done and said beside each.
    """
    waiting = deque(_together(cases, keep))
    going: list[_Watched] = []
    company: dict[tuple[str, int], str] = {}
    (work / "cases").mkdir(parents=True, exist_ok=True)
    gc.collect()
    gc.freeze()
    try:
        while waiting or going:
            while waiting and len(going) < jobs:
                going.append(_Watched(*waiting.popleft(), seed, work))
            select.select([watched.handle for watched in going], [], [], LOOK_SECONDS)
            for watched in list(going):
                pid, status, usage = os.wait4(watched.pid, os.WNOHANG)
                for outcome in watched.end(status, usage.ru_maxrss * 1024) if pid else watched.outcomes():
                    if not keep:
                        shutil.rmtree(os.fsencode(watched.boxes[outcome.case].folder), ignore_errors=True)
                    key = (outcome.kind, outcome.case)
                    if watched.alone or not outcome.is_fault:
                        yield replace(outcome, company=company.get(key, ""))
                    else:
                        company[key] = outcome.outcome
                        waiting.appendleft((watched.kind, (outcome.case,)))
                if not pid:
                    if not watched.stopped and (why := watched.look()):
                        watched.stop(why)
                    continue
                going.remove(watched)
                if watched.left:
                    waiting.appendleft((watched.kind, tuple(watched.left)))
                if not keep:
                    watched.clear()
    finally:
        for watched in going:
            watched.stop("HANG")
            os.waitpid(watched.pid, 0)
        gc.unfreeze()


def _together(cases: Iterable[tuple[Kind, int]], alone: bool) -> Iterator[tuple[Kind, tuple[int, ...]]]:
    """Yield the cases that one process does, as many as their kind can stand."""
    for kind, members in groupby(cases, key=lambda case: case[0]):
        numbers, most = tuple(number for _, number in members), 1 if alone else kind.together
        yield from ((kind, numbers[at : at + most]) for at in range(0, len(numbers), most))


def _badness(result: dict[str, Any]) -> int:
    rank = OUTCOMES.index(result["result"])
    return rank if rank < 2 else 100 - rank


def _touched(before: dict[str, str], after: dict[str, str]) -> str:
    for path, state in before.items():
        if path not in after:
            return f"removed {path}"
        if after[path] != state:
            return f"changed {path}"
    return next((f"made {path}" for path in after if path not in before), "")
