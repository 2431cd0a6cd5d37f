"""Replicates of a network as one batched model beside one after the other: seconds of a step and a replicate.

    python benchmarks/replicates.py [--replicates 2 3 4 8 16] [--batch-size 25] [--repeats 25] [--json FILE]

For each network and number of replicates R, interleaved on one thread: a step of the explicit mode, and a step of
`batched replicates` on R replicates. Both with their optimizer's step, without the batch's gathering; the fastest of
many short repeats, which others on the machine disturb least. The last column says how many times as fast the batched
one is: above 1 it pays.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import _common
import torch
from torch import nn

from netpick.networks.catalogue.template import Recipe
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import LayerSpec, layer
from netpick.training.engines.batched import Stacked
from netpick.training.engines.explicit.step import ExplicitStep
from netpick.training.plan import Plan
from netpick.training.steps import make_optimizer, make_step

CLASSES, PIXELS = 10, 28 * 28


def linear(*features: int) -> list[LayerSpec]:
    """Linear layers from the pixels to the classes, with ReLU between them."""
    sizes = [PIXELS, *features, CLASSES]
    layers = [layer("Flatten")]
    for given, out in itertools.pairwise(sizes):
        layers += [layer("Linear", in_features=given, out_features=out), layer("ReLU")]
    return [*layers[:-1], layer("LogSoftmax")]


def convolutional(channels: int, kernel: int) -> list[LayerSpec]:
    """Two convolutions and a linear layer."""
    size = 28 - 2 * (kernel - 1)
    return [
        layer("Conv2d", in_channels=1, out_channels=channels, kernel_size=kernel),
        layer("ReLU"),
        layer("Conv2d", in_channels=channels, out_channels=channels, kernel_size=kernel),
        layer("ReLU"),
        layer("Flatten"),
        layer("Linear", in_features=channels * size**2, out_features=CLASSES),
        layer("LogSoftmax"),
    ]


NETWORKS = {
    "784-10": linear(),
    "784-32-10": linear(32),
    "784-64-64-64-10": linear(64, 64, 64),
    "784-128-10": linear(128),
    "784-256-10": linear(256),
    "784-512-10": linear(512),
    "2 × Conv2d, 4 channels, 5×5": convolutional(4, 5),
}


def steps(layers: list[LayerSpec], replicates: int, batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a step of one network in the explicit mode, and a step of all replicates as one model."""
    recipe, plan = Recipe(), Plan(mode="explicit")
    x, y = torch.rand(replicates, batch, 1, 28, 28), torch.randint(0, CLASSES, (replicates, batch))
    explicit, loss = ExplicitStep(build(layers, tuned=True)), torch.zeros(())
    step = make_step(make_optimizer(nn.ParameterList([explicit.flat.values]), recipe, plan))
    stacked = Stacked(layers, range(replicates))
    batched_step = make_step(make_optimizer(nn.ParameterList([stacked.flat.values]), recipe, plan))
    one_x, one_y = x[0], y[0]

    def one() -> None:
        explicit(one_x, one_y, loss)
        step()

    def batched() -> None:
        stacked.gradient(x, y)
        batched_step()

    return one, batched


def seconds(work: Callable[[], object], times: int) -> float:
    """Return the seconds of one call, over some."""
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, nargs="+", default=[2, 3, 4, 8, 16])
    parser.add_argument("--batch-size", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--json", help="file for the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    facts = _common.machine()
    _common.print_machine(facts)
    rows = []
    for name, layers in NETWORKS.items():
        for replicates in args.replicates:
            one, batched = steps(layers, replicates, args.batch_size)
            times = max(2, int(0.004 / seconds(batched, 2)))
            took = [(seconds(one, times), seconds(batched, times) / replicates) for _ in range(args.repeats + 1)][1:]
            alone, share = (min(pair[n] for pair in took) for n in (0, 1))
            row = {"network": name, "replicates": replicates, "explicit_us": alone * 1e6, "batched_us": share * 1e6}
            rows.append({**row, "ratio": alone / share})
    title = f"Microseconds of a step and a replicate, batches of {args.batch_size}"
    head = ["network", "replicates", "explicit", "batched", "times as fast"]
    values = [
        [r["network"], r["replicates"], f"{r['explicit_us']:.0f}", f"{r['batched_us']:.0f}", f"{r['ratio']:.2f}"]
        for r in rows
    ]
    _common.print_table(title, head, values)
    _common.write_json(args.json, {"machine": facts, "batch_size": args.batch_size, "rows": rows})


if __name__ == "__main__":
    main()
