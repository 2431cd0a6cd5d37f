"""Train a stratified share of a template by the real command line, and say what came of it and what it cost.

Accuracy by family, seconds, bytes by table, statuses, and where the workers' time went: optimisation steps, evaluation,
the rest of a training (building, metrics), and what is outside all trainings (start-up, handing over, commits, merging
the files, idle workers). With --run nothing is trained: an existing run is reported on, with the wall time that its
event log tells.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from _common import (
    console,
    machine,
    main,
    megabytes,
    new_run_parser,
    print_machine,
    print_table,
    run_netpick,
    write_json,
)

from netpick.exam.run import Run
from netpick.store.folder import Store

PLACES = ("trainings", "epochs", "predictions", "weights", "networks.parquet", "samples.parquet", "events.jsonl")


def accuracy_by_family(run: Run) -> list[dict[str, Any]]:
    """Return one row a family: how many are done, and accuracy and seconds at their last epoch."""
    epochs = run.epochs[run.epochs["split"] == "test"]
    last = epochs.sort_values("epoch").groupby(["network", "replicate"], observed=True).tail(1)
    done = run.trainings[run.trainings["status"] == "done"]
    keys = ["network", "replicate"]
    frame = done.astype({"network": str}).merge(last.astype({"network": str})[[*keys, "accuracy"]], on=keys)
    frame = frame.merge(run.networks[["name", "computation", "activation"]], left_on="network", right_on="name")
    rows = []
    for (computation, activation), group in frame.groupby(["computation", "activation"], sort=False):
        best = group.loc[group["accuracy"].idxmax()]
        rows.append(
            {
                "computation": computation,
                "activation": activation,
                "done": len(group),
                "mean_accuracy": float(group["accuracy"].mean()),
                "best_accuracy": float(best["accuracy"]),
                "best": str(best["network"]),
                "seconds": float(group["seconds"].sum()),
            }
        )
    order = list(dict.fromkeys(run.networks["computation"]))
    return sorted(rows, key=lambda row: (order.index(row["computation"]), row["activation"]))


def bytes_by_table(folder: Path) -> dict[str, tuple[int, int]]:
    """Return (bytes, files) of each table of a run."""
    out = {}
    for name in PLACES:
        place = folder / name
        files = [place] if place.is_file() else [f for f in place.rglob("*") if f.is_file()]
        out[name] = sum(f.stat().st_size for f in files), len(files)
    return out


def session_seconds(run: Run) -> float:
    """Return the wall time of all sessions of a run together, from its event log."""
    total, begun, latest = 0.0, None, None
    for event in [*Store.open(run.path).events(), {"event": "begin", "time": None}]:
        if event["event"] == "begin":
            if begun and latest:
                total += (latest - begun).total_seconds()
            begun = datetime.fromisoformat(event["time"]) if event["time"] else None
        latest = datetime.fromisoformat(event["time"]) if event["time"] else None
    return total


def where_the_time_went(run: Run, wall: float) -> dict[str, float]:
    """Return the worker-seconds of each kind of work; `all` is workers × wall time."""
    keys = ["network", "replicate", "epoch"]
    # An epoch that evaluates several splits has several rows, each with the seconds of the same steps.
    train = float(run.epochs.groupby(keys, observed=True)["train_seconds"].first().sum())
    evaluate = float(run.epochs["eval_seconds"].sum())
    inside = float(run.trainings["seconds"].sum())
    whole = wall * int(run.trainings["workers"].max())
    return {
        "optimisation steps": train,
        "evaluation": evaluate,
        "rest of the trainings": inside - train - evaluate,
        "outside the trainings": whole - inside,
        "all": whole,
    }


def report(run: Run, generate_seconds: float | None, train_seconds: float | None) -> dict[str, Any]:
    """Print what a run came to, and return it."""
    statuses = {str(k): int(v) for k, v in run.trainings["status"].value_counts().items()}
    epochs = int(run.epochs["epoch"].max()) if len(run.epochs) else 0
    console.print(
        f"{run.name}: {len(run.trainings)} of {len(run.networks)} networks trained on {run.manifest['dataset']} for up "
        f"to {epochs} epochs: {', '.join(f'{v} {k}' for k, v in statuses.items())}",
        soft_wrap=True,
    )
    families = accuracy_by_family(run)
    rows = [
        [
            f"{f['computation']} {f['activation']}",
            f["done"],
            f"{100 * f['mean_accuracy']:.2f}",
            f"{100 * f['best_accuracy']:.2f}",
            f["best"],
            f"{f['seconds'] / f['done']:.2f}",
            f"{f['seconds']:.0f}",
        ]
        for f in families
    ]
    head = ["family", "done", "mean acc. %", "best acc. %", "best", "s a network", "s in all"]
    print_table("Test accuracy after the last epoch, by family", head, rows)
    sizes = bytes_by_table(run.path)
    whole = sum(size for size, _ in sizes.values())
    rows = [[name, files, megabytes(size)] for name, (size, files) in sizes.items()]
    print_table(
        "Written", ["table", "files", "MB"], [*rows, ["all", sum(n for _, n in sizes.values()), megabytes(whole)]]
    )
    session = session_seconds(run)
    wall = train_seconds or session
    times = where_the_time_went(run, wall)
    rows = [[name, f"{s:,.1f}", f"{100 * s / times['all']:.2f}"] for name, s in times.items()]
    source = "of the whole process" if train_seconds else "from the event log, without start-up"
    workers = int(run.trainings["workers"].max())
    print_table(f"{workers} workers × {wall:,.1f} s wall time {source}", ["", "worker-seconds", "%"], rows)
    share = 1 - (times["optimisation steps"] + times["evaluation"]) / times["all"]
    console.print(f"neither training nor evaluation: {100 * share:.2f} % of {workers} workers × wall time")
    if generate_seconds is not None:
        console.print(f"netpick generate: {generate_seconds:.1f} s; netpick train: {wall:.1f} s")
    seconds = {"generate": generate_seconds, "train": train_seconds, "sessions": session}
    return {
        "run": run.name,
        "networks": len(run.networks),
        "recipe": run.recipe,
        "statuses": statuses,
        "families": families,
        "bytes": {name: size for name, (size, _) in sizes.items()},
        "wall_seconds": seconds,
        "workers": workers,
        "worker_seconds": times,
        "share_not_training": share,
    }


def train(args: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Generate and train by the command line; return the wall time of both."""
    made = ["--dataset", args.dataset, "--limit", args.limit, "--run", folder]
    generated = run_netpick("generate", args.template, *made)
    given = ["--data-dir", args.data_dir] if args.data_dir else []
    given += ["--epochs", args.epochs] if args.epochs else []
    given += [x for override in args.set for x in ("--set", override)]
    trained = run_netpick("train", folder, "--device", args.device, "--workers", args.workers, *given, show=True)
    return generated, trained


def train_and_report(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train, then report."""
    seconds = train(args, folder)
    return report(Run(folder), *seconds)


def work() -> None:
    """Train and report, or only report."""
    parser = new_run_parser(__doc__, limit=200)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for netpick train")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="report on this run, train nothing")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    if args.run:
        result = report(Run(args.run), None, None)
    elif args.folder:
        result = train_and_report(args, args.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = train_and_report(args, Path(folder, "run"))
    write_json(args.json, {"machine": facts, **result})


if __name__ == "__main__":
    main(work)
