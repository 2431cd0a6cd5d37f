"""Two ways that netpick does not take: torch's compiler (inductor), and like networks trained as one by `torch.vmap`.

Each beside netpick's graphs on the same networks of the panel. For inductor the seconds until the first step are said,
and after how many steps they are won back; for vmapped groups, trainings of one network from several seeds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import torch
import torch.nn.functional as F

from _gpu.bench import Bench, Sized
from _gpu.careful import careful
from _gpu.lanes import Way, measured, present
from _gpu.part import Case, Found, Table
from _gpu.words import markdown, micro
from netpick.core import devices
from netpick.networks.modules.build import build

NAME, TITLE, MINUTES = "candidates", "Candidates", 3.0

NETWORKS = 5
STEPS_OF_THE_STUDY = 9600
WARM_STEPS = 3


def cases(bench: Bench, found: Found) -> Iterator[Case]:
    """Yield networks of the panel over all sizes: compiled, and in groups."""
    chosen = bench.panel[:: max(1, len(bench.panel) // NETWORKS)][:NETWORKS][::-1]
    for network in chosen[: 1 if bench.stand_in else None]:
        yield Case(f"inductor, {network.spec.name}", partial(compiled, bench, network), 20)
    for network in chosen[: 1 if bench.stand_in else None]:
        for number in bench.size.groups:
            yield Case(f"{number} x {network.spec.name}", partial(group, bench, network, number), 12)


def compiled(bench: Bench, network: Sized) -> dict[str, Any]:
    """Return seconds until the first compiled step, of a step then, and of a step by netpick's graphs."""
    recipe = msgspec.structs.replace(bench.recipe, epochs=2)
    splits = bench.cut(bench.size.steps * recipe.batch_size)
    torch.compiler.reset()
    took = careful(network.spec, recipe, splits, bench.device, bench.compiled)
    graph = bench.alone(network.spec, recipe, bench.plan(recipe, network.spec), splits)
    return {"macs": network.macs, "first": took.first, "step": took.step,
            "graph": graph.epochs[-1].train_seconds / bench.size.steps}  # fmt: skip


def group(bench: Bench, network: Sized, number: int) -> dict[str, Any]:
    """Return seconds of a step of one network of a vmapped group, and of as many on lanes beside each other."""
    from torch.func import functional_call, grad, stack_module_state, vmap

    models = []
    for seed in range(number):
        torch.manual_seed(seed)
        models.append(build(network.spec.layers).to(bench.device).train())
    weights, buffers = stack_module_state(models)
    weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=bench.recipe.lr, amsgrad=True, fused=True)
    (images, labels), batch = bench.cut(bench.size.steps * bench.recipe.batch_size)["train"], bench.recipe.batch_size

    def loss(one: Any, held: Any, x: Any, y: Any) -> Any:
        return F.nll_loss(functional_call(models[0], (one, held), (x,)), y)

    gradients = vmap(grad(loss), in_dims=(0, 0, 0, 0), randomness="different")

    def step() -> None:
        chosen = torch.randint(len(labels), (number, batch), device=bench.device)
        for name, gradient in gradients(weights, buffers, images[chosen], labels[chosen]).items():
            weights[name].grad = gradient.detach()
        optimizer.step()

    for _ in range(WARM_STEPS):
        step()
    devices.synchronize(bench.device)
    start = time.perf_counter()
    for _ in range(bench.size.steps):
        step()
    devices.synchronize(bench.device)
    vmapped = (time.perf_counter() - start) / bench.size.steps / number
    now = present(bench.table)
    way = Way(1, number, now.load, now.turn)
    lanes = measured(bench, way, [network], number)
    steps = -(-len(bench.splits["train"][1]) // batch)
    return {"macs": network.macs, "vmapped": vmapped, "lanes": 3600 / lanes["an_hour"] / steps}


def figures(found: Found, table: Table) -> dict[str, float]:
    """Return nothing: netpick does not do it yet."""
    return {}


def section(found: Found, table: Table) -> str:
    """Say where each candidate would gain, and where not."""
    text = ""
    if rows := {name: row for name, row in found.items() if "first" in row}:
        head = ["network", "macs", "until the first step, s", "compiled, µs", "graph, µs", "won back after"]
        text += markdown(head, [
            [name, f"{row['macs']:,}", f"{row['first']:.1f}", micro(row["step"]), micro(row["graph"]), won_back(row)]
            for name, row in rows.items()
        ])  # fmt: skip
        pays = sum(row["graph"] * STEPS_OF_THE_STUDY > row["first"] + row["step"] * STEPS_OF_THE_STUDY
                   for row in rows.values())  # fmt: skip
        text += (
            f"\n\nOver the {STEPS_OF_THE_STUDY:,} steps that the study gives a network, the compiler would have gained "
        )
        text += f"time on {pays} of these {len(rows)}.\n\n"
    if rows := {name: row for name, row in found.items() if "vmapped" in row}:
        head = ["group", "macs", "vmapped, µs", "lanes, µs", "times faster"]
        text += markdown(head, [[name, f"{row['macs']:,}", micro(row["vmapped"]), micro(row["lanes"]),
                                 f"{row['lanes'] / row['vmapped']:.2f}"] for name, row in rows.items()])  # fmt: skip
        faster = sum(row["vmapped"] < row["lanes"] for row in rows.values())
        text += "\n\nSeconds of a step of one network of the group, in millionths, those of lanes with capturing and "
        text += f"evaluating: vmapped groups were faster in {faster} of {len(rows)}."
    return text


def won_back(row: dict[str, Any]) -> str:
    """Return the steps after which the seconds of compiling are won back."""
    gained = row["graph"] - row["step"]
    return f"{row['first'] / gained:,.0f} steps" if gained > 0 else "never"
