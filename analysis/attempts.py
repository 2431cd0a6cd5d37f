"""How did scores change over the attempts, and who were the late bloomers?

All students are asked, for a late bloomer is no good student at first. An attempt is an epoch.

Columns of the answer, a row a student (`by="student"`), those that changed most first:

- `name`, `computation`, `activation`
- `first`, `lowest`, `highest`, `last`: accuracies; `change`: last minus first; `drop`: highest minus last, which luck
  alone makes positive, since the highest of several is chosen
- `best_epoch`: the (first) attempt with the highest accuracy
- `bloomer`: low at first and high at the end: `first` below `low`, `last` at least `high`
- `judged`: how far the last attempt is below the best one on samples that played no part in choosing that: the best
  attempt is chosen on one half of the samples and judged on the other, and the other way round
- `p`: of "the last attempt is no worse than any", by McNemar's test (one-sided, mid-p) against each of the others,
  corrected for as many attempts and students (Bonferroni, Holm); missing for those with one attempt
- `worse`: `drop` is at least `fall`, and `p` at most 0.05

with `by="family"`, a row a computation × attempt: `computation`, `epoch`, `students`, `q25`, `median`, `q75`;
with `by="attempt"`, what stopping everyone after this attempt would have cost: `epoch`, `students`, `median` and
`top` (accuracies), `median_loss` (median of how much lower students are than at their own last attempt), `peaked`
(share of the students whose best attempt this was), `pick` (the best student of this attempt, of equals the one with
fewest macs), `pick_last` (its accuracy at its last attempt), `pick_loss` (how far that is below the best last accuracy
of all), `correlation` (Spearman's, with the last scores), `seconds` (share of the whole training time).

`judged`, `p` and `worse` are of each network's first replicate that is done, the other columns means over replicates.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from netpick import exam
from netpick.analysis import _attempts
from netpick.exam import Answer, Run, listed, percent, points

TABLES = ("student", "family", "attempt")
SHARES = {
    "student": ("first", "lowest", "highest", "last", "change", "drop", "judged"),
    "family": ("q25", "median", "q75"),
    "attempt": ("median", "top", "median_loss", "peaked", "pick_last", "pick_loss", "seconds"),
}
COLUMNS = {
    "student": ("name", "first", "last", "change", "drop", "bloomer", "worse", "p"),
    "family": (),
    "attempt": ("epoch", "median", "top", "median_loss", "pick", "pick_loss", "seconds"),
}
"""Of each table: fractions, and what matters most."""
ALPHA = 0.05
"""Of the test that somebody got worse."""
BLOCK_BYTES = 64 * 2**20
"""Answers that are held at a time."""


def ask(
    run: Run,
    *,
    low: float = 0.80,
    high: float = 0.95,
    fall: float = 0.01,
    quantile: float | None = None,
    by: str = "student",
    split: str = "test",
) -> Answer:
    """Follow the students over the attempts.

    Parameters
    ----------
    low : float
        A late bloomer is below this accuracy in the first attempt.
    high : float
        And has at least this in the last.
    fall : float
        Who got worse lost at least this much of the highest accuracy.
    quantile : float
        Take `low` as this quantile of the first scores and `high` as the quantile from above of the last ones: 0.25
        asks for a rise from the lowest quarter to the highest.
    by : str
        What a row of the table is: student, family or attempt.
    """
    exam.check_choice("by", by, TABLES)
    low, high, fall = (exam.check_fraction(k, v) for k, v in (("low", low), ("high", high), ("fall", fall)))
    wide = exam.attempts(run, split)
    frame = exam.students(run, split=split)
    each = by_student(wide, frame, judged(run, split), low, high, fall, quantile)
    families = by_family(wide, frame)
    seconds = run.epochs[run.epochs["split"] == split].groupby("epoch")["train_seconds"].sum()
    stopping = by_attempt(wide.loc[exam.preferred(frame)], seconds)
    low, high = each.attrs["low"], each.attrs["high"]

    made = wide.notna().sum(axis=1)
    uneven = f"students made {made.min()} to {made.max()} attempts, the last is each one's own"
    note = exam.notes(run, uneven if made.nunique() > 1 else "")
    bloomers = each[each["bloomer"]]
    if wide.shape[1] < 2:
        text = "There is one attempt only: nobody could change."
        title = "Scores after the one attempt that there is"
    else:
        before, after = float(each["first"].median()), float(each["last"].median())
        text = (
            f"From the first attempt to the last the median score went from {percent(before)} to "
            f"{percent(after)} ({len(each)} students). "
            f"{_named(bloomers, 'late bloomer', f'(below {percent(low)} at first, at least {percent(high)} at last)')} "
            f"{_worse(each, fall)} "
            f"{_stopping(stopping)}"
        )
        title = (
            f"The median score went from {percent(before, 1)} to {percent(after, 1)}; "
            f"{exam.counted_word(len(bloomers), 'late bloomer')} among {exam.counted_word(len(each), 'student')}, "
            f"{int(each['worse'].sum())} got worse beyond chance"
        )
    table = {"student": each, "family": families, "attempt": stopping}[by]
    return Answer(
        table, text, lambda: _attempts.draw(wide, stopping, each, title), note,
        shares=SHARES[by], columns=COLUMNS[by],
    )  # fmt: skip


def judged(run: Run, split: str) -> pd.DataFrame:
    """Return of each network by name how far its last attempt is below its best one, and how sure that is.

    Columns `judged` and `p`, which is not yet corrected for the number of students.
    """
    labels = run.labels(split)
    which = exam.first_replicates(run, split)
    rows = exam.evaluations(run, split)
    first = rows[rows["replicate"] == rows["network"].map(which)]
    alike = first.groupby("network")["epoch"].agg(lambda epochs: tuple(sorted(epochs))).to_frame("epochs")
    alike["replicate"] = alike.index.map(which)
    halves = exam.halves(len(labels), 0, labels)
    found = []
    for (epochs, replicate), group in alike.groupby(["epochs", "replicate"]):
        block = max(1, BLOCK_BYTES // (len(labels) * len(epochs)))
        for start in range(0, len(group), block):
            asked = set(group.index[start : start + block])
            names = [name for name in which if name in asked]  # as answers are ordered
            read = (run.predicted(e, split=split, networks=names, replicate=int(replicate)) for e in epochs)
            right = np.stack([answers == labels for answers in read])
            found.append(pd.DataFrame(_below_best(right, halves), index=names))
    return pd.concat(found)


def _below_best(right: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """Compare the last attempt with the best one; `right` is bool (attempts, networks, samples).

    How far it is below is judged on the half of the samples that did not choose the best; of equals the last one is
    chosen. The test is against each attempt, of which the surest counts, corrected for as many.
    """
    from scipy.stats import binom

    attempts, networks, samples = right.shape
    fell = np.zeros(networks, int)
    for choosing, judging in (halves, halves[::-1]):
        marks = right[:, :, choosing].sum(axis=2)
        best = attempts - 1 - marks[::-1].argmax(axis=0)
        then, at_last = right[best, np.arange(networks)][:, judging], right[-1][:, judging]
        fell += then.sum(axis=1) - at_last.sum(axis=1)
    p = np.full(networks, np.nan if attempts == 1 else 1.0)
    for then in right[:-1]:
        lost, won = (then & ~right[-1]).sum(axis=1), (right[-1] & ~then).sum(axis=1)
        mid_p = binom.sf(lost, lost + won, 0.5) + binom.pmf(lost, lost + won, 0.5) / 2
        p = np.minimum(p, (attempts - 1) * mid_p)
    return {"judged": fell / samples, "p": p}


def by_student(
    wide: pd.DataFrame,
    frame: pd.DataFrame,
    other_half: pd.DataFrame,
    low: float,
    high: float,
    fall: float,
    quantile: float | None,
) -> pd.DataFrame:
    """Return a row a student; `other_half` is what `judged` gives, and `attrs` has the thresholds used."""
    first = wide.iloc[:, 0].to_numpy()
    last = wide.ffill(axis=1).iloc[:, -1].to_numpy()  # of those that stopped earlier too
    highest = wide.max(axis=1).to_numpy()
    if quantile is not None:
        quantile = exam.check_fraction("quantile", quantile)
        low, high = float(np.nanquantile(first, quantile)), float(np.quantile(last, 1 - quantile))
    drop = highest - last
    other_half = other_half.reindex(wide.index)
    p = exam.holm(other_half["p"].to_numpy())
    table = frame[["name", "computation", "activation"]].assign(
        first=first,
        lowest=wide.min(axis=1).to_numpy(),
        highest=highest,
        last=last,
        change=np.round(last - first, exam.DIGITS),
        drop=drop,
        best_epoch=wide.idxmax(axis=1).to_numpy(int),
        bloomer=(first < low - exam.TINY) & (last >= high - exam.TINY),
        judged=other_half["judged"].to_numpy(),
        p=p,
        worse=(drop >= fall - exam.TINY) & (p <= ALPHA),
    )
    table = table.sort_values(["change", "name"], ascending=[False, True], ignore_index=True)
    table.attrs.update(low=low, high=high)
    return table


def by_family(wide: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row a computation × attempt."""
    computation = frame.set_index("name")["computation"]
    long = wide.stack().rename("accuracy").reset_index()
    long["computation"] = long["network"].map(computation)
    groups = long.groupby(["computation", "epoch"])["accuracy"]
    table = groups.quantile([0.25, 0.5, 0.75]).unstack().set_axis(["q25", "median", "q75"], axis=1)
    table.insert(0, "students", groups.size())
    return table.reset_index()


