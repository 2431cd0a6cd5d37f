"""Say how long a run will take, train it, and compare: wall time, disk, and the time left while it was trained.

By the real command line, each in a fresh process: `netpick generate`, `estimate --format json`, `train`.
The wall time that is compared is that of the whole `netpick train`, from start to the last merged file; the session
finds the calibration that the estimate has made, and makes none of its own. What each network took is compared with
what the model said of it, for those that were timed in the calibration and for those that were not.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from _common import (
    console,
    machine,
    main,
    megabytes,
    netpick_command,
    new_run_parser,
    positive,
    print_machine,
    print_table,
    run_netpick,
    write_json,
)

from netpick.exam.run import Run

WORDS = re.compile(r"(?:(\d+) h )?(?:(\d+) min )?(?:(\d+) s )?left")


def seconds_left(line: str) -> int | None:
    """Read the time left off a line of `netpick train`."""
    found = WORDS.search(line)
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


def train(folder: Path, given: list[str]) -> tuple[float, list[tuple[float, int]]]:
    """Train a run; return the wall time, and at which second of it how many seconds were said to be left."""
    start = time.perf_counter()
    said = []
    command = netpick_command("train", folder, *given)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            console.print(line.rstrip(), style="dim", soft_wrap=True, markup=False)
            left = seconds_left(line)
            if left is not None:
                said.append((time.perf_counter() - start, left))
    if process.returncode:
        raise SystemExit(f"netpick train: exit code {process.returncode}")
    return time.perf_counter() - start, said


def written(folder: Path) -> int:
    """Return the bytes of a run's results."""
    places = [folder / name for name in ("trainings", "epochs", "predictions", "weights", "samples.parquet")]
    files = [f for place in places for f in (place.rglob("*") if place.is_dir() else [place]) if f.is_file()]
    return sum(f.stat().st_size for f in files)


def by_network(run: Run, estimate: dict[str, Any]) -> dict[str, Any]:
    """Compare the costliest networks, one by one."""
    took = run.trainings.groupby("network", observed=True)["seconds"].sum()
    ratios = [float(took[row["name"]]) / row["seconds"] for row in estimate["costliest"] if row["name"] in took.index]
    return {
        "worker_seconds": float(run.trainings["seconds"].sum()),
        "costliest_ratio": median(ratios) if ratios else None,
        "costliest_spread": math.sqrt(sum(math.log(r) ** 2 for r in ratios) / len(ratios)) if ratios else None,
    }


def compare(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Estimate, train, compare, print."""
    sets = [x for override in args.set for x in ("--set", override)]
    if args.train_samples:
        sets += ["--set", f"recipe.train_samples={args.train_samples}"]
    if args.epochs:
        sets += ["--set", f"recipe.epochs={args.epochs}"]
    run_netpick("generate", args.template, "--dataset", args.dataset, "--limit", args.limit, "--run", folder, *sets)
    given = ["--device", args.device, "--workers", args.workers]
    given += ["--data-dir", args.data_dir] if args.data_dir else []
    start = time.perf_counter()
    command = netpick_command("estimate", folder, *given, "--format", "json")
    command += ["--seconds", str(args.seconds)] if args.seconds else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"netpick estimate: exit code {done.returncode}")
    estimated_in = time.perf_counter() - start
    estimate = json.loads(done.stdout)
    wall, said = train(folder, given)
    size = written(folder)
    networks = by_network(Run(folder), estimate)
    rows = [
        ["wall time, s", f"{estimate['seconds']:.1f}", f"{wall:.1f}", f"{wall / estimate['seconds']:.3f}"],
        [
            "seconds of all workers",
            f"{estimate['worker_seconds']:.1f}",
            f"{networks['worker_seconds']:.1f}",
            f"{networks['worker_seconds'] / estimate['worker_seconds']:.3f}",
        ],
        [
            "disk, MB",
            megabytes(estimate["disk_bytes"]),
            megabytes(size),
            f"{size / estimate['disk_bytes']:.3f}",
        ],
    ]
    title = f"{estimate['due']} networks of {args.template}: said in {estimated_in:.1f} s, and what happened"
    print_table(title, ["", "said", "happened", "ratio"], rows)
    inside = "holds" if estimate["low"] <= wall <= estimate["high"] else "does not hold"
    off = 100 * abs(wall / estimate["seconds"] - 1)
    console.print(
        f"range {estimate['low']:.0f} to {estimate['high']:.0f} s, from {estimate['measured']} networks: {inside} what "
        f"happened; off by {off:.1f} % of what was said; the costliest took {networks['costliest_ratio']:.2f} times "
        "as long (median)",
        soft_wrap=True,
    )
    lines = [(f"{at:.0f}", left, f"{wall - at:.0f}", f"{left / max(wall - at, 1):.2f}") for at, left in said]
    if lines:
        print_table("Time left, as it was said", ["after s", "said s", "left s", "ratio"], lines)
    return {
        "estimate": estimate,
        "estimate_seconds": estimated_in,
        "wall": wall,
        "bytes": size,
        "said": said,
        **networks,
    }


def work() -> int:
    """Estimate, train, compare; exit code 1 where the wall time is further off than --within."""
    parser = new_run_parser(__doc__, limit=100)
    parser.add_argument("--train-samples", type=positive, help="fewer training samples")
    parser.add_argument("--seconds", type=float, help="what the calibration may take; netpick's own choice")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for netpick generate")
    parser.add_argument("--within", type=float, default=0.25, help="how far the wall time may be off (0.25)")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    if args.folder:
        result = compare(args, args.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = compare(args, Path(folder, "run"))
    write_json(args.json, {"machine": facts, **result})
    return int(abs(result["wall"] / result["estimate"]["seconds"] - 1) > args.within)


if __name__ == "__main__":
    main(work)
