"""Markdown as the site is written in: tables, and texts that are shown as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[bool] = ()) -> str:
    """Return a table; the columns that `numbers` says are set to the right."""
    lines = [_line(headings)]
    lines.append(_line(["---:" if i < len(numbers) and numbers[i] else "---" for i in range(len(headings))]))
    return "\n".join([*lines, *map(_line, rows)]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def code(words: Iterable[object]) -> str:
    """Return words as code, with commas between them."""
    return ", ".join(f"`{word}`" for word in words)


def cell(text: str) -> str:
    """Return a text for a cell of a table: one line, without bars that would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")
