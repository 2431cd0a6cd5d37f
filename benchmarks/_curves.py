"""The curves of `scaling.py`: where they bend, in words, and the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

RUNS = {"networks": "networks", "epochs": "epochs", "train_samples": "training samples", "workers": "workers"}
SECONDS = {"wall_seconds": "wall time", "worker_seconds": "workers' time"}
STORE = {
    "commit_seconds": "commit all",
    "compact_seconds": "merge",
    "open_scattered_seconds": "open before merging",
    "open_seconds": "open after",
}
SIZE = (11.0, 7.0)


def bend(key: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Say how much of the wall time is the same however much there is to do: below that a curve is flat."""
    x, y = (np.array([one[name] for one in runs], float) for name in (key, "wall_seconds"))
    each, fixed = np.polyfit(x, y, 1, w=1 / y)
    if each <= 0 or fixed <= 0:
        return ""
    what = RUNS[key]
    return (
        f"\nThe wall time is {fixed:.1f} s however many {what} there are (Python and torch in each process, code made "
        f"ready, the first look at the data), and {each:.3g} s for each: below {fixed / each:,.0f} {what} the "
        "first is the larger part, and the curve bends.\n"
    )


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Write the figure: seconds over what changes, stores and sessions."""
    fig = Figure(figsize=SIZE, layout="constrained")
    axes = fig.subplots(2, 3).ravel()
    for ax, (key, what) in zip(axes, RUNS.items(), strict=False):
        _lines(ax, found[key], key, SECONDS)
        ax.set(title=what.capitalize(), xlabel=what, ylabel="seconds")
    _lines(axes[4], found["stores"], "networks", STORE)
    axes[4].set(title="The store", xlabel="networks", ylabel="seconds")
    for one in found["session"]:
        parts = np.linspace(0, 1, len(one["ms"]))
        axes[5].plot(parts, one["ms"], "o-", markersize=3, label=f"{one['trainings']:,} trainings")
    axes[5].set(title="Between two trainings", xlabel="share of the session", ylabel="milliseconds", ylim=(0, None))
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    fig.savefig(path, dpi=110)


def _lines(ax: Axes, rows: Sequence[Mapping[str, Any]], key: str, names: Mapping[str, str]) -> None:
    """Draw some of the columns on logarithmic scales, and what is proportional beside the first."""
    x = np.array([one[key] for one in rows], float)
    for name, label in names.items():
        ax.plot(x, [one[name] for one in rows], "o-", markersize=4, label=label)
    last = rows[-1][next(iter(names))]
    ax.plot(x, last * (x[-1] / x if key == "workers" else x / x[-1]), ":", color="0.5", label="in proportion")
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(x, [f"{value:,.0f}" for value in x])
    ax.minorticks_off()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
