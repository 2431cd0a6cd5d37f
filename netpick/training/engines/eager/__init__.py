"""Autograd, with nothing in its loop that makes a device wait: any layer, precision and device.

Torch's own kernels; a gather every few dozen steps, and slices of what was gathered.
"""

from __future__ import annotations

from netpick.core.result import TrainingResult
from netpick.training.engines.engine import Refusal
from netpick.training.job import Data, Job

CONVOLUTIONS = "tuned"


def refuses(job: Job) -> Refusal | None:
    """Refuse nothing."""
    return None


def pays(job: Job) -> bool:
    """Train whatever is left by the engines before."""
    return True


def train(job: Job, data: Data) -> TrainingResult:
    """Train under autograd."""
    from netpick.training.engines.eager.autograd import Autograd
    from netpick.training.loop import train_epochs

    return train_epochs(job, data, Autograd)
