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
BARS = 8
"""With more attempts than these, lines are drawn for bars."""


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
    return Answer(table, text, lambda: _draw(table, levels, title), exam.notes(run))


def _attempts(n: int) -> str:
    return exam.counted_word(n, "attempt")


def _students(n: int) -> str:
    return exam.counted_word(n, "student")


def _draw(table: pd.DataFrame, levels: list[float], title: str) -> Figure:
    import seaborn as sns
    from matplotlib.figure import Figure

    fig = Figure()
    ax = fig.subplots()
    colours = sns.color_palette("crest", len(levels))
    x = np.arange(len(table))
    for k, (level, colour) in enumerate(zip(levels, colours, strict=True)):
        y = table[column(level)]
        label = f"≥ {percent(level)}" if level < 1 else "100 %"
        if len(table) > BARS:
            ax.plot(table["epoch"], y, marker="o", color=colour, label=label)
            continue
        width = 0.84 / len(levels)
        bars = ax.bar(x + (k - (len(levels) - 1) / 2) * width, y, width, color=colour, label=label)
        if len(table) * len(levels) <= 5 * BARS:
            ax.bar_label(bars, fontsize=8.5, padding=1)
    if len(table) <= BARS:
        ax.set_xticks(x, table["epoch"])
        ax.grid(axis="x", visible=False)
    ax.set(xlabel="attempt (epoch)", ylabel="students (networks)")
    ax.set_ylim(0, max(1, table["of"].max()) * 1.04)
    ax.axhline(table["of"].max(), color="#777777", linestyle=":", label=f"all {table['of'].max()} students")
    theme.legend_below(fig, ax, columns=min(len(levels) + 1, 7), title="score (accuracy)")
    return theme.finish(fig, title)
