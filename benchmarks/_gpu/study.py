"""The whole study on one card: 1001 networks of `netpicking` on MNIST, 4 epochs, batches of 25, by the command line.

From `netpick generate` to the last Parquet file. Beside it what the careful eager loop would take for the same, one
network after the other: a sample of the template's networks, a part of an epoch each. Training that this call has no
time for is taken up by the next one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
from _common import interval

from _gpu.bench import Bench
from _gpu.careful import careful
from _gpu.part import Case, Found, Table
from netpick import data
from netpick.core.words import counted_word as counted
from netpick.core.words import duration
from netpick.networks.catalogue.template import load
from netpick.sessions.generate import generate_run
from netpick.store.folder import Store

NAME, TITLE, MINUTES = "study", "The whole study", 9.0

GROUPS = 4
NETWORKS, MINUTES_WANTED, TIMES_WANTED = 1001, 5.0, 10.0
"""What is wanted of the whole study; of less nothing is."""

RUN = "the run"


def cases(bench: Bench, found: Found) -> Iterator[Case]:
    """Yield the sample of the careful loop in some groups, then the run."""
    for group in range(GROUPS):
        yield Case(f"careful {group + 1}", partial(one_by_one, bench, group), 25)
    yield Case(RUN, partial(whole, bench, found), 60 * MINUTES_WANTED)


def one_by_one(bench: Bench, group: int) -> dict[str, Any]:
    """Return what the careful loop would take for each network of a group of the sample: seconds for all epochs."""
    recipe = load(bench.template).recipe
    splits = bench.cut(bench.size.steps * recipe.batch_size, 10**9)
    full = recipe.train_samples or data.describe(bench.dataset).train_count
    steps = recipe.epochs * -(-full // recipe.batch_size)
    seconds = {}
    for spec, *_ in bench.drawn(bench.size.careful)[group::GROUPS]:
        took = careful(spec, recipe, splits, bench.device)
        seconds[spec.name] = steps * took.step + recipe.epochs * took.evaluation
    return {"seconds": seconds}


def whole(bench: Bench, found: Found) -> dict[str, Any]:
    """Generate and train the template, or go on with that; return the seconds of both and how trainings ended."""
    before = found.get(RUN, {})
    run = bench.folder / "study"
    generated = before.get("generate")
    if generated is None:
        start = time.perf_counter()
        generate_run(bench.template, run, dataset=bench.dataset, limit=bench.limit, overwrite=True)
        generated = time.perf_counter() - start
    start = time.perf_counter()
    done = bench.train_run(run)
    seconds = before.get("train", 0.0) + time.perf_counter() - start
    store = Store.open(run)
    if done and len(store.finished()) < len(store.networks()):
        raise RuntimeError(f"netpick train ended with {len(store.finished())} of {len(store.networks())} trainings")
    statuses = Counter(store.finished().values())
    out = {"generate": generated, "train": seconds, "statuses": statuses, "sessions": before.get("sessions", 0) + 1,
           "networks": len(store.networks())}  # fmt: skip
    return out if done else {**out, "unfinished": "the time of this call was up"}


def careful_seconds(found: Found, networks: int) -> tuple[float, float, float]:
    """Return what the careful loop would take for all networks, with the ends of its 95 % interval."""
    each = [s for row in found.values() if "seconds" in row for s in row["seconds"].values()]
    if len(each) < 2:
        return (networks * fmean(each), 0.0, float("inf"))
    mean, low, high = interval(np.array(each))
    return networks * mean, networks * max(low, 0.0), networks * high


def figures(found: Found, table: Table) -> dict[str, float]:
    """Return nothing: no figure of the table follows from it."""
    return {}


def section(found: Found, table: Table) -> str:
    """Say how long it took, how often faster than the careful loop that is, and whether both goals are met."""
    run = found.get(RUN)
    sampled = [row for row in found.values() if "seconds" in row]
    number = sum(len(row["seconds"]) for row in sampled)
    text = ""
    if run:
        together = run["generate"] + run["train"]
        ended = ", ".join(f"{n} {status}" for status, n in run["statuses"].items())
        text = (
            f"{run['networks']:,} networks: generated in {run['generate']:.0f} s, trained in {run['train']:.0f} s in "
        )
        text += f"{counted(run['sessions'], 'session')} ({ended}); together {together / 60:.1f} minutes."
        if run["networks"] == NETWORKS:
            met = "met" if together <= 60 * MINUTES_WANTED else "not met"
            text += f" Wanted were {MINUTES_WANTED:g} minutes: {met}."
        text += "\n\n"
    if sampled and run:
        mean, low, high = careful_seconds(found, run["networks"])
        text += f"The careful eager loop, one network after the other, would take {duration(mean)} for them: "
        text += f"{number} networks of the template, as if all were like these on average"
        text += f" ({duration(low)} to {duration(high)}, 95 % interval). " if number > 1 else ". "
        times = mean / run["train"]
        text += f"That is {times:.1f} times as long ({low / run['train']:.1f} to {high / run['train']:.1f}). "
        if run["networks"] == NETWORKS:
            text += f"Wanted were {TIMES_WANTED:g} times: {verdict(low / run['train'], high / run['train'])}."
    elif sampled:
        text += f"The careful loop was timed on {number} networks; the run itself is not there."
    return text


def verdict(low: float, high: float) -> str:
    """Return what an interval says of the goal."""
    if low >= TIMES_WANTED:
        return "met"
    return "not met" if high < TIMES_WANTED else "open, since the interval has it inside"
