"""Workers that die, stand still, or find no memory: only the culprit fails, and only after a second try.

Either a worker is struck from outside (kill -9, SIGSTOP, a limit of its memory), and then nothing fails; or a network
of a module strikes its own worker, whenever it is trained, and then it alone is a failed row, at its second attempt.
"""

from __future__ import annotations

import random
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
from _attack.outcome import Outcome

from _faults.processes import Command, Log
from _faults.sessions import train_words
from _faults.tables import differences

KIND = "worker"
STRIKES = ("kill", "stop", "memory", "culprit kill", "culprit stop", "culprit memory")

MODULE = '''"""A network that strikes its own worker when it is trained, and behaves while it is measured."""

import os
import signal
from pathlib import Path

import torch

HOW = Path(__file__).with_suffix(".how")


class Culprit(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x):
        how = HOW.read_text() if HOW.exists() else ""
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if how == "memory":
            torch.empty(2**50)
        return torch.log_softmax(self.linear(x.flatten(1)), 1)
'''


def case(number: int, rng: random.Random, bases: Path, folder: Path, most: int = 1) -> Iterator[Outcome]:
    """Train one run while a worker of it is struck; yield what came of it."""
    how = STRIKES[number % len(STRIKES)]
    culprit, _, way = how.rpartition(" ")
    base = "culprit" if culprit else "tiny"
    run, log = folder / "run", folder / "log"
    shutil.copytree(bases / base, run)
    shutil.copy(bases / "strikes.py", folder / "strikes.py")
    begun = time.monotonic()
    more: tuple[object, ...] = ("--workers", 2)
    if culprit:
        (folder / "strikes.how").write_text(way)
        more = (*more, "--module", "strikes")
    command = Command(train_words(run, *more), log, folder=folder)
    hit = bool(culprit) or _strike(command, Log(run), way, rng)
    said = command.wait()
    left = command.orphans()
    wrong = [f"HANG: left after the end: {', '.join(left)}"] if left else []
    if said.code:
        word = "HANG" if said.code == -signal.SIGALRM else "UNSAID"
        wrong.append(f"{word}: exit code {said.code}: {said.text[-300:]}")
    else:
        wrong += _faults(run, bases / f"{base}-trained", bool(culprit))
    if hit or wrong:
        fault = wrong[0] if wrong else ""
        seconds = time.monotonic() - begun
        yield Outcome(KIND, number, fault.partition(":")[0] or "ok", how, "train", fault, seconds=seconds)


def _strike(command: Command, events: Log, way: str, rng: random.Random) -> bool:
    """Strike a worker at an instant of the training; False where there was none."""
    share = rng.random()
    while command.code is None:
        due, ended = events.progress()
        workers = command.workers() if due is not None and ended >= share * due else []
        if workers:
            victim = rng.choice(workers)
            try:
                if way == "memory":  # no byte more than it has
                    most = victim.memory_info().vms
                    resource.prlimit(victim.pid, resource.RLIMIT_AS, (most, most))
                else:
                    victim.send_signal(signal.SIGSTOP if way == "stop" else signal.SIGKILL)
            except (psutil.Error, ProcessLookupError):
                return False
            return True
        time.sleep(0.005)
    return False


def _faults(run: Path, expected: Path, is_culprit: bool) -> list[str]:
    rows = pd.read_parquet(run / "trainings")
    failed = rows[rows["status"] != "done"]
    culprits = ["Culprit"] if is_culprit else []
    if failed["network"].astype(str).tolist() != culprits:
        return [f"LOST: {failed[['network', 'status', 'error']].to_dict('records')}"[:300]]
    if (failed["attempts"] != 2).any():
        return [f"LOST: a failed row after {failed['attempts'].tolist()} attempts"]
    return [f"SILENT: {text}" for text in differences(expected, run, tuple(culprits))]
