"""What it takes to write trainings down and to merge their files, learnt from those that were written down.

Trainings that end while others are written down are written down together: the more of them there are, the less each
takes, and the coordinator keeps up with workers that it could not keep up with one by one. So a time takes some
seconds, and each of its trainings some more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from netpick.sessions.forecast.bookkeeping import TOGETHER, Overheads
from netpick.sessions.forecast.learning import nonnegative_line
from netpick.sessions.workers import pool

WINDOW = 20.0
"""Seconds after which what the session does may take another time: others have begun on the machine, or ceased."""

LEAST_TIMES = 8
"""Times, at least, that are looked at."""

FORESEEN = 2.0
"""Times that it counts for that one training and many have taken what was foreseen, by the factor that all have."""


class Writing:
    """Told how many trainings were written down at a time, and what that took; says what others will take.

    Parameters
    ----------
    overheads : what is foreseen
    beside : trainings beside the session on each core that it may have
    """

    def __init__(self, overheads: Overheads, beside: float) -> None:
        each = overheads.each
        self._beside, self._busy, self._files = min(1.0, beside), overheads.busy, overheads.scattered
        self._foreseen = _once_and_each(each.commit, each.together)
        self._merging = _once_and_each(each.merge, each.merge_together)
        self._trainings = overheads.scattered
        # Of each time: trainings, seconds, those of them in which others had the cores, and when it was over.
        self._times: list[tuple[int, float, float, float]] = []
        self._once, self._each = (overheads.busy * seconds for seconds in self._foreseen)
        self._slower: float | None = None

    def add(self, number: int, seconds: float, waited: float, now: float) -> None:
        """Note that so many were written down in so many seconds, in `waited` of which others had the cores."""
        self._times.append((number, seconds, waited, now))
        self._files += 1
        self._trainings += number

    def learn(self, now: float) -> None:
        """Learn from what was written down of late."""
        begin = bisect_left(self._times, now - WINDOW, key=lambda time: time[-1])
        recent = self._times[min(begin, max(0, len(self._times) - LEAST_TIMES)) :]
        numbers, seconds, waited, _ = (np.array(one) for one in zip(*recent, strict=True))
        if not seconds.sum() > 0:
            return
        self._slower = float(seconds.sum() / max(seconds.sum() - waited.sum(), 0.01 * seconds.sum()))
        weights, once, each = np.ones(len(numbers)), *self._foreseen
        if (foreseen := float((once + each * numbers).sum())) > 0:
            one_and_many = np.array([1, TOGETHER])
            numbers = np.append(numbers, one_and_many)
            seconds = np.append(seconds, seconds.sum() / foreseen * (once + each * one_and_many))
            weights = np.append(weights, [FORESEEN, FORESEEN])
        self._each, self._once = nonnegative_line(numbers, seconds, weights)

    def until_merged(self, ends: Sequence[float], workers_end: float, slower: float) -> float:
        """Return when trainings are written down that are under way or wait, and all files are merged.

        Parameters
        ----------
        ends : when they end, in order
        workers_end : from when on no worker has the cores
        slower : how many times as long trainings take as they were timed to take
        """
        clock, place, times = 0.0, 0, 0
        while place < len(ends):
            clock = max(clock, ends[place])
            there = bisect_right(ends, clock, place, min(len(ends), place + pool.TOGETHER))
            seconds = self._once + self._each * (there - place)
            clock += seconds if clock < workers_end else seconds * min(1.0, self._alone(1.0) / (self._slower or 1.0))
            place, times = there, times + 1
        return clock + self.merging(slower, times, len(ends))

    def merging(self, slower: float, times: int = 0, trainings: int = 0) -> float:
        """Return the seconds of merging, once so many times as many trainings are written down."""
        once, each = self._merging
        whole = once * (self._files + times) + each * (self._trainings + trainings)
        return whole * self._alone(slower)

    def _alone(self, slower: float) -> float:
        """Return how many times as long the session will take for what it does once no worker has the cores.

        The more others there are beside it, the longer it has waited for a core: the workers are no longer among them.
        Where no system says how long it has waited, it takes as many times as long as trainings take.
        """
        if self._slower is None:
            return max(self._busy, slower)
        return max(1.0, slower if self._slower == 1.0 else self._slower - self._beside)


def _once_and_each(alone: float, together: float) -> tuple[float, float]:
    """Return what a time takes, and each training, from what one takes alone, and one of `TOGETHER`."""
    each = min(alone, max(0.0, TOGETHER * together - alone) / (TOGETHER - 1))
    return alone - each, each
