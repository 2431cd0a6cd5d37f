"""What is due, as tasks for the workers, and the engines made ready for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from netpick.networks.paper.spec import seed_of
from netpick.sessions.inputs import Inputs
from netpick.sessions.situation import DueTraining, Situation
from netpick.sessions.workers.task import Task
from netpick.training.engines.compiled.ready import make_ready
from netpick.training.job import Job


def with_engines_ready(
    situation: Situation, due: Sequence[DueTraining], on_note: Callable[[str], None] = lambda text: None
) -> Situation:
    """Return what is the case once the engines for what is due are ready: plans are for those that could be."""
    plans = (situation.plans[training.network.spec.hash] for training in due)
    return replace(situation, missing=make_ready(plans, on_note))


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
    """Return a training; its seed is of the layers alone, the same whatever recipe they are trained by."""
    spec = training.network.spec
    return Job(
        spec=spec,
        recipe=training.network.recipe,
        seed=seed_of(situation.store.manifest["seed"], spec.layers_hash, training.replicate),
        plan=situation.plans[spec.hash],
        device=situation.devices[0],
        replicate=training.replicate,
        keep_weights=situation.keep["weights"] == "last",
    )
