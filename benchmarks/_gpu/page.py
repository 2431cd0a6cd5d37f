"""GPU.md: the page that gpu.py writes from the files of its parts, numbers and sentences alike.

A part that was not run, or not to its end, says so. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from _gpu import part as parts
from _gpu import table
from _gpu.part import Part, Record
from _gpu.words import listed_cases, markdown

HEAD = """# One CUDA card

What netpick does on a card, measured. This page is written by `python benchmarks/gpu.py`, numbers and sentences alike;
intervals are of 95 %, and what was chosen by looking is judged on what had no part in the choice.
"""


def page(all_parts: Sequence[Part], folder: Path, file: Path) -> str:
    """Return the page: each part, then the table of figures."""
    records = {part.NAME: parts.read(folder, part.NAME) for part in all_parts}
    sections = [f"## {part.TITLE}\n\n{section(part, records[part.NAME])}\n" for part in all_parts]
    warning = ""
    if any(record is not None and record.about["stand_in"] for record in records.values()):
        warning = "\n**Of a stand-in on the CPU: no number here says anything about a card.**\n"
    return "\n".join([HEAD + warning, *sections, figures(file)])


def section(part: Part, record: Record | None) -> str:
    """Return what is said of a part: where, when and from what it is, and what was found."""
    command = f"`python benchmarks/gpu.py --part {part.NAME}`"
    if record is None:
        return f"Not run: {command} does it."
    about = record.about
    text = f"{about['card']}, torch {about['torch']}, CUDA {about['cuda'] or 'none'}, netpick {about['commit']}; begun "
    text += f"{record.begun}, {record.seconds / 60:.1f} minutes; `{about['command']}`."
    if not record.finished:
        text += f" Not finished, after {len(record.cases)} cases: {command} goes on."
    if record.left_out:
        text += f" Left out, since the part's {part.MINUTES:g} minutes were over: {listed_cases(record.left_out)}."
    if record.errors:
        text += "\n" + "".join(f"\n- `{name}` failed: {error}" for name, error in record.errors.items())
    return text + "\n\n" + (part.section(record.good, record.table) if record.good else "Nothing was found.").strip()


def figures(file: Path) -> str:
    """Return the section of the table."""
    rows = [[f"`{name}`", f"{row.value:,.15g}", row.source] for name, row in table.read(file).items()]
    guesses = sum(source == table.GUESS for *_, source in rows)
    text = "## The table of figures\n\n`netpick/training/cards.py`, which says what each one is. "
    text += f"{guesses} of {len(rows)} are guesses." if guesses else "None of them is a guess."
    return f"{text}\n\n{markdown(['figure', 'value', 'from'], rows)}\n"


def sources(all_parts: Sequence[Part], folder: Path, file: Path) -> Mapping[str, str]:
    """Return the lines of the table that follow from the parts that are finished."""
    out: dict[str, str] = {}
    for part in all_parts:
        record = parts.read(folder, part.NAME)
        if record is not None and record.finished and record.good:
            source = f"{record.about['card']}, {record.begun[:10]}, python benchmarks/gpu.py --part {part.NAME}"
            out |= table.lines(part.figures(record.good, record.table), source, file)
    return out
