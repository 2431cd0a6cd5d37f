"""Lanes and processes: trainings an hour with 1 to 64 networks at a time on the card.

Each way trains every network of the panel several times for an epoch. Timed is from the first task to the last result,
after each process has trained one small network, so that starting them is left out. First processes and streams, then,
with the best of these, how many cards' worth of threads at once, then the replays a turn. The way that was fastest is
judged on networks of the template that had no part in the choice, against the way of the table, in turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from _gpu.bench import Bench, Sized
from _gpu.judged import Ratio, ratio
from _gpu.part import Case, Found, Table
from _gpu.words import listed_cases, markdown, rate
from netpick.networks.modules.measure import measure
from netpick.sessions.workers.gpu_budget import Layout
from netpick.sessions.workers.gpu_feeder import Feeder
from netpick.sessions.workers.gpu_processes import AHEAD, prepare_card
from netpick.sessions.workers.process import resident
from netpick.sessions.workers.task import Task, result_of
from netpick.training.engines.graphs.network import Pieces
from netpick.training.engines.graphs.training import training

NAME, TITLE, MINUTES = "lanes", "Lanes and processes", 8.0

LOADS, TURNS = (1.0, 2.0, 8.0, 1000.0), (4, 64)
JUDGED = "other networks, turn "
WARM = 10**6
"""Replicates from here on are trained before the clock runs."""


class Way(NamedTuple):
    """How many at a time: processes, streams of each, cards' worth of threads, replays a turn."""

    processes: int
    streams: int
    load: float
    turn: int

    def __str__(self) -> str:
        return f"{self.processes} x {self.streams}, load {self.load:g}, {self.turn} replays a turn"


def present(table: Table) -> Way:
    """Return the way of a table."""
    processes, streams, turn = (int(table[name]) for name in ("PROCESSES", "STREAMS", "REPLAYS_A_TURN"))
    return Way(processes, streams, table["LOAD"], turn)


def cases(bench: Bench, found: Found) -> Iterator[Case]:
    """Yield the layouts, then loads and turns for the best so far, then that against the table's way."""
    layouts = [*((1, n) for n in bench.size.streams), *bench.size.several]
    now = present(bench.table)
    ways = [now._replace(processes=processes, streams=streams) for processes, streams in layouts]
    if now not in ways:
        ways.append(now)
    yield from (case(bench, way) for way in ways)
    best = fastest(found) or now
    yield from (case(bench, best._replace(load=load)) for load in LOADS)
    best = fastest(found) or now
    yield from (case(bench, best._replace(turn=turn)) for turn in TURNS)
    for turn in range(bench.size.turns):
        yield Case(f"{JUDGED}{turn + 1}", partial(beside, bench, fastest(found) or now, turn), 30)


def case(bench: Bench, way: Way) -> Case:
    """Return the measurement of a way on the panel."""
    return Case(str(way), partial(measured, bench, way, bench.panel, bench.size.copies), 18)


def fastest(found: Found) -> Way | None:
    """Return the way with most trainings an hour on the panel."""
    tried = [row for row in found.values() if "way" in row and not row["failed"]]
    best = max(tried, key=lambda row: row["an_hour"], default=None)
    return Way(*best["way"]) if best else None


def beside(bench: Bench, chosen: Way, turn: int) -> dict[str, Any]:
    """Return trainings an hour of the table's way and of another one on networks outside of the panel."""
    networks = bench.drawn(bench.size.others)
    ways = {"table": present(bench.table), "chosen": chosen}
    names = list(ways)[:: -1 if turn % 2 else 1]
    out = {name: measured(bench, ways[name], networks, bench.size.copies, with_costs=True) for name in names}
    return {**{name: row["an_hour"] for name, row in out.items()}, "ways": [*map(list, ways.values())],
            "failed": [*out["table"]["failed"], *out["chosen"]["failed"]], "costs": out["chosen"]["costs"]}  # fmt: skip


def measured(
    bench: Bench, way: Way, networks: Sequence[Sized], copies: int, with_costs: bool = False
) -> dict[str, Any]:
    """Train all networks in a way; return trainings an hour, what failed, and what each training was and took."""
    tasks = bench.tasks(networks, bench.recipe, copies)
    layout = Layout(way.processes, way.streams)
    last = tasks[-1].job
    warm = [
        replace(tasks[-1], job=replace(last, replicate=WARM + n))
        for n in range(layout.trainings + AHEAD * layout.processes)
    ]
    begun: list[float] = []

    def heard(task: Task) -> None:
        if task.job.replicate < WARM and not begun:
            begun.append(time.perf_counter())

    results = list(map(result_of, bench.stream([*warm, *tasks], layout, heard, partial(prepare, way=way))))
    seconds = time.perf_counter() - begun[0]
    failed = [f"{one.network}: {one.error or one.plan}" for one in results
              if one.status != "done" or "capture" in one.plan]  # fmt: skip
    found = {"way": list(way), "an_hour": 3600 * len(tasks) / seconds, "failed": failed}
    return {**found, "costs": costs(bench, networks, results)} if with_costs else found