def by_attempt(wide: pd.DataFrame, seconds: pd.Series) -> pd.DataFrame:
    """Return a row an attempt: what stopping everyone there would have cost."""
    last = wide.ffill(axis=1).iloc[:, -1]
    peak = wide.idxmax(axis=1)
    spent = seconds.reindex(wide.columns).cumsum() / max(float(seconds.sum()), 1e-300)
    rows = []
    for epoch in wide.columns:
        now = wide[epoch].dropna()
        pick = str(now.idxmax())
        varied = now.nunique() > 1 and last[now.index].nunique() > 1
        rows.append({
            "epoch": int(epoch), "students": len(now), "median": now.median(), "top": now.max(),
            "median_loss": (last[now.index] - now).median(), "peaked": (peak == epoch).mean(), "pick": pick,
            "pick_last": last[pick], "pick_loss": last.max() - last[pick],
            "correlation": now.rank().corr(last[now.index].rank()) if varied else np.nan, "seconds": spent[epoch],
        })  # fmt: skip
    return pd.DataFrame(rows)


def _named(rows: pd.DataFrame, what: str, how: str) -> str:
    if not len(rows):
        return f"No {what} {how}."
    return f"{exam.counted_word(len(rows), what)} {how}: {listed(rows['name'], _attempts.NAMED)}."


