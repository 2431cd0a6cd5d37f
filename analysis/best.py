"""Is the best student the best in every class?

The best student has the highest accuracy in the last attempt, over all samples and as the mean of its replicates (of
equals it is the one with fewest multiply-accumulates). Its accuracy in each class is compared with that of all good
students, or of all when `everyone` is asked: then it is the best of these. With `by="auc"` it is the area under the
ROC curve of each class against all others that is compared. Any other student can be named.

Columns of the answer, a row a class and last a row `all`:

- `label`, `class_name`: the class; -1 and `all` for all samples together
- `samples`: test samples of the class
- `accuracy`: of this student in the class (recall), mean over its replicates; by areas the column is `auc`, and that of
  `all` is the mean over the classes
- `percentile`: its place among the students asked, from 0 to 100: the share of them that are below it or, by half,
  its equals (as `scipy.stats.percentileofscore`, kind `rank`, has it)
- `rank`: 1 + number of students above it; `equals`: number of others with the same accuracy
- `top`: the highest in the class; `top_name`: who has it (first in the catalogue); `behind`: how far below it
  this student is
- `median`: of the median student
- `judged`: percentile that the best one has where it is not flattered: it is chosen anew on one half of the samples and
  placed on the other, mean over a hundred splits, by each network's first replicate. Missing where another was named,
  and for areas
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Judged, Run, Splits, listed, percent, quoted, short, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WAYS = {"accuracy": "accuracy", "auc": "area under the ROC curve"}
"""What students are placed by, in words."""


def ask(
    run: Run,
    *,
    network: str | None = None,
    by: str = "accuracy",
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
    by : str
        What students are placed by in each class: accuracy, or auc (area under the ROC curve).
    """
    exam.check_choice("by", by, list(WAYS))
    compared_on = exam.said_of_networks(run, split)
    split = exam.comparing_split(run, split)
    frame = exam.selected(run, everyone, good, quantile=quantile, split=split)
    notes, asked = [compared_on], frame
    name = exam.best(frame) if network is None else exam.need_network(run, network)
    label = exam.label_of(run, asked, name, split) if by == "accuracy" else ""
    if name not in set(frame["name"]):  # named, and not good: placed among the good ones all the same
        notes.append(f"{name} is not good itself, and counted beside the good ones")
        everybody = exam.students(run, good, quantile=quantile, split=split)
        frame = pd.concat([frame, everybody[everybody["name"] == name]], ignore_index=True)
    elif (top := exam.best(exam.students(run, split=split))) not in set(frame["name"]):
        notes.append(f"{top}, the best of all, is not good")
    marks = by_class(run, split, by).loc[frame["name"]]
    table = placed(marks, name, run.classes, np.bincount(run.labels(split), minlength=len(run.classes)), by)
    judged = judged_places(run, asked, split) if label else None
    table["judged"] = [one.mean for one in judged] if judged else np.nan

    whole, classes = table.iloc[-1], table.iloc[:-1].dropna(subset=by)
    first = classes[classes["rank"] == 1]
    of = "" if by == "accuracy" else f" of the {WAYS[by]}, mean over the classes,"
    most = "the most accurate" if by == "accuracy" else "the highest"
    text = (
        f"{name} has {percent(whole[by])}{of} ({f'{label}; ' if label else ''}rank {whole['rank']:.0f} of "
        f"{len(frame)}) and is {most}{', alone or among equals,' if (first['equals'] > 0).any() else ''} in "
        f"{len(first) or 'none'} of {exam.counted_word(len(classes), 'class', 'classes')}"
    )
    text += f" ({listed(short(name, 40) for name in first['class_name'])})." if 0 < len(first) < len(classes) else "."
    if len(first) < len(classes):
        low = classes.loc[classes["percentile"].idxmin()]
        text += (
            f" It is placed lowest in {quoted(low['class_name'])}: percentile {low['percentile']:.0f}, "
            f"{percent(low[by])} where {low['top_name']} has {percent(low['top'])}."
        )
    if judged:
        text += _said_of_judged(judged[-1], classes)
    where = "every class" if len(first) == len(classes) else f"{len(first) or 'none'} of {len(classes)} classes"
    title = f"{name} ({percent(whole[by], 1)}) is {most} in {where}, among {exam.how_many(asked)}"
    if len(frame) < 3:
        said = "is only 1 student" if len(frame) == 1 else f"are only {len(frame)} students"
        notes.append(f"there {said} to compare")
    if any(table["samples"].iloc[:-1] == 0):
        notes.append("classes without samples have no place")
    text += f" Asked were {exam.whom(asked, everyone)}."
    notes.append(exam.said_of_luck(run, split, how=True))
    computation = str(frame.set_index("name").loc[name, "computation"])
    return Answer(
        table, text, lambda: _draw(marks, table, name, computation, title, by), exam.notes(run, *notes),
        shares=(by, "top", "behind", "median"),
        columns=("class_name", by, "rank", "percentile", "judged", "top", "top_name", "behind"),
    )  # fmt: skip


