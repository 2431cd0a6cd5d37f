"""Attack netpick with inputs that nobody in his right mind would give it, and count what does not hold.

Every case spoils one input (a template, a file of networks, an npz file, a folder of images, a run's manifest, events
or tables, a command line), forges a run (code named in it, names and links that lead outside), flips a bit, or plants
modules where the user stands; then it gives netpick commands in a process that was forked from a warm one. A process
does up to 50 cases that can't change it for each other, and what then looks like a fault is done again by one alone.
As it should be are `ok` and `refused`: one line, exit code 1 or 2. Faults are an exception that reaches the user, more
than 20 s of processor time (120 s for train, time, figures and report) or 10 s of waiting, more than 2 GB, a signal, a
file made or changed outside of the run, code that ran, another value read without a word, control characters in the
output.

All chance comes from --seed; each fault is printed with the command that shows it again. Nothing leaves a temporary
folder. Exit code 1 where there are faults. Linux.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

# Before rich and numpy are imported: plain output, and forks of a process that has no threads.
os.environ |= {"NO_COLOR": "1", "TERM": "dumb", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "COLUMNS": "120"}

from _attack import data, forged, inputs, runs, standing, tables, watch
from _attack.box import Kind
from _attack.outcome import Outcome, as_markdown, grouped, reproduction, table
from _attack.warm import warm
from _common import console, machine, main, new_parser, positive, print_machine, print_table, write_json

KINDS: dict[str, Kind] = {
    kind.name: kind for module in (inputs, data, runs, tables, forged, standing) for kind in module.KINDS
}

LIGHT = ("manifest", "events", "tables", "bits")


def work() -> int:
    """Do the cases, print what did not hold."""
    parser = new_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of all chance (0)")
    parser.add_argument("--cases", type=positive, default=300, help="of each kind; of slow kinds a share (300)")
    parser.add_argument("--only", nargs="+", choices=[*KINDS], metavar="KIND", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--light", action="store_true", help=f"without torch and data sets: {', '.join(LIGHT)} alone")
    parser.add_argument("--case", type=int, help="this case of each kind alone")
    parser.add_argument("--show", action="store_true", help="print all that a case says, and leave its folder")
    parser.add_argument("--jobs", type=positive, default=1, help="cases at the same time (1)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the faults there, for those who mend them")
    args = parser.parse_args()
    kinds = [KINDS[name] for name in args.only or (LIGHT if args.light else KINDS)]
    if args.light:
        kinds = [kind._replace(torch=False, bases=("planted", "compacted")) for kind in kinds if kind.name in LIGHT]
    facts = machine()
    print_machine(facts)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no case outlives its watcher
    folder = Path(tempfile.mkdtemp(prefix="netpick-attack-"))
    start = time.perf_counter()
    try:
        warm(kinds, folder / "bases")
        numbers = {kind.name: range(max(1, args.cases // kind.slow)) for kind in kinds}
        cases = [(kind, case) for kind in kinds for case in (numbers[kind.name] if args.case is None else (args.case,))]
        outcomes = []
        for outcome in watch.run_cases(cases, args.seed, folder, args.jobs, keep=args.show):
            outcomes.append(outcome)
            if args.show:
                _show(outcome, folder / "cases" / f"{outcome.kind}-{outcome.case}.log")
    finally:
        if not args.show:
            shutil.rmtree(os.fsencode(folder), ignore_errors=True)
    outcomes.sort(key=lambda outcome: ([*KINDS].index(outcome.kind), outcome.case))
    seconds = time.perf_counter() - start
    _report(outcomes, args.seed, args.light, seconds)
    if args.markdown:
        args.markdown.write_text(as_markdown(outcomes, args.seed), encoding="utf-8", errors="backslashreplace")
    write_json(
        args.json,
        {
            "machine": facts,
            "seed": args.seed,
            "seconds": seconds,
            "cases": [outcome.as_json() for outcome in outcomes],
        },
    )
    return 1 if any(outcome.is_fault for outcome in outcomes) else 0


def _report(outcomes: list[Outcome], seed: int, light: bool, seconds: float) -> None:
    for (name, text), members in grouped(outcomes):
        first = members[0]
        lines = [f"\n{name} x {len(members)}: {text}", f"{first.what!r:.160}", f"{first.line!r:.160}"]
        console.print("\n  ".join([*lines, reproduction(first, seed, light)]), markup=False, soft_wrap=True)
    passed = [outcome for outcome in outcomes if outcome.company and not outcome.is_fault]
    if passed:
        seen = f"{passed[0].company} of {passed[0].kind} {passed[0].case}"
        console.print(f"\n{len(passed)} seemed to be faults, but are none alone: the first {seen}", markup=False)
    print_table(f"outcomes of {len(outcomes)} cases in {seconds:.0f} s, seed {seed}", *table(outcomes))


def _show(outcome: Outcome, log: Path) -> None:
    console.print(f"\n{outcome.kind} {outcome.case}: {outcome.outcome}: {outcome.what!r}", markup=False)
    for line in log.read_text(errors="surrogateescape").splitlines():
        for key, value in json.loads(line).items():
            if key != "before":
                text = value if isinstance(value, str) and key in ("output", "traceback") else repr(value)
                console.print(f"  {key}: {text}"[:5000], markup=False)
    console.print(f"  folder: {log.with_suffix('')}, log beside it", markup=False)


if __name__ == "__main__":
    main(work)
