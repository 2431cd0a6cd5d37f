"""How does one student compare with another, in cost and in score?

The best student against `Basic`, unless two are named. Where there is no `Basic` (or it is the best), the other is the
student with the fewest parameters (the second best).

Columns of the answer, a row a measure:

- `measure`, `unit`: params, memory, ops, depth, macs (see the questions of cost), seconds (training, all epochs; a note
  says how they were taken), step_seconds, latency and throughput where `netpick time` has measured them,
  seconds a point (training time for each percent of accuracy), accuracy and error (last attempt), both, only the first,
  only the second and neither right (samples; of the first replicate each)
- two columns with the names of the two students: their values
- `ratio`: the first's value divided by the second's; missing where the second has 0
- `difference`: the first's minus the second's

Whether the difference of accuracies is chance is asked of two students that were named by McNemar's test in its mid-p
version (Fagerland, Lydersen and Laake 2013), on the samples that one of them alone has right: it speaks of these two
trainings, not of two designs. Where both have several replicates, one test over all of them and the samples speaks of
the designs. The best of all was chosen by looking at the answers, named or not: so the best is chosen anew on one half
of the samples and judged on the other, a hundred times (Nadeau and Bengio 2003), and that difference is what is tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, NetpickError, Run, percent, points, short, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = {
    "params": "parameters", "memory": "elements", "ops": "nodes", "depth": "layers", "macs": "multiply-adds",
    "seconds": "s",
}  # fmt: skip
TIMED = {"step_seconds": "s", "latency": "s", "throughput": "inputs/s"}


def ask(run: Run, *, first: str | None = None, second: str | None = None, split: str = "test") -> Answer:
    """Compare two students.

    Parameters
    ----------
    first : str
        A network; the best student unless named.
    second : str
        Another; `Basic` unless named.
    """
    notes = [exam.said_of_networks(run, split), exam.times(run)]
    split = exam.comparing_split(run, split)
    frame = exam.students(run, split=split)
    a = exam.need_network(run, first) if first else exam.best(_without(frame, second))
    b = exam.need_network(run, second) if second else _other(frame, a, notes)
    if a == b:
        raise NetpickError(f"first and second are both '{a}': name two networks")
    names, predicted, labels = exam.final(run, [a, b], split)
    if len(names) < 2:
        raise NetpickError(f"the answers of {a} or {b} can't be read: name another network")
    right = exam.marked(predicted, labels)
    both = right[:, ~np.isnan(right).any(axis=0)] > 0
    if (frame.set_index("name").loc[[a, b], "replicates"] > 1).any():
        notes.append("samples are compared between the first replicates")
    table = compared(frame, a, b, both)
    # Where the best is Basic, whom it is compared with came out best of the others.
    looked = b if first is None and second is None and a == "Basic" else None
    pair = exam.compared(run, a, b, frame, split, looked=looked)
    notes.append(pair.note)

    value = table.set_index("measure")
    times = {measure: _times(value.loc[measure, "ratio"]) for measure in MEASURES}
    mine, its = value.loc["accuracy", a], value.loc["accuracy", b]
    more = "as much" if mine == its else f"{points(abs(mine - its))} {'more' if mine > its else 'less'}"
    costs = (
        f"{a} has {times['params']} the parameters, holds {times['memory']} the memory, takes {times['ops']} the steps "
        f"and {times['macs']} the multiply-accumulates, and studies {times['seconds']} as long. "
    )
    if value.loc[[*MEASURES], [a, b]].isna().all(axis=None):
        costs = "What they cost is not known. "
    alone = (
        f"Of {both.shape[1]:,} samples {value.loc['only the first right', a]:,.0f} are right for {a} alone, "
        f"{value.loc['only the second right', b]:,.0f} for {b} alone."
    )
    if not both.size:
        alone = "They left out different folds, so that there is no sample that both answered."
    text = f"{a} has {percent(mine)} right, {b} {percent(its)}: {pair.said(more)}. {costs}{alone}"
    title = f"{a} against {b}: {more} right"
    if value.loc["macs", "ratio"] == value.loc["macs", "ratio"]:
        title += f", for {times['macs']} the multiply-accumulates"
    by_class = _by_class(right, labels, run.classes)
    computation = frame.set_index("name")["computation"]
    styles = theme.network_styles({name: computation[name] for name in (a, b)})
    return Answer(
        table, text, lambda: _draw(table, by_class, styles, title, pair.label), exam.notes(run, *notes),
        shares=(a, b, "difference"), columns=("measure", a, b, "ratio", "unit", "difference"),
    )  # fmt: skip


def _without(frame: pd.DataFrame, name: str | None) -> pd.DataFrame:
    rest = frame[frame["name"] != name]
    if not len(rest):
        raise NetpickError("there is one student only: nobody to compare with")
    return rest


def _other(frame: pd.DataFrame, a: str, notes: list[str]) -> str:
    """Choose whom to compare with: `Basic`, or the next to it."""
    rest = _without(frame, a)
    if (basic := exam.basic(rest)) is not None:
        return basic
    if a == "Basic":
        return exam.best(rest)
    fewest = "the student with the fewest parameters" if rest["params"].notna().any() else "the first by name"
    notes.append(f"there is no Basic: {fewest} stands for it")
    return str(rest.sort_values(["params", "name"])["name"].iloc[0])


def compared(frame: pd.DataFrame, a: str, b: str, right: np.ndarray) -> pd.DataFrame:
    """Return the table; `right` is (2, samples) bool, of `a` and `b`, of the samples that both answered."""
    both = frame.set_index("name").loc[[a, b]]
    measures = MEASURES | {name: unit for name, unit in TIMED.items() if name in both and both[name].notna().all()}
    rows = [(measure, unit, *both[measure].astype(float)) for measure, unit in measures.items()]
    rows.append(("seconds a point", "s", *(both["seconds"] / (100 * both["accuracy"]).replace(0, np.nan))))
    rows.append(("accuracy", "fraction", *both["accuracy"]))
    rows.append(("error", "fraction", *(1 - both["accuracy"])))
    mine, its = right
    for measure, count in (
        ("both right", mine & its),
        ("only the first right", mine & ~its),
        ("only the second right", its & ~mine),
        ("neither right", ~mine & ~its),
    ):
        rows.append((measure, "samples", *[float(count.sum())] * 2))
    table = pd.DataFrame(rows, columns=["measure", "unit", a, b])
    counts = table["unit"] == "samples"
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(table[b] != 0, table[a] / table[b].where(table[b] != 0), np.nan)
    return table.assign(ratio=np.where(counts, np.nan, ratio), difference=np.where(counts, np.nan, table[a] - table[b]))


def _times(ratio: float) -> str:
    if ratio != ratio:
        return "an unknown multiple of"
    return f"{ratio:,.3g} times" if ratio < 1000 else f"{ratio:,.0f} times"


def _by_class(right: np.ndarray, labels: np.ndarray, class_names: list[str]) -> pd.DataFrame:
    rows = [(name, *exam.rates(right[:, mine], 1)) for c, name in enumerate(class_names) if (mine := labels == c).any()]
    return pd.DataFrame(rows, columns=["class_name", "first", "second"])


def _draw(
    table: pd.DataFrame, by_class: pd.DataFrame, styles: dict[str, dict[str, Any]], title: str, label: str
) -> Figure:
    from matplotlib.figure import Figure

    fig = Figure(figsize=(10, max(5.4, 1.6 + 0.3 * len(by_class))))
    left, right = fig.subplots(1, 2)
    _ratios(left, table, *styles)
    _classes(right, by_class, styles)
    return theme.finish(fig, title, label)


def _ratios(ax: Axes, table: pd.DataFrame, a: str, b: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    rows = table[table["measure"].isin([*MEASURES, "error"]) & (table["ratio"] > 0)].iloc[::-1]
    places = np.arange(len(rows))
    ax.barh(places, rows["ratio"] - 1, left=1, color=np.where(rows["ratio"] > 1, theme.WRONG, theme.RIGHT), height=0.62)
    low, high = min(1.0, rows["ratio"].min()), max(1.0, rows["ratio"].max())
    ax.set_xscale("log")
    ax.set_xlim(low / (high / low) ** 0.22 / 1.1, high * (high / low) ** 0.22 * 1.1)
    for y, ratio in zip(places, rows["ratio"], strict=True):
        ax.annotate(
            f"{ratio:,.3g}×" if ratio < 1000 else f"{ratio:,.0f}×", (ratio, y), fontsize=9.5, va="center",
            xytext=(4 if ratio >= 1 else -4, 0), textcoords="offset points", ha="left" if ratio >= 1 else "right",
        )  # fmt: skip
    ax.axvline(1, color="#222222", linewidth=1.2)
    ax.set_yticks(
        places,
        [
            f"{m} ({u})" if m not in ("error", "params") else m
            for m, u in zip(rows["measure"], rows["unit"], strict=True)
        ],
    )
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.4g}×"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("multiple (log scale; less is better)")
    ax.set_title(theme.plain(f"{a}\nas a multiple of {b}"), loc="left", fontsize=10)
    ax.grid(axis="y", visible=False)


def _classes(ax: Axes, by_class: pd.DataFrame, styles: dict[str, dict[str, Any]]) -> None:

    y = np.arange(len(by_class))[::-1]
    ax.hlines(y, by_class["first"], by_class["second"], color="#AAAAAA", linewidth=2.5, zorder=1)
    for (name, style), column in zip(styles.items(), ("first", "second"), strict=True):
        own = {**style, "linestyle": "none"}
        ax.plot(by_class[column], y, **own, markersize=8, label=theme.plain(name), zorder=3)
    ax.set_yticks(y, [theme.plain(short(c, 16)) for c in by_class["class_name"]])
    ax.set(xlabel="accuracy in the class, last attempt", ylabel="class")
    ax.set_title("class by class", loc="left")
    ax.legend(loc="upper right", bbox_to_anchor=(1, -0.16), frameon=False, fontsize=9.5)
    theme.percent_axis(ax.xaxis)
