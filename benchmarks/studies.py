"""Write docs/studies.md: what studies published beside what finished runs of their templates measured.

    python benchmarks/studies.py [--runs runs] [--to docs/studies.md]

What was published is in studies.toml. Works on what is there: a run that is missing, or not finished, is said to be.
Trains nothing.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netpick import Run, exam
from netpick.errors import NetpickError

MARKS = (0.80, 0.90, 0.95, 0.99)
WITHIN = 0.01


def measured(run: Run, row: dict[str, Any]) -> np.ndarray:
    """Return the test accuracy of a network at an epoch (else its last), one value a replicate."""
    rows = run.epochs[(run.epochs["network"] == row["network"]) & (run.epochs["split"] == "test")]
    last = rows.groupby("replicate")["epoch"].transform("max")
    rows = rows[rows["epoch"] == row.get("epoch", last)]
    if row.get("class_mean"):
        columns = [f"accuracy_{c}" for c in range(len(run.classes))]
        return rows[columns].mean(axis=1).to_numpy()
    return rows["accuracy"].to_numpy()


def line(run: Run, row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return what, published, measured, and whether they agree."""
    if "sweep" in row:
        try:
            return row["what"], row["published"], run.ask("sweep", by=row["sweep"]).text, ""
        except NetpickError as error:
            return row["what"], row["published"], f"not answered: {error}", ""
    values = measured(run, row)
    published = exam.percent(row["published"])
    if not len(values):
        return row["what"], published, "not there yet", ""
    text = exam.percent(values.mean())
    if len(values) > 1:
        text += f" ({exam.percent(values.min())} to {exam.percent(values.max())}, {len(values)} replicates)"
    off = values.mean() - row["published"]
    near = abs(off) <= row.get("within", WITHIN)
    return (
        row["what"],
        published,
        text,
        "agrees" if near else f"{exam.points(abs(off))} {'above' if off > 0 else 'below'}",
    )


