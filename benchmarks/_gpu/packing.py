"""Packing by measured memory: whether trainings that share a card ever run out of it.

Hundreds of trainings of the template's networks, in batches of two sizes, on many lanes of a process that has only a
few GiB of the card, so that memory is what holds trainings back. The bytes that the budget predicts stand beside those
that were measured; what a process and a network take beside tensors is measured by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any

import msgspec
import numpy as np

from _gpu.bench import Bench
from _gpu.part import Case, Found, Table
from _gpu.words import markdown
from netpick.core import devices
from netpick.sessions.workers.gpu_budget import Layout
from netpick.sessions.workers.gpu_feeder import Feeder
from netpick.sessions.workers.gpu_processes import prepare_card
from netpick.sessions.workers.task import result_of
from netpick.training import Job, cards
from netpick.training.engines.graphs.network import Network, Pieces
from netpick.training.initial import initial
from netpick.training.parts import Parts

NAME, TITLE, MINUTES = "packing", "Packing by measured memory", 4.0

LANES = 32
TIMES = 10
"""Every other network is trained in batches so many times larger."""

COVERED = 0.95
"""Share of the networks whose measured bytes a fitted prediction is to cover."""

PACK = "pack "


def cases(bench: Bench, found: Found) -> Iterator[Case]:
    """Yield what is taken beside tensors, then the packs."""
    yield Case("a process", partial(beside_tensors, bench), 20)
    yield Case("networks held", partial(held, bench), 10)
    for number in range(bench.size.packs):
        yield Case(f"{PACK}{number + 1}", partial(pack, bench, number), 40)


def beside_tensors(bench: Bench) -> dict[str, Any]:
    """Return what a process takes before its first tensor, and the threads that the card has room for."""
    return {"bytes": bench.context_bytes(), "threads": bench.threads()}


def held(bench: Bench) -> dict[str, Any]:
    """Hold some networks that have all their graphs; return the bytes that each takes besides its tensors."""
    splits = bench.cut(20 * bench.recipe.batch_size)
    lanes, networks = [], []
    networks_to_hold = bench.panel[:: max(1, len(bench.panel) // bench.size.held)][: bench.size.held]
    free = bench.free()
    for spec, *_ in networks_to_hold:
        job = Job(
            spec, msgspec.structs.replace(bench.recipe, epochs=3), 0, bench.plan(bench.recipe, spec), bench.device
        )
        lane = bench.lane()
        lane.begin()
        with lane.active():
            with lane.metered():
                network = Network(initial(job).to(lane.device), job, lane, Parts.of(job, splits), 1, Pieces())
            for _ in range(job.recipe.epochs):
                for _ in network.epoch(network.order.clone().zero_()):
                    pass
                network.evaluate()
        lanes.append(lane)
        networks.append(network)
        devices.synchronize(bench.device)
    besides = free - bench.free() - sum(lane.peak or 0 for lane in lanes)
    for lane in lanes:
        lane.release()
    return {"networks": len(networks), "bytes": max(0, besides // len(networks))}


def pack(bench: Bench, number: int) -> dict[str, Any]:
    """Train many networks beside each other; return what ran out of memory, and predicted and measured bytes."""
    recipe = msgspec.structs.replace(bench.recipe, epochs=3)
    large = msgspec.structs.replace(recipe, batch_size=TIMES * recipe.batch_size)
    networks = bench.drawn(bench.size.packed, seed=number + 1)[: bench.size.packed]
    tasks = [task for n, one in enumerate(networks) for task in bench.tasks([one], (recipe, large)[n % 2], 1)]
    prepared = partial(prepare, bench=type(bench), most=bench.size.packed_bytes)
    ended = list(bench.stream(tasks, Layout(1, LANES), lambda task: None, prepared))
    results = list(map(result_of, ended))
    peaks = []
    for one, result in zip(ended, results, strict=True):
        if result.status == "done" and result.epochs[-1].peak_memory_bytes:
            values = one.task.memory * one.task.job.recipe.batch_size
            peaks.append([values, one.task.params, result.epochs[-1].peak_memory_bytes])
    return {
        "trainings": len(results),
        "out_of_memory": sum("out of memory" in (one.error or "") for one in results),
        "again": sum(one.attempts > 1 for one in results),
        "failed": sum(one.status not in ("done", "diverged") for one in results),
        "peaks": peaks,
    }


def prepare(device: str, layout: Layout, background: Any, bench: type[Bench], most: int) -> Feeder:
    """Make a feeder that has only so many bytes; run in the process."""
    feeder = prepare_card(device, layout, background)
    bench.shrink(device, most)
    feeder.budget.total = int(cards.MEMORY_SHARE * (most - cards.CONTEXT_BYTES))
    feeder.budget.load = float(LANES)
    return feeder


def packs(found: Found) -> list[dict[str, Any]]:
    """Return the packs that there are."""
    return [row for name, row in found.items() if name.startswith(PACK)]


def fitted(rows: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return copies of each value and each weight, such that most networks take no more than is predicted."""
    from scipy.optimize import nnls

    table = np.array(rows, dtype=float)
    x, y = 4 * table[:, :2], table[:, 2]
    copies = nnls(x / y[:, None], np.ones(len(y)))[0]
    copies *= np.quantile(y / (x @ copies), COVERED)
    return float(copies[0]), float(copies[1])


