"""Twenty networks, trained by the tutorial's loop, by a careful loop, by Lightning, and by netpick, side by side.

The networks are those of panel.json: all computations, 8 thousand to 500 million floating point operations a sample.
Recipe: Adam, learning rate 0.001, batches of 25; MNIST; one thread. The ways, each said in full in `_peers.py`:

tutorial    DataLoader over torchvision's data set
fused       tensors in memory, the fused Adam, eager float32: what a careful person writes by hand
lightning   Lightning's Trainer, with all that can be off; left out, and said so, where the package isn't installed
netpick     what netpick's workers do, with the plan that it chooses for the network

For each network there are rounds; in each round every way trains a fresh network for one epoch over the same samples,
in turns, so that whatever the machine does meanwhile does it to all. Networks for which the slowest way would take
longer than --slice seconds get fewer samples. Timed are the optimisation steps, with each way's handling of its data;
evaluation is timed by itself. What a round gives is a ratio of neighbours in time; the median of the rounds counts for
a network, the geometric mean of the networks for the panel.

GFLOP/s count 6 operations a multiply-accumulate and sample: 2 forward, 4 backward, although the gradient of the image
is computed by none. The ceiling is the best of some products of 2048 x 2048 matrices on one thread, before and after;
where netpick's plan computes in bf16, that of bf16 matrices, at the end.

With --device cuda:0 `fused` and `netpick` are measured on that GPU too, one network at a time: that several networks
share a card comes on top.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import msgspec
import torch
from _common import console, machine, main, new_parser, positive, print_machine, print_table, spread, write_json
from _jobs import Job, check_same_samples, choose_data, load_both
from _peers import WAYS, Outcome, lightning_module, on_gpu

from netpick import data
from netpick.core import devices as device
from netpick.core.errors import DataError
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper.spec import NetworkSpec, seed_of, sizes

PANEL = Path(__file__).with_name("panel.json")
RECIPE = Recipe(optimizer="Adam", lr=0.001, batch_size=25, epochs=1, precision="auto")
LEAST_STEPS = 4
"""Of any slice: with fewer, the first step, which makes the optimizer's states, would be too much of it."""


def ceiling(dtype: torch.dtype, size: int = 2048, repeat: int = 3) -> float:
    """Return the floating point operations a second of a matrix product on one thread: the best of some."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times[1:])


def make_ways(gpu: str | None) -> dict[str, Callable[[Job], Outcome]]:
    """Return the ways that can be measured here; say which can't."""
    ways = {name: WAYS[name] for name in ("tutorial", "fused", "lightning", "netpick")}
    if lightning_module() is None:
        console.print(
            "lightning is not installed and left out: pip install -e '.[bench]'", style="yellow", markup=False
        )
        del ways["lightning"]
    if gpu:
        ways |= {f"{name}@gpu": on_gpu(name, gpu) for name in ("fused", "netpick")}
    return ways


def slice_of(job: Job, ways: dict[str, Callable[[Job], Outcome]], seconds: float, gpu: str | None) -> int:
    """Let every way load what it loads once, and return how many samples make a slice of so many seconds."""
    few = LEAST_STEPS * job.recipe.batch_size
    short = job.cut(few, few)
    slowest = 0.0
    for name, way in ways.items():
        placed = short.on(gpu) if gpu and name.endswith("@gpu") else short
        way(placed)
        if not name.endswith("@gpu"):  # a GPU is given what the CPU can do: one slice for all
            slowest = max(slowest, way(placed).train_seconds / LEAST_STEPS)
    steps = max(LEAST_STEPS, int(seconds / slowest))
    return min(steps * job.recipe.batch_size, len(job.resident["train"][1]))


