"""How long `netpick generate --networks FILE` takes for a file of 1,000 networks.

Writes the networks of a template as JSON lines, as a stranger's file would have them, and gives the real command in
fresh processes, so that starting Python, reading and checking the file, loading torch, measuring and writing are all in
the wall time. Checks that the networks that come out are those that went in. Needs no data set.
"""

from __future__ import annotations

import json
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
    run_netpick,
    spread,
    write_json,
)

from netpick import data
from netpick.exam.run import Run
from netpick.networks.catalogue import catalogue, template


def work() -> None:
    """Write the file, import it several times, compare the hashes."""
    parser = new_parser(__doc__)
    parser.add_argument("template", nargs="?", default="netpicking", help="where the networks are from (netpicking)")
    parser.add_argument("--networks", type=positive, default=1000, help="how many of them (1000)")
    parser.add_argument("--repeat", type=positive, default=3, help="fresh processes; the median counts (3)")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    parsed = template.load(args.template)
    source = data.DATASETS[parsed.dataset]
    networks = catalogue.generate(parsed, source.shape, len(source.classes), limit=args.networks)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "networks.jsonl")
        entries = ({"name": spec.name, "layers": [one.to_dict() for one in spec.layers]} for spec in networks)
        file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        size = file.stat().st_size
        runs = [Path(folder, str(i)) for i in range(args.repeat)]
        seconds = [
            run_netpick("generate", "--networks", file, "--dataset", parsed.dataset, "--run", run) for run in runs
        ]
        there = Run(runs[-1]).networks
    same = dict(zip(there["name"], there["hash"], strict=True)) == {spec.name: spec.hash for spec in networks}
    families = (there["computation"] + there["activation"]).tolist() == [
        spec.computation + spec.activation for spec in networks
    ]
    console.print(
        f"{len(there)} networks from {size / 1e6:.1f} MB of JSON lines in {spread(seconds)} s, wall time of "
        f"{args.repeat} fresh processes; hashes {'the same' if same else 'DIFFER'}, families worked out "
        f"{'the same' if families else 'DIFFER'}"
    )
    result = {"template": args.template, "networks": len(there), "bytes": size, "seconds": seconds}
    write_json(args.json, {"machine": facts, **result, "median": median(seconds), "same": same, "families": families})
    if not (same and families):
        raise SystemExit(1)


if __name__ == "__main__":
    main(work)
