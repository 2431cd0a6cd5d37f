"""Kill training with `kill -9` at random instants, resume, and compare every table with an undisturbed run.

A small run is trained undisturbed by the real command line. Copies of its untrained folder are then trained by the same
command, which is killed and given again, until so many kills have hit a living process; a run that ends before that is
compared and a new copy begun. Three of five instants are uniform over the time that the run is expected to take yet;
one is aimed at the middle of a commit and one at the merging of the files at the end, which are too short to be hit
by chance. The victim is the coordinator, the whole process group, or one worker (whose death the coordinator must
survive, so that a later kill follows in the same session; not twice, since a training whose worker dies twice is
`failed`, as it should be).

Compared to the bit: networks, samples, trainings (without started, seconds, attempts), epochs (without train_seconds,
eval_seconds), predictions, and the bytes of the weights, all read by bare pandas. Also checked: no process is left a
few seconds after a kill, no unfinished file is left at the end, every session that is not killed exits with 0. Exit
code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from _common import (
    console,
    machine,
    main,
    netpick_command,
    new_parser,
    positive,
    print_machine,
    run_netpick,
    write_json,
)

from netpick.core.result import STATUSES
from netpick.store.folder import Store

TIMES = {"trainings": ["started", "seconds", "attempts"], "epochs": ["train_seconds", "eval_seconds"]}
"""Columns that say how long or how often, and differ between any two runs."""

KEYS = ("network", "replicate", "epoch", "split", "sample", "name")
AIMS = ("uniform", "uniform", "commit", "uniform", "compaction")
TARGETS = ("coordinator", "worker", "coordinator", "group")
PHASES = ("start", "training", "commit", "compaction")
ORPHAN_SECONDS = 15.0


class Session:
    """One `netpick train` process, in a Unix session of its own, so that whatever it starts can be found."""

    def __init__(self, folder: Path, args: argparse.Namespace, log: Path) -> None:
        self.folder = folder
        self.events_file = folder / "events.jsonl"
        self.seen = self.events_file.stat().st_size if self.events_file.exists() else 0
        self.worker_killed = False
        self.began = time.time()
        command = netpick_command("train", folder, "--device", "cpu", "--workers", args.workers)
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    def alive(self) -> bool:
        """Whether the coordinator is running."""
        return self.process.poll() is None

    def events(self) -> list[dict[str, Any]]:
        """Return this session's events so far."""
        try:
            with self.events_file.open("rb") as file:
                file.seek(self.seen)
                lines = file.read().split(b"\n")[:-1]  # the last one is empty, or not written to its end
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def progress(self) -> tuple[int | None, int]:
        """Return how many trainings were due (None: not begun) and how many of them have ended."""
        events = self.events()
        due = next((event["due"] for event in events if event["event"] == "begin"), None)
        return due, sum(event["event"] in STATUSES for event in events)

    def members(self) -> list[psutil.Process]:
        """Return all living processes of the session, whoever is their parent by now."""
        found = []
        for pid in psutil.pids():
            try:
                if os.getsid(pid) == self.process.pid:
                    process = psutil.Process(pid)
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
            except (ProcessLookupError, PermissionError, psutil.Error):
                continue
        return found

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes."""
        found = []
        for process in self.members():
            try:
                if any("popen_loky" in word for word in process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def phase(self) -> str:
        """Say what the coordinator was doing; to be asked after its end."""
        events = [event["event"] for event in self.events()]
        due, ended = self.progress()
        if due is None:
            return "start"
        if "end" in events:
            return "finish"
        if ended == due:
            return "compaction"
        return "commit" if unfinished(self.folder) else "training"


def unfinished(folder: Path) -> bool:
    """Whether a training has some of its files and not its row in `trainings`, or a file is only half written."""
    names = {table: set(os.listdir(folder / table)) for table in ("trainings", "epochs", "predictions")}
    weights = os.listdir(folder / "weights") if (folder / "weights").is_dir() else []
    if any(name.endswith(".tmp") for several in (*names.values(), weights) for name in several):
        return True
    parts = {name for name in names["epochs"] | names["predictions"] if name.startswith("part-")}
    return bool((names["epochs"] | names["predictions"]) - parts - names["trainings"])


@dataclass
class Pace:
    """Seconds of the undisturbed run: before the first training, all trainings, merging, and what comes after."""

    start: float
    training: float
    compaction: float
    finish: float

    def remaining(self, share: float, fresh: bool) -> float:
        """Return what a run with this share of its trainings left is expected to take yet."""
        return (self.start if fresh else 0.0) + share * self.training + self.compaction + self.finish


@dataclass
class Tally:
    """What has been done so far."""

    hits: int = 0
    folders: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    targets: Counter[str] = field(default_factory=Counter)
    kills: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        """Note and print what must not be."""
        self.problems.append(text)
        console.print(f"  PROBLEM: {text}", style="red", soft_wrap=True)


def await_instant(session: Session, aim: str, pace: Pace, share: float, chance: random.Random) -> bool:
    """Wait for the instant of the kill; False where the session ended before it."""
    fresh = session.progress()[0] is None
    until = time.monotonic() + chance.uniform(0, pace.remaining(share, fresh))
    fraction, after = chance.random(), chance.uniform(0, pace.compaction)
    while session.alive():
        if aim == "uniform":
            if (left := until - time.monotonic()) <= 0:
                return True
            time.sleep(min(left, 0.05))
            continue
        due, ended = session.progress()
        if due is not None and aim == "commit" and ended >= fraction * due and unfinished(session.folder):
            return True
        if due is not None and aim == "compaction" and ended == due:
            time.sleep(after)
            return session.alive()
        time.sleep(0.0005 if due is not None and aim == "commit" else 0.002)
    return False


def strike(session: Session, target: str, chance: random.Random) -> str | None:
    """Kill; return who was really hit, or None where it had ended already."""
    if target == "worker":
        workers = session.workers()
        if workers and not session.worker_killed and session.alive():
            victim = chance.choice(workers)
            try:
                victim.kill()
            except psutil.Error:
                return None
            session.worker_killed = True
            return "worker"
        target = "coordinator"  # there is no worker yet
    if not session.alive():
        return None
    if target == "group":
        os.killpg(session.process.pid, signal.SIGKILL)
    else:
        session.process.kill()
    return target if session.process.wait() == -signal.SIGKILL else None


def orphans_after(session: Session) -> tuple[float, list[str]]:
    """Wait until no process of a dead session is left; return the seconds, and what is left after too long."""
    start = time.monotonic()
    while left := session.members():
        if time.monotonic() - start > ORPHAN_SECONDS:
            names = [f"{process.pid} ({' '.join(process.cmdline())[:80]})" for process in left]
            for process in left:
                process.kill()
            return time.monotonic() - start, names
        time.sleep(0.05)
    return time.monotonic() - start, []


def end_session(session: Session, log: Path, tally: Tally) -> None:
    """Wait for a session that nobody kills, and check that it ended well."""
    code = session.process.wait()
    if code:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        tally.problem(f"{session.folder.name}: netpick train ended with exit code {code}: {' '.join(last)}")
    _, left = orphans_after(session)
    for name in left:
        tally.problem(f"{session.folder.name}: left after the end: process {name}")


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Read every table with bare pandas, without the columns that no two runs share, in the order of the keys."""
    out = {}
    for table in ("networks", "samples", "trainings", "epochs", "predictions"):
        path = folder / table if (folder / table).is_dir() else folder / f"{table}.parquet"
        frame = pd.read_parquet(path).drop(columns=TIMES.get(table, []))
        frame = frame.astype({name: str for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)})
        keys = [key for key in KEYS if key in frame]
        out[table] = frame.sort_values(keys, kind="stable", ignore_index=True)
    return out


