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
    note: str = "",
    span: tuple[float, float] | None = None,
) -> Answer:
    """Answer a question of cost; `span` is from where to where `Basic` may as well have been, where that is known."""
    everybody = exam.students(run, good, gold, quantile)
    base = exam.of_basic(everybody, cost.column)
    frame = exam.selected(run, everyone, good, gold, quantile)
    table = summary(frame, cost.column, base)
    whole, who = table.iloc[-1], exam.whom(frame, everyone)

    low, high = frame.loc[frame[cost.column].idxmin()], frame.loc[frame[cost.column].idxmax()]
    text = (
        f"The median of {who} {cost.verb} {amount(whole['median'], cost.unit)}"
        f"{times(whole['median'], base, span)}; from {amount(low[cost.column], cost.unit)} ({low['name']}) to "
        f"{amount(high[cost.column], cost.unit)} ({high['name']})."
    )
    text += _stars(frame, cost, base, whole["star_median"]) + _verdict(table)
    notes = exam.notes(run, note, "" if base is not None else "there is no Basic to compare with")
    title = f"{cost.what}: the median of {exam.how_many(frame)} {cost.verb} {amount(whole['median'], cost.unit)}"
    title += times(whole["median"], base)
    of = everybody["computation"].value_counts()
    return Answer(table, text, lambda: theme.finish(_draw(frame, cost, base, of), title, who), notes)


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


def _draw(frame: pd.DataFrame, cost: Cost, base: float | None, of: pd.Series) -> Figure:
    """Draw the distribution by computation, and beneath one another the same axis against the score."""
    from matplotlib.figure import Figure

    order = theme.family_order(frame)
    fig = Figure(figsize=(10, 3.6 + 0.42 * len(order) + 2.2))
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=(0.42 * len(order) + 0.8, 3.4))
    _boxes(above, frame, cost.column, order, of)
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
    ax.scatter(few[column], place[few.index], s=30, color=few["computation"].map(colours), edgecolor="#333333")
    stars = frame[frame["star"]]
    rng = np.random.default_rng(0)
    places = place[stars.index] + rng.uniform(-0.22, 0.22, len(stars))
    theme.mark_stars(ax, stars[column], places, label="", size=45)
    counts = frame["computation"].value_counts()
    ax.set_yticks(range(len(order)), [theme.group_label(c, counts[c], of[c]) for c in order])
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
