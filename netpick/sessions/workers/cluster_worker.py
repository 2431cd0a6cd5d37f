"""What a worker of a cluster does: say what it is, get at the data set, and train a bundle, one network at a time.

Runs in processes that others started (`dask worker`, SLURM, ...), which need netpick and nothing of the run's folder.
No distributed is imported here but to ask a worker for its own folder.
"""

from __future__ import annotations

import pickle
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from netpick.core import devices
from netpick.core.errors import DataError
from netpick.core.provenance import versions
from netpick.core.result import TrainingResult
from netpick.data.samples import Dataset
from netpick.data.shared import attach, delivered
from netpick.sessions.workers.process import attempt, train_task
from netpick.sessions.workers.task import Failure, Task, TrainingKey
from netpick.training.choice import choose
from netpick.training.engines.compiled.ready import make_ready

MUST_AGREE = ("netpick", "python", "torch", "numpy")
"""Versions on which numbers, and the objects that travel, depend."""

ONE_AT_A_TIME = threading.Lock()
"""Engines have one generator of random numbers a process: a worker with several threads trains in one of them."""

Outcome = tuple[TrainingKey, TrainingResult | Failure]


@dataclass(frozen=True)
class Facts:
    """What is to be known of a worker: its versions and its processor."""

    versions: dict[str, str]
    processor: str

    @classmethod
    def here(cls) -> Facts:
        """Return those of this process."""
        have = versions()
        return cls({name: have[name] for name in MUST_AGREE}, devices.describe("cpu"))

    def difference(self, other: Facts) -> str:
        """Say in which versions another one differs, as `torch 2.1.0 and not 2.4.0`; "" for none."""
        pairs = ((name, other.versions.get(name, "none"), mine) for name, mine in self.versions.items())
        return ", ".join(f"{name} {theirs} and not {mine}" for name, theirs, mine in pairs if theirs != mine)


@dataclass(frozen=True)
class Unfit:
    """Why a worker did not begin a bundle: its `versions` are others, or it has no `data`."""

    kind: str
    reason: str


def do_bundle(
    tasks: Sequence[Task],
    wanted: Facts,
    dataset: Dataset | None,
    work: Callable[[Task], TrainingResult] = train_task,
) -> bytes | Unfit:
    """Train some networks, one after the other.

    Parameters
    ----------
    tasks : all of one data set
    wanted : what the session is, which this worker is held to
    dataset : sent along where workers can't get at it themselves
    work : what is done with each; a function of a module

    Returns
    -------
    bytes or Unfit
        What `unpacked` reads: an outcome a task.
    """
    if differs := wanted.difference(Facts.here()):
        return Unfit("versions", differs)
    with ONE_AT_A_TIME:
        if work is train_task:
            try:
                tasks = _fitted(tasks, dataset)
            except DataError as error:
                return Unfit("data", str(error))
        return packed([attempt(work, task) for task in tasks])


def packed(outcomes: Sequence[Outcome]) -> bytes:
    """Return outcomes as they travel."""
    return zlib.compress(pickle.dumps(list(outcomes), protocol=5), 1)


def unpacked(content: bytes) -> list[Outcome]:
    """Return the outcomes of a bundle. What a cluster sends is trusted, as all that runs there is."""
    out: list[Outcome] = pickle.loads(zlib.decompress(content))
    return out


def _fitted(tasks: Sequence[Task], dataset: Dataset | None) -> list[Task]:
    """Return tasks for this machine: with its data set, and other plans where it has no machine code."""
    shared = tasks[0].shared
    if dataset is None:
        attach(shared)
    else:
        shared = delivered(shared, dataset, _own_folder())
    missing = make_ready((task.job.plan for task in tasks), lambda text: None)
    out = []
    for task in tasks:
        job = task.job
        if job.plan.mode in missing:
            job = replace(job, plan=choose(job.recipe, job.device, job.spec, missing=missing))
        out.append(replace(task, shared=shared, job=job))
    return out


def _own_folder() -> Path:
    """Return where this worker may write: its own folder, which goes with it."""
    from distributed import get_worker

    return Path(get_worker().local_directory) / "netpick-data"
