"""One network after the other: the loop that every tutorial has, a careful loop, and netpick, side by side.

Three ways of `_peers.py` to train the same networks with the same recipe, each on one thread of one process, taken in
turns (A B C, A B C, ...) so that whatever the machine does meanwhile does it to all three: `tutorial`, `careful` and
`netpick`.

Measured is the wall time from building the network to its last evaluation; reading the data set's files is in none of
them. netpick's includes the accuracies and ROC areas per class that the others don't work out. The networks are picked
from a template by their computation and their place in its order of macs. Without MNIST in the data directory the
bundled digits are used, and that is said. `panel.py` has more ways and networks, and times the steps alone.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import torch
from _common import (
    console,
    machine,
    main,
    median,
    new_parser,
    positive,
    print_machine,
    print_table,
    spread,
    write_json,
)
from _jobs import Job, check_same_samples, choose_data, load_both
from _peers import WAYS as ALL_WAYS
from _peers import Outcome
from torch import Tensor
from torch.utils.data import Dataset

from netpick import data
from netpick.core.errors import DataError
from netpick.networks.catalogue import catalogue, template
from netpick.networks.paper.spec import NetworkSpec, seed_of, sizes

PICKS = (("Basic", 0.0), ("Linear", 0.02), ("Conv1d", 0.5), ("Conv2dThenLinear", 0.5), ("ResNetStyle", 0.9))
"""A computation (or a network's name), and the place in its order of macs, from 0 to 1."""

WAYS = {way: ALL_WAYS[way] for way in ("tutorial", "careful", "netpick")}


def pick_networks(networks: list[NetworkSpec], image: tuple[int, ...], names: list[str]) -> list[NetworkSpec]:
    """Return the networks with these names, or the five of `PICKS`."""
    by_name = {spec.name: spec for spec in networks}
    if names:
        if missing := [name for name in names if name not in by_name]:
            raise SystemExit(f"--networks: no network {', '.join(missing)} in the template")
        return [by_name[name] for name in names]
    picked = []
    for wanted, place in PICKS:
        rest = [s for s in networks if s.computation == wanted and s not in picked]
        rest.sort(key=lambda spec: sizes(spec.layers, image).macs)
        picked.append(by_name[wanted] if wanted in by_name else rest[round(place * (len(rest) - 1))])
    return picked


def make_jobs(args: argparse.Namespace, scratch: Path) -> tuple[str, list[Job]]:
    """Load everything; return the data set's name and what is to be trained on it."""
    name, folder = choose_data(args.dataset, args.data_dir)
    if name == "cifar10":
        raise DataError("the benchmark makes grey images: give one of mnist, fashion-mnist, kmnist, qmnist, digits")
    parsed = template.load(args.template)
    info = data.describe(name)
    networks = list(catalogue.enumerate_networks(parsed, info.shape, len(info.classes), args.seed))
    recipe = msgspec.structs.replace(parsed.recipe, epochs=args.epochs, timeout=None)
    loaded: dict[int | None, tuple[dict[str, Dataset[Any]], dict[str, tuple[Tensor, Tensor]]]] = {}
    jobs = []
    for spec in pick_networks(networks, info.shape, args.networks):
        large = sizes(spec.layers, info.shape).macs > args.large
        samples = args.train_samples if large else None
        if samples not in loaded:
            loaded[samples] = load_both(data.DataRequest(name, folder, args.seed, samples), folder, scratch)
        pair = loaded[samples]
        jobs.append(Job(spec, recipe, seed_of(args.seed, spec.hash, 0), *pair, args.num_workers))
    return name, jobs


def warm_up(job: Job) -> None:
    """Let every way load what it loads once: a few steps, untimed."""
    few = 4 * job.recipe.batch_size
    for way in WAYS.values():
        way(job.cut(few, few))


def measure(jobs: list[Job], repeat: int) -> list[dict[str, Any]]:
    """Train each network by each way in turns, and return one row a network."""
    rows = []
    for job in jobs:
        check_same_samples(job)
        warm_up(job)
        outcomes: dict[str, list[Outcome]] = {way: [] for way in WAYS}
        for _ in range(repeat):
            for way, run in WAYS.items():
                outcomes[way].append(run(job))
        size = sizes(job.spec.layers, tuple(job.resident["train"][0].shape[1:]))
        row: dict[str, Any] = {
            "network": job.spec.name,
            "params": size.params,
            "macs": size.macs,
            "train_samples": len(job.resident["train"][1]),
            "test_samples": len(job.resident["test"][1]),
        }
        for way, several in outcomes.items():
            row[way] = {
                "seconds": [o.seconds for o in several],
                "train_seconds": [o.train_seconds for o in several],
                "median": median(o.seconds for o in several),
                "accuracy": several[-1].accuracy,
            }
        for way in ("tutorial", "careful"):
            # Of neighbours in time: each repetition is a ratio of its own.
            row[f"{way}/netpick"] = [
                a.seconds / b.seconds for a, b in zip(outcomes[way], outcomes["netpick"], strict=True)
            ]
        rows.append(row)
        times = " and ".join(
            f"{spread(row[f'{way}/netpick'])} times as fast as {way}" for way in ("tutorial", "careful")
        )
        console.print(f"{job.spec.name}: netpick is {times}")
    return rows


def work() -> None:
    """Measure and print."""
    parser = new_parser(__doc__)
    parser.add_argument("--data-dir", help="where data sets lie; else $NETPICK_DATA, else ./data")
    parser.add_argument("--dataset", default="mnist", help="mnist, fashion-mnist, kmnist, qmnist or digits (mnist)")
    parser.add_argument("--template", default="netpicking", help="where the networks are taken from (netpicking)")
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="these, not the five chosen ones")
    parser.add_argument("--epochs", type=positive, default=1, help="epochs a training (1)")
    parser.add_argument("--repeat", type=positive, default=3, help="repetitions of A B C; medians count (3)")
    parser.add_argument(
        "--train-samples",
        type=positive,
        metavar="N",
        help="train large networks on N samples, test them on as large a share",
    )
    parser.add_argument(
        "--large", type=int, default=2_000_000, metavar="MACS", help="a network above so many macs is large (2,000,000)"
    )
    parser.add_argument("--num-workers", type=int, default=0, help="of the tutorial's DataLoader (0)")
    parser.add_argument("--seed", type=int, default=0, help="of networks, weights and order (0)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as folder:
        name, jobs = make_jobs(args, Path(folder))
        recipe = jobs[0].recipe
        rows = measure(jobs, args.repeat)
    head = [
        "network",
        "params",
        "macs",
        "samples",
        *(f"{way} s" for way in WAYS),
        "tutorial / netpick",
        "careful / netpick",
    ]
    lines = [
        [
            row["network"],
            f"{row['params']:,}",
            f"{row['macs']:,}",
            f"{row['train_samples']:,}",
            *(f"{row[way]['median']:.2f}" for way in WAYS),
            spread(row["tutorial/netpick"]),
            spread(row["careful/netpick"]),
        ]
        for row in rows
    ]
    title = (
        f"Training and evaluation on one thread: {recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''} of "
        f"{recipe.optimizer} on {name}, batch size {recipe.batch_size}; medians of {args.repeat}, ratios with range"
    )
    print_table(title, head, lines)
    accuracies = [[row["network"], *(f"{100 * row[way]['accuracy']:.2f}" for way in WAYS)] for row in rows]
    print_table("Test accuracy in % after the last epoch", ["network", *WAYS], accuracies)
    settings = {"dataset": name, "recipe": msgspec.to_builtins(recipe), "num_workers": args.num_workers, "threads": 1}
    write_json(args.json, {"machine": facts, **settings, "rows": rows})


if __name__ == "__main__":
    main(work)
