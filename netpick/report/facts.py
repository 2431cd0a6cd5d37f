"""What the page of a run says beside the answers: data, recipe, device, versions, and its best networks.

All of it is read off the run's own files. No question is asked here but `scores`, where the page has not asked it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from netpick import exam
from netpick.core.errors import NetpickError, listed
from netpick.core.words import BEST, count, counted, duration
from netpick.exam.run import Run
from netpick.exam.tables import cell, in_words, table
from netpick.report.figures import Written


def facts(run: Run, written: list[Written]) -> dict[str, Any]:
    """Collect what the templates show of a run, beside the answers."""
    thresholds = next((w for w in written if w.name == "scores" and not w.error), None)
    if thresholds is None and all(w.name != "scores" for w in written):
        thresholds = _asked(run, "scores")
    best, reference = best_networks(run)
    return {
        **described(run),
        "notes": exam.notes(run),
        "best": table(best, len(best), reference),
        "reference": reference,
        "students": len(exam.students(run)),
        "flattered": flattered(run),
        "thresholds": table(in_words(thresholds.table), 20) if thresholds else None,
    }


def described(run: Run) -> dict[str, Any]:
    """Collect what a run was made of, and how much there is of it."""
    manifest = run.manifest
    trained = manifest.get("training", {})
    statuses = Counter(run.trainings["status"])
    wanted = run.wanted
    epochs = int(run.epochs["epoch"].max())
    samples = len(run.labels())
    answers = int((run.epochs["split"] == "test").sum()) * samples
    shape = " × ".join(str(n) for n in manifest.get("shape", ()))
    device = trained.get("device") or listed(trained.get("devices", ()))
    workers = trained.get("workers")
    source = manifest.get("source", "a template")
    trainings = f"{cell(sum(statuses.values()))} of {cell(wanted)} finished: {counted(statuses)}"
    data = f"{manifest['dataset']}: {_counted(samples, 'test sample')}{f' of {shape}' if shape else ''}"
    seed = f", seed {manifest['seed']}" if "seed" in manifest else ""
    about = {
        "Data set": data,
        "Classes": f"{len(run.classes)}: {listed(run.classes)}",
        "Labels": run.relabelled,
        "Networks": f"{cell(len(run.networks))} from {source}{seed}",
        "Trainings": trainings + _work(run),
        "Recipe": _recipe(run.recipe),
        "Device": (f"{device}, " if device else "") + _counted(int(workers), "worker") if workers else device,
        "Versions": ", ".join(f"{k} {v}" for k, v in _versions(manifest).items()),
        "Made": f"{manifest['created']:%Y-%m-%d}" if hasattr(manifest.get("created"), "year") else "",
    }
    numbers = {
        _word(len(run.networks), "network"): cell(len(run.networks)),
        _word(epochs, "epoch"): cell(epochs),
        _word(samples, "test sample"): cell(samples),
        "answers kept": cell(answers),
    }
    return {
        "description": str(manifest.get("template", {}).get("description", "")),
        "data": data,
        "title": manifest.get("title") or run.name,
        "name": run.name,
        "numbers": numbers,
        "about": {k: v for k, v in about.items() if v},
    }


def _work(run: Run) -> str:
    seconds = run.trainings["seconds"]
    return f"; {duration(float(seconds.sum()))} of work in all" if seconds.notna().any() else ""


def best_networks(run: Run) -> tuple[pd.DataFrame, str | None]:
    """Return the best networks as people read them, with `Basic` after them, and the name of `Basic` if it is there."""
    frame = exam.students(run)
    rows = exam.leading(frame, BEST)
    out = rows[["name", "params", "memory", "ops", "macs", "seconds", "accuracy"]].rename(
        columns={"name": "network", "seconds": "training, s"}
    )
    out.insert(0, "place", rows.index + 1)
    out["accuracy"] = [exam.percent(a) for a in rows["accuracy"]]
    for column in ("params", "memory", "ops", "macs"):
        out[column] = [count(v) for v in rows[column]]
    out["training, s"] = ["" if v != v else f"{v:.2f}" for v in rows["seconds"]]
    out = out.loc[:, (out != "").any()]  # nobody told what imported networks cost
    return out, exam.basic(frame)


def flattered(run: Run) -> str:
    """Say what the accuracy of the best network is to be called; "" where there is nobody to be better than."""
    frame = exam.students(run)
    label = exam.labelled(run, frame)
    return f"{exam.best(frame)} is the {label}." if label else ""


def _asked(run: Run, name: str) -> Written | None:
    """Ask for a table alone; None where there is no answer."""
    try:
        answer = run.ask(name)
    except NetpickError:
        return None
    return Written(name, "", answer.text, table=answer.table)


def _recipe(recipe: Mapping[str, Any]) -> str:
    """Write the recipe in one line."""
    said = []
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            said += [f"{k} {cell(v)}" for k, v in value.items()]
        else:
            said.append(f"{key} {cell(value)}")
    return ", ".join(said)


def _versions(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that the networks were trained with, or else those they were generated with."""
    names = manifest.get("versions", {})
    return {k: str(manifest.get("training", {}).get(k, v)) for k, v in names.items()}


def _word(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"


def _counted(number: int, word: str) -> str:
    return f"{cell(number)} {_word(number, word)}"
