"""The planted exam: a synthetic run of any size, in the real schema, of which the truth is known.

For tests (each question must find what was planted), benchmarks and talks. The networks are real ones, from the
template `netpicking`; nothing is trained, their answers are drawn from a model:

- network i answers sample j rightly at epoch e with probability logistic(a_j (θ_ie - b_j)): the two-parameter logistic
  model of item response theory, with one draw a network and sample for all epochs, so that answers change only as
  ability does;
- who is wrong nearly always gives the same wrong answer to a sample, its *distractor*, so that ordinary samples are
  neither weird nor confusing;
- samples of special kinds (see `Truth`) follow rules of their own;
- whether an answer is right decides how sure it is, by Bayes' rule, so that confidence is calibrated exactly; each
  network then sharpens or flattens its scores, all but one of them.

Everything goes through `Store`, as in training. No torch is needed, and no question is answered here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from netpick.core.metrics import evaluate
from netpick.core.result import LEFT_OUT, EpochResult, TrainingResult
from netpick.exam.planted.answers import Draws
from netpick.exam.planted.design import Design, Truth
from netpick.exam.planted.distances import distance_rows
from netpick.exam.planted.layers import layer_rows
from netpick.exam.planted.paper import KINDS, Paper, sample_rows
from netpick.exam.planted.students import Student, Students
from netpick.networks.catalogue import template
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.cells import Cell, SampledCell
from netpick.networks.catalogue.folds import first_folds
from netpick.networks.paper.spec import NetworkSpec, shapes, sizes
from netpick.store.folder import Store

STUDY = 1001
"""Networks of the template; for more, so many times as many are drawn of each family."""


def plant(folder: str | Path, networks: int = 60, samples: int = 500, **more: Any) -> Truth:
    """Write a planted exam into a new folder.

    Parameters
    ----------
    folder : of the run; must not exist or be empty
    networks, samples : size of the exam
    **more
        What else a `netpick.exam.planted.design.Design` has: classes, epochs, seed, shares of samples and networks, ...
    """
    design = Design(networks, samples, **more)
    rng = np.random.default_rng(design.seed)
    limit = design.networks + (not design.basic)
    specs = _catalogue(tuple(design.shape), design.classes, design.seed, limit)
    specs = tuple(spec for spec in specs if design.basic or spec.name != "Basic")
    papers = {"test": Paper.draw(rng, design.samples, design.classes, design.kinds)}
    students = Students.draw(rng, specs, design)
    unlucky = {"test": students.unlucky(rng, papers["test"])}
    if design.validation:
        papers["validation"] = Paper.draw(rng, design.validation, design.classes, {})
    first = np.zeros(len(specs), int)
    if design.folds:
        own = np.random.default_rng([design.seed, 4])
        first = _first_folds(specs, design)
        papers[LEFT_OUT] = Paper.draw(own, design.samples, design.classes, design.kinds).cut(design.folds)
        unlucky[LEFT_OUT] = _unlucky_by_fold(own, students, papers[LEFT_OUT], first)

    store = _create(folder, specs, design)
    store.write_samples(sample_rows(rng, papers, design.shape, design.classes))
    store.write_layer_times(layer_rows(specs, design))
    store.write_distances(distance_rows(papers["test"], design))
    labels = {split: paper.label for split, paper in papers.items()}
    started = datetime(2024, 1, 1, tzinfo=UTC)
    for i, spec in enumerate(specs):
        if (status := students.status(spec.name)) == "pending":
            continue
        for replicate in range(design.replicates):
            own = np.random.default_rng([design.seed, i, replicate])
            student = students.student(i, 0.05 * own.normal() if design.replicates > 1 else 0.0)
            fold = (int(first[i]) + replicate) % design.folds if design.folds else None
            wrong = {split: who == i for split, who in unlucky.items()}
            epochs = _epochs(own, student, papers, design, status, wrong, fold)
            started += timedelta(seconds=1)
            result = TrainingResult(
                spec.name, spec.hash, replicate, status, int(own.integers(2**31)), "cpu", "planted", started,
                sum(epoch.train_seconds for epoch in epochs) + 0.1,
                error=None if status == "done" else f"planted: {status}", epochs=epochs, fold=fold,
            )  # fmt: skip
            store.commit(result, labels, design.scores)
    if design.compact:
        store.compact()
    truth = _truth(Path(folder), students, papers["test"], unlucky["test"])
    if not design.folds:
        return truth
    left_out = _truth(Path(folder), students, papers[LEFT_OUT], unlucky[LEFT_OUT])
    return replace(truth, left_out=left_out, fold=papers[LEFT_OUT].fold, first_fold=first)


def _first_folds(specs: Sequence[NetworkSpec], design: Design) -> np.ndarray:
    """Return the fold that each network leaves out in its replicate 0."""
    params = [sizes(spec.layers, tuple(design.shape)).params for spec in specs]
    networks = ((s.hash, s.computation, s.activation, n) for s, n in zip(specs, params, strict=True))
    by_hash = first_folds(networks, design.folds)
    return np.array([by_hash[spec.hash] for spec in specs])


def _unlucky_by_fold(rng: np.random.Generator, students: Students, paper: Paper, first: np.ndarray) -> np.ndarray:
    """Choose the unlucky ones among those that left a sample's fold out."""
    assert paper.fold is not None
    out = np.full(len(paper.fold), -1)
    for fold in np.unique(paper.fold):
        mine = np.flatnonzero(paper.fold == fold)
        out[mine] = students.unlucky(rng, paper.take(mine), np.flatnonzero(first == fold))
    return out


