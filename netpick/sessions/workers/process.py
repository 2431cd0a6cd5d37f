"""What a worker process does: get ready, keep the data set resident, do a task, and end with its coordinator.

A worker assumes no disk shared with the coordinator beyond its data directory, so that it may be another machine's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

import msgspec
import psutil

from netpick.core.processes import keep_memory
from netpick.core.result import TrainingResult
from netpick.data.shared import SharedData, attach
from netpick.networks.paper.whole_networks import is_baseline
from netpick.sessions.workers.task import Failure, Task, TrainingKey
from netpick.training.engines import train
from netpick.training.job import Data, Job

Outcome = TypeVar("Outcome")


def attempt(work: Callable[[Task], Outcome], task: Task, rest: float = 0.0) -> tuple[TrainingKey, Outcome | Failure]:
    """Do a task's work, after some seconds of rest; whatever goes wrong comes back as a failure."""
    time.sleep(rest)
    started = datetime.now(UTC)
    try:
        return task.key, work(task)
    except Exception as error:  # noqa: BLE001  every failure of a network must become its row
        return task.key, Failure.of(error, started)
    finally:
        if task.job.kind == "cuda":
            import torch

            torch.cuda.empty_cache()  # what this process keeps back, the others on the card can't have


def train_task(task: Task) -> TrainingResult:
    """Train in a worker process."""
    prepare()
    data = resident(task.shared, task.job.device)
    warm_up(task.job, data)
    return train(task.job, data)


@lru_cache(maxsize=1)
def prepare() -> None:
    """Set this process up as a worker, once: one thread, no Ctrl-C of its own, and all that torch loads late.

    Not as the process starts: a worker of a cluster is started by others.
    """
    import torch

    with contextlib.suppress(ValueError):  # not the main thread, as in a cluster's worker
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator hears Ctrl-C and decides
    torch.set_num_threads(1)
    keep_memory()
    # Numbers below 1e-38 are worth nothing to a network, and make it many times slower on some processors.
    torch.set_flush_denormal(True)
    # The first optimizer of a process makes torch load its compiler, for seconds that belong to no network.
    torch.optim.SGD([torch.zeros(1)])


WARM: set[tuple[str, str]] = set()
"""Devices and engines that have trained in this process."""

WARM_UP_STEPS = 2


def warm_up(job: Job, data: Data) -> None:
    """Train some steps for nothing before the first training by an engine: what it sets up late counts for no network.

    Loading machine code or sklearn takes a second, which a network of milliseconds would be charged with.
    """
    engine = (job.device, "baseline" if is_baseline(job.spec.layers) else job.plan.mode)
    if engine in WARM:
        return
    WARM.add(engine)
    few = WARM_UP_STEPS * job.recipe.batch_size
    batches = {split: (inputs[:few], labels[:few]) for split, (inputs, labels, *_) in data.items()}
    recipe = msgspec.structs.replace(job.recipe, epochs=1)
    with contextlib.suppress(Exception):  # what goes wrong will do so again, and then belongs to the network
        train(replace(job, recipe=recipe, keep_weights=False, fold=None), batches)


@lru_cache(maxsize=2)
def resident(shared: SharedData, device: str) -> Data:
    """Return the splits as tensors on a device: the mapped files themselves on the CPU, else one copy a process."""
    import torch

    arrays = attach(shared)
    data: dict[str, tuple[torch.Tensor, ...]] = {
        split: (torch.from_numpy(inputs).to(device), torch.from_numpy(labels).to(device))
        for split, (inputs, labels) in arrays.items()
    }
    if arrays.folds is not None:
        data["train"] += (torch.from_numpy(arrays.folds),)
    return data


def watch(coordinator: int) -> None:
    """Run first of all in a worker: end it when its coordinator has gone, even by `kill -9`."""

    def look() -> None:
        while os.getppid() == coordinator:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


LOOK_SECONDS = 1.0
STOPPED_LOOKS = 10
"""Looks in a row at which a worker is found stopped before it is ended."""


def look_for_stopped(pids: Callable[[], Iterable[int]]) -> Callable[[], bool]:
    """Return a look that ends those of some processes that stay stopped, as by SIGSTOP: what they are at never ends.

    What counts are looks of this process, not seconds: those that stop and go on together with it, as by Ctrl-Z, stay.
    """
    looks: Counter[int] = Counter()

    def look() -> bool:
        nonlocal looks
        looks = Counter({pid: looks[pid] + 1 for pid in pids() if is_stopped(pid)})
        for pid, number in looks.items():
            if number >= STOPPED_LOOKS:
                with contextlib.suppress(psutil.Error):
                    psutil.Process(pid).kill()
        return False

    return look


@contextlib.contextmanager
def looking(look: Callable[[], bool], seconds: float) -> Iterator[None]:
    """Call `look` meanwhile every so many seconds, in a thread of its own, until it says that it has seen enough."""
    over = threading.Event()

    def again_and_again() -> None:
        while not over.wait(seconds) and not look():
            pass

    thread = threading.Thread(target=again_and_again, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped, as by SIGSTOP."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


@contextlib.contextmanager
def started_without_ctrl_c() -> Iterator[None]:
    """Block Ctrl-C while processes are started: they inherit that, and would otherwise each print a traceback."""
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
