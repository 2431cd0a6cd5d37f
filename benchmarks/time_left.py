"""What the time left said in a real session, beside what then followed; and how long a training takes to write down.

Generates a run of scikit-learn's digits from TEMPLATE (any name or file that `netpick generate` takes) and trains it.
After each result the time left is asked, and held against the seconds that passed from then until the last result.
Before that, made-up results of 360 samples x 4 epochs x 10 classes, without weights, are committed to a run of the
template `smoke`, one by one.
"""

from __future__ import annotations

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


class Heard(Listener):
    """Notes what the time left says after each result."""

    def __init__(self) -> None:
        self.said: list[tuple[float, float]] = []

    def begin(self, start: Start) -> None:
        """Keep what says the time left."""
        self.start, self.begun = start, time.monotonic()

    def finished(self, result: TrainingResult) -> None:
        """Ask it."""
        now = time.monotonic()
        left = self.start.left.seconds(now)
        self.said.append((now - self.begun, 0.0 if left is None else left))


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
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as scratch:
        made = generate_run("smoke", Path(scratch) / "made-up", "digits")
        writing = median(committed(made.store))
        generate_run(args.template, Path(scratch) / "run", "digits", workers=usable_cores())
        heard = Heard()
        train_run(Path(scratch) / "run", Options(device="cpu", workers=args.workers), heard)
    end = heard.said[-1][0]
    after = [(left, end - at) for at, left in heard.said if at >= end / 2 and end - at > LEAST]
    off = [abs(left / rest - 1) for left, rest in after]
    found = {
        "trainings": len(heard.said),
        "seconds": round(end, 1),
        "off by, median from the half on": f"{100 * median(off):.1f} %",
        "off by more than 15 %, share of those": f"{100 * sum(each > OFF for each in off) / len(off):.0f} %",
        "0 said before the last": sum(left == 0 for _, left in heard.said[:-1]),
        "to write down a training, median ms": round(1000 * writing, 1),
    }
    print_table("The time left", ("", "value"), found.items())
    write_json(args.json, {"machine": facts, "found": found, "said": heard.said})


if __name__ == "__main__":
    main(work)
