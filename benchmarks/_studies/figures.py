"""Curve beside curve: what was published, and what the replicates of a run measured, with their range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from _studies.curves import accuracies, published_curve
from _studies.findings import MARKS, NETWORKS
from netpick import Run, exam
from netpick.exam import theme

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, THEIRS = theme.RIGHT, theme.WRONG
ACROSS = 3
"""Panels in a row."""
INCHES = 4
"""What a panel's title may be wide, as the theme counts it for its larger titles."""
FEW = 4
"""Up to so many published accuracies are points, more a line."""
ROUNDED = 0.0005
"""Texts print percent with a digit after the point."""


class Panel(NamedTuple):
    """What a panel shows: the published curve of a network, and ours, a row a replicate and a column an epoch."""

    title: str
    published: dict[int, float]
    found: pd.DataFrame


def panels(run: Run, rows: list[dict[str, Any]]) -> list[Panel]:
    """Return a panel for each curve, and one for each network of which accuracies were published one by one.

    What was trained for one epoch alone has no curve.
    """
    joined: dict[str, Panel] = {}
    for row in rows:
        published = published_curve(row)
        if not published or (found := accuracies(run, row)).shape[1] < 2:
            continue
        title = row["what"] if "curve" in row else row["network"]
        panel = joined.setdefault(title, Panel(title, {}, found))
        panel.published.update({epoch: value for epoch, value in published.items() if epoch in found})
    return [panel for panel in joined.values() if panel.published]


def curves(shown: list[Panel]) -> Figure:
    """Draw a panel a network."""
    from matplotlib.figure import Figure

    across = min(ACROSS, len(shown))
    down = math.ceil(len(shown) / across)
    fig = Figure(figsize=(10, 1.4 + 2.7 * down))
    axes = fig.subplots(down, across, squeeze=False).ravel()
    for ax, panel in zip(axes, shown, strict=False):
        _draw(ax, panel)
    for ax in axes[len(shown) :]:
        ax.remove()
    theme.legend_below(fig, *axes[: len(shown)])
    inside = sum(map(_inside, shown))
    of = sum(len(panel.published) for panel in shown)
    return theme.finish(fig, f"{inside} of {of} published points are within the range of our seeds")


def _inside(panel: Panel) -> int:
    """Count the published accuracies that are within the range of the seeds."""
    low, high = panel.found.min() - ROUNDED, panel.found.max() + ROUNDED
    return sum(low[epoch] <= value <= high[epoch] for epoch, value in panel.published.items())


def _draw(ax: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    published, found = panel.published, panel.found
    ax.fill_between(
        found.columns, found.min(), found.max(), color=OURS, alpha=0.2, linewidth=0, label="range of our seeds"
    )
    ax.plot(found.columns, found.mean(), color=OURS, linewidth=1.8, label="mean of our seeds")
    along = theme.LINES[1] if len(published) > FEW else "none"
    ax.plot(
        list(published), list(published.values()), "D", linestyle=along, color=THEIRS, markersize=5, label="published"
    )
    title = "\n".join(theme.wrapped(f"{panel.title} ({exam.counted_word(len(found), 'seed')})", INCHES))
    ax.set_title(theme.plain(title), fontsize="small")
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    theme.percent_axis(ax.yaxis)


def counts(run: Run, published: list[list[int]]) -> Figure:
    """Draw which share of the networks is at or above each mark after each attempt."""
    from matplotlib.figure import Figure

    wide = exam.attempts(run)
    fig = Figure(figsize=(10, 4.1))
    axes = fig.subplots(1, len(MARKS))
    for i, (ax, mark) in enumerate(zip(axes, MARKS, strict=True)):
        mine = [(wide[number] >= mark - exam.TINY)[wide[number].notna()].mean() for number in wide]
        ax.plot(list(wide), mine, "o-", color=OURS, label=f"measured ({len(wide)} networks)")
        theirs = [row[i] / NETWORKS for row in published]
        ax.plot(range(1, len(theirs) + 1), theirs, "D", linestyle=theme.LINES[1], color=THEIRS, label="published")
        ax.set(title=f"at or above {exam.percent(mark)}", xlabel="attempt", ylim=(-0.04, 1.04), xticks=list(wide))
        theme.percent_axis(ax.yaxis)
    axes[0].set_ylabel("share of the networks")
    theme.legend_below(fig, axes[0])
    return theme.finish(fig, "Share of the networks at or above each mark, attempt by attempt")
