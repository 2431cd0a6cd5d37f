"""How much of a network's accuracy is luck of the seed: what a ranking of single trainings can tell, and what not.

Initial weights and the order of the samples are drawn, so that the same network comes to another accuracy each time.
Replicates show how far; without them nothing does, and a few networks are named that would.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netpick.core.errors import listed
from netpick.core.words import counted_word, points
from netpick.exam.marks import last_evaluations, students
from netpick.store.reader import Reader

HANDFUL = 5
"""Networks that are suggested for replicates."""


class Luck(NamedTuple):
    """What replicates tell: `spread` is the standard deviation of one training's accuracy about its network's mean.

    `smallest` is the difference that two networks, each the mean of `replicates`, don't reach by luck alone in 95 of
    100 cases; `freedom` says how many replicates beyond the first ones it is known from.
    """

    spread: float
    smallest: float
    replicates: int
    freedom: int


def luck_of_the_seed(run: Reader, split: str = "test") -> Luck | None:
    """Return how far replicates lie apart, on the same samples; None where no network has two.

    The smallest difference is that of Student's t, of networks with the median number of replicates.
    """
    from scipy.stats import t

    groups = last_evaluations(run, split).groupby("network")["accuracy"]
    counts = groups.size()
    freedom = int((counts - 1).sum())
    if freedom < 1:
        return None
    spread = float(np.sqrt((groups.var().fillna(0) * (counts - 1)).sum() / freedom))
    replicates = int(counts.median())
    return Luck(spread, float(t.isf(0.025, freedom)) * spread * float(np.sqrt(2 / replicates)), replicates, freedom)


def said_of_luck(run: Reader, split: str = "test") -> str:
    """Say in a sentence, without its full stop, how small a difference between two networks a ranking can tell."""
    luck = luck_of_the_seed(run, split)
    if luck is not None:
        each = counted_word(luck.replicates, "training")
        return (
            f"two networks of {each} each differ by up to {points(luck.smallest)} by luck of the seed alone (95 %, "
            f"from {counted_word(luck.freedom, 'replicate')} beyond the first)"
        )
    names = suggested(run, split)
    if len(names) < 2:
        return ""
    return (
        "how much of a difference is luck of the seed, one training of each network can't tell: give replicates to a "
        f"few that are cheap and good, such as {listed(names)}"
    )


def suggested(run: Reader, split: str = "test") -> list[str]:
    """Name the cheapest of the upper half of the students: what replicates of these show is soon known."""
    frame = students(run, split=split)
    good = frame[frame["accuracy"] >= frame["accuracy"].median()]
    return good.sort_values(["seconds", "name"])["name"].head(HANDFUL).tolist()
