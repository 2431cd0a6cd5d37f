"""Read from runs what studies have published: a row a claim, with what was measured and whether the two agree.

Reads runs and answers of questions; writes nothing. The claims are in studies.toml, the page is made by studies.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from netpick import Run, exam
from netpick.core.errors import NetpickError

MARKS = (0.80, 0.90, 0.95, 0.99)
WITHIN = 0.01
"""How near the mean of the replicates has to come to a published accuracy, unless a row says otherwise."""
NEAR_BEST = 0.005
"""A published best value of a sweep holds where its accuracy is this near to the best that was measured."""
SHARE = 0.05
"""Shares of the networks that are this near to each other agree."""
PUBLISHED_NETWORKS = 1001


class Line(NamedTuple):
    """A line of a table: the claim, what was published, what was measured, the verdict, and why it differs."""

    what: str
    published: str
    measured: str
    verdict: str = ""
    note: str = ""


def measured(run: Run, row: dict[str, Any]) -> np.ndarray:
    """Return the test accuracy of a network at an epoch (else its last), one value a replicate."""
    rows = run.epochs[(run.epochs["network"] == row["network"]) & (run.epochs["split"] == "test")]
    last = rows.groupby("replicate")["epoch"].transform("max")
    rows = rows[rows["epoch"] == row.get("epoch", last)]
    if row.get("class_mean"):
        columns = [f"accuracy_{c}" for c in range(len(run.classes))]
        return rows[columns].mean(axis=1).to_numpy()
    return rows["accuracy"].to_numpy()


def accuracy_line(run: Run, row: dict[str, Any]) -> Line:
    """Compare one accuracy: it agrees within the row's tolerance, or where the replicates' range has it inside."""
    values, published, note = measured(run, row), row["published"], row.get("note", "")
    said = exam.percent(published)
    if not len(values):
        return Line(row["what"], said, "not there yet", "", note)
    text = exam.percent(values.mean())
    if len(values) > 1:
        text += f" ({exam.percent(values.min())} to {exam.percent(values.max())}, {len(values)} replicates)"
    off = float(values.mean() - published)
    away = f"{exam.points(abs(off))} {'above' if off > 0 else 'below'}"
    if abs(off) <= row.get("within", WITHIN) + exam.TINY:
        verdict = "agrees"
    elif len(values) > 1 and values.min() <= published <= values.max():
        verdict = f"within the range; the mean is {away}"
    else:
        verdict = away
    return Line(row["what"], said, text, verdict, note)


def longest(run: Run, by: str) -> pd.DataFrame:
    """Return the longest line of the question `sweep`, in the order of its values."""
    table = run.ask("sweep", by=by).table
    return table[table["line"] == table["line"].iloc[0]].sort_values("value", kind="stable").reset_index(drop=True)


def sweep_line(run: Run, row: dict[str, Any]) -> Line:
    """Compare what a sweep shows. `best`: a published best value; `falls`: the last value is worse than the first."""
    published, note = row["published"], row.get("note", "")
    try:
        rows = longest(run, row["sweep"])
    except NetpickError as error:
        return Line(row["what"], published, f"not answered: {error}", "", note)
    top = rows.loc[rows["accuracy"].idxmax()]
    text = "; ".join(_value(one) for one in rows.itertuples()) if len(rows) <= 12 else _ends(rows)
    text += f". Best is {_word(top['value'])}"
    verdict = ""
    if "best" in row:
        mine = rows[rows["value"].map(str) == str(row["best"])]
        if not len(mine):
            return Line(row["what"], published, text, f"{row['best']} was not measured", note)
        gap = float(top["accuracy"] - mine["accuracy"].iloc[0])
        where = "the best" if gap == 0 else f"{exam.points(gap)} below the best"
        verdict = f"{'holds' if gap <= NEAR_BEST + exam.TINY else 'does not hold'}: {where}"
        costs = float(mine["seconds"].iloc[0] / max(rows["seconds"].median(), 1e-9))
        text += f"; {row['best']} took {costs:.2g} times the median time"
    elif row.get("falls"):
        drop = float(rows["accuracy"].iloc[0] - rows["accuracy"].iloc[-1])
        fell = "lower" if drop > 0 else "higher"
        ends = (
            f"{exam.points(abs(drop))} {fell} at {_word(rows['value'].iloc[-1])} than at {_word(rows['value'].iloc[0])}"
        )
        verdict = f"{'holds' if drop > NEAR_BEST else 'does not hold'}: {ends}"
    return Line(row["what"], published, text, verdict, note)


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _value(one: Any) -> str:
    return f"{_word(one.value)}: {exam.percent(one.accuracy)} in {one.seconds:.3g} s"


def _ends(rows: pd.DataFrame) -> str:
    """Say a long line by a few of its values, evenly spread, ends included."""
    few = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, 6).round().astype(int))]
    return "; ".join(_value(one) for one in few.itertuples())


def line(run: Run, row: dict[str, Any]) -> Line:
    """Compare one claim of a study."""
    return sweep_line(run, row) if "sweep" in row else accuracy_line(run, row)


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def findings(run: Run, study: dict[str, Any]) -> Iterator[Line]:
    """Yield the findings of the exam.

    Counts are compared as shares of the networks, for a run may have fewer of them than were published; which of the
    samples are easy, weird or confusing depends on how many networks are asked, so that nothing is said of them then.
    """
    unfinished = len(exam.done(run)) < run.wanted
    for one in _findings(run, study):  # the costliest networks come first: what a half of a run says is not the whole
        yield one._replace(verdict="not finished") if unfinished else one


def _findings(run: Run, study: dict[str, Any]) -> Iterator[Line]:
    wide = exam.attempts(run)
    for number, counts in enumerate(study["published_counts"], 1):
        for mark, count in zip(MARKS, counts, strict=True):
            if number not in wide:
                continue
            asked = int(wide[number].notna().sum())
            found = int((wide[number] >= mark - exam.TINY).sum())
            mine, theirs = found / max(1, asked), count / PUBLISHED_NETWORKS
            yield Line(
                f"networks at or above {exam.percent(mark)} after attempt {number}",
                f"{count} of {PUBLISHED_NETWORKS} ({exam.percent(theirs, 1)})",
                f"{found} of {asked} ({exam.percent(mine, 1)})",
                _verdict(abs(mine - theirs) <= SHARE),
            )
    yield from _samples(run, study, len(wide))
    frame = exam.students(run)
    yield from _best(frame, study)
    yield from _families(frame, study)
    yield from _activations(frame)


def _samples(run: Run, study: dict[str, Any], networks: int) -> Iterator[Line]:
    for name in ("easy", "weird", "confusing"):
        there = study[name]
        try:
            found = len(run.ask(name).table)
        except NetpickError as error:
            yield Line(f"{name} samples", str(there), f"not answered: {error}")
            continue
        alike = abs(networks / PUBLISHED_NETWORKS - 1) <= SHARE
        verdict = _verdict(there / 2 <= found <= 2 * there) if alike else f"not comparable: {networks} networks"
        yield Line(f"{name} samples", f"{there:,}", f"{found:,}", verdict)


def _best(frame: pd.DataFrame, study: dict[str, Any]) -> Iterator[Line]:
    top = frame.set_index("name").loc[exam.best(frame)]
    said = f"{exam.percent(study['best'])}, a {study['first']}"
    same = top["computation"] == study["first"] and abs(top["accuracy"] - study["best"]) <= NEAR_BEST + exam.TINY
    yield Line("best", said, f"{exam.percent(top['accuracy'])}, {top.name}, a {top['computation']}", _verdict(same))
    basic = frame.loc[frame["name"] == "Basic", "accuracy"]
    if len(basic):
        near = abs(basic.iloc[0] - study["basic"]) <= WITHIN + exam.TINY
        yield Line("Basic", exam.percent(study["basic"]), exam.percent(basic.iloc[0]), _verdict(near))


def _families(frame: pd.DataFrame, study: dict[str, Any]) -> Iterator[Line]:
    groups = frame.groupby("computation")["accuracy"]
    order = groups.median().sort_values(ascending=False)
    words = ", ".join(f"{name} {exam.percent(value)}" for name, value in order.items())
    ranked = f"{study['first']} first, {study['second']} second"
    holds = list(order.index[:2]) == [study["first"], study["second"]]
    yield Line("medians of the computations", ranked, words, _verdict(holds))
    spread = groups.quantile(0.75) - groups.quantile(0.25)
    if {"Conv2d", "Conv3d"} <= set(order.index):
        close = abs(order["Conv3d"] - order["Conv2d"]) <= 0.02 and spread["Conv3d"] < spread["Conv2d"]
        words = ", ".join(
            f"{c} {exam.percent(order[c])}, quartiles {exam.points(spread[c])} apart" for c in ("Conv2d", "Conv3d")
        )
        yield Line("Conv3d against Conv2d", "nearly equal, smaller spread", words, _verdict(close))


def _activations(frame: pd.DataFrame) -> Iterator[Line]:
    active = frame[frame["activation"] != "None"].groupby("activation")["accuracy"]
    means, deviations, lows = active.mean(), active.std(), active.quantile(0.1)
    if not len(means):
        return
    words = ", ".join(f"{a} {exam.percent(v)}" for a, v in means.sort_values(ascending=False).items())
    yield Line("mean of the activations", "ReLU best", words, _verdict(means.idxmax() == "ReLU"))
    if {"SELU", "ReLU"} <= set(means.index):
        words = ", ".join(f"{a} {exam.points(v)}" for a, v in deviations.sort_values().items())
        holds = deviations["SELU"] < deviations["ReLU"]
        yield Line("standard deviation of the activations", "SELU below ReLU", words, _verdict(holds))
    if {"Sigmoid", "Tanh", "ReLU"} <= set(means.index):
        words = ", ".join(f"{a} {exam.percent(v)}" for a, v in lows.sort_values().items())
        risky = max(lows["Sigmoid"], lows["Tanh"]) < lows["ReLU"]
        yield Line("lowest tenth of the activations", "Sigmoid and Tanh risky, below ReLU", words, _verdict(risky))


def read_off(run: Run, rows: list[dict[str, Any]]) -> str:
    """Say which epochs are read off longer trainings, or ""."""
    lengths = run.epochs.astype({"network": str}).groupby("network")["epoch"].max()
    short = sorted({row["epoch"] for row in rows if row.get("epoch", 10**9) < lengths.get(row.get("network"), 0)})
    if not short:
        return ""
    several = f"{', '.join(map(str, short[:-1]))} and {short[-1]}" if len(short) > 1 else str(short[0])
    word = "epochs" if short[-1] > 1 else "epoch"
    return f"Scores after {several} {word} are read off longer trainings, not off trainings of that length."


def extent(run: Run, whole: int) -> str:
    """Say how much of a study was run: trainings of those wanted, networks of the whole, and what saw fewer samples."""
    done = exam.done(run)
    networks = done["network"].nunique()
    seconds = pd.to_numeric(run.trainings["seconds"]).sum()
    said = [f"{len(done)} of {run.wanted} trainings are done, of {networks} of {whole} networks"]
    said.append(f"{seconds / 60:.1f} minutes of worker time")
    out = ", ".join(said) + "."
    if networks < whole:
        limit = run.manifest.get("limit")
        why = f"`--limit {limit}` takes a share of every family" if limit else "the rest is still to be trained"
        out += f" The other {whole - networks} are not in it: {why}."
    few = [row["name"] for row in run.networks.to_dict("records") if run.recipe_of(row["name"]).get("train_samples")]
    if few:
        out += f" On a part of the training samples only: {', '.join(few)}."
    return out
