"""What a calibration times in a worker process: a few steps of one network, and what else its training will take.

A network is trained for a moment by the same code, with the same plan, recipe and data as later in earnest, so that
whatever a plan does is in the figure. Which networks, and what follows, is said in `calibration`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import msgspec
import numpy as np

from netpick.core.errors import WorkError
from netpick.core.metrics import evaluate
from netpick.core.processes import waited_for_core
from netpick.core.result import TrainingResult
from netpick.sessions.forecast.model import Timed
from netpick.sessions.workers.process import prepare, resident
from netpick.sessions.workers.task import Task
from netpick.training.job import EVALUATION_BATCH


@dataclass(frozen=True)
class Probed:
    """What one network takes; what it took to time that, and for how much of it others had the cores."""

    timed: Timed
    seconds: float
    waited: float


def time_task(task: Task, budget: float) -> Probed:
    """Train a network for about `budget` seconds in a worker process, and return what it takes.

    Raises
    ------
    WorkError
        The training does not end as `done`.
    """
    prepare()
    from netpick.training.parts import Parts

    job, whole = replace(task.job, fold=None), Parts.of(task.job, resident(task.shared, task.job.device)).timed()
    clock, waited = time.perf_counter(), waited_for_core()  # what was before passes once in a process
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
    classes = len(result.epochs[-1].splits[0].class_accuracy)
    timed = Timed(
        task.key,
        step_seconds=median(result.epochs[n].train_seconds for n in warm) / (few if result is first else steps),
        sample_seconds=median(_sample_seconds(result, n) for n in warm),
        fixed_seconds=max(0.0, result.seconds - inside) + job.recipe.epochs * _metrics_seconds(whole, classes),
        memory_bytes=result.epochs[-1].peak_memory_bytes or _memory(),
    )
    return Probed(timed, time.perf_counter() - clock, waited_for_core() - waited)


def _metrics_seconds(whole: Mapping[str, Any], classes: int) -> float:
    """Return the seconds of an epoch's metrics: they depend on how many samples there are, and on no network."""
    seconds = 0.0
    for split, (_, labels) in whole.items():
        if split != "train":
            truth = labels.cpu().numpy()
            scores = np.random.default_rng(0).normal(size=(len(truth), classes)).astype(np.float32)
            clock = time.perf_counter()
            evaluate(split, scores, truth, 0.0)
            seconds += time.perf_counter() - clock
    return seconds


def _sample_seconds(result: TrainingResult, epoch: int) -> float:
    splits = result.epochs[epoch].splits
    return sum(s.eval_seconds for s in splits) / sum(len(s.scores) for s in splits)


def _memory() -> int:
    """Return the bytes of main memory that belong to this process alone."""
    import psutil

    return int(psutil.Process(os.getpid()).memory_full_info().uss)
