"""What passes between two trainings on a worker, and what the first epoch takes above the second, by network.

A share of a template is trained twice in real sessions: with the plans that the networks get, and with torch's kernels.
Of each training all stands in its result: when it began, what it took, and its epochs; which worker had it follows from
that, since the one that has been free for longest takes the next. So

own      is what a worker does for a training beside steps and evaluation: the network made, initial weights, metrics;
between  is what passes from the end of a training to the beginning of the next one on the worker: the result packed,
         sent and taken, the next task sent and unpacked;
first    is what the first epoch's steps take above those of the second.

The session writes results down meanwhile. What that takes is timed by itself, as a calibration does it.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from _common import console, machine, main, new_run_parser, print_machine, print_table, write_json

from netpick.core.result import TrainingResult
from netpick.sessions import Listener, Options, generate_run, train_run
from netpick.sessions.forecast.bookkeeping import of_epochs, time_bookkeeping

PLANS = ("auto", "explicit")
FIRST_MS = 30.0
"""Wanted of the first epoch above the second, at most."""


class Results(Listener):
    """Keeps what comes back."""

    def __init__(self) -> None:
        self.all: list[TrainingResult] = []

    def finished(self, result: TrainingResult) -> None:
        """Keep it."""
        self.all.append(result)


def rows_of(results: list[TrainingResult]) -> list[dict[str, Any]]:
    """Return what lies around the steps of each training that is done, in milliseconds, in the order of training."""
    rows = []
    free: list[datetime] = []  # since when the workers are, those that have trained
    for result in sorted(results, key=lambda result: result.started):
        before = min((end for end in free if end <= result.started), default=None)
        inside = sum(e.train_seconds + sum(s.eval_seconds for s in e.splits) for e in result.epochs)
        if result.status == "done" and len(result.epochs) > 1:
            first, second = (epoch.train_seconds for epoch in result.epochs[:2])
            rows.append(
                {
                    "network": result.network,
                    "plan": result.plan,
                    "inside": 1000 * inside,
                    "own": 1000 * (result.seconds - inside),
                    "between": None if before is None else 1000 * (result.started - before).total_seconds(),
                    "first": 1000 * (first - second),
                }
            )
        if before is not None:
            free.remove(before)
        free.append(result.started + timedelta(seconds=result.seconds))
    return rows


def in_words(values: list[float]) -> list[str]:
    """Return median, 90 % and most."""
    return [f"{value:.2f}" for value in np.quantile(values, (0.5, 0.9, 1))]


def print_plans(rows: list[dict[str, Any]]) -> None:
    """Print a table for machine code and one for torch's kernels."""
    for name, compiled in (("machine code", True), ("torch's kernels", False)):
        chosen = [row for row in rows if ("/compiled/" in row["plan"]) is compiled]
        if not chosen:
            continue
        lines = []
        for key, words in (("own", "own"), ("between", "between"), ("first", "first epoch above the second")):
            lines.append([words, *in_words([row[key] for row in chosen if row[key] is not None])])
        whole = sum(row["inside"] + row["own"] + (row["between"] or 0) for row in chosen)
        share = 100 * (1 - sum(row["inside"] for row in chosen) / whole)
        title = f"{name}: {len(chosen)} trainings, {share:.1f} % of their worker's time outside steps and evaluation"
        print_table(title, ["ms", "median", "90 %", "most"], lines)
    late = sorted((row for row in rows if row["first"] > FIRST_MS), key=lambda row: -row["first"])
    named = [[row["network"], row["plan"], f"{row['first']:.0f}", f"{row['inside']:.0f}"] for row in late]
    if named:
        print_table(f"First epochs more than {FIRST_MS:g} ms above the second", ["", "plan", "ms", "all"], named)


def work() -> None:
    """Generate, train, print."""
    parser = new_run_parser(__doc__, limit=60)
    parser.set_defaults(template="netpicking", dataset="digits", workers="2")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for netpick generate")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for plan in PLANS:
            folder = Path(args.folder or scratch, plan)
            options = Options(
                args.device, int(args.workers), args.epochs, data_dir=args.data_dir, plan=plan, estimate=False
            )
            made = generate_run(args.template, folder, args.dataset, limit=args.limit, overrides=args.set)
            heard = Results()
            train_run(made.store.path, options, heard)
            rows += rows_of(heard.all)
        epochs = heard.all[0].epochs
        samples = sum(len(split.scores) for split in epochs[-1].splits)
        writing = of_epochs(time_bookkeeping(made.store.manifest["classes"], samples), len(epochs))
    print_plans(rows)
    console.print(
        f"to write a training down: {1000 * writing.commit:.1f} ms, {1000 * writing.core:.1f} of them on a core"
    )
    write_json(args.json, {"machine": facts, "rows": rows, "writing": asdict(writing)})


if __name__ == "__main__":
    main(work)
