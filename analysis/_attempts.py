"""The figure of `attempts`: boxes of each computation at each attempt, each student, the cost of stopping early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.analysis import _scale
from netpick.exam import percent, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 8
"""Attempts with boxes; of more the first, the last, and some evenly between."""
NAMED = 6
"""Names that a figure or a sentence has at most."""


def draw(wide: pd.DataFrame, stopping: pd.DataFrame, each: pd.DataFrame, title: str) -> Figure:
    """Draw the accuracies of students by attempt (`wide`), what stopping costs, and each student's first and last."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    order = theme.family_order(each)
    fig = Figure(figsize=(10, 10.4))
    axes = fig.subplot_mosaic("aaaaa;cccbb", height_ratios=(1.1, 1))
    boxes, first_and_last, stop = axes["a"], axes["c"], axes["b"]
    _boxes(boxes, wide, each.set_index("name")["computation"], order)
    _stop(stop, stopping)
    students(first_and_last, each, order)
    stop.xaxis.set_major_locator(MaxNLocator(integer=True))
    theme.percent_axis(stop.yaxis)
    theme.legend_below(fig, first_and_last, columns=5)
    low, high = percent(each.attrs["low"]), percent(each.attrs["high"])
    rule = f"Late bloomer: below {low} at the first attempt, at least {high} at the last."
    return theme.finish(fig, title, f"{rule} A box has five students or more; of fewer each is a point.")


def _boxes(ax: Axes, wide: pd.DataFrame, computation: pd.Series, order: list[str]) -> None:
    """Draw a box of each computation at each attempt, with its marker at the median; of few students each one."""
    shown = wide.columns[np.unique(np.linspace(0, wide.shape[1] - 1, SHOWN).round().astype(int))]
    ends = _scale.logit_ends(wide[shown])
    if ends:
        wide = wide.clip(*ends)
        ax.set_yscale("logit")
    step = 0.84 / len(order)
    for k, c in enumerate(order):
        mine = wide.loc[[name for name in wide.index if computation[name] == c], shown]
        places = np.arange(len(shown)) + step * (k - (len(order) - 1) / 2)
        style = {"color": theme.colour(c), "marker": theme.marker(c), "linestyle": "none"}
        values = [mine[epoch].dropna().to_numpy() for epoch in shown]
        boxed = [i for i, one in enumerate(values) if len(one) >= exam.ENOUGH]
        if boxed:
            ax.boxplot(
                [values[i] for i in boxed], positions=places[boxed], widths=0.8 * step, patch_artist=True,
                manage_ticks=False, boxprops={"facecolor": theme.colour(c), "edgecolor": theme.INK, "linewidth": 0.6},
                medianprops={"color": "white", "linewidth": 1},
                flierprops={"marker": ".", "markersize": 2.5, "markeredgecolor": theme.colour(c)},
            )  # fmt: skip
            medians = [np.median(values[i]) for i in boxed]
            ax.plot(places[boxed], medians, **style, ms=5, mec="white", mew=0.6, zorder=5)
        for i, one in enumerate(values):
            if i not in boxed:
                ax.plot(np.full(len(one), places[i]), one, **style, ms=5, mec=theme.INK, mew=0.4)
    for i in range(1, len(shown)):
        ax.axvline(i - 0.5, color="#DDDDDD", linewidth=1)
    ax.set_xticks(range(len(shown)), [str(epoch) for epoch in shown])
    words = "score (accuracy, logit scale)" if ends else "score (accuracy)"
    ax.set(xlabel="attempt (epoch)", ylabel=words, xlim=(-0.5, len(shown) - 0.5))
    ax.grid(axis="x", visible=False)
    ax.set_title("each computation at each attempt: quartiles, with its marker at the median", loc="left")
    _scale.write(ax.yaxis, *ax.get_ylim(), bool(ends))


def students(ax: Axes, each: pd.DataFrame, order: list[str]) -> None:
    """Draw each student's first score against the last; late bloomers and those that got worse are marked."""
    ends = _scale.logit_ends(each[["first", "last"]])
    if ends:
        each = each.assign(first=each["first"].clip(*ends), last=each["last"].clip(*ends))
        ax.set(xscale="logit", yscale="logit")
    for c in order:
        rows = each[each["computation"] == c]
        ax.scatter(
            rows["first"],
            rows["last"],
            s=20,
            color=theme.colour(c),
            marker=theme.marker(c),
            edgecolor="#333333",
            linewidth=0.3,
            label=theme.plain(c),
        )
    for kind, marker, label in (("bloomer", "o", "late bloomer"), ("worse", "v", "got worse")):
        rows = each[each[kind]]
        if len(rows):
            ax.scatter(
                rows["first"], rows["last"], s=95, marker=marker, facecolor="none", edgecolor=theme.INK, linewidth=1.1,
                label=label,
            )  # fmt: skip
    limits = [ax.get_xlim(), ax.get_ylim()]
    diagonal = min(limits)[0], max(high for _, high in limits)
    ax.plot(diagonal, diagonal, color="#999999", linestyle=":", linewidth=1.2, label="no change")
    ax.set(xlim=limits[0], ylim=limits[1])
    for axis, (low, high) in zip((ax.xaxis, ax.yaxis), limits, strict=True):
        _scale.write(axis, low, high, bool(ends))
    bloomers = each.loc[each["bloomer"], "name"].tolist()
    if bloomers:  # below the diagonal there is room: few end lower than they began
        more = [f"and {len(bloomers) - NAMED} more"] if len(bloomers) > NAMED else []
        text = "\n".join(["late bloomers:", *bloomers[:NAMED], *more])
        ax.text(0.98, 0.03, theme.plain(text), transform=ax.transAxes, ha="right", va="bottom", fontsize=8.5)
    words = "accuracy, logit scale" if ends else "accuracy"
    ax.set(xlabel=f"first score ({words})", ylabel=f"last score ({words})")
    ax.set_title("each student, first and last; late bloomers by name", loc="left")


def _stop(ax: Axes, stopping: pd.DataFrame) -> None:
    """Draw what stopping early costs: the median student, and whoever would have been picked."""
    x = stopping["epoch"]
    ax.plot(x, stopping["median_loss"], marker="o", color=theme.INK, label="of the median student")
    ax.plot(x, stopping["pick_loss"], marker="s", color=theme.WRONG, label="of the one picked then")
    ax.axhline(0, color="#999999", linewidth=1)
    ax.set(xlabel="all stop after this attempt", ylabel="accuracy lost")
    ax.set_title("the cost of stopping early", loc="left")
    ax.set_ylim(top=1.4 * max(float(stopping[["median_loss", "pick_loss"]].max(axis=None)), 1e-3))  # with room for it
    ax.legend(fontsize=9, loc="upper right")
