"""What a worker of a cluster does: say what it is and has, get at the data set, and train a bundle on its device.

Runs in processes that others started (`dask worker`, SLURM, ...), which need netpick and nothing of the run's folder.
A processor trains one network at a time, a card many at once (see `cluster_card`).
"""

from __future__ import annotations

import pickle
import platform
import threading
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netpick.core import devices
from netpick.core.errors import DataError, DeviceError
from netpick.core.provenance import versions
from netpick.data.samples import Dataset
from netpick.data.shared import SharedData, attach, delivered
from netpick.sessions.workers.cluster_card import card
from netpick.sessions.workers.landing import Landing
from netpick.sessions.workers.process import attempt, train_task
from netpick.sessions.workers.task import Failure, Task, TrainingKey
from netpick.training.choice import choose
from netpick.training.engines.compiled.ready import make_ready

MUST_AGREE = ("netpick", "python", "torch", "numpy")
"""Versions on which numbers, and the objects that travel, depend."""

ONE_AT_A_TIME = threading.Lock()
"""Engines have one generator of random numbers a process: a worker with several threads trains in one of them."""

Outcome = tuple[TrainingKey, Any]
"""A training's key, with a TrainingResult, a Receipt of one, or a Failure."""


@dataclass(frozen=True)
class Device:
    """A device as its worker calls it. `identity` is one for all processes that see the same card; "" for a CPU."""

    name: str
    model: str
    memory: int | None = None
    identity: str = ""


@dataclass(frozen=True)
class Facts:
    """What is to be known of a worker. `refusal` says why it may not train, of itself."""

    versions: dict[str, str]
    processor: str
    host: str
    devices: tuple[Device, ...] = ()
    refusal: str = ""

    @classmethod
    def here(cls, choice: str = "cpu", token: Path | None = None) -> Facts:
        """Return those of this process, with the devices that a choice stands for here.

        A `token` is a file that has to be seen here, where workers are to write into the run themselves.
        """
        have = versions()
        refusal, found = "", []
        try:
            found = [Device(name, devices.describe(name), *devices.card(name)) for name in devices.resolve(choice)]
        except DeviceError as error:
            refusal = str(error)
        if token is not None and not token.is_file():
            refusal = f"no access to {token.parent.parent}, which --commit worker wants at that path on each worker"
        named = {name: have[name] for name in MUST_AGREE}
        return cls(named, devices.describe("cpu"), platform.node(), tuple(found), refusal)

    def difference(self, other: Facts) -> str:
        """Say in which versions another one differs, as `torch 2.1.0 and not 2.4.0`; "" for none."""
        pairs = ((name, other.versions.get(name, "none"), mine) for name, mine in self.versions.items())
        return ", ".join(f"{name} {theirs} and not {mine}" for name, theirs, mine in pairs if theirs != mine)


@dataclass(frozen=True)
class Order:
    """A bundle for one worker: what to train, on which of its devices, and how.

    `tasks` are all of one data set, planned for any kind of device; `pin` is what is fixed of the plans; `share` the
    workers that have the same card; `landing` where results are written, None where they are sent back.
    """

    tasks: tuple[Task, ...]
    device: str = "cpu"
    share: int = 1
    pin: str = "auto"
    landing: Landing | None = None


@dataclass(frozen=True)
class NoData:
    """A worker did not begin a bundle, since it can't get at the data set."""

    reason: str


def do_bundle(order: Order, dataset: Dataset | None, work: Callable[[Task], Any] = train_task) -> bytes | NoData:
    """Train some networks: one after the other on a processor, side by side on a card.

    Parameters
    ----------
    order : what is to be done
    dataset : sent along where workers can't get at it themselves
    work : what is done with each; a function of a module

    Returns
    -------
    bytes or NoData
        What `unpacked` reads: an outcome a task.
    """
    tasks: Sequence[Task] = order.tasks
    if not isinstance(tasks[0].shared, SharedData):
        return packed([attempt(work, task) for task in tasks])
    on_card = order.device.startswith("cuda") and work is train_task
    with ONE_AT_A_TIME:
        try:
            tasks = _fitted(order, dataset)
        except DataError as error:
            return NoData(str(error))
        if not on_card:
            return packed([_handed_in(attempt(work, task), task, order.landing) for task in tasks])
    _make_way()
    outcomes = card(order.device, order.share).train(tasks)
    ended = [(task.key, outcome) for task, outcome in zip(tasks, outcomes, strict=True)]
    return packed([_handed_in(one, task, order.landing) for one, task in zip(ended, tasks, strict=True)])


def packed(outcomes: Sequence[Outcome]) -> bytes:
    """Return outcomes as they travel."""
    return zlib.compress(pickle.dumps(list(outcomes), protocol=5), 1)


def unpacked(content: bytes) -> list[Outcome]:
    """Return the outcomes of a bundle. What a cluster sends is trusted, as all that runs there is."""
    out: list[Outcome] = pickle.loads(zlib.decompress(content))
    return out


def _handed_in(outcome: Outcome, task: Task, landing: Landing | None) -> Outcome:
    """Return the receipt of a training that this worker writes down itself; else what it came to."""
    key, result = outcome
    if landing is None or isinstance(result, Failure):
        return outcome
    return key, landing.write(result, attach(task.shared).evaluated_labels)


def _fitted(order: Order, dataset: Dataset | None) -> list[Task]:
    """Return tasks for this machine: with its data set, and other plans where it has another kind of device or engines.

    Another kind than the one that the plans are for: else all workers train a network alike.
    """
    shared, kind = order.tasks[0].shared, order.device.partition(":")[0]
    if dataset is None:
        attach(shared)
    else:
        shared = delivered(shared, dataset, _own_folder())
    tasks = [_planned(replace(task, shared=shared), order, kind) for task in order.tasks]
    missing = make_ready((task.job.plan for task in tasks), lambda text: None)
    return [_planned(task, order, kind, missing).on(order.device) for task in tasks]


def _planned(task: Task, order: Order, kind: str, missing: Collection[str] = ()) -> Task:
    job = task.job
    if job.kind == kind and job.plan.mode not in missing:
        return task
    plan = choose(job.recipe, order.device, job.spec, order.pin, missing)
    return replace(task, job=replace(job, plan=plan, device=order.device))


def _own_folder() -> Path:
    """Return where this worker may write: its own folder, which goes with it."""
    from distributed import get_worker

    return Path(get_worker().local_directory) / "netpick-data"


def _make_way() -> None:
    """Let the worker begin its next bundle: the card has room for it beside this one."""
    from distributed import secede

    secede()
