"""What the time left said in a real session, beside what then followed; and how long a training takes to write down.

Generates a run of scikit-learn's digits from TEMPLATE (any name or file that `netpick generate` takes) and trains it.
After each result the time left is asked, and held against the seconds that passed from then until the session was over,
with its files merged. Before that, made-up results of 360 samples x 4 epochs x 10 classes, without weights, are
committed to a run of the template `smoke`, one by one.

With `--load N` two sessions train the same run, one after the other. In both as many other processes begin to compute
once a third is done, by what is predicted of the trainings; in the first they stay to the end, and in the second they
cease at two thirds. What is said from that moment on is held against what followed.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from _common import machine, main, new_parser, positive, print_machine, print_table, write_json

from netpick.core.devices import usable_cores
from netpick.core.result import EpochResult, SplitResult, TrainingResult
from netpick.sessions import Listener, Options, train_run
from netpick.sessions.generate import generate_run
from netpick.sessions.listener import Start
from netpick.store.folder import Store

OFF = 0.15
LEAST = 0.2
"""Seconds: of less nobody sees how far off it is."""


IN_ALL = 0.95
"""Share of what is said from a moment on that must be right, for the time left to be right from then on."""


class Heard(Listener):
    """Notes what the time left says after each result, and has others compute until so much is done."""

    def __init__(self, load: int, until: float) -> None:
        self.load, self.others, self.until = load, list[subprocess.Popen[bytes]](), until
        self.said: list[tuple[float, float]] = []
        self.changes: list[float] = []
        self.done = 0.0

    def begin(self, start: Start) -> None:
        """Keep what says the time left."""
        self.start, self.begun, self.whole = start, time.monotonic(), sum(start.cost.values())

    def finished(self, result: TrainingResult) -> None:
        """Ask it."""
        now = time.monotonic()
        left = self.start.left.seconds(now)
        self.done += self.start.cost[result.hash, result.replicate] / self.whole
        self.said.append((now - self.begun, 0.0 if left is None else left))
        if self.load and not self.changes and self.done > 1 / 3:
            self.changes.append(now - self.begun)
            busy = [sys.executable, "-c", "while True: pass"]
            self.others += [subprocess.Popen(busy) for _ in range(self.load)]
        if self.others and self.done > self.until:
            self.changes.append(now - self.begun)
            self.end_others()

    def end_others(self) -> None:
        """Have the others cease."""
        while self.others:
            other = self.others.pop()
            other.kill()
            other.wait()


def right_after(judged: list[tuple[float, float]], end: float) -> float | None:
    """Return after how many seconds what is said is right for nearly all of the rest; None where it never is."""
    right = [abs(left / (end - at) - 1) <= OFF for at, left in judged if end - at > LEAST]
    for place in range(len(right) - 1):
        if sum(right[place:]) >= IN_ALL * (len(right) - place):
            return judged[place][0] - judged[0][0]
    return None


def off_by(heard: Heard, end: float, begin: float) -> list[str]:
    """Return when something begins, and by how much of what followed was said more or less from then on, in words."""
    off = [left / (end - at) - 1 for at, left in heard.said if at >= begin and end - at > LEAST]
    if not off:
        return [f"{begin:.1f}", "-", "-", "-"]
    wrong = sum(abs(each) > OFF for each in off) / len(off)
    ends = f"{100 * min(off):+.0f} to {100 * max(off):+.0f} %"
    return [f"{begin:.1f}", f"{100 * median(map(abs, off)):.1f} %", ends, f"{100 * wrong:.0f} %"]


def session(template: str, overrides: list[str], workers: int, load: int, until: float) -> tuple[Heard, float]:
    """Train a new run; return what was heard, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as scratch:
        generate_run(template, Path(scratch) / "run", "digits", workers=usable_cores(), overrides=overrides)
        heard = Heard(load, until)
        try:
            train_run(Path(scratch) / "run", Options(device="cpu", workers=workers), heard)
            return heard, time.monotonic() - heard.begun
        finally:
            heard.end_others()


def found(heard: Heard, end: float) -> tuple[str, list[list[str]]]:
    """Return what was found in a session: in a line, and from the half or the last change on and a minute later."""
    zeros = sum(left == 0 for _, left in heard.said[:-1])
    line = f"{len(heard.said)} trainings in {end:.1f} s, {end - heard.said[-1][0]:.1f} s of them after the last result"
    line += f"; 0 said {zeros} times before the end"
    if not heard.changes:
        return line, [["from the half on", *off_by(heard, end, end / 2)]]
    what, change = ("begin", "cease")[len(heard.changes) - 1], heard.changes[-1]
    after = right_after([each for each in heard.said if each[0] >= change], end)
    line += f"; right {'never' if after is None else f'{after:.1f} s'} after others {what}"
    parts = {f"others {what}": change, "20 s later": change + 20, "a minute later": change + 60}
    return line, [[name, *off_by(heard, end, begin)] for name, begin in parts.items()]


def committed(store: Store) -> list[float]:
    """Return the seconds of each commit."""
    random, labels, out = np.random.default_rng(0), {"test": np.zeros(360, np.int64)}, []
    for row in store.networks():
        scores = [np.log(random.dirichlet(np.ones(10), 360)).astype(np.float32) for _ in range(4)]
        split = [SplitResult("test", 1.0, 0.5, (0.5,) * 10, (0.5,) * 10, 0.01, part) for part in scores]
        epochs = tuple(EpochResult(epoch, 1.0, 0.1, None, (part,)) for epoch, part in enumerate(split, 1))
        result = TrainingResult(row["name"], row["hash"], 0, "done", 1, "cpu", "", datetime.now(UTC), 1.0)
        begin = time.perf_counter()
        store.commit(result.with_(epochs=epochs), labels)
        out.append(time.perf_counter() - begin)
    return out


def work() -> None:
    """Commit, train, print."""
    parser = new_parser(__doc__)
    parser.add_argument("template", metavar="TEMPLATE", nargs="?", default="netpicking", help="(%(default)s)")
    parser.add_argument("--workers", type=positive, default=usable_cores(), help="trainings at a time (the cores)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for netpick generate")
    parser.add_argument("--load", type=int, default=0, metavar="N", help="busy processes beside it (none)")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as scratch:
        made = generate_run("smoke", Path(scratch) / "made-up", "digits")
        writing = round(1000 * median(committed(made.store)), 1)
    print(f"to write down a training, median: {writing} ms")
    sessions = {"others stay": math.inf, "others cease": 2 / 3} if args.load else {"alone": math.inf}
    results = {}
    for name, until in sessions.items():
        heard, end = session(args.template, args.set, args.workers, args.load, until)
        line, table = found(heard, end)
        print(f"{name}: {line}")
        print_table(f"The time left: {name}", ("from", "s", "off by, median", "all", "by more than 15 %"), table)
        results[name] = {"line": line, "table": table, "said": heard.said, "changes": heard.changes, "end": end}
    write_json(args.json, {"machine": facts, "writing_ms": writing, "sessions": results})


if __name__ == "__main__":
    main(work)
