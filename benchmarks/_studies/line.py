"""A line of a table of claims, and the words that all kinds of claims share. Reads no run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from netpick import exam

WITHIN = 0.01
"""How near the mean of the replicates has to come to a published accuracy, unless a row says otherwise."""
NEAR_BEST = 0.005
"""A published best value of a sweep holds where its accuracy is this near to the best that was measured."""
SHARE = 0.05
"""Shares of the networks that are this near to each other agree."""
OURS = "not published"
"""Said of a number that is here to show a cause."""


class Line(NamedTuple):
    """A line of a table: the claim, what was published, what was measured, the verdict, the question, and why."""

    what: str
    published: str
    measured: str
    verdict: str = ""
    command: str = ""
    note: str = ""


def holds(so: bool) -> str:
    """Return the verdict on a finding."""
    return "holds" if so else "does not hold"


def word(value: Any) -> str:
    """Write a value of a sweep."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def digits(value: float) -> str:
    """Write an accuracy as texts with code print it: four digits after the point, no zeros behind."""
    return f"{value:.4f}".rstrip("0")


def spread(values: np.ndarray | Sequence[float]) -> str:
    """Write the mean of replicates with its range: "87.8 % (87.5 % to 88.2 %, 3 replicates)"."""
    values = np.asarray(values)
    text = exam.percent(values.mean())
    if len(values) > 1:
        text += f" ({exam.percent(values.min())} to {exam.percent(values.max())}, {len(values)} replicates)"
    return text