def _said_of_judged(whole: Judged, classes: pd.DataFrame) -> str:
    ranked = classes.dropna(subset="judged").sort_values("judged")
    low, high = max(whole.low, 0), min(whole.high, 100)
    said = (
        f" Chosen on one half of the samples and placed on the other, {exam.TIMES} times, the best is at percentile "
        f"{whole.mean:.0f} over all (95 % interval {low:.0f} to {high:.0f})"
    )
    if len(ranked) < 2:
        return f"{said}."
    last, first = ranked.iloc[0], ranked.iloc[-1]
    return (
        f"{said}; in the classes it is from {last['judged']:.0f} ({quoted(last['class_name'])}) to "
        f"{first['judged']:.0f} ({quoted(first['class_name'])})."
    )


def judged_places(run: Run, frame: pd.DataFrame, split: str) -> list[Judged]:
    """Return the percentiles of the best one, chosen and placed on other samples: in each class, last over all."""
    names, predicted, labels = exam.final(run, exam.preferred(frame), split)
    splits, right = Splits.of(run, exam.within_folds(run, split, labels)), exam.marked(predicted, labels)
    trained = exam.first_trainings(run, names, split)
    won = exam.on_equal_folds(run, trained, splits.means(right, 0), split).round(exam.DIGITS).argmax(axis=0)
    found = []
    for label in [*range(len(run.classes)), -1]:
        inside = (labels == label) | (label < 0)
        if not inside.any():
            found.append(Judged(*[np.nan] * 4))
            continue
        here = Splits(splits.part[:, inside], splits.parts, splits.seed).means(right[:, inside])
        here = exam.on_equal_folds(run, trained, here, split).round(exam.DIGITS)
        own = here[won, np.arange(len(splits))]
        placed = np.maximum((~np.isnan(here)).sum(axis=0), 1)
        places = 100 * ((here < own).sum(axis=0) + ((here == own).sum(axis=0) + 1) / 2) / placed
        known = ~np.isnan(own)
        found.append(splits.over(np.where(known, places, places[known].mean() if known.any() else np.nan)))
    return found


def by_class(run: Run, split: str, by: str = "accuracy") -> pd.DataFrame:
    """Return the last accuracy (or area) of each student in each class and over all: means over replicates."""
    classes = [f"{by}_{c}" for c in range(len(run.classes))]
    rows = exam.last_evaluations(run, split)
    if by not in rows:
        rows = rows.assign(**{by: rows[classes].mean(axis=1)})
    return rows.groupby("network")[[*classes, by]].mean()


def placed(
    marks: pd.DataFrame, name: str, class_names: list[str], samples: np.ndarray, by: str = "accuracy"
) -> pd.DataFrame:
    """Return the table: where one student is placed in each column of `marks`."""
    rows = []
    labels = [*range(len(class_names)), -1]
    for label, column in zip(labels, marks.columns, strict=True):
        values, own = marks[column].to_numpy(float), float(marks.loc[name, column])
        row: dict[str, object] = {
            "label": label,
            "class_name": class_names[label] if label >= 0 else "all",
            "samples": int(samples[label] if label >= 0 else samples.sum()),
            by: own,
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


def _draw(marks: pd.DataFrame, table: pd.DataFrame, name: str, computation: str, title: str, by: str) -> Figure:
    from matplotlib.figure import Figure

    shown = table.dropna(subset=by).reset_index(drop=True)
    columns = [f"{by}_{c}" if c >= 0 else by for c in shown["label"]]
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
        range(len(shown)), shown[by], **{**style, "linestyle": "none"}, markersize=9, markeredgecolor=theme.INK,
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
    ax.set(xlabel="class", ylabel=f"{WAYS[by]} in the class, last attempt")
    ax.grid(axis="x", visible=False)
    theme.percent_axis(ax.yaxis)
    ax.plot(
        [], [], color="#D9D9D9", linewidth=9, label=f"the {len(marks)} students: quartiles, median; outliers as dots"
    )
    theme.legend_below(fig, ax)
    return theme.finish(fig, title)
