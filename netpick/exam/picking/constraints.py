"""Constraints on what is picked: bounds of columns, and words; who meets them, and which is to blame if nobody does.

They are read from a mapping or from the words of a command line, and checked against the networks. Nothing is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from netpick.core.errors import NetpickError, RunError, listed, suggest
from netpick.exam.checks import check_fraction
from netpick.exam.picking.columns import FRACTIONS, NUMBERS, WORDS, amount

Wanted = dict[str, float | str | list[str]]


@dataclass(frozen=True)
class Constraint:
    """One thing asked of a network: ``min`` or ``max`` of a column, or one of its words where `bound` is ""."""

    bound: str
    column: str
    value: Any

    @classmethod
    def checked(cls, key: str, value: Any, frame: pd.DataFrame) -> Constraint:
        """Read `max_params` and its value; NetpickError with the nearest where the networks have no such thing."""
        bound, _, column = key.partition("_")
        if bound in ("min", "max") and column:
            return cls(bound, column, _number(key, column, value))
        if key not in WORDS:
            allowed = [*(f"{b}_{c}" for b in ("min", "max") for c in NUMBERS), *WORDS]
            raise NetpickError(
                f"no constraint '{key}'{suggest(key, allowed)}: give min_ or max_ of {listed(NUMBERS)}, "
                f"or {listed(WORDS)}"
            )
        words = (value,) if isinstance(value, str) else tuple(value)
        known = frame[key].unique().tolist()  # not in an array of pandas, which can hold no word that is not Unicode
        for word in words:
            if word not in known:
                raise NetpickError(f"no {key} '{word}'{suggest(str(word), known)} among the networks: {listed(known)}")
        return cls("", key, words)

    def met(self, frame: pd.DataFrame) -> np.ndarray:
        """Return which networks meet it, bool."""
        values = frame[self.column]
        if not self.bound:
            return values.isin(self.value).to_numpy()
        return (values >= self.value if self.bound == "min" else values <= self.value).to_numpy()

    def missed_by(self, frame: pd.DataFrame) -> np.ndarray:
        """By how much each network misses it, relative to the bound; 1 for a wrong word."""
        off = (frame[self.column] - self.value).abs() / max(abs(self.value), 1e-12) if self.bound else pd.Series(1.0)
        return np.where(self.met(frame), 0.0, off.fillna(np.inf))

    def __str__(self) -> str:
        if not self.bound:
            return f"{self.column} = {listed(self.value)}"
        return f"{self.bound}_{self.column} = {self.value:g}"


def _number(key: str, column: str, value: Any) -> float:
    if column not in NUMBERS:
        raise NetpickError(f"no column '{column}'{suggest(column, NUMBERS)} for {key}: there are {listed(NUMBERS)}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if np.isnan(number):
        raise NetpickError(f"{key} is {value!r}: give a number")
    return check_fraction(key, number) if column in FRACTIONS else number


def bounds(arguments: Iterable[str]) -> Wanted:
    """Read `--max-params 20000` or `--max-params=20000`; columns are checked where they are known."""
    wanted: Wanted = {}
    words = [part for argument in arguments for part in argument.split("=", 1)]
    for flag, text in zip(words[::2], [*words[1::2], None], strict=False):
        if not flag.startswith(("--min-", "--max-")):
            raise RunError(f"netpick pick has no option '{flag}': constraints are --min-COLUMN N and --max-COLUMN N")
        try:
            wanted[flag[2:].replace("-", "_")] = float(str(text).replace("_", ""))
        except ValueError:
            raise RunError(f"{flag}: wants a number, got {text!r}") from None
    return wanted


def nobody_meets(frame: pd.DataFrame, wanted: list[Constraint]) -> str:
    """Say which constraint is to blame, and which network comes nearest."""
    met = np.array([c.met(frame) for c in wanted])
    nearest = frame.iloc[int(np.sum([c.missed_by(frame) for c in wanted], axis=0).argmin())]
    shown = [c.column for c in wanted if c.bound] or ["accuracy"]
    values = ", ".join(f"{c} {amount(c, nearest[c])}" for c in dict.fromkeys(shown))
    family = "" if all(c.bound for c in wanted) else f"{nearest['computation']} with {nearest['activation']}, "
    blame = _blame(frame, wanted, met)
    return f"no network meets all constraints: {blame}; the nearest is {nearest['name']} ({family}{values})"


def _blame(frame: pd.DataFrame, wanted: list[Constraint], met: np.ndarray) -> str:
    for constraint, row in zip(wanted, met, strict=True):
        if not row.any():
            column, up = constraint.column, constraint.bound == "min"
            best = frame[column].max() if up else frame[column].min()
            return (
                f"{constraint} is to blame, which none of {len(frame)} networks meets ({column} goes "
                f"{'up' if up else 'down'} to {amount(column, best)})"
            )
    without = [int(np.delete(met, i, axis=0).all(axis=0).sum()) for i in range(len(wanted))]
    if max(without) > 0:
        i = int(np.argmax(without))
        return f"{wanted[i]} is to blame, without which {without[i]} would"
    return f"they exclude each other: {listed(map(str, wanted))}"
