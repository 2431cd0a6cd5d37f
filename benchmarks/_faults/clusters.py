"""A cluster that breaks while a run is trained over it: tables equal to those of a local run.

Half of the workers are lost, or all and others come; the scheduler is lost, and the same command is given when there is
another; a worker's network is cut (by root, in a network namespace with an address of its own) and mended or not.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from _attack.outcome import Outcome

from _faults.processes import Command, Log
from _faults.tables import differences

KIND = "cluster"
WAYS = ("half", "all", "scheduler", "cut", "cut for a while")
WORKERS = 2
SPACE = "netpick-faults"
HERE, THERE = "10.211.0.1", "10.211.0.2"
QUICK = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s",
    "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
    "OMP_NUM_THREADS": "1",
}
"""What is lost is noticed in seconds: it is the same in minutes."""


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder, self.host = folder, host
        self.workers: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind((host, 0))
            self.address = f"tcp://{host}:{free.getsockname()[1]}"
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """Start a scheduler, where the last one was."""
        port = self.address.rpartition(":")[2]
        self.scheduler = self._start("scheduler", "--host", self.host, "--port", port, "--no-dashboard")

    def add_worker(self, *before: str, host: str = "") -> None:
        """Start a worker, by another command where words come before it."""
        words = (self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard", "--death-timeout", "60")
        self.workers.append(self._start("worker", *words, "--host", host or self.host, before=before))

    def kill(self, *processes: subprocess.Popen[bytes]) -> None:
        """Kill some of its processes."""
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """Kill all of it."""
        self.kill(self.scheduler, *self.workers)

    def _start(self, what: str, *words: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        command = [*before, sys.executable, "-m", "dask", what, *words]
        with (self.folder / f"{what}.log").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env={**os.environ, **QUICK}, start_new_session=True
            )


def case(number: int, rng: random.Random, bases: Path, folder: Path, most: int = 1) -> Iterator[Outcome]:
    """Train one run over a cluster that breaks; yield what came of it."""
    way = WAYS[number % len(WAYS)]
    if way.startswith("cut") and os.geteuid():
        return
    run, log = folder / "run", folder / "log"
    shutil.copytree(bases / "tiny", run)
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(_namespace()) if way.startswith("cut") else "127.0.0.1"
        cluster = Cluster(folder, host)
        stack.callback(cluster.close)
        cluster.add_worker()
        before = ("ip", "netns", "exec", SPACE) if way.startswith("cut") else ()
        cluster.add_worker(*before, host=THERE if before else "")
        words = ("train", run, "--scheduler", cluster.address, "--no-estimate", "--plan", "eager/plain")
        command = Command(words, log)
        stack.callback(command.kill_all)
        if _instant(command, Log(run), rng):
            _break(way, cluster)
        said = command.wait(180)
        faults = []
        if way == "scheduler" and said.code:
            if said.code != 1 or not said.line:
                faults.append(f"UNSAID: exit code {said.code}: {said.text[-300:]}")
            said = Command(words, log).wait(180)
        if said.code:
            word = "HANG" if said.code == -signal.SIGALRM else "UNSAID"
            faults.append(f"{word}: exit code {said.code}: {said.text[-300:]}")
    faults += [] if faults else [f"SILENT: {text}" for text in differences(bases / "tiny-trained", run)]
    fault = faults[0] if faults else ""
    seconds = time.monotonic() - begun
    yield Outcome(KIND, number, fault.partition(":")[0] or "ok", way, "train", fault, seconds=seconds)


def _instant(command: Command, events: Log, rng: random.Random) -> bool:
    """Wait until a share of the trainings has ended; False where the session ended before."""
    share = rng.random()
    while command.code is None:
        due, ended = events.progress()
        if due is not None and ended >= share * due:
            return True
        time.sleep(0.005)
    return False


def _break(way: str, cluster: Cluster) -> None:
    if way == "half":
        cluster.kill(cluster.workers[0])
    elif way == "all":
        cluster.kill(*cluster.workers)
        for _ in range(WORKERS):
            cluster.add_worker()
    elif way == "scheduler":
        cluster.close()
        cluster.start_scheduler()
        for _ in range(WORKERS):
            cluster.add_worker()
    else:
        _ip("link", "set", f"{SPACE[:8]}0", "down")
        if way == "cut for a while":
            time.sleep(3)
            _ip("link", "set", f"{SPACE[:8]}0", "up")


@contextlib.contextmanager
def _namespace() -> Iterator[str]:
    """Make a network namespace with an address of its own; give the address that this side has."""
    here, there = f"{SPACE[:8]}0", f"{SPACE[:8]}1"
    for left in (("link", "delete", here), ("netns", "delete", SPACE)):  # of a case that was killed
        subprocess.run(["ip", *left], capture_output=True)
    _ip("netns", "add", SPACE)
    try:
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", SPACE)
        _ip("address", "add", f"{HERE}/24", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", SPACE, "address", "add", f"{THERE}/24", "dev", there)
        _ip("-n", SPACE, "link", "set", there, "up")
        _ip("-n", SPACE, "link", "set", "lo", "up")
        yield HERE
    finally:
        _ip("link", "delete", here)  # at once: with its namespace it would go only after the last process there
        _ip("netns", "delete", SPACE)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
