"""Examining a new classifier: placed among the networks of a run, by its answers to a few samples of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from netpick.core.errors import NetpickError
from netpick.core.words import counted_word, percent
from netpick.exam import ballots, marks, short_exam, theme
from netpick.exam.answer import Answer
from netpick.exam.checks import notes
from netpick.exam.drawn import MANY, some_of
from netpick.exam.short_exam import LEVEL, LeftOut
from netpick.store.reader import Reader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 20
"""Networks that a calibration is made of at least: each left-out fold then has four."""

COLUMNS = ("name", "answered", "accuracy", "low", "high", "rank", "percentile", "next")


def calibrating(
    run: Reader,
    everyone: bool = False,
    good: float = marks.GOOD,
    gold: float = marks.GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the students that samples are calibrated by, whether each is right on each sample, and the labels."""
    asked = marks.selected(run, everyone, good, gold, quantile, split)
    names, predicted, labels = ballots.final(run, asked["name"], split)
    if len(names) < FEWEST:
        raise NetpickError(
            f"a short exam wants {FEWEST} networks to calibrate samples by, and {len(names)} are asked: give a lower "
            "`good`, or ask `everyone`"
        )
    frame = asked.set_index("name").loc[names].reset_index()
    frame.attrs.update(asked.attrs)
    return frame, predicted == labels, labels


def families(frame: pd.DataFrame) -> list[str]:
    """Return what is left out together: computations, or with their activations where there are few computations."""
    many = frame["computation"].nunique() >= short_exam.FOLDS
    columns = ["computation"] if many else ["computation", "activation"]
    return frame[columns].agg(" ".join, axis=1).tolist()


def examine(
    run: Reader,
    names: Sequence[str] = ("a new classifier",),
    items: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
    everyone: bool = False,
) -> Answer:
    """Place classifiers that answered some samples of a run.

    Parameters
    ----------
    run : Run
    names : of the classifiers
    items : numbers of the samples that they answered; None where they answered none yet
    predicted : (classifiers, items), the classes that they answered
    everyone : calibrate by all students, not by the good ones alone

    Returns
    -------
    Answer
        A row a classifier: name, answered, right (of these), ability and error (as in the question `ability`), accuracy
        (on all samples, estimated), low and high (interval that covers 90 % of networks whose family was left out of
        the calibration), rank, rank_low and rank_high (place that it would have in the run), percentile, and next: the
        sample that would tell most.

    Raises
    ------
    NetpickError
        Too few networks to calibrate by; samples that the run does not have.
    """
    frame, right, labels = calibrating(run, everyone)
    items = np.empty(0, int) if items is None else items
    predicted = np.empty((len(names), 0), int) if predicted is None else predicted
    if len(items) and not 0 <= items.min() <= items.max() < len(labels):
        raise NetpickError(f"{run.path} has samples 0 to {len(labels) - 1}: give answers to these")
    some = some_of(frame, MANY)
    folds, apart = short_exam.dealt(families(some))
    model = run.once(("short model", everyone), lambda: short_exam.calibrated(right[some.index]))
    given = predicted == labels[items]
    found = short_exam.placed(model, items, given)
    left = run.once(("short left out", everyone), lambda: LeftOut.of(right[some.index], folds))
    off = left.off(left.placed([items] * len(left.models)))
    reach = left.factor(off) * found.spread
    counted, wrong = given.sum(axis=1) / len(labels), (~given).sum(axis=1) / len(labels)
    low, high = np.clip(found.accuracy - reach, counted, None), np.clip(found.accuracy + reach, None, 1 - wrong)
    marked = right.mean(axis=1)
    table = pd.DataFrame(
        {
            "name": list(names), "answered": len(items), "right": given.mean(axis=1) if len(items) else np.nan,
            "ability": found.ability, "error": found.error, "accuracy": found.accuracy, "low": low, "high": high,
            "rank": [int((marked > a).sum()) + 1 for a in found.accuracy],
            "rank_low": [int((marked > a).sum()) + 1 for a in high],
            "rank_high": [int((marked > a).sum()) + 1 for a in low],
            "percentile": [100 * float((marked < a).mean()) for a in found.accuracy],
            "next": [short_exam.next_item(model, items, one) for one in given],
        }
    )  # fmt: skip
    return Answer(
        table, _text(table, len(frame), len(some), len(labels), left.coverage(off), apart),
        lambda: _draw(table, marked), notes(run, first=True), shares=("right", "accuracy", "low", "high"),
        columns=COLUMNS,
    )  # fmt: skip


def _text(table: pd.DataFrame, of: int, drawn: int, samples: int, covered: float, apart: bool) -> str:
    said = [_place(row, of, samples) for row in table.head(3).to_dict("records")]
    who = "of families that played no part in the calibration" if apart else "that played no part in the calibration"
    if drawn < of:
        said.append(f"Samples are calibrated by {drawn:,} of these, drawn, a share of each family.")
    return f"{' '.join(said)} Such intervals cover {percent(covered, 1)} of networks {who}."


def _place(row: Mapping[Any, Any], of: int, samples: int) -> str:
    reach = f"{percent(LEVEL)} interval {percent(row['low'])} to {percent(row['high'])}"
    answers = counted_word(row["answered"], "answer")
    return (
        f"{row['name']} has an estimated {percent(row['accuracy'])} of all {samples} samples right ({reach}), from "
        f"{answers}: place {row['rank']} among {of} networks ({row['rank_low']} to {row['rank_high']}, percentile "
        f"{row['percentile']:.0f})."
    )


def _draw(table: pd.DataFrame, marked: np.ndarray) -> Figure:
    """Draw the accuracies of the run's networks, and above them the new classifiers with their intervals."""
    from matplotlib.figure import Figure

    shown = table.sort_values("accuracy")
    fig = Figure(figsize=(theme.WIDTH, 3 + 0.35 * len(shown)), layout="constrained")
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=(0.5 + 0.35 * len(shown), 2))
    places = np.arange(len(shown))
    above.hlines(places, shown["low"], shown["high"], color=theme.INK, linewidth=2)
    above.plot(shown["accuracy"], places, "o", color=theme.WRONG)
    above.set_yticks(places, [theme.plain(name) for name in shown["name"]])
    above.set_ylim(-0.7, len(shown) - 0.3)
    below.hist(marked, bins=40, color=theme.OTHER_NETWORKS)
    below.set(xlabel="accuracy on all samples", ylabel="networks of the run")
    theme.percent_axis(below.xaxis)
    name, rank = table.sort_values("rank")[["name", "rank"]].iloc[0]
    return theme.finish(fig, f"{name} would come in place {rank} of {len(marked)}")
