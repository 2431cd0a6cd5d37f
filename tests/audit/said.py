"""What an answer should be (`Audit`), and whether it is: its table, and each number, name and verdict in its sentence.

A number is wrong where it is off by more than half a unit of its last place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from audit.raw import Raw

VERDICTS = ("that is real", "that may be chance")
NUMBER = r"(?<![\w.,])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])"


class Number(NamedTuple):
    """A number, and by how much what is said may be off."""

    value: float
    room: float

    def says(self, word: str) -> bool:
        """Whether a word of the sentence is this number."""
        try:
            return abs(float(word.replace(",", "")) - self.value) <= self.room * (1 + 1e-6) + 1e-9
        except ValueError:
            return False


@dataclass(frozen=True)
class Audit:
    """An answer that was worked out another way.

    Parameters
    ----------
    table : the whole table
    said : what the sentence says, in turn: numbers, names, verdicts; a set where any of several will do
    words : regular expressions of other words that are looked for
    by : columns to sort both tables by, where the order of rows is not documented
    near : how far columns may be off that depend on what was drawn; 1e-5 of the value for all others
    """

    table: pd.DataFrame
    said: list[Any]
    words: Sequence[str] = ()
    by: list[str] = field(default_factory=list)
    near: dict[str, float] = field(default_factory=dict)

    def confirm(self, table: pd.DataFrame, text: str, raw: Raw) -> None:
        """Raise AssertionError where the answer is another one."""
        assert list(table.columns) == list(self.table.columns)
        mine, its = (t.sort_values(self.by, ignore_index=True) if self.by else t for t in (self.table, table))
        for column, room in self.near.items():
            np.testing.assert_allclose(
                its[column].astype(float), mine[column].astype(float), rtol=room, atol=room, err_msg=column
            )
        mine, its = (t.drop(columns=list(self.near)).reset_index(drop=True) for t in (mine, its))
        words = [c for c in mine if mine[c].dtype.kind not in "iufb"]
        mine, its = (t.assign(**{c: t[c].astype(object).where(t[c].notna(), None) for c in words}) for t in (mine, its))
        pd.testing.assert_frame_equal(its, mine, check_dtype=False, rtol=1e-5, atol=1e-7, obj="the table of the answer")
        there = words_of(text, raw, self.words)
        pairs = [(says(one, word), one, word) for one, word in zip(self.said, there, strict=False)]
        wrong = [f"{word} where it is {one}" for good, one, word in pairs if not good]
        if wrong or len(there) != len(self.said):
            raise AssertionError(f"{wrong}\n{text}\nsays {there}\nwhere it is {self.said}")


def words_of(text: str, raw: Raw, words: Sequence[str] = ()) -> list[str]:
    """Return names of the run, numbers and verdicts of a sentence, in turn."""
    everyone = raw.table("networks")
    names = {*everyone["name"], *everyone["computation"], *everyone["activation"], *raw.classes} - {"None"}
    names = {name for name in names if not name.isdigit()}
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pattern = "|".join([*words, *VERDICTS, rf"(?<![\w.])(?:{known})(?![\w.]\w)(?!\w)", NUMBER])
    return [found.group().rstrip(",") for found in re.finditer(pattern, text)]


def says(expected: Any, word: str) -> bool:
    """Whether a word is what is expected."""
    if isinstance(expected, set):
        return any(says(one, word) for one in expected)
    if isinstance(expected, Number):
        return expected.says(word)
    return word.replace(",", "") == str(expected) if isinstance(expected, int | np.integer) else word == str(expected)


def percent(share: float, digits: int = 2) -> Number:
    """Return a share as percentage."""
    return Number(100 * share, 0.5 * 10**-digits)


def places(value: float, digits: int) -> Number:
    """Return a number with digits after the point."""
    return Number(value, 0.5 * 10**-digits)


def figures(value: float, digits: int = 2) -> Number:
    """Return a number with significant figures."""
    return Number(value, 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1) if value else 0.0)


def verdict(p: float, alpha: float = 0.05) -> list[Any]:
    """Return a verdict and its p-value."""
    return [VERDICTS[int(p >= alpha)], 0.0001 if p < 0.0001 else figures(p)]


def who(raw: Raw, split: str = "test") -> list[Any]:
    """Return what is said of the good students who are asked."""
    everyone = raw.students(split)
    rule = raw.good(split)
    other = [80, int((everyone["lowest"] >= 0.8 - 1e-9).sum())] if rule < 0.8 else []
    return [int(everyone["good"].sum()), len(everyone), percent(rule), *other]


def equals(values: pd.Series, value: float) -> set[str]:
    """Return the names of those that have a value, any of which may be named."""
    return set(values.index[(values - value).abs() < 1e-12])


def some(number: int) -> list[int]:
    """Return a number as it is said: none is a word."""
    return [int(number)] if number else []


def often(times: int, of: int) -> list[int]:
    """Return what is said of how often something came out: none and all are words."""
    return [*([] if times == of else some(times)), of]


def interval(found: tuple[float, ...]) -> list[Any]:
    """Return what is said of a share and its interval."""
    mean, low, high, _ = found
    return [percent(mean), 95, percent(max(low, 0)), percent(min(high, 1))]
