"""Two checkouts beside each other, this one and one before it: training, evaluation and questions, in turns.

Two processes are held, one in each checkout, with the packages of its own `.venv`. In every round both do the same, one
after the other, the second one first in every other round, so that whatever the machine does meanwhile does it to both.
What a round gives is a ratio, this checkout to the other; the median of the rounds counts, and the geometric mean of
all. Networks are those of `panel.py`, or with --template every so manieth of a template, with its recipe; they are
trained for an epoch as a worker does it. Of these the seconds of the optimisation steps and of evaluation are compared,
and the processor time of the whole training, which other work on the machine changes less; and since a template's time
is spent on its large networks, the sums over all of what a sample takes. With --run the questions are asked of a run
instead, each in a process of its own, and their processor time is compared.
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
import argparse, dataclasses, json, sys, tempfile, time
from pathlib import Path
sys.path[:0] = ["benchmarks", "."]
import msgspec
import torch
torch.set_num_threads(1)
import _peers, panel
from netpick.networks import generate
from netpick.networks.catalogue.template import load
folder, template, limit, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
wanted = argparse.Namespace(dataset="mnist", data_dir=folder or None, seed=0, train_samples=6000, networks=[])
with tempfile.TemporaryDirectory() as scratch:
    jobs = {job.spec.name: job for job in panel.make_jobs(wanted, Path(scratch))}
    if template:
        drawn, one = load(template), next(iter(jobs.values()))
        specs = generate(drawn, (1, 28, 28), 10)
        specs = specs[:: max(1, len(specs) // limit)][:limit]
        jobs = {spec.name: dataclasses.replace(one, spec=spec, recipe=drawn.recipe) for spec in specs}
    for name, job in jobs.items():
        recipe = msgspec.structs.replace(job.recipe, batch_size=batch or job.recipe.batch_size)
        jobs[name] = dataclasses.replace(job, recipe=recipe)
    print(json.dumps([[job.spec.name, job.spec.hash] for job in jobs.values()]), flush=True)
    for line in sys.stdin:
        name, samples = line.split()
        job = jobs[name].cut(int(samples), min(1000, int(samples)))
        start = time.process_time()
        done = _peers.train_netpick(job)
        took = time.process_time() - start
        print(json.dumps([done.train_seconds, done.eval_seconds, took, done.accuracy]), flush=True)
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
    """Train the networks of the panel, or of a template."""
    words = [args.data_dir or "", args.template or "", str(args.limit), str(args.batch_size or 0)]
    held = {
        tree: subprocess.Popen(
            [python(tree), "-c", TRAINER, *words], cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for tree in trees
    }
    known = [json.loads(process.stdout.readline() or "null") for process in held.values()]  # type: ignore[union-attr]
    if not all(known):
        sys.exit("a checkout could not begin: the last line above says why")
    if known[0] != known[1]:
        sys.exit("the checkouts draw different networks: name others with --template, or none for the panel's")
    names = [name for name, _ in known[1]]

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
        same = rounds[-1][0][3] == rounds[-1][1][3]
        seconds = tuple(median(said[tree][0] for said in rounds) / samples for tree in (0, 1))
        kinds = dict(zip(("train", "eval", "processor"), (ratios(rounds, at) for at in range(3)), strict=True))
        rows.append({"what": name, **kinds, "same accuracy": same, "seconds a sample": seconds})
        console.print(f"{name}: {', '.join(f'{kind} {median(values):.3f}' for kind, values in kinds.items())}")
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
    parser.add_argument("--template", metavar="NAME", help="train networks of this template instead of the panel's")
    parser.add_argument("--limit", type=positive, default=26, help="so many of a template (%(default)s)")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="another than the recipe's")
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
    if not args.run:
        there, here = (sum(row["seconds a sample"][at] for row in rows) for at in (0, 1))
        console.print(f"steps of all networks together, by what a sample takes: {here / there:.3f}")
    write_json(args.json, {"machine": facts, "other": str(args.other), "rounds": args.rounds, "rows": rows})


if __name__ == "__main__":
    main(work)
