"""Which strategy led to more high scores?

A strategy is a computation (the kind of layer that does the work), alone or with an activation. Good students only,
unless `everyone` is asked; as good students are those that the strategy did not fail, how many it made is shown beside.

Columns of the answer, a row a computation (activation `all`) and after them a row a computation × activation:

- `computation`, `activation`
- `trained`: students of this strategy; `good`: good ones among them; `stars`: gold stars among them
- `asked`: students that the next columns are about (the good ones, or all)
- `least`, `q25`, `median`, `q75`, `most`: their last accuracies; missing where there are none
- `low`, `high`: 95 % interval of the median of the strategy's networks, of which these were drawn; missing below 5

The interval is that of order statistics (David and Nagaraja 2003, Order Statistics, ch. 7): it holds for networks of
whatever distribution in at least 95 of 100 cases, of five in 94, where a bootstrap of few networks is too short.
Strategies of fewer than five students are not ranked. Where the first computation comes with one activation only, it is
compared with those of the others that have this activation as well. Whether two strategies differ, on these samples and
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


def ask(
    run: Run,
    *,
    everyone: bool = False,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> Answer:
    """Describe the last scores by computation, and by computation × activation."""
    everybody = exam.students(run, good, gold, quantile, split)
    frame = exam.selected(run, everyone, good, gold, quantile, split)
    table = summary(everybody, frame)
    computations = table[(table["activation"] == "all") & (table["asked"] > 0)]
    ranked = computations[computations["asked"] >= exam.ENOUGH].sort_values("median", ascending=False)
    text = f"Of {exam.whom(frame, everyone)}, {_ranking(ranked)}{_confounded(table, frame, ranked)}"
    text += _starred(frame, ranked if len(ranked) else computations)
    if not everyone:
        text += _failed(computations)
    title = f"{_winner(ranked)} ({exam.how_many(frame)})"
    base = exam.of_basic(everybody, "accuracy")
    return Answer(
        table,
        text,
        lambda: theme.finish(_draw(frame, table, base), title, exam.whom(frame, everyone)),
        exam.notes(run, exam.said_of_networks(run, split), exam.said_of_luck(run, split)),
        shares=("least", "q25", "median", "q75", "most", "low", "high"),
        columns=("computation", "activation", "good", "trained", "median", "low", "high", "stars"),
    )


def _winner(ranked: pd.DataFrame) -> str:
    if not len(ranked):
        return "No computation has enough students to be ranked"
    first = ranked.iloc[0]
    return f"{first['computation']} has the highest median score, {percent(first['median'], 1)}"


def _ranking(ranked: pd.DataFrame) -> str:
    """Say which computation has the highest median, and whether the next one is told from it."""
    if not len(ranked):
        return f"no computation has the {exam.ENOUGH} that a ranking needs. "
    first = ranked.iloc[0]
    text = f"{first['computation']} has the highest median score ({_of(first)})"
    if len(ranked) > 1:
        second = ranked.iloc[1]
        apart = first["low"] > second["high"]
        text += f", before {second['computation']} ({_of(second)}): their intervals {'do not ' if apart else ''}overlap"
    return f"{text}. "


def _confounded(table: pd.DataFrame, frame: pd.DataFrame, ranked: pd.DataFrame) -> str:
    """Compare the first computation with the others among the one activation that all its students have, if so."""
    if len(ranked) < 2:
        return ""
    first = ranked.iloc[0]["computation"]
    used = frame.groupby("computation")["activation"].unique()
    if len(used[first]) > 1 or all(len(used[c]) == 1 and used[c][0] == used[first][0] for c in ranked["computation"]):
        return ""
    activation = used[first][0]
    alike = table[(table["activation"] == activation) & (table["asked"] >= exam.ENOUGH)]
    alike = alike[alike["computation"] != first].sort_values("median", ascending=False)
    said = f"All students of {first} have the activation {activation}"
    if not len(alike):
        return f"{said}, and no other computation has enough of these: which of both it is can't be told. "
    other = alike.iloc[0]
    own = table[(table["activation"] == activation) & (table["computation"] == first)].iloc[0]
    apart = own["low"] > other["high"] or other["low"] > own["high"]
    return (
        f"{said}: of the others with it {other['computation']} comes first ({_of(other)}), and the intervals "
        f"{'do not ' if apart else ''}overlap. "
    )


def _starred(frame: pd.DataFrame, computations: pd.DataFrame) -> str:
    total, gold = int(frame["star"].sum()), percent(frame.attrs["gold"])
    if not total:
        return f"There is no gold star (above {gold})."
    text = f"There {'are' if total > 1 else 'is'} {exam.counted_word(total, 'gold star')} (above {gold})"
    starred = computations.assign(share=computations["stars"] / computations["asked"])
    top = starred.sort_values(["share", "stars"], ascending=False).iloc[0]
    if not top["stars"]:
        return f"{text}."
    return f"{text}; {top['computation']} has most for its number, {top['stars']} among its {top['asked']}."


def _failed(computations: pd.DataFrame) -> str:
    """Say of which computation most students are not good."""
    worst = computations.loc[(computations["good"] / computations["trained"]).idxmin()]
    if worst["good"] == worst["trained"]:
        return ""
    return f" {worst['computation']} failed most: {worst['good']} of {worst['trained']} passed."


def _of(row: pd.Series) -> str:
    return f"{percent(row['median'])}, 95 % interval {percent(row['low'])} to {percent(row['high'])}"


def summary(everybody: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table: strategies of all students, scores of those in `frame`."""
    rows = []
    computations, activations = theme.family_order(everybody), theme.family_order(everybody, "activation")
    pairs = [(c, "all") for c in computations] + [(c, a) for c in computations for a in activations]
    for computation, activation in pairs:
        trained, asked = (_members(f, computation, activation) for f in (everybody, frame))
        if not len(trained):
            continue
        scores = asked["accuracy"].to_numpy()
        q = np.quantile(scores, [0, 0.25, 0.5, 0.75, 1]) if len(scores) else np.full(5, np.nan)
        low, high = interval(scores)
        rows.append({
            "computation": computation, "activation": activation, "trained": len(trained),
            "good": int(trained["good"].sum()), "stars": int(trained["star"].sum()), "asked": len(asked),
            **dict(zip(("least", "q25", "median", "q75", "most"), q, strict=True)), "low": low, "high": high,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _members(frame: pd.DataFrame, computation: str, activation: str) -> pd.DataFrame:
    mine = frame["computation"] == computation
    return frame[mine] if activation == "all" else frame[mine & (frame["activation"] == activation)]


def interval(scores: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the median, from one of the ordered values to another; NaN below five values."""
    from scipy.stats import binom

    n = len(scores)
    if n < exam.ENOUGH:
        return np.nan, np.nan
    ordered = np.sort(scores)
    beyond = max(int(binom.ppf(0.025, n, 0.5)), 1)  # as likely as not each value lies below the median
    return float(ordered[beyond - 1]), float(ordered[n - beyond])


def _draw(frame: pd.DataFrame, table: pd.DataFrame, base: float | None) -> Figure:
    from matplotlib.figure import Figure

    whole = table[table["activation"] == "all"].set_index("computation")
    order = list(whole.index)  # those of whom nobody passed too
    fig = Figure(figsize=(10, 9.2))
    above, below = fig.subplots(2, 1, height_ratios=(5, 4))
    _boxes(above, frame, base, order, whole)
    _grid(below, table, [c for c in order if whole["asked"][c]])
    theme.legend_below(fig, above, columns=3)
    return fig


def _boxes(ax: Axes, frame: pd.DataFrame, base: float | None, order: list[str], whole: pd.DataFrame) -> None:
    """Draw a box for each computation, with how many of it passed; of fewer than five students each one."""
    import seaborn as sns

    colours = theme.palette(order)
    place = frame["computation"].map({c: i for i, c in enumerate(order)}).astype(float)
    boxed = exam.enough(frame)
    ax.set_xlim(-0.5, len(order) - 0.5)
    if boxed.any():
        sns.boxplot(
            frame[boxed], x="computation", y="accuracy", hue="computation", order=order, hue_order=order,
            palette=colours, ax=ax, legend=False, width=0.62, fliersize=2, linewidth=1.1, saturation=1,
            medianprops=theme.median_line(),
        )  # fmt: skip
    for c in frame.loc[~boxed, "computation"].unique():
        rows = frame[frame["computation"] == c]
        ax.scatter(
            place[rows.index], rows["accuracy"], s=34, color=theme.colour(c), marker=theme.marker(c),
            edgecolor="#333333",
        )  # fmt: skip
    stars = frame[frame["star"]]
    places = place[stars.index] + np.random.default_rng(0).uniform(-0.25, 0.25, len(stars))
    theme.mark_stars(ax, places, stars["accuracy"], frame.attrs.get("gold"))
    theme.basic_line(ax, base)
    labels = [
        f"{theme.plain(c).replace('Then', chr(10) + 'Then')}\n{whole['good'][c]} of {whole['trained'][c]}\npassed"
        for c in order
    ]
    ax.set_xticks(range(len(order)), labels)
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
