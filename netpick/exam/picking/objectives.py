"""What a network is picked by: the objectives, their Pareto front, and which network of a front is the best."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from netpick.core.errors import NetpickError, listed, suggest
from netpick.exam.picking.columns import ACCURACIES, FRACTIONS, NUMBERS


@dataclass(frozen=True)
class Objectives:
    """Columns to be low (`down`) and to be high (`up`), the most important first."""

    down: tuple[str, ...]
    up: tuple[str, ...]

    @classmethod
    def checked(cls, minimize: Iterable[str] | None, maximize: Iterable[str] | None) -> Objectives:
        """Return them; few macs and high accuracy where there are none, and high accuracy where it is not named."""
        down, up = list(minimize or []), list(maximize or [])
        if not down and not up:
            down, up = ["macs"], ["accuracy"]
        elif not up and not set(down) & set(FRACTIONS):
            up = ["accuracy"]
        for column in (*down, *up):
            if column not in NUMBERS:
                raise NetpickError(
                    f"no column '{column}'{suggest(column, NUMBERS)} to choose by: there are {listed(NUMBERS)}"
                )
        if twice := set(down) & set(up):
            raise NetpickError(f"{listed(sorted(twice))} is to be minimized and maximized: take one of both away")
        return cls(tuple(dict.fromkeys(down)), tuple(dict.fromkeys(up)))

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return *self.down, *self.up

    @property
    def accuracy(self) -> str | None:
        """The first kind of accuracy that is to be high; None where there is none."""
        return next((c for c in self.up if c in ACCURACIES), None)

    def __str__(self) -> str:
        return " and ".join([*(f"low {c}" for c in self.down), *(f"high {c}" for c in self.up)])

    def front(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows on the Pareto front."""
        return frame[pareto(frame, self.down, self.up)]

    def best(self, front: pd.DataFrame, give_up: float) -> pd.Series:
        """Choose one row of a Pareto front, of those that lose at most so much of the highest accuracy."""
        main = self.accuracy
        others = [c for c in self.columns if c != main]
        if main is not None:
            front = front[front[main] >= front[main].max() - give_up - 1e-12]
        keys = [*others, *([main] if main else []), "macs", "params", "name"]
        ascending = [*(c in self.down for c in others), *([False] if main else []), True, True, True]
        return front.sort_values(keys, ascending=ascending).iloc[0]

    def standard_error(self, front: pd.DataFrame, samples: dict[str, int]) -> float:
        """Return the standard error of the highest accuracy, from how many samples each kind is a share of."""
        if self.accuracy is None:
            return 0.0
        n = samples[self.accuracy]
        p = (front[self.accuracy].max() * n + 1) / (n + 2)  # else there would be none where all are right
        return float(np.sqrt(p * (1 - p) / n))


def pareto(frame: pd.DataFrame, minimize: Iterable[str], maximize: Iterable[str]) -> np.ndarray:
    """Return which rows no other row beats, bool: better in one objective and no worse in all others.

    Of rows that are equal in all objectives all stay. Time grows with the rows times those that stay.
    """
    columns = [frame[c].to_numpy(float) for c in minimize] + [-frame[c].to_numpy(float) for c in maximize]
    values = np.column_stack(columns)
    values = np.where(np.isnan(values), np.inf, values)  # what is not known beats nothing
    rows, i = np.arange(len(values)), 0
    while i < len(rows):  # away with all that this row beats
        there, own = values[rows], values[rows[i]]
        stay = (there < own).any(axis=1) | (there == own).all(axis=1)
        rows, i = rows[stay], int(stay[:i].sum()) + 1
    return np.isin(np.arange(len(values)), rows)
