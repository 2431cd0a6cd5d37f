"""Readers in a loop while a run grows and is merged: no error, no row twice, none missing that was there.

A process writes the results of a trained run into a new one, training by training, as a session does, and merges now
and then; when all is there it begins another run. Meanwhile `status` and `ask` are given, and `Run` is opened.
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

from _faults.processes import Command, in_a_fork

KIND = "readers"
COMMANDS = (("status",), ("ask", "scores"), ("ask", "easy"), ("status",))
NETWORKS = 40


def looks(seconds: float, rng: random.Random, folder: Path) -> Iterator[Outcome]:
    """Read for so long; yield an outcome for each look."""
    folder.mkdir(parents=True)
    left, number = seconds, 0
    while left > 0:
        number += 1
        run = folder / f"run{number}"
        in_a_fork(_planted, folder / "all", run)
        begun = time.monotonic()
        pid = in_a_fork(_begin_writing, folder / "all", run, rng.random())
        try:
            yield from _while_it_grows(run, pid, rng, folder / "log", begun + left)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(run)
        left -= time.monotonic() - begun


def _while_it_grows(run: Path, pid: int, rng: random.Random, log: Path, end: float) -> Iterator[Outcome]:
    seen: set[str] = set()
    goes_on = True
    while goes_on:  # at the end once more, when all is there
        goes_on = _alive(pid) and time.monotonic() < end
        begun = time.monotonic()
        command = rng.choice(COMMANDS)
        if rng.random() < 0.7:
            what, (fault, rows) = "Run", in_a_fork(_look, run)
            if not fault and (lost := seen - rows):
                fault = f"LOST: {sorted(lost)[:3]}"
            seen |= rows
        else:
            what = command[0]
            said = Command((command[0], run, *command[1:]), log).wait(60)
            allowed = not said.code or (said.code == 2 and "no finished training" in said.text) or not seen
            fault = "" if allowed else f"UNSAID: exit code {said.code}: {said.text[-300:]}"
        word = fault.partition(":")[0] or "ok"
        yield Outcome(KIND, len(seen), word, what, what, fault, seconds=time.monotonic() - begun)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def _planted(source: Path, run: Path) -> None:
    """Make the run that all results are taken from, once, and an empty one of the same networks."""
    from netpick.exam import plant

    if not source.exists():
        plant(source, networks=NETWORKS, samples=60, classes=3, epochs=2, shape=(1, 8, 8), failed=0, compact=False)
    shutil.copytree(source, run, ignore=shutil.ignore_patterns("*-0.parquet", "part-*"))


def _begin_writing(source: Path, run: Path, seed: float) -> int:
    """Write results in a process of its own, as a session does: no link to this one is left. Return its id."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    try:
        _write(source, run, random.Random(seed))
    finally:
        os._exit(0)


def _write(source: Path, run: Path, rng: random.Random) -> None:
    from netpick.store.folder import Store

    store = Store.open(run)
    names = sorted(path.name for path in (source / "trainings").glob("*.parquet"))
    rng.shuffle(names)
    with store.lock():
        for name in names:
            for table in ("predictions", "epochs", "trainings"):  # in the order of a commit, each whole at once
                temporary = run / table / f".{name}.tmp"
                shutil.copyfile(source / table / name, temporary)
                temporary.rename(run / table / name)
            time.sleep(rng.choice((0, 0.01, 0.1)))
            if rng.random() < 0.2:
                store.compact()
        for _ in range(20):
            store.compact(rows_per_file=rng.choice((1, 500, 5000, 10**6)))


def _look(run: Path) -> tuple[str, set[str]]:
    """Read all of a run as it is now; return what is wrong, and the trainings that are there."""
    from netpick import Run

    try:
        there = Run(run)
        trainings = there.trainings
        if not len(trainings):
            return "", set()
        keys = {f"{n} {r}" for n, r in zip(trainings["network"], trainings["replicate"], strict=True)}
        epochs, predictions, scores = there.epochs, there.predictions(epoch=None), there.scores()
    except Exception as error:  # noqa: BLE001  whatever it is, a user would see it
        return f"UNSAID: {type(error).__name__}: {error}", set()
    if len(keys) != len(trainings) or epochs.duplicated(["network", "replicate", "epoch", "split"]).any():
        return "SILENT: rows twice", keys
    if len(epochs) != 2 * len(keys) or len(predictions) != 2 * 60 * len(keys) or len(scores) != len(keys):
        return f"SILENT: {len(keys)} trainings, {len(epochs)} epochs, {len(predictions)} predictions", keys
    return "", keys
