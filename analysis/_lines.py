"""What is said of the lines of a sweep: the best value of the longest one, and of all of them, and what is noise.

A line has each value once, or some of them: students that differ in that value alone. Two tests say what is more than
noise, both corrected for choosing the best of all values (the studentized range):

- `chance`, on one line, over the replicates of its students: Games and Howell (1976), Student's t with Welch's degrees
  of freedom. The line that is spoken of was chosen too, as that with the best student of all, so that a sentence counts
  p as many times as there are lines.
- `over_lines`, over all lines: Student's t of the differences between two values, on each line that has both. A line
  counts once, however many replicates it has: these share how their network takes a value, and would promise too much.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import studentized_range

from netpick import exam

ALPHA = 0.05
"""A difference with a p-value below this is called more than noise."""
ENOUGH = 0.002
"""Accuracy, or share of the loss, that is called nothing."""


def sentence(table: pd.DataFrame, by: str, metric: str, split: str, label: str = "") -> str:
    """Say which value is best on the longest line and over all, by how much, and from where on more brings nothing.

    `label` is what the accuracy there is called, where it is that of the best network of all.
    """
    up = metric == "accuracy"
    first = table[table["line"] == table["line"].iloc[0]]
    order = first.sort_values(metric, ascending=not up, kind="stable")
    sizes = table.groupby("line").size()
    p = np.minimum(chance(order, metric) * int((sizes == len(first)).sum()), 1)
    other = ~order["value"].duplicated().to_numpy()  # of each value its best student
    order, p = order[other], p[other[1:]]
    best, second = order.iloc[0], order.iloc[1] if len(order) > 1 else None
    words = exam.percent(best[metric]) if up else f"{best[metric]:.4g}"
    out = f"The best {by} on {split} is {_word(best['value'])} ({best['name']}), with {metric} {words}"
    timed = best["seconds"] == best["seconds"]  # nobody may have told of an imported network
    out += (f" ({label})" if label else "") + (f" in {best['seconds']:.3g} s" if timed else "")
    if second is not None:
        gap = _apart(abs(float(best[metric] - second[metric])), up)
        out += f", {gap} the next, {_word(second['value'])}"
        if np.isnan(p[0]):
            out += " (one replicate: whether that is more than noise can't be told)"
        else:
            out += f", which is {_noise(p[0])}"
    out += "."
    if len(p) > 1 and not np.isnan(p).all():
        out += _ties(p)
    if pd.api.types.is_numeric_dtype(first["value"]) and first["value"].dtype != bool:
        slack = ENOUGH if up else ENOUGH * abs(best[metric])
        near = first[(first[metric] - best[metric]).abs() <= slack].sort_values("value").iloc[0]
        if near["value"] < best["value"]:
            less = exam.points(ENOUGH) if up else f"{100 * ENOUGH:g} %"
            out += f" From {_word(near['value'])} on more of it brings at most {less}"
            out += f" ({near['seconds']:.3g} s against {best['seconds']:.3g} s)." if timed else "."
    if (others := len(sizes) - 1) > 0:
        tops = table[table["best"]]
        agree = tops.loc[tops["value"].astype(str) == str(best["value"]), "line"].nunique() - 1
        where = f"{agree or 'none'} of the other {others} lines" if others > 1 else "the other line"
        which = "another" if others == 1 and not agree else "the same"
        out += f" On {where} {which} value is best, alone or among equals."
    return out + _over_all(over_lines(table, metric), up)


def chance(order: pd.DataFrame, metric: str) -> np.ndarray:
    """Return the p-value of "this one is as good as the first" for each other value of a line; NaN for one replicate.

    The first was chosen as the best of them all, which the distribution of the studentized range takes account of.
    """
    parts = (order["spread"] ** 2 / order["replicates"]).to_numpy(float)
    freedom = order["replicates"].to_numpy(float) - 1
    values = order[metric].to_numpy(float)
    gap, error = np.abs(values[1:] - values[0]), np.sqrt(parts[1:] + parts[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        welch = error**4 / (parts[1:] ** 2 / freedom[1:] + parts[0] ** 2 / freedom[0])
        p = studentized_range.sf(np.sqrt(2) * gap / error, len(order), welch)
    p = np.where(error > 0, p, gap <= exam.TINY)
    return np.where((freedom[1:] > 0) & (freedom[0] > 0), p, np.nan)


class Overall(NamedTuple):
    """The value that is ahead of all others over the lines: by `gap` of the `runner_up`, on average.

    `p` is that of "this one is as good" for each other value; NaN where fewer than five lines have both. `lines` have
    two values or more.
    """

    best: str
    runner_up: str
    gap: float
    p: pd.Series
    lines: int


def over_lines(table: pd.DataFrame, metric: str) -> Overall | None:
    """Compare the values that five lines have, each pair on all lines that have both; None where there are none.

    The best is the one that has the most in hand against whichever other comes closest to it.
    """
    words = table["value"].map(_word)
    wide = table[metric].groupby([table["line"], words], sort=False).mean().unstack()
    wide = wide.loc[:, wide.notna().sum() >= exam.ENOUGH]
    values = wide.to_numpy(float) * (1 if metric == "accuracy" else -1)
    known = np.isfinite(values)
    lines = known.astype(float).T @ known
    total = np.where(known, values, 0).T @ known
    can = (lines >= exam.ENOUGH) & ~np.eye(len(lines), dtype=bool)
    if not can.any():
        return None
    gap = np.round((total - total.T) / np.maximum(lines, 1), exam.DIGITS)
    closest = np.where(can.any(axis=1), np.where(can, gap, np.inf).min(axis=1), -np.inf)
    best = int(closest.argmax())
    apart = values[:, [best]] - values
    count = np.where(can[best], lines[best], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = np.nansum((apart - gap[best]) ** 2, axis=0)
        error = np.sqrt(squares / (count - 1) / count)
        p = studentized_range.sf(np.sqrt(2) * np.abs(gap[best]) / error, len(lines), count - 1)
    p = np.where(error > exam.TINY, p, np.where(can[best], np.abs(gap[best]) <= exam.TINY, np.nan))
    runner_up = int(np.where(can[best], gap[best], np.inf).argmin())
    return Overall(
        str(wide.columns[best]),
        str(wide.columns[runner_up]),
        float(gap[best, runner_up]),
        pd.Series(p, wide.columns).drop(wide.columns[best]),
        int((known.sum(axis=1) > 1).sum()),
    )


def _over_all(found: Overall | None, up: bool) -> str:
    """Say which value is best over all lines, and how many others can't be told from it."""
    if found is None:
        return ""
    gap = f"{_apart(max(found.gap, 0.0), up)} the next, {found.runner_up}, on average"
    out = f" Over all {found.lines} lines {found.best} is best, {gap}, which is {_noise(found.p[found.runner_up])}."
    return out + (_ties(found.p.to_numpy()) if len(found.p) > 1 else "")


def _apart(gap: float, up: bool) -> str:
    return f"{exam.points(gap) if up else f'{gap:.3g}'} from" if gap > exam.TINY else "level with"


def _noise(p: float) -> str:
    return f"{'more' if p < ALPHA else 'no more'} than noise (p {'< 0.0001' if p < 0.0001 else f'= {p:.2g}'})"


def _ties(p: np.ndarray) -> str:
    """Count the values that can't be told from the best."""
    ties = int((~(p < ALPHA)).sum())
    if not ties:
        return ""
    told = f"None of the other {len(p)} values can" if ties == len(p) else f"{ties} of the other {len(p)} values can't"
    return f" {told} be told from the best."


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
