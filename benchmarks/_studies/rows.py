"""Read from a run what a study claims of a network or of a sweep: a row of studies.toml, a line of the page.

Reads runs and answers of questions; writes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from _studies.curves import accuracies, curve_line, together_line
from _studies.line import NEAR_BEST, OURS, WITHIN, Line, holds, spread, word
from netpick import Run, exam
from netpick.core.errors import NetpickError


def line(run: Run, row: dict[str, Any]) -> Line:
    """Compare one claim of a study."""
    kinds = {
        "curve": curve_line, "networks": together_line, "sweep": sweep_line, "committee": committee_line,
        "question": question_line,
    }  # fmt: skip
    return next((compare for key, compare in kinds.items() if key in row), accuracy_line)(run, row)


def measured(run: Run, row: dict[str, Any]) -> np.ndarray:
    """Return the test accuracy of a row's network at its epoch (else its last), one value a replicate."""
    found = accuracies(run, row)
    if not len(found):
        return np.empty(0)
    epoch = row.get("epoch", max(found))
    return found[epoch].dropna().to_numpy() if epoch in found else np.empty(0)


def accuracy_line(run: Run, row: dict[str, Any]) -> Line:
    """Compare one accuracy: it agrees within the row's tolerance, or where the replicates' range has it inside."""
    values, note, published = measured(run, row), row.get("note", ""), row.get("published")
    command = f"curves --networks {row['network']}" + (" --split test" if run.recipe.get("validation") else "")
    if "class_mean" in row:
        command = f"mistakes --network {row['network']}"
    said = exam.percent(published) if published is not None else OURS
    if not len(values):
        return Line(row["what"], said, "not there yet", "", command, note)
    return Line(row["what"], said, spread(values), _verdict(values, published, row), command, note)


def _verdict(values: np.ndarray, published: float | None, row: dict[str, Any]) -> str:
    if published is None:
        return ""
    off = float(values.mean() - published)
    away = f"{exam.points(abs(off))} {'above' if off > 0 else 'below'}"
    if abs(off) <= row.get("within", WITHIN) + exam.TINY:
        return "agrees"
    if len(values) > 1 and values.min() <= published <= values.max():
        return f"within the range; the mean is {away}"
    return away


def longest(run: Run, by: str) -> pd.DataFrame:
    """Return the longest line of the question `sweep`, in the order of its values."""
    table = run.ask("sweep", by=by).table
    return table[table["line"] == table["line"].iloc[0]].sort_values("value", kind="stable").reset_index(drop=True)


def sweep_line(run: Run, row: dict[str, Any]) -> Line:
    """Compare what a sweep shows. `best`: a published best value; `falls`: how many points the last one is worse."""
    published, note, command = row["published"], row.get("note", ""), f"sweep --by {row['sweep']}"
    try:
        rows = longest(run, row["sweep"])
    except NetpickError as error:
        return Line(row["what"], published, f"not answered: {error}", "", command, note)
    few = rows if len(rows) <= 12 else rows.iloc[np.unique(np.linspace(0, len(rows) - 1, 6).round().astype(int))]
    text = "; ".join(f"{word(one.value)}: {exam.percent(one.accuracy)}" for one in few.itertuples())
    text += f". Best is {word(rows.loc[rows['accuracy'].idxmax(), 'value'])}"
    verdict = _near_best(rows, row["best"]) if "best" in row else _fall(rows, row["falls"]) if "falls" in row else ""
    return Line(row["what"], published, text, verdict, command, note)


def _near_best(rows: pd.DataFrame, best: Any) -> str:
    mine = rows[rows["value"].map(str) == str(best)]
    if not len(mine):
        return f"{best} was not measured"
    gap = float(rows["accuracy"].max() - mine["accuracy"].iloc[0])
    costs = float(mine["seconds"].iloc[0] / max(rows["seconds"].median(), 1e-9))
    where = "the best" if gap == 0 else f"{exam.points(gap)} below the best"
    return f"{holds(gap <= NEAR_BEST + exam.TINY)}: {where}, in {costs:.2g} times the median time"


def _fall(rows: pd.DataFrame, least: float) -> str:
    drop = float(rows["accuracy"].iloc[0] - rows["accuracy"].iloc[-1])
    first, last = (word(value) for value in rows["value"].iloc[[0, -1]])
    where = f"{exam.points(abs(drop))} {'lower' if drop > 0 else 'higher'} at {last} than at {first}"
    return f"{holds(drop >= least - exam.TINY)}: {where}"


def committee_line(run: Run, row: dict[str, Any]) -> Line:
    """Say how accurate committees of replicates of `Basic` are, by the mean of their probabilities."""
    sizes = row["committee"]
    table = run.ask("committee", members=["Basic"], largest=max(sizes)).table
    table = table[(table["choice"] == "random") & (table["rule"] == "probabilities") & table["size"].isin(sizes)]
    said = ", ".join(f"{one.size}: {exam.percent(one.accuracy)}" for one in table.itertuples())
    command = f"committee --members Basic --largest {max(sizes)}"
    return Line(row["what"], row["published"], said, "", command, row.get("note", ""))


def question_line(run: Run, row: dict[str, Any]) -> Line:
    """Answer what a study asks, in the words of a question: nothing was published to compare."""
    options = row.get("options", {})
    command = " ".join([row["question"], *(f"--{key} {value}" for key, value in options.items())])
    try:
        said = run.ask(row["question"], **options).text
    except NetpickError as error:
        said = f"not answered: {error}"
    return Line(row["what"], row.get("published", "asked"), said, "", command, row.get("note", ""))


def read_off(run: Run, rows: list[dict[str, Any]]) -> str:
    """Say which epochs are read off longer trainings, or ""."""
    lengths = run.epochs.astype({"network": str}).groupby("network")["epoch"].max()
    short = sorted({row["epoch"] for row in rows if row.get("epoch", 10**9) < lengths.get(row.get("network"), 0)})
    if not short:
        return ""
    several = f"{', '.join(map(str, short[:-1]))} and {short[-1]}" if len(short) > 1 else str(short[0])
    noun = "epochs" if short[-1] > 1 else "epoch"
    return f"Scores after {several} {noun} are read off longer trainings, not off trainings of that length."


def extent(run: Run, whole: int) -> str:
    """Say how much of a study was run: trainings of those wanted, networks of the whole, and what saw fewer samples."""
    done = exam.done(run)
    networks = done["network"].nunique()
    out = f"{len(done)} of {run.wanted} trainings are done, of {networks} of {whole} networks."
    if networks < whole:
        limit = run.manifest.get("limit")
        why = f"`--limit {limit}` takes a share of every family" if limit else "the rest is still to be trained"
        out += f" The other {whole - networks} are not in it: {why}."
    few = [row["name"] for row in run.networks.to_dict("records") if run.recipe_of(row["name"]).get("train_samples")]
    if few:
        out += f" On a part of the training samples only: {', '.join(few)}."
    return out
