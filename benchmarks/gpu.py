"""Many networks on one CUDA card: netpick's graphs and streams beside what a careful person writes by hand.

Three parts, each of which can be run by itself (--part), so that each fits a limited time:

check       the networks of panel.json on the card and on the CPU, same seed: losses of two epochs; which were captured
speed       trainings an hour of the panel: a careful eager loop on the card (resident tensors, the fused Adam, no
            waiting in the epoch), one network after the other, against netpick with graphs on and off, 1 to 16
            streams, 1 to 4 processes, and 1 to 32 steps in a graph. Each way trains every network of the panel
            --copies times for one epoch of --samples samples. Timed is from the first task to the last result, after
            the processes have trained one small network each, so that starting them is left out; for the
            careful loop the optimisation steps and evaluations, after a warm-up. Networks with more than --most-macs
            are left out
run         `netpick generate netpicking` and `netpick train` on MNIST, 1001 networks, 4 epochs, batches of 25, from
            start to the last Parquet file; --limit for a share of it

Without a CUDA card it says so in one line and ends with exit code 2.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import geometric_mean
from typing import Any, NamedTuple

import msgspec
import torch
import torch.nn.functional as F
from _common import console, machine, main, new_parser, positive, print_machine, print_table, run_netpick, write_json

from netpick import data
from netpick.core import devices as device
from netpick.data import shared as share
from netpick.networks.catalogue.template import Recipe
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import NetworkSpec, seed_of, shapes, sizes
from netpick.sessions.workers import gpu_processes as cards
from netpick.sessions.workers.gpu_budget import Layout
from netpick.sessions.workers.process import resident
from netpick.sessions.workers.task import Task, result_of
from netpick.training import Job, Plan, choose, train

PANEL = Path(__file__).with_name("panel.json")
RECIPE = Recipe(optimizer="Adam", lr=0.001, batch_size=25, epochs=1)
PARTS = ("check", "speed", "run")


class Sized(NamedTuple):
    """A network, its macs and params, and the elements that all its layers give for one sample."""

    spec: NetworkSpec
    macs: int
    params: int
    memory: int


def panel(most_macs: int) -> list[Sized]:
    """Return the networks of the panel, the costliest first."""
    content = json.loads(PANEL.read_text(encoding="utf-8"))
    image = tuple(content["shape"])
    found = []
    for row in content["networks"]:
        spec = NetworkSpec.from_dict(row)
        size = sizes(spec.layers, image)
        found.append(Sized(spec, size.macs, size.params, sum(math.prod(one) for one in shapes(spec.layers, image))))
    return sorted((one for one in found if one.macs <= most_macs), key=lambda one: one.macs, reverse=True)


def careful(spec: NetworkSpec, recipe: Recipe, seed: int, splits: Any, card: str) -> float:
    """Train eagerly, tensors on the card, fused Adam, nothing read back but once an epoch; return the seconds."""
    torch.manual_seed(seed)
    model = build(spec.layers).to(card)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=True)
    (images, labels), (test, _) = splits["train"], splits["test"]
    torch.cuda.synchronize(card)
    start = time.perf_counter()
    for _ in range(recipe.epochs):
        model.train()
        total = torch.zeros((), device=card)
        for chosen in torch.randperm(len(labels), device=card).split(recipe.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss = F.nll_loss(model(images[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        model.eval()
        with torch.inference_mode():
            scores = torch.cat([model(x) for x in test.split(1000)]).cpu()
        total.item()
    assert len(scores) == len(test)
    return time.perf_counter() - start


def make_tasks(networks: Sequence[Sized], recipe: Recipe, shared: Any, card: str, copies: int, mode: str) -> list[Task]:
    chosen = replace(choose(recipe, card), mode=mode)
    return [
        Task(Job(spec, recipe, seed_of(0, spec.hash, n), chosen, card, n), shared, memory=memory, params=params)
        for spec, _, params, memory in networks
        for n in range(copies)
    ]


def prepare(device: str, layout: Layout, background: Any, unroll: int | None) -> Any:
    """Make a process's feeder with a fixed number of steps in a graph; run in the processes."""
    feeder = cards.prepare_card(device, layout, background)
    if unroll is not None:
        feeder.start = partial(start, background=background, unroll=unroll)
    return feeder


