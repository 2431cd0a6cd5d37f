"""The table of figures of cards, `netpick/training/cards.py`: read, and its lines filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from netpick.core.errors import RunError
from netpick.core.files import atomic_write
from netpick.training import cards

FILE = Path(cards.__file__)
LINE = re.compile(r"^(?P<name>[A-Z][A-Z0-9_]*) = (?P<value>\S+)  # (?P<source>.+)$", re.M)
GUESS = "guess"


class Row(NamedTuple):
    """A figure and where it comes from."""

    value: float
    source: str


def read(file: Path = FILE) -> dict[str, Row]:
    """Return all figures of a table."""
    rows = LINE.finditer(file.read_text(encoding="utf-8"))
    return {row["name"]: Row(float(row["value"]), row["source"]) for row in rows}


def values(file: Path = FILE) -> dict[str, float]:
    """Return the figures alone."""
    return {name: row.value for name, row in read(file).items()}


def lines(figures: Mapping[str, float], source: str, file: Path = FILE) -> dict[str, str]:
    """Return the lines to put into a table, by name; whole numbers stay whole where the table has them so."""
    text = file.read_text(encoding="utf-8")
    kinds = {row["name"]: float if re.search(r"[.e]", row["value"]) else int for row in LINE.finditer(text)}
    if unknown := sorted(set(figures) - set(kinds)):
        raise RunError(f"{file} has no line for {', '.join(unknown)}: add one, NAME = value  # guess")
    return {name: f"{name} = {written(kinds[name], value)}  # {source}" for name, value in figures.items()}


def written(kind: type, value: float) -> str:
    """Return a number as the table has it: with marks between thousands, or three digits that count."""
    return f"{round(value):_}" if kind is int else repr(float(f"{value:.3g}"))


def fill(new: Mapping[str, str], file: Path = FILE) -> None:
    """Put lines into a table in the place of those that are there."""
    text = file.read_text(encoding="utf-8")
    text = LINE.sub(lambda row: new.get(row["name"], row[0]), text)
    atomic_write(file, text.encode("utf-8"))
