"""The first hour on a CUDA card: is it right, how fast is it, and which figures belong into netpick's table.

    python benchmarks/gpu.py --all [--minutes 9] [--write]

Seven parts, each with a limit of its own, 38 minutes together:

equality    every operation, every optimizer and 50 networks, against the plain loop on the CPU
graphs      graphs against eager, network by network; steps in a graph, samples in an evaluation, the cost of a capture
lanes       trainings an hour with 1 to 64 networks at a time, in 1 to 4 processes
precision   fp32, tf32, bf16: seconds, accuracies, and from which size on bf16 pays
packing     500 trainings in little memory: does any run out of it? Bytes predicted and measured
study       the published template, 1001 networks x 4 epochs at batch 25, against a careful eager loop
candidates  torch's compiler, and like networks trained as one: not what netpick does, but would it pay?

Each part writes a file after each case, so that it can be taken up again: say the same once more. A finished part is
not repeated, unless by --again. With --minutes the call ends before a case for which there is no time. The page GPU.md
is written from the files, by each call; --write puts the figures that follow into netpick/training/cards.py, after each
part, so that later parts are measured with them.

--stand-in runs all of it at tiny size on the CPU, on the stand-in of a card that netpick's tests use: no number of it
says anything. Without that and without a card it says so in one line and ends with exit code 2.
"""

from __future__ import annotations

import importlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from _common import console, machine, main, new_parser, positive, print_machine, write_json
from _gpu import candidates, equality, graphs, lanes, packing, page, precision, study, table
from _gpu import part as parts
from _gpu.bench import Bench
from _gpu.part import Clock, Part
from _gpu.stand_in import StandIn

from netpick.core import devices
from netpick.core.files import atomic_write
from netpick.training import cards

PARTS = (equality, graphs, lanes, precision, packing, study, candidates)
HERE = Path(__file__).parent


def parser() -> ArgumentParser:
    """Return the options."""
    made = new_parser(__doc__)
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--all", action="store_true", help="all parts, in this order")
    names = [part.NAME for part in PARTS]
    what.add_argument("--part", nargs="+", choices=names, metavar="PART", help=f"some of {', '.join(names)}")
    what.add_argument(
        "--page", action="store_true", help="measure nothing: write the page from the files that are there"
    )
    made.add_argument("--again", action="store_true", help="begin these parts anew")
    made.add_argument("--minutes", type=positive, help="begin nothing that would take this call longer")
    made.add_argument("--write", action="store_true", help="put figures into the table after each part")
    made.add_argument("--device", default="cuda:0", help="the card (cuda:0)")
    made.add_argument("--data-dir", help="where MNIST lies; else $NETPICK_DATA, else ./data")
    made.add_argument("--stand-in", action="store_true", help="at tiny size on the CPU, without a card")
    made.add_argument("--folder", type=Path, help="of the parts' files (runs/gpu; of a stand-in runs/gpu-stand-in)")
    made.add_argument("--to", type=Path, help="the page (benchmarks/GPU.md; of a stand-in in its folder)")
    made.add_argument("--table", type=Path, help="the table (netpick/training/cards.py)")
    return made


def measure() -> int:
    """Run the parts that were asked for, and write the page."""
    options = parser()
    args = options.parse_args()
    if args.stand_in and args.write and args.table is None:
        options.error("--write --stand-in: these figures are of no card; give the --table that they go into")
    if not (args.stand_in or args.page or torch.cuda.is_available()):
        sys.stderr.write(f"gpu.py: needs a CUDA card (or --stand-in): torch {torch.__version__} sees none here\n")
        return 2
    folder = args.folder or HERE.parent / "runs" / ("gpu-stand-in" if args.stand_in else "gpu")
    to = args.to or (folder if args.stand_in else HERE) / "GPU.md"
    file = args.table or table.FILE
    chosen = [cast(Part, part) for part in PARTS if args.all or part.NAME in (args.part or ())]
    finished = not chosen or measure_parts(chosen, folder, file, args)
    to.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(to, page.page(cast(Any, PARTS), folder, file).encode())
    console.print(f"written: {to}", soft_wrap=True)
    write_json(args.json, {part.NAME: msgspec.to_builtins(parts.read(folder, part.NAME)) for part in PARTS})
    new = page.sources(chosen, folder, file)
    if new and not args.write:
        console.print(f"\nfor {file} (--write puts them there):\n\n" + "\n".join(new.values()), soft_wrap=True)
    if not finished:
        console.print("\nstopped before the end: say the same again to go on", style="yellow")
    return 0


def measure_parts(chosen: Sequence[Part], folder: Path, file: Path, args: Namespace) -> bool:
    """Measure what is missing of some parts, as far as the time goes; return whether all are finished."""
    bench = bench_of(args, folder)
    facts = machine()
    commit = (facts["git_commit"] or "no commit")[:10]
    about = {**bench.about(), "commit": commit, "command": facts["command"]}
    if not args.again:
        for part in chosen:
            parts.read(folder, part.NAME, about)  # of another card: refused before anything is measured
    print_machine(facts)
    console.print(bench.card)
    folder.mkdir(parents=True, exist_ok=True)
    return all(run(part, bench, about, folder, file, args) for part in chosen)


def bench_of(args: Namespace, folder: Path) -> Bench:
    """Return the card, or what stands in for it."""
    kind = StandIn if args.stand_in else Bench
    (device,) = ["cpu"] if args.stand_in else devices.resolve(args.device)
    return kind(device, args.data_dir, folder, Clock(args.minutes))


def run(part: Part, bench: Bench, about: dict[str, Any], folder: Path, file: Path, args: Namespace) -> bool:
    """Measure what is missing of a part; return whether it is finished."""
    record = None if args.again else parts.read(folder, part.NAME, about)
    record = record or parts.begin(about, table.values(file))
    bench.table = record.table
    if not record.finished:
        record = parts.measure(part, bench, record, folder, bench.clock, console.print)
        if args.write and record.finished:
            table.fill(page.sources([part], folder, file), file)
            importlib.reload(cards)  # for the parts that come after
    return record.finished


if __name__ == "__main__":
    main(measure)
