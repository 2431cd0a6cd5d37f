"""Cases, each in a process forked from a warm one and watched: time, memory, signals, files, markers.

Time is the processor's, so that a busy machine finds no hang that is not there; what waits for ever uses none, and is
found by that.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from .box import Box, Kind, make_bases
from .child import run_case, stack_frame
from .outcome import OUTCOMES, Outcome

SECONDS = 20
PATIENT_SECONDS = 120
PATIENT = ("report", "figures", "train", "time")
"""Commands that take longer than others where nothing is wrong."""
IDLE_SECONDS = 10
MOST_BYTES = 2 * 2**30
STOP_BYTES = 3 * 2**30


def warm(kinds: Iterable[Kind], bases: Path) -> None:
    """Make the runs that cases copy, and import once for all cases what netpick's commands import.

    Both are done in processes of their own, so that no threads of libraries are left in this one.
    """
    kinds = tuple(kinds)
    heavy = any(kind.torch for kind in kinds)
    importlib.import_module("netpick.cli")
    if heavy:
        importlib.import_module("torch").set_num_threads(1)
    bases.mkdir(parents=True, exist_ok=True)
    names = {base for kind in kinds for base in kind.bases}
    _in_a_fork(lambda: _prepare(bases, names, heavy), bases / "prepare.log")
    for module in (bases / "modules").read_text().split():
        with suppress(Exception):
            importlib.import_module(module)


def _prepare(bases: Path, names: set[str], heavy: bool) -> None:
    """Make the runs, give the commands once on what is not spoilt, and write down what was imported for them."""
    from netpick.cli import main

    before = set(sys.modules)
    run, out = str(bases / "planted"), bases / "rehearsal"
    out.mkdir()
    make_bases(bases, names)
    commands = [["status", run], ["show", run, "Basic"], ["pick", run], ["ask", run, "nothing"]]
    commands += [["ask", run, "weird", "--plot", str(out / "plot.svg")]]
    commands += [["export", run, "Basic", "--to", str(out / "net.py")]]
    if "digits" in names:
        commands += [["estimate", str(bases / "digits"), "--seconds", "0", "--device", "cpu"]]
    elif heavy:
        commands += [["generate", "smoke", "--dataset", "digits", "--limit", "1", "--run", str(out / "made")]]
    for command in commands:
        with suppress(SystemExit):
            main(command)
    # netpick imports torchvision in a way of its own, without its compiled part
    there = [n for n in sys.modules if n not in before and "main__" not in n and not n.startswith("torchvision")]
    (bases / "modules").write_text("\n".join(there))


def _in_a_fork(work: Callable[[], None], log: Path) -> None:
    """Do something in another process, so that no threads of libraries are left in this one."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            with open(log, "wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            work()
            code = 0
        except BaseException:  # noqa: BLE001  said by who waits for it
            os.write(2, traceback.format_exc().encode())
        os._exit(code)
    if os.waitpid(pid, 0)[1]:
        raise SystemExit(f"a run to attack can't be made: {log.read_text(errors='replace')[-1500:]}")


@dataclass
class _Watched:
    """One case that is going on."""

    kind: Kind
    case: int
    box: Box
    log: Path
    pid: int
    begun: float = field(default_factory=time.monotonic)
    noted: int = 0
    noted_cpu: float = 0.0
    cpu: float = 0.0
    moved: float = field(default_factory=time.monotonic)
    looked: float = 0.0
    stopped: str = ""
    limit: float = SECONDS

    def look(self) -> str:
        """Return why the case is to be stopped, if it is."""
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
        noted = self.log.stat().st_size if self.log.exists() else 0
        if noted != self.noted:
            self.noted, self.noted_cpu, self.moved = noted, cpu, now
            self.limit = PATIENT_SECONDS if self.command().startswith(PATIENT) else SECONDS
        if resident > STOP_BYTES:
            return "MEMORY"
        return "HANG" if cpu - self.noted_cpu > self.limit or now - self.moved > IDLE_SECONDS else ""

    def command(self) -> str:
        """Return the command that is going on."""
        lines = self.log.read_text(errors="surrogateescape").splitlines()
        return next((json.loads(line)["command"] for line in reversed(lines) if line.startswith('{"command"')), "")

    def stop(self, why: str) -> None:
        """Let the process write down where it is, and kill it with all its children."""
        self.stopped = why
        with suppress(OSError):
            os.kill(self.pid, signal.SIGUSR1)
            time.sleep(0.2)
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)


