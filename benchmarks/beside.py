"""Two checkouts beside each other, this one and one before it: training, evaluation and questions, in turns.

Two processes are held, one in each checkout, with the packages of its own `.venv`. In every round both do the same, one
after the other, the second one first in every other round, so that whatever the machine does meanwhile does it to both.
What a round gives is a ratio, this checkout to the other; the median of the rounds counts, and the geometric mean of
all. Networks are those of `panel.py`, trained for an epoch as a worker does it; with --run the questions are asked of a
run instead, each in a process of its own, and their processor time is compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from math import exp, log
from pathlib import Path
from statistics import fmean, median
from typing import Any

from _common import console, machine, main, new_parser, positive, print_machine, print_table, write_json

HERE = Path(__file__).resolve().parents[1]

TRAINER = """
import argparse, json, sys, tempfile
from pathlib import Path
sys.path[:0] = ["benchmarks", "."]
import torch
torch.set_num_threads(1)
import _peers, panel
wanted = argparse.Namespace(dataset="mnist", data_dir=sys.argv[1] or None, seed=0, train_samples=6000, networks=[])
with tempfile.TemporaryDirectory() as scratch:
    jobs = {job.spec.name: job for job in panel.make_jobs(wanted, Path(scratch))}
    print(json.dumps(list(jobs)), flush=True)
    for line in sys.stdin:
        name, samples = line.split()
        done = _peers.train_netpick(jobs[name].cut(int(samples), min(1000, int(samples))))
        print(json.dumps([done.train_seconds, done.eval_seconds, done.accuracy]), flush=True)
"""

QUESTION = """
import json, sys, time
import matplotlib
matplotlib.use("Agg")
import pandas, seaborn
from netpick import Run
Run(sys.argv[1]).ask("scores").save(sys.argv[3])
begin = time.process_time()
Run(sys.argv[1]).ask(sys.argv[2]).save(sys.argv[3])
print(json.dumps([time.process_time() - begin]))
"""


def python(tree: Path) -> str:
    """Return the interpreter of a checkout's own environment."""
    return str(tree / ".venv" / "bin" / "python")


def in_turns(trees: list[Path], rounds: int, ask: Any) -> list[list[list[float]]]:
    """Return what each round gave: of each checkout, in the order of `trees`, its numbers."""
    out = []
    for number in range(rounds):
        order = trees if number % 2 == 0 else trees[::-1]
        said = {tree: ask(tree) for tree in order}
        out.append([said[tree] for tree in trees])
    return out


def ratios(rounds: list[list[list[float]]], at: int) -> list[float]:
    """Return the ratio of this checkout's number to the other's in each round."""
    return [here[at] / there[at] for there, here in rounds]


def networks(trees: list[Path], args: Any) -> list[dict[str, Any]]:
    """Train the networks of the panel."""
    held = {
        tree: subprocess.Popen(
            [python(tree), "-c", TRAINER, args.data_dir or ""], cwd=tree, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )
        for tree in trees
    }  # fmt: skip
    names = [json.loads(process.stdout.readline()) for process in held.values()][1]  # type: ignore[union-attr]

    def ask(tree: Path, name: str, samples: int) -> list[float]:
        process = held[tree]
        assert process.stdin is not None
        assert process.stdout is not None
        print(name, samples, file=process.stdin, flush=True)
        said: list[float] = json.loads(process.stdout.readline())
        return said

    rows = []
    for name in args.names or names:
        for tree in trees:
            ask(tree, name, 100)
        samples = min(6000, max(200, int(100 * args.slice / ask(HERE, name, 100)[0]) // 25 * 25))
        rounds = in_turns(trees, args.rounds, lambda tree, name=name, samples=samples: ask(tree, name, samples))
        same = rounds[-1][0][2] == rounds[-1][1][2]
        rows.append({"what": name, "train": ratios(rounds, 0), "eval": ratios(rounds, 1), "same accuracy": same})
        console.print(f"{name}: train {median(rows[-1]['train']):.3f}, evaluation {median(rows[-1]['eval']):.3f}")
    for process in held.values():
        process.kill()
    return rows


def questions(trees: list[Path], args: Any) -> list[dict[str, Any]]:
    """Ask the questions that both checkouts have."""
    known = [{path.stem for path in (tree / "analysis").glob("[!_]*.py")} for tree in trees]

    def ask(tree: Path, name: str) -> list[float]:
        words = [python(tree), "-c", QUESTION, args.run, name, "figure.png"]
        done = subprocess.run(words, cwd=args.scratch, capture_output=True, text=True, check=True)
        said: list[float] = json.loads(done.stdout.splitlines()[-1])
        return said

    rows = []
    for name in args.names or sorted(known[0] & known[1]):
        rounds = in_turns(trees, args.rounds, lambda tree, name=name: ask(tree, name))
        rows.append({"what": name, "processor": ratios(rounds, 0)})
        console.print(f"{name}: processor time {median(rows[-1]['processor']):.3f}")
    return rows


def work() -> None:
    """Compare, print."""
    parser = new_parser(__doc__)
    parser.add_argument("other", metavar="TREE", help="the other checkout, with its .venv")
    parser.add_argument("--run", metavar="FOLDER", help="ask the questions of this run instead of training")
    parser.add_argument("--names", nargs="+", default=[], metavar="NAME", help="these networks, or questions, alone")
    parser.add_argument("--data-dir", help="where data sets lie; else $NETPICK_DATA, else ./data")
    parser.add_argument("--slice", type=float, default=1.0, metavar="S", help="seconds of a training (1)")
    parser.add_argument("--rounds", type=positive, default=9, help="medians count (%(default)s)")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    trees = [Path(args.other).resolve(), HERE]
    if not Path(python(trees[0])).exists():
        sys.exit(f"{args.other} has no .venv: say `make install` there")
    with tempfile.TemporaryDirectory() as args.scratch:
        args.run = args.run and str(Path(args.run).resolve())
        rows = questions(trees, args) if args.run else networks(trees, args)
    kinds = [key for key in rows[0] if isinstance(rows[0][key], list)]
    shown = [(row["what"], *(f"{median(row[kind]):.3f}" for kind in kinds)) for row in rows]
    mean = [f"{exp(fmean(log(median(row[kind])) for row in rows)):.3f}" for kind in kinds]
    print_table("This checkout / the other", ("", *kinds), [*shown, ("geometric mean", *mean)])
    write_json(args.json, {"machine": facts, "other": str(args.other), "rounds": args.rounds, "rows": rows})


if __name__ == "__main__":
    main(work)
