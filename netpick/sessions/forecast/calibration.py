"""Time a few steps of some of a run's own networks, in as many workers as will train at once.

The networks are spread over computations and sizes. Each is trained for a moment by the same code, with the same plan,
recipe and data as later in earnest, so that whatever a plan does is in the figure, and so is what the workers take
from each other. What is found is kept in the run's folder, with the circumstances it holds for. The model that is
fitted to it is in `cost`; nothing is predicted here, and no result of a run is touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from netpick.core import devices as device
from netpick.core.errors import WorkError
from netpick.core.files import atomic_write
from netpick.core.metrics import evaluate
from netpick.core.provenance import PACKAGE, versions
from netpick.core.result import TrainingResult
from netpick.sessions.forecast import model as cost
from netpick.sessions.forecast.model import Model, Timed, Work
from netpick.sessions.workers import pool
from netpick.sessions.workers.process import prepare, resident
from netpick.sessions.workers.task import Failure, Task
from netpick.store.schema import columns
from netpick.training.job import EVALUATION_BATCH

if TYPE_CHECKING:
    from netpick.store.folder import Store

FILE = "calibration.json"
FORMAT = 2
"""Raised when what is in the file changes its meaning."""

MOST_SECONDS = 60.0
NETWORKS = 28
"""Networks that are timed at most: what more would add is less than what a machine differs from minute to minute."""

START_SECONDS = 4.0
"""A worker's start, torch and all, which is part of a calibration's time."""


@dataclass(frozen=True)
class Found:
    """What a calibration has found.

    `timed` are the networks that worked; `start` the seconds until the first worker had begun; `commit` the seconds
    that it takes to write a training down: those besides its epochs, and those an epoch. None where not measured.
    """

    timed: list[Timed]
    start: float | None = None
    commit: tuple[float, float] | None = None


def choose(works: Sequence[Work], most: int = NETWORKS, model: Model | None = None) -> list[int]:
    """Choose networks to time: of each computation its share of the predicted time, and at least two, over all sizes.

    Returns their places in `works`, the costliest first. Students that are not trained by gradient are left out.
    """
    model = model or cost.rough()
    groups: dict[str, list[int]] = defaultdict(list)
    seen = set()
    for place, work in enumerate(works):
        if work.step is not None and work.key[0] not in seen:  # one replicate tells enough
            seen.add(work.key[0])
            groups[work.computation].append(place)
    if not groups:
        return []
    seconds = [model.seconds(work) for work in works]
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
    tasks: Sequence[Task],
    works: Sequence[Work],
    workers: int,
    devices: Sequence[str],
    seconds: float,
    classes: list[str],
    evaluated: int,
) -> Found:
    """Time some of the tasks for about `seconds` of wall time, and what the coordinator does beside them.

    Parameters
    ----------
    tasks, works : the trainings that are due, in the same order
    workers, devices : as they will be trained
    seconds : about how long it may take, the start of the workers included
    classes, evaluated : of the data set: their names, and how many samples are evaluated after an epoch
    """
    model = cost.rough()
    useful = max(2.0, seconds - START_SECONDS) * workers
    # Half a second each, of which a fourth is warming up: below that, times of few steps are chance.
    places = choose(works, max(4, min(NETWORKS, int(useful / 0.5))), model)
    if not places:
        return Found([])
    # Should the time run out, what was timed is of all sizes.
    places = [place for first in range(3) for place in places[first::3]]
    chosen = [replace(tasks[place], job=replace(tasks[place].job, keep_weights=False)) for place in places]
    budget = useful / len(chosen)
    out: list[Timed] = []
    start = commit = None
    clock = time.monotonic()
    deadline = time.monotonic() + max(seconds, 2 * START_SECONDS)
    stream = pool.stream(chosen, partial(time_task, budget=budget), workers, devices)
    with contextlib.closing(stream):
        for ended in stream:
            if isinstance(ended.outcome, Failure):
                took = ended.outcome.seconds
            else:
                timed, took = ended.outcome
                out.append(timed)
            if start is None:
                start = max(0.0, time.monotonic() - clock - took)
            elif commit is None:  # while the workers are busy, as in earnest
                one, three = (commit_seconds(classes, evaluated, n) for n in (1, 3))
                slope = max(0.0, three - one) / 2
                commit = max(0.0, one - slope), slope
            if time.monotonic() > deadline and len(out) >= 8:
                break
    return Found(out, start, commit)


def time_task(task: Task, budget: float) -> tuple[Timed, float]:
    """Train a network for about `budget` seconds in a worker process; return what it takes, and what that took.

    Raises
    ------
    WorkError
        The training does not end as `done`.
    """
    clock = time.perf_counter()
    prepare()
    job, whole = task.job, resident(task.shared, task.job.device)
    samples = len(whole["train"][1])
    batch = min(job.recipe.batch_size, samples)

    def part(steps: int, evaluated: int, epochs: int) -> TrainingResult:
        from netpick.training.engines import train

        sizes = dict.fromkeys(whole, evaluated) | {"train": steps * batch}
        data = {split: (x[: sizes[split]], y[: sizes[split]]) for split, (x, y) in whole.items()}
        recipe = msgspec.structs.replace(job.recipe, epochs=epochs, timeout=None)
        result = train(replace(job, recipe=recipe), data)
        if result.status != "done":
            raise WorkError(f"{job.spec.name}: {result.error or result.status}")
        return result

    few = max(1, min(2, samples // batch))
    first = part(few, EVALUATION_BATCH, 2)  # the second epoch of the first is warm enough to plan by
    step, sample = first.epochs[1].train_seconds / few, _sample_seconds(first, 1)
    # Three epochs of steps for half of the budget, of samples for a fifth of it.
    steps = max(1, min(samples // batch, 100, int(budget * 0.5 / 3 / step)))
    passes = max(1, min(40, int(budget * 0.2 / 3 / (EVALUATION_BATCH * sample))))
    result = part(steps, EVALUATION_BATCH * passes, 3) if steps > few else first
    warm = range(1, len(result.epochs))
    inside = sum(e.train_seconds + sum(s.eval_seconds for s in e.splits) for e in result.epochs)
    # What the metrics take does not depend on the network, but on how many samples there are.
    metrics = 0.0
    for split, (_, labels) in whole.items():
        if split != "train":
            there = labels.cpu().numpy()
            scores = np.random.default_rng(0).normal(size=(len(there), len(result.epochs[-1].splits[0].class_accuracy)))
            begin = time.perf_counter()
            evaluate(split, scores.astype(np.float32), there, 0.0)
            metrics += time.perf_counter() - begin
    fixed = max(0.0, result.seconds - inside) + job.recipe.epochs * metrics
    memory = result.epochs[-1].peak_memory_bytes or _memory()
    timed = Timed(
        task.key,
        median(result.epochs[n].train_seconds for n in warm) / math.ceil(steps if result is not first else few),
        median(_sample_seconds(result, n) for n in warm),
        fixed,
        memory,
    )
    return timed, time.perf_counter() - clock


def _sample_seconds(result: TrainingResult, epoch: int) -> float:
    splits = result.epochs[epoch].splits
    return sum(s.eval_seconds for s in splits) / sum(len(s.scores) for s in splits)


def _memory() -> int:
    """Return the bytes of main memory that belong to this process alone."""
    import psutil

    return int(psutil.Process(os.getpid()).memory_full_info().uss)


def commit_seconds(classes: list[str], samples: int, epochs: int) -> float:
    """Return the seconds that it takes here to write one training down.

    Scores that are noise are written into a run of one network in a temporary folder, as the coordinator does it.
    """
    from netpick.core.result import EpochResult
    from netpick.networks.paper.spec import NetworkSpec, layer
    from netpick.store.folder import Store

    spec = NetworkSpec("N", "Linear", "None", (layer("Flatten"),))
    row = {"name": "N", "hash": spec.hash, "computation": "Linear", "activation": "None", "layers": spec.layers_json()}
    counts = dict.fromkeys((c.name for c in columns("networks") if c.type in ("int64", "float64")), 0)
    rest: dict[str, Any] = dict.fromkeys(c.name for c in columns("networks"))
    random = np.random.default_rng(0)
    labels = random.integers(0, len(classes), samples)
    splits = [evaluate("test", random.normal(size=(samples, len(classes))), labels, 0.0) for _ in range(epochs)]
    result = TrainingResult(
        *("N", spec.hash, 0, "done", 0, "cpu", "", datetime.now(UTC), 0.0),
        epochs=tuple(EpochResult(n + 1, 0.0, 0.0, None, (split,)) for n, split in enumerate(splits)),
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder, "run"), {"classes": classes}, [{**rest, **counts, **row}])
        store.recover()
        clock = time.perf_counter()
        store.commit(result, {"test": labels})
        return time.perf_counter() - clock


def circumstances(recipe: Any, devices: Sequence[str], workers: int, pin: str = "auto") -> dict[str, Any]:
    """Return what a calibration holds for: the machine, the versions, the plan's code, what of a recipe costs time."""
    named = versions()
    return {
        "format": FORMAT,
        "machine": sorted({f"{one} {device.describe(one)}" for one in devices}),
        "workers": workers,
        "versions": {name: named.get(name) for name in ("netpick", "torch")},
        "engine": engine(),
        "plan": pin,
        "recipe": {
            field.name: getattr(recipe, field.name)
            for field in msgspec.structs.fields(recipe)
            if field.name not in ("epochs", "replicates", "timeout", "lr")
        },
    }