def run_cases(
    cases: Iterable[tuple[Kind, int]], seed: int, work: Path, jobs: int = 1, keep: bool = False
) -> Iterator[Outcome]:
    """Run cases in forks of this process, several at the same time; yield what came of each.

    With `keep` the folders stay, with a log of what was done and said beside each.
    """
    waiting = deque(cases)
    going: list[_Watched] = []
    folder = work / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    gc.collect()
    gc.freeze()
    try:
        while waiting or going:
            while waiting and len(going) < jobs:
                going.append(_begin(*waiting.popleft(), seed, folder, work / "bases"))
            time.sleep(0.01)
            for watched in list(going):
                pid, status, usage = os.wait4(watched.pid, os.WNOHANG)
                if not pid:
                    if not watched.stopped and (why := watched.look()):
                        watched.stop(why)
                    continue
                going.remove(watched)
                with suppress(OSError):
                    os.killpg(watched.pid, signal.SIGKILL)
                yield _ended(watched, status, usage.ru_maxrss * 1024)
                if not keep:
                    _clear(watched)
    finally:
        for watched in going:
            watched.stop("HANG")
            os.waitpid(watched.pid, 0)
        gc.unfreeze()


def _begin(kind: Kind, case: int, seed: int, folder: Path, bases: Path) -> _Watched:
    box = Box(folder / f"{kind.name}-{case}", bases)
    log = folder / f"{kind.name}-{case}.log"
    log.write_text("")
    pid = os.fork()
    if not pid:
        run_case(kind, case, seed, box, log)
    return _Watched(kind, case, box, log, pid)


def _ended(watched: _Watched, status: int, peak: int) -> Outcome:
    notes = [json.loads(line) for line in watched.log.read_text(errors="surrogateescape").splitlines()]
    what = next((note["what"] for note in notes if "what" in note), "")
    before = next((note["before"] for note in notes if "before" in note), None)
    results: list[dict[str, Any]] = []
    command = ""
    for note in notes:
        command = note.get("command", command)
        if "result" in note:
            results.append({"command": command, **note})
    stack = watched.log.with_suffix(".stack")
    where = stack_frame(stack.read_text(errors="replace")) if stack.exists() else ""
    if watched.stopped:
        results.append({"result": watched.stopped, "command": command, "where": where})
    elif os.WIFSIGNALED(status):
        results.append({"result": "CRASH", "command": command, "line": signal.Signals(os.WTERMSIG(status)).name})
    elif peak > MOST_BYTES:
        results.append({"result": "MEMORY", "command": command, "line": f"{peak / 1e9:.1f} GB"})
    if watched.box.marker.exists():
        results.append({"result": "CODE", "command": command, "line": "a marker was written"})
    if before is not None and (touched := _touched(before, watched.box.state())):
        results.append({"result": "OUTSIDE", "command": command, "line": touched})
    worst = max(results, key=_badness, default={"result": "HARNESS", "line": "ended without a word"})
    return Outcome(
        watched.kind.name,
        watched.case,
        worst["result"],
        what,
        worst.get("command", ""),
        worst.get("line", ""),
        worst.get("where", ""),
        round(time.monotonic() - watched.begun, 2),
        peak,
    )


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


def _clear(watched: _Watched) -> None:
    shutil.rmtree(os.fsencode(watched.box.folder), ignore_errors=True)
    for suffix in (".log", ".out", ".stack"):
        watched.log.with_suffix(suffix).unlink(missing_ok=True)