def start(task: Task, lane: Any, background: Any, unroll: int) -> Iterator[Any]:
    """Train with a fixed number of steps in a graph."""
    from netpick.training.engines.graphs.network import Pieces
    from netpick.training.engines.graphs.training import training

    splits = resident(task.shared, task.job.device)
    return training(task.job, lane, splits, background, pieces=Pieces(unroll))


def netpick_seconds(tasks: list[Task], card: str, layout: Layout, unroll: int | None) -> tuple[float, list[str]]:
    """Return the seconds from the first task to the last result, and what failed; processes are started before."""
    # Very small networks, first: as many as fill all streams, so that every process is there and warm.
    last = tasks[-1].job
    small = replace(last, recipe=msgspec.structs.replace(last.recipe, epochs=1))
    count = layout.trainings + 2 * layout.processes
    warm = [replace(tasks[-1], job=replace(small, replicate=10**6 + n)) for n in range(count)]
    begun: list[float] = []
    failed: list[str] = []

    def heard(task: Task) -> None:
        if task.job.replicate < 10**6 and not begun:
            begun.append(time.perf_counter())

    for result in map(result_of, cards.stream([*warm, *tasks], [card], layout, heard, partial(prepare, unroll=unroll))):
        if result.status != "done" or "capture" in result.plan:
            failed.append(f"{result.network}: {result.status} {result.error or result.plan}")
    return time.perf_counter() - begun[0], failed


def check(args: Any, card: str, shared: Any) -> dict[str, Any]:
    """Train on the card and on the CPU; return the largest relative difference of a loss for each network."""
    splits = {name: tuple(map(torch.from_numpy, pair)) for name, pair in share.attach(shared).items()}
    here = {name: (x[:2000], y[:2000]) for name, (x, y) in splits.items()}
    there = {name: (x.to(card), y.to(card)) for name, (x, y) in here.items()}
    recipe = msgspec.structs.replace(RECIPE, epochs=2)
    rows, found = [], {}
    for spec, *_ in panel(min(args.most_macs, 20_000_000)):
        seed = seed_of(0, spec.hash, 0)
        on_card = train(Job(spec, recipe, seed, choose(recipe, card), card), there)
        on_cpu = train(Job(spec, recipe, seed, Plan()), here)
        pairs = zip(on_card.epochs, on_cpu.epochs, strict=True)
        worst = max(abs(a.train_loss / b.train_loss - 1) for a, b in pairs)
        accuracies = [one.epochs[-1].splits[0].accuracy for one in (on_card, on_cpu)]
        found[spec.name] = {"loss": worst, "accuracy": accuracies, "plan": on_card.plan, "seconds": on_card.seconds}
        rows.append([spec.name, f"{worst:.1e}", *(f"{one:.3f}" for one in accuracies), on_card.plan])
    print_table("the card against the CPU", ["network", "loss differs by", "card", "CPU", "plan"], rows)
    return found


