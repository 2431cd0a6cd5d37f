"""Choosing among ways by looking, and judging the choice on networks that played no part in it. Plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from _common import interval


class Ratio(NamedTuple):
    """A geometric mean of ratios with its 95 % interval, over so many of them."""

    mean: float
    low: float
    high: float
    number: int

    def __str__(self) -> str:
        if self.number < 2:
            return f"{self.mean:.2f} (one network: no interval)"
        return f"{self.mean:.2f} ({self.low:.2f} to {self.high:.2f}, 95 % interval over {self.number})"


def ratio(values: Sequence[float]) -> Ratio:
    """Return the geometric mean of ratios; of one alone nothing can be said, so that its interval has no end."""
    logs = np.log(np.asarray(values, dtype=float))
    if len(logs) < 2:
        return Ratio(float(np.exp(logs.mean())), 0.0, math.inf, len(logs))
    return Ratio(*(math.exp(value) for value in interval(logs)), len(logs))


class Judged(NamedTuple):
    """The way that was least of all, and how many times faster than the present way such a choice is.

    The gain is of choices that a network had no part in: each by the way that is least for all others.
    """

    chosen: Any
    present: Any
    gain: Ratio

    @property
    def value(self) -> Any:
        """The chosen way where the gain is beyond doubt, else the present one."""
        return self.chosen if self.gain.low > 1 else self.present


def least(rows: Sequence[Mapping[Any, float]]) -> Any:
    """Return the way whose geometric mean over all networks is least; of equal ones the first."""
    return min(rows[0], key=lambda way: sum(math.log(row[way]) for row in rows))


def judge(rows: Sequence[Mapping[Any, float]], present: Any) -> Judged:
    """Choose among ways by the seconds of each network (all have the same ways), and judge the choice."""
    gains = []
    for place, row in enumerate(rows):
        others = [*rows[:place], *rows[place + 1 :]]
        gains.append(row[present] / row[least(others)] if others else 1.0)
    return Judged(least(rows), present, ratio(gains))
