"""A made-up session on this machine's workers: the processor time that passes beside trainings.

Each worker computes for a moment, hands in a result of the real size, and is given the next task, while the session
writes the results down. What session and worker compute beyond the moment is what a training takes from the cores in
earnest: messages, the log, files. Processor time is told, which is the same where others have the cores too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from statistics import median

import numpy as np

from netpick.core.errors import WorkError
from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, TrainingResult
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.sessions.workers import pool
from netpick.sessions.workers.task import Failure, Task

MOMENT = 0.01
"""Seconds that a worker computes for a made-up training."""

NETWORK = NetworkSpec("N", "Linear", "None", (layer("Flatten"),))
"""Of the made-up trainings."""

WEIGHTS = 10_000
"""Values of its weights; what a message and a file take hangs little on it."""

EACH, FIRST = 20, 4
"""Made-up trainings of a worker, and how many of them are not counted: what is set up late belongs to no training."""


@dataclass(frozen=True)
class Sizes:
    """Of the results: what a message and a file of one are made of."""

    classes: int
    samples: int
    epochs: int


def rehearse(
    task: Task, workers: int, devices: Sequence[str], sizes: Sizes, commit: Callable[[TrainingResult], None]
) -> float:
    """Return the seconds of a core that pass beside a training.

    Parameters
    ----------
    task : any; its network is not trained
    workers, devices : as for the session that is meant
    sizes : of its results
    commit : writes a result down
    """
    tasks = [replace(task, job=replace(task.job, replicate=n)) for n in range(EACH * workers)]
    there, here = [], [time.process_time()]
    for ended in pool.stream(tasks, partial(_answer, sizes=sizes), workers, devices):
        if isinstance(ended.outcome, Failure):
            raise WorkError(ended.outcome.error)
        there.append(ended.outcome.seconds)
        commit(ended.outcome)
        here.append(time.process_time())
    first = FIRST * workers
    return median(there[first:]) + (here[-1] - here[first]) / (len(there) - first)


def _answer(task: Task, sizes: Sizes) -> TrainingResult:
    """Compute for a moment in a worker process; its result tells the processor time since the one before, as `seconds`.

    Of the first of a process it tells all that the process has taken before.
    """
    global _computed
    result, computed = made_up(sizes), _computed
    seconds = time.process_time() - computed
    end = time.thread_time() + MOMENT
    while time.thread_time() < end:
        pass
    _computed = time.process_time()
    return result.with_(replicate=task.job.replicate, seconds=seconds)


_computed = 0.0
"""Processor time of this process as its last made-up training had ended."""


@lru_cache(maxsize=1)
def made_up(sizes: Sizes) -> TrainingResult:
    """Return the result of a training that never was, with random scores, in a run of one network."""
    random = np.random.default_rng(0)
    labels = random.integers(0, sizes.classes, sizes.samples)
    scores = random.normal(size=(sizes.epochs, sizes.samples, sizes.classes)).astype(np.float32)
    epochs = (EpochResult(n, 0.0, 0.0, None, (evaluate("test", s, labels, 0.0),)) for n, s in enumerate(scores, 1))
    result = TrainingResult(NETWORK.name, NETWORK.hash, 0, "done", 0, "cpu", "", datetime.now(UTC), 0.0)
    return result.with_(epochs=tuple(epochs), weights={"0.weight": np.zeros(WEIGHTS, np.float32)})
