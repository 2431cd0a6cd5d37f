"""What the questions of cost share: study time, notes, rough work, steps, macs. One column of the students each.

Their answers have a row a computation and last a row `all`; each question says itself what the columns are, in its own
unit. `Basic` is one linear layer and nothing else: the cheapest network that learns at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Run, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Cost(NamedTuple):
    """A column of `exam.students`, what it is, what a student does with it ("has" 7850 "parameters"), and its unit."""

    column: str
    what: str
    verb: str
    unit: str


def answer(
    run: Run, cost: Cost, everyone: bool, good: float, gold: float, quantile: float | None, note: str = ""
) -> Answer:
    """Answer a question of cost."""
    base = exam.of_basic(exam.students(run, good, gold, quantile), cost.column)
    frame = exam.selected(run, everyone, good, gold, quantile)
    table = summary(frame, cost.column, base)
    whole = table.iloc[-1]
    stars = frame[frame["star"]]

    low, high = frame.loc[frame[cost.column].idxmin()], frame.loc[frame[cost.column].idxmax()]
    text = (
        f"The median of {exam.whom(frame, everyone)} {cost.verb} {amount(whole['median'], cost.unit)}"
        f"{times(whole['of_basic'])}; from {amount(low[cost.column], cost.unit)} ({low['name']}) to "
        f"{amount(high[cost.column], cost.unit)} ({high['name']})."
    )
    if len(stars):
        least = stars.loc[stars[cost.column].idxmin()]
        which = f"median of {len(stars)} gold stars" if len(stars) > 1 else "one gold star"
        text += (
            f" The {which} {cost.verb} {amount(whole['star_median'], cost.unit)}"
            f"{times(whole['star_median'] / base if base else np.nan)}; the cheapest of them is {least['name']} with "
            f"{amount(least[cost.column], cost.unit)}."
        )
    if whole["correlation"] == whole["correlation"]:
        text += f" {_verdict(whole['correlation'])} (rank correlation with the last score: {whole['correlation']:.2f})."
    notes = exam.notes(run, note, "" if base is not None else "there is no Basic to compare with")
    title = f"{cost.what}: the median student {cost.verb} {amount(whole['median'], cost.unit)}"
    title += times(whole["of_basic"])
    return Answer(table, text, lambda: _draw(frame, cost, base, title), notes)


def summary(frame: pd.DataFrame, column: str, base: float | None) -> pd.DataFrame:
    """Return the table: a row a computation, and last one for all."""
    groups = [(c, frame[frame["computation"] == c]) for c in theme.family_order(frame)]
    return pd.DataFrame([_row(name, group, column, base) for name, group in [*groups, ("all", frame)]])


def _row(name: str, group: pd.DataFrame, column: str, base: float | None) -> dict[str, object]:
    values = group[column].astype(float)
    stars = group.loc[group["star"], column]
    q = values.quantile([0, 0.25, 0.5, 0.75, 1]).to_list()
    varied = len(group) >= 3 and values.nunique() > 1 and group["accuracy"].nunique() > 1
    return {
        "computation": name,
        "students": len(group),
        **dict(zip(("least", "q25", "median", "q75", "most"), q, strict=True)),
        "of_basic": q[2] / base if base else np.nan,
        "stars": len(stars),
        "star_median": stars.median() if len(stars) else np.nan,
        "correlation": values.rank().corr(group["accuracy"].rank()) if varied else np.nan,
    }


def amount(value: float, unit: str) -> str:
    """Write a cost with its unit as people read it: 12,300 parameters, 1.25 million macs, 0.42 s."""
    if unit == "s":
        return f"{value:.2g} s" if value < 10 else f"{value:,.0f} s"
    if value >= 1e6:
        return f"{value / 1e6:,.3g} million {unit}" if value < 1e9 else f"{value / 1e9:,.3g} billion {unit}"
    return f"{value:,.0f} {unit}"


def times(ratio: float) -> str:
    """Write a multiple of what `Basic` needs, as an insertion; "" where there is none."""
    if ratio != ratio:
        return ""
    return f", {ratio:,.2g} times that of Basic" if ratio < 100 else f", {ratio:,.0f} times that of Basic"


def _verdict(correlation: float) -> str:
    if abs(correlation) < 0.1:
        return "Cost and score have next to nothing to do with each other"
    more = "better" if correlation > 0 else "worse"
    how = "somewhat " if abs(correlation) < 0.4 else "" if abs(correlation) < 0.7 else "clearly "
    return f"Who spends more scores {how}{more}"


def _draw(frame: pd.DataFrame, cost: Cost, base: float | None, title: str) -> Figure:
    """Draw the distribution by computation, and beneath one another the same axis against the score."""
    from matplotlib.figure import Figure

    order = theme.family_order(frame)
    fig = Figure(figsize=(10, 3.6 + 0.42 * len(order) + 2.2))
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=(0.42 * len(order) + 0.8, 3.4))
    _boxes(above, frame, cost.column, order)
    _points(below, frame, cost.column, order)
    every = [*frame[cost.column], *([base] if base else [])]
    if theme.spans_decades(every):
        below.set_xscale("log")
        theme.log_axis(below.xaxis, min(every), max(every))
    else:
        below.set_xlim(left=0)
    for ax in (above, below):
        theme.basic_line(ax, base, axis="x")
    words = [w for w in (cost.unit, "log scale" if theme.spans_decades(every) else "") if w and w != cost.what.lower()]
    below.set_xlabel(f"{cost.what.lower()} ({', '.join(words)})" if words else cost.what.lower())
    theme.legend_below(fig, below, columns=4)
    return theme.finish(fig, title)


def _boxes(ax: Axes, frame: pd.DataFrame, column: str, order: list[str]) -> None:
    import seaborn as sns

    colours = theme.palette(order)
    sns.boxplot(
        frame, x=column, y="computation", hue="computation", order=order, hue_order=order, palette=colours, ax=ax,
        legend=False, width=0.62, fliersize=2, linewidth=1.1, saturation=1, medianprops=theme.median_line(),
    )  # fmt: skip
    stars = frame[frame["star"]]
    places = stars["computation"].map({c: i for i, c in enumerate(order)}).to_numpy(float)
    rng = np.random.default_rng(0)
    theme.mark_stars(ax, stars[column], places + rng.uniform(-0.22, 0.22, len(places)), label="", size=45)
    counts = frame["computation"].value_counts()
    ax.set_yticks(range(len(order)), [theme.plain(f"{c} ({counts[c]})") for c in order])
    ax.set(xlabel="", ylabel="")


def _points(ax: Axes, frame: pd.DataFrame, column: str, order: list[str]) -> None:

    # Where few values are shared by many, points would cover each other.
    few = frame[column].nunique() < 40 and len(frame) > 80
    jitter = pd.Series(np.random.default_rng(0).uniform(-0.3, 0.3, len(frame)) if few else 0.0, frame.index)
    for c in order:
        rows = frame[frame["computation"] == c]
        ax.scatter(
            rows[column] + jitter[rows.index], rows["accuracy"], s=22, color=theme.colour(c), edgecolor="#333333",
            linewidth=0.4, alpha=0.85, label=theme.plain(c),
        )  # fmt: skip
    stars = frame[frame["star"]]
    theme.mark_stars(ax, stars[column] + jitter[stars.index], stars["accuracy"], frame.attrs.get("gold"))
    ax.set_ylabel("last score (accuracy)")
    theme.percent_axis(ax.yaxis)
