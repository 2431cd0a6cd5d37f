"""Training steps without autograd: torch's kernels, called by hand. In float32 on the CPU, for any layer.

`layers`, `activations` and `convolutions` have the forward and backward pass of each kind of layer, `step` walks over
them. A layer that is in no table there runs under autograd by itself.
"""

from __future__ import annotations

from netpick.core.result import TrainingResult
from netpick.training.engines.engine import Refusal, only_fp32_on_the_cpu
from netpick.training.job import Data, Job

CONVOLUTIONS = "tuned"


def refuses(job: Job) -> Refusal | None:
    """Refuse other devices than the CPU, and other precisions than float32."""
    return only_fp32_on_the_cpu("explicit", job, "say eager")


def pays(job: Job) -> bool:
    """Train all that it can: autograd's bookkeeping is most of a small network's step, and some of a large one's."""
    return True


def train(job: Job, data: Data) -> TrainingResult:
    """Train with steps that are written out."""
    from netpick.training.engines.explicit.step import ExplicitEpochs
    from netpick.training.loop import train_epochs

    return train_epochs(job, data, ExplicitEpochs)