def differences(expected: Path, got: Path) -> Iterator[str]:
    """Yield what differs between two finished runs."""
    ours = read_tables(got)
    for table, frame in read_tables(expected).items():
        other = ours[table]
        if list(frame) != list(other) or len(frame) != len(other):
            yield f"{table}: {other.shape} rows and columns, expected {frame.shape}"
            continue
        for name in frame:
            if not same_bits(frame[name], other[name]):
                yield f"{table}.{name} differs"
    weights = [{p.name: digest(p) for p in (run / "weights").glob("*")} for run in (expected, got)]
    for name in sorted(weights[0].keys() | weights[1].keys()):
        if weights[0].get(name) != weights[1].get(name):
            yield f"weights/{name} differs"
    for path in [*got.rglob("*.tmp"), *got.glob(".cache"), *got.glob(".lock.pid")]:
        yield f"{path.relative_to(got)} is left over"


def same_bits(a: pd.Series[Any], b: pd.Series[Any]) -> bool:
    """Whether two columns have the same type and the same values, floating point numbers to the bit."""
    if a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return bool(a.equals(b))
    return np.ascontiguousarray(a.to_numpy()).tobytes() == np.ascontiguousarray(b.to_numpy()).tobytes()


def digest(path: Path) -> str:
    """Return a hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def train_undisturbed(folder: Path, args: argparse.Namespace, log: Path, tally: Tally) -> Pace:
    """Train to the end and return how long its parts took."""
    session = Session(folder, args, log)
    end_session(session, log, tally)
    over = time.time()
    events = session.events()
    if tally.problems or not events or events[-1]["event"] != "end":
        raise SystemExit(f"the undisturbed run failed: {log.read_text(errors='replace')[-2000:]}")
    at = {event["event"]: datetime.fromisoformat(event["time"]).timestamp() for event in events}
    last = max(moment for name, moment in at.items() if name in STATUSES)
    return Pace(
        at["begin"] - session.began, last - at["begin"], max(0.02, at["end"] - last), max(0.0, over - at["end"])
    )


def share_left(folder: Path) -> float:
    """Return the share of a run's trainings that have no result yet."""
    store = Store.open(folder)
    return 1 - len(store.finished()) / len(store.networks())


