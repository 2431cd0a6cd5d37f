"""A task: a job with all that a worker needs for it, and how it ended. Plain values that travel between processes.

A failure is a value, not a crash: what went wrong in one line, and whether it was memory that was missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

from netpick.core.result import TrainingResult
from netpick.data.shared import SharedData
from netpick.training.job import Job

TrainingKey = tuple[str, int]
"""Hash of the network, and replicate."""

Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Task:
    """One job, for a worker. `memory` and `params` are the network's; `workers` work at the same time.

    `where` is the worker of a cluster that has it.
    """

    job: Job
    shared: SharedData
    workers: int = 1
    attempts: int = 1
    memory: int = 0
    params: int = 0
    where: str = ""

    @property
    def key(self) -> TrainingKey:
        """Hash of the network, and replicate."""
        return self.job.spec.hash, self.job.replicate

    def on(self, device: str) -> Task:
        """Return the task for a device."""
        return replace(self, job=replace(self.job, device=device))

    def again(self) -> Task:
        """Return the second attempt, which is the last one."""
        return replace(self, attempts=2)


MAYBE_MEMORY = ("could not create a ", "can't start new thread", "failed to map segment")
"""What oneDNN and the system say where memory is missing, and for other reasons too."""


@dataclass(frozen=True)
class Failure:
    """Why a task gave nothing, in one line, and from when on it was at work for how long.

    `out_of_memory`: memory was missing, or may have been.
    """

    error: str
    started: datetime
    seconds: float
    out_of_memory: bool = False

    @classmethod
    def of(cls, error: BaseException, started: datetime) -> Failure:
        """Return what an exception comes to; running out of memory, of any device, begins with "out of memory"."""
        text = " ".join(str(error).split())[:500] or type(error).__name__
        memory = (
            isinstance(error, MemoryError)
            or type(error).__name__ == "OutOfMemoryError"
            or "can't allocate memory" in text
            or "out of memory" in text.lower()
        )
        head = "out of memory" if memory else type(error).__name__
        return cls(f"{head}: {text}", started, _since(started), memory or any(sign in text for sign in MAYBE_MEMORY))

    @classmethod
    def of_a_worker(cls, how: str, started: datetime) -> Failure:
        """Return the second death of a worker process at the same task; `how` it ended, as far as that is known."""
        text = "its worker process died twice, the second time with nothing beside it"
        return cls(f"{text} ({how})" if how else text, started, _since(started))


def _since(started: datetime) -> float:
    return (datetime.now(UTC) - started).total_seconds()


@dataclass(frozen=True)
class Ended(Generic[Outcome]):
    """A task that has ended, with what its work gave or why it failed.

    `written` has the sizes of the files that its worker wrote into the run itself; None where it wrote none.
    """

    task: Task
    outcome: Outcome | Failure
    written: Mapping[str, int] | None = None

    @property
    def deserves_another(self) -> bool:
        """Whether it may fit when it has the device for itself."""
        return isinstance(self.outcome, Failure) and self.outcome.out_of_memory and self.task.attempts == 1


def result_of(ended: Ended[TrainingResult]) -> TrainingResult:
    """Return the row of a training, whichever way it ended."""
    task, outcome = ended.task, ended.outcome
    if isinstance(outcome, Failure):
        failed = task.job.result("failed", outcome.started, outcome.seconds)
        outcome = failed.with_(error=outcome.error)
    return outcome.with_(attempts=task.attempts, workers=task.workers)
