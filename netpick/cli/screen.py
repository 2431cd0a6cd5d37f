"""What is shown on the terminal: the one console, the one printing function, and tables of frames.

A string is text and nothing else: no markup, no colours for numbers, and what would act on a terminal (escape
sequences, changes of the direction of writing) is written out, since names of classes, networks and runs come from
strangers. What is said is the commands' business.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["table", "csv", "json"]

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


console = Screen()
errors = Screen(stderr=True)


def say(text: str, style: str = "", error: bool = False) -> None:
    """Print a text on standard output, or on standard error."""
    (errors if error else console).say(text, style)


def show_frame(frame: pd.DataFrame, form: Format = "table", rows: int = 40) -> None:
    """Print the first rows of a table; as csv or json all of them, without decoration."""
    if form != "table":
        data(frame.to_csv(index=False) if form == "csv" else f"{frame.to_json(orient='records', indent=1)}\n")
        return
    shown = frame.head(rows)
    table = frame_table(shown)
    if console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width:
        console.print(table)
    else:  # too wide: in blocks of columns, as pandas does it, since half a column is worth nothing
        say(shown.astype(object).map(_cell).to_string(index=False, line_width=console.width))
    if len(frame) > rows:
        say(f"{len(frame) - rows} more rows: --rows N, or --format csv", "dim")


def data(text: str) -> None:
    """Write what another program is to read: to the byte, unless people read it on a terminal."""
    sys.stdout.write(printable(text) if console.is_terminal else text)


def grid(title: str | None = None) -> Table:
    """Return a table without columns."""
    return Table(title=title, title_justify="left", header_style="bold")


def frame_table(frame: pd.DataFrame, title: str | None = None) -> Table:
    """Return a DataFrame as a table for the terminal; numbers to the right, four digits of fractions."""
    table = grid(title)
    for name, column in frame.items():
        table.add_column(str(name), justify="right" if column.dtype.kind in "iuf" else "left", no_wrap=True)
    for row in frame.astype(object).map(_cell).itertuples(index=False):
        table.add_row(*row)
    return table


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN is the one value that differs from itself
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value)).replace("\n", "\\n")
