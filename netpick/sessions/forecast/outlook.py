"""What lies ahead of a run: which model of the costs holds for it, and the estimate that follows.

The model comes from what is known best: trainings of this run that have ended on this machine, a calibration that the
run's folder keeps, a new one where it is worth its time, and else the rough coefficients. Used by `session`, for the
order, the first lines and the time left, and for `netpick estimate`. Trains and prints nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from netpick.core import devices as device
from netpick.core.recipe import applied
from netpick.networks.paper.spec import NetworkSpec
from netpick.sessions.forecast import calibration as calibrate
from netpick.sessions.forecast import estimate
from netpick.sessions.forecast import model as cost
from netpick.sessions.forecast.calibration import Kept
from netpick.sessions.forecast.estimate import Estimate, Overheads
from netpick.sessions.forecast.model import Model, Samples, Timed, Work
from netpick.sessions.workers.task import Task
from netpick.store.folder import Store
from netpick.store.shards import read_shards, scan
from netpick.training.choice import choose

Key = tuple[str, int]

WORTH_SECONDS = 120.0
"""A session that is roughly shorter is not held up by a calibration."""

SHARE = 0.05
"""Of a session's rough time may go into a calibration before it."""

LEAST_SECONDS = 10.0
"""Of a calibration that somebody asks for: half of it goes into starting the workers."""

FINISHED = 15
"""Trainings that must have ended before they say enough about the others."""


@dataclass(frozen=True)
class Outlook:
    """All trainings of a run on paper, the model, and the estimate for those that are due."""

    works: Mapping[Key, Work]
    model: Model
    estimate: Estimate

    def seconds(self, key: Key) -> float:
        """Return the predicted seconds of one training."""
        return self.model.seconds(self.works[key])


def never(rough: float) -> float:
    """Return 0: nothing is timed."""
    return 0.0


def before_training(rough: float) -> float:
    """Return what a calibration may take that holds up a session of so many seconds."""
    return min(calibrate.MOST_SECONDS, SHARE * rough) if rough >= WORTH_SECONDS else 0.0


def on_request(seconds: float | None) -> Callable[[float], float]:
    """Return the rule for a calibration that somebody asks for: so many seconds, or else a tenth of the session."""
    if seconds is not None:
        return lambda rough: seconds
    return lambda rough: min(calibrate.MOST_SECONDS, max(LEAST_SECONDS, 2 * SHARE * rough))


def works(store: Store, recipe: Any, samples: Samples, where: str = "cpu", pin: str = "auto") -> dict[Key, Work]:
    """Return all trainings of a run on paper, by (hash of the network, replicate), planned for the device `where`."""
    image = tuple(store.manifest["shape"])
    out = {}
    for row in store.networks():
        spec = NetworkSpec.from_dict(row)
        own = recipe_of(spec, recipe)
        number = own.train_samples or samples.train
        compiled = choose(own, where, spec, pin).mode == "compiled"
        for n in range(own.replicates):
            some = replace(samples, train=number)
            work = cost.work_of(row, spec.layers, n, own, image, some, compiled)
            out[work.key] = work
    return out


def recipe_of(spec: NetworkSpec, recipe: Any) -> Any:
    """Return the recipe of one network: that of the run with the network's own values."""
    return applied(recipe, spec.recipe)


