"""The face of an engine: what it refuses, where it pays, and how it trains.

An engine is a module with the four names of `Engine`. It says itself what it can do, in a place that is read without
loading torch or numba: those are loaded by its `train` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from netpick.core.result import TrainingResult
from netpick.training.job import Data, Job


@dataclass(frozen=True)
class Refusal:
    """Why an engine can't train a job; `whatever` network it were, where it is the device or the plan that it lacks."""

    reason: str
    whatever: bool = False


class Engine(Protocol):
    """One way to train a network."""

    CONVOLUTIONS: str
    """What a plan for it says of convolutions unless the user does."""

    def refuses(self, job: Job) -> Refusal | None:
        """Return why it can't train a job, or None."""

    def pays(self, job: Job) -> bool:
        """Return whether it is faster than the engines that come after it, for a job that it doesn't refuse."""

    def train(self, job: Job, data: Data) -> TrainingResult:
        """Train one network and evaluate it after every epoch."""


def only_fp32_on_the_cpu(name: str, job: Job, instead: str) -> Refusal | None:
    """Return the refusal of an engine that has float32 on the CPU alone."""
    if (job.kind, job.plan.precision) == ("cpu", "fp32"):
        return None
    return Refusal(f"{name} is for fp32 on the cpu, got {job.plan.precision} on {job.device}: {instead}", whatever=True)
