"""Which networks offer the most for their cost, so that no other is both cheaper and better?

The Pareto front of one cost and the last accuracy: a network is on it where no other costs less and is as accurate, or
costs as much and is more accurate. One of the front is suggested, as by `netpick pick`, which takes constraints too.

Columns of the answer are those of `netpick.exam.pick`, a row a network of the front, and the runner-up. Accuracies of a
front are those of the luckiest: `judged` has what such a choice comes to on samples that played no part in it.
"""

from __future__ import annotations

from netpick import exam
from netpick.exam import Pick, Run

COSTS = ("params", "memory", "ops", "macs", "depth", "seconds")


def ask(run: Run, *, cost: str = "macs", seed: int = 0) -> Pick:
    """Find the front, and suggest one of it.

    Parameters
    ----------
    cost : str
        Of params, memory, ops, macs, depth and seconds.
    seed : int
        Of the splits on which the suggestion is judged.
    """
    exam.check_choice("cost", cost, COSTS)
    return exam.pick(run, None, [cost], ["accuracy"], seed=seed)
