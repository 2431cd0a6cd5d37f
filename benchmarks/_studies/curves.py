"""Accuracies by epoch, one row a replicate: those of a row of studies.toml, and its claim about a whole curve.

Texts take accuracies in three ways, and a row says which: over all samples, as the mean of both classes' accuracies
(`class_mean`), or as the mean over batches of the samples class after class, in which a short last batch counts as
much as the others (`batches`). Classes are in the order of their file names, `10.png` before `2.png`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from _studies.line import Line, digits, holds
from netpick import Run, exam


def accuracies(run: Run, row: dict[str, Any]) -> pd.DataFrame:
    """Return the test accuracies of a row's network: a row a replicate, a column an epoch."""
    name, size, by_classes = row["network"], row.get("batches", 0), row.get("class_mean", False)
    return run.once(("accuracies", name, size, by_classes), lambda: _accuracies(run, name, size, by_classes))


def _accuracies(run: Run, name: str, size: int, by_classes: bool) -> pd.DataFrame:
    rows = exam.evaluations(run)
    rows = rows[rows["network"] == name]
    if not len(rows):
        return pd.DataFrame()
    if size:
        return of_batches(run, name, size)
    if by_classes:
        rows = rows.assign(accuracy=rows[[f"accuracy_{c}" for c in range(len(run.classes))]].mean(axis=1))
    return rows.pivot(index="replicate", columns="epoch", values="accuracy")


def of_batches(run: Run, name: str, size: int) -> pd.DataFrame:
    """Return the means over batches of the test samples, each class in the order of file names: numbers as text."""
    samples = run.samples[run.samples["split"] == "test"].set_index("sample")
    order = samples.assign(name=samples["index"].astype(str)).sort_values(["label", "name"]).index
    keys = ["replicate", "epoch", "sample"]
    answers = run.predictions(None, networks=name, replicate=None, columns=[*keys, "predicted"])
    wide = answers.set_index(keys)["predicted"].unstack("sample")[order]
    right = wide.to_numpy() == samples.loc[order, "label"].to_numpy()
    return pd.Series([mean_of_batches(one, size) for one in right], wide.index).unstack("epoch")


def mean_of_batches(right: np.ndarray, size: int) -> float:
    """Return the mean of the accuracies of batches: not that of the samples, where the last one is short."""
    return float(np.mean([right[at : at + size].mean() for at in range(0, len(right), size)]))


def published_curve(row: dict[str, Any]) -> dict[int, float]:
    """Return the accuracies that were published, by epoch: all of them, or those that the text prints."""
    if "curve" in row:
        return {int(epoch): value for epoch, value in row["curve"].items()}
    return {row["epoch"]: row["published"]} if "epoch" in row and "published" in row else {}


def curve_line(run: Run, row: dict[str, Any]) -> Line:
    """Compare a curve: digit for digit where the text fixes everything (`exact`), else with the range of the seeds."""
    published, found = published_curve(row), accuracies(run, row)
    there = [epoch for epoch in published if epoch in found]
    said = _curve(published)
    command, note = f"curves --networks {row['network']}", row.get("note", "")
    if not there:
        return Line(row["what"], said, "not there yet", "", command, note)
    if row.get("exact"):
        mine = {epoch: float(found[epoch].iloc[0]) for epoch in there}
        off = [epoch for epoch in there if digits(mine[epoch]) != digits(published[epoch])]
        verdict = f"differs at {_epochs(off)}" if off else f"the same digits at all {len(there)} epochs"
        return Line(row["what"], said, _curve(mine), verdict, command, note)
    low, high, mean = found.min(), found.max(), found.mean()
    slack = 0.00005 + exam.TINY  # published are four digits
    out = [epoch for epoch in there if not low[epoch] - slack <= published[epoch] <= high[epoch] + slack]
    text = "; ".join(
        f"{epoch}: {digits(mean[epoch])} ({digits(low[epoch])} to {digits(high[epoch])})" for epoch in there
    )
    seeds = exam.counted_word(len(found), "seed")
    inside = f"within the range of {seeds} at {len(there) - len(out)} of {len(there)} epochs"
    return Line(row["what"], said, text, inside + (f", not at {_epochs(out)}" if out else ""), command, note)


def together_line(run: Run, row: dict[str, Any]) -> Line:
    """Say how far apart the curves of several networks are at most, from an epoch on."""
    means = pd.DataFrame({name: accuracies(run, {**row, "network": name}).mean() for name in row["networks"]})
    late = means[means.index >= row["from"]]
    command, note = f"curves --networks {','.join(row['networks'])}", row.get("note", "")
    if not len(late):
        return Line(row["what"], row["published"], "not there yet", "", command, note)
    gap = float((late.max(axis=1) - late.min(axis=1)).max())
    found = f"{exam.points(gap)} apart at most, from epoch {row['from']} on"
    verdict = holds(gap <= row["within"] + exam.TINY) if "within" in row else ""
    return Line(row["what"], row["published"], found, verdict, command, note)


def _curve(values: dict[int, float]) -> str:
    return "; ".join(f"{epoch}: {digits(value)}" for epoch, value in values.items())


def _epochs(numbers: list[int]) -> str:
    return f"epoch{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
