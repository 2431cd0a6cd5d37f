"""Trainings on a CUDA card, in pieces that are captured once as CUDA graphs and replayed: any layer and precision.

`lanes` is what is needed from CUDA, `parts` the work that is done, captured or replayed, `network` the pieces of one
network, `training` their order. Where a capture fails the network goes on eagerly.
"""

from __future__ import annotations

from netpick.core.result import TrainingResult
from netpick.training.engines.engine import Refusal
from netpick.training.job import Data, Job

CONVOLUTIONS = "tuned"


def refuses(job: Job) -> Refusal | None:
    """Refuse all that is no CUDA GPU, and learning rates that change from step to step."""
    if job.kind != "cuda":
        return Refusal(f"graph is for CUDA GPUs, got {job.device}: say eager", True)
    if job.recipe.schedule != "constant" or job.recipe.warmup:
        return Refusal("a captured step has one learning rate: say eager")
    return None


def pays(job: Job) -> bool:
    """Train all that it can: one thread then feeds many networks."""
    return True


def train(job: Job, data: Data) -> TrainingResult:
    """Train on a lane of its own."""
    from netpick.training.engines.graphs.training import train_alone

    return train_alone(job, data)
