"""netpick's commands as processes that can be struck: forks of a warm server, or the command as a user gives it.

A fork has torch and netpick loaded already, so that it is at work within a tenth of a second.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from _common import netpick_command

from netpick.core.result import STATUSES

ORPHAN_SECONDS = 15.0
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["_faults.warm"])
_starting = threading.Lock()


class Said(NamedTuple):
    """How a command ended: its exit code (negative for a signal), and all that it printed."""

    code: int
    text: str

    @property
    def line(self) -> str:
        """The line in which netpick says why it failed; nothing where that is not exactly one, the last."""
        lines = [line for line in self.text.splitlines() if line.startswith("netpick: ")]
        last = self.text.strip().splitlines()[-1:]
        return lines[0] if lines == last else ""


class Command:
    """A netpick command that runs, in a Unix session of its own, so that whatever it starts can be found."""

    def __init__(
        self, words: tuple[object, ...], log: Path, cold: bool = False, pooled: str = "", folder: Path | None = None
    ) -> None:
        log.touch()
        self.log, self.start = log, log.stat().st_size
        self.process: Any
        if cold:
            with log.open("ab") as out:
                self.process = subprocess.Popen(
                    netpick_command(*words), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
                )
        else:
            from _faults.warm import give

            _start_server()
            self.process = _context.Process(target=give, args=([*map(str, words)], str(log), pooled, str(folder or "")))
            self.process.start()
        self.pid: int = self.process.pid

    @property
    def code(self) -> int | None:
        """Exit code; None while it runs."""
        return self.process.poll() if isinstance(self.process, subprocess.Popen) else self.process.exitcode  # type: ignore[no-any-return]

    def wait(self, seconds: float = 300.0) -> Said:
        """Wait for its end, and end all that is left of it after so long."""
        until = time.monotonic() + seconds
        while self.code is None and time.monotonic() < until:
            time.sleep(0.01)
        code = self.code
        if code is None:
            self.kill_all()
        text = self.log.read_bytes()[self.start :].decode(errors="replace")
        return Said(-signal.SIGALRM if code is None else code, text)

    def kill_all(self) -> None:
        """Kill every process of it."""
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def members(self) -> list[psutil.Process]:
        """Return all living processes of its session, whoever is their parent by now."""
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
                if os.getsid(pid) == self.pid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    found.append(psutil.Process(pid))
        return found

    def workers(self) -> list[psutil.Process]:
        """Return joblib's worker processes."""
        found = []
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                if any("popen_loky" in word for word in process.cmdline()):
                    found.append(process)
        return found

    def orphans(self) -> list[str]:
        """Wait until nothing of it is left; return what still is after too long, and end that."""
        until = time.monotonic() + ORPHAN_SECONDS
        while left := self.members():
            if time.monotonic() > until:
                names = [f"{process.pid} {process.status()} {' '.join(process.cmdline())[:80]}" for process in left]
                self.kill_all()
                return names
            time.sleep(0.05)
        return []


def _start_server() -> None:
    """Start the server, if it doesn't run: Python tells it nothing of `sys.path`, and it skips what it can't import."""
    with _starting:  # cases may run in several threads
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        try:
            forkserver.ensure_running()
        finally:
            del os.environ["PYTHONPATH"]
            if before is not None:
                os.environ["PYTHONPATH"] = before


class Log:
    """What a run's events.jsonl says from now on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.jsonl"
        self.start = self.path.stat().st_size if self.path.exists() else 0

    def events(self) -> list[dict[str, Any]]:
        """Return the events since then, without a last line that is half written."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(self.start)
            return [json.loads(line) for line in file.read().split(b"\n")[:-1] if line.startswith(b"{")]
        return []

    def progress(self) -> tuple[int | None, int]:
        """Return how many trainings were due (None: not begun) and how many of them have ended."""
        events = self.events()
        due = next((event["due"] for event in events if event["event"] == "begin"), None)
        return due, sum(event["event"] in STATUSES for event in events)


def ask_warm(words: tuple[object, ...], log: Path, seconds: float = 300.0) -> Said:
    """Give a command to a fork of the warm server, and wait for it."""
    return Command(words, log).wait(seconds)


def in_a_fork(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fork of the warm server, and return what it returns."""
    from _faults.warm import call

    _start_server()
    receive, send = _context.Pipe(duplex=False)
    process = _context.Process(target=call, args=(send, work, arguments))
    process.start()
    send.close()
    try:
        good, value = receive.recv()
    except EOFError:
        good, value = False, "it died"
    process.join()
    if not good:
        raise RuntimeError(value)
    return value


def until(
    condition: Callable[[], bool], command: Command, seconds: float = 60.0, step: float = 0.002
) -> Iterator[None]:
    """Yield once, when a condition holds while a command runs; not at all where it ends before."""
    end = time.monotonic() + seconds
    while command.code is None and time.monotonic() < end:
        if condition():
            yield
            return
        time.sleep(step)
