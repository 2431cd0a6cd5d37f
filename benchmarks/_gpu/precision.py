"""Precision: seconds of a step in fp32, tf32 and bf16, the accuracies learned, and from which size on bf16 pays.

Each network of the panel is trained alone on the card by graphs, two epochs in each precision from the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from _common import interval

from _gpu.bench import Bench, Sized
from _gpu.judged import Judged, judge, ratio
from _gpu.part import Case, Found, Table
from _gpu.words import markdown, micro

NAME, TITLE, MINUTES = "precision", "Precision", 4.0

PRECISIONS = ("fp32", "tf32", "bf16")
NEVER = 10**12
"""A threshold that no network reaches."""


def cases(bench: Bench, found: Found) -> Iterator[Case]:
    """Yield the networks of the panel, the small ones first."""
    for network in reversed(bench.panel):
        yield Case(network.spec.name, partial(compare, bench, network), 8)


def compare(bench: Bench, network: Sized) -> dict[str, Any]:
    """Return seconds of a step of the second epoch, and the accuracy after it, by precision."""
    splits = bench.cut(bench.size.learned, 10_000)
    steps = -(-len(splits["train"][1]) // bench.recipe.batch_size)
    out: dict[str, Any] = {"macs": network.macs, "seconds": {}, "accuracy": {}}
    for precision in PRECISIONS:
        recipe = msgspec.structs.replace(bench.recipe, epochs=2, precision=precision)
        result = bench.alone(network.spec, recipe, bench.plan(recipe, network.spec), splits)
        if result.status != "done":
            raise RuntimeError(f"{precision}: {result.status}: {result.error}")
        out["seconds"][precision] = result.epochs[-1].train_seconds / steps
        out["accuracy"][precision] = result.epochs[-1].splits[0].accuracy
    return out


def by_threshold(rows: Sequence[dict[str, Any]], present: int) -> list[dict[int, float]]:
    """Return the seconds of each network under each threshold: those between the sizes, none, the table's, all."""
    sizes = sorted({row["macs"] for row in rows})
    between = [rounded(math.sqrt(a * b)) for a, b in pairwise(sizes)]
    thresholds = [NEVER, present, *reversed(between), 1]
    return [{most: row["seconds"]["bf16" if row["macs"] >= most else "tf32"] for most in thresholds} for row in rows]


def rounded(number: float) -> int:
    """Return a number with two digits that count."""
    return int(float(f"{number:.1e}"))


def threshold(found: Found, table: Table) -> Judged:
    """Return the threshold under which all networks are fastest; where several are, the one with least bf16."""
    present = int(table["BF16_MACS"])
    return judge(by_threshold(list(found.values()), present), present)


def figures(found: Found, table: Table) -> dict[str, float]:
    """Return the threshold of bf16."""
    return {"BF16_MACS": threshold(found, table).value}


def section(found: Found, table: Table) -> str:
    """Say what each precision gains, what it does to accuracies, and which threshold follows."""
    rows = [
        [name, f"{row['macs']:,}", *(micro(row["seconds"][p]) for p in PRECISIONS)]
        + [f"{row['accuracy'][p]:.4f}" for p in PRECISIONS]
        for name, row in found.items()
    ]
    head = ["network", "macs", *(f"{p}, µs" for p in PRECISIONS), *(f"{p}, accuracy" for p in PRECISIONS)]
    text = markdown(head, rows) + "\n\n"
    for one, other in (("tf32", "fp32"), ("bf16", "tf32")):
        faster = ratio([row["seconds"][other] / row["seconds"][one] for row in found.values()])
        text += f"A step in {one} is {faster} times faster than in {other}, in the geometric mean. "
        differences = np.array([100 * (row["accuracy"][one] - row["accuracy"][other]) for row in found.values()])
        if len(differences) > 1:
            mean, low, high = interval(differences)
            text += f"Its accuracy after two epochs differs by {mean:+.2f} points ({low:+.2f} to {high:+.2f}, 95 % "
            text += f"interval over {len(differences)} networks, one seed each). "
    chosen = threshold(found, table)
    named = "no size" if chosen.chosen == NEVER else f"{chosen.chosen:,} macs"
    return text + (
        f"Over all networks bf16 pays best from {named} on. Chosen from all others, that gains a network {chosen.gain} "
        f"over {chosen.present:,} macs; the table gets {chosen.value:,}."
    )
