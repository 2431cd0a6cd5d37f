"""How time, memory and disk grow with networks, epochs, samples and workers; writes the page SCALING.md.

Shares of every family of `netpicking` are trained on the bundled digits by the real command line, with one thing
changed at a time. Sessions of up to 100,000 trainings that take no time show what comes between two of them, and what
memory they need. Then stores of thousands of made-up networks are filled, merged, opened and asked. What a million
networks would need is worked out from these measurements, and which part would break first. Slopes are exponents of a
power law: 1 means twice as much for twice as many. The curves go into a figure beside the page.

GPUs are measured with --device cuda where there are any, one card against several; else the page says that they were
not.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import console, machine, main, new_parser, positive, print_machine, write_json
from _curves import bend, draw
from _growth import fill_store, idle_session, slope, train_run

from netpick.core import devices as device

MILLION = 1_000_000
TARGET = {"epochs": 4, "samples": 10_000, "classes": 10}
"""The exam of a million networks: as that of the study, on MNIST."""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def run_section(title: str, key: str, runs: list[dict[str, Any]]) -> str:
    """Return the section of a series of runs in which one number changes."""
    rows = [
        [
            f"{one[key]:,}",
            f"{one['wall_seconds']:,.1f}",
            f"{one['worker_seconds']:,.1f}",
            f"{one['bytes'] / 1e6:,.1f}",
            f"{one['coordinator_bytes'] / 1e6:,.0f}",
            f"{one['worker_bytes'] / 1e6:,.0f}",
        ]
        for one in runs
    ]
    head = [key.replace("_", " "), "wall s", "worker s", "disk MB", "coordinator MB", "worker MB"]
    said = []
    if len(runs) > 1:
        x = [one[key] for one in runs]
        names = {"wall_seconds": "wall time", "worker_seconds": "the workers' time", "bytes": "disk"}
        names |= {"coordinator_bytes": "the coordinator's memory"}
        said = [f"{name} {slope(x, [one[what] for one in runs]):.2f}" for what, name in names.items()]
    text = f"## {title}\n\n{table(head, rows)}\n\n" + (f"Slopes: {', '.join(said)}.\n" if said else "")
    return text + (bend(key, runs) if len(runs) > 2 else "")


def workers_section(runs: list[dict[str, Any]]) -> str:
    """Return the section on workers: the speed-up beside what it would be at best."""
    one = runs[0]
    text = run_section("Workers", "workers", runs)
    gains = [
        f"{r['workers']} workers are {one['wall_seconds'] / r['wall_seconds']:.2f} times as fast" for r in runs[1:]
    ]
    return text + "\n" + "; ".join(gains) + ", start-up and merging included: see `workers.py` for a longer run.\n"


def session_section(sessions: list[dict[str, Any]]) -> str:
    """Return the section on sessions whose trainings take no time."""
    rows = [
        [
            f"{one['trainings']:,}",
            f"{one['first'][0]:.1f}",
            *(f"{one['ms'][part]:.2f}" for part in (0, 4, -1)),
            *(f"{one['mb'][part]:,.0f}" for part in (0, -1)),
        ]
        for one in sessions
    ]
    head = ["trainings", "until the first, s", "first tenth, ms", "fifth tenth, ms", "last tenth, ms"]
    head += ["memory after a tenth, MB", "at the end, MB"]
    return (
        f"## A session\n\nTrainings that take no time, so that all that is left is what the session does between "
        f"them: 100 networks, each with many replicates, no scores kept.\n\n{table(head, rows)}\n\nA training that is "
        f"due takes {1e6 * held(sessions):,.0f} bytes of the session's memory, from the start on.\n"
    )


def held(sessions: list[dict[str, Any]]) -> float:
    """Return the megabytes that a session needs for each training that is due."""
    few, many = sessions[0], sessions[-1]
    return float((many["mb"][0] - few["mb"][0]) / max(1, many["trainings"] - few["trainings"]))


def store_section(stores: list[dict[str, Any]]) -> str:
    """Return the section of the filled stores."""
    measures = {
        "commit all, s": "commit_seconds",
        "merge, s": "compact_seconds",
        "open before, s": "open_scattered_seconds",
        "open after, s": "open_seconds",
    }
    rows = []
    for one in stores:
        asked = [f"{a['ask']:.1f} s, {a['peak_mb']:,.0f} MB" if "ask" in a else "no" for a in one["asked"].values()]
        seconds = [f"{one[key]:,.2f}" for key in measures.values()]
        files = f"{one['files_before']:,} to {one['files_after']:,}"
        rows.append([f"{one['networks']:,}", f"{one['rows']:,}", *seconds, files, f"{one['bytes'] / 1e6:,.0f}", *asked])
    head = ["networks", "rows", *measures, "files", "disk MB", *(f"`{name}`" for name in stores[0]["asked"])]
    x = [one["networks"] for one in stores]
    said = [f"{name.partition(',')[0]} {slope(x, [o[key] for o in stores]):.2f}" for name, key in measures.items()]
    return f"## The store\n\n{table(head, rows)}\n\nSlopes with networks: {', '.join(said)}.\n"


def in_two_parts(key: str, short: dict[str, Any], long: dict[str, Any], rows: int) -> float:
    """Return the seconds a network of so many rows would take: a fixed part and one by row.

    Two stores, of networks with few and with many rows, tell the parts apart.
    """
    (per_short, wide_short), (per_long, wide_long) = (
        (one[key] / one["networks"], one["rows"] / one["networks"]) for one in (short, long)
    )
    by_row = max(0.0, (per_long - per_short) / (wide_long - wide_short))
    return max(0.0, per_short - wide_short * by_row) + rows * by_row


def paper_section(found: dict[str, Any], memory: float) -> str:
    """Return what a million networks would need, from the largest run, the largest store and the widest commits."""
    run, stores, long = found["networks"][-1], found["stores"], found["long"]
    big = stores[-1]
    rows_each = TARGET["epochs"] * TARGET["samples"]
    commit, merge = (in_two_parts(key, big, long, rows_each) for key in ("commit_seconds", "compact_seconds"))
    each = run["worker_seconds"] / run["trainings"]
    disk = MILLION * (rows_each * long["row_bytes"] + run["bytes_by_table"]["weights"] / run["trainings"])
    opened = MILLION * big["open_scattered_seconds"] / big["networks"]
    votes = MILLION * TARGET["samples"] * 2
    session = 1e6 * held(found["session"]) * MILLION
    rows = [
        ["training, if each took as long as here", f"{MILLION * each / 3600:,.0f} worker hours ({each:.2f} s each)"],
        ["commits by one coordinator", f"{MILLION * commit / 3600:,.1f} hours ({1 / commit:,.0f} trainings a second, "
         f"{rows_each / commit:,.0f} rows a second)"],
        ["workers that one coordinator keeps up with", f"{each / commit:,.0f}"],
        ["generate", f"{MILLION * run['generate_seconds'] / run['networks'] / 3600:,.1f} hours"],
        ["disk", f"{disk / 1e12:,.2f} TB"],
        ["rows of predictions", f"{MILLION * rows_each:,}"],
        ["files before merging", f"{4 * MILLION:,}, in four folders"],
        ["opening the run before merging", f"{opened / 60:,.0f} minutes"],
        ["merging", f"{MILLION * merge / 3600:,.1f} hours on one core"],
        ["files of predictions after merging", f"{MILLION * rows_each // 10_000_000:,}"],
        ["networks.parquet", f"{MILLION * big['networks_bytes'] / big['networks'] / 1e6:,.0f} MB"],
        ["memory of a question about predicted classes", f"{votes / 1e9:,.0f} GB (int16)"],
        ["memory of a question about scores", "1 GB: they are read in pieces"],
        ["memory of the session that trains them", f"{session / 1e9:,.1f} GB"],
    ]  # fmt: skip
    limits = {
        "a question about predicted classes no longer fits into the memory of this machine": memory / (votes / MILLION),
        "a session no longer fits into it": memory / (session / MILLION),
        "opening a run that isn't merged takes a minute": 60 / (opened / MILLION),
        "merging takes a day": 86400 / merge,
        "one coordinator needs a day for its commits": 86400 / commit,
    }
    order = sorted(limits.items(), key=lambda item: item[1])
    listing = "\n".join(f"{n}. At {value:,.0f} networks {what}." for n, (what, value) in enumerate(order, 1))
    return (
        "## A million networks, on paper\n\n"
        f"{TARGET['epochs']} epochs, {TARGET['samples']:,} test samples, {TARGET['classes']} classes, all scores kept; "
        "worked out from the measurements above, as if everything went on growing like that.\n\n"
        f"{table(['what', 'a million networks'], rows)}\n\n"
        f"What breaks first:\n\n{listing}\n\n"
        "Training itself needs nothing from anybody but its network and the data set: `netpick train --scheduler` "
        "gives trainings to as many machines as a Dask cluster has, and with `--commit worker` these write the "
        "predictions themselves (see `cluster.py`). The rest goes through one coordinator and one folder. So a "
        "million networks would be some ten runs, with a coordinator each; each is merged by itself, and since the "
        "files are plain Parquet, DuckDB or Polars reads them together without holding them in memory. netpick's own "
        "questions read scores in pieces, and hold the predicted classes of one run; those that grow fastest draw "
        "2,000 networks.\n"
    )


def measure(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Train all runs and fill all stores."""
    count = 0

    def train(limit: int, workers: int, *sets: str) -> dict[str, Any]:
        nonlocal count
        count += 1
        folder = scratch / f"run-{count}"
        found = train_run(folder, args.template, args.dataset, limit, workers, args.device, list(sets))
        console.print(f"{limit} networks, {workers} workers, {' '.join(sets)}: {found['wall_seconds']:.1f} s")
        return found

    few, whole = args.networks[0], args.train_samples
    found: dict[str, Any] = {"networks": [train(limit, args.workers) for limit in args.networks]}
    found["epochs"] = [train(few, args.workers, f"recipe.epochs={n}") for n in args.epochs]
    found["train_samples"] = []
    for share in (4, 2, 1):
        one = train(few, args.workers, f"recipe.train_samples={whole // share}")
        found["train_samples"].append({**one, "train_samples": whole // share})
    found["workers"] = [train(few, n) for n in range(1, args.workers + 1)]
    found["session"] = []
    for n in args.trainings:
        found["session"].append(idle_session(scratch / f"idle-{n}", n))
        console.print(f"{n:,} trainings that take no time: {found['session'][-1]['ms'][-1]:.2f} ms between the last")
    found["stores"] = []
    for n in args.planted:
        found["stores"].append(fill_store(scratch / f"store-{n}", n, args.samples))
        console.print(f"store of {n:,} networks: {found['stores'][-1]['commit_seconds']:.1f} s of commits")
    found["long"] = fill_store(scratch / "store-long", 24, TARGET["samples"])
    return found


def page(args: argparse.Namespace, facts: dict[str, Any], found: dict[str, Any]) -> str:
    """Return the page."""
    gpus = "" if args.device != "cpu" else "GPUs were not measured here: `--device cuda` does.\n\n"
    first = found["networks"][0]
    about = (
        f"{facts['cpu']}, {facts['memory_gib']} GiB, {facts['system']}; torch {facts['versions']['torch']}, netpick "
        f"{facts['versions']['netpick']} ({(facts['git_commit'] or 'no commit')[:10]}); load average at the start "
        f"{facts['load_average'][0]}."
    )
    return (
        "# Scaling\n\n"
        "How time, memory and disk grow. This page is written by the command below, numbers and sentences alike; a "
        "slope is the exponent of a power law, fitted on logarithmic scales: 1 means twice as much for twice as "
        f"many.\n\n```\n{facts['command']}\n```\n\n{about}\n\n"
        f"Runs are shares of every family of `{args.template}` on {args.dataset} ({first['samples']} test samples), "
        f"{args.workers} workers and the template's epochs and training samples unless said. Wall time is that of "
        f"`netpick train`, merging included; memory is the most that was seen resident.\n\n{gpus}"
        f"![The curves of the tables below]({args.to.stem}.png)\n\n"
        + "\n".join(
            [
                run_section("Networks", "networks", found["networks"]),
                run_section("Epochs", "epochs", found["epochs"]),
                run_section("Training samples", "train_samples", found["train_samples"]),
                workers_section(found["workers"]),
                session_section(found["session"]),
                store_section(found["stores"]),
                paper_section(found, facts["memory_gib"] * 2**30),
            ]
        )
    )


def work() -> None:
    """Measure, write the page."""
    parser = new_parser(__doc__)
    parser.add_argument("--template", default="netpicking", help="name or TOML file (netpicking)")
    parser.add_argument("--dataset", default="digits", help="data set (digits)")
    parser.add_argument("--networks", type=positive, nargs="+", default=[100, 300, 1001], help="sizes (100 300 1001)")
    parser.add_argument("--epochs", type=positive, nargs="+", default=[1, 2, 4], help="epochs (1 2 4)")
    parser.add_argument("--train-samples", type=positive, default=1400, help="the most; also half, a quarter (1400)")
    parser.add_argument("--workers", type=positive, default=device.usable_cores(), help="the most (all cores)")
    parser.add_argument("--device", default="cpu", help="as for netpick train (cpu)")
    parser.add_argument(
        "--planted", type=positive, nargs="+", default=[1000, 3000, 10_000], help="networks of stores (1000 3000 10000)"
    )
    parser.add_argument(
        "--trainings",
        type=positive,
        nargs="+",
        default=[100, 1000, 10_000, 100_000],
        help="trainings of sessions that do nothing (100 1000 10000 100000)",
    )
    parser.add_argument("--samples", type=positive, default=500, help="samples of the stores (500)")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_name("SCALING.md"), help="the page (SCALING.md)")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args, Path(folder))
    draw(found, args.to.with_suffix(".png"))
    args.to.write_text(page(args, facts, found), encoding="utf-8")
    console.print(f"written: {args.to}", soft_wrap=True)
    write_json(args.json, {"machine": facts, **found})


if __name__ == "__main__":
    main(work)
