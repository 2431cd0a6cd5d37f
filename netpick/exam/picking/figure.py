"""The figure of a choice: the first objective of each kind against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netpick.exam import theme
from netpick.exam.picking.choice import Choice
from netpick.exam.picking.columns import AXES, FRACTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NAMED = 8
"""Networks of the front that are all named; of more the suggested one and the runner-up."""


def draw(choice: Choice) -> Figure:
    """Draw all networks, those that will do, the front, and the one that is suggested."""
    from matplotlib.figure import Figure

    frame, pool, front = choice.candidates.frame[choice.candidates.can_be()], choice.pool, choice.front
    down, up = choice.objectives.down, choice.objectives.up
    columns = [*down, *(c for c in up if c not in down)]
    usual = "macs" if frame["macs"].notna().any() else "class_accuracy"
    x = next((c for c in columns if c not in FRACTIONS), usual)
    y = next((c for c in columns if c != x), "accuracy")
    fig = Figure(figsize=(theme.WIDTH, theme.HEIGHT), layout="constrained")
    ax = fig.subplots()
    out = frame[~frame["name"].isin(pool["name"])]
    if len(out):
        ax.plot(
            out[x], out[y], ".", color="#CCCCCC", ms=5, zorder=1, label=f"does not meet the constraints ({len(out)})"
        )
    for computation in theme.family_order(pool):
        rows = pool[pool["computation"] == computation]
        style: dict[str, Any] = {
            "color": theme.colour(computation),
            "marker": theme.marker(computation),
            "linestyle": "none",
        }
        ax.plot(rows[x], rows[y], ms=4.5, alpha=0.75, mew=0, **style, label=theme.plain(computation))
    line = front.sort_values(x)
    if len(columns) == 2:
        ax.plot(line[x], line[y], color=theme.INK, lw=1, zorder=3, drawstyle="steps-post" if y in up else "default")
    ax.plot(line[x], line[y], "o", ms=8, mfc="none", mec=theme.INK, zorder=3, label=f"Pareto front ({len(front)})")
    mine = front[front["suggested"]]
    theme.mark_stars(ax, mine[x], mine[y], label="suggested", size=330)
    basic = frame[frame["name"] == "Basic"]
    if len(basic):
        ax.plot(basic[x], basic[y], ms=9, zorder=4, label="Basic (one linear layer)", **theme.BASIC_POINT)
    for constraint in choice.constraints:
        if constraint.column in (x, y) and constraint.bound:
            line_at = ax.axvline if constraint.column == x else ax.axhline
            line_at(constraint.value, color=theme.WRONG, ls=":", zorder=2)
    if x not in FRACTIONS and theme.spans_decades(frame[x]):
        ax.set_xscale("log")
    if y in FRACTIONS:
        theme.percent_axis(ax.yaxis)
        low = min(float(front[y].min()), float(pool[y].quantile(0.05))) if len(pool) else 0
        top = float(pool[y].max())
        ax.set_ylim(max(0, low - 0.15 * (top - low) - 0.005), min(1.0, top + 0.1 * (top - low) + 0.005))
    elif theme.spans_decades(frame[y]):
        ax.set_yscale("log")
    ax.set(xlabel=AXES[x], ylabel=AXES[y])
    named = line if len(line) <= NAMED else line[line["suggested"] | line["runner_up"]]
    for row in named.to_dict("records"):
        theme.name_point(ax, row[x], row[y], row["name"], 12 if row["suggested"] else 7)
    theme.legend_below(fig, ax, columns=4, fontsize=9)
    few = f"{len(pool)} of {len(frame)} networks" if len(out) else f"{len(frame)} networks"
    return theme.finish(fig, f"Take {mine['name'].iloc[0]}: which networks offer {choice.objectives}? ({few})")
