"""Break what a run stands on, a thousand times, and count what does not hold.

Sessions are killed at random instants and given again; workers are killed, stopped, left without memory; a cluster
loses workers, its scheduler, its network; the disk is full at every write point; every file of a run is spoilt; and
runs are read while they grow and are merged. As it should be are `ok` and `refused` (one line that names the file);
faults are tables that differ from those of an unbroken run (SILENT), trainings that are lost, or fail without being to
blame (LOST), what hangs, tracebacks, and more or less than one line.

All chance comes from --seed. The numbers of each fault follow from --kills, or are given. Nothing leaves a
temporary folder. A full disk and a cut network want root, and are left out without. Exit code 1 where there are faults.
Linux. What spoilt inputs do is the business of `attack.py`, by whose harness files are spoilt here.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

# Before rich and numpy are imported: plain output, and forks of a process that has no threads.
os.environ |= {"NO_COLOR": "1", "TERM": "dumb", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "COLUMNS": "120"}

from _attack import watch
from _attack.outcome import Outcome, grouped, table
from _attack.warm import warm
from _common import console, machine, main, new_parser, positive, print_machine, print_table, write_json
from _faults import bases as runs
from _faults import clusters, disk, files, readers, sessions, workers

Cases = Iterable[Callable[[], Iterable[Outcome]]]

SHARES = {"session": 1.0, "worker": 0.3, "cluster": 0.1, "disk": 1.0, "files": 2.0, "readers": 3.6}
"""Of --kills: how many of each; of a full disk write points of all commands together, of readers seconds."""


def work() -> int:
    """Break things, print what did not hold."""
    parser = new_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of all chance (0)")
    parser.add_argument("--kills", type=positive, default=20, help="of sessions; the other faults in proportion (20)")
    parser.add_argument(
        "--only", nargs="+", type=_part, metavar="PART[=N]", help=f"of {', '.join(SHARES)}; N of it, of readers seconds"
    )
    parser.add_argument("--commands", nargs="+", metavar="NAME", help="of the disk: only these commands")
    parser.add_argument("--jobs", type=positive, default=1, help="cases at the same time (1)")
    args = parser.parse_args()
    numbers = {name: round(args.kills * share) for name, share in SHARES.items()}
    parts = {name: given or numbers[name] for name, given in args.only or zip(SHARES, [0] * len(SHARES), strict=True)}
    facts = machine()
    print_machine(facts)
    if os.geteuid() and "disk" in parts:
        console.print("left out: a full disk, which takes root", style="yellow")
        del parts["disk"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left
    folder = Path(tempfile.mkdtemp(prefix="netpick-faults-"))
    start, outcomes = time.perf_counter(), []
    try:
        if parts.keys() != {"readers"}:
            runs.make(folder / "bases", "worker" in parts)
        for part in sorted(parts, key=lambda part: part != "files"):  # whose cases are forks: before there are threads
            for outcome in _outcomes(part, max(1, parts[part]), args.seed, folder, args.jobs, args.commands):
                outcomes.append(outcome)
                if outcome.is_fault:
                    said = f"{outcome.kind} {outcome.case}: {outcome.outcome}: {outcome.what}: {outcome.line}"
                    console.print(said, markup=False, soft_wrap=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.perf_counter() - start
    for (name, text), members in grouped(outcomes):
        console.print(f"\n{name} x {len(members)}: {text}\n  {members[0].line}", markup=False, soft_wrap=True)
    print_table(f"outcomes of {len(outcomes)} faults in {seconds:.0f} s, seed {args.seed}", *table(outcomes))
    cases = [outcome.as_json() for outcome in outcomes]
    write_json(args.json, {"machine": facts, "seed": args.seed, "seconds": seconds, "cases": cases})
    return 1 if any(outcome.is_fault for outcome in outcomes) else 0


def _part(text: str) -> tuple[str, int]:
    """Read a part and how many of it, for argparse; 0 for as many as follow from --kills."""
    name, _, number = text.partition("=")
    if name not in SHARES:
        raise ValueError(text)
    return name, positive(number) if number else 0


def _outcomes(
    part: str, number: int, seed: int, folder: Path, jobs: int, commands: list[str] | None
) -> Iterator[Outcome]:
    bases, rng = folder / "bases", random.Random(f"{part} {seed}")
    if part == "files":
        yield from _files(number, seed, folder, jobs)
    elif part == "readers":
        yield from readers.looks(number, rng, folder / part)
    elif part == "disk":
        yield from _at_once(_disk(number, rng, folder, commands), jobs)
    else:
        module = {"session": sessions, "worker": workers, "cluster": clusters}[part]
        yield from _at_once(
            _numbered(module.case, number, seed, bases, folder / part), 1 if part == "cluster" else jobs
        )


def _numbered(
    case: Callable[..., Iterable[Outcome]], number: int, seed: int, bases: Path, folder: Path
) -> Iterator[Callable[[], Iterable[Outcome]]]:
    """Yield cases, each with a folder of its own, until there have been so many outcomes."""
    counted, at = [0], 0

    def one(at: int) -> list[Outcome]:
        here = folder / str(at)
        here.mkdir(parents=True)
        most = number - counted[0]
        found = list(case(at, random.Random(f"{folder.name} {seed} {at}"), bases, here, min(4, most)))
        counted[0] += len(found)
        if not any(outcome.is_fault for outcome in found):
            shutil.rmtree(here, ignore_errors=True)
        return found

    while counted[0] < number and at < 3 * number:
        yield partial(one, at)
        at += 1


def _disk(number: int, rng: random.Random, folder: Path, only: list[str] | None) -> Cases:
    names = only or [*disk.commands(folder, folder)]
    for name in names:
        here = folder / "disk" / name
        here.mkdir(parents=True)
        pages = disk.needed(name, folder / "bases", here)
        for free in disk.write_points(pages, max(1, number // len(names)), rng):
            yield partial(disk.case, name, free, folder / "bases", here / str(free))


def _files(number: int, seed: int, folder: Path, jobs: int) -> Iterator[Outcome]:
    kinds = [kind for kind in files.KINDS if number >= kind.slow]
    warm(kinds, folder / "files" / "bases")
    files.make_bases(folder / "files" / "bases", folder / "bases")
    cases = [(kind, case) for kind in kinds for case in range(number // kind.slow)]
    yield from watch.run_cases(cases, seed, folder / "files", jobs)


def _at_once(cases: Cases, jobs: int) -> Iterator[Outcome]:
    """Do cases, several at the same time; they are taken as they are wanted, since some count what was before."""
    with ThreadPoolExecutor(jobs) as pool:
        waiting = iter(cases)
        going = [pool.submit(lambda case=case: list(case())) for _, case in zip(range(jobs), waiting, strict=False)]
        while going:
            yield from going.pop(0).result()
            going += [pool.submit(lambda case=case: list(case())) for case in [next(waiting, None)] if case]


if __name__ == "__main__":
    sys.setswitchinterval(0.001)
    main(work)
