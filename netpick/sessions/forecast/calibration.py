"""Time a few steps of some of a run's own networks, in as many workers as will train at once, and keep what it gives.

The networks are spread over computations and sizes; what is timed of each is in `probe`. All train at once as they will
in earnest, so that what the workers take from each other is in the figure. What it gives is kept in the run's folder,
with the circumstances it holds for. The model that is fitted to it is in `model`; nothing is predicted here, and no
result of a run is touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from netpick.core.devices import describe
from netpick.core.files import atomic_write, read_text
from netpick.core.provenance import PACKAGE, versions
from netpick.sessions.forecast.bookkeeping import Bookkeeping, time_bookkeeping
from netpick.sessions.forecast.model import Model, Timed, rough
from netpick.sessions.forecast.probe import Probed, time_task
from netpick.sessions.forecast.work import Workload
from netpick.sessions.situation import Samples, Situation
from netpick.sessions.workers import pool
from netpick.sessions.workers.task import Ended, Failure, Task

HandOut = Callable[[Sequence[Task], Callable[[Task], Any]], Generator[Ended[Any], None, None]]
"""Does some tasks, and yields each as it ends."""

FILE = "calibration.json"
FORMAT = 6
"""Raised when what is in the file changes its meaning."""

MOST_BYTES = 2**20
"""Size of a calibration's file, which has some dozen networks in it."""

MOST_SECONDS = 60.0
NETWORKS = 28
"""Networks that are timed at most: what more would add is less than what a machine differs from minute to minute."""

START_SECONDS = 4.0
"""A worker's start, torch and all, which is part of a calibration's time."""


@dataclass(frozen=True)
class Calibration:
    """What was timed.

    `timed` are the networks that worked; `start` the seconds until the first worker had begun, None where that is not
    known; `bookkeeping` what the session takes for trainings of `bookkeeping.EPOCHS` epochs, empty where not measured;
    `busy` how many times as long all took as if no others had had the cores, which is in `timed` and not in
    `bookkeeping`. `took` is the wall time of all that, and `samples` the numbers of samples that it was made with.
    """

    timed: list[Timed]
    start: float | None = None
    bookkeeping: tuple[Bookkeeping, ...] = ()
    took: float = 0.0
    samples: Samples | None = None
    busy: float = 1.0


def choose(loads: Sequence[Workload], most: int = NETWORKS, model: Model | None = None) -> list[int]:
    """Choose networks to time: of each computation its share of the predicted time, and at least two, over all sizes.

    Returns their places in `loads`, the costliest first. Networks that are not trained by gradient are left out.
    """
    model = model or rough()
    groups: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for place, load in enumerate(loads):
        if load.step is not None and load.key[0] not in seen:  # one replicate tells enough
            seen.add(load.key[0])
            groups[load.computation].append(place)
    if not groups:
        return []
    seconds = [model.seconds(load) for load in loads]
    whole = sum(seconds[place] for group in groups.values() for place in group)
    chosen: list[int] = []
    for group in groups.values():
        group.sort(key=seconds.__getitem__)
        share = sum(seconds[place] for place in group) / whole
        wanted = min(len(group), max(2, round(share * most)))
        # The middles of equal parts; the largest is among them, since it is what the end of a run waits for.
        places = {min(len(group) - 1, int((n + 0.5) * len(group) / wanted)) for n in range(wanted - 1)}
        chosen += [group[place] for place in sorted({*places, len(group) - 1})]
    chosen.sort(key=seconds.__getitem__, reverse=True)
    if len(chosen) > most:  # more computations than networks to time
        chosen = [chosen[int(n * len(chosen) / most)] for n in range(most)]
    return chosen


def calibrate(
    situation: Situation,
    tasks: Sequence[Task],
    loads: Sequence[Workload],
    seconds: float,
    hand_out: HandOut | None = None,
) -> Calibration:
    """Time some of the tasks, and what the coordinator does beside them.

    Parameters
    ----------
    situation : the run, and on what it is trained
    tasks, loads : the trainings that are due, in the same order
    seconds : about how long it may take, the start of the workers included
    hand_out : does tasks elsewhere than on this machine
    """
    assert situation.samples is not None
    useful = max(2.0, seconds - START_SECONDS) * situation.workers
    # Half a second each, of which a fourth is warming up: below that, times of few steps are chance.
    places = choose(loads, max(4, min(NETWORKS, int(useful / 0.5))), rough(situation.devices[0]))
    if not places:
        return Calibration([])
    # Should the time run out, what was timed is of all sizes.
    places = [place for first in range(3) for place in places[first::3]]
    chosen = [replace(tasks[place], job=replace(tasks[place].job, keep_weights=False)) for place in places]
    probed: list[Probed] = []
    start: float | None = None
    clock = time.monotonic()
    deadline = clock + max(seconds, 2 * START_SECONDS)
    work = partial(time_task, budget=useful / len(chosen))
    if hand_out is not None:
        stream = hand_out(chosen, work)
    else:
        stream = pool.stream(chosen, work, situation.workers, situation.devices)
    with contextlib.closing(stream):
        for ended in stream:
            if isinstance(ended.outcome, Failure):
                took = ended.outcome.seconds
            else:
                probed.append(ended.outcome)
                took = ended.outcome.seconds
            if start is None:
                start = max(0.0, time.monotonic() - clock - took)
            if time.monotonic() > deadline and len(probed) >= 8:
                break
    if not probed:
        return Calibration([], start, took=time.monotonic() - clock)
    bookkeeping = time_bookkeeping(situation.classes, situation.samples.evaluated)
    timed = [each.timed for each in probed]
    return Calibration(timed, start, bookkeeping, time.monotonic() - clock, situation.samples, _busy(probed))


def _busy(probed: Sequence[Probed]) -> float:
    """Return how many times as long all takes on this machine, since others have the cores for some of the time."""
    seconds, waited = (sum(getattr(each, name) for each in probed) for name in ("seconds", "waited"))
    return seconds / max(0.1 * seconds, seconds - waited)


def circumstances(situation: Situation) -> dict[str, Any]:
    """Return what a calibration holds for: the machine, the versions, the plan's code, what of a recipe costs time."""
    named, recipe = versions(), situation.recipe
    return {
        "format": FORMAT,
        "machine": situation.cluster or sorted({f"{device} {describe(device)}" for device in situation.devices}),
        "workers": situation.workers,
        "versions": {name: named.get(name) for name in ("netpick", "torch")},
        "engine": engine(),
        "plan": situation.pin,
        "recipe": {
            key: value
            for key, value in msgspec.to_builtins(recipe).items()
            if key not in ("epochs", "replicates", "timeout", "lr")
        },
    }


def engine() -> str:
    """Return a hash of the code that decides and does a training: with other code it takes another time."""
    files = sorted(file for room in ("training", "networks/modules") for file in (PACKAGE / room).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def save(situation: Situation, calibration: Calibration) -> None:
    """Keep a calibration in the run's folder; one that can't be written is let go, as it can be made again."""
    value = asdict(calibration)
    value["seconds"] = round(value.pop("took"), 1)
    measured = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"circumstances": circumstances(situation), "measured": measured, **value}, indent=1)
    with contextlib.suppress(OSError):
        atomic_write(situation.store.path / FILE, text.encode())


def load(situation: Situation) -> Calibration | None:
    """Return the calibration of a run's folder, or None where there is none for these circumstances."""
    try:
        value = json.loads(read_text(situation.store.path / FILE, MOST_BYTES))
        if value["circumstances"] != json.loads(json.dumps(circumstances(situation))):
            return None
        return msgspec.convert({**value, "took": value["seconds"]}, Calibration)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
