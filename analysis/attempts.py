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
fewest macs), `pick_last` (the accuracy, at its last attempt, of whoever is picked so), `pick_loss` (how far that is
below the best of the last attempt, with `pick_low` and `pick_high`, its 95 % interval, and `pick_p`, the p-value of "it
is nothing"), `correlation` (Spearman's, with the last scores), `seconds` (share of the whole training time).

`pick_last` and `pick_loss` are judged on other samples: both students are chosen on one half of them and judged on the
other, in ten splits (Nadeau and Bengio 2003). They, `judged`, `p` and `worse` are of each network's first replicate
that is done, the other columns means over replicates.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from netpick import exam
from netpick.analysis import _attempts
from netpick.analysis._judged import Marks
from netpick.exam import Answer, Run, listed, percent, points, verdict

TABLES = ("student", "family", "attempt")
SHARES = {
    "student": ("first", "lowest", "highest", "last", "change", "drop", "judged"),
    "family": ("q25", "median", "q75"),
    "attempt": (
        *("median", "top", "median_loss", "peaked", "pick_last", "pick_loss", "pick_low", "pick_high", "seconds"),
    ),
}
COLUMNS = {
    "student": ("name", "first", "last", "change", "drop", "bloomer", "worse", "p"),
    "family": (),
    "attempt": ("epoch", "median", "top", "median_loss", "pick", "pick_loss", "seconds", "pick_p"),
}
"""Of each table: fractions, and what matters most."""
ALPHA = 0.05
"""Of the test that somebody got worse."""


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
    compared_on, split = exam.said_of_networks(run, split), exam.comparing_split(run, split)
    wide = exam.attempts(run, split)
    frame = exam.students(run, split=split)
    marks = Marks.of(run, split)
    each = by_student(wide, frame, marks.below, low, high, fall, quantile)
    families = by_family(wide, frame)
    seconds = run.epochs[run.epochs["split"] == split].groupby("epoch")["train_seconds"].sum(min_count=1)
    stopping = by_attempt(wide.loc[exam.preferred(frame)], seconds, marks.picks(exam.preferred(frame)))
    low, high = each.attrs["low"], each.attrs["high"]

    made = wide.notna().sum(axis=1)
    uneven = f"students made {made.min()} to {made.max()} attempts, the last is each one's own"
    note = exam.notes(run, uneven if made.nunique() > 1 else "", compared_on)
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


def by_student(
    wide: pd.DataFrame,
    frame: pd.DataFrame,
    other_half: pd.DataFrame,
    low: float,
    high: float,
    fall: float,
    quantile: float | None,
) -> pd.DataFrame:
    """Return a row a student; `other_half` is `below` of the marks, and `attrs` has the thresholds used."""
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


def by_attempt(wide: pd.DataFrame, seconds: pd.Series, picks: pd.DataFrame) -> pd.DataFrame:
    """Return a row an attempt: what stopping everyone there would have cost; `picks` are those of the marks."""
    last = wide.ffill(axis=1).iloc[:, -1]
    peak = wide.idxmax(axis=1)
    spent = seconds.reindex(wide.columns).cumsum() / max(float(seconds.sum(min_count=1)), 1e-300)
    rows = []
    for epoch in wide.columns:
        now = wide[epoch].dropna()
        pick = str(now.idxmax())
        varied = now.nunique() > 1 and last[now.index].nunique() > 1
        rows.append({
            "epoch": int(epoch), "students": len(now), "median": now.median(), "top": now.max(),
            "median_loss": (last[now.index] - now).median(), "peaked": (peak == epoch).mean(), "pick": pick,
            **picks.loc[epoch],
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
    loss = first["pick_loss"]
    end = "level with" if abs(loss) < exam.TINY else f"{points(abs(loss))} {'below' if loss > 0 else 'above'}"
    share = first["seconds"]  # nobody may have told how long imported networks took
    saved = f"saved {percent(1 - share, 0)} of the training time and " if share == share else ""
    return (
        f"Stopping all after the first attempt would have {saved}{cost}. The best student of that attempt "
        f"({first['pick']} on all samples) ends {end} the best of the last one where both are chosen on one half of "
        f"the samples and judged on the other, and {verdict(first['pick_p'])}."
    )
