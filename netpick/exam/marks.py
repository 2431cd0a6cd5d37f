"""Who the students are and what their marks are: frames in, frames out.

A *student* is a network with at least one training that is `done`; an *attempt* is an epoch. Numbers of a network's
replicates are averaged; single answers (predictions, scores) are those of its first replicate that is done. What was
read is kept for as long as the `Run` is, so that many questions read once. No question is answered here, nothing
is drawn, and no torch is loaded.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from netpick.core.errors import NetpickError
from netpick.core.result import LEFT_OUT
from netpick.core.words import counted_word, percent
from netpick.exam import answered
from netpick.exam.checks import check_fraction, done, need_split
from netpick.exam.timings import TIMED, alone, timed
from netpick.store.reader import Reader
from netpick.store.samples import ALL

GOOD, GOLD = 0.80, 0.98
"""The study's thresholds: good students reach the first in every attempt, gold stars pass the second in the last.

Where `GOOD` leaves fewer than a third of the students, or fewer than `ENOUGH` of a computation, another takes over: see
`students`.
"""

ENOUGH = 5
"""Students that a ranking or a box is made of at least."""

TINY = 1e-9
"""Slack in comparing accuracies with thresholds: a mean over replicates may be off by a rounding."""

DIGITS = 12
"""Of a mean over replicates: the last bits of a sum would tell networks apart that are equal."""


def evaluations(run: Reader, split: str = "test") -> pd.DataFrame:
    """Return the rows of `epochs` of the trainings that are done, `network` as plain text; don't change them.

    Of `left_out` accuracies are equated, and of `all` they are those of the samples that all networks answered: see
    `answered`.
    """
    if split == ALL:
        return evaluations(run, answered.comparing_split(run, split))

    def make() -> pd.DataFrame:
        rows = run.epochs[run.epochs["split"] == split].astype({"network": str})
        rows = rows.merge(done(run)[["network", "replicate"]])
        if split == LEFT_OUT:
            rows = answered.equated_rows(run, rows, evaluations(run, answered.SHARED))
        return rows

    return run.once(("evaluations", split), make)


def last_evaluations(run: Reader, split: str = "test") -> pd.DataFrame:
    """Return of each training its own last epoch: replicates can have stopped at different ones."""
    rows = evaluations(run, split)
    return rows.loc[rows.groupby(["network", "replicate"])["epoch"].idxmax()]


def on_equal_folds(run: Reader, trained: pd.DataFrame, shares: np.ndarray, split: str) -> np.ndarray:
    """Return shares of right answers (trainings, ...) as on folds of the same difficulty; else as they are.

    `trained` has the network, replicate and fold of each.
    """
    if split != LEFT_OUT:
        return shares
    anchor = anchors(run, trained).reshape(-1, *[1] * (shares.ndim - 1))
    return answered.equated(shares, trained["fold"].to_numpy(int), np.broadcast_to(anchor, shares.shape))


def anchors(run: Reader, trained: pd.DataFrame) -> np.ndarray:
    """Return the last accuracies of trainings on the samples that all answered."""
    accuracy = last_evaluations(run, answered.SHARED).set_index(["network", "replicate"])["accuracy"]
    return accuracy.loc[pd.MultiIndex.from_frame(trained[["network", "replicate"]])].to_numpy(float)


def attempts(run: Reader, split: str = "test") -> pd.DataFrame:
    """Return the accuracy of each student at each attempt: a row a network, a column an epoch.

    Mean over replicates; NaN where a network stopped earlier.
    """
    done(run)  # raises first where there is nothing at all
    need_split(run, split)

    def make() -> pd.DataFrame:
        table = evaluations(run, split).pivot_table("accuracy", "network", "epoch", aggfunc="mean").round(DIGITS)
        return table.loc[[name for name in run.networks["name"] if name in table.index]]

    return run.once(("attempts", split), make).copy()


def _marks(run: Reader, split: str) -> pd.DataFrame:
    """Return the students with all that does not depend on what is called good."""
    by_epoch = attempts(run, split)
    trainings = evaluations(run, split).groupby(["network", "replicate"])
    seconds = trainings["train_seconds"].sum(min_count=1).groupby("network").mean()
    frame = run.networks.drop(columns=["hash", "layers", "recipe", "thop_macs"], errors="ignore")
    frame = frame.set_index("name").loc[by_epoch.index].rename_axis("name").reset_index()
    names = frame["name"]
    timings = timed(run)
    if timings is not None and alone(run):
        # No matter what trained beside it: the steps of all epochs, each as long as alone.
        counts = trainings["epoch"].nunique().groupby("network").mean()
        by_steps = timings["step_seconds"] * timings["epoch_steps"]
        seconds = seconds.index.to_series().map(counts * by_steps).fillna(seconds)
    return frame.assign(
        **{column: names.map(timings[column]) for column in TIMED if timings is not None},
        seconds=names.map(seconds),
        accuracy=names.map(last_evaluations(run, split).groupby("network")["accuracy"].mean().round(DIGITS)),
        lowest=by_epoch.min(axis=1).to_numpy(),
        epochs=by_epoch.notna().sum(axis=1).to_numpy(),
        replicates=names.map(done(run).groupby("network").size()),
    )


def students(
    run: Reader,
    good: float = GOOD,
    gold: float = GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> pd.DataFrame:
    """Return one row a student, in the order of the catalogue.

    Parameters
    ----------
    run : Run
    good : float
        A good student has at least this accuracy in every attempt (epoch). 0.8, as published, gives way where it leaves
        fewer than a third of all or five of a computation: to what leaves these, and at most two thirds of all.
    gold : float
        A gold star is for a good student whose last accuracy is above this.
    quantile : float
        Take both thresholds from the run instead, where the published ones don't fit the data set: `good` is this
        quantile of all students' lowest accuracies, `gold` this quantile of the good ones' last accuracies.
    split : str
        Samples that are asked about: test, validation where the run has it, left_out (training samples, each answered
        by the networks that left it out of their training) and all (test and left_out) where it has folds.

    Returns
    -------
    pandas.DataFrame
        name, computation, activation, params, memory, ops, depth, macs; seconds (training, all epochs together),
        accuracy (last epoch), lowest (accuracy in the worst epoch), all three as means over the replicates;
        epochs, replicates (counts), good, star (bool); step_seconds, latency and throughput where `netpick time` has
        measured them (see `times`). `attrs` has the two thresholds that were used, how many students there are (`of`),
        and where another took over how many the published one would leave (`published`), else None.

    Raises
    ------
    NetpickError
        For a threshold out of range; RunError where no training is done, or the run lacks the split.
    """
    good, gold = check_fraction("good", good), check_fraction("gold", gold)
    frame = run.once(("marks", split), lambda: _marks(run, split)).copy()
    published = None
    if quantile is None and good == GOOD and (other := _that_leaves_enough(frame)) < GOOD:
        good, published = other, int((frame["lowest"] >= GOOD - TINY).sum())
    if quantile is not None:
        quantile = check_fraction("quantile", quantile)
        # "lower" names an accuracy that some student has, so that at least that one is good
        good = float(np.quantile(frame["lowest"], quantile, method="lower"))
        gold = float(np.quantile(frame.loc[frame["lowest"] >= good - TINY, "accuracy"], quantile, method="lower"))
    frame["good"] = frame["lowest"] >= good - TINY
    frame["star"] = frame["good"] & (frame["accuracy"] > gold + TINY)
    frame.attrs.update(good=good, gold=gold, of=len(frame), published=published)
    return frame


def _that_leaves_enough(frame: pd.DataFrame) -> float:
    """Return `GOOD`, or the highest threshold below that leaves a third of all students and five of a computation.

    A computation that fails altogether would take all others down with it: two thirds of all are the most that come in.
    """
    lowest = np.sort(frame["lowest"].to_numpy())[::-1]
    third = lowest[-(-len(lowest) // 3) - 1]
    families = [
        np.sort(group)[::-1][ENOUGH - 1] for _, group in frame.groupby("computation")["lowest"] if len(group) >= ENOUGH
    ]
    needed = min([third, *families])
    most = lowest[2 * len(lowest) // 3 - 1] if len(lowest) > 1 else lowest[0]
    return GOOD if needed >= GOOD - TINY else float(min(GOOD, max(needed, most)))


def selected(
    run: Reader,
    everyone: bool = False,
    good: float = GOOD,
    gold: float = GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> pd.DataFrame:
    """Return the good students, or all of them: `students`, cut down.

    Parameters
    ----------
    run : Run
    everyone : bool
        Ask all students, not the good ones alone.
    good, gold, quantile, split
        As in `students`.

    Raises
    ------
    NetpickError
        As `students`, and where no student is good.
    """
    frame = students(run, good, gold, quantile, split)
    if everyone:
        return frame
    chosen = frame[frame["good"]].reset_index(drop=True)
    if not len(chosen):
        top = frame.iloc[int(frame["lowest"].argmax())]
        raise NetpickError(
            f"no student of {run.path} is good, with at least {good:.3g} in every attempt ({top['name']} comes "
            f"nearest, with {top['lowest']:.3g}): give a lower `good`, a `quantile`, or ask `everyone`"
        )
    chosen.attrs.update(frame.attrs)
    return chosen


def whom(frame: pd.DataFrame, everyone: bool, split: str = answered.SHARED) -> str:
    """Name the students of `selected` in a sentence: "812 good students of 1001 (at least 80 % in every attempt)".

    What is said of a sample of a split with holes is said of those that answered it.
    """
    if split in answered.HOLES:
        return f"the networks that answered each, of {whom(frame, everyone)}"
    if everyone:
        return counted_word(len(frame), "student")
    published = frame.attrs.get("published")
    instead = "" if published is None else f", where {percent(GOOD)} would leave {published}"
    rule = f"at least {percent(frame.attrs.get('good', GOOD))} in every attempt{instead}"
    return f"{counted_word(len(frame), 'good student')}{_of(frame)} ({rule})"


def how_many(frame: pd.DataFrame) -> str:
    """Count the students of `selected` in a title: "15 of 45 students", "45 students" where all are asked."""
    of = _of(frame) if len(frame) < frame.attrs.get("of", 0) else ""
    return f"{len(frame)}{of} students" if of else counted_word(len(frame), "student")


def _of(frame: pd.DataFrame) -> str:
    return f" of {frame.attrs['of']}" if "of" in frame.attrs else ""


def enough(frame: pd.DataFrame, by: str = "computation") -> pd.Series:
    """Return for each student whether there are `ENOUGH` of its computation for a ranking or a box."""
    return frame.groupby(by)["name"].transform("size") >= ENOUGH


def preferred(frame: pd.DataFrame) -> list[str]:
    """Return the names of students in the order in which one of equals is taken: fewest macs, then params, by name."""
    return frame.sort_values(["macs", "params", "name"])["name"].astype(str).tolist()


def best(frame: pd.DataFrame) -> str:
    """Return the name of the best student: highest accuracy; of equals the first that is `preferred`.

    "Best" means this one everywhere. It is the luckiest too: what is said of it is judged by `Splits`.
    """
    return str(ranked(frame)["name"].iloc[0])


def ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the students, the best first; the index are their places, from 0."""
    order = {"accuracy": False, "macs": True, "params": True, "name": True}
    return frame.sort_values(list(order), ascending=list(order.values()), ignore_index=True)


def leading(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the first so many of the students that are `ranked`, and `Basic`, wherever it stands."""
    rows = ranked(frame)
    return rows[(rows.index < most) | (rows["name"] == "Basic")]


def leaders(frame: pd.DataFrame) -> set[str]:
    """Return the names of the best student and of its equals: whoever names one of them may have chosen by looking."""
    return set(frame.loc[frame["accuracy"] >= frame["accuracy"].max() - TINY, "name"])


def basic(frame: pd.DataFrame) -> str | None:
    """Return "Basic" if it is among the students, else None."""
    return "Basic" if (frame["name"] == "Basic").any() else None


def of_basic(frame: pd.DataFrame, column: str) -> float | None:
    """Return what `Basic` has in a column of the students; None where it is not among them."""
    values = frame.loc[frame["name"] == "Basic", column]
    return float(values.iloc[0]) if len(values) else None
