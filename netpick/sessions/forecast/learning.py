"""What trainings take, learnt from those that have finished: a line over what was predicted of them.

What one training takes beside another changes slowly, and many tell it. What others do on the machine changes at once:
from one training to the next all take longer, or less long. Where that has happened, what finished before counts as if
the machine had been then as it is now, and the line stays one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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

LEAST, MOST = 4, 50
"""Trainings on each side of a moment that show a change of the machine: at least, and the nearest at most."""

BEYOND_CHANCE = 6.0
"""Standard errors by which both sides differ where that is no chance; it is the largest of many differences."""

STEP = 0.15
"""Of the logarithm: smaller changes of the machine are left to the line."""

SCATTER = 0.02
"""Standard deviation of the logarithm, at least, of what one training takes by what is expected of it."""


class Learnt:
    """Told what finished trainings took; says what others will take.

    Parameters
    ----------
    predicted : seconds of all that are due
    fixed : how many of these seconds every training takes, however little it computes
    measured : whether the prediction comes from times of this machine
    """

    def __init__(self, predicted: Mapping[TrainingKey, float], fixed: float, measured: bool) -> None:
        self._fixed = fixed
        self._trust = min(TRUST, SHARE * sum(predicted.values())) if measured else 0.0
        self._foreseen = 0.0
        self._predicted: list[float] = []
        self._taken: list[float] = []
        self._slope, self._level, self._slower = 1.0, fixed, 1.0
        # From where on the machine is another, and the line then.
        self._change: tuple[int, tuple[float, float]] | None = None

    @property
    def says_something(self) -> bool:
        """Whether anything is known of this machine."""
        return bool(self._taken or self._trust)

    @property
    def slower(self) -> float:
        """How many times as long the latest took as this machine was timed to take; 1 where it was not timed."""
        latest = np.array(self._predicted[-MOST:])
        return float(sum(self._taken[-MOST:]) / latest.sum()) if self._trust and len(latest) else 1.0

    def add(self, predicted: float, seconds: float) -> None:
        """Note what a training took that was trained to its end."""
        self._predicted.append(predicted)
        self._taken.append(seconds)
        self._foreseen += predicted

    def learn(self, waiting: Mapping[TrainingKey, float]) -> None:
        """Learn from all that have finished; `waiting` is predicted of those that have not begun."""
        if not self._taken:
            return
        self._look_for_change()
        x = np.maximum(np.array(self._predicted) - self._fixed, 0.0)
        ahead = max(0.0, fmean(waiting.values()) - self._fixed) if waiting else None
        self._slope, self._level = _line(x, self._as_now(), ahead)

    def expected(self, predicted: np.ndarray) -> np.ndarray:
        """Return the seconds that trainings take of which so many were predicted."""
        known = self._trust + self._foreseen
        trust = self._trust / known if known and self._taken else 1.0
        slower = self._slower * (self._factor() if self._change else 1.0)
        learnt = self._slope * np.maximum(predicted - self._fixed, 0.0) + self._level
        return trust * slower * predicted + (1 - trust) * learnt

    def _as_now(self) -> np.ndarray:
        """Return what all have taken, or would have on the machine as it is now."""
        y = np.array(self._taken)
        if self._change:
            y[: self._change[0]] *= self._factor()
        return y

    def _factor(self) -> float:
        """Return how many times as long trainings take since the change."""
        assert self._change is not None
        place, line = self._change
        begin = max(0, place - MOST)
        away, sizes = self._away(line, begin, place + MOST)
        return math.exp(float(steps(away, sizes)[0][place - begin]))

    def _away(self, line: tuple[float, float], begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Return logarithms of taken / expected by a line, for some of the finished, and of what was predicted."""
        predicted = np.array(self._predicted[begin:end])
        expected = line[0] * np.maximum(predicted - self._fixed, 0.0) + line[1]
        return np.log(_positive(np.array(self._taken[begin:end])) / _positive(expected)), np.log(_positive(predicted))

    def _look_for_change(self) -> None:
        """Look whether the machine has changed of late."""
        ended = len(self._taken)
        if self._change and ended - self._change[0] >= MOST:
            self._settle()
        begin = max(0, ended - 2 * MOST, self._change[0] if self._change else 0)
        line = self._slope, self._level
        place = changed(*self._away(line, begin, ended))
        if place is not None:
            if self._change:
                self._settle()
            self._change = begin + place, line

    def _settle(self) -> None:
        """Have what finished before the change count for good as if the machine had been as it is now."""
        assert self._change is not None
        factor, place = self._factor(), self._change[0]
        self._taken[:place] = [factor * seconds for seconds in self._taken[:place]]
        self._slower *= factor
        self._change = None


def steps(values: np.ndarray, beside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much values lie higher from each place on than before, and the standard errors of that.

    By least squares, in which a part of the values goes along with `beside` in a straight line. Where that is no other
    than a step the error is infinite.
    """
    # Products of matrices would be computed by threads that wait for each other where the workers have the cores.
    across = beside - beside.mean()
    basis = [one / (np.sqrt((one**2).sum()) or 1.0) for one in (np.ones(len(values)), across)]
    for one in basis:
        values = values - one * (one * values).sum()
    squares = np.arange(len(values), 0, -1.0)  # of what is 1 from each place on, and of its parts that lie in the basis
    for one in basis:
        squares = squares - _from_each(one) ** 2
    known = squares > 1e-6
    squares = np.where(known, squares, 1.0)
    high = np.where(known, _from_each(values) / squares, 0.0)
    rest = np.maximum(values @ values - high**2 * squares, 0.0) / max(1, len(values) - 3)
    return high, np.where(known, np.sqrt(np.maximum(rest, SCATTER**2) / squares), np.inf)


def _from_each(values: np.ndarray) -> np.ndarray:
    """Return the sum of the values from each place on."""
    return values[::-1].cumsum()[::-1]


def changed(values: np.ndarray, beside: np.ndarray) -> int | None:
    """Return from which place on some values lie higher or lower beyond chance; None where nowhere."""
    if len(values) < 2 * LEAST:
        return None
    high, errors = steps(values, beside)
    beyond = np.where(np.abs(high) > STEP, np.abs(high) / errors, 0.0)[LEAST : len(values) - LEAST + 1]
    place = int(beyond.argmax())
    return LEAST + place if beyond[place] > BEYOND_CHANCE else None


def _positive(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 1e-9)


def _line(x: np.ndarray, y: np.ndarray, ahead: float | None) -> tuple[float, float]:
    """Return slope and level of the seconds of finished trainings over what was predicted beside what all take.

    Least squares of relative errors, neither of both below 0; the later a training has finished the more it counts.
    Those `ahead` are taken to be in proportion, until the finished ones tell otherwise.
    """
    age = np.arange(len(x))[::-1]
    recent = 0.5 ** (age / max(LEAST_RECENT, RECENT * len(x)))
    if recent @ x <= 0:
        return 0.0, float(np.average(y, weights=recent))
    slope, level = float(recent @ y / (recent @ x)), 0.0
    if ahead is not None:
        x, y = np.append(x, ahead), np.append(y, slope * ahead)
        recent = np.append(recent, IN_PROPORTION)
    for _ in range(3):
        size = slope * x + level
        weights = recent / np.maximum(size, 1e-3 * size.max() + 1e-9) ** 2
        slope, level = nonnegative_line(x, y, weights)
    return slope, level


def nonnegative_line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
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
