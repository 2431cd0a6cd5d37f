"""Say beforehand what the trainings that are due will take: time with a range, disk, memory, the costliest networks.

The value `Estimate` with its words, and the arithmetic behind it, on plain numbers. Trains nothing and prints nothing;
which model of the costs holds, and what is due, `outlook` knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from netpick.core.errors import listed
from netpick.core.words import counted_word as counted
from netpick.core.words import duration, size
from netpick.sessions.forecast.bookkeeping import Overheads
from netpick.sessions.forecast.model import Model, futures, schedule
from netpick.sessions.forecast.work import Workload
from netpick.sessions.situation import RunNetwork, Samples
from netpick.training.job import EVALUATION_BATCH, STEPS_A_GATHER

COSTLIEST = 10
LOADING_SECONDS = 4.0
"""What passes before workers are started: loading torch, laying out the data."""

SCORE_BYTES = 3.2
"""Bytes of a score in a file, of 4: exponents are much alike, the digits after the point are as good as chance."""

PREDICTED_BYTES = 0.68
"""Bytes of a predicted class, with label and sample number, which take next to nothing."""

SHARD_BYTES, MERGED_BYTES, TABLE_BYTES = 33_000, 1_000, 35_000
"""What a training's three small files have beside its predictions, what is left of that once they are merged, and what
the merged files have once."""

PNG_BYTES = 70
"""Of an image's file beside its pixels, which are packed to a fifth in drawings of digits and more in photographs."""

WORKER_BYTES = 310 * 2**20
"""What a process takes that has loaded torch and machine code, and trained a small network."""


@dataclass(frozen=True)
class Estimate:
    """What is to be expected; seconds of wall time, bytes.

    `low` and `high` hold nine futures of ten; `merge_seconds` of all are for merging files at the end. `basis` says
    what the times come from: `timed` networks, `finished` trainings of the run, or `rough` (nothing was measured).
    `costliest` has the networks that take longest. `cluster` is on what it is trained where that isn't this machine.
    """

    run: str
    due: int
    total: int
    devices: tuple[str, ...]
    workers: int
    basis: str
    measured: int
    calibration_seconds: float
    spread: float
    seconds: float
    low: float
    high: float
    worker_seconds: float
    merge_seconds: float
    disk: Mapping[str, int]
    disk_free: int
    worker_memory: int
    data_memory: int
    memory_free: int | None
    device_memory: int | None
    costliest: tuple[Mapping[str, Any], ...]
    note: str = ""
    cluster: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        """Return all of it as JSON."""
        return json.dumps({**asdict(self), "disk_bytes": sum(self.disk.values())}, indent=1)

    @property
    def time_text(self) -> str:
        """Predicted time and its range, in one line."""
        ranged = f"{duration(self.seconds)} ({duration(self.low)} to {duration(self.high)})"
        if self.basis == "rough":
            return f"time: roughly {ranged}; nothing was measured on this machine"
        what = "finished trainings" if self.basis == "finished" else "networks timed for a moment"
        took = f" in {duration(self.calibration_seconds)}" if self.calibration_seconds else ""
        return f"time: about {ranged}, from {self.measured} {what}{took}"

    @property
    def disk_text(self) -> str:
        """Disk, in one line."""
        parts = ", ".join(f"{name} {size(n)}" for name, n in self.disk.items() if n >= 0.005 * self.bytes)
        short = ": too little" if self.bytes > self.disk_free else ""
        return f"disk: {size(self.bytes)} ({parts}); {size(self.disk_free)} are free{short}"

    @property
    def memory_text(self) -> str:
        """Memory, in one line."""
        text = f"memory: up to {size(self.worker_memory)} for each of {counted(self.workers, 'worker')}, and "
        text += f"{size(self.data_memory)} for the data set, which they share"
        if self.memory_free is not None:
            needed = self.workers * self.worker_memory + self.data_memory
            text += f"; {size(self.memory_free)} are free{': too little' if needed > self.memory_free else ''}"
        if self.device_memory is not None:
            text += f"; {size(self.device_memory)} on the device for each"
        return text

    @property
    def bytes(self) -> int:
        """Bytes on disk in all."""
        return sum(self.disk.values())

    @property
    def _cluster_lines(self) -> list[str]:
        if self.cluster is None:
            return []
        there = self.cluster
        devices = listed(f"{n} on {name}" for name, n in there["devices"].items()) or "none now"
        threads, machines = counted(there["threads"], "thread"), counted(there["machines"], "machine")
        workers = counted(there["workers"], "worker")
        return [f"cluster: {there['address']}: {workers} with {threads} on {machines}: {devices}"]

    @property
    def text(self) -> str:
        """The lines that `netpick estimate` prints above its table."""
        if not self.due:
            return f"{self.run}: all {self.total} trainings have ended, nothing is left to do"
        head = f"{self.run}: {self.due} of {self.total} trainings to do on {', '.join(self.devices)} with "
        lines = [
            head + counted(self.workers, "worker"),
            *self._cluster_lines,
            self.time_text,
            self.disk_text,
            self.memory_text,
        ]
        return "\n".join([*lines, *([self.note] if self.note else [])])


