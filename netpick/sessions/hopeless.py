"""When to give a session up: every training has failed, and of the same error.

Then it is not the networks that are to blame but the machine, or what is installed on it, and the other thousand would
fail as well. A session in which only some networks can't be trained goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from netpick.core.result import TrainingResult
from netpick.sessions.workers.task import Task

ENOUGH = 10
"""Trainings that fail of one error, where no other has ended."""


class Hopeless:
    """What has become of the trainings of a session so far.

    The costliest are trained first, so that the first ten may be of one computation, which this device can't do: where
    the session has others, one of those has to fail as well.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.computations = {task.key: task.job.spec.computation for task in tasks}
        self.wanted = min(2, len(set(self.computations.values())))
        self.failed: set[str] = set()
        self.ends: set[tuple[str, str | None]] = set()
        self.ended = 0

    def after(self, result: TrainingResult) -> str:
        """Note how one more training has ended; return why there is no hope for the others, or nothing."""
        self.ended += 1
        self.ends.add((result.status, result.error))
        self.failed.add(self.computations[result.hash, result.replicate])
        alike = len(self.ends) == 1 and result.status == "failed"
        if not alike or self.ended < ENOUGH or len(self.failed) < self.wanted:
            return ""
        return f"all {self.ended} trainings of this session have failed of the same error: {result.error}"
