"""`kill -9` of a session at random instants, then the same command: the tables of an unbroken run, to the bit.

Three of five instants are uniform over what the session is expected to take yet; one is aimed at the middle of a
commit and one at the merging at the end, which are too short to be hit by chance. One case in ten is trained by the
command as a user gives it, with workers of its own; the others by forks of a warm process.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from _attack.outcome import Outcome

from _faults.processes import Command, Log
from _faults.tables import differences
from netpick.sessions.workers.pool import WAITING

KIND = "session"
AIMS = ("uniform", "commit", "uniform", "compaction", "uniform")
COLD = 10
"""One in so many cases is the command as a user gives it."""
MOST = 4
"""Kills of one run."""
IN_FLIGHT = 2 + WAITING + 1
"""Trainings that a kill may cost, with one worker: in training, handed out, waiting, and one that is being written."""


def case(number: int, rng: random.Random, bases: Path, folder: Path, most: int = MOST) -> Iterator[Outcome]:
    """Kill and resume one run; yield an outcome for each kill that hit, the last one with what came of the tables."""
    cold = number % COLD == COLD - 1
    run, log = folder / "run", folder / "log"
    shutil.copytree(bases / "tiny", run)
    begun, kills, faults = time.monotonic(), [], []
    for _ in range(most):
        what, wrong = _killed(run, log, rng, cold, float((bases / "seconds").read_text()))
        faults += wrong
        if not what:
            break
        kills.append(what)
    else:
        faults += _unbroken(run, log, cold)
    if not faults:
        faults = [f"SILENT: {text}" for text in differences(bases / "tiny-trained", run)]
    for at, what in enumerate(kills):
        wrong = faults[0] if faults and at == len(kills) - 1 else "ok"
        seconds = (time.monotonic() - begun) / len(kills)
        yield Outcome(KIND, number, wrong.partition(":")[0], what, "train", wrong if faults else "", seconds=seconds)
    if faults and not kills:
        yield Outcome(KIND, number, faults[0].partition(":")[0], "not killed", "train", faults[0])


def train_words(run: Path, *more: object) -> tuple[object, ...]:
    """Return the words of the command that trains a run here, by an engine that needs nothing made ready."""
    return ("train", run, "--device", "cpu", "--workers", 1, "--no-estimate", "--plan", "eager/plain", *more)


def _unbroken(run: Path, log: Path, cold: bool) -> list[str]:
    command = Command(train_words(run), log, cold, "" if cold else "threading")
    said = command.wait()
    left = [f"HANG: left after the end: {name}" for name in command.orphans()]
    return [f"UNSAID: exit code {said.code}: {said.text[-200:]}", *left] if said.code else left


def _killed(run: Path, log: Path, rng: random.Random, cold: bool, seconds: float) -> tuple[str, list[str]]:
    """Start a session, and kill it at an instant; return what was hit, if it had not ended before, and faults."""
    aim, events = rng.choice(AIMS), Log(run)
    before = _rows(run)
    command = Command(train_words(run), log, cold, "" if cold else "threading")
    if not _instant(command, events, run, aim, rng, seconds * (3 if cold else 1)):
        said = command.wait()
        return "", [f"UNSAID: exit code {said.code}: {said.text[-200:]}"] if said.code else []
    with contextlib.suppress(ProcessLookupError):  # a fork that has no session of its own yet
        if rng.random() < 0.5 or not cold:
            os.killpg(command.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(command.pid, signal.SIGKILL)
    if command.wait().code != -signal.SIGKILL:
        return "", []
    faults = [f"HANG: left after the kill: {name}" for name in command.orphans()]
    done = events.events()
    due, ended = events.progress()
    written = _rows(run)
    told = {f"{event['network']} {event['replicate']}" for event in done if event["event"] == "done"}
    begun = {f"{event['network']} {event['replicate']}" for event in done if event["event"] == "start"}
    if lost := (before | told) - written:
        faults.append(f"LOST: {sorted(lost)[:3]} had ended")
    if len(unended := begun - written) > IN_FLIGHT:
        faults.append(f"LOST: {len(unended)} trainings that had begun")
    phase = "start" if due is None else "compaction" if ended == due else "training"
    return f"{phase}, aimed at {aim}", faults


def _instant(command: Command, events: Log, run: Path, aim: str, rng: random.Random, seconds: float) -> bool:
    """Wait for the instant of the kill; False where the session ended before it."""
    until, share, after = time.monotonic() + rng.uniform(0, seconds), rng.random(), rng.uniform(0, 0.05)
    while command.code is None:
        if aim == "uniform":
            if time.monotonic() >= until:
                return True
        else:
            due, ended = events.progress()
            if due is not None and aim == "commit" and ended >= share * due and _unfinished(run):
                return True
            if due is not None and aim == "compaction" and ended == due:
                time.sleep(after)
                return command.code is None
        time.sleep(0.0005 if aim == "commit" else 0.002)
    return False


def _rows(run: Path) -> set[str]:
    """Return the trainings that have a row, read by pandas alone, each file by itself: one may be superseded."""
    import pandas as pd

    frames = [pd.read_parquet(path) for path in (run / "trainings").glob("[!.]*.parquet")]
    return {f"{n} {r}" for frame in frames for n, r in zip(frame["network"], frame["replicate"], strict=True)}


def _unfinished(run: Path) -> bool:
    """Whether a training has some of its files and not its row in `trainings`, or a file is only half written."""
    names = {table: set(os.listdir(run / table)) for table in ("trainings", "epochs", "predictions")}
    weights = os.listdir(run / "weights") if (run / "weights").is_dir() else []
    if any(name.endswith(".tmp") for several in (*names.values(), weights) for name in several):
        return True
    parts = {name for name in names["epochs"] | names["predictions"] if name.startswith("part-")}
    return bool((names["epochs"] | names["predictions"]) - parts - names["trainings"])