HANDLING_SECONDS = 0.004
"""For messages, the log and what the system does for the files, a training, where all cores are busy.

Chosen on a session of 1001 trainings on two cores of an AMD EPYC: what it took beyond the workers' seconds that were
foreseen, and what writing down takes of a core.
"""


@dataclass(frozen=True)
class Prediction:
    """Wall seconds, the lower and the upper end of their range, the seconds of all workers, and those of merging."""

    seconds: float = 0.0
    low: float = 0.0
    high: float = 0.0
    worker_seconds: float = 0.0
    merging: float = 0.0


def predict(
    model: Model, loads: Sequence[Workload], workers: int, cores: int | None, overheads: Overheads
) -> Prediction:
    """Return what some trainings will take on some workers, which share some cores with the session, or None."""
    if not loads:
        return Prediction()
    trainings = [*map(model.seconds, loads)]
    writing = overheads.writing(trainings, workers)
    # Where every core has a worker, the session takes its time from them.
    shared = cores is not None and workers >= cores
    extra = fmean(each.core for each in writing) + HANDLING_SECONDS if shared else 0.0
    busy = replace(model, fixed=model.fixed + extra)
    merging = overheads.merging(writing)
    outside = overheads.start + merging
    low, high = np.quantile(futures(busy, loads, workers), (0.05, 0.95))
    wall = schedule(sorted(map(busy.seconds, loads), reverse=True), workers)
    wall = max(wall, sum(each.commit for each in writing))  # many workers wait for the one that writes results down
    seconds = sum(trainings)
    low, high = outside + min(float(low), wall), outside + max(float(high), wall)
    return Prediction(outside + wall, low, high, seconds, merging)


def disk(
    networks: Sequence[RunNetwork],
    samples: Samples,
    classes: int,
    keep: Mapping[str, str],
    pixels: int,
    first: bool,
    compact: bool = True,
) -> dict[str, int]:
    """Return the bytes that trainings will add, by what they are.

    Parameters
    ----------
    networks : that of each training
    samples : of the data set
    classes : number of classes
    keep : `scores` (all, last, none) and `weights` (last, none)
    pixels : values of an image
    first : whether the evaluated samples are still to be written down
    compact : whether the small files are merged at the end
    """
    number = len(networks)
    rows = samples.evaluated * sum(network.recipe.epochs for network in networks)
    scored = {"all": rows, "last": samples.evaluated * number, "none": 0}[keep["scores"]]
    out = {"predictions": round(rows * PREDICTED_BYTES + scored * classes * SCORE_BYTES)}
    if keep["weights"] == "last":
        out["weights"] = 4 * sum(network.row["params"] for network in networks)
    out["rest"] = TABLE_BYTES + number * MERGED_BYTES if compact else number * SHARD_BYTES
    if first:
        written = samples.evaluated + samples.train * any(network.recipe.folds for network in networks)
        out["samples"] = round(written * (PNG_BYTES + pixels / 5))
    return out


def memory(networks: Sequence[RunNetwork], pixels: int, samples: Samples) -> int:
    """Return the bytes of main memory that a worker on the CPU needs for the largest of some networks.

    Beside torch itself: weights with gradients and up to three states of the optimizer; every value of a batch with its
    gradient; the batches that are gathered at once; scores; its own fold of the training samples.
    """
    folds = max(network.recipe.folds for network in networks)
    return (
        WORKER_BYTES
        + (4 * pixels * samples.train // (folds - 1) if folds else 0)
        + max(
            20 * network.row["params"]
            + 8 * network.row["memory"] * max(network.recipe.batch_size, EVALUATION_BATCH)
            + 4 * pixels * min(STEPS_A_GATHER * network.recipe.batch_size, samples.train)
            for network in networks
        )
    )


def costliest(
    model: Model, loads: Sequence[Workload], rows: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], ...]:
    """Return the networks that take longest: name, family, size, seconds, share of all seconds."""
    by_network: dict[str, float] = {}
    for load in loads:
        by_network[load.key[0]] = by_network.get(load.key[0], 0.0) + model.seconds(load)
    whole = sum(by_network.values()) or 1.0
    out = []
    for hash_ in sorted(by_network, key=by_network.__getitem__, reverse=True)[:COSTLIEST]:
        row, seconds = rows[hash_], by_network[hash_]
        named = {name: row[name] for name in ("name", "computation", "activation", "params", "macs")}
        out.append({**named, "seconds": round(seconds, 3), "share": round(seconds / whole, 4)})
    return tuple(out)