def kill_many(work: Path, pristine: Path, expected: Path, pace: Pace, args: argparse.Namespace, tally: Tally) -> None:
    """Kill and resume until enough kills have hit, and compare each run when it is through."""
    chance = random.Random(args.seed)
    attempts = 0
    while tally.hits < args.kills:
        tally.folders += 1
        folder = work / f"killed-{tally.folders}"
        log = work / f"{folder.name}.log"
        shutil.copytree(pristine, folder)
        session = Session(folder, args, log)
        while tally.hits < args.kills:
            aim, target = AIMS[attempts % len(AIMS)], TARGETS[attempts % len(TARGETS)]
            attempts += 1
            share = share_left(folder) if session.progress()[0] is None else left_of(session)
            if not await_instant(session, aim, pace, share, chance):
                break
            seconds = time.time() - session.began
            hit = strike(session, target, chance)
            if hit is None:
                break
            note_kill(session, hit, aim, seconds, tally, args.kills)
            if hit != "worker":
                session = Session(folder, args, log)
        end_session(session, log, tally)
        found = list(differences(expected, folder))
        for text in found:
            tally.problem(f"{folder.name}: {text}")
        console.print(f"{folder.name}: {'DIFFERS from' if found else 'equal to'} the undisturbed run")


def left_of(session: Session) -> float:
    """Return the share of its trainings that a session, which has begun, still has before it."""
    due, ended = session.progress()
    total = next((event["total"] for event in session.events() if event["event"] == "begin"), 0)
    return ((due or 0) - ended) / max(1, total)