def prepare(device: str, layout: Layout, background: Any, way: Way) -> Feeder:
    """Make a process's feeder of a way; run in the processes."""
    feeder = prepare_card(device, layout, background)
    feeder.budget.load = way.load
    feeder.start = partial(start, background=background, turn=way.turn)
    return feeder


def start(task: Task, lane: Any, background: Any, turn: int) -> Iterator[Any]:
    """Train with so many replays a turn."""
    splits = resident(task.shared, task.job.device)
    return training(task.job, lane, splits, background, pieces=Pieces(turn=turn))


def costs(bench: Bench, networks: Sequence[Sized], results: Sequence[Any]) -> list[list[float]]:
    """Return, for each training that was done, what it is made of on paper, and its seconds.

    A row: steps, and for all steps operations, weights, values, macs; then seconds without the evaluations.
    """
    batch = bench.recipe.batch_size
    made = {one.spec.hash: (measure(one.spec.layers, bench.image).ops, one) for one in networks}
    out = []
    for result in results:
        if result.status == "done" and result.replicate < WARM:
            ops, one = made[result.hash]
            steps = -(-len(bench.splits["train"][1]) // batch)
            evaluated = sum(split.eval_seconds for epoch in result.epochs for split in epoch.splits)
            counts = [ops, one.params, one.memory * batch, one.macs * batch]
            out.append([1.0, *(float(steps * count) for count in counts), result.seconds - evaluated])
    return out


COSTS = ("TRAINING_SECONDS", "OP_SECONDS", "WEIGHT_SECONDS", "VALUE_SECONDS", "MAC_SECONDS")


def fitted(rows: Sequence[Sequence[float]], table: Table) -> dict[str, float]:
    """Return the rough costs of a training that fit best: non-negative least squares on relative errors."""
    from scipy.optimize import nnls

    made = np.array(rows, dtype=float)
    x, y = made[:, :-1], made[:, -1]
    scale = np.array([table[name] for name in COSTS])
    shares = nnls(x * scale / y[:, None], np.ones(len(y)))[0]
    return {name: max(value, 1e-15) for name, value in zip(COSTS, shares * scale, strict=True)}


def errors(rows: Sequence[Sequence[float]], given: Table) -> Ratio:
    """Return predicted seconds by measured ones."""
    made = np.array(rows, dtype=float)
    predicted = made[:, :-1] @ np.array([given[name] for name in COSTS])
    return ratio((predicted / made[:, -1]).tolist())


def gain(found: Found) -> Ratio | None:
    """Return how many times more trainings an hour the chosen way gives than the table's, on other networks."""
    pairs = [row for name, row in found.items() if name.startswith(JUDGED) and not row["failed"]]
    return ratio([row["chosen"] / row["table"] for row in pairs]) if pairs else None


def figures(found: Found, table: Table) -> dict[str, float]:
    """Return the way: the chosen one where it is faster beyond doubt, else the table's; and the costs of a training."""
    gained = gain(found)
    if gained is None:
        return {}
    judged = [row for name, row in found.items() if name.startswith(JUDGED)]
    best = Way(*judged[0]["ways"][gained.low > 1])
    way = {"PROCESSES": best.processes, "STREAMS": best.streams, "LOAD": best.load, "REPLAYS_A_TURN": best.turn}
    return {**way, **fitted(judged[0]["costs"], table)}


def section(found: Found, table: Table) -> str:
    """Say how fast each way is, which was chosen, and what it gains where it played no part."""
    ways = [row for row in found.values() if "way" in row]
    if not ways:
        return "No way was measured on the panel."
    first = ways[0]["an_hour"]
    rows = [
        [Way(*row["way"]), rate(row["an_hour"]), f"{row['an_hour'] / first:.2f}", len(row["failed"])] for row in ways
    ]
    text = markdown(["way", "trainings an hour", "to the first", "not as planned"], rows)
    text += f"\n\nOn the panel {fastest(found)} is fastest of these {len(ways)}."
    wrong = [one for row in found.values() for one in row["failed"]]
    text += f" Not as planned: {listed_cases(wrong)}." if wrong else ""
    gained = gain(found)
    if gained is None:
        return text + " It was not judged on other networks, so that the table stays as it is."
    judged = [row for name, row in found.items() if name.startswith(JUDGED)]
    text += (
        f" On networks of the template outside of the panel it gives {gained} times the trainings an hour of the way "
    )
    text += f"of the table ({Way(*judged[0]['ways'][0])}), over turns with the same networks; "
    text += (
        "that is more, and goes into the table." if gained.low > 1 else "that is no gain beyond doubt: the table stays."
    )
    if len(judged) > 1:
        away = errors(judged[-1]["costs"], fitted(judged[0]["costs"], table))
        text += f"\n\nRough costs of a training, fitted to the first turn: in the last one they predict {away} of the "
        text += "seconds that were measured, in the geometric mean."
    return text
