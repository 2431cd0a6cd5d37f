"""What the time left said in a real session, beside what then followed; and how long a training takes to write down.

Generates a run of scikit-learn's digits from TEMPLATE (any name or file that `netpick generate` takes) and trains it.
After each result the time left is asked, and held against the seconds that passed from then until the session was over,
with its files merged. Before that, made-up results of 360 samples x 4 epochs x 10 classes, without weights, are
committed to a run of the template `smoke`, one by one.

With `--load N` as many other processes compute during the second third of the session, by what is predicted of its
trainings. What is said in that third is held against what would have followed had they stayed: the rest of that third
and the trainings of the last one, as many times as slow as a predicted second took in the second by one in the last.
"""

from __future__ import annotations

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
    """Notes what the time left says after each result, and has others compute in the second third of the session."""

    def __init__(self, load: int) -> None:
        self.load, self.others = load, list[subprocess.Popen[bytes]]()
        self.said: list[tuple[float, float, float]] = []
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
        self.said.append((now - self.begun, 0.0 if left is None else left, self.done))
        if self.load and len(self.changes) < int(3 * self.done) < 3:
            self.changes.append(now - self.begun)
            if len(self.changes) == 1:
                busy = [sys.executable, "-c", "while True: pass"]
                self.others += [subprocess.Popen(busy) for _ in range(self.load)]
            else:
                self.end_others()

    def end_others(self) -> None:
        """Have the others cease."""
        while self.others:
            other = self.others.pop()
            other.kill()
            other.wait()


def ratios(heard: Heard, end: float) -> list[tuple[float, float, float]]:
    """Return when something was said, what was said, and what followed, or would have, had nothing changed."""
    if len(heard.changes) < 2:
        return [(at, left, end - at) for at, left, _ in heard.said]
    first, second = heard.changes
    last = heard.said[-1][0]
    done = {at: share for at, _, share in heard.said}
    slower = (1 - done[second]) / (last - second) * (second - first) / (done[second] - done[first])
    loaded = [
        (at, left, second - at + slower * (last - second) + end - last)
        for at, left, _ in heard.said
        if first <= at < second
    ]
    return loaded + [(at, left, end - at) for at, left, _ in heard.said if at >= second]


def right_after(judged: list[tuple[float, float, float]]) -> float | None:
    """Return after how many seconds what is said is right for nearly all of the rest; None where it never is."""
    right = [abs(left / max(rest, LEAST) - 1) <= OFF for _, left, rest in judged if rest > LEAST]
    for place in range(len(right) - 1):
        if sum(right[place:]) >= IN_ALL * (len(right) - place):
            return judged[place][0] - judged[0][0]
    return None


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
    parser.add_argument("--load", type=int, default=0, metavar="N", help="busy processes in the second third (none)")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as scratch:
        made = generate_run("smoke", Path(scratch) / "made-up", "digits")
        writing = median(committed(made.store))
        generate_run(args.template, Path(scratch) / "run", "digits", workers=usable_cores())
        heard = Heard(args.load)
        try:
            train_run(Path(scratch) / "run", Options(device="cpu", workers=args.workers), heard)
        finally:
            heard.end_others()
        end = time.monotonic() - heard.begun
    judged = ratios(heard, end)
    off = [abs(left / rest - 1) for at, left, rest in judged if at >= end / 2 and rest > LEAST]
    found = {
        "trainings": len(heard.said),
        "seconds": round(end, 1),
        "off by, median from the half on": f"{100 * median(off):.1f} %",
        "off by more than 15 %, share of those": f"{100 * sum(each > OFF for each in off) / len(off):.0f} %",
        "0 said before the end": sum(left == 0 for _, left, _ in heard.said),
        "seconds after the last result": round(end - heard.said[-1][0], 1),
        "to write down a training, median ms": round(1000 * writing, 1),
    }
    for place, change in enumerate(heard.changes):
        until = heard.changes[place + 1] if place + 1 < len(heard.changes) else end
        after = right_after([each for each in judged if change <= each[0] < until])
        words = f"others {('begin', 'cease')[place]} after {change:.0f} s; right after, s"
        found[words] = "never" if after is None else round(after, 1)
    print_table("The time left", ("", "value"), found.items())
    write_json(args.json, {"machine": facts, "found": found, "said": heard.said})


if __name__ == "__main__":
    main(work)
