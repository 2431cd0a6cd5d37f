"""Which value of what was swept is best, by how much, and what does it cost?

A line joins students that differ in one thing alone: the same network trained by other values of the recipe (`lr`,
`batch_size`, `optimizer`, ...), or networks that differ in one property (`depth`, `width`, `activation`, ...) and are
trained alike. Where no two networks differ in the property alone, a line joins all of a computation, and a note says
so. `attempt` follows each student over its epochs.

Columns of the answer, a row a student on a line, or a student × epoch for `attempt`:

- `line`: what the students of one line have in common, by the name of the first of them
- `value`: of what was swept; `name`: the student
- the metric, mean over replicates at the last epoch; `low`, `high`, `spread`: its range and standard deviation over the
  replicates; `replicates`
- `seconds`: training time (all epochs, or those up to this one)
- `best`: the best of its line

`width` is the most features, channels or planes of a hidden layer. A difference is called more than noise where p is
below 0.05. On one line that is the test of Games and Howell (1976) over the replicates: Student's t with Welch's
degrees of freedom, corrected for choosing the best of all values of the line, and that line of all; with one replicate
each nothing is said of it. Over all lines it is Student's t of the differences between two values on each line that has
both, corrected likewise, of values that share five lines; a line counts once, with the mean of its replicates.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from netpick import exam
from netpick.analysis import _lines, _own_best
from netpick.core.recipe import SWEEPABLE
from netpick.exam import Answer, NetpickError, Run, SpecError, listed, suggest, theme
from netpick.networks.paper.spec import NetworkSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = ("accuracy", "loss", "train_loss")
CALLED = {"loss": "loss_function"}
"""Keys of the recipe that are called otherwise here: `loss` is a metric too."""
PROPERTIES = ("depth", "width", "params", "macs", "memory", "ops", "activation", "computation")
CONTROLS = {"depth": ("width",), "width": ("depth",), "activation": ("levels", "width"), "computation": ("depth",)}
"""What else has to be equal on a line, besides family and recipe. Of activations some have parameters, which count for
`depth`; `levels` are the layers that have a size."""
LINES, TICKS = 8, 12
"""Lines that are drawn, and values that have a tick each, at most."""


def ask(
    run: Run, *, by: str | None = None, metric: str = "accuracy", split: str | None = None, replicates: bool = False
) -> Answer:
    """Compare the values of what was swept.

    Parameters
    ----------
    by : str
        What was swept: a key of the recipe, an argument of the optimizer, depth, width, params, macs, memory, ops,
        activation, computation, or attempt. Without it, the first key of the recipe that was swept, else attempt.
    metric : str
        accuracy, loss or train_loss.
    split : str
        Samples that are asked about: validation where the run has it, else test.
    replicates : bool
        Leave out students with one replicate only.
    """
    exam.check_choice("metric", metric, METRICS)
    by = None if by is None else CALLED.get(by, by)
    split = exam.need_split(run, exam.choosing_split(run, split))
    compared_on, split = exam.said_of_networks(run, split), exam.comparing_split(run, split)
    frame = students(run, metric, split)
    if replicates:
        frame = frame[frame["replicates"] > 1]
    choices = [key for key in swept(frame) if len(lines(frame, key, metric))]
    said = ""
    if by is None:
        by = next((key for key in choices if key not in PROPERTIES), None)
        if by is None:
            by = "attempt"  # networks of one depth differ in all else, but every network has its epochs
            said = f"nothing of the recipe is swept in this run; --by can be {listed([*choices, 'attempt'], 30)}"
    if by == "attempt":
        table = by_attempt(run, frame, metric, split)
    else:
        if by not in choices and by not in frame and by not in PROPERTIES:
            raise NetpickError(
                f"'{by}' is not swept in {run.path}{suggest(by, choices)}: give {listed([*choices, 'attempt'], 30)}"
            )
        table = lines(frame, by, metric)
    if not len(table):
        raise NetpickError(
            f"no two students of {run.path} differ in {by} alone: give {listed([*choices, 'attempt'], 30)}"
        )
    if table.attrs.get("mixed"):
        said = f"no two networks differ in {by} alone: a line joins all of a computation, which differ in more"
    top = str(table.loc[table["best"], "name"].iloc[0])
    everyone = exam.students(run, split=split)
    label = exam.label_of(run, everyone, top, split) if metric == "accuracy" else ""
    text = _lines.sentence(table, by, metric, split, label)
    title = _lines.sentence(table, by, metric, split).split(" (one replicate")[0].split(". ")[0]
    own = unsaid = ""
    if metric == "accuracy" and by in _keys(frame) and table["line"].nunique() > 1:
        if exam.choosing_split(run) == "validation":
            own = _own_best.sentence(run, lines(students(run, metric, "validation"), by, metric), by)
        else:
            unsaid = (
                f"who is best at its own best {by} is chosen on other samples than it is judged on: for that make a "
                "run with netpick generate ... --set recipe.validation=0.1"
            )
    if said:
        count = min(table["line"].nunique(), LINES)
        title = f"Nothing was swept: the best {count} of {exam.counted_word(len(frame), 'student')}, by attempt"
    computations = dict(zip(run.networks["name"], run.networks["computation"], strict=True))
    return Answer(
        table,
        text + own,
        lambda: _draw(table, by, metric, split, computations, title),
        exam.notes(run, said, unsaid, compared_on, exam.said_of_luck(run, split)),
        shares=("accuracy", "low", "high", "spread") if metric == "accuracy" else (),
        columns=("name", "value", metric, "seconds", "best", "low", "high"),
        suggested=top if by != "attempt" else "",
    )


def students(run: Run, metric: str, split: str) -> pd.DataFrame:
    """Return a row a student: the metric at its last epoch, range, time, recipe and properties."""
    keys = ["network", "replicate"]
    last = exam.last_evaluations(run, split).set_index(keys)
    last["seconds"] = exam.evaluations(run, split).groupby(keys)["train_seconds"].sum(min_count=1)
    frame = _over_replicates(last.groupby("network"), metric)
    own, layers = [], exam.layers(run)
    for row in run.networks.to_dict("records"):
        recipe = run.recipe_of(row["name"])
        args = recipe.pop("optimizer_args", {})
        own.append({
            "name": row["name"], "design": row["layers"], "levels": len(sizes := _sizes(layers[row["name"]])),
            "width": max(sizes[:-1], default=np.nan),
            **{k: row[k] for k in PROPERTIES if k in row},
            **{CALLED.get(k, k): _plain(recipe.get(k)) for k in SWEEPABLE}, **args,
        })  # fmt: skip
    there = pd.DataFrame(own).set_index("name")
    if any(there[key].map(str).nunique() > 1 for key in _keys(there)):  # else none is compared by it, and it takes long
        there["design"] = [_design(row) for row in run.networks.to_dict("records")]
    return (
        there.loc[[name for name in there.index if name in frame.index]].join(frame).rename_axis("name").reset_index()
    )


def _plain(value: Any) -> Any:
    """Return a value of a recipe as one that can be sorted: a table in words."""
    if not isinstance(value, dict):
        return value
    return ", ".join(key if one is True else f"{key} {one:g}" for key, one in value.items()) or "none"


def _over_replicates(groups: Any, metric: str) -> pd.DataFrame:
    """Return the metric over replicates, its range and spread, and the mean of `seconds`."""
    values = groups[metric]
    return pd.DataFrame({
        metric: values.mean().round(exam.DIGITS), "low": values.min(), "high": values.max(), "spread": values.std(),
        "replicates": groups.size(), "seconds": groups["seconds"].mean(),
    })  # fmt: skip


def _design(row: dict[str, Any]) -> str:
    """Return what two spellings of one network have in common."""
    try:
        return NetworkSpec.from_dict(row).layers_hash
    except SpecError:  # an operation of another version of netpick
        return str(row["layers"])


def _sizes(layers: list[dict[str, Any]]) -> list[float]:
    """Return the features, channels or planes of each layer that has such."""
    keys = ("out_features", "out_channels", "planes")
    return [layer[key] for layer in layers for key in keys if isinstance(layer.get(key), int)]


def _columns(metric: str) -> list[str]:
    return ["line", "value", "name", metric, "low", "high", "spread", "replicates", "seconds", "best"]


def _keys(frame: pd.DataFrame) -> list[str]:
    """Return the columns that are of a recipe."""
    known = ("name", "design", "levels", "low", "high", "spread", "replicates", "seconds", *METRICS, *PROPERTIES)
    return [column for column in frame if column not in known]


def swept(frame: pd.DataFrame) -> list[str]:
    """Return what students differ in: keys of the recipe first."""
    many = [key for key in _keys(frame) if frame[key].map(str).nunique() > 1]
    return [*many, *(key for key in PROPERTIES if frame[key].nunique() > 1)]


def lines(frame: pd.DataFrame, by: str, metric: str) -> pd.DataFrame:
    """Return the students that differ in `by` alone, a line a group of them."""
    same = [key for key in _keys(frame) if key != by]
    if by in PROPERTIES:
        same += [key for key in ("computation", "activation") if key != by] + list(CONTROLS.get(by, ()))
    else:
        same.append("design")
    words = pd.Series(["|".join(map(str, row)) for row in frame[same].itertuples(index=False)], frame.index)
    several = frame[by].map(str).where(frame[by].notna()).groupby(words).transform("nunique") > 1
    mixed = not several.any() and by in PROPERTIES
    if mixed:  # networks drawn at random have no twins: a line a computation
        words = frame["computation"]
        several = frame[by].notna() & (frame[by].nunique() > 1)
    rows = frame[several & frame[by].notna()].copy()
    if not len(rows):
        return rows
    rows["line"] = rows.groupby(words[rows.index])["name"].transform("first")
    rows["value"] = rows[by]
    rows["best"] = rows[metric] == rows.groupby("line")[metric].transform("max" if metric == "accuracy" else "min")
    groups = rows.groupby("line")
    up = metric == "accuracy"
    rows = rows.assign(size=groups["name"].transform("size"), top=groups[metric].transform("max" if up else "min"))
    order = {"size": False, "top": not up, "line": True, "value": True}  # the longest line first, of equals the best
    rows = rows.sort_values(list(order), ascending=list(order.values()), kind="stable")
    table = rows[_columns(metric)].reset_index(drop=True)
    table.attrs["mixed"] = mixed
    return table


def by_attempt(run: Run, frame: pd.DataFrame, metric: str, split: str) -> pd.DataFrame:
    """Return a row a student × epoch, of the best students."""
    up = metric == "accuracy"
    order = {metric: not up, "macs": True, "params": True, "name": True}
    chosen = frame.sort_values(list(order), ascending=list(order.values()))["name"].tolist()
    rows = exam.evaluations(run, split)
    rows = rows[rows["network"].isin(chosen)].sort_values(["network", "replicate", "epoch"])
    rows["seconds"] = rows.groupby(["network", "replicate"])["train_seconds"].cumsum()
    out = _over_replicates(rows.groupby(["network", "epoch"]), metric).reset_index()
    out = out.rename(columns={"network": "line", "epoch": "value"}).assign(name=lambda f: f["line"])
    length = out.groupby("line")["value"].transform("max")
    place = out["line"].map({name: i for i, name in enumerate(chosen)})
    out["best"] = out[metric] == out.groupby("line")[metric].transform("max" if up else "min")
    out = out.assign(length=length, place=place).sort_values(
        ["length", "place", "value"], ascending=[False, True, True]
    )
    return out[_columns(metric)].reset_index(drop=True)


def _label(line: str, by: str) -> str:
    """Return the name of a line without what differs on it, which stands on the axis."""
    return re.sub(rf"\.{re.escape(by)}-[^.]*(\.\d+)?", "", line)


def _draw(table: pd.DataFrame, by: str, metric: str, split: str, computations: dict[str, str], title: str) -> Figure:
    from matplotlib.figure import Figure

    fig = Figure(figsize=(10, 7.2))
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    numbers = pd.api.types.is_numeric_dtype(table["value"]) and table["value"].dtype != bool
    names = table["line"].drop_duplicates().tolist()
    ticks = list(dict.fromkeys(table["value"].astype(str)))
    styles = theme.network_styles({name: computations[name] for name in names[:LINES]})
    ends = []
    for i, name in enumerate(styles):
        rows = table[table["line"] == name]
        aside = 0.0 if numbers else 0.5 * (i / max(len(styles) - 1, 1) - 0.5)  # else they cover each other
        x = rows["value"].astype(float) if numbers else rows["value"].astype(str).map(ticks.index) + aside
        style = styles[name] if numbers else {**styles[name], "linestyle": "none"}
        above.plot(x, rows[metric], label=theme.plain(_label(name, by)), **style)
        above.vlines(x, rows["low"], rows["high"], color=style["color"], linewidth=1.5)
        below.plot(x, rows["seconds"], **style)
        ends.append((float(rows[metric].iloc[-1]), _label(name, by), style["color"]))
    _value_axis(below, table["value"], ticks, numbers)
    seconds = table.loc[table["line"].isin(styles), "seconds"]
    if theme.spans_decades(seconds):
        below.set_yscale("log")
        theme.log_axis(below.yaxis, seconds.min(), seconds.max())
    if metric == "accuracy":
        theme.percent_axis(above.yaxis)
    above.set(ylabel=f"{metric} ({split})")
    below.set(ylabel="training time (s)", xlabel=by)
    if numbers:
        theme.label_ends(above, ends)
    elif len(names) > 1:
        theme.legend_below(fig, above, columns=4, fontsize=9)
    more = f"{len(names) - LINES} more lines are in the table" if len(names) > LINES else ""
    return theme.finish(fig, title, more)


def _value_axis(ax: Axes, values: pd.Series, ticks: list[str], numbers: bool) -> None:
    """Give the axis of what was swept a tick for each value, where these are few; whole numbers stay whole."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    if not numbers:
        ax.set_xticks(range(len(ticks)), [theme.plain(tick) for tick in ticks])
        return
    known = sorted(values.unique())
    if theme.spans_decades(values):
        ax.set_xscale("log")
    if len(known) <= TICKS:
        rotation = 30 if len(known) > TICKS // 2 and theme.spans_decades(values) else 0
        ax.set_xticks(known, [f"{value:g}" for value in known], rotation=rotation)
        ax.xaxis.set_minor_locator(NullLocator())
    elif not theme.spans_decades(values) and (values % 1 == 0).all():
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
