"""The time left while networks are trained: what the model predicted, corrected by what the finished ones took.

A training takes its worker some seconds, and passing it from hand to hand some more; then its result waits until the
coordinator has written down those before it. Where networks are tiny it is the coordinator that everything waits for:
results then lie in a queue, and a training that was started long ago is not nearly through. All three are measured
as the session goes on. Reads no clock: whoever asks says what time it is. What follows the last training, such as
merging files, is no part of it.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from netpick.sessions.workers.task import TrainingKey

TRUST, SHARE = 60.0, 0.05
"""Seconds of finished trainings that a calibrated prediction counts for, and at most which share of all that is due."""

RECENT = 0.1
"""Share of the finished trainings after which one counts half as much: large ones come first, and say less of small."""

LEAST_RECENT = 8
"""Trainings, at least, for the same."""

IN_PROPORTION = 2.0
"""Finished trainings that it counts for that a training takes longer the more is predicted of it, in proportion."""

LOOKS = 1.02
"""Growth of the number of finished trainings after which all of them are looked at again."""

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
    """

    def __init__(self, predicted: Mapping[TrainingKey, float], fixed: float, workers: int, measured: bool) -> None:
        self._lock = threading.Lock()  # trainings start in another thread than they end in
        self._fixed, self._workers = fixed, workers
        self._trust = min(TRUST, SHARE * sum(predicted.values())) if measured else 0.0
        self._predicted, self._waiting = dict(predicted), dict(predicted)
        self._running: dict[TrainingKey, float] = {}
        self._begun: float | None = None
        # Of those that have ended: predicted and taken seconds, both as sums and one by one; seconds to write it
        # down, by itself too, and where others wait.
        self._compared: list[tuple[float, float]] = []
        self._commits: list[float] = []
        self._alone: list[float] = []
        self._queued: list[float] = []
        self._foreseen = self._spent = 0.0
        # Trainings that have come back, and the seconds until then that their workers spent on none.
        self._marks = deque([(0, 0.0)])
        # What follows from them, as of the last look.
        self._next_look = 0.0
        self._slope, self._level = 1.0, fixed
        self._commit = self._commit_alone = self._handling = 0.0

    def started(self, key: TrainingKey, now: float) -> None:
        """Note that a training is with a worker."""
        with self._lock:
            self._waiting.pop(key, None)
            self._running[key] = now

    def finished(
        self, key: TrainingKey, seconds: float, commit: float, whole: bool, now: float, waited: float = 0.0
    ) -> None:
        """Note that a training is written down.

        Parameters
        ----------
        key : of the training
        seconds : that it took its worker
        commit : seconds that it took to write it down
        whole : whether it was trained to its end; one that ended early says nothing of the prediction
        now : the time
        waited : seconds of `commit` in which others had the cores; there is nothing to wait for once all are trained
        """
        with self._lock:
            self._running.pop(key, None)
            predicted = self._predicted.pop(key)
            self._commits.append(commit)
            self._alone.append(commit - waited)
            if len(self._running) >= self._workers:  # others wait behind it
                self._queued.append(commit)
            self._spent += seconds
            if whole:
                self._compared.append((predicted, seconds))
                self._foreseen += predicted
            began = now - commit - seconds
            self._begun = began if self._begun is None else min(self._begun, began)
            if len(self._commits) > self._next_look:
                self._look(now)

    def seconds(self, now: float) -> float | None:
        """Return the seconds until the last result is written down, or None where nothing can be said yet."""
        with self._lock:
            if not self._predicted or not (self._compared or self._trust):
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
        workers_end, clock = max(free), 0.0
        for end in sorted(ends):  # results are written down one after the other
            clock = max(clock, end)
            clock += self._commit if clock < workers_end else self._commit_alone
        return clock

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
        predicted = np.array([self._predicted[key] for key in keys])
        known = self._trust + self._foreseen
        trust = self._trust / known if known and self._compared else 1.0
        learnt = self._slope * np.maximum(predicted - self._fixed, 0.0) + self._level
        return dict(zip(keys, (trust * predicted + (1 - trust) * learnt).tolist(), strict=True))

    def _look(self, now: float) -> None:
        """Learn from all that have ended."""
        ended = len(self._commits)
        self._next_look = ended * LOOKS
        commits = self._queued if len(self._queued) >= LEAST_RECENT else self._commits
        recent = max(LEAST_RECENT, int(RECENT * ended))
        self._commit = fmean(commits[-recent:])
        self._commit_alone = min(self._commit, fmean(self._alone[-recent:]))
        if self._compared:
            self._slope, self._level = self._line()
        if self._waiting:  # later some workers have nothing to do
            self._handling = self._time_between(now)

    def _line(self) -> tuple[float, float]:
        """Return slope and level of the seconds of the finished trainings over what was predicted beside `fixed`.

        Least squares of relative errors, neither of both below 0; the later a training has finished the more it counts.
        """
        x, y = np.array(self._compared).T
        x = np.maximum(x - self._fixed, 0.0)
        age = np.arange(len(x))[::-1]
        recent = 0.5 ** (age / max(LEAST_RECENT, RECENT * len(x)))
        if recent @ x <= 0:
            return 0.0, float(np.average(y, weights=recent))
        slope, level = float(recent @ y / (recent @ x)), 0.0
        if self._waiting:  # those to come are taken to be in proportion, until the finished ones tell otherwise
            ahead = fmean(self._waiting.values()) - self._fixed
            x, y = np.append(x, max(ahead, 0.0)), np.append(y, slope * max(ahead, 0.0))
            recent = np.append(recent, IN_PROPORTION)
        for _ in range(3):
            size = slope * x + level
            weights = recent / np.maximum(size, 1e-3 * size.max() + 1e-9) ** 2
            slope, level = _nonnegative_line(x, y, weights)
        return slope, level

    def _time_between(self, now: float) -> float:
        """Return what passes for a worker besides, from training to training, of late."""
        assert self._begun is not None
        expected = self._expected([*self._running])
        queue, lefts = self._in_hand(expected, now)
        back = sum(sorted(expected.values())[:queue])
        under_way = max(0.0, sum(expected.values()) - back - sum(lefts))
        trained = len(self._commits) + queue
        passed = self._workers * (now - self._begun)
        self._marks.append((trained, passed - self._spent - back - under_way))
        while len(self._marks) > 2 and self._marks[1][0] < (1 - 2 * RECENT) * trained:
            self._marks.popleft()
        before, idle = self._marks[0]
        return max(0.0, self._marks[-1][1] - idle) / max(1, trained - before)


def _nonnegative_line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return slope and level of the line with the least weighted squares, neither of them below 0."""
    mean_x, mean_y = np.average(x, weights=weights), np.average(y, weights=weights)
    spread = weights @ (x - mean_x) ** 2
    slope = float(weights @ ((x - mean_x) * (y - mean_y)) / spread) if spread > 1e-12 * (weights @ x**2) else -1.0
    level = float(mean_y - slope * mean_x)
    if slope >= 0 and level >= 0:
        return slope, level
    if mean_x > 0 and (level < 0 or spread <= 1e-12 * (weights @ x**2)):  # through the origin
        return float(weights @ (x * y) / (weights @ x**2)), 0.0
    return 0.0, float(mean_y)