def outlook(
    store: Store,
    recipe: Any,
    keep: Mapping[str, str],
    due: Sequence[Key],
    samples: Samples,
    workers: int,
    devices: Sequence[str],
    tasks: Callable[[], Iterable[Task]],
    budget: Callable[[float], float],
    compact: bool = True,
    on_note: Callable[[str], None] = lambda text: None,
    pin: str = "auto",
) -> Outlook:
    """Look at what is due.

    Parameters
    ----------
    store, recipe, keep : the run, how it is trained, which scores and weights are kept
    due : the trainings that are due
    samples : of the data set
    workers, devices : as they will be trained
    tasks : makes the tasks that are due; called only where something is to be timed
    budget : of the rough wall seconds: how many of them a calibration may take, such as `before_training`
    compact : whether files are merged at the end
    on_note : told what takes a while
    pin : what is fixed of the plans, which a calibration holds for
    """
    all_works = works(store, recipe, samples, devices[0], pin)
    cores = device.usable_cores()
    where = calibrate.circumstances(recipe, devices, workers, pin)
    kept = calibrate.load(store, where)
    ended = _finished(store, all_works, devices, workers)
    found = kept.found if kept else calibrate.Found([])
    known = {one.key: one for one in [*found.timed, *ended] if one.key in all_works}
    took = kept.seconds if kept else 0.0
    due_works = [all_works[key] for key in due]
    if not _enough(known, due_works, ended):
        rough = estimate.predict(cost.rough(), due_works, workers, cores, Overheads())[0]
        if (allowed := budget(rough)) > 0:
            on_note(f"timing some of the networks, for about {allowed:.0f} s, to say how long all will take")
            clock = time.monotonic()
            by_key = {task.key: task for task in tasks()}
            found = calibrate.calibrate(
                *([by_key[key] for key in due], due_works, workers, devices, min(allowed, calibrate.MOST_SECONDS)),
                *(store.manifest["classes"], samples.evaluated),
            )
            took = time.monotonic() - clock
            if found.timed:
                calibrate.save(store, found, samples, took, where)
            known |= {one.key: one for one in found.timed}
    model = cost.rough()
    if known:
        model = cost.fit([all_works[key] for key in known], list(known.values()))
    basis = "rough" if not known else "finished" if len(ended) >= FINISHED else "timed"
    measured = len(ended) if basis == "finished" else len(known)
    said = _estimate(store, recipe, keep, due_works, samples, workers, devices, model, cores, compact, found)
    took = took if basis == "timed" else 0.0
    return Outlook(all_works, model, Estimate(basis=basis, measured=measured, calibration_seconds=took, **said))


def kept_samples(store: Store, recipe: Any, devices: Sequence[str], workers: int, pin: str) -> Samples | None:
    """Return the numbers of samples that a calibration has kept: then the data set need not be looked at."""
    kept: Kept | None = calibrate.load(store, calibrate.circumstances(recipe, devices, workers, pin))
    return kept.samples if kept else None


def nothing(store: Store, total: int, devices: Sequence[str]) -> Estimate:
    """Return the estimate of a run that is done."""
    return Estimate(
        run=str(store.path), due=0, total=total, devices=tuple(devices), workers=0, basis="finished", measured=total,
        calibration_seconds=0.0, spread=0.0, seconds=0.0, low=0.0, high=0.0, worker_seconds=0.0, disk={},
        disk_free=shutil.disk_usage(store.path).free, worker_memory=0, data_memory=0, memory_free=None,
        device_memory=None, costliest=(),
    )  # fmt: skip


def _enough(known: Mapping[Key, Timed], due: Sequence[Work], ended: Sequence[Timed]) -> bool:
    """Whether what is known says enough about what is due."""
    trained = {work.key[0] for work in due if work.step is not None}
    timed = len(known) - len(ended)
    return len(ended) >= FINISHED or timed >= min(4, len(trained)) or not trained


