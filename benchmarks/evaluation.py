"""What evaluating a sample costs beside training on one, on one thread: forty networks, each with the plan it gets.

The networks are the 20 of panel.json and 20 of `thousand-light`, a share of all families. Of each, an epoch of some
steps and the scores of some samples are computed in turns, in one process; what counts is processor time, which others
on the machine disturb least, and of several rounds the median ratio. An epoch is all that training does with a sample:
gather, forward, backward, optimizer. A forward pass is a third of the multiplications of a step, but for those of the
first layer, whose input has no gradient: `by macs` is the ratio of all multiplications, which a network has where all
of them take as long and nothing else takes time. The samples are noise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import msgspec
import torch
from _common import (
    console,
    machine,
    main,
    new_parser,
    positive,
    print_machine,
    print_table,
    processor,
    spread,
    write_json,
)

from netpick.core.recipe import Recipe
from netpick.networks import NetworkSpec, generate
from netpick.networks.catalogue.template import load
from netpick.networks.modules.build import build
from netpick.networks.paper.operations import OPERATIONS
from netpick.networks.paper.spec import sizes
from netpick.sessions.workers.process import prepare
from netpick.training import Job, choose
from netpick.training.engines.compiled.program import CompiledEpochs
from netpick.training.engines.eager.autograd import Autograd
from netpick.training.engines.explicit.step import ExplicitEpochs
from netpick.training.loop import Setup, Trainer
from netpick.training.order import Order

PANEL = Path(__file__).with_name("panel.json")
MAKERS: dict[str, Callable[[Setup], Trainer]] = {
    "compiled": CompiledEpochs,
    "explicit": ExplicitEpochs,
    "eager": Autograd,
}
WANTED = 0.35
OF_THE_TEMPLATE = 20


def networks() -> tuple[list[NetworkSpec], tuple[int, ...]]:
    """Return the forty, and the shape of their images."""
    panel = msgspec.json.decode(PANEL.read_bytes())
    shape, classes = tuple(panel["shape"]), panel["classes"]
    light = generate(load("thousand-light"), shape, classes, limit=OF_THE_TEMPLATE)
    return [*(NetworkSpec.from_dict(row) for row in panel["networks"]), *light], shape


def by_macs(spec: NetworkSpec, image: tuple[int, ...]) -> float:
    """Return the multiplications of a sample's scores by those of training on it."""
    first = next(n for n, one in enumerate(spec.layers, 1) if OPERATIONS[one.op].role == "computation")
    every, without = sizes(spec.layers, image).macs, sizes(spec.layers[:first], image).macs
    return every / (3 * every - without)


def measure(spec: NetworkSpec, image: tuple[int, ...], recipe: Recipe, rounds: int, slice_: float) -> dict[str, Any]:
    """Return one network's row."""
    plan = choose(recipe, "cpu", spec)
    job = Job(spec, recipe, 0, plan)
    torch.manual_seed(0)
    model = build(spec.layers, tuned=plan.convolutions == "tuned")
    images, labels = torch.randn(1000, *image), torch.randint(0, 10, (1000,))

    def trainer(count: int) -> Trainer:
        return MAKERS[plan.mode](Setup(job, model.train(), images[:count], labels[:count], Order(job, count)))

    def score(trainer: Trainer, count: int) -> None:
        model.eval()
        with torch.inference_mode():
            trainer.score(images[:count])
        model.train()

    batch = recipe.batch_size
    few = trainer(2 * batch)
    few.epoch()
    score(few, 2 * batch)
    each = processor(few.epoch) / 2
    trained = batch * min(1000 // batch, max(4, int(slice_ / each)))
    scored = min(1000, max(250, 3 * trained))
    way = trainer(trained)
    rows = []
    for _ in range(rounds):
        step = processor(way.epoch) / trained
        rows.append((step, processor(lambda: score(way, scored)) / scored))
    macs = sizes(spec.layers, image).macs
    return {
        "network": spec.name,
        "macs": macs,
        "by_macs": by_macs(spec, image),
        "plan": str(plan),
        "train_us": [1e6 * a for a, _ in rows],
        "evaluation_us": [1e6 * b for _, b in rows],
        "ratio": [b / a for a, b in rows],
        "gflops": 2e-9 * macs / median(b for _, b in rows),
    }


def work() -> None:
    """Measure and print."""
    parser = new_parser(__doc__)
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="these alone")
    parser.add_argument("--precision", default="fp32", help="as in a recipe (fp32)")
    parser.add_argument("--rounds", type=positive, default=7, help="medians count (%(default)s)")
    parser.add_argument("--slice", type=float, default=0.05, metavar="S", help="seconds of an epoch, about (0.05)")
    args = parser.parse_args()
    prepare()
    facts = machine()
    print_machine(facts)
    specs, image = networks()
    recipe = Recipe(optimizer="Adam", batch_size=25, precision=args.precision)
    chosen = [one for one in specs if not args.networks or one.name in args.networks]
    rows = []
    for one in chosen:
        rows.append(measure(one, image, recipe, args.rounds, args.slice))
        console.print(f"{one.name}: {spread(rows[-1]['ratio'])}")
    lines = [
        [
            *(row["network"], f"{row['macs']:,}", row["plan"], f"{median(row['train_us']):,.1f}"),
            *(f"{median(row['evaluation_us']):,.1f}", f"{row['gflops']:.1f}"),
            *(f"{row['by_macs']:.2f}", spread(row["ratio"])),
        ]
        for row in rows
    ]
    ratios = [median(row["ratio"]) for row in rows]
    least = geometric_mean(row["by_macs"] for row in rows)
    lines.append(["geometric mean", *[""] * 5, f"{least:.2f}", f"{geometric_mean(ratios):.2f}"])
    head = ["network", "macs", "plan", "train µs", "evaluation µs", "GFLOP/s", "by macs", "ratio"]
    within = sum(ratio <= WANTED for ratio in ratios)
    print_table(f"A sample; {within} of {len(rows)} networks at {WANTED} or below", head, lines)
    write_json(args.json, {"machine": facts, "rows": rows})


if __name__ == "__main__":
    main(work)
