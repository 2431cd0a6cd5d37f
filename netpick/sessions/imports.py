"""Importing a run: answers of classifiers that were trained elsewhere, as a run that all questions can be asked of.

All that is given is read and checked before anything is written. A second import adds networks to the same samples.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from netpick.core.errors import RunError, listed
from netpick.core.metrics import evaluate
from netpick.core.provenance import versions
from netpick.core.result import EpochResult, SplitResult, TrainingResult
from netpick.sessions.given_answers import Answered, GivenAnswers
from netpick.sessions.given_paper import Paper, paper_of_run, paper_of_source
from netpick.sessions.given_students import Described, described
from netpick.store.folder import Store
from netpick.store.manifest import MANIFEST

UNKNOWN = float("nan")


@dataclass(frozen=True)
class Imported:
    """What `import_run` made: the store, the names of the networks that came, how many samples, and notes."""

    store: Store
    networks: list[str]
    samples: int
    notes: tuple[str, ...] = ()


def import_run(
    predictions: str | Path,
    folder: str | Path | None = None,
    students: str | Path | None = None,
    labels: str | Path | None = None,
    dataset: str | None = None,
    images: str | Path | None = None,
    data_dir: str | None = None,
) -> Imported:
    """Make a run of answers that others gave, or add such networks to one that was made so.

    Parameters
    ----------
    predictions : a CSV or Parquet file, long or wide; see `GivenAnswers`
    folder : of the run; `runs/NAME`, after the file
    students : a file with a row a network: costs, computation, activation, and whatever else describes it
    labels : a file with columns `sample` and `label`, where the predictions have none
    dataset : whose test samples were answered, by number
    images : a folder of images, named after the samples
    data_dir : where data sets lie

    Raises
    ------
    NetpickError
        For whatever is not as it should be; then nothing was written.
    """
    path = Path(folder) if folder else Path("runs") / Path(predictions).stem
    store = _there(path)
    answers = GivenAnswers.read(predictions)
    if store is None:
        paper = paper_of_source(answers, labels, dataset, images, data_dir)
    elif dataset or images:
        raise RunError(f"{path} has its samples already: leave --dataset and --images out to add networks to them")
    else:
        paper = paper_of_run(store, answers, labels)
    names = _new(store, answers)
    about = described(students, names)
    for _ in answers.answers(paper.names, paper.numbers, len(paper.classes)):
        pass  # all of them are checked, before anything is written
    samples = [] if os.path.isfile(path / "samples.parquet") else list(paper.rows())
    if store is None:
        manifest = _manifest(Path(predictions), paper, about, len(names))
        store = Store.create(path, manifest, [_row(name, about) for name in names])
    with store.lock():
        if samples:
            store.write_samples(samples)
        if missing := [name for name in names if name not in store.files.names.values()]:
            before = store.imported or {}
            store.add_networks(
                [_row(name, about) for name in missing],
                imported={
                    "files": [*before.get("files", []), Path(predictions).name],
                    "columns": list(dict.fromkeys([*before.get("columns", []), *about.columns])),
                },
            )
        for network in _by_network(answers.answers(paper.names, paper.numbers, len(paper.classes))):
            store.commit(*_result(network, paper, about.seconds.get(network[0].network, UNKNOWN)))
        store.compact()
    return Imported(store, names, len(paper.names), (*about.notes, *paper.notes))


def _there(path: Path) -> Store | None:
    """Return the imported run that is there; None where a new one can be made."""
    if not os.path.isfile(path / MANIFEST):
        return None  # what else is in the way, `Store.create` says
    store = Store.open(path)
    if store.imported is None:
        raise RunError(f"{path} is a run that netpick made: give --run another folder, or that of an imported run")
    if store.relabelled:
        raise RunError(
            f"{path} has the answers of {store.relabelled[0]['of']} and other labels: import into that run, and put "
            "its labels right again"
        )
    return store


def _new(store: Store | None, answers: GivenAnswers) -> list[str]:
    """Return the networks that come; RunError where the run has answers of one."""
    names = list(answers.networks)
    if store is not None:
        ended = {hash_ for hash_, _ in store.finished()}
        held = [name for name in names if hash_of(name) in ended]
        if held:
            raise RunError(f"{store.path} has answers of {listed(held, 4)} already: leave them out, or name them anew")
    return names


def hash_of(name: str) -> str:
    """Return what stands for the hash of the layers of an imported network, which has none: that of its name."""
    return "imported_" + hashlib.sha256(name.encode()).hexdigest()[:32]


def _row(name: str, about: Described) -> dict[str, Any]:
    own = about.rows.get(name, {})
    empty = dict.fromkeys(("params", "memory", "ops", "depth", "macs", "thop_macs"))
    family = {"computation": "Imported", "activation": "None"}
    return {"name": name, "hash": hash_of(name), "layers": [], **empty, **family, **own}


def _manifest(path: Path, paper: Paper, about: Described, networks: int) -> dict[str, Any]:
    return {
        "title": "Predictions from elsewhere",
        "source": path.name,
        "dataset": paper.dataset,
        "shape": paper.shape,
        "classes": paper.classes,
        "seed": paper.seed,
        "networks": networks,
        "versions": versions(),
        "imported": {"files": [path.name], "columns": about.columns},
    }


def _by_network(answers: Iterator[Answered]) -> Iterator[list[Answered]]:
    """Put the epochs of a network together, which come one after another."""
    for _, several in groupby(answers, key=lambda answer: answer.network):
        yield list(several)


def _result(answers: Sequence[Answered], paper: Paper, seconds: float) -> tuple[TrainingResult, dict[str, Any], str]:
    """Return what `Store.commit` takes: the result of a training, the labels, and of which epochs there are scores."""
    whole = [answer.scores is not None for answer in answers]
    keep = "all" if all(whole) else "last" if whole[-1] else "none"
    each = seconds if len(answers) == 1 else UNKNOWN  # of several epochs nobody knows how long each took
    epochs = tuple(
        EpochResult(
            answer.epoch,
            UNKNOWN,
            each,
            None,
            (_evaluated(answer, paper, keep == "all" or (keep == "last" and answer is answers[-1])),),
        )
        for answer in answers
    )
    name = answers[0].network
    result = TrainingResult(
        name, hash_of(name), 0, "done", None, "elsewhere", "imported", datetime.now(UTC), seconds, epochs=epochs
    )
    return result, {"test": paper.labels}, keep


def _evaluated(answer: Answered, paper: Paper, scored: bool) -> SplitResult:
    """Return the evaluation of one epoch; without scores there is no loss, and no area."""
    if scored and answer.scores is not None:
        return evaluate("test", answer.scores, paper.labels, UNKNOWN)
    certain = np.zeros((len(paper.labels), len(paper.classes)), np.float32)
    certain[np.arange(len(certain)), answer.predicted] = 1
    known = evaluate("test", certain, paper.labels, UNKNOWN)
    return replace(known, loss=UNKNOWN, class_auc=tuple(UNKNOWN for _ in known.class_auc))
