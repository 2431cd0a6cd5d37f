"""What is due, as tasks for the workers, and the engines made ready for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from netpick.sessions.inputs import Inputs
from netpick.sessions.situation import DueTraining, Situation
from netpick.sessions.workers.task import Task, TrainingKey
from netpick.training.engines.compiled.ready import make_ready
from netpick.training.job import Job


def with_engines_ready(
    situation: Situation, due: Sequence[DueTraining], on_note: Callable[[str], None] = lambda text: None
) -> Situation:
    """Return what is the case once the engines for what is due are ready: plans are for those that could be."""
    plans = (situation.plans[training.network.spec.hash] for training in due)
    return replace(situation, missing=make_ready(plans, on_note))


def with_signs(tasks: Iterable[Task], folder: str) -> list[Task]:
    """Return the tasks with a file in a folder for each, which says how many epochs are done."""
    return [replace(task, job=replace(task.job, sign=f"{folder}/{'-'.join(map(str, task.key))}")) for task in tasks]


def in_order(tasks: Iterable[Task], seconds: Mapping[TrainingKey, float], workers: int) -> list[Task]:
    """Return the tasks in the order in which they are handed out.

    The costliest come first, so that no worker is left with a long one at the end; before them one of the cheapest for
    each worker, so that there is something to see at once.
    """
    ordered = sorted(tasks, key=lambda task: seconds[task.key], reverse=True)
    few = min(workers, len(ordered) // 4)
    return [*reversed(ordered[len(ordered) - few :]), *ordered[: len(ordered) - few]]


def tasks_of(situation: Situation, inputs: Inputs, due: Iterable[DueTraining]) -> list[Task]:
    """Return what workers are given."""
    return [
        Task(
            _job(situation, training),
            inputs.of(training.network.recipe),
            workers=situation.workers,
            memory=training.network.row["memory"] or 0,
            params=training.network.row["params"] or 0,
        )
        for training in due
    ]


def _job(situation: Situation, training: DueTraining) -> Job:
    """Return a training."""
    network = training.network
    return Job(
        spec=network.spec,
        recipe=network.recipe,
        seed=network.seed(situation.store.manifest["seed"], training.replicate),
        plan=situation.plans[network.spec.hash],
        device=situation.devices[0],
        replicate=training.replicate,
        keep_weights=situation.keep["weights"] == "last",
        fold=situation.fold(network, training.replicate),
    )
