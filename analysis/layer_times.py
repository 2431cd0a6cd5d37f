"""Which layers take longer than their macs say?

Is a reshape slow, is Conv3d slow? Asked of the layers that `netpick time` has timed one by one, on one input, on the
device of the run; a network is as slow as its layers and what lies between them.

Columns of the answer, a row a kind of layer (`op`), the one that takes most time first:

- `op`, `layers`, `networks`: how many layers of this kind were timed, and in how many networks
- `q25`, `median`, `q75`: microseconds of one
- `share`: of the time of all layers of all networks that were timed
- `macs`: median multiply-accumulates of one
- `factor`: how many times as long as a layer of the commonest kind it takes at the same macs; missing for layers
  without macs, and for those of fewer than five networks
- `low`, `high`: bounds of the 95 % interval of that

Layers are compared at the same macs by least squares: the logarithm of the seconds by kind, and by the logarithm of the
macs and its square, which are shared. The interval is that of a bootstrap over networks, which shares out their layers
together (Efron and Tibshirani 1993, "An introduction to the bootstrap"). Where kinds have hardly a number of macs in
common, the factor says what the curve does between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, NetpickError, Run, listed, percent, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROUNDS = 300


def ask(run: Run, *, seed: int = 0) -> Answer:
    """Compare the time of layers by their kind.

    Parameters
    ----------
    seed : int
        Of the bootstrap.
    """
    exam.need_trained(run, "time of layers")
    rows, device = exam.layer_times(run)
    if not len(rows):
        raise NetpickError(f"the layers of {run.path} have not been timed: `{exam.command('time', run.path)}` does")
    counts = rows[rows["macs"] > 0].groupby("op")["network"].agg(["size", "nunique"])
    counts = counts[counts["nunique"] >= exam.ENOUGH].sort_values("size", ascending=False, kind="stable")
    table = summary(rows)
    base = str(counts.index[0]) if len(counts) else ""
    if base:
        found = factors(rows[rows["op"].isin(counts.index)], base, np.random.default_rng(seed))
        table = table.merge(found, on="op", how="left")
    else:
        table = table.assign(factor=np.nan, low=np.nan, high=np.nan)
    networks = rows["network"].nunique()
    text = _said(table, base, f"{exam.counted_word(networks, 'network')} on {device}")
    few = "" if networks == len(run.networks) else f"{networks} of {len(run.networks)} networks were timed"
    return Answer(
        table, text, lambda: _draw(rows, table, base, networks), exam.notes(run, few),
        shares=("share",), columns=("op", "layers", "median", "share", "macs", "factor", "low", "high"),
    )  # fmt: skip


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row a kind of layer: how many, how long, what share of the time."""
    groups = rows.groupby("op")
    table = 1e6 * groups["seconds"].quantile([0.25, 0.5, 0.75]).unstack().set_axis(["q25", "median", "q75"], axis=1)
    table.insert(0, "layers", groups.size())
    table.insert(1, "networks", groups["network"].nunique())
    table["share"] = groups["seconds"].sum() / rows["seconds"].sum()
    table["macs"] = groups["macs"].median()
    return table.reset_index().sort_values(["share", "op"], ascending=[False, True], ignore_index=True)


def factors(rows: pd.DataFrame, base: str, rng: np.random.Generator) -> pd.DataFrame:
    """Return how many times as long as `base` each kind takes at the same macs, with an interval over networks."""
    kinds = [base, *sorted(set(rows["op"]) - {base})]
    macs = np.log(rows["macs"].to_numpy(float))
    macs -= macs.mean()
    terms = np.column_stack([(rows["op"] == kind).to_numpy(float) for kind in kinds] + [macs, macs**2])
    seconds = np.log(rows["seconds"].to_numpy(float))
    networks, of = np.unique(rows["network"], return_inverse=True)
    rounds = []
    for _ in range(ROUNDS):
        drawn = rng.integers(len(networks), size=len(networks))
        rounds.append(_solved(terms, seconds, np.bincount(drawn, minlength=len(networks))[of], len(kinds)))
    low, high = np.nanquantile(rounds, [0.025, 0.975], axis=0)
    found = _solved(terms, seconds, np.ones(len(of)), len(kinds))
    return pd.DataFrame({"op": kinds, "factor": np.exp(found), "low": np.exp(low), "high": np.exp(high)})


