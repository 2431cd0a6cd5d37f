"""How long `netpick generate` takes, and what a template's networks are like.

Gives the real command in fresh processes, so that starting Python, loading torch, drawing, checking, measuring (params,
memory, ops, depth, macs, thop_macs) and writing are all in the wall time. Then prints, for each computation, the
minimum, quartiles and maximum of params and macs. Needs no data set.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from _common import (
    console,
    machine,
    main,
    median,
    new_parser,
    positive,
    print_machine,
    print_table,
    quartiles,
    run_netpick,
    spread,
    write_json,
)

from netpick.exam.run import Run

COUNTS = ("params", "macs")


def work() -> None:
    """Generate several times, then look at the last catalogue."""
    parser = new_parser(__doc__)
    parser.add_argument("template", nargs="?", default="netpicking", help="name or TOML file (netpicking)")
    parser.add_argument("--dataset", help="another data set than the template's own")
    parser.add_argument("--limit", type=positive, help="only so many networks")
    parser.add_argument("--repeat", type=positive, default=3, help="fresh processes; the median counts (3)")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    options = [x for k in ("dataset", "limit") if getattr(args, k) for x in (f"--{k}", getattr(args, k))]
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder, str(i)) for i in range(args.repeat)]
        seconds = [run_netpick("generate", args.template, "--run", run, *options) for run in runs]
        networks = Run(runs[-1]).networks
        same = all(
            (run / "networks.parquet").read_bytes() == (runs[0] / "networks.parquet").read_bytes() for run in runs
        )
    console.print(
        f"{len(networks)} networks in {spread(seconds)} s, wall time of {args.repeat} fresh processes; "
        f"networks.parquet {'the same to the byte' if same else 'DIFFERS between them'}"
    )
    groups = networks.groupby("computation", sort=False)
    families = {str(name): {key: quartiles(rows[key]) for key in COUNTS} for name, rows in groups}
    counts = {str(name): len(rows) for name, rows in groups}
    head = ["computation", "networks", "min", "25 %", "50 %", "75 %", "max"]
    for key in COUNTS:
        rows = [[name, counts[name], *(f"{v:,}" for v in values[key])] for name, values in families.items()]
        whole = quartiles(networks[key])
        print_table(key, head, [*rows, ["all", len(networks), *(f"{v:,}" for v in whole)]])
    result = {"template": args.template, "networks": len(networks), "seconds": seconds, "median": median(seconds)}
    write_json(args.json, {"machine": facts, **result, "same_bytes": same, "counts": counts, "families": families})
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main(work)
