"""Two workers against one, where their time goes, and how much memory a worker takes.

The same networks, a share of every family of a template, are trained by the real command line with one worker and with
as many as --workers says, in turns. Wall time is that of the whole command, from start to last Parquet file; beside it
stands that between the first and the last training, from the event log, without start-up and merging.

For memory another share is trained on the whole data set, with an idle process beside it that has imported torch and
does nothing. A few times a second the unique (USS) and proportional (PSS) memory of each worker is read; what counts is
the most that any worker ever has beyond what the idle process has at that moment. USS leaves out pages that another
process maps too, such as the data set; PSS counts each shared page in equal parts.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from _common import (
    console,
    machine,
    main,
    netpick_command,
    new_parser,
    positive,
    print_machine,
    print_table,
    run_netpick,
    spread,
    write_json,
)
from stratified import where_the_time_went

from netpick.exam.run import Run
from netpick.store.folder import Store

IDLE = "import sys, torch; torch.zeros(1); print('ready', flush=True); sys.stdin.read()"
WORKER = "popen_loky"
"""What stands in the command line of a worker, and in that of no other process of a run."""


def generate(args: argparse.Namespace, folder: Path, limit: int, *words: object) -> None:
    """Make a run; recipe and data set are the template's but for what is said."""
    run_netpick("generate", args.template, "--dataset", args.dataset, "--limit", limit, "--run", folder, *words)


def train_words(args: argparse.Namespace, folder: Path, workers: int) -> list[object]:
    """Return the words of `netpick train`."""
    where = ["--data-dir", args.data_dir] if args.data_dir else []
    return ["train", folder, "--device", "cpu", "--workers", workers, *where]


def stretch(run: Run) -> float:
    """Return the seconds between the first and the last event of a training."""
    times = [datetime.fromisoformat(event["time"]) for event in Store.open(run.path).events() if "network" in event]
    return (max(times) - min(times)).total_seconds()


def time_workers(args: argparse.Namespace, scratch: Path) -> dict[int, list[dict[str, Any]]]:
    """Train with one worker and with several, in turns; return what each took."""
    fixed = ["--set", f"recipe.train_samples={args.train_samples}", "--set", f"recipe.epochs={args.epochs}"]
    found: dict[int, list[dict[str, Any]]] = {1: [], args.workers: []}
    for at in range(args.rounds):
        for workers, several in found.items():
            folder = scratch / f"{workers}-{at}"
            generate(args, folder, args.limit, *fixed)
            wall = run_netpick(*train_words(args, folder, workers))
            run = Run(folder)
            spent = where_the_time_went(run, wall)
            several.append(
                {
                    "wall": wall,
                    "trainings": stretch(run),
                    "inside": spent["optimisation steps"] + spent["evaluation"],
                    "share_outside": 1 - (spent["optimisation steps"] + spent["evaluation"]) / spent["all"],
                }
            )
            console.print(f"workers: {workers}, round {at + 1}: {wall:.1f} s")
    return found


def measure_memory(args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Train on the whole data set, and return the peak of any worker beyond an idle process, in bytes."""
    generate(args, folder, args.memory_limit, "--set", "recipe.epochs=1")
    idle = subprocess.Popen([sys.executable, "-c", IDLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert idle.stdout is not None
    idle.stdout.readline()
    command = netpick_command(*train_words(args, folder, args.workers))
    beside = psutil.Process(idle.pid)
    peak = {"uss": 0.0, "pss": 0.0, "idle_uss": 0.0, "idle_pss": 0.0, "readings": 0}
    try:
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        coordinator = psutil.Process(running.pid)
        while running.poll() is None:
            time.sleep(0.2)
            zero = beside.memory_full_info()
            for process in children(coordinator):
                with contextlib.suppress(psutil.Error):
                    now = process.memory_full_info()
                    peak["readings"] += 1
                    for kind in ("uss", "pss"):
                        peak[kind] = max(peak[kind], getattr(now, kind) - getattr(zero, kind))
                        peak[f"idle_{kind}"] = max(peak[f"idle_{kind}"], getattr(zero, kind))
        if running.returncode:
            sys.exit(f"netpick train: exit code {running.returncode}")
    finally:
        idle.kill()
        idle.wait()
    return peak


def children(coordinator: psutil.Process) -> list[psutil.Process]:
    """Return the workers that a run has now."""
    found = []
    with contextlib.suppress(psutil.Error):
        for process in coordinator.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(WORKER in word for word in process.cmdline()):
                    found.append(process)
    return found


def work() -> None:
    """Measure and print."""
    parser = new_parser(__doc__)
    parser.add_argument("--template", default="thousand-light", help="name or TOML file (thousand-light)")
    parser.add_argument("--limit", type=positive, default=60, help="networks, a share of every family (60)")
    parser.add_argument("--train-samples", type=positive, default=6000, help="of the training set (6000)")
    parser.add_argument("--epochs", type=positive, default=4, help="epochs (4)")
    parser.add_argument("--workers", type=positive, default=2, help="workers against one (2)")
    parser.add_argument("--rounds", type=positive, default=2, help="rounds of one and several (2)")
    parser.add_argument("--memory-limit", type=positive, default=24, help="networks trained for the memory (24)")
    parser.add_argument("--dataset", default="mnist", help="data set (mnist)")
    parser.add_argument("--data-dir", help="where data sets lie; else $NETPICK_DATA, else ./data")
    args = parser.parse_args()
    if args.workers < 2:
        parser.error("--workers: give 2 or more; one worker is measured beside them")
    if not hasattr(psutil.Process().memory_full_info(), "pss"):
        parser.error("proportional memory (PSS) can be read on Linux only")
    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as folder:
        found = time_workers(args, Path(folder))
        memory = measure_memory(args, Path(folder, "memory"))
    names = {
        "wall": "whole command, s",
        "trainings": "first to last training, s",
        "inside": "steps and evaluation, worker-s",
    }
    one, many = found.values()
    rows = []
    for key, title in names.items():
        ratios = [a[key] / b[key] for a, b in zip(one, many, strict=True)]
        rows.append([title, *(spread([x[key] for x in several], 1) for several in found.values()), spread(ratios)])
    shares = [[100 * x["share_outside"] for x in several] for several in found.values()]
    rows.append(["neither steps nor evaluation, %", *(spread(values, 1) for values in shares), ""])
    title = f"{args.limit} networks of {args.template}, {args.epochs} epochs of {args.train_samples} samples"
    print_table(title, ["", "1 worker", f"{args.workers} workers", "ratio"], rows)
    rows = [
        [name, f"{memory[key] / 1e6:.0f}", f"{memory[f'idle_{key}'] / 1e6:.0f}"]
        for key, name in (("uss", "unique (USS)"), ("pss", "proportional (PSS)"))
    ]
    title = (
        f"Most memory of a worker beyond an idle torch process, all of {args.dataset}, {memory['readings']} readings"
    )
    print_table(title, ["memory", "MB beyond", "idle process MB"], rows)
    ratio = median(a["wall"] / b["wall"] for a, b in zip(one, many, strict=True))
    write_json(args.json, {"machine": facts, "ratio": ratio, "by_workers": found, "memory_bytes": memory})


if __name__ == "__main__":
    main(work)