def _solved(terms: np.ndarray, seconds: np.ndarray, weight: np.ndarray, kinds: int) -> np.ndarray:
    """Return by how much each kind is above the first; NaN for a kind that was not drawn."""
    root = np.sqrt(weight)
    levels = np.linalg.lstsq(terms * root[:, None], seconds * root, rcond=None)[0][:kinds]
    return np.where((terms[:, :kinds] * weight[:, None]).any(axis=0), levels - levels[0], np.nan)


def _said(table: pd.DataFrame, base: str, where: str) -> str:
    first = table.iloc[0]
    text = f"Of the time of all layers of {where}, {first['op']} takes {percent(first['share'], 1)}."
    free = table[table["macs"] == 0]
    if len(free):
        each = listed(
            (f"{row.op} {exam.figures(row.median)} µs ({percent(row.share, 1)})" for row in free.itertuples()), 6
        )
        text += f" Layers without macs, each (median, and share of all): {each}."
    others = table[table["factor"].notna() & (table["op"] != base)].sort_values("factor", ascending=False)
    if len(others):
        each = listed(f"{r.op} {exam.figures(r.factor)} times ({exam.figures(r.low)} to {exam.figures(r.high)})"
                      for r in others.itertuples())  # fmt: skip
        text += f" At the same macs, as long as a {base} layer take, with 95 % intervals: {each}."
    return text


def _draw(rows: pd.DataFrame, table: pd.DataFrame, base: str, networks: int) -> Figure:
    from matplotlib.figure import Figure

    fig = Figure(figsize=(10, max(5.2, 0.42 * len(table) + 1.6)))
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.25))
    _times(left, table)
    for op in table.loc[table["macs"] > 0, "op"]:
        mine = rows[(rows["op"] == op) & (rows["macs"] > 0)]
        right.plot(
            mine["macs"], 1e6 * mine["seconds"], theme.marker(op), color=theme.colour(op), ms=4, mec="#333333", mew=0.2,
            alpha=0.8, label=theme.plain(op),
        )  # fmt: skip
    right.set(xlabel="macs of the layer", ylabel="µs")
    if right.lines:
        right.set(xscale="log", yscale="log")
        multiply = rows[rows["macs"] > 0]
        theme.log_axis(right.yaxis, 1e6 * multiply["seconds"].min(), 1e6 * multiply["seconds"].max())
    right.set_title("layers that multiply, one point each", loc="left")
    theme.legend_below(fig, right, columns=5)
    slow = table[table["low"] > 1].sort_values("factor", ascending=False)
    title = "No kind of layer takes longer than its macs say"
    if len(slow):
        title = f"At the same macs, {listed(slow['op'], 3)} {'take' if len(slow) > 1 else 'takes'} longer than {base}"
    return theme.finish(fig, f"{title} ({exam.counted_word(networks, 'network')})")


def _times(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the median of each kind with its quartiles, and its share of all time."""
    places = np.arange(len(table))
    ax.hlines(places, table["q25"], table["q75"], color=theme.INK, linewidth=2)
    for place, row in zip(places, table.itertuples(), strict=True):
        ax.plot(row.median, place, theme.marker(row.op), color=theme.colour(row.op), ms=8, mec=theme.INK, mew=0.5)
    labels = [f"{theme.plain(row.op)} ({percent(row.share, 1)})" for row in table.itertuples()]
    ax.set_yticks(places, labels)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="µs for one input: median and quartiles")
    theme.log_axis(ax.xaxis, table["q25"].min(), table["q75"].max())
    ax.set_title("each kind (share of all time)", loc="left")