def covered(rows: Sequence[Sequence[float]], copies: tuple[float, float]) -> float:
    """Return the share of networks that take no more than is predicted."""
    table = np.array(rows, dtype=float)
    return float(np.mean(table[:, 2] <= 4 * table[:, :2] @ np.array(copies) * (1 + 1e-9)))


def ran_out(found: Found) -> int:
    """Return how many trainings ran out of memory at the first or at the second time."""
    return sum(max(row["again"], row["out_of_memory"]) for row in packs(found))


def figures(found: Found, table: Table) -> dict[str, float]:
    """Return bytes beside tensors, threads, copies; and the share of memory where none ran out of it."""
    out: dict[str, float] = {}
    if process := found.get("a process"):
        out |= {"CONTEXT_BYTES": process["bytes"], "THREADS": process["threads"]}
    if networks := found.get("networks held"):
        out["FIXED_BYTES"] = networks["bytes"]
    if peaks := [peak for row in packs(found) for peak in row["peaks"]]:
        out["VALUE_COPIES"], out["WEIGHT_COPIES"] = fitted(peaks)
        if not ran_out(found):
            out["MEMORY_SHARE"] = table["MEMORY_SHARE"]
    return out


def section(found: Found, table: Table) -> str:
    """Say how many ran out of memory, how far predictions are off, and what follows."""
    there = packs(found)
    text = ""
    if process := found.get("a process"):
        text += (
            f"A process takes {process['bytes'] / 2**20:,.0f} MiB of the card before its first tensor; the card has "
        )
        text += f"room for {process['threads']:,} threads. "
    if networks := found.get("networks held"):
        text += f"Each of {networks['networks']} networks with all their graphs took "
        text += f"{networks['bytes'] / 2**20:,.0f} MiB besides its tensors.\n\n"
    if not there:
        return text
    head = ["pack", "trainings", "tried again", "out of memory", "failed in all"]
    keys = ("trainings", "again", "out_of_memory", "failed")
    text += markdown(head, [[n + 1, *(row[key] for key in keys)] for n, row in enumerate(there)])
    total = sum(row["trainings"] for row in there)
    text += f"\n\nOf {total} trainings, on {LANES} lanes with little memory, {ran_out(found)} ran out of memory"
    text += (
        f" (none in {total}: at most {100 * (1 - 0.05 ** (1 / total)):.1f} % would, at 95 %)."
        if not ran_out(found)
        else "."
    )
    peaks = [row["peaks"] for row in there if row["peaks"]]
    if len(peaks) > 1:
        before = (table["VALUE_COPIES"], table["WEIGHT_COPIES"])
        learned = [peak for rows in peaks[:-1] for peak in rows]
        off = median(y / (4 * (before[0] * v + before[1] * w)) for v, w, y in peaks[-1])
        text += (
            f" By the table a network's tensors take {off:.2f} of what is predicted (median of the last pack). Copies "
        )
        text += f"fitted to all other packs cover {100 * covered(peaks[-1], fitted(learned)):.0f} % of the last one's "
        text += f"networks; they are made to cover {100 * COVERED:.0f} %."
    return text
