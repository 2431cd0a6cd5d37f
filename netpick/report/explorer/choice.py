"""Which samples a page keeps where it can't hold all: the hardest, the weird, the confusing, an even draw of the rest.

Arrays in, numbers of samples out. How many there are to be is the business of those who ask.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from netpick.exam import TINY

HARDEST = 0.4
"""Share of the places that go to the samples that fewest networks have right; as many again to weird and confusing."""

RULE = (
    "the {hardest:,} that fewest networks have right, {odd:,} weird and confusing ones, and an even draw of {rest:,}"
    " over the rest by difficulty"
)


def chosen(ballot: pd.DataFrame, count: int, thresholds: dict[str, float]) -> tuple[np.ndarray, str]:
    """Return the numbers of `count` samples, in order, and the rule in words; "" where all are kept.

    Parameters
    ----------
    ballot : frame
        As `netpick.exam.ballot` gives it.
    count : int
        At most; all where there are no more.
    thresholds : of weird and confusing, by the names of these questions' options
    """
    if count >= len(ballot):
        return np.arange(len(ballot)), ""
    hard = ballot.sort_values(["right", "sample"])["sample"].to_numpy()
    weird = (ballot["wrong"] > thresholds["wrong"] + TINY) & (ballot["same"] >= thresholds["same"] - TINY)
    confusing = (ballot["top"] < thresholds["top"] - TINY) & (ballot["entropy"] >= thresholds["entropy"] - TINY)
    most = int(count * HARDEST)
    hardest = hard[:most]
    odd = hard[(weird | confusing).to_numpy()[hard] & ~np.isin(hard, hardest)][:most]
    rest = hard[~np.isin(hard, np.concatenate([hardest, odd]))]
    places = count - len(hardest) - len(odd)
    even = rest[np.linspace(0, len(rest) - 1, places).round().astype(int)]
    said = RULE.format(hardest=len(hardest), odd=len(odd), rest=len(even))
    return np.sort(np.concatenate([hardest, odd, even])), said