def findings(run: Run, study: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the findings of the exam. Counts are compared as shares of the networks, and hold within 5 points."""

    def verdict(holds: bool) -> str:
        return "holds" if holds else "does not hold"

    wide = exam.attempts(run)
    for number, counts in enumerate(study["published_counts"], 1):
        for mark, count in zip(MARKS, counts, strict=True):
            if number in wide:
                found = int((wide[number] >= mark - exam.TINY).sum())
                near = abs(found / len(wide) - count / 1001) <= 0.05
                what = f"networks at or above {exam.percent(mark)} after attempt {number}"
                yield what, f"{count} of 1001", f"{found} of {len(wide)}", verdict(near)
    for name in ("easy", "weird", "confusing"):
        try:
            found = len(run.ask(name).table)
        except NetpickError as error:
            yield f"{name} samples", str(study[name]), f"not answered: {error}", ""
            continue
        there = study[name]
        yield f"{name} samples", str(there), str(found), verdict(there / 2 <= found <= 2 * there)
    frame = exam.students(run)
    top = frame.set_index("name").loc[exam.best(frame)]
    said = f"{exam.percent(study['best'])}, a {study['first']}"
    same = top["computation"] == study["first"] and abs(top["accuracy"] - study["best"]) <= 0.005
    yield "best", said, f"{exam.percent(top['accuracy'])}, {top.name}, a {top['computation']}", verdict(same)
    basic = frame.loc[frame["name"] == "Basic", "accuracy"]
    if len(basic):
        near = abs(basic.iloc[0] - study["basic"]) <= WITHIN
        yield "Basic", exam.percent(study["basic"]), exam.percent(basic.iloc[0]), verdict(near)
    groups = frame.groupby("computation")["accuracy"]
    order = groups.median().sort_values(ascending=False)
    words = ", ".join(f"{name} {exam.percent(value)}" for name, value in order.items())
    ranked = f"{study['first']} first, {study['second']} second"
    yield (
        "medians of the computations",
        ranked,
        words,
        verdict(list(order.index[:2]) == [study["first"], study["second"]]),
    )
    spread = groups.quantile(0.75) - groups.quantile(0.25)
    if {"Conv2d", "Conv3d"} <= set(order.index):
        close = abs(order["Conv3d"] - order["Conv2d"]) <= 0.02 and spread["Conv3d"] < spread["Conv2d"]
        words = ", ".join(f"{c} {exam.percent(order[c])} ± {exam.points(spread[c] / 2)}" for c in ("Conv2d", "Conv3d"))
        yield "Conv3d against Conv2d", "nearly equal, smaller spread", words, verdict(close)
    active = frame[frame["activation"] != "None"].groupby("activation")["accuracy"]
    means, deviations, lows = active.mean(), active.std(), active.quantile(0.1)
    words = ", ".join(f"{a} {exam.percent(v)}" for a, v in means.sort_values(ascending=False).items())
    yield "mean of the activations", "ReLU best", words, verdict(means.idxmax() == "ReLU")
    if {"SELU", "ReLU"} <= set(means.index):
        words = ", ".join(f"{a} {exam.points(v)}" for a, v in deviations.sort_values().items())
        yield (
            "standard deviation of the activations",
            "SELU below ReLU",
            words,
            verdict(deviations["SELU"] < deviations["ReLU"]),
        )
    if {"Sigmoid", "Tanh", "ReLU"} <= set(means.index):
        words = ", ".join(f"{a} {exam.percent(v)}" for a, v in lows.sort_values().items())
        risky = max(lows["Sigmoid"], lows["Tanh"]) < lows["ReLU"]
        yield "lowest tenth of the activations", "Sigmoid and Tanh risky, below ReLU", words, verdict(risky)


def block(study: dict[str, Any], runs: Path, pictures: Path) -> str:
    """Return the part of the page that a study has, and write its figures."""
    name = study["name"]
    used = next((n for n in (name, *study.get("also", [])) if (runs / n / "run.toml").is_file()), name)
    out = [f"## {name}\n", f"```sh\nnetpick generate {used} && netpick train {runs / used}\n```\n"]
    try:
        run = Run(runs / used)
        exam.done(run)
    except NetpickError as error:
        return "\n".join([*out, f"Not run: {error}.\n"])
    if used != name:
        out.append(f"Measured with `{used}`, where networks are smaller.\n")
    if note := exam.notes(run):
        out.append(f"{note[0].upper()}{note[1:]}.\n")
    rows = [line(run, row) for row in study["rows"]] if "rows" in study else list(findings(run, study))
    cells = [" | ".join(part.replace("|", "/") for part in row) for row in rows]
    out += ["| what | published | measured | |\n|---|---|---|---|\n" + "\n".join(f"| {one} |" for one in cells) + "\n"]
    for options in study.get("figures", []) or [None]:
        question, given = ("strategies", {}) if options is None else ("sweep", options)
        file = pictures / f"{'-'.join([name, question, *given.values()])}.png"
        try:
            run.ask(question, **given).save(file)
            out.append(f"![{name}: {question} {' '.join(given.values())}]({pictures.name}/{file.name})\n")
        except NetpickError as error:
            out.append(f"No figure of {question}: {error}.\n")
    seconds = pd.to_numeric(run.trainings["seconds"]).sum()
    out.append(f"{len(run.trainings)} of {run.wanted} trainings, {seconds / 60:.1f} minutes of worker time.\n")
    return "\n".join(out)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--to", type=Path, default=Path("docs/studies.md"))
    given = parser.parse_args()
    studies = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["study"]
    head = "# Studies\n\nPublished and measured. Written by `python benchmarks/studies.py`, from runs that are there.\n"
    pictures = given.to.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    given.to.write_text("\n".join([head, *(block(one, given.runs, pictures) for one in studies)]), encoding="utf-8")
    print(given.to)


if __name__ == "__main__":
    main()
