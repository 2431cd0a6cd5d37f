"""Tables and lists in Markdown, for the page that gpu.py writes."""

from __future__ import annotations

from collections.abc import Sequence

from netpick.core.errors import listed


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table, numbers to the right."""
    lines: list[Sequence[object]] = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def listed_cases(names: Sequence[str]) -> str:
    """Return some names, joined, the first dozen of them."""
    return listed(names, 12)


def rate(trainings: float) -> str:
    """Return trainings an hour."""
    return f"{trainings:,.0f}"


def micro(seconds: float) -> str:
    """Return seconds in millionths."""
    return f"{seconds * 1e6:,.0f}"
