"""Graphs against eager: seconds of a step of each network of the panel, alone on the card.

By the careful loop, by netpick without graphs, and by netpick with 1, 8, ... steps in a graph. Timed is the second of
two epochs, in which nothing is captured any more; what a capture costs the feeding thread is measured by itself. With
the steps in a graph goes the number of samples in one forward pass of an evaluation, which has no part in a step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from itertools import zip_longest
from statistics import median
from typing import Any

import msgspec
import torch

from _gpu.bench import Bench, Sized
from _gpu.careful import careful
from _gpu.judged import Judged, judge, ratio
from _gpu.part import Case, Found, Table
from _gpu.words import markdown, micro
from netpick.core import devices
from netpick.core.result import TrainingResult
from netpick.training import Job
from netpick.training.engines.graphs.network import Network, Pieces
from netpick.training.initial import initial
from netpick.training.parts import Parts

NAME, TITLE, MINUTES = "graphs", "Graphs against eager", 5.0

UNROLLED, BATCHES = (1, 8, 32, 128), (250, 1000, 4000, 10_000)
REPLAYS = 20


def cases(bench: Bench, found: Found) -> Iterator[Case]:
    """Yield the networks of the panel, the small ones first."""
    for network in reversed(bench.panel):
        yield Case(network.spec.name, partial(compare, bench, network), 8)


def compare(bench: Bench, network: Sized) -> dict[str, Any]:
    """Return the seconds of a step in all ways, those of an evaluation by samples in a pass, the cost of a capture."""
    recipe = msgspec.structs.replace(bench.recipe, epochs=2)
    unrolled = sorted({*UNROLLED, int(bench.table["MOST_UNROLLED"])})
    batches = sorted({*BATCHES, int(bench.table["EVALUATION_BATCH"])})
    steps = bench.size.steps
    splits = bench.cut(steps * recipe.batch_size, 10_000)
    few = bench.cut(2 * recipe.batch_size, recipe.batch_size)
    out: dict[str, Any] = {"macs": network.macs}
    out["careful"] = careful(network.spec, recipe, splits, bench.device).step

    def alone(mode: str, pieces: Pieces) -> TrainingResult:
        result = bench.alone(network.spec, recipe, bench.plan(recipe, network.spec, mode), splits, pieces)
        if result.status != "done":
            raise RuntimeError(f"{result.status}: {result.error}")
        return result

    out["eager"] = alone("eager", Pieces()).epochs[-1].train_seconds / steps
    out["unrolled"], out["evaluation"] = {}, {}
    for unroll, batch in zip_longest(unrolled, batches):
        result = alone("graph", Pieces(unroll, batch))
        out["plan"] = result.plan
        if unroll is not None:
            out["unrolled"][str(unroll)] = result.epochs[-1].train_seconds / steps
        if batch is not None:
            out["evaluation"][str(batch)] = sum(split.eval_seconds for split in result.epochs[-1].splits)
    out["capture"] = capture(bench, network, few)
    return out


def capture(bench: Bench, network: Sized, splits: Any) -> float:
    """Return what a step costs the feeding thread that is done eagerly and captured, in replays of its graph."""
    job = Job(network.spec, bench.recipe, 0, bench.plan(bench.recipe, network.spec), bench.device)
    lane = bench.lane()
    lane.begin()
    with lane.active():
        whole = Network(initial(job).to(lane.device), job, lane, Parts.of(job, splits), 1, Pieces(1))
        whole.model.train()
        whole.order.copy_(torch.arange(len(whole.order)))
        step = whole.chunk.work
        step()  # what is loaded late
        start = time.perf_counter()
        whole.position.zero_()
        step()
        whole.position.zero_()
        replay = lane.capture(step)
        captured = time.perf_counter()
        devices.synchronize(bench.device)
        replaying = time.perf_counter()
        for _ in range(REPLAYS):
            whole.position.zero_()
            replay()
        given = time.perf_counter()
        devices.synchronize(bench.device)
    while not lane.idle():
        time.sleep(0.001)
    lane.release()
    return (captured - start) / ((given - replaying) / REPLAYS)


def judged(found: Found, what: str, present: float) -> Judged:
    """Return the best number of steps in a graph, or of samples in an evaluation."""
    rows = [{int(way): seconds for way, seconds in row[what].items()} for row in found.values()]
    return judge(rows, int(present))


def figures(found: Found, table: Table) -> dict[str, float]:
    """Return the cost of a capture, the most steps in a graph, the samples in a pass."""
    captures = [row["capture"] for row in found.values()]
    return {
        "CAPTURE_PER_REPLAY": median(captures),
        "MOST_UNROLLED": judged(found, "unrolled", table["MOST_UNROLLED"]).value,
        "EVALUATION_BATCH": judged(found, "evaluation", table["EVALUATION_BATCH"]).value,
    }


def section(found: Found, table: Table) -> str:
    """Say what graphs gain over both eager ways, and what was chosen."""
    tried = next(iter(found.values()))["unrolled"]
    head = ["network", "macs", "careful, µs", "eager, µs", *(f"graph of {n}, µs" for n in tried), "plan"]
    rows = [
        [name, f"{row['macs']:,}", micro(row["careful"]), micro(row["eager"])]
        + [micro(row["unrolled"][n]) for n in tried]
        + [row["plan"]]
        for name, row in found.items()
    ]
    present = str(int(table["MOST_UNROLLED"]))
    to_careful = ratio([row["careful"] / row["unrolled"][present] for row in found.values()])
    to_eager = ratio([row["eager"] / row["unrolled"][present] for row in found.values()])
    unrolled = judged(found, "unrolled", table["MOST_UNROLLED"])
    batch = judged(found, "evaluation", table["EVALUATION_BATCH"])
    return (
        f"{markdown(head, rows)}\n\nSeconds of a step, one network alone on the card, in millionths. With {present} "
        f"steps in a graph a step is {to_careful} times faster than the careful loop's and {to_eager} times faster "
        "than without a graph: geometric means.\n\n"
        f"Steps in a graph: {unrolled.chosen} are fastest over all networks. Chosen from all others, they gain "
        f"a network {unrolled.gain} over {present}; the table gets {unrolled.value}.\n\nSamples in a pass of an "
        f"evaluation: {batch.chosen:,} are fastest, with a gain, judged likewise, of {batch.gain} over "
        f"{batch.present:,}; the table gets {batch.value:,}. A step done eagerly and captured costs the feeding thread "
        f"{median(row['capture'] for row in found.values()):,.0f} replays (median)."
    )
