"""What is shown on the terminal: the one console, the one printing function, and tables of frames.

A string is text and nothing else: no markup, no colours for numbers, and what would act on a terminal (escape
sequences, changes of the direction of writing) is written out, since names of classes, networks and runs come from
strangers. What is said is the commands' business.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from netpick.core.spreadsheet import csv_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from netpick.exam.tables import Table as Cells

Format = Literal["table", "csv", "json"]

MARK = "→"
"""Before a row that is to stand out, on terminals without colours too."""

# Control characters but for the end of a line; separators of lines; changes of direction; halves of characters.
_ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return a text in which each character that would act on a terminal is written as its escape."""
    return _ACTING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class Screen(Console):
    """A console to which every string is text, in tables and progress bars as well."""

    def render_str(self, text: str, *, style: Any = "", justify: Any = None, overflow: Any = None, **_: Any) -> Text:
        """Return a string as it is to be shown."""
        return Text(printable(text), style=style, justify=justify, overflow=overflow)

    def say(self, text: str, style: str = "") -> None:
        """Print a text; lines are not broken, so that a path can be copied."""
        self.print(text, style=style, soft_wrap=True)

    def sentence(self, text: str, style: str = "") -> None:
        """Print a text that is to be read, broken between words; a longer word, such as a path, is kept whole."""
        for line in text.splitlines():
            for part in textwrap.wrap(line, self.width, break_long_words=False, break_on_hyphens=False):
                self.say(part, style)


console = Screen()
errors = Screen(stderr=True)


def say(text: str, style: str = "", error: bool = False) -> None:
    """Print a text on standard output, or on standard error."""
    (errors if error else console).say(text, style)


def fail(text: str) -> None:
    """Print an error: one line, which is broken between words where people read it on a terminal."""
    (errors.sentence if errors.is_terminal else errors.say)(text)


def sentence(text: str, style: str = "") -> None:
    """Print a text that is to be read, broken between words."""
    console.sentence(text, style)


def listing(entries: Mapping[str, str]) -> None:
    """Print what each name stands for, with long texts broken beside the names."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for name, text in entries.items():
        table.add_row(name, text)
    console.print(table)


SHADES = " ░▒▓█"
"""Of a picture on a terminal, from black to white."""

WIDEST = 40
"""Pixels of a picture that stand beside each other on a terminal."""


def blocks(image: np.ndarray) -> str:
    """Return a picture, uint8 (height, width) or (height, width, 3), as lines of blocks; a large one is thinned out."""
    step = -(-max(image.shape[:2]) // WIDEST)
    grey = (image if image.ndim == 2 else image.mean(axis=2))[::step, ::step]
    levels = grey.astype(int) * len(SHADES) // 256
    return "\n".join("".join(2 * SHADES[level] for level in row) for row in levels)


def show_frame(
    frame: pd.DataFrame,
    form: Format = "table",
    rows: int = 40,
    wide: bool = False,
    shares: Collection[str] = (),
    columns: Collection[str] = (),
    suggested: str = "",
    title: str | None = None,
) -> None:
    """Print the first rows of a table; as csv or json all of it, without decoration.

    Parameters
    ----------
    frame : pandas.DataFrame
    form : "table", "csv" or "json"
    rows : of a table
    wide : whether all columns are shown, however wide the terminal is
    shares : columns of fractions, shown as percentages
    columns : shown first where there is no room for all; the frame's first ones if empty
    suggested : what stands in a row that is to stand out
    title : above it
    """
    if form != "table":
        data(csv_text(frame) if form == "csv" else f"{frame.to_json(orient='records', indent=1)}\n")
        return
    from netpick.core.words import counted_word
    from netpick.exam.tables import table

    whole = table(frame, rows, suggested or None, shares)
    order = [*range(len(whole.headings))]
    if not wide and _width(_laid_out(whole, order)) > console.width:
        named = [whole.headings.index(name) for name in columns if name in whole.headings]
        order = _that_fit(whole, named + [place for place in order if place not in named])
    shown = _laid_out(whole, order)
    shown.title = title
    room = console.options.update(width=max(console.width, _width(shown) if wide else 0))
    console.print(Segments(console.render(shown, room)), crop=False, no_wrap=True, end="")
    hidden = [name for place, name in enumerate(whole.headings) if place not in order]
    if hidden:
        sentence(f"{counted_word(len(hidden), 'more column')} with --wide: {', '.join(hidden)}", "dim")
    if len(frame) > rows:
        say(f"{len(frame) - rows} more rows: --rows N, or --format csv", "dim")


def _that_fit(whole: Cells, wanted: list[int]) -> list[int]:
    """Return the columns that there is room for, the first of `wanted` always."""
    kept = wanted[:1]
    for place in wanted[1:]:
        if _width(_laid_out(whole, [*kept, place])) > console.width:
            break
        kept.append(place)
    return kept


def _width(table: Table) -> int:
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _laid_out(whole: Cells, order: list[int]) -> Table:
    out = grid()
    for place in order:
        out.add_column(whole.headings[place], justify="right" if whole.numbers[place] else "left", no_wrap=True)
    for cells, marked in zip(whole.rows, whole.marked, strict=True):
        texts = [cells[place] for place in order]
        if marked:
            texts[0] = f"{MARK} {texts[0]}"
        out.add_row(*texts, style="bold cyan" if marked else None)
    return out


def data(text: str) -> None:
    """Write what another program is to read: to the byte, unless people read it on a terminal."""
    sys.stdout.write(printable(text) if console.is_terminal else text)


def grid(title: str | None = None) -> Table:
    """Return a table without columns."""
    return Table(title=title, title_justify="left", header_style="bold")
