"""A job: what one training is made of, and the result that it comes to.

Plain values that travel to a worker. No torch is loaded, and nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from netpick.core.recipe import FOR_BASELINES, Recipe
from netpick.core.result import TrainingResult
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import is_baseline
from netpick.training.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor

Data = Mapping[str, tuple["Tensor", ...]]
"""Inputs (samples, C, H, W) float32 and labels (samples,) int64 of each split, on the job's device.

The split `train` is trained on, all others are evaluated. Where training samples are cut into folds, the fold of each,
int8 and on the CPU, comes after their labels: a job then leaves one of them out (see `Parts`).
"""

STEPS_A_GATHER = 64
"""Steps whose samples are gathered at once: a gather for each step costs more than the step of a small network."""

EVALUATION_BATCH = 250
"""The most samples in one forward pass of an evaluation, large enough to hide the calls; see `evaluated_together`."""


@dataclass(frozen=True)
class Job:
    """One network × one replicate, to be trained by one recipe on one device.

    `seed` is that of the initial weights and of the order of the samples; `replicate` is only passed through to the
    result; `keep_weights` says whether the result carries the final state dict. `sign` is a file into which the number
    of the last finished epoch is written, for those who watch. `fold` of the training samples is left out, and
    evaluated.
    """

    spec: NetworkSpec
    recipe: Recipe
    seed: int
    plan: Plan
    device: str = "cpu"
    replicate: int = 0
    keep_weights: bool = False
    sign: str | None = None
    fold: int | None = None

    @property
    def kind(self) -> str:
        """The kind of device: `cpu`, `cuda` or `mps`."""
        return self.device.partition(":")[0]

    def result(self, status: str, started: datetime, seconds: float, samples: int | None = None) -> TrainingResult:
        """Return a result of this job, without epochs; `samples` are those that it was trained on, if that is known."""
        return TrainingResult(
            network=self.spec.name,
            hash=self.spec.hash,
            replicate=self.replicate,
            status=status,
            seed=self.seed,
            device=self.device,
            plan=str(self.plan),
            started=started,
            seconds=seconds,
            recipe=self.recipe_values(samples),
            fold=self.fold,
        )

    def recipe_values(self, samples: int | None) -> dict[str, Any]:
        """Return what goes into the columns of the recipe; a baseline has no learning rate, nor batches."""
        values = {**msgspec.to_builtins(self.recipe), "train_samples": samples}
        return {k: values[k] for k in FOR_BASELINES} if is_baseline(self.spec.layers) else values
