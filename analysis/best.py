"""Is the best student the best in every class?

The best student has the highest accuracy in the last attempt (of equals the one with fewest multiply-accumulates).
Its accuracy in each class is compared with that of all good students, or of all when `everyone` is asked. Any other
student can be named.

Columns of the answer, a row a class and last a row `all`:

- `label`, `class_name`: the class; -1 and `all` for all samples together
- `samples`: test samples of the class
- `accuracy`: of this student in the class (recall), mean over its replicates
- `percentile`: its place among the students asked, from 0 to 100: the share of them that are below it or, by half,
  its equals (as `scipy.stats.percentileofscore`, kind `rank`, has it)
- `rank`: 1 + number of students above it; `equals`: number of others with the same accuracy
- `top`: highest accuracy in the class; `top_name`: who has it (first in the catalogue); `behind`: top minus accuracy
- `median`: accuracy of the median student
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Run, listed, percent, short, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ask(
    run: Run,
    *,
    network: str | None = None,
    everyone: bool = False,
    good: float = exam.GOOD,
    quantile: float | None = None,
    split: str = "test",
) -> Answer:
    """Place a student in each class among all good ones.

    Parameters
    ----------
    network : str
        Whom to place; the best student unless named.
    """
    frame = exam.selected(run, everyone, good, quantile=quantile, split=split)
    notes, asked = [], frame
    name = exam.best(frame) if network is None else exam.need_network(run, network)
    who = name if network else f"{name}, the best student,"
    if name not in set(frame["name"]):  # named, and not good: placed among the good ones all the same
        notes.append(f"{name} is not good itself, and counted beside the good ones")
        everybody = exam.students(run, good, quantile=quantile, split=split)
        frame = pd.concat([frame, everybody[everybody["name"] == name]], ignore_index=True)
    marks = by_class(run, split).loc[frame["name"]]
    table = placed(marks, name, run.classes, np.bincount(run.labels(split), minlength=len(run.classes)))

    whole, classes = table.iloc[-1], table.iloc[:-1].dropna(subset="accuracy")
    first = classes[classes["rank"] == 1]
    text = (
        f"{who} has {percent(whole['accuracy'])} (rank {whole['rank']:.0f} of {len(frame)}) and is the best"
        f"{', alone or among equals,' if (first['equals'] > 0).any() else ''} in {len(first)} of {len(classes)} classes"
    )
    text += f" ({listed(first['class_name'])})." if 0 < len(first) < len(classes) else "."
    if len(first) < len(classes):
        low = classes.loc[classes["percentile"].idxmin()]
        text += (
            f" It is placed lowest in '{low['class_name']}': percentile {low['percentile']:.0f}, "
            f"{percent(low['accuracy'])} where {low['top_name']} has {percent(low['top'])}."
        )
    verb = (
        "is the best in every class"
        if len(first) == len(classes)
        else (f"is the best in {len(first)} of {len(classes)} classes")
    )
    title = f"{name} ({percent(whole['accuracy'], 1)}) {verb}, among {exam.how_many(asked)}"
    if len(frame) < 3:
        notes.append(f"there are only {len(frame)} students to compare")
    if any(table["samples"].iloc[:-1] == 0):
        notes.append("classes without samples have no place")
    text += f" Asked were {exam.whom(asked, everyone)}."
    notes.append(exam.said_of_luck(run, split))
    computation = str(frame.set_index("name").loc[name, "computation"])
    return Answer(
        table, text, lambda: _draw(marks, table, name, computation, title), exam.notes(run, *notes),
        shares=("accuracy", "top", "behind", "median"),
        columns=("class_name", "accuracy", "rank", "percentile", "top", "top_name", "behind"),
    )  # fmt: skip


def by_class(run: Run, split: str) -> pd.DataFrame:
    """Return the last accuracy of each student in each class and over all: a row a student, means over replicates."""
    columns = [*(f"accuracy_{c}" for c in range(len(run.classes))), "accuracy"]
    return exam.last_evaluations(run, split).groupby("network")[columns].mean()


def placed(marks: pd.DataFrame, name: str, class_names: list[str], samples: np.ndarray) -> pd.DataFrame:
    """Return the table: where one student is placed in each column of `marks`."""
    rows = []
    labels = [*range(len(class_names)), -1]
    for label, column in zip(labels, marks.columns, strict=True):
        values, own = marks[column].to_numpy(float), float(marks.loc[name, column])
        row: dict[str, object] = {
            "label": label,
            "class_name": class_names[label] if label >= 0 else "all",
            "samples": int(samples[label] if label >= 0 else samples.sum()),
            "accuracy": own,
        }
        if own == own:
            above, equal = int((values > own + exam.TINY).sum()), int((abs(values - own) <= exam.TINY).sum())
            below, top = len(values) - above - equal, int(values.argmax())
            row |= {
                "percentile": 100 * (below + (equal + 1) / 2) / len(values), "rank": above + 1, "equals": equal - 1,
                "top": values[top], "top_name": marks.index[top], "behind": values[top] - own,
                "median": float(np.median(values)),
            }  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)


def _draw(marks: pd.DataFrame, table: pd.DataFrame, name: str, computation: str, title: str) -> Figure:
    from matplotlib.figure import Figure

    shown = table.dropna(subset="accuracy").reset_index(drop=True)
    columns = [f"accuracy_{c}" if c >= 0 else "accuracy" for c in shown["label"]]
    fig = Figure(figsize=(max(10.0, 0.62 * len(shown)), 6))
    ax = fig.subplots()
    if len(marks) >= exam.ENOUGH:
        ax.boxplot(
            [marks[c].to_numpy() for c in columns], positions=range(len(shown)), widths=0.6, patch_artist=True,
            boxprops={"facecolor": "#D9D9D9", "edgecolor": "#555555"}, medianprops=theme.median_line(),
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": "#777777"},
        )  # fmt: skip
    else:
        ax.plot(range(len(shown)), marks[columns].to_numpy().T, "o", color="#999999", markersize=6)
    ((_, style),) = theme.network_styles({name: computation}).items()
    ax.plot(
        range(len(shown)), shown["accuracy"], **{**style, "linestyle": "none"}, markersize=9, markeredgecolor=theme.INK,
        zorder=5, label=theme.plain(name),
    )  # fmt: skip
    top = shown["top"].max()
    for i, row in shown.iterrows():
        ax.annotate(
            f"{row['percentile']:.0f}", (i, top), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=9.5,
            color=theme.RIGHT, fontweight="bold",
        )  # fmt: skip
    ax.annotate("percentile", (-0.45, top), xytext=(0, 22), textcoords="offset points", fontsize=9, color=theme.RIGHT)
    span = max(top - min(marks[c].min() for c in columns), 0.01)
    ax.set_ylim(top - 1.06 * span, top + 0.13 * span)
    long = shown["class_name"].str.len().max() > 6
    ax.set_xticks(
        range(len(shown)),
        [theme.plain(short(c, 16)) for c in shown["class_name"]],
        rotation=45 if long else 0,
        ha="right" if long else "center",
    )
    ax.axvline(len(shown) - 1.5, color="#999999", linewidth=1)
    ax.set(xlabel="class", ylabel="accuracy in the class, last attempt")
    ax.grid(axis="x", visible=False)
    theme.percent_axis(ax.yaxis)
    ax.plot(
        [], [], color="#D9D9D9", linewidth=9, label=f"the {len(marks)} students: quartiles, median; outliers as dots"
    )
    theme.legend_below(fig, ax)
    return theme.finish(fig, title)
