"""The plain loop: what every engine is held against, and what `--plan reference` runs.

One epoch as a textbook has it: a permutation, a batch at a time, autograd, `torch.optim` as it comes. Whatever is done
for speed elsewhere must give the same losses and scores, up to the rounding of its precision.
"""

from __future__ import annotations

from netpick.core.result import TrainingResult
from netpick.training.engines.engine import Refusal
from netpick.training.job import Data, Job

CONVOLUTIONS = "tuned"


def refuses(job: Job) -> Refusal | None:
    """Refuse other precisions than float32."""
    if job.plan.precision == "fp32":
        return None
    return Refusal(f"reference is for fp32, got {job.plan.precision}: say fp32/reference, or eager", whatever=True)


def pays(job: Job) -> bool:
    """Train only what the user asks it for."""
    return False


def train(job: Job, data: Data) -> TrainingResult:
    """Train with the plain loop."""
    from netpick.training.engines.reference.plain_loop import PlainLoop
    from netpick.training.loop import train_epochs

    return train_epochs(job, data, PlainLoop)
