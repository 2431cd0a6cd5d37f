"""How a template's cap on multiply-accumulates follows from measured throughput.

Trains a stratified sample of the template's networks for a few steps each, every one on one thread and as many side by
side as the run will have workers, so that they slow each other down as they will in the run. Fits, by least squares of
the relative error and with no term below zero,

    seconds a step       = a·macs·batch size + b·params + c·ops + d
    seconds an evaluation = e·macs·samples + f·ops·batches + g·batches

and predicts the wall time of the whole template for several caps. Families differ in how fast their
multiply-accumulates are done, so each computation's prediction is multiplied by measured / predicted of its part of the
sample. The inputs are random numbers: no data set is needed. A cell with a cap of its own keeps its proportion to the
template's. Not in the prediction: what the coordinator does beside the workers (see `stratified.py` for that share).
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import torch
from _common import (
    console,
    machine,
    main,
    median,
    new_parser,
    positive,
    print_machine,
    print_table,
    write_json,
)
from joblib import Parallel, delayed
from scipy.optimize import nnls

from netpick import data
from netpick.core import devices as device
from netpick.core.errors import CatalogueError
from netpick.networks.catalogue import catalogue, template
from netpick.networks.catalogue.cells import SampledCell
from netpick.networks.catalogue.template import Recipe, Template
from netpick.networks.modules.measure import Measurement, measure_all
from netpick.networks.paper.spec import NetworkSpec
from netpick.training import Job, choose, train
from netpick.training.job import EVALUATION_BATCH

TIMED = 3
"""Short epochs that are timed, after one to warm up; their median counts."""


@dataclass(frozen=True)
class Sizes:
    """What decides how long a network takes."""

    computation: str
    macs: int
    params: int
    ops: int


@dataclass(frozen=True)
class Seconds:
    """What one network took: a step, an evaluation of the whole test set, and the rest of an epoch."""

    step: float
    evaluation: float
    rest: float


def capped(given: Template, cap: int) -> Template:
    """Return the template with another cap; a cell with a cap of its own keeps its proportion."""
    usual = given.defaults.max_macs or max(
        (c.max_macs or 0 for c in given.cells if isinstance(c, SampledCell)), default=0
    )
    cells = []
    for cell in given.cells:
        if isinstance(cell, SampledCell):
            share = (cell.max_macs or usual) / usual if usual else 1
            cell = msgspec.structs.replace(cell, max_macs=round(cap * share))
        cells.append(cell)
    return msgspec.structs.replace(given, cells=tuple(cells))


def time_network(
    spec: NetworkSpec, recipe: Recipe, shape: tuple[int, ...], classes: int, test: int, steps: int
) -> Seconds:
    """Train a few steps, several times, in a worker process, and return the medians."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    random = torch.Generator().manual_seed(0)

    def noise(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = torch.randn(samples, *shape, generator=random)
        return inputs, torch.randint(classes, (samples,), generator=random)

    few = msgspec.structs.replace(recipe, epochs=1 + TIMED, timeout=None)
    splits = {"train": noise(steps * recipe.batch_size), "test": noise(test)}
    result = train(Job(spec, few, 0, choose(few, "cpu")), splits)
    if len(result.epochs) < few.epochs:
        raise SystemExit(f"{spec.name}: {result.status}: {result.error}")
    step = median(epoch.train_seconds for epoch in result.epochs[1:]) / steps
    evaluation = median(epoch.splits[0].eval_seconds for epoch in result.epochs[1:])
    inside = sum(epoch.train_seconds + epoch.splits[0].eval_seconds for epoch in result.epochs)
    return Seconds(step, evaluation, (result.seconds - inside) / few.epochs)


def step_terms(size: Sizes, batch: int) -> list[float]:
    """Return what a step's seconds are fitted on."""
    return [size.macs * batch, size.params, size.ops, 1]


def evaluation_terms(size: Sizes, test: int) -> list[float]:
    """Return what an evaluation's seconds are fitted on."""
    batches = math.ceil(test / EVALUATION_BATCH)
    return [size.macs * test, size.ops * batches, batches]


def fit(terms: list[list[float]], seconds: list[float]) -> np.ndarray:
    """Return the coefficients, none below zero, of the smallest relative error."""
    rows = np.array(terms) / np.array(seconds)[:, None]
    scale = rows.max(axis=0)  # macs and the constant lie ten powers of ten apart
    return nnls(rows / scale, np.ones(len(rows)))[0] / scale


def sizes_of(networks: list[NetworkSpec], counts: list[Measurement]) -> list[Sizes]:
    """Put together what the fit needs of each network."""
    return [Sizes(s.computation, c.macs, c.params, c.ops) for s, c in zip(networks, counts, strict=True)]


def corrections(sample: list[Sizes], measured: list[float], predicted: list[float]) -> dict[str, float]:
    """Return measured / predicted of each computation."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for size, m, p in zip(sample, measured, predicted, strict=True):
        sums[size.computation][0] += m
        sums[size.computation][1] += p
    return {name: m / p for name, (m, p) in sums.items()}


def work() -> None:
    """Measure, fit, predict."""
    parser = new_parser(__doc__)
    parser.add_argument("--template", default="thousand-light", help="name or TOML file (thousand-light)")
    parser.add_argument("--dataset", help="whose shapes and counts are meant; the template's own")
    parser.add_argument("--sample", type=positive, default=80, help="networks to measure (80)")
    parser.add_argument(
        "--steps", type=positive, default=32, help="steps of a short epoch, one of which warms up and 3 are timed (32)"
    )
    parser.add_argument("--epochs", type=positive, default=4, help="epochs to predict (4)")
    parser.add_argument("--workers", type=positive, default=device.usable_cores(), help="of the run (all cores)")
    default = [100_000, 150_000, 250_000, 400_000, 600_000]
    parser.add_argument("--caps", type=positive, nargs="+", default=default, help="caps on macs to predict for")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    given = template.load(args.template)
    info = data.describe(args.dataset or given.dataset)
    classes = len(info.classes)

    def networks_at(cap: int, limit: int | None) -> list[NetworkSpec]:
        every = catalogue.enumerate_networks(capped(given, cap), info.shape, classes)
        return catalogue.share(list(every), limit)

    chosen = networks_at(max(args.caps), args.sample)
    sample = sizes_of(chosen, measure_all(chosen, info.shape, args.workers))
    console.print(f"{len(chosen)} networks with up to {max(args.caps):,} macs, {args.steps} steps each ...")
    call = delayed(time_network)
    seconds: list[Seconds] = Parallel(n_jobs=args.workers)(
        call(spec, given.recipe, info.shape, classes, info.test_count, args.steps) for spec in chosen
    )
    batch = given.recipe.batch_size
    steps = math.ceil((given.recipe.train_samples or info.train_count) / batch)
    of_step = fit([step_terms(s, batch) for s in sample], [t.step for t in seconds])
    of_evaluation = fit([evaluation_terms(s, info.test_count) for s in sample], [t.evaluation for t in seconds])
    rest = median(t.rest for t in seconds)

    def epoch_seconds(size: Sizes) -> float:
        step = float(np.dot(step_terms(size, batch), of_step))
        return steps * step + float(np.dot(evaluation_terms(size, info.test_count), of_evaluation)) + rest

    measured = [steps * t.step + t.evaluation + t.rest for t in seconds]
    predicted = [epoch_seconds(size) for size in sample]
    factor = corrections(sample, measured, predicted)
    error = median(abs(p / m - 1) for m, p in zip(measured, predicted, strict=True))
    names = ["a·macs·batch", "b·params", "c·ops", "d"]
    print_table(
        "seconds a step", ["term", "coefficient"], [[n, f"{v:.3g}"] for n, v in zip(names, of_step, strict=True)]
    )
    names = ["e·macs·samples", "f·ops·batches", "g·batches"]
    rows = [[n, f"{v:.3g}"] for n, v in zip(names, of_evaluation, strict=True)]
    print_table("seconds an evaluation", ["term", "coefficient"], rows)
    console.print(
        f"rest of an epoch: {rest:.3f} s; median error of the prediction for one network: {100 * error:.0f} %"
    )
    print_table("measured / predicted", ["computation", ""], [[n, f"{f:.2f}"] for n, f in factor.items()])
    rows, result = [], []
    for cap in sorted(args.caps):
        try:
            networks = networks_at(cap, None)
        except CatalogueError as problem:
            rows.append([f"{cap:,}", "can't be filled", None, None, None])
            console.print(f"{cap:,}: {problem}", soft_wrap=True)
            continue
        sizes = sizes_of(networks, measure_all(networks, info.shape, args.workers))
        plain = sum(args.epochs * epoch_seconds(size) for size in sizes) / args.workers
        wall = sum(args.epochs * epoch_seconds(size) * factor.get(size.computation, 1) for size in sizes) / args.workers
        macs = float(np.mean([size.macs for size in sizes]))
        rows.append([f"{cap:,}", len(sizes), f"{macs:,.0f}", f"{plain / 60:.1f}", f"{wall / 60:.1f}"])
        result.append(
            {"cap": cap, "networks": len(sizes), "mean_macs": macs, "fit_seconds": plain, "wall_seconds": wall}
        )
    head = ["cap on macs", "networks", "mean macs", "minutes by the fit", "minutes, corrected by computation"]
    title = f"{args.template} on {info.name}: {args.epochs} epochs with {args.workers} workers, batch size {batch}"
    print_table(title, head, rows)
    raw: list[dict[str, Any]] = [
        {"network": spec.name, **vars(size), **vars(time)}
        for spec, size, time in zip(chosen, sample, seconds, strict=True)
    ]
    fitted = {"step": of_step.tolist(), "evaluation": of_evaluation.tolist(), "rest": rest, "corrections": factor}
    write_json(args.json, {"machine": facts, "fit": fitted, "median_error": error, "caps": result, "sample": raw})


if __name__ == "__main__":
    main(work)
