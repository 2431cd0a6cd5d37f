"""How long each question takes, and how much memory, on a planted run of the size of the real thing.

Writes a planted run of 1001 networks × 4 epochs × 10,000 samples × 10 classes first (some minutes and 1.3 GB, once;
keep it with --folder), or takes the run named by --run. Each question is asked in a fresh process, reading included,
and then draws its figure; imports are not in the seconds. With --networks, --samples and --epochs the run is made with
more or fewer, to see how the times grow. Beside the seconds on the clock are those of the processor, which say more
where others use the machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from _common import machine, main, new_parser, positive, print_machine, print_table, write_json

ONE = """
import json, resource, sys, time
from netpick import Run
from netpick.exam import questions
import matplotlib
matplotlib.use("Agg")
import netpick.exam, pandas, seaborn
questions.questions()
start, work = time.perf_counter(), time.process_time()
answer = Run(sys.argv[1]).ask(sys.argv[2])
asked = time.perf_counter()
answer.save(sys.argv[3])
drawn = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
seconds = {"ask": asked - start, "figure": drawn - asked, "processor": time.process_time() - work}
print(json.dumps({**seconds, "peak_mb": peak, "text": answer.text}))
"""


def measure(run: Path, name: str, figure: Path) -> dict[str, float | str]:
    """Ask one question in a process of its own; return seconds and megabytes, or what it said instead."""
    done = subprocess.run(
        [sys.executable, "-c", ONE, str(run), name, str(figure)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def work() -> int:
    """Make or take the run, ask everything, print a table."""
    from netpick.exam import plant, questions

    parser = new_parser(__doc__)
    parser.add_argument("--run", metavar="FOLDER", help="ask this run")
    parser.add_argument("--folder", help="write the planted run there and leave it; else in a temporary folder")
    parser.add_argument("--networks", type=positive, default=1001, help="networks of the planted run (%(default)s)")
    parser.add_argument("--samples", type=positive, default=10_000, help="samples of the planted run (%(default)s)")
    parser.add_argument("--epochs", type=positive, default=4, help="epochs of the planted run (%(default)s)")
    parser.add_argument("--scores", choices=("all", "last", "none"), default="all", help="those kept (%(default)s)")
    options = parser.parse_args()
    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(options.run or options.folder or f"{scratch}/planted")
        if not options.run:
            sizes = {key: getattr(options, key) for key in ("networks", "samples", "epochs", "scores")}
            plant(run, **sizes, compact=True)
        found = {name: measure(run, name, Path(scratch) / "figure.png") for name in questions.questions()}
    rows = [
        (name, *(f"{one[key]:.1f}" for key in ("ask", "figure", "processor")), f"{one['peak_mb']:,.0f}")
        if "error" not in one
        else (name, one["error"], "", "", "")
        for name, one in found.items()
    ]
    head = ("question", "answer s", "figure s", "processor s", "peak MB")
    print_table("Seconds to answer and to draw, peak memory", head, rows)
    good = [one for one in found.values() if "error" not in one]
    total = sum(float(one["ask"]) + float(one["figure"]) for one in good)
    print_table("All together", ("", "s"), [("answers and figures, each in a process of its own", f"{total:.0f}")])
    write_json(options.json, {"machine": facts, "questions": found})
    return int(len(good) < len(found))


if __name__ == "__main__":
    main(work)