def note_kill(session: Session, hit: str, aim: str, seconds: float, tally: Tally, wanted: int) -> None:
    """Count a kill, print its line, and see that nothing outlives its coordinator."""
    tally.hits += 1
    phase = session.phase()
    due, ended = session.progress()
    gone, left = (0.0, []) if hit == "worker" else orphans_after(session)
    if hit == "worker" and phase == "commit":
        phase = "training"  # the coordinator's commit goes on
    tally.phases[phase] += 1
    tally.targets[hit] += 1
    row = {"kill": tally.hits, "folder": session.folder.name, "target": hit, "aim": aim, "phase": phase}
    tally.kills.append({**row, "seconds": seconds, "due": due, "ended": ended, "orphan_seconds": gone})
    after = "" if hit == "worker" else f", all processes gone {gone:.1f} s later"
    done = "before the first training" if due is None else f"{ended} of {due} due done"
    console.print(
        f"kill {tally.hits:2}/{wanted}  {session.folder.name}  {hit:11}  {phase:10}  "
        f"after {seconds:5.2f} s  {done}{after}",
        soft_wrap=True,
    )
    for name in left:
        tally.problem(f"{session.folder.name}: orphan after {ORPHAN_SECONDS:.0f} s: process {name}")


def work() -> int:
    """Train undisturbed, kill and resume, give the verdict."""
    parser = new_parser(__doc__)
    parser.add_argument("--kills", type=positive, default=20, help="kills that hit a living process (20)")
    parser.add_argument("--template", default="smoke", help="name or TOML file (smoke)")
    parser.add_argument("--dataset", default="digits", help="data set (digits)")
    parser.add_argument("--limit", type=positive, default=24, help="networks of the run (24)")
    parser.add_argument("--epochs", type=positive, help="another number of epochs than the template's")
    parser.add_argument("--workers", type=positive, default=2, help="workers of the run (2)")
    parser.add_argument("--seed", type=int, default=0, help="of instants and victims (0)")
    parser.add_argument("--folder", type=Path, help="work there and leave everything; else in a temporary folder")
    args = parser.parse_args()
    if not hasattr(os, "killpg") or not hasattr(os, "getsid"):
        sys.exit("kill_resume.py needs a Unix system: there is no kill -9 elsewhere")
    facts = machine()
    print_machine(facts)
    folder = args.folder or Path(tempfile.mkdtemp(prefix="netpick-kill-"))
    pristine, expected, tally = folder / "pristine", folder / "undisturbed", Tally()
    given = ["--set", f"recipe.epochs={args.epochs}"] if args.epochs else []
    made = ["--dataset", args.dataset, "--limit", args.limit, "--run", pristine]
    run_netpick("generate", args.template, *made, *given)
    shutil.copytree(pristine, expected)
    pace = train_undisturbed(expected, args, folder / "undisturbed.log", tally)
    console.print(
        f"undisturbed: {args.limit} networks; {pace.start:.1f} s to start, {pace.training:.1f} s of training, "
        f"{pace.compaction:.2f} s of merging, {pace.finish:.1f} s to finish"
    )
    kill_many(folder, pristine, expected, pace, args, tally)
    verdict = f"{tally.hits} kills in {tally.folders} runs: " + (
        f"{len(tally.problems)} PROBLEMS" if tally.problems else "all tables equal to those of the undisturbed run"
    )
    console.print(verdict, style="bold red" if tally.problems else "bold green")
    for word, counts in (("while", tally.phases), ("victim", tally.targets)):
        console.print(f"  {word}: {', '.join(f'{number} {name}' for name, number in counts.most_common())}")
    if missed := [phase for phase in PHASES if not tally.phases[phase]]:
        console.print(f"  not hit this time: {', '.join(missed)}; more --kills or another --seed will", style="yellow")
    result = {"pace": vars(pace), "kills": tally.kills, "runs": tally.folders, "problems": tally.problems}
    write_json(args.json, {"machine": facts, "verdict": verdict, **result})
    if not args.folder and not tally.problems:
        shutil.rmtree(folder)
    else:
        console.print(f"everything is left in {folder}", soft_wrap=True)
    return 1 if tally.problems else 0


if __name__ == "__main__":
    main(work)
