"""Where the time of bf16 goes on a processor that multiplies it: oneDNN's primitives, and what lies between them.

Each network of a template is trained for some steps by the plan that `--precision auto` gives it, on one thread. oneDNN
tells what its primitives took (torch.backends.mkldnn.verbose): convolutions and matrix products multiply, reorders lay
values out for them, and turn float32 into bf16 and back. The rest of a step is activations, norms, autograd, the
optimizer and calls. Shares are of a large bf16 matrix product's rate. The samples are noise.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable
from statistics import geometric_mean, median
from typing import Any

import torch
from _common import console, machine, main, new_parser, positive, print_machine, print_table, processor, write_json

from netpick.core.recipe import Recipe
from netpick.networks import NetworkSpec, generate
from netpick.networks.catalogue.template import load
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import sizes
from netpick.sessions.workers.process import prepare
from netpick.training import Job, choose
from netpick.training.engines.eager.autograd import Autograd
from netpick.training.loop import Setup
from netpick.training.order import Order

MULTIPLYING = ("convolution", "inner_product", "matmul")
STEPS = 4


def primitives(work: Callable[[], object]) -> dict[str, float]:
    """Return the seconds of oneDNN's primitives, by their kind, while some work is done: it writes lines to stdout."""
    took: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryFile("w+") as lines:
        before = os.dup(1)
        os.dup2(lines.fileno(), 1)
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                work()
        finally:
            os.dup2(before, 1)
            os.close(before)
        lines.seek(0)
        for line in lines:
            words = line.strip().split(",")
            if "exec" in words:
                took[words[words.index("exec") + 2]] += float(words[-1]) / 1e3
    return dict(took)


def measure(spec: NetworkSpec, image: tuple[int, ...], recipe: Recipe, rounds: int) -> dict[str, Any]:
    """Return one network's row."""
    plan = choose(recipe, "cpu", spec)
    count = STEPS * recipe.batch_size
    torch.manual_seed(0)
    model, job = build(spec.layers, tuned=plan.convolutions == "tuned"), Job(spec, recipe, 0, plan)
    inputs, labels = torch.randn(count, *image), torch.randint(0, 10, (count,))
    way = Autograd(Setup(job, model.train(), inputs, labels, Order(job, count)))
    way.epoch()
    step = median(processor(way.epoch) for _ in range(rounds)) / STEPS
    took = primitives(way.epoch)
    multiplying = sum(took.get(kind, 0.0) for kind in MULTIPLYING) / STEPS
    operations = 6 * sizes(spec.layers, image).macs * recipe.batch_size
    return {
        "network": spec.name,
        "macs": sizes(spec.layers, image).macs,
        "plan": str(plan),
        "step": step,
        "multiplying": multiplying,
        "reorders": took.get("reorder", 0.0) / STEPS,
        "operations": operations,
    }


def work() -> None:
    """Measure and print."""
    parser = new_parser(__doc__)
    parser.add_argument("--template", default="benchmarks/large.toml", help="name or TOML file (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=5, help="medians count (%(default)s)")
    args = parser.parse_args()
    prepare()
    torch.set_num_threads(1)
    facts = machine()
    print_machine(facts)
    template, image = load(args.template), (1, 28, 28)
    recipe = Recipe(batch_size=template.recipe.batch_size, precision="auto")
    matrix = torch.randn(2048, 2048).bfloat16()
    top = 2 * 2048**3 / min(processor(lambda: matrix @ matrix) for _ in range(9)) / 1e9
    rows = [measure(spec, image, recipe, args.rounds) for spec in generate(template, image, 10)]
    rows = [row for row in rows if row["plan"].startswith("bf16")]
    lines = [
        [
            *(row["network"], f"{row['macs']:,}", f"{1e3 * row['step']:.1f}"),
            f"{100 * row['operations'] / row['step'] / 1e9 / top:.0f}",
            f"{100 * row['multiplying'] / row['step']:.0f}",
            f"{100 * row['operations'] / row['multiplying'] / 1e9 / top:.0f}",
            f"{100 * row['reorders'] / row['step']:.0f}",
            f"{100 * (row['step'] - row['multiplying'] - row['reorders']) / row['step']:.0f}",
        ]
        for row in sorted(rows, key=lambda row: row["macs"])
    ]
    head = ["network", "macs", "ms", "share %", "multiplying %", "its share %", "reorders %", "rest %"]
    print_table(f"A step of {recipe.batch_size} samples in bf16; ceiling {top:,.0f} GFLOP/s", head, lines)
    for name, seconds in (("a step", "step"), ("oneDNN's products alone", "multiplying")):
        shares = [row["operations"] / row[seconds] / 1e9 / top for row in rows]
        told = f"{min(shares):.2f} to {max(shares):.2f}, {geometric_mean(shares):.2f} in the geometric mean"
        console.print(f"share of the ceiling, {name}: {told}")
    write_json(args.json, {"machine": facts, "ceiling": top, "rows": rows})


if __name__ == "__main__":
    main(work)
