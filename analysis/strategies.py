"""Which strategy led to more high scores?

A strategy is a computation (the kind of layer that does the work), alone or with an activation. Good students only,
unless `everyone` is asked; as good students are those that the strategy did not fail, how many it made is shown beside.

Columns of the answer, a row a computation (activation `all`) and after them a row a computation × activation:

- `computation`, `activation`
- `trained`: students of this strategy; `good`: good ones among them; `stars`: gold stars among them
- `asked`: students that the next columns are about (the good ones, or all)
- `least`, `q25`, `median`, `q75`, `most`: their last accuracies; missing where there are none
- `low`, `high`: 95 % interval of the median, from 2,000 bootstrap samples of the networks; missing below 3

The interval is Efron's percentile interval (Efron and Tibshirani 1993, An Introduction to the Bootstrap, ch. 13): how
far another draw of networks of the same kind could move the median. Whether two strategies differ, on these samples and
beyond chance, is what the question `compare` tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Run, percent, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROUNDS = 2000


def ask(
    run: Run, *, everyone: bool = False, good: float = exam.GOOD, gold: float = exam.GOLD, quantile: float | None = None
) -> Answer:
    """Describe the last scores by computation, and by computation × activation."""
    everybody = exam.students(run, good, gold, quantile)
    frame = exam.selected(run, everyone, good, gold, quantile)
    table = summary(everybody, frame)
    by_computation = table[(table["activation"] == "all") & (table["asked"] > 0)].sort_values("median", ascending=False)
    first = by_computation.iloc[0]
    text = f"Of {exam.whom(frame, everyone)}, {first['computation']} has the highest median score"
    text += f" ({_of(first)})"
    title = f"{first['computation']} has the highest median score, {percent(first['median'], 1)}"
    if len(by_computation) > 1:
        second = by_computation.iloc[1]
        text += f", before {second['computation']} ({_of(second)})"
        if first["low"] == first["low"] and second["high"] == second["high"]:
            apart = first["low"] > second["high"]
            text += ": their intervals do not overlap" if apart else ": their intervals overlap"
        else:
            text += ": too few networks to say how sure that is"
    text += ". "
    total = int(frame["star"].sum())
    if total:
        starred = by_computation.assign(share=by_computation["stars"] / by_computation["asked"])
        top = starred.sort_values(["share", "stars"], ascending=False).iloc[0]
        text += (
            f"There {'are' if total > 1 else 'is'} {total} gold star{'s' if total > 1 else ''} (above "
            f"{percent(frame.attrs['gold'])}); {top['computation']} has most for its number, {top['stars']} among its "
            f"{top['asked']}{'' if everyone else ' good'} students."
        )
        same = top["computation"] == first["computation"]
        title += f"{', and' if same else '; ' + top['computation'] + ' has'} most stars for its number"
    else:
        text += f"There is no gold star (above {percent(frame.attrs['gold'])})."
    least = (by_computation["good"] / by_computation["trained"]).idxmin()
    if not everyone and (worst := by_computation.loc[least])["good"] < worst["trained"]:
        text += f" {worst['computation']} failed most: {worst['good']} of {worst['trained']} are good."
    base = exam.of_basic(everybody, "accuracy")
    return Answer(table, text, lambda: _draw(frame, table, base, title), exam.notes(run))


def _of(row: pd.Series) -> str:
    interval = f", 95 % interval {percent(row['low'])} to {percent(row['high'])}" if row["low"] == row["low"] else ""
    return f"{percent(row['median'])}{interval}"


def summary(everybody: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table: strategies of all students, scores of those in `frame`."""
    rows = []
    rng = np.random.default_rng(0)
    computations, activations = theme.family_order(everybody), theme.family_order(everybody, "activation")
    pairs = [(c, "all") for c in computations] + [(c, a) for c in computations for a in activations]
    for computation, activation in pairs:
        trained, asked = (_members(f, computation, activation) for f in (everybody, frame))
        if not len(trained):
            continue
        scores = asked["accuracy"].to_numpy()
        q = np.quantile(scores, [0, 0.25, 0.5, 0.75, 1]) if len(scores) else np.full(5, np.nan)
        low, high = interval(scores, rng)
        rows.append({
            "computation": computation, "activation": activation, "trained": len(trained),
            "good": int(trained["good"].sum()), "stars": int(trained["star"].sum()), "asked": len(asked),
            **dict(zip(("least", "q25", "median", "q75", "most"), q, strict=True)), "low": low, "high": high,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _members(frame: pd.DataFrame, computation: str, activation: str) -> pd.DataFrame:
    mine = frame["computation"] == computation
    return frame[mine] if activation == "all" else frame[mine & (frame["activation"] == activation)]


def interval(scores: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median; NaN below three values."""
    if len(scores) < 3:
        return np.nan, np.nan
    medians = np.median(rng.choice(scores, (ROUNDS, len(scores))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def _draw(frame: pd.DataFrame, table: pd.DataFrame, base: float | None, title: str) -> Figure:
    from matplotlib.figure import Figure

    order = theme.family_order(frame)
    fig = Figure(figsize=(10, 9.2))
    above, below = fig.subplots(2, 1, height_ratios=(5, 4))
    _boxes(above, frame, base, order)
    _grid(below, table, order)
    theme.legend_below(fig, above, columns=3)
    return theme.finish(fig, title)


def _boxes(ax: Axes, frame: pd.DataFrame, base: float | None, order: list[str]) -> None:
    import seaborn as sns

    sns.boxplot(
        frame, x="computation", y="accuracy", hue="computation", order=order, hue_order=order,
        palette=theme.palette(order), ax=ax, legend=False, width=0.62, fliersize=2, linewidth=1.1, saturation=1,
        medianprops=theme.median_line(),
    )  # fmt: skip
    stars = frame[frame["star"]]
    places = stars["computation"].map({c: i for i, c in enumerate(order)}).to_numpy(float)
    places += np.random.default_rng(0).uniform(-0.25, 0.25, len(places))
    theme.mark_stars(ax, places, stars["accuracy"], frame.attrs.get("gold"))
    theme.basic_line(ax, base)
    counts = frame["computation"].value_counts()
    ax.set_xticks(
        range(len(order)), [theme.plain(f"{c.replace('Then', chr(10) + 'Then')}\n({counts[c]})") for c in order]
    )
    ax.set(xlabel="", ylabel="last score (accuracy)")
    theme.percent_axis(ax.yaxis)


def _grid(ax: Axes, table: pd.DataFrame, order: list[str]) -> None:
    """Draw the median of each computation × activation, with the number of students and gold stars."""
    import seaborn as sns

    cells = table[(table["activation"] != "all") & (table["asked"] > 0)]
    columns = theme.family_order(cells, "activation")
    medians = cells.pivot_table("median", "computation", "activation").reindex(index=order, columns=columns)
    medians.index, medians.columns = (
        pd.Index([theme.plain(n) for n in names]) for names in (medians.index, medians.columns)
    )
    sns.heatmap(
        100 * medians, cmap="cividis", ax=ax, linewidths=1, cbar_kws={"label": "median last score (%)", "pad": 0.01}
    )
    colours = ax.collections[0]
    for _, row in cells.iterrows():
        stars = f", {row['stars']}★" if row["stars"] else ""
        ax.text(
            columns.index(row["activation"]) + 0.5, order.index(row["computation"]) + 0.5,
            f"{percent(row['median'], 1)}  ({row['asked']}{stars})", ha="center", va="center", fontsize=9.5,
            color=theme.readable_on(colours.to_rgba(100 * row["median"])),
        )  # fmt: skip
    ax.set(ylabel="", xlabel="activation   (in brackets: students, gold stars ★)")
    ax.tick_params(axis="y", rotation=0)
    ax.tick_params(left=False, bottom=False)
    ax.grid(visible=False)
