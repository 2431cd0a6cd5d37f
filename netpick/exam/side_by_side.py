"""One question asked of two runs: both tables in one, joined row by row, and a sentence on what differs.

Which columns name a row, and which number is compared, `netpick.analysis` says of each question. The mean difference
has an interval only where nothing was chosen by looking: where both tables have all networks, or samples, that the two
runs share, by the same labels. A list of those that stand out has none, since in either run others can by luck.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick.core.errors import NetpickError, listed
from netpick.core.words import counted_word, figures, points, short
from netpick.exam import theme
from netpick.exam.answer import Answer
from netpick.exam.ballots import first_replicates
from netpick.exam.joined import RELABELLED, Sides
from netpick.exam.significance import by_students_t, verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS, SAMPLES = ("name", "network"), ("sample",)
"""Columns that name a network, or a sample."""

CONTEXT = ("computation", "activation", "class_name", "label_name")
"""Columns that say more of what a row is."""

LEAST = 5
"""Rows that an interval is worked out from, at least."""


@dataclass(frozen=True)
class Compared:
    """The rows of two tables joined: `value`, `before`, `difference`, `found` (in both, here alone, there alone).

    `complete` says whether both have all that could be joined, `relabelled` whether by other labels.
    """

    frame: pd.DataFrame
    keys: tuple[str, ...]
    value: str
    share: bool
    complete: bool
    relabelled: bool

    @property
    def both(self) -> pd.DataFrame:
        """Return the rows that both tables have."""
        return self.frame[self.frame["found"] == "both"]

    @property
    def unit(self) -> str:
        """Return what a row is."""
        if len(self.keys) == 1 and self.keys[0] in (*NETWORKS, *SAMPLES):
            return "network" if self.keys[0] in NETWORKS else "sample"
        return "row"


def compared_answer(name: str, here: Answer, there: Answer, sides: Sides, split: str) -> Answer:
    """Join what a question answered of two runs.

    Parameters
    ----------
    name : of the question
    here, there : its answers
    sides : the runs
    split : that samples are of

    Raises
    ------
    NetpickError
        The question has nothing to compare, or the samples are others.
    """
    keys, value = _columns(name, here.table, there.table)
    if set(keys) & set(SAMPLES) and not sides.same_samples(split):
        raise NetpickError(
            f"{sides.other.path} has other {split} samples than {sides.run.path}: '{name}' is about those"
        )
    joined = _joined(here.table, there.table, keys, value, sides, split, value in here.shares)
    names = (str(sides.run.path), str(sides.other.path))
    text = f"{_sentence(joined, *names)}\n{names[0]}: {here.text}\n{names[1]}: {there.text}"
    notes = dict(zip(names, (here.note, there.note), strict=True))
    note = here.note if here.note == there.note else "; ".join(f"{of}: {note}" for of, note in notes.items() if note)
    shares = (value, "before", "difference") if joined.share else ()
    return Answer(
        joined.frame, text, lambda: _draw(joined, name, *names), note, shares=shares,
        columns=(*keys, value, "before", "difference", "found"),
    )  # fmt: skip


def need_comparable(name: str) -> None:
    """Raise NetpickError for a question that does not say what is to be compared."""
    known = importlib.import_module("netpick.analysis").COMPARED
    if name not in known:
        raise NetpickError(
            f"question '{name}' is of one run, and has no rows that two runs share: --against goes with changes, "
            f"{listed(known, 40)}"
        )


def _columns(name: str, here: pd.DataFrame, there: pd.DataFrame) -> tuple[tuple[str, ...], str]:
    """Return the columns that name a row, and the one that is compared: those that both tables have."""
    ways: tuple[tuple[tuple[str, ...], str], ...] = importlib.import_module("netpick.analysis").COMPARED[name]
    for keys, value in ways:
        if all({*keys, value} <= {*table.columns} for table in (here, there)):
            return keys, value
    raise NetpickError(f"question '{name}' has no rows to compare with these options: leave them out")


def _joined(
    here: pd.DataFrame, there: pd.DataFrame, keys: tuple[str, ...], value: str, sides: Sides, split: str, share: bool
) -> Compared:
    named = [key for key in keys if key in NETWORKS]
    asked = [first_replicates(one, split) for one in (sides.run, sides.other)] if named else []
    shared = sides.networks(*asked)
    back = {there: here for here, there in shared.items()}
    context = [column for column in CONTEXT if column in here and column in there and column not in keys]
    there = there[[*keys, *context, value]].rename(columns={value: "before"})
    for key in named:  # by the names that this run has for them
        there = there.assign(**{key: [back.get(name, name) for name in there[key]]})
    both = here[[*keys, *context, value]].merge(
        there, "outer", on=list(keys), indicator="found", sort=False, suffixes=("", "_there")
    )
    for column in context:
        both[column] = both[column].where(both["found"] != "right_only", both.pop(f"{column}_there"))
    both["difference"] = both[value].astype(float) - both["before"].astype(float)
    both["found"] = (
        both["found"].map({"both": "both", "left_only": "here alone", "right_only": "there alone"}).astype(str)
    )
    whole = set(shared) if named else set(range(len(sides.run.labels(split)))) if keys == SAMPLES else set()
    complete = len(keys) == 1 and bool(whole) and all(whole <= set(side[keys[0]]) for side in (here, there))
    if len(keys) == 1 and keys[0] in (*NETWORKS, *SAMPLES):
        both = both.sort_values("difference", ascending=False, kind="stable", na_position="last")
    columns = [*keys, *context, value, "before", "difference", "found"]
    relabelled = sides.same_samples(split) and sides.other_labels(split) > 0
    return Compared(both[columns].reset_index(drop=True), keys, value, share, complete, relabelled)


def _sentence(joined: Compared, here: str, there: str) -> str:
    both, unit = joined.both, joined.unit
    difference = both["difference"].dropna()
    alone = [(joined.frame["found"] == where).sum() for where in ("here alone", "there alone")]
    said = f"{counted_word(len(both), unit)} {'is' if len(both) == 1 else 'are'} in both answers"
    if any(alone):
        said += f", {alone[0]} in that of {here} alone, {alone[1]} in that of {there} alone"
    if not len(difference):
        return f"{said}."
    more, less = int((difference > 0).sum()), int((difference < 0).sum())
    said += f". `{joined.value}` is higher in {here} than in {there} for {more} of these, and lower for {less}"
    mean = _mean(joined, difference)
    return f"{said}{mean}."


def _mean(joined: Compared, difference: pd.Series) -> str:
    """Say the mean difference with its interval, where nothing was chosen by looking."""
    if joined.unit == "row":
        return ""
    if not joined.complete:
        return f"; which {joined.unit}s are in an answer was chosen by looking, so that no mean is said"
    n = len(difference)
    if joined.relabelled:
        return f"; {RELABELLED}"
    if n < LEAST:
        return ""
    found = by_students_t(float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(n)), n - 1)
    sign = "" if found.difference < 0 else "+"
    if joined.share:
        mean = f"{sign}{points(found.difference)} (95 % interval {100 * found.low:+.2f} to {100 * found.high:+.2f})"
    else:
        mean = (
            f"{sign}{figures(found.difference, 3)} (95 % interval {figures(found.low, 3)} to {figures(found.high, 3)})"
        )
    return f"; the mean difference is {mean} over {joined.unit}s such as these, and {verdict(found.p)}"


def _draw(joined: Compared, name: str, here: str, there: str) -> Figure:
    from matplotlib.figure import Figure

    both = joined.both
    x, y = (both[column].astype(float) for column in ("before", joined.value))
    fig = Figure(figsize=(6.5, 6.0))
    ax = fig.subplots()
    ax.plot(x, y, "o", color=theme.RIGHT, ms=5, mec=theme.INK, mew=0.3, alpha=0.7)
    known = [value for value in (*x, *y) if np.isfinite(value)]
    ends = [min(known), max(known)] if known else [0, 1]
    ax.plot(ends, ends, color=theme.INK, linewidth=1, linestyle="--", zorder=0)
    if joined.share:
        theme.percent_axis(ax.xaxis)
        theme.percent_axis(ax.yaxis)
    ax.set(xlabel=f"{joined.value} in {theme.plain(short(there, 40))}", ylabel=f"in {theme.plain(short(here, 40))}")
    more = int((both["difference"] > 0).sum())
    return theme.finish(fig, f"{name}: {more} of {counted_word(len(both), joined.unit)} above the line have more now")