def _truth(folder: Path, students: Students, paper: Paper, unlucky: np.ndarray) -> Truth:
    roles: dict[str, Any] = dict(students.roles)
    (calibrated,), (overconfident,) = roles.pop("calibrated"), roles.pop("overconfident")
    follows = np.array([name != calibrated and name not in roles["weak"] for name in students.names])
    ended: dict[str, Any] = dict(students.ended)
    kinds: dict[str, Any] = {kind: np.flatnonzero(paper.kind == kind) for kind in KINDS}
    return Truth(
        folder=folder,
        names=students.names,
        ability=np.where(follows, students.ability[:, -1], np.nan),
        difficulty=paper.difficulty,
        discrimination=paper.discrimination,
        temperature=students.temperature,
        unlucky=unlucky,
        true_label=paper.true_label,
        specialists=students.specialists,
        calibrated=calibrated,
        overconfident=overconfident,
        **roles,
        **ended,
        **kinds,
    )


@lru_cache(maxsize=8)  # tests plant many small exams alike
def _catalogue(shape: tuple[int, ...], classes: int, seed: int, limit: int) -> tuple[NetworkSpec, ...]:
    planned = template.load("netpicking")
    if limit > STUDY:
        more = [_many_times(cell, -(-limit // STUDY)) for cell in planned.cells]
        planned = msgspec.structs.replace(planned, cells=tuple(more))
    return tuple(generate(planned, shape, classes, seed, limit))


def _many_times(cell: Cell, times: int) -> Cell:
    """Return a cell with so many times its networks; an explicit one is what it is."""
    if not isinstance(cell, SampledCell):
        return cell
    return msgspec.structs.replace(cell, count={activation: times * count for activation, count in cell.families()})


def _epochs(
    rng: np.random.Generator, student: Student, papers: Mapping[str, Paper], design: Design, status: str,
    unlucky: Mapping[str, np.ndarray], fold: int | None,
) -> tuple[EpochResult, ...]:  # fmt: skip
    """Let one student sit the exam; `unlucky` says which samples it has wrong whatever its ability."""
    macs = sizes(student.spec.layers, tuple(design.shape)).macs
    per_epoch = 0.05 + 4e-7 * macs * design.samples**0.5 * math.exp(0.25 * rng.normal())
    asked = {split: None if p.fold is None else np.flatnonzero(p.fold == fold) for split, p in papers.items()}
    draws = {}
    for split, numbers in asked.items():
        draws[split] = Draws.of(rng, papers[split] if numbers is None else papers[split].take(numbers), design.classes)
        if split in unlucky:
            draws[split].luck[unlucky[split] if numbers is None else unlucky[split][numbers]] = -np.inf
    epochs = []
    for epoch in range(1, {"done": design.epochs, "diverged": min(1, design.epochs - 1), "failed": 0}[status] + 1):
        splits = tuple(
            evaluate(split, drawn.scores(student, epoch), drawn.paper.label, 0.002 + 1e-8 * macs, asked[split])
            for split, drawn in draws.items()
        )
        seconds = per_epoch * math.exp(0.05 * rng.normal())
        epochs.append(EpochResult(epoch, splits[0].loss * 1.1, seconds, None, splits))
    return tuple(epochs)


def _create(folder: str | Path, specs: Sequence[NetworkSpec], design: Design) -> Store:
    """Make the run's folder. Memory and ops are worked out on paper, near what measuring would give."""
    rows = []
    image = tuple(design.shape)
    for spec in specs:
        size = sizes(spec.layers, image)
        elements = [math.prod(s) for s in (image, *shapes(spec.layers, image))]
        with_params = sum(layer.op in ("Linear", "Conv1d", "Conv2d", "Conv3d") for layer in spec.layers)
        blocks = sum(layer.op == "BasicBlock" for layer in spec.layers)
        rows.append({
            "name": spec.name, "hash": spec.hash, "computation": spec.computation, "activation": spec.activation,
            "layers": spec.layers_json(), "params": size.params, "memory": sum(elements),
            "ops": 2 * with_params + 16 * blocks + sum(layer.op == "Reshape" for layer in spec.layers),
            "depth": with_params + 3 * blocks, "macs": size.macs, "thop_macs": float(size.macs),
        })  # fmt: skip
    manifest: dict[str, Any] = {
        "title": "A planted exam", "source": "planted", "dataset": "planted", "shape": list(image),
        "classes": [str(c) for c in range(design.classes)], "seed": design.seed, "networks": len(specs),
        "recipe": {"epochs": design.epochs, "replicates": design.replicates}, "keep": {"scores": design.scores},
    }  # fmt: skip
    if design.folds:
        manifest["recipe"]["folds"] = design.folds
    return Store.create(folder, manifest, rows)
