"""Machine code of netpick's own beside torch's kernels: seconds of a step, network by network.

    python benchmarks/compiled.py                          the networks of panel.json, batches of 25
    python benchmarks/compiled.py --run runs/x --limit 30  a share of all sizes of a run's networks

For each network, interleaved on one thread: some steps in the mode `explicit`, and the same steps in the mode
`compiled`, each with gathering its batches and with its optimizer, Adam; the fastest of several repeats, which others
on the machine disturb least. Evaluation of 1000 samples likewise. The samples are noise: only time is measured. The
ratio says how many times as fast machine code is; `compiled.MOST_MACS` follows from where it falls below 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import msgspec
import torch
from _common import machine, main, new_parser, positive, print_machine, print_table, write_json

from netpick.networks.catalogue.template import Recipe
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import NetworkSpec, sizes
from netpick.store.folder import Store
from netpick.training import Job, Plan, choose
from netpick.training.engines import compiled
from netpick.training.engines.compiled.program import CompiledEpochs
from netpick.training.engines.explicit.step import ExplicitEpochs
from netpick.training.loop import Setup
from netpick.training.order import Order

CODE = Plan(mode="compiled", convolutions="plain")
PANEL = Path(__file__).with_name("panel.json")
EVALUATED = 1000
LARGEST = 300_000_000
"""Multiply-accumulates of a sample: beyond, torch's kernels are the faster ones, and a step takes a while."""


def networks(run: str | None, limit: int) -> tuple[list[NetworkSpec], tuple[int, ...]]:
    """Return networks and the shape of their images."""
    if run is None:
        panel = msgspec.json.decode(PANEL.read_bytes())
        return [NetworkSpec.from_dict(row) for row in panel["networks"]], tuple(panel["shape"])
    store = Store.open(run)
    rows = sorted(store.networks(), key=lambda row: row["macs"])
    return [NetworkSpec.from_dict(row) for row in rows[:: max(1, len(rows) // limit)]], tuple(store.manifest["shape"])


def best(work: Callable[[], object], other: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the fewest seconds of each of two, taken in turns."""
    took: list[list[float]] = [[], []]
    for _ in range(repeats + 1):
        for seconds, one in zip(took, (work, other), strict=True):
            start = time.perf_counter()
            one()
            seconds.append(time.perf_counter() - start)
    return min(took[0][1:]), min(took[1][1:])


def measure(spec: NetworkSpec, image: tuple[int, ...], recipe: Recipe, repeats: int) -> dict[str, Any]:
    """Return what a step and an evaluated sample of one network take, both ways."""
    macs = sizes(spec.layers, image).macs
    steps = int(min(40, max(3, 2e10 / (6 * macs * recipe.batch_size))))
    x, y = torch.randn(steps * recipe.batch_size, *image), torch.randint(0, 10, (steps * recipe.batch_size,))
    job = Job(spec, recipe, 0, CODE)
    ways = [
        make(Setup(job, build(spec.layers, tuned=tuned).train(), x, y, Order(job, len(y))))
        for make, tuned in ((ExplicitEpochs, True), (CompiledEpochs, False))
    ]
    explicit, ours = best(*(way.epoch for way in ways), repeats)
    tested = torch.randn(EVALUATED, *image)
    with torch.inference_mode():
        pair = best(*(partial(way.score, tested) for way in ways), max(3, repeats // 2))
    return {
        "network": spec.name,
        "macs": macs,
        "explicit_us": explicit / steps * 1e6,
        "compiled_us": ours / steps * 1e6,
        "ratio": explicit / ours,
        "gflops": 6 * macs * recipe.batch_size * steps / ours / 1e9,
        "evaluation_ratio": pair[0] / pair[1],
        "planned": choose(recipe, "cpu", spec).mode,
    }


def run() -> None:
    """Measure and print."""
    parser = new_parser(__doc__)
    parser.add_argument("--run", help="folder of a run whose networks are taken")
    parser.add_argument("--limit", type=positive, default=30, help="about how many networks of the run")
    parser.add_argument("--batch-size", type=positive, default=25)
    parser.add_argument("--repeats", type=positive, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    facts = machine()
    print_machine(facts)
    recipe = Recipe(optimizer="Adam", batch_size=args.batch_size)
    specs, image = networks(args.run, args.limit)
    rows = [
        measure(one, image, recipe, args.repeats)
        for one in specs
        if not compiled.refuses(Job(one, recipe, 0, CODE)) and sizes(one.layers, image).macs <= LARGEST
    ]
    head = ["network", "macs", "explicit µs", "compiled µs", "ratio", "GFLOP/s", "evaluation", "planned"]
    lines = [
        [
            *(row["network"], f"{row['macs']:,}", f"{row['explicit_us']:,.0f}", f"{row['compiled_us']:,.0f}"),
            *(f"{row['ratio']:.2f}", f"{row['gflops']:.1f}", f"{row['evaluation_ratio']:.2f}", row["planned"]),
        ]
        for row in rows
    ]
    taken = [row for row in rows if row["planned"] == "compiled"]
    for name, some in (("geometric mean", rows), ("of those planned so", taken)):
        if some:
            means = [geometric_mean(row[key] for row in some) for key in ("ratio", "evaluation_ratio")]
            lines.append([name, "", "", "", f"{means[0]:.2f}", "", f"{means[1]:.2f}", ""])
    left = len(specs) - len(rows)
    print_table(
        f"Steps of {args.batch_size} samples; {left} of {len(specs)} too large, or with no machine code", head, lines
    )
    write_json(args.json, {"machine": facts, "batch_size": args.batch_size, "rows": rows})


if __name__ == "__main__":
    main(run)
