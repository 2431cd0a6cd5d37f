"""Where the cycles of machine code go: each pass of training by itself, summed over a sample of networks.

    python benchmarks/passes.py --run runs/thousand-light --batch-size 200
    python benchmarks/passes.py --template netpicking --most 2000000
    python benchmarks/passes.py --template benchmarks/large.toml --most 20000000 --bf16

The layers of a network's table are run one at a time, forwards and backwards, on values that a whole step has left;
what a convolution's gradients of weights and input take is told apart by asking for one of them. Processor time, the
least of several repeats. Of passes that multiply, the operations they need are set against the time: GFLOP/s, and the
share of a large matrix product's. The samples are noise.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _common import console, machine, main, new_parser, positive, print_machine, print_table, write_json

from netpick.core.recipe import Recipe
from netpick.networks import NetworkSpec, generate
from netpick.networks.catalogue.template import load
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import sizes
from netpick.store.folder import Store
from netpick.training import Job, Plan
from netpick.training.engines import compiled
from netpick.training.engines.compiled.program import Program, kernels

NAMES = (
    *("linear", "convolution", "activation", "padding", "batch norm", "addition", "slope", "largest", "mean"),
    *("sample norm", "dropout"),
)
REPEATS = 7


def least(work: Callable[[], object], seconds: float = 0.002) -> float:
    """Return the least seconds of processor time of some work, of which several make up a measurement."""
    start = time.process_time()
    work()
    many = max(1, int(seconds / max(time.process_time() - start, 1e-6)))
    took = []
    for _ in range(REPEATS):
        start = time.process_time()
        for _ in range(many):
            work()
        took.append((time.process_time() - start) / many)
    return min(took)


def multiplications(k: Any, row: np.ndarray) -> int:
    """Return the multiply-accumulates of a sample in one layer of the table."""
    pairs = int(row[k.INPUTS] * row[k.OUTPUTS])
    if row[k.KIND] == k.LINEAR:
        return pairs
    if row[k.KIND] != k.CONV:
        return 0
    places = [k.places(row, axis) for axis in range(3)]
    return pairs * int(np.prod(places)) * int(np.prod(row[k.KERNEL : k.KERNEL + 3]))


def measure(spec: NetworkSpec, image: tuple[int, ...], recipe: Recipe, bf16: bool) -> dict[str, tuple[float, float]]:
    """Return the seconds of a step in each pass, and the floating point operations they need."""
    torch.manual_seed(0)
    model = build(spec.layers, tuned=False).train()
    n = recipe.batch_size
    program = Program(kernels(bf16), spec.layers, model, recipe, image, 4 * n, bf16=bf16)
    k, p = program.kernels, program
    images = np.random.default_rng(0).standard_normal((4 * n, p.rows.shape[1])).astype(np.float32)
    labels, order = np.zeros(4 * n, np.int64), np.arange(4 * n)
    p.train(images, labels, order)
    out: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    part = min(n, p.part)  # so many samples go through the layers at a time

    def add(name: str, seconds: float, operations: float = 0, each: int = part) -> None:
        out[name][0] += seconds * n / each
        out[name][1] += operations * n / each

    turned = bool(p.table[0, k.KIND] != k.LINEAR)
    chosen, rows = order[:part], p.rows[:part]
    add("images", least(lambda: k.gather(images, chosen, turned, rows, p.x)))
    y = np.zeros((p.classes, part), np.float32)
    softmax = least(lambda: k.log_softmax(y, y))
    add("softmax and loss", 2 * softmax)

    masks = np.ones(part * p.masked, np.float32)

    def forward(at: int) -> float:
        layer = (p.table[at : at + 1], p.numbers[at : at + 1], p.links, p.values, rows, p.x, p.arena)
        shared = (p.taps, p.offsets, p.classes, p.positive, p.statistics, masks, True, p.words, p.addresses)
        return least(lambda: k.forward(*layer, *shared))

    def backward(at: int, row: np.ndarray) -> float:
        layer = (row[None], p.numbers[at : at + 1], p.links, p.values, p.gradients, rows, p.x, p.arena, p.d_arena)
        shared = (p.taps, p.offsets, p.statistics, p.product, False, p.words, p.addresses)
        return least(lambda: k.backward(*layer, *shared))

    for at, row in enumerate(p.table):
        name, operations = NAMES[row[k.KIND]], 2.0 * part * multiplications(k, row)
        add(f"{name}, forward", max(0, forward(at) - softmax), operations)
        both, unwanted = backward(at, row), row.copy()
        unwanted[k.WANTED] = 0
        if operations and row[k.WANTED]:
            weight = min(both, backward(at, unwanted))
            add(f"{name}, weights", weight, operations)
            add(f"{name}, input", both - weight, operations)
        else:
            add(f"{name}, weights" if operations else f"{name}, backward", both, operations)
    step = [p.values, p.gradients, p.first, p.second]
    if recipe.optimizer == "SGD":
        add("optimizer", each=n, seconds=least(lambda: k.step_sgd(*step[:3], p.hyper, p.nesterov, 5)))
    elif recipe.optimizer == "RMSprop":
        add("optimizer", each=n, seconds=least(lambda: k.step_rmsprop(*step, p.largest, p.hyper)))
    elif len(p.largest):
        add("optimizer", each=n, seconds=least(lambda: k.step_amsgrad(p.optimizer, *step, p.largest, p.hyper, 5)))
    else:
        add("optimizer", each=n, seconds=least(lambda: k.step_adam(p.optimizer, *step, p.hyper, 5)))
    whole = least(lambda: p.train(images, labels, order)) / 4
    add("whole step", whole, sum(operations for _, operations in out.values()), n)
    return {name: (seconds, operations) for name, (seconds, operations) in out.items()}


def networks(args: Any) -> tuple[list[NetworkSpec], tuple[int, ...], Recipe]:
    """Return the sample, a share of all families: every so manieth network in machine code."""
    if args.run:
        store = Store.open(args.run)
        specs = [NetworkSpec.from_dict(row) for row in store.networks()]
        shape, recipe = tuple(store.manifest["shape"]), store.recipe
    else:
        template = load(args.template)
        shape, recipe = (1, 28, 28), template.recipe
        specs = generate(template, shape, 10, limit=args.drawn)
    recipe = Recipe(
        optimizer=recipe.optimizer,
        optimizer_args=recipe.optimizer_args,
        batch_size=args.batch_size or recipe.batch_size,
    )
    plan = Plan(mode="compiled", convolutions="plain")
    fits = [
        one
        for one in specs
        if args.least <= sizes(one.layers, shape).macs <= args.most and not compiled.refuses(Job(one, recipe, 0, plan))
    ]
    return fits[:: max(1, len(fits) // args.limit)][: args.limit], shape, recipe


def work() -> None:
    """Measure and print."""
    parser = new_parser(__doc__)
    parser.add_argument("--run", help="folder of a run whose networks are taken")
    parser.add_argument("--template", default="thousand-light", help="or a template that they are drawn from")
    parser.add_argument("--drawn", type=positive, default=1001, help="how many are drawn of it (%(default)s)")
    parser.add_argument("--batch-size", type=positive, help="another than the recipe's")
    parser.add_argument("--limit", type=positive, default=40, help="how many networks (%(default)s)")
    parser.add_argument("--least", type=int, default=0, help="of so many macs (%(default)s)")
    parser.add_argument("--most", type=int, default=2_000_000, help="to so many (%(default)s)")
    parser.add_argument("--bf16", action="store_true", help="convolutions in bf16; the large product's rate too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    facts = machine()
    print_machine(facts)
    specs, image, recipe = networks(args)
    matrix = torch.randn(2048, 2048, dtype=torch.bfloat16 if args.bf16 else torch.float32)
    top = 2 * 2048**3 / least(lambda: matrix @ matrix) / 1e9
    rows, total = [], defaultdict(lambda: [0.0, 0.0])
    for spec in specs:
        passes = measure(spec, image, recipe, args.bf16)
        for name, pair in passes.items():
            total[name] = [a + b for a, b in zip(total[name], pair, strict=True)]
        seconds, operations = passes["whole step"]
        macs = sizes(spec.layers, image).macs
        rows.append({"network": spec.name, "macs": macs, "passes": passes, "share": operations / seconds / 1e9 / top})
    whole = total["whole step"][0]
    lines = [
        [
            *(name, f"{1e3 * seconds:,.2f}", f"{100 * seconds / whole:.1f}"),
            *((f"{ops / seconds / 1e9:.1f}", f"{100 * ops / seconds / 1e9 / top:.0f}") if ops else ("", "")),
        ]
        for name, (seconds, ops) in sorted(total.items(), key=lambda pair: -pair[1][0])
    ]
    head = ["pass", "ms", "% of step", "GFLOP/s", "% of ceiling"]
    print_table(f"A step of {recipe.batch_size} samples, summed over {len(rows)} networks", head, lines)
    shares = sorted(row["share"] for row in rows)
    mean = float(np.exp(np.mean(np.log(shares))))
    console.print(f"share of {top:.0f} GFLOP/s: {shares[0]:.2f} to {shares[-1]:.2f}, {mean:.2f} in the geometric mean")
    write_json(args.json, {"machine": facts, "ceiling": top, "total": dict(total), "rows": rows})


if __name__ == "__main__":
    main(work)
