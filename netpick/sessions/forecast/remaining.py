"""The time left while networks are trained: what the model predicted, corrected by what the finished ones took.

A training takes its worker some seconds, and passing it from hand to hand some more; then its result waits until the
coordinator has written down those before it. Where networks are tiny it is the coordinator that everything waits for:
results then lie in a queue, and a training that was started long ago is not nearly through. All three are measured
as the session goes on. Reads no clock: whoever asks says what time it is. What follows the last training, merging its
files with the others, is counted as it was predicted, and then as it comes on.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from netpick.sessions.forecast.bookkeeping import NOTHING, Overheads
from netpick.sessions.forecast.learning import LEAST_RECENT, RECENT, Learnt
from netpick.sessions.forecast.writing import WINDOW, Writing
from netpick.sessions.workers.task import TrainingKey

LOOKS = 1.02
"""Growth of the number of finished trainings after which all of them are looked at again."""

LOOK_SECONDS = 5.0
"""After which they are looked at again in any case."""

NEARLY = 0.05
"""Of its predicted time a training has always left, however long it has taken: it is taken to be nearly through."""


class TimeLeft:
    """Told what starts and what ends; says how many seconds are left.

    Parameters
    ----------
    predicted : seconds of each training that is due, in the order in which they are handed out
    fixed : how many of these seconds every training takes, however little it computes
    workers : trainings at the same time
    measured : whether the prediction comes from times of this machine; one that does not knows the order of the
        costs and not their size, and says nothing until a training has finished
    overheads : what it is foreseen to take to write trainings down, and to merge their files once all are trained
    cores : that workers and session share; None where they share none
    """

    def __init__(
        self,
        predicted: Mapping[TrainingKey, float],
        fixed: float,
        workers: int,
        measured: bool,
        overheads: Overheads = NOTHING,
        cores: int | None = None,
    ) -> None:
        self._lock = threading.Lock()  # trainings start in another thread than they end in
        self._workers = workers
        self._learnt = Learnt(predicted, fixed, measured)
        self._predicted, self._waiting = dict(predicted), dict(predicted)
        self._running: dict[TrainingKey, float] = {}
        self._begun: float | None = None
        self._merged = 0.0
        self._merge_begun: float | None = None
        self._writing = Writing(overheads, workers / cores if cores else 0.0)
        # How many have ended, and the seconds that they took.
        self._ended, self._spent = 0, 0.0
        # Trainings that have come back, the seconds until then that their workers spent on none, and when that was.
        self._marks = deque([(0, 0.0, float("-inf"))])
        # What follows from them, as of the last look.
        self._next_look = self._looked = 0.0
        self._handling = 0.0

    def started(self, key: TrainingKey, now: float) -> None:
        """Note that a training is with a worker."""
        with self._lock:
            self._waiting.pop(key, None)
            self._running[key] = now

    def finished(
        self, ended: Mapping[TrainingKey, tuple[float, bool]], writing: float, now: float, waited: float = 0.0
    ) -> None:
        """Note that trainings are written down, all together.

        Parameters
        ----------
        ended : the seconds that each took its worker, and whether it was trained to its end; one that ended early says
            nothing of the prediction
        writing : seconds that it took to write them down
        now : the time
        waited : seconds of `writing` in which others had the cores; there is nothing to wait for once all are trained
        """
        with self._lock:
            for key, (seconds, whole) in ended.items():
                self._running.pop(key, None)
                predicted = self._predicted.pop(key)
                self._spent += seconds
                if whole:
                    self._learnt.add(predicted, seconds)
                began = now - writing - seconds
                self._begun = began if self._begun is None else min(self._begun, began)
            self._ended += len(ended)
            self._writing.add(len(ended), writing, waited, now)
            if self._ended > self._next_look or now - self._looked >= LOOK_SECONDS:
                self._look(now)

    def merged(self, share: float, now: float) -> None:
        """Note that files are merged, and which share of it is done."""
        with self._lock:
            if self._merge_begun is None:
                self._merge_begun = now
            self._merged = share

    def seconds(self, now: float) -> float | None:
        """Return the seconds until all is done, or None where nothing can be said yet, or nothing is left."""
        with self._lock:
            if not self._predicted:
                return self._merging(now) or None
            if not self._learnt.says_something:
                return None
            expected = self._expected([*self._running, *self._waiting])
            queue, lefts = self._in_hand(expected, now)
            waiting = [expected[key] for key in self._waiting]
        free = [0.0] * (self._workers - len(lefts)) + lefts
        heapq.heapify(free)
        ends = [0.0] * queue + lefts
        for seconds in waiting:
            ends.append(free[0] + seconds + self._handling)
            heapq.heapreplace(free, ends[-1])
        return self._writing.until_merged(sorted(ends), max(free), self._learnt.slower)

    def _merging(self, now: float) -> float:
        """Return the seconds that merging will still take: the more of it is done, the more as that has come on."""
        passed, left = (now - self._merge_begun if self._merge_begun is not None else 0.0), 1 - self._merged
        return left * (left * self._writing.merging(self._learnt.slower) + passed)

    def _in_hand(self, expected: Mapping[TrainingKey, float], now: float) -> tuple[int, list[float]]:
        """Return how many results wait to be written down, and what is left of the trainings with the workers."""
        lefts = []
        for key, since in self._running.items():
            begun = since if self._begun is None else max(since, self._begun)
            whole = expected[key] + self._handling
            lefts.append((whole - (now - begun), max(NEARLY * whole, whole - (now - begun))))
        lefts.sort(reverse=True)  # those that are most overdue have come back
        with_workers = [left for _, left in lefts[: self._workers]]
        return len(lefts) - len(with_workers), with_workers

    def _expected(self, keys: Sequence[TrainingKey]) -> dict[TrainingKey, float]:
        """Return the seconds that some trainings are expected to take their workers."""
        seconds = self._learnt.expected(np.array([self._predicted[key] for key in keys]))
        return dict(zip(keys, seconds.tolist(), strict=True))

    def _look(self, now: float) -> None:
        """Learn from all that have ended."""
        self._next_look, self._looked = self._ended * LOOKS, now
        self._writing.learn(now)
        self._learnt.learn(self._waiting)
        if self._waiting:  # later some workers have nothing to do
            self._handling = self._time_between(now)

    def _time_between(self, now: float) -> float:
        """Return what passes for a worker besides, from training to training, of late."""
        assert self._begun is not None
        expected = self._expected([*self._running])
        queue, lefts = self._in_hand(expected, now)
        back = sum(sorted(expected.values())[:queue])
        if queue:  # nobody knows which have come back
            under_way = max(0.0, sum(expected.values()) - back - sum(lefts))
        else:  # however overdue they are
            under_way = sum(now - start for start in self._running.values())
        trained = self._ended + queue
        passed = self._workers * (now - self._begun)
        self._marks.append((trained, passed - self._spent - back - under_way, now))
        while len(self._marks) > 2 and (
            self._marks[1][0] < (1 - 2 * RECENT) * trained
            or (self._marks[1][2] < now - WINDOW and self._marks[1][0] <= trained - LEAST_RECENT)
        ):
            self._marks.popleft()
        before, idle, _ = self._marks[0]
        return max(0.0, self._marks[-1][1] - idle) / max(1, trained - before)