def engine() -> str:
    """Return a hash of the code that decides and does a training: with other code it takes another time."""
    files = sorted(file for room in ("training", "networks/modules") for file in (PACKAGE / room).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def save(store: Store, found: Found, samples: cost.Samples, seconds: float, where: dict[str, Any]) -> None:
    """Keep a calibration in the run's folder; one that can't be written is let go, as it can be made again."""
    value = {
        "circumstances": where,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "samples": asdict(samples),
        **asdict(found),
    }
    with contextlib.suppress(OSError):
        atomic_write(store.path / FILE, json.dumps(value, indent=1).encode())


@dataclass(frozen=True)
class Kept:
    """A calibration as it is kept: what was found, for which numbers of samples, and how long that took."""

    found: Found
    samples: cost.Samples
    seconds: float


def load(store: Store, where: dict[str, Any]) -> Kept | None:
    """Return the calibration of a run's folder, or None where there is none for these circumstances."""
    try:
        value = json.loads((store.path / FILE).read_text())
        if value["circumstances"] != json.loads(json.dumps(where)):
            return None
        timed = [Timed(**{**one, "key": tuple(one["key"])}) for one in value["timed"]]
        found = Found(timed, value["start"], value["commit"] and tuple(value["commit"]))
        return Kept(found, cost.Samples(**value["samples"]), float(value["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
