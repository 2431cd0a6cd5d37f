"""How much arithmetic do the students do for one answer?

Multiply-accumulates of one input's forward pass, exactly, from the shapes (matrix products and convolutions).

`netpick.analysis._cost` says what the columns of the answer are. Quartiles, and Spearman's rank correlation with the
last score; good students only, unless `everyone` is asked.
"""

from __future__ import annotations

from netpick.analysis import _cost
from netpick.answer import Answer
from netpick.exam import GOLD, GOOD
from netpick.run import Run

COST = _cost.Cost("macs", "Multiply-accumulates", "does", "macs")


def ask(
    run: Run, *, everyone: bool = False, good: float = GOOD, gold: float = GOLD, quantile: float | None = None
) -> Answer:
    """Describe the distribution by computation, beside `Basic` and the gold stars."""
    return _cost.answer(run, COST, everyone, good, gold, quantile)
