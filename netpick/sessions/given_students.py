"""What somebody says of imported networks beside their answers: costs, family, and whatever describes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netpick.core.errors import DataError, listed
from netpick.core.names import is_name
from netpick.store.given import GivenTable
from netpick.store.schema import SIZES, TABLES

FAMILY = ("computation", "activation")
TAKEN = frozenset(
    {
        *(column.name for column in TABLES["networks"]), "network", "accuracy", "lowest", "epochs", "replicates",
        "good", "star", "step_seconds", "latency", "throughput", "place",
    }
)  # fmt: skip
"""Names of columns that mean something else in what questions ask about."""


@dataclass(frozen=True)
class Described:
    """Rows of networks by name, the training time of those that it is given for, and the columns beyond the usual."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def described(path: str | Path | None, names: Sequence[str]) -> Described:
    """Read a table with a row a network; DataError where a value can't be, or a column has a name that is taken."""
    if path is None:
        return Described()
    table = GivenTable(path)
    key = "name" if "network" not in table.columns and "name" in table.columns else "network"
    table.need(key)
    more = [name for name in table.columns if name not in (key, "seconds", *SIZES, *FAMILY)]
    for name in more:
        if not is_name(name) or name in TAKEN:
            why = "is one of netpick's own" if name in TAKEN else "wants letters, digits, and _ . -"
            raise DataError(f"{path}: a column is called {name!r:.80}, which {why}: call it otherwise")
    out = Described(columns=more)
    wanted = set(names)
    for row in table.frame().to_dict("records"):
        name = str(row.pop(key))
        if name in out.rows:
            raise DataError(f"{path}: network {name!r:.80} is there twice: give each a row of its own")
        if name not in wanted:
            continue
        known = {str(column): value for column, value in row.items() if value is not None and value == value}
        if "seconds" in known:
            out.seconds[name] = _number(path, name, "seconds", known.pop("seconds"))
        out.rows[name] = {column: _value(path, name, column, value) for column, value in known.items()}
    if not out.rows:
        raise DataError(f"{path} has none of the networks {listed(names, 4)}: its column {key} names them")
    left = [name for name in names if name not in out.rows]
    note = f"{path} says nothing of {listed(left, 4)}: what they cost is unknown"
    return Described(out.rows, out.seconds, more, (note,) if left else ())


def _value(path: str | Path, network: str, column: str, value: Any) -> Any:
    if column in SIZES:
        number = _number(path, network, column, value)
        if not number.is_integer() or number >= 2**63:
            raise DataError(f"{path}: {column} of {network} is {value!r:.40}: give a whole number from 0 on")
        return int(number)
    return str(value) if column in FAMILY else value


def _number(path: str | Path, network: str, column: str, value: Any) -> float:
    if isinstance(value, str | bool) or not 0 <= value < float("inf"):
        raise DataError(f"{path}: {column} of {network} is {value!r:.40}: give a number from 0 on")
    return float(value)
