"""What the questions of cost share: study time, notes, rough work, steps, macs. One column of the students each.

Their answers have a row a computation and last a row `all`; each question says itself what the columns are, in its own
unit. Whether cost and score go together is said of networks of the same computation: over all of them it may well be
the other way round (Simpson's paradox).

`Basic` is one linear layer and nothing else: the cheapest network that learns at all.
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


FACETS = 4
"""In a row."""


class Cost(NamedTuple):
    """A column of `exam.students`, what it is, what a student does with it ("has" 7850 "parameters"), and its unit."""

    column: str
    what: str
    verb: str
    unit: str


def answer(
    run: Run,
    cost: Cost,
    everyone: bool,
    good: float,
    gold: float,
    quantile: float | None,
    split: str = "test",
    note: str = "",
    span: tuple[float, float] | None = None,
) -> Answer:
    """Answer a question of cost; `span` is from where to where `Basic` may as well have been, where that is known."""
    everybody = exam.students(run, good, gold, quantile, split)
    base = exam.of_basic(everybody, cost.column)
    asked = exam.selected(run, everyone, good, gold, quantile, split)
    frame = exam.need_known(run, asked, cost.column)
    table = summary(frame, cost.column, base)
    whole, who = table.iloc[-1], exam.whom(frame, everyone)

    low, high = frame.loc[frame[cost.column].idxmin()], frame.loc[frame[cost.column].idxmax()]
    text = (
        f"The median of {who} {cost.verb} {amount(whole['median'], cost.unit)}"
        f"{times(whole['median'], base, span)}; from {amount(low[cost.column], cost.unit)} ({low['name']}) to "
        f"{amount(high[cost.column], cost.unit)} ({high['name']})."
    )
    text += _stars(frame, cost, base, whole["star_median"]) + _verdict(table)
    luck = exam.said_of_luck(run, split) if frame["star"].any() else ""
    unknown = len(asked) - len(frame)
    left = f"left out are {exam.counted_word(unknown, 'network')} whose {cost.column} nobody told" if unknown else ""
    without = "" if base is not None else "there is no Basic to compare with"
    notes = exam.notes(run, note, left, without, exam.said_of_networks(run, split), luck)
    title = f"{cost.what}: the median of {exam.how_many(frame)} {cost.verb} {amount(whole['median'], cost.unit)}"
    title += times(whole["median"], base)
    of, basic = everybody["computation"].value_counts(), everybody[everybody["name"] == "Basic"]
    return Answer(
        table, text, lambda: theme.finish(_draw(frame, cost, basic, of), title, who), notes,
        columns=("computation", "students", "median", "of_basic", "within", "low", "high", "least", "most"),
    )  # fmt: skip


def _stars(frame: pd.DataFrame, cost: Cost, base: float | None, median: float) -> str:
    stars = frame[frame["star"]]
    if not len(stars):
        return ""
    least = stars.loc[stars[cost.column].idxmin()]
    which = f"median of {len(stars)} gold stars" if len(stars) > 1 else "one gold star"
    return (
        f" The {which} {cost.verb} {amount(median, cost.unit)}{times(median, base)}; the cheapest of them is "
        f"{least['name']} with {amount(least[cost.column], cost.unit)}."
    )


def summary(frame: pd.DataFrame, column: str, base: float | None) -> pd.DataFrame:
    """Return the table: a row a computation, and last one for all."""
    groups = [(c, frame[frame["computation"] == c]) for c in theme.family_order(frame)]
    return pd.DataFrame([_row(name, group, column, base) for name, group in [*groups, ("all", frame)]])


def _row(name: str, group: pd.DataFrame, column: str, base: float | None) -> dict[str, object]:
    values = group[column].astype(float)
    stars = group.loc[group["star"], column]
    q = values.quantile([0, 0.25, 0.5, 0.75, 1]).to_list()
    varied = len(group) >= 3 and values.nunique() > 1 and group["accuracy"].nunique() > 1
    within = exam.association(values, group["accuracy"], group["computation"])
    return {
        "computation": name,
        "students": len(group),
        **dict(zip(("least", "q25", "median", "q75", "most"), q, strict=True)),
        "of_basic": q[2] / base if base else np.nan,
        "stars": len(stars),
        "star_median": stars.median() if len(stars) else np.nan,
        "correlation": values.rank().corr(group["accuracy"].rank()) if varied else np.nan,
        "within": within.correlation,
        "low": within.low,
        "high": within.high,
    }


def amount(value: float, unit: str) -> str:
    """Write a cost with its unit as people read it: 12,300 parameters, 1.25 million macs, 0.42 s."""
    if unit == "s":
        return f"{exam.figures(value)} s" if value < 10 else f"{value:,.0f} s"
    if value >= 1e6:
        large = f"{exam.figures(value / 1e6, 3)} million" if value < 1e9 else f"{exam.figures(value / 1e9, 3)} billion"
        return f"{large} {unit}"
    return f"{value:,.0f} {unit}"


def times(value: float, base: float | None, span: tuple[float, float] | None = None) -> str:
    """Write a cost as a multiple of what `Basic` needs, as an insertion; "" where there is none.

    With the `span` of what `Basic` needs, from which to which multiple that makes it.
    """
    if not base or value != value:
        return ""
    within = f" ({_multiple(value / span[1])} to {_multiple(value / span[0])}, by its single epochs)" if span else ""
    return f", {_multiple(value / base)} times that of Basic{within}"


def _multiple(ratio: float) -> str:
    return exam.figures(ratio) if ratio < 100 else f"{ratio:,.0f}"


def _verdict(table: pd.DataFrame) -> str:
    """Say whether who spends more scores better, among networks of the same computation; and over all."""
    whole, computations = table.iloc[-1], table.iloc[:-1].dropna(subset="within")
    pooled = whole["correlation"]
    if not len(computations):
        if pooled != pooled:
            return ""
        return (
            f" Too few share a computation to say whether who spends more scores better (over all of them the rank "
            f"correlation is {pooled:.2f})."
        )
    within = f"{whole['within']:.2f}, 95 % interval {whole['low']:.2f} to {whole['high']:.2f}"
    said = f" Within a computation {_words(whole)} (rank correlation with the last score: {within}"
    if len(computations) < 2:
        return f"{said})."
    ends = computations.sort_values("within")["within"]
    return (
        f"{said}; from {ends.iloc[0]:.2f} to {ends.iloc[-1]:.2f} in {len(computations)} of them). Over all together it "
        f"is {pooled:.2f}, where computations that cost more may be better or worse for other reasons."
    )


def _words(row: pd.Series) -> str:
    size = abs(row["within"])
    if row["low"] <= 0 <= row["high"]:
        return "nothing shows that cost and score go together"
    more = "better" if row["within"] > 0 else "worse"
    how = "hardly " if size < 0.1 else "somewhat " if size < 0.4 else "" if size < 0.7 else "clearly "
    return f"who spends more scores {how}{more}"


def _draw(frame: pd.DataFrame, cost: Cost, basic: pd.DataFrame, of: pd.Series) -> Figure:
    """Draw the distribution by computation, and beneath it the score, a facet a computation; `basic` has a row or none.

    In each facet all are grey but those that it is about, and those that nobody beats in cost and score are named.
    """
    from matplotlib.figure import Figure

    order = theme.family_order(frame)
    rows, columns = -(-len(order) // FACETS), min(len(order), FACETS)
    boxes, facets = 0.42 * len(order) + 1.0, 2.1 * rows + 0.5
    fig = Figure(figsize=(10, boxes + facets + 1.2))
    grid = fig.add_gridspec(2, 1, height_ratios=(boxes, facets))
    every = [*frame[cost.column], *basic[cost.column]]
    words = [w for w in (cost.unit, "log scale" if theme.spans_decades(every) else "") if w and w != cost.what.lower()]
    label = f"{cost.what.lower()} ({', '.join(words)})" if words else cost.what.lower()

    ax = fig.add_subplot(grid[0])
    _boxes(ax, frame, cost.column, order, of)
    theme.basic_line(ax, basic[cost.column].iloc[0] if len(basic) else None, axis="x")
    axes = grid[1].subgridspec(rows, columns).subplots(sharex=True, sharey=True, squeeze=False)
    for one in (ax, axes[0, 0]):
        if theme.spans_decades(every):
            one.set_xscale("log")
            theme.log_axis(one.xaxis, min(every), max(every), few=one is not ax)
        else:
            one.set_xlim(0, 1.05 * max(every))
    _facets(list(axes.flat), frame, cost.column, basic, order)
    theme.percent_axis(axes[0, 0].yaxis)
    ax.set_xlabel(label)
    for row in axes:
        row[0].set_ylabel("last score")
    theme.legend_below(fig, *axes.flat, columns=2)
    return fig


def _boxes(ax: Axes, frame: pd.DataFrame, column: str, order: list[str], of: pd.Series) -> None:
    """Draw a box for each computation; of fewer than five students each one."""
    import seaborn as sns

    colours = theme.palette(order)
    place = frame["computation"].map({c: i for i, c in enumerate(order)}).astype(float)
    boxed = exam.enough(frame)
    ax.set_ylim(len(order) - 0.5, -0.5)
    if boxed.any():
        sns.boxplot(
            frame[boxed], x=column, y="computation", hue="computation", order=order, hue_order=order, palette=colours,
            ax=ax, legend=False, width=0.62, fliersize=2, linewidth=1.1, saturation=1,
            medianprops=theme.median_line(),
        )  # fmt: skip
    few = frame[~boxed]
    for c in few["computation"].unique():
        rows = few[few["computation"] == c]
        ax.scatter(
            rows[column], place[rows.index], s=34, color=theme.colour(c), marker=theme.marker(c), edgecolor="#333333"
        )
    stars = frame[frame["star"]]
    rng = np.random.default_rng(0)
    places = place[stars.index] + rng.uniform(-0.22, 0.22, len(stars))
    theme.mark_stars(ax, stars[column], places, label="", size=45)
    counts = frame["computation"].value_counts()
    ax.set_yticks(range(len(order)), [theme.group_label(c, counts[c], of[c]) for c in order])
    ax.set(xlabel="", ylabel="")


def _facets(axes: list[Axes], frame: pd.DataFrame, column: str, basic: pd.DataFrame, order: list[str]) -> None:
    # Where few values are shared by many, points would cover each other.
    few = frame[column].nunique() < 40 and len(frame) > 80
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, len(frame)) if few else 0.0
    x, y, stars = frame[column] + jitter, frame["accuracy"], frame["star"]
    first, named = front(frame, column), []
    for ax, computation in zip(axes, order, strict=False):
        mine = frame["computation"] == computation
        ax.scatter(x[~mine], y[~mine], s=7, color=theme.OTHER_NETWORKS, linewidth=0, label="other computations")
        ax.scatter(
            x[mine], y[mine], s=17, color=theme.colour(computation), marker=theme.marker(computation),
            edgecolor="#333333", linewidth=0.4,
        )  # fmt: skip
        theme.mark_stars(ax, x[mine & stars], y[mine & stars], frame.attrs.get("gold"), size=45)
        if len(basic):
            ax.plot(
                basic[column], basic["accuracy"], ms=8, zorder=6, label="Basic (above: dashed)", **theme.BASIC_POINT
            )
        shown = first[mine[first.index]]
        named += [(ax, i) for i in shown.index[-1:]]
        ax.scatter(
            x[shown.index], y[shown.index], s=80, facecolor="none", edgecolor=theme.INK, zorder=6,
            label="nobody scores more for less",
        )  # fmt: skip
        ax.set_title(theme.plain(computation), fontsize=10, loc="left")
    for ax, i in named:  # once the limits, which all share, are as they stay
        theme.name_point(ax, x[i], y[i], frame.loc[i, "name"])
    for ax in axes[len(order) :]:
        ax.set_axis_off()


def front(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the students that nobody beats in a cost and in score, the cheapest first."""
    ordered = frame.sort_values([column, "accuracy"], ascending=[True, False], kind="stable")
    return ordered[ordered["accuracy"] > ordered["accuracy"].cummax().shift(fill_value=-1.0)]