def speed(args: Any, card: str, shared: Any) -> dict[str, Any]:
    """Time the careful loop and netpick's ways; return seconds and trainings an hour of each."""
    networks, copies = panel(args.most_macs), args.copies
    splits = resident(shared, card)
    for spec, *_ in networks[-3:]:
        careful(spec, RECIPE, 0, splits, card)
    one_by_one = {spec.name: careful(spec, RECIPE, 0, splits, card) for spec, *_ in networks}
    rate = {"careful": 3600 * len(networks) / sum(one_by_one.values())}
    ways: list[tuple[str, str, Layout, int | None]] = [
        *((f"eager, {n} streams", "eager", Layout(1, n), None) for n in args.streams[:1]),
        *((f"graph, {n} streams", "graph", Layout(1, n), None) for n in args.streams),
        *((f"graph, {p} x 8 streams", "graph", Layout(p, 8), None) for p in args.processes if p > 1),
        *((f"graph, 8 streams, {k} steps", "graph", Layout(1, 8), k) for k in args.unroll),
    ]
    notes: dict[str, list[str]] = {}
    alone: dict[str, float] = {}
    for one in networks:  # the same network, many of it at a time: its ratio by itself
        tasks = make_tasks([one], RECIPE, shared, card, max(copies, 8), "graph")
        seconds, _ = netpick_seconds(tasks, card, Layout(1, 8), None)
        alone[one.spec.name] = one_by_one[one.spec.name] * len(tasks) / seconds
        console.print(f"{one.spec.name}: {alone[one.spec.name]:.1f} times the careful loop's trainings an hour")
    for name, mode, layout, unroll in ways:
        tasks = make_tasks(networks, RECIPE, shared, card, copies, mode)
        seconds, failed = netpick_seconds(tasks, card, layout, unroll)
        rate[name], notes[name] = 3600 * len(tasks) / seconds, [] if mode == "eager" else failed
        console.print(f"{name}: {rate[name]:,.0f} trainings an hour")
    rows = [[name, f"{r:,.0f}", f"{r / rate['careful']:.2f}", len(notes.get(name, []))] for name, r in rate.items()]
    print_table("trainings an hour", ["way", "an hour", "to careful", "not as planned"], rows)
    mean = geometric_mean(alone.values())
    console.print(f"geometric mean over {len(alone)} networks, 8 streams in one process, to careful: {mean:.2f}")
    return {"an_hour": rate, "not_as_planned": notes, "ratios": alone, "geometric_mean": mean, "careful": one_by_one}


def whole_run(args: Any, card: str) -> dict[str, Any]:
    """Time the study's run from generate to the last file."""
    with tempfile.TemporaryDirectory() as folder:
        run, limit = Path(folder, "run"), ["--limit", args.limit] if args.limit else []
        before = run_netpick("generate", "netpicking", "--run", run, "--dataset", "mnist", *limit)
        options = ["--device", card, *(["--data-dir", args.data_dir] if args.data_dir else [])]
        seconds = run_netpick("train", run, *options, show=True)
        status = run_netpick("status", run, show=True)
    console.print(f"generate {before:.0f} s, train {seconds:.0f} s, together {(before + seconds) / 60:.1f} minutes")
    return {"generate": before, "train": seconds, "status": status, "limit": args.limit}


def measure() -> int:
    parser = new_parser(__doc__)
    numbers = {"nargs": "+", "type": positive, "metavar": "N"}
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="which parts to run (all)")
    parser.add_argument("--device", default="cuda:0", help="the card (cuda:0)")
    parser.add_argument("--data-dir", help="where MNIST lies; else $NETPICK_DATA, else ./data")
    parser.add_argument("--samples", type=positive, default=20000, help="training samples of check and speed (20000)")
    parser.add_argument("--copies", type=positive, default=4, help="trainings of each network (4)")
    parser.add_argument("--most-macs", type=positive, default=300_000_000, help="leave out larger networks")
    parser.add_argument("--streams", default=[1, 4, 8, 16], **numbers, help="streams in one process (1 4 8 16)")
    parser.add_argument("--processes", default=[1, 2, 4], **numbers, help="processes of 8 streams (1 2 4)")
    parser.add_argument("--unroll", default=[1, 8, 32], **numbers, help="steps in a graph (1 8 32)")
    parser.add_argument("--limit", type=positive, help="networks of the whole run (all 1001)")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.stderr.write(f"gpu.py: needs a CUDA card: torch {torch.__version__} sees none on this machine\n")
        return 2
    (card,) = device.resolve(args.device)
    facts = {**machine(), "card": device.describe(card), "cuda": torch.version.cuda}
    print_machine(facts)
    console.print(facts["card"])
    out: dict[str, Any] = {"machine": facts, "options": vars(args)}
    if {"check", "speed"} & set(args.part):
        with tempfile.TemporaryDirectory() as folder:
            request = data.DataRequest("mnist", data.data_dir(args.data_dir), 0, args.samples)
            shared = share.prepare(request, Path(folder))
            if "check" in args.part:
                out["check"] = check(args, card, shared)
            if "speed" in args.part:
                out["speed"] = speed(args, card, shared)
            write_json(args.json, out)  # the run takes long: what is there is kept
    if "run" in args.part:
        out["run"] = whole_run(args, card)
        write_json(args.json, out)
    return 0


if __name__ == "__main__":
    main(measure)
