"""How many students score 80, 90, 95, 99 or 100 % at each attempt?

A student is a network, an attempt an epoch; all students are counted, not the good ones alone. What is said of the last
attempt is of each student's own last one, where some made fewer than others; the table has a row an attempt.

Columns of the answer:

- `epoch`: the attempt, from 1
- `at_80`, `at_90`, ...: students whose accuracy is at least 80 %, 90 %, ... at this attempt (one column a threshold)
- `of`: students that have made this attempt

A count; the thresholds are those of the published study.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, NetpickError, Run, percent, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THRESHOLDS = (0.80, 0.90, 0.95, 0.99, 1.0)
CURVES = 5
"""Attempts that have a curve, at most: of more the first, the last, and some between."""


def counts(attempts: pd.DataFrame, thresholds: Sequence[float] = THRESHOLDS) -> pd.DataFrame:
    """Count the students at or above each threshold, from a frame of accuracies: a row a network, a column an epoch."""
    table = {"epoch": attempts.columns.to_numpy(int)}
    for t in sorted(set(thresholds)):
        table[column(t)] = (attempts >= t - exam.TINY).sum().to_numpy()
    return pd.DataFrame({**table, "of": attempts.notna().sum().to_numpy()})


def column(threshold: float) -> str:
    """Return the name of a threshold's column: `at_99.5` for 0.995."""
    return f"at_{round(100 * threshold, 6):g}"


def ask(run: Run, *, thresholds: list[float] = list(THRESHOLDS), split: str = "test") -> Answer:  # noqa: B006
    """Count the students at or above each threshold, by attempt.

    Parameters
    ----------
    run : Run
    thresholds : list of float
        Accuracies from 0 to 1.
    """
    if not thresholds:
        raise NetpickError("thresholds is empty: give accuracies from 0 to 1")
    levels = sorted({exam.check_fraction("thresholds", t) for t in thresholds})
    attempts = exam.attempts(run, split)
    table = counts(attempts, levels)
    # Students that stopped early, or had one attempt only, count with the last one that they made.
    end = counts(attempts.ffill(axis=1).iloc[:, -1:], levels).iloc[0]
    made = attempts.notna().sum(axis=1)
    few, many = int(made.min()), int(made.max())
    after = f"After {_attempts(many)}" if few == many else f"After the last attempt of each ({few} to {many} attempts)"
    parts = [f"{end[column(t)]} at {percent(t)} or above" for t in levels]
    text = f"{after}, of {_students(end['of'])}: {', '.join(parts)}."
    if len(table) > 1:
        middle = levels[len(levels) // 2]
        text += (
            f" At the first attempt {table[column(middle)].iloc[0]} were at {percent(middle)} or above, "
            f"at the last {end[column(middle)]}."
        )
    reached = max((t for t in levels if end[column(t)]), default=levels[0])
    of = f"{end[column(reached)]} of {_students(end['of'])} {'is' if end['of'] == 1 else 'are'}"
    title = (
        f"After {_attempts(many) if few == many else 'the last attempt of each'} {of} at "
        f"{percent(reached)}{' or above' if reached < 1 else ''}"
    )
    return Answer(
        table, text, lambda: _draw(attempts, levels, title), exam.notes(run, exam.said_of_networks(run, split))
    )


def _attempts(n: int) -> str:
    return exam.counted_word(n, "attempt")


def _students(n: int) -> str:
    return exam.counted_word(n, "student")


def _draw(attempts: pd.DataFrame, levels: list[float], title: str) -> Figure:
    """Draw of each attempt, or of some of many, how many students have at least each score."""
    import seaborn as sns
    from matplotlib.figure import Figure

    fig = Figure()
    ax = fig.subplots()
    places = np.unique(np.linspace(0, attempts.shape[1] - 1, CURVES).round().astype(int))
    epochs = attempts.columns[places]
    for epoch, shade in zip(epochs, sns.color_palette("crest", len(epochs)), strict=True):
        scores = np.sort(attempts[epoch].dropna().to_numpy())
        at = np.unique(scores)
        count = len(scores) - np.searchsorted(scores, at)
        ax.step([0, *at, at[-1]], [len(scores), *count, 0], where="pre", color=shade, label=str(epoch), linewidth=2)
    last = attempts.ffill(axis=1).iloc[:, -1]
    for level in levels:
        n = int((last >= level - exam.TINY).sum())
        if 0 < n < len(last):  # what nobody reaches, or everybody, needs no mark
            ax.plot(level, n, "o", color=theme.INK, markersize=5)
            ax.annotate(
                f"{n} at {percent(level)}{' or above' if level < 1 else ''}", (level, n), (7, 7), fontsize=9.5,
                textcoords="offset points", bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"},
            )  # fmt: skip
    low, high = float(last.quantile(0.02)), float(attempts.max(axis=None))
    room = max(high - low, 0.02)
    ax.set(xlim=(max(0.0, low - 0.1 * room), min(high + 0.25 * room, 1.005)), ylim=(0, 1.06 * max(1, len(last))))
    ax.set(xlabel="score (accuracy)", ylabel="students (networks) with at least this score")
    ax.axhline(len(last), color="#777777", linestyle=":")
    theme.percent_axis(ax.xaxis)
    ax.legend(title="attempt", loc="lower left")
    return theme.finish(fig, title)
