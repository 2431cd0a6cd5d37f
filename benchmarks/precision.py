"""Does what `auto` chooses change how accurate networks become? The same networks and seeds, trained in two ways.

A share of every family of a template is generated twice and trained by the real command line, from the same seeds and
on the same samples: once with `--reference` (float32, the plain loop) and once with `--candidate` (what netpick chooses
by itself). The difference in test accuracy after the last epoch is averaged over a network's seeds; networks are
independent of each other, so that the 95 % interval of their mean is Student's. The verdict asks for an interval that
contains 0 and lies within `--margin` points on both sides. Exit code 1 if it isn't so.

Trained for long, all ways end alike; trained on few samples, luck is large. The default is between the two, and leaves
out the largest networks to be done in minutes.
"""

from __future__ import annotations

import argparse
import shlex
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from _common import (
    console,
    interval,
    machine,
    main,
    new_parser,
    positive,
    print_machine,
    print_table,
    run_netpick,
    write_json,
)

from netpick.exam.run import Run


def train(args: argparse.Namespace, folder: Path, words: str) -> float:
    """Generate and train one of the two runs; return the seconds of training."""
    fixed = [f"recipe.train_samples={args.train_samples}", f"recipe.epochs={args.epochs}"]
    fixed += [f"recipe.replicates={args.seeds}", *args.set]
    given = [word for value in fixed for word in ("--set", value)]
    run_netpick("generate", args.template, "--dataset", args.dataset, "--limit", args.limit, "--run", folder, *given)
    where = ["--data-dir", args.data_dir] if args.data_dir else []
    where += ["--device", args.device, "--workers", args.workers, "--scores", "none", "--weights", "none"]
    return run_netpick("train", folder, *where, *shlex.split(words))


def last_accuracies(run: Run) -> pd.DataFrame:
    """Return network, replicate, accuracy after the last epoch, training seconds and plan of what is done."""
    epochs = run.epochs[run.epochs["split"] == "test"].astype({"network": str})
    keys = ["network", "replicate"]
    seconds = epochs.groupby(keys)["train_seconds"].sum().rename("train_seconds")
    last = epochs.sort_values("epoch").groupby(keys).tail(1)[[*keys, "accuracy"]].merge(seconds, on=keys)
    done = run.trainings[run.trainings["status"] == "done"].astype({"network": str})
    return done[[*keys, "plan"]].merge(last, on=keys)


def compare(reference: Run, candidate: Run, margin: float) -> dict[str, Any]:
    """Print how the second run differs from the first, and return it."""
    pairs = last_accuracies(reference).merge(
        last_accuracies(candidate), on=["network", "replicate"], suffixes=("_reference", "_candidate")
    )
    pairs["difference"] = 100 * (pairs["accuracy_candidate"] - pairs["accuracy_reference"])
    by_network = pairs.groupby("network")["difference"].mean()
    if len(by_network) < 2:
        raise SystemExit(f"{len(by_network)} networks are done in both runs: at least 2 are needed")
    mean, low, high = interval(by_network.to_numpy())
    seeds = 100 * pairs.groupby("network")["accuracy_reference"].std().pow(2).mean() ** 0.5
    other = pairs[pairs["plan_reference"] != pairs["plan_candidate"]]
    statuses = {
        name: {str(k): int(v) for k, v in run.trainings["status"].value_counts().items()}
        for name, run in (("reference", reference), ("candidate", candidate))
    }
    speed = pairs["train_seconds_reference"].sum() / pairs["train_seconds_candidate"].sum()
    within = low <= 0 <= high and -margin <= low and high <= margin
    rows = [
        ["networks", len(by_network)],
        ["pairs of trainings", len(pairs)],
        ["pairs executed by another plan", len(other)],
        ["pairs of equal accuracy", int((pairs["difference"] == 0).sum())],
        ["mean accuracy of the reference, %", f"{100 * pairs['accuracy_reference'].mean():.2f}"],
        ["mean difference, points", f"{mean:+.3f}"],
        ["its 95 % interval", f"{low:+.3f} to {high:+.3f}"],
        ["standard deviation between networks, points", f"{by_network.std():.3f}"],
        ["the same between seeds of one, reference", f"{seeds:.3f}"],
        ["largest gain, largest loss, points", f"{by_network.max():+.2f}, {by_network.min():+.2f}"],
        ["seconds of training, reference to candidate", f"{speed:.2f}"],
    ]
    print_table("Candidate against reference, paired by network and seed", ["", ""], rows)
    plans = pairs.groupby("plan_candidate")
    print_table(
        "Plans of the candidate",
        ["plan", "trainings", "mean difference", "times as fast"],
        [
            [
                plan,
                len(group),
                f"{group['difference'].mean():+.3f}",
                f"{group['train_seconds_reference'].sum() / group['train_seconds_candidate'].sum():.2f}",
            ]
            for plan, group in plans
        ],
    )
    how = "contains 0 and lies" if within else "does not both contain 0 and lie"
    console.print(f"verdict: the interval {how} within ±{margin:g} points", style="green" if within else "red")
    return {
        "statuses": statuses,
        "networks": len(by_network),
        "pairs": len(pairs),
        "other_plan": len(other),
        "mean": mean,
        "interval": [low, high],
        "deviation_of_seeds": seeds,
        "within_margin": within,
        "times_as_fast": speed,
        "differences": by_network.to_dict(),
    }


def work() -> int:
    """Train twice, compare."""
    parser = new_parser(__doc__)
    parser.add_argument("--template", default="netpicking", help="name or TOML file (netpicking)")
    parser.add_argument("--limit", type=positive, default=60, help="networks, a share of every family (60)")
    parser.add_argument("--seeds", type=positive, default=2, help="trainings of each network, in each way (2)")
    parser.add_argument("--train-samples", type=positive, default=6000, help="of the training set (6000)")
    parser.add_argument("--epochs", type=positive, default=2, help="epochs (2)")
    parser.add_argument(
        "--set",
        action="append",
        default=["defaults.max_macs=10000000"],
        metavar="KEY=VALUE",
        help="for netpick generate, after defaults.max_macs=10000000",
    )
    parser.add_argument(
        "--reference",
        default="--precision fp32 --plan reference",
        metavar="WORDS",
        help="for netpick train (%(default)s)",
    )
    parser.add_argument(
        "--candidate",
        default="--precision auto --plan auto",
        metavar="WORDS",
        help="for netpick train (%(default)s)",
    )
    parser.add_argument("--margin", type=float, default=0.2, help="points (0.2)")
    parser.add_argument("--dataset", default="mnist", help="data set (mnist)")
    parser.add_argument("--data-dir", help="where data sets lie; else $NETPICK_DATA, else ./data")
    parser.add_argument("--device", default="cpu", help="as for netpick train (cpu)")
    parser.add_argument("--workers", default="auto", help="as for netpick train (auto)")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as folder:
        seconds = {}
        for name, words in (("reference", args.reference), ("candidate", args.candidate)):
            console.print(f"training the {name}: {words}")
            seconds[name] = train(args, Path(folder, name), words)
        found = compare(Run(Path(folder, "reference")), Run(Path(folder, "candidate")), args.margin)
    write_json(args.json, {"machine": facts, "wall_seconds": seconds, **found})
    return int(not found["within_margin"])


if __name__ == "__main__":
    main(work)