def _worse(each: pd.DataFrame, fall: float) -> str:
    """Count those that fell, and those of them of whom it is sure."""
    fell, worse = int((each["drop"] >= fall - exam.TINY).sum()), each[each["worse"]]
    students, own = exam.counted_word(fell, "student"), "its" if fell == 1 else "their"
    if not fell:
        return f"No student ended at least {points(fall)} below the best of its own attempts."
    said = f"{students} ended at least {points(fall)} below the best of {own} own attempts"
    rule = f"McNemar's test, corrected for all attempts of {len(each)} students"
    who = f": {listed(worse['name'], _attempts.NAMED)}" if len(worse) else ""
    return (
        f"{said}, {len(worse) or 'none'} of them by more than chance ({rule}){who}. The median student {_ended(each)} "
        "where the best is chosen on one half of the samples and judged on the "
        "other."
    )


def _ended(each: pd.DataFrame) -> str:
    fall = float(each["judged"].median())
    if abs(fall) < exam.TINY:
        return "ended level with its best"
    return f"fell by {points(fall)}" if fall > 0 else f"ended {points(-fall)} above its best"


def _stopping(stopping: pd.DataFrame) -> str:
    first = stopping.iloc[0]
    lost = abs(first["median_loss"]) > exam.TINY
    cost = f"cost the median student {points(first['median_loss'])}" if lost else "cost the median student nothing"
    end = f"ends {points(first['pick_loss'])} below the best of all, which luck has a part in"
    if first["pick_loss"] < exam.TINY:
        end = "is the best of all at the end, too"
    return (
        f"Stopping all after the first attempt would have saved {percent(1 - first['seconds'], 0)} of the training "
        f"time and {cost}; its best student, {first['pick']}, {end}."
    )
