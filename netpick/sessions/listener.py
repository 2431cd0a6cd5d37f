"""Who hears what a session does: a `Listener`, told where it starts, each training, and what takes a while."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from netpick.core.recipe import Recipe
from netpick.core.result import TrainingResult
from netpick.sessions.forecast.estimate import Estimate
from netpick.sessions.forecast.remaining import TimeLeft
from netpick.sessions.workers.task import Task, TrainingKey


@dataclass(frozen=True)
class Start:
    """What a session is about to do.

    `cost` has the predicted seconds of each training, by (hash of the network, replicate), and `estimate` what they
    come to together; `left` says at any time how long it will still take. `recipe` is the run's; `swept` has the keys
    in which networks differ from it.
    """

    total: int
    finished: Counter[str]
    due: int
    workers: int
    devices: list[str]
    recipe: Recipe
    cost: dict[TrainingKey, float]
    estimate: Estimate
    left: TimeLeft
    swept: tuple[str, ...] = ()


class Listener:
    """Hears what happens; this one does not care. `started` may be called from another thread."""

    watches: bool = False
    """Whether somebody looks at how many epochs each training has done: then the jobs say so, in files."""

    def begin(self, start: Start) -> None:
        """All is checked, the first training is about to start."""

    def started(self, task: Task) -> None:
        """A training has been handed to a worker."""

    def finished(self, result: TrainingResult) -> None:
        """A training has ended and is committed."""

    def merging(self, share: float, left: float | None) -> None:
        """All has ended, and files are merged: which share of that is done, and how many seconds it will still take."""

    def note(self, text: str) -> None:
        """Something else takes a while, or is worth knowing."""

    def progress(self, text: str, done: int, total: int) -> None:
        """Something else that takes a while has come so far; 0 of 0 is a mere message."""
