"""How many members it takes to match one network, by which rule: chosen on one part of the samples, judged on another.

The smallest of many committees that matches is a choice by looking at accuracies, as its members are. So members, size
and rule, and judgement have a part of the samples each, in each of several splits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Judged, Splits, verdict


class Tried(NamedTuple):
    """Accuracies of committees, (sizes, splits), on the part that chooses a size and on that which judges."""

    choice: str
    rule: str
    choosing: np.ndarray
    judging: np.ndarray


class Enough(NamedTuple):
    """The smallest committee of its kind that matches the single network; where none does, the most accurate one.

    `rule` and `size` are those by the means over the splits of the part that chooses them. `accuracy`, and how much
    `more` that is than the single network's, are what choosing them in each split comes to on the part that judges.
    `picked` has the number of splits in which each rule and size is chosen.
    """

    rule: str
    size: int
    matches: bool
    picked: pd.Series
    accuracy: Judged
    more: Judged

    @classmethod
    def of(cls, tried: list[Tried], goal: np.ndarray, splits: Splits) -> Enough:
        """Choose among the rules of one kind of committee; `goal` has the single network's accuracies on both parts."""
        rules = [one.rule for one in tried]
        choosing = np.stack([one.choosing for one in tried])
        places = [_smallest(choosing[..., k], goal[0, k]) for k in range(len(splits))]
        judged = np.array([tried[rule].judging[size, k] for k, (rule, size) in enumerate(places)])
        mean = choosing.mean(axis=2)
        rule, size = _smallest(mean, goal[0].mean())
        picked = pd.Series([(rules[r], s + 1) for r, s in places]).value_counts()
        matches = bool(mean[rule, size] >= goal[0].mean() - exam.TINY)
        return cls(rules[rule], size + 1, matches, picked, splits.over(judged), splits.over(judged - goal[1]))


def _smallest(accuracy: np.ndarray, goal: float) -> tuple[int, int]:
    """Return the numbers of rule and size, from accuracies (rules, sizes): the smallest that is not below `goal`.

    Of two rules the more accurate; where all are below, the most accurate of all, of equals the smallest.
    """
    enough = accuracy >= goal - exam.TINY
    size = int(enough.any(axis=0).argmax() if enough.any() else np.round(accuracy, exam.DIGITS).max(axis=0).argmax())
    return int(accuracy[:, size].argmax()), size


def sentence(table: pd.DataFrame, found: dict[str, Enough], single: str, who: str, pool: int, why: str = "") -> str:
    """Say which committee matches the single network first, and what it costs; `why` it is that one, if not asked."""
    goal = table.iloc[0]
    said = []
    for choice, words in (("greedy", "well chosen"), ("random", "drawn at random")):
        one = found[choice]
        rows = table[(table["choice"] == choice) & (table["rule"] == one.rule)].set_index("size")
        how = f"{one.size} of them by {'votes' if one.rule == 'votes' else 'mean probabilities'}"
        if one.size == 1:
            how = f"{rows.loc[1, 'member']} alone" if choice == "greedy" else "1 of them"
        if not one.matches:
            how = f"no committee of up to {rows.index.max()} does, and {how} comes closest"
        splits = exam.often(int(one.picked.get((one.rule, one.size), 0)), int(one.picked.sum()))
        share = rows.loc[one.size, "macs_share"]
        cost = f", {share:.2g} times its macs" if share == share else ""
        said.append(f"{words}, {how} ({splits}{cost}), and what is chosen so has {one.accuracy}, {_beside(one.more)}")
    interval = f"95 % interval {exam.percent(max(goal['low'], 0))} to {exam.percent(min(goal['high'], 1))}"
    alone = f"The best network alone ({why})" if why else f"{single} alone"
    return (
        f"{alone} has {exam.percent(goal['accuracy'])} of the judged samples right ({interval}). "
        f"To match it with {who} ({pool} of them): {'; '.join(said)}. "
        "Members are chosen on one third of the samples, their number and the rule on another, and the last one judges."
    )


def _beside(more: Judged) -> str:
    if abs(more.mean) < 5e-5:
        return "as accurate"
    return f"{exam.points(abs(more.mean))} {'more' if more.mean > 0 else 'less'}, and {verdict(more.p)}"