def measure(job: Job, ways: dict[str, Callable[[Job], Outcome]], rounds: int, seconds: float, gpu: str | None) -> dict:
    """Return one network's row: the outcomes of each way, and the ratios to netpick's."""
    count = slice_of(job, ways, seconds, gpu)
    part = job.cut(count, min(1000, count))
    there = part.on(gpu) if gpu else part
    outcomes: dict[str, list[Outcome]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            outcomes[name].append(way(there if name.endswith("@gpu") else part))
    size = sizes(job.spec.layers, tuple(job.resident["train"][0].shape[1:]))
    row: dict[str, Any] = {
        "network": job.spec.name,
        "computation": job.spec.computation,
        "params": size.params,
        "macs": size.macs,
        "train_samples": count,
        "test_samples": len(part.resident["test"][1]),
        "plans": {name: several[-1].plan for name, several in outcomes.items() if several[-1].plan},
    }
    for name, several in outcomes.items():
        trained = [o.train_seconds for o in several]
        row[name] = {
            "train_seconds": trained,
            "eval_seconds": [o.eval_seconds for o in several],
            "rest_seconds": [o.seconds - o.train_seconds - o.eval_seconds for o in several],
            "accuracy": several[-1].accuracy,
            "gflops": 6 * size.macs * count / median(trained) / 1e9,
        }
        ours = "netpick@gpu" if name.endswith("@gpu") else "netpick"
        if name != ours:
            for what in ("train", "eval"):
                pairs = zip(row[name][f"{what}_seconds"], seconds_of(outcomes[ours], what), strict=True)
                row[f"{what}: {name}/{ours}"] = [a / b for a, b in pairs]
    return row


def seconds_of(outcomes: list[Outcome], what: str) -> list[float]:
    """Return the seconds of training or evaluation of several outcomes."""
    return [getattr(one, f"{what}_seconds") for one in outcomes]


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, for each ratio, the geometric mean over the networks of their medians, and the worst network."""
    out = {}
    for key in [key for key in rows[0] if "/" in key]:
        ratios = {row["network"]: median(row[key]) for row in rows}
        worst = min(ratios, key=ratios.__getitem__)
        out[key] = {
            "geometric_mean": geometric_mean(ratios.values()),
            "worst": ratios[worst],
            "worst_network": worst,
        }
    return out


def show(rows: list[dict[str, Any]], found: dict[str, dict[str, Any]], top: dict[str, float]) -> None:
    """Print the tables."""
    trained = [key for key in found if key.startswith("train: ")]
    head = ["network", "Mflop", "samples", *(key.removeprefix("train: ") for key in trained)]
    lines = [
        [row["network"], f"{row['macs'] * 2e-6:,.3f}", row["train_samples"], *(spread(row[key]) for key in trained)]
        for row in rows
    ]
    lines.append(["geometric mean", "", "", *(f"{found[key]['geometric_mean']:.2f}" for key in trained)])
    lines.append(["worst", "", "", *(f"{found[key]['worst']:.2f}" for key in trained)])
    print_table("Seconds of optimisation steps, as a ratio to netpick's: median and range of the rounds", head, lines)
    ways = [name for name in rows[0] if isinstance(rows[0][name], dict) and "gflops" in rows[0][name]]
    lines = [
        [
            row["network"],
            *(f"{row[name]['gflops']:.2f}" for name in ways),
            f"{100 * row['netpick']['share']:.1f}",
            row["plans"]["netpick"],
        ]
        for row in rows
    ]
    title = "GFLOP/s of training, netpick's share of the ceiling in %, and its plan; ceiling: " + ", ".join(
        f"{name} {value / 1e9:.0f} GFLOP/s" for name, value in top.items()
    )
    print_table(title, ["network", *ways, "share %", "plan"], lines)
    evaluated = [key for key in found if key.startswith("eval: ")]
    lines = [
        [key.removeprefix("eval: "), f"{found[key]['geometric_mean']:.2f}", f"{found[key]['worst']:.2f}"]
        for key in evaluated
    ]
    print_table("Evaluation", ["ratio", "geometric mean", "worst"], lines)


def draw(rows: list[dict[str, Any]], found: dict[str, dict[str, Any]], top: dict[str, float], path: str) -> None:
    """Draw ratios, and GFLOP/s, by the work of a sample."""
    from matplotlib.figure import Figure

    from netpick.exam import theme

    flops = [2 * row["macs"] for row in rows]
    fig = Figure(figsize=(theme.WIDTH, theme.HEIGHT), layout="constrained")
    left, right = fig.subplots(1, 2)
    colours = dict(zip(("tutorial", "fused", "lightning", "netpick"), theme_colours(), strict=True))
    for key in [key for key in found if key.startswith("train: ") and "@gpu" not in key]:
        name = key.removeprefix("train: ").partition("/")[0]
        mean = found[key]["geometric_mean"]
        left.plot(
            flops,
            [median(row[key]) for row in rows],
            "o-",
            ms=4,
            lw=1,
            color=colours[name],
            label=f"{name} ({mean:.2f})",
        )
    left.axhline(1, color=theme.INK, linestyle=":", lw=1)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="floating point operations a sample",
        ylabel="times as long as netpick",
        title="Training steps (and geometric mean)",
    )
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "25" else "")
    left.legend()
    for name in [name for name in colours if name in rows[0]]:
        right.plot(flops, [row[name]["gflops"] for row in rows], "o-", ms=4, lw=1, color=colours[name], label=name)
    right.axhline(top["fp32"] / 1e9, color=theme.INK, linestyle=":", lw=1, label="a large matrix product, float32")
    right.set(
        xscale="log", yscale="log", xlabel="floating point operations a sample", ylabel="GFLOP/s", title="Throughput"
    )
    right.yaxis.set_major_formatter("{x:g}")
    right.legend(loc="lower right")
    fig.savefig(path, dpi=130)
    console.print(f"written: {path}", soft_wrap=True)


def theme_colours() -> tuple[str, ...]:
    """Return four colours that the colour-blind can tell apart (Okabe and Ito)."""
    return "#D55E00", "#0072B2", "#CC79A7", "#009E73"


def make_jobs(args: argparse.Namespace, scratch: Path) -> list[Job]:
    """Return the panel's networks with their data."""
    panel = json.loads(PANEL.read_text(encoding="utf-8"))
    name, folder = choose_data(args.dataset, args.data_dir)
    if data.describe(name).shape != tuple(panel["shape"]):
        raise DataError(f"the panel is for images of {panel['shape']}, which {name} has not: give mnist or one like it")
    loaded, resident = load_both(data.DataRequest(name, folder, args.seed, args.train_samples), folder, scratch)
    specs = [NetworkSpec.from_dict(one) for one in panel["networks"]]
    if unknown := set(args.networks) - {spec.name for spec in specs}:
        raise SystemExit(f"--networks: no network {', '.join(sorted(unknown))} in {PANEL.name}")
    return [
        Job(spec, RECIPE, seed_of(args.seed, spec.hash, 0), loaded, resident)
        for spec in specs
        if not args.networks or spec.name in args.networks
    ]


def work() -> None:
    """Measure, print, draw."""
    parser = new_parser(__doc__)
    parser.add_argument("--data-dir", help="where data sets lie; else $NETPICK_DATA, else ./data")
    parser.add_argument("--dataset", default="mnist", help="mnist, or one like it (mnist)")
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="these of the panel (all)")
    parser.add_argument("--train-samples", type=positive, default=6000, metavar="N", help="at most, in a slice (6000)")
    parser.add_argument("--slice", type=float, default=2.0, metavar="S", help="seconds of the slowest way (2)")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds of all ways; medians count (3)")
    parser.add_argument("--device", default="cpu", help="cuda:0 measures `fused` and `netpick` there too (cpu)")
    parser.add_argument("--figure", metavar="FILE", help="draw the ratios there")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (0)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    gpu = next((name for name in device.resolve(args.device) if name.startswith("cuda")), None)
    facts = machine() | ({"gpu": device.describe(gpu)} if gpu else {})
    print_machine(facts)
    ways = make_ways(gpu)
    top = {"fp32": ceiling(torch.float32)}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        jobs = make_jobs(args, Path(folder))
        check_same_samples(jobs[0])
        for job in jobs:
            rows.append(measure(job, ways, args.rounds, args.slice, gpu))
            said = [f"{key.removeprefix('train: ')} {spread(rows[-1][key])}" for key in rows[-1] if "train: " in key]
            console.print(f"{job.spec.name}: {', '.join(said)}", soft_wrap=True)
    top["fp32"] = max(top["fp32"], ceiling(torch.float32))
    precisions = [row["plans"]["netpick"].partition("/")[0] for row in rows]
    if "bf16" in precisions:  # a processor without these products takes minutes for one, and no plan wants it
        top["bf16"] = ceiling(torch.bfloat16)
    for row, precision in zip(rows, precisions, strict=True):
        row["netpick"]["share"] = row["netpick"]["gflops"] * 1e9 / top.get(precision, top["fp32"])
    found = summary(rows)
    show(rows, found, top)
    if args.figure:
        draw(rows, found, top, args.figure)
    settings = {"rounds": args.rounds, "slice_seconds": args.slice, "recipe": msgspec.to_builtins(RECIPE), "threads": 1}
    write_json(args.json, {"machine": facts, **settings, "ceilings": top, "summary": found, "rows": rows})


if __name__ == "__main__":
    main(work)
