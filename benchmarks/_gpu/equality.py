"""Does the card compute what the CPU does? Every operation, every optimizer, and networks of the template.

Losses of two epochs on the same samples from the same seed, against the plain loop on the CPU. How far rounding alone
takes two ways on the CPU apart (the plain loop, and autograd with other convolutions) stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import torch

from _gpu.bench import Bench
from _gpu.part import Case, Found, Table
from _gpu.words import listed_cases, markdown
from netpick.core.recipe import OPTIMIZERS
from netpick.data.shared import attach
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper.operations import OPERATIONS
from netpick.networks.paper.spec import NetworkSpec, layer, seed_of, shapes
from netpick.training import Job, Plan, train

NAME, TITLE, MINUTES = "equality", "The card against the CPU", 5.0

NEAR, TIMES = 1e-3, 10.0
"""Two losses agree that differ by less than this share, or less than so many times what rounding does on the CPU."""

NEAR_AT_RANDOM = 0.3
"""Layers that draw numbers, which are others on a card; losses then agree roughly."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "Conv": {"in_channels": 4, "out_channels": 4, "kernel_size": 2},
    "Pool": {"kernel_size": 2},
    "Adaptive": {"output_size": 2},
    "BatchNorm": {"num_features": 4},
    "GroupNorm": {"num_groups": 2, "num_channels": 4},
    "BasicBlock": {"inplanes": 4, "planes": 4},
    "Concat": {"from": 1},
    "Add": {"from": 1},
    "Softmax": {"dim": 1},
}
"""What an operation must be told, by what is in its name; the last that fits."""


