"""One thread that feeds many trainings: each on a lane of its own, by turns, without ever waiting for one of them.

A training is a generator (see `graphs.training`): each turn gives its lane some work; it says what to wait for
before its next turn. Tasks begin in the order in which they came, the costliest first, as soon as a lane is free and
the budget has room; none overtakes another, so that a large one is not kept waiting for ever. A failure ends one
training and leaves the others alone. Knows neither processes nor pipes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from netpick.core.result import TrainingResult
from netpick.sessions.workers.gpu_budget import Budget, bytes_needed, occupancy
from netpick.sessions.workers.task import Ended, Failure, Task

Training = Generator[Any, None, TrainingResult]

REST = 0.0001
"""Seconds to sleep where no lane is ready: short against a turn, long enough for the thread of the metrics."""


class DeviceLost(Exception):  # noqa: N818  the process is to end
    """The device gives no more results to this process; everything in hand has to be done by another one."""


@dataclass
class _Slot:
    lane: Any
    task: Task | None = None
    work: Training | None = None
    wait: Any = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    crowded: bool = False


class Feeder:
    """Trains tasks on lanes.

    Parameters
    ----------
    lanes : as many trainings at once
    budget : what they may take together
    start : makes a task's training on a lane
    lost : whether after this error the device is of no more use to this process
    make_room : called when a training ran out of memory, after its own was freed
    """

    def __init__(
        self,
        lanes: Sequence[Any],
        budget: Budget,
        start: Callable[[Task, Any], Training],
        lost: Callable[[Exception], bool] = lambda error: False,
        make_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.budget, self.start, self.lost, self.make_room = budget, start, lost, make_room
        self.waiting: deque[Task] = deque()
        self._free = [_Slot(lane) for lane in lanes]
        self._running: list[_Slot] = []
        self._ending: list[_Slot] = []

    @property
    def busy(self) -> bool:
        """Whether a turn has anything to do."""
        return bool(self.waiting or self._running or self._ending)

    def add(self, task: Task) -> None:
        """Put a task at the end of those that wait."""
        self.waiting.append(task)

    def turn(self) -> list[Task | Ended[TrainingResult]]:
        """Give each lane that is ready its next work; return the tasks that begin, or else those that have ended.

        Where tasks begin they are returned before they have had their first turn: a task that takes the process down
        must be known to have begun.
        """
        happened: list[Task | Ended[TrainingResult]] = []
        moved = self._end()
        if begun := self._begin():
            return begun
        for slot in list(self._running):
            if slot.wait is not None and not slot.wait.done():
                continue
            moved = True
            ended = self._advance(slot)
            if ended is not None:
                happened.append(ended)
        if not moved and not happened:
            time.sleep(REST)
        return happened

    def _begin(self) -> list[Task | Ended[TrainingResult]]:
        begun: list[Task | Ended[TrainingResult]] = []
        while self.waiting and self._free:
            task = self.waiting[0]
            job = task.job
            need = bytes_needed(task.memory, task.params, job.recipe.batch_size)
            load = occupancy(task.memory, len(job.spec.layers), job.recipe.batch_size)
            if not self.budget.admit(task.key, need, load):
                break
            slot = self._free.pop()
            slot.task, slot.wait = self.waiting.popleft(), None
            slot.started = datetime.now(UTC)
            slot.work = self.start(slot.task, slot.lane)
            self._running.append(slot)
            begun.append(slot.task)
        return begun

    def _advance(self, slot: _Slot) -> Ended[TrainingResult] | None:
        assert slot.task is not None
        assert slot.work is not None
        task = slot.task
        try:
            with slot.lane.active():
                slot.wait = next(slot.work)
            if slot.lane.peak is not None:
                self.budget.measured(task.key, slot.lane.peak)
            return None
        except StopIteration as end:
            ended = Ended[TrainingResult](task, end.value)
        except Exception as error:  # every failure of a network must become its row
            failure = Failure.of(error, slot.started)
            if self.lost(error):
                raise DeviceLost(failure.error) from error
            ended = Ended(task, failure)
            slot.crowded = failure.out_of_memory
        slot.work.close()
        slot.work = slot.wait = None
        self._running.remove(slot)
        self._ending.append(slot)
        return ended

    def _end(self) -> bool:
        """Free the lanes whose work has ended: what was given may go on a while after a training was given up."""
        idle = [slot for slot in self._ending if slot.lane.idle()]
        for slot in idle:
            assert slot.task is not None
            slot.lane.release()
            if slot.crowded:
                self.make_room()
            self.budget.leave(slot.task.key)
            slot.task, slot.crowded = None, False
            self._ending.remove(slot)
            self._free.append(slot)
        return bool(idle)
