"""The course of a training: its clock, the epochs that are done, and how it ended, whatever the engine.

Here, and nowhere else, a training is found to have diverged or to have run out of time. Knows neither torch nor
engines.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import numpy as np

from netpick.core.result import EpochResult, TrainingResult
from netpick.training.job import Job


class StopTraining(Exception):  # noqa: N818  no error, but a way out
    """Ends a training early with a status."""

    def __init__(self, status: str, error: str) -> None:
        super().__init__(error)
        self.status = status


class Course:
    """What has happened in a training so far; its clock runs from the moment when it is made.

    As a context it takes up what `check_time`, `check_loss` and `check_scores` raise, as the status of the training.

    Parameters
    ----------
    job : what is trained
    samples : number of samples that are trained on
    """

    def __init__(self, job: Job, samples: int) -> None:
        self.job, self.samples = job, samples
        self.started, self.clock = datetime.now(UTC), time.perf_counter()
        self.epochs: list[EpochResult] = []
        self.status = "done"
        self.error: str | None = None

    def __enter__(self) -> Course:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, StopTraining):
            return False
        self.status, self.error = error.status, str(error)
        return True

    def check_time(self) -> None:
        """Stop a training that takes longer than its recipe allows."""
        timeout = self.job.recipe.timeout
        if timeout and time.perf_counter() > self.clock + timeout:
            raise StopTraining("timeout", f"not finished after {timeout:g} seconds")

    def check_loss(self, loss: float, epoch: int) -> None:
        """Stop a training whose mean loss over an epoch is not finite."""
        if not np.isfinite(loss):
            raise StopTraining("diverged", f"training loss became {loss} in epoch {epoch}")

    def check_scores(self, scores: np.ndarray, split: str, epoch: int) -> None:
        """Stop a training one of whose scores is not a number."""
        if np.isnan(scores).any():
            raise StopTraining("diverged", f"scores of split {split} are not numbers after epoch {epoch}")

    def add(self, epoch: EpochResult) -> None:
        """Keep an epoch that is done, and give the sign of life that is wanted, as far as that can be done."""
        self.epochs.append(epoch)
        if self.job.sign is not None:
            with contextlib.suppress(OSError):
                Path(self.job.sign).write_text(str(epoch.epoch), "ascii")

    @property
    def keeps_weights(self) -> bool:
        """Whether the result is to have weights: only those of a training that is done are of use."""
        return self.job.keep_weights and self.status == "done"

    def result(self, weights: Mapping[str, np.ndarray] | None = None) -> TrainingResult:
        """Return what the training came to."""
        result = self.job.result(self.status, self.started, time.perf_counter() - self.clock, self.samples)
        kept = None if weights is None else dict(weights)
        return result.with_(error=self.error, epochs=tuple(self.epochs), weights=kept)
