"""What bf16 makes of a processor that multiplies it: steps by torch's kernels and by machine code, side by side.

Each network of a template is trained for some steps on one thread by torch in bf16, by machine code in bf16 (where the
processor has its instructions, AVX512-BF16) and by machine code in float32, in turns. Of torch's steps oneDNN says what
its primitives took (torch.backends.mkldnn.verbose): convolutions and matrix products multiply, reorders lay values out
for them, and turn float32 into bf16 and back. The rest is activations, norms, autograd, the optimizer and calls. For
machine code `passes.py --bf16` tells more. Shares are of a large bf16 matrix product's rate. The samples are noise.
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
from netpick.training.engines.compiled.program import CompiledEpochs
from netpick.training.engines.eager.autograd import Autograd
from netpick.training.loop import Setup, Trainer
from netpick.training.order import Order
from netpick.training.processor import has_bf16_for_machine_code
from netpick.training.sizes import is_convolution

MULTIPLYING = ("convolution", "inner_product", "matmul")
STEPS = 4
MAKERS: dict[str, Callable[[Setup], Trainer]] = {"compiled": CompiledEpochs, "eager": Autograd}
TORCH, MACHINE_CODE, FLOAT32 = "bf16/eager", "bf16/compiled", "fp32/compiled"
SHORT = {TORCH: "torch", MACHINE_CODE: "ours", FLOAT32: "fp32"}


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


def measure(spec: NetworkSpec, image: tuple[int, ...], recipe: Recipe, pins: list[str], rounds: int) -> dict[str, Any]:
    """Return one network's row."""
    count = STEPS * recipe.batch_size
    inputs, labels = torch.randn(count, *image), torch.randint(0, 10, (count,))

    def trainer(pin: str) -> tuple[str, Trainer]:
        plan = choose(recipe, "cpu", spec, pin)
        torch.manual_seed(0)
        model = build(spec.layers, tuned=plan.convolutions == "tuned").train()
        job = Job(spec, recipe, 0, plan)
        return str(plan), MAKERS[plan.mode](Setup(job, model, inputs, labels, Order(job, count)))

    ways = {pin: trainer(pin) for pin in pins}
    for _, way in ways.values():
        way.epoch()
    took: dict[str, list[float]] = {pin: [] for pin in pins}
    for _ in range(rounds):
        for pin, (_, way) in ways.items():
            took[pin].append(processor(way.epoch) / STEPS)
    several = [primitives(ways[TORCH][1].epoch) for _ in range(rounds)]  # of wall time: the least disturbed one counts
    parts = min(several, key=lambda parts: sum(parts.values()))
    return {
        "network": spec.name,
        "macs": sizes(spec.layers, image).macs,
        "plans": {pin: plan for pin, (plan, _) in ways.items()},
        "step": {pin: median(seconds) for pin, seconds in took.items()},
        "multiplying": sum(parts.get(kind, 0.0) for kind in MULTIPLYING) / STEPS,
        "reorders": parts.get("reorder", 0.0) / STEPS,
        "operations": 6 * sizes(spec.layers, image).macs * recipe.batch_size,
    }


def work() -> None:
    """Measure and print."""
    parser = new_parser(__doc__)
    parser.add_argument("--template", default="benchmarks/large.toml", help="name or TOML file (%(default)s)")
    parser.add_argument("--least", type=int, default=0, help="networks of so many macs (%(default)s)")
    parser.add_argument("--most", type=int, default=250_000_000, help="to so many (%(default)s)")
    parser.add_argument("--limit", type=positive, default=40, help="so many of them at most (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=5, help="medians count (%(default)s)")
    args = parser.parse_args()
    prepare()
    torch.set_num_threads(1)
    facts = machine()
    print_machine(facts)
    template, image = load(args.template), (1, 28, 28)
    recipe = Recipe(batch_size=template.recipe.batch_size, precision="bf16")
    matrix = torch.randn(2048, 2048).bfloat16()
    products = [processor(lambda: matrix @ matrix) for _ in range(9)]
    pins = [TORCH, *([MACHINE_CODE] if has_bf16_for_machine_code() else []), FLOAT32]
    specs = [
        spec
        for spec in generate(template, image, 10)
        if any(is_convolution(layer.op) for layer in spec.layers)
        and args.least <= sizes(spec.layers, image).macs <= args.most
    ]
    specs = specs[:: max(1, len(specs) // args.limit)][: args.limit]
    rows = []
    for spec in specs:
        rows.append(measure(spec, image, recipe, pins, args.rounds))
        products.append(processor(lambda: matrix @ matrix))
    rows.sort(key=lambda row: row["macs"])
    top = 2 * 2048**3 / min(products) / 1e9

    def share(row: dict[str, Any], seconds: float) -> float:
        return float(row["operations"] / seconds / 1e9 / top)

    lines = [
        [
            *(row["network"], f"{row['macs']:,}"),
            *(f"{1e3 * row['step'][pin]:.1f}" for pin in pins),
            *(f"{100 * share(row, row['step'][pin]):.0f}" for pin in pins),
            *(f"{100 * row[part] / row['step'][TORCH]:.0f}" for part in ("multiplying", "reorders")),
            f"{row['step'][FLOAT32] / row['step'][pins[-2]]:.2f}",
        ]
        for row in rows
    ]
    head = ["network", "macs", *(f"{SHORT[pin]} ms" for pin in pins), *(f"{SHORT[pin]} %" for pin in pins)]
    head += ["products %", "reorders %", "fp32 by bf16"]
    print_table(f"A step of {recipe.batch_size} samples; ceiling {top:,.0f} GFLOP/s in bf16", head, lines)
    shares = {pin: [share(row, row["step"][pin]) for row in rows] for pin in pins}
    shares["oneDNN's products alone"] = [share(row, row["multiplying"]) for row in rows]
    for name, each in shares.items():
        told = f"{min(each):.2f} to {max(each):.2f}, {geometric_mean(each):.2f} in the geometric mean"
        console.print(f"share of the ceiling, {name}: {told}")
    write_json(args.json, {"machine": facts, "ceiling": top, "rows": rows})


if __name__ == "__main__":
    main(work)