def _finished(store: Store, all_works: Mapping[Key, Work], devices: Sequence[str], workers: int) -> list[Timed]:
    """Return what trainings of this run took that are done, where that was on this machine with as many workers."""
    before = store.manifest.get("training", {})
    if before.get("device") != device.describe(devices[0]) or before.get("workers") != workers:
        return []
    names = ["network", "hash", "replicate", "status", "workers", "seconds"]
    rows = read_shards(scan(store.path / "trainings")[0], "trainings", names=names).to_pylist()
    done = {(r["network"], r["replicate"]): r for r in rows if r["status"] == "done" and r["workers"] == workers}
    names = ["network", "replicate", "epoch", "train_seconds", "eval_seconds"]
    spent: dict[tuple[str, int], list[float]] = {}
    seen = set()
    for row in read_shards(scan(store.path / "epochs")[0], "epochs", store.classes, names).to_pylist():
        key = row["network"], row["replicate"]
        if key in done:
            train, evaluation = spent.setdefault(key, [0.0, 0.0])
            first = (*key, row["epoch"]) not in seen  # each split has a row, with the seconds of the same steps
            seen.add((*key, row["epoch"]))
            spent[key] = [train + row["train_seconds"] * first, evaluation + row["eval_seconds"]]
    out = []
    for key, (train, evaluation) in spent.items():
        work = all_works.get((done[key]["hash"], key[1]))
        if work is not None and work.step is not None and train > 0 and evaluation > 0:
            fixed = max(0.0, done[key]["seconds"] - train - evaluation)
            out.append(Timed(work.key, train / work.steps, evaluation / max(1, work.evaluated), fixed))
    return out


def _estimate(
    store: Store,
    recipe: Any,
    keep: Mapping[str, str],
    due: Sequence[Work],
    samples: Samples,
    workers: int,
    devices: Sequence[str],
    model: Model,
    cores: int,
    compact: bool,
    found: calibrate.Found,
) -> dict[str, Any]:
    rows = {row["hash"]: row for row in store.networks()}
    image = store.manifest["shape"]
    pixels = image[0] * image[1] * image[2]
    recipes = {key: recipe_of(NetworkSpec.from_dict(rows[key]), recipe) for key in {work.key[0] for work in due}}
    due_rows = [rows[work.key[0]] for work in due]
    first = not (store.path / "samples.parquet").is_file()
    params = [row["params"] for row in due_rows]
    epochs = [recipes[work.key[0]].epochs for work in due]
    on_disk = estimate.disk(due, params, samples, epochs, store.classes, keep, pixels, first, compact)
    wall, low, high, busy = estimate.predict(model, due, workers, cores, _overheads(found, epochs))
    batches = [recipes[work.key[0]].batch_size for work in due]
    measured = [one.memory_bytes for one in model.known.values() if one.memory_bytes]
    on_card = devices[0].startswith("cuda")
    paper = estimate.memory(due_rows, batches, pixels, samples)
    untrained = sum(work.step is None for work in due)
    note = ""
    if untrained:
        note = f"{untrained} students are not trained by gradient: {cost.UNTRAINED:g} s were taken for each"
    return {
        "run": str(store.path),
        "due": len(due),
        "total": sum(recipe_of(NetworkSpec.from_dict(row), recipe).replicates for row in rows.values()),
        "devices": tuple(devices),
        "workers": workers,
        "spread": model.spread,
        "seconds": wall,
        "low": low,
        "high": high,
        "worker_seconds": busy,
        "disk": on_disk,
        "disk_free": shutil.disk_usage(store.path).free,
        "worker_memory": estimate.WORKER_BYTES if on_card else max([paper, *measured]),
        "data_memory": 4 * pixels * (samples.train + samples.evaluated),
        "memory_free": device.free_memory("cpu"),
        "device_memory": max(measured, default=None) if on_card else None,
        "costliest": estimate.costliest(model, due, rows),
        "note": note,
    }


def _overheads(found: calibrate.Found, epochs: Sequence[int]) -> Overheads:
    """Return what the coordinator needs, as it was measured, or else as it usually is."""
    usual = Overheads()
    if found.commit is None or not epochs:
        return usual
    commit = found.commit[0] + found.commit[1] * sum(epochs) / len(epochs)
    # Merging reads and writes once more what a commit wrote, without waiting for the disk at every file.
    return Overheads(commit, commit / 2, usual.start if found.start is None else estimate.LOADING_SECONDS + found.start)