def one_of_each(image: tuple[int, ...]) -> Iterator[NetworkSpec]:
    """Yield a small network with each operation in it, behind a convolution."""
    pixels = math.prod(image)
    side = math.isqrt(pixels // 4)
    views = {1: (4, pixels // 4), 2: (pixels // side**2, side, side), 3: (1, 4, side, side)}
    for op in OPERATIONS:
        dims = int(op[-2]) if op[-2:] in ("1d", "3d") else 2
        first = {"in_channels": views[dims][0], "out_channels": 4, "kernel_size": 2}
        layers = [layer("Reshape", shape=list(views[dims])), layer(f"Conv{dims}d", **first)]
        binary = op == "BinaryLogSigmoid"
        if op in ("Linear", "Softmax", "LogSoftmax"):
            layers.append(layer("Flatten"))
        if op in ("Add", "Concat"):
            layers.append(layer("ReLU"))  # what is skipped
        if not binary:
            layers.append(layer(op, **arguments(op, shapes(layers, image)[-1])))
        features = math.prod(shapes(layers, image)[-1])
        end = layer("Linear", in_features=features, out_features=1 if binary else 10)
        last = layer(op) if binary else layer("LogSoftmax", dim=1)
        yield NetworkSpec(f"operation {op}", "Mixed", "None", (*layers, layer("Flatten"), end, last))


def arguments(op: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return what an operation must be told that gets a shape."""
    shaped: dict[str, dict[str, Any]] = {
        "Reshape": {"shape": [*reversed(shape)]},
        "LayerNorm": {"normalized_shape": list(shape)},
        "Linear": {"in_features": shape[-1], "out_features": 10},
    }
    fitting = [given for part, given in ARGUMENTS.items() if part in op]
    return shaped.get(op) or (fitting[-1] if fitting else {})


def cases(bench: Bench, found: Found) -> Iterator[Case]:
    """Yield operations, optimizers, networks."""
    recipe = msgspec.structs.replace(bench.recipe, epochs=2, optimizer_args={})
    for spec in list(one_of_each(bench.image))[:: bench.size.every]:
        yield Case(spec.name, partial(compare, bench, spec, recipe), 2)
    network = next(spec for spec in one_of_each(bench.image) if spec.name == "operation BatchNorm2d")
    for name, given in OPTIMIZERS.items():
        other = msgspec.structs.replace(recipe, optimizer=name, lr=0.001)
        yield Case(f"optimizer {name}", partial(compare, bench, network, other), 2)
        if "amsgrad" in given:
            other = msgspec.structs.replace(other, optimizer_args={"amsgrad": True})
            yield Case(f"optimizer {name}, amsgrad", partial(compare, bench, network, other), 2)
        if "momentum" in given:
            other = msgspec.structs.replace(other, optimizer_args={"momentum": 0.9})
            yield Case(f"optimizer {name}, momentum", partial(compare, bench, network, other), 2)
    small = [one for one in bench.drawn(bench.size.equal) if one.macs <= bench.size.equal_macs]
    for one in small:
        yield Case(f"network {one.spec.name}", partial(compare, bench, one.spec, recipe), 4)


def compare(bench: Bench, spec: NetworkSpec, recipe: Recipe) -> dict[str, Any]:
    """Train on the card and in two ways on the CPU; return how far the losses are apart."""
    count = bench.size.equal_samples
    here = {name: (torch.from_numpy(x[:count]), torch.from_numpy(y[:count]))
            for name, (x, y) in attach(bench.shared).items()}  # fmt: skip
    if spec.layers[-1].op == "BinaryLogSigmoid":
        here = {name: (x, y % 2) for name, (x, y) in here.items()}
    there = {name: (x.to(bench.device), y.to(bench.device)) for name, (x, y) in here.items()}
    seed = seed_of(0, spec.hash, 0)
    card = train(Job(spec, recipe, seed, bench.plan(recipe, spec), bench.device), there)
    kernel = card.plan.split("/")[2]
    plain = train(Job(spec, recipe, seed, Plan(mode="reference", kernel=kernel, convolutions="plain")), here)
    other = train(Job(spec, recipe, seed, Plan(mode="eager", kernel=kernel)), here)

    def apart(result: Any) -> float:
        pairs = zip(result.epochs, plain.epochs, strict=True)
        return max(abs(a.train_loss - b.train_loss) / max(abs(b.train_loss), 1e-6) for a, b in pairs)

    accuracies = [one.epochs[-1].splits[0].accuracy for one in (card, plain)]
    drawn = any("Dropout" in one.op or one.op == "RReLU" for one in spec.layers)
    return {"apart": apart(card), "rounding": apart(other), "random": drawn, "accuracy": accuracies, "plan": card.plan}


def agrees(row: dict[str, Any]) -> bool:
    """Return whether the card's losses are those of the CPU."""
    return bool(row["apart"] <= (NEAR_AT_RANDOM if row["random"] else max(NEAR, TIMES * row["rounding"])))


def figures(found: Found, table: Table) -> dict[str, float]:
    """Return nothing: no figure of the table follows from it."""
    return {}


def section(found: Found, table: Table) -> str:
    """Say how many agree, how far the farthest is, and which do not."""
    rows, said = [], []
    for kind in ("operation", "optimizer", "network"):
        of_kind = {name: row for name, row in found.items() if name.startswith(kind)}
        exact = {name: row for name, row in of_kind.items() if not row["random"]}
        if not exact:
            continue
        worst = max(exact, key=lambda name: exact[name]["apart"])
        wrong = [name for name, row in of_kind.items() if not agrees(row)]
        eager = sum("eager" in row["plan"] for row in of_kind.values())
        rows.append([kind, len(of_kind), len(of_kind) - len(wrong), f"{exact[worst]['apart']:.1e}", worst,
                     f"{max(row['rounding'] for row in exact.values()):.1e}", eager])  # fmt: skip
        said += wrong
    head = ["what", "tried", "agree", "farthest", "which", "by rounding on the CPU", "without a graph"]
    text = markdown(head, rows)
    text += f"\n\nLosses of two epochs; two agree that differ by less than {NEAR:g} of the CPU's, or {TIMES:g} times "
    text += (
        "what rounding does on the CPU to that network. Layers that draw random numbers draw others on a card: their "
    )
    text += f"losses have to agree within {NEAR_AT_RANDOM:g}.\n\n"
    return text + (f"Not in agreement: {listed_cases(said)}." if said else "All that was tried agrees.")
