"""`Answer`: what a question gives back. A table to go on with, a sentence that answers, and a figure drawn on demand.

It neither computes nor reads anything, and matplotlib is loaded when a figure is asked for, not before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netpick.core.errors import NetpickError, listed, suggest
from netpick.core.files import named_errors, written_aside
from netpick.exam.notebook import ROWS, answer_html, png

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".pdf")


@dataclass
class Answer:
    """The answer to one question.

    Parameters
    ----------
    table : pandas.DataFrame
        What was found; the question's own documentation says what each column means.
    text : str
        A sentence or two that answer the question, with numbers.
    draw : callable
        Draws the figure; called by `figure`, under the theme.
    note : str
        What was left out or is missing: failed trainings, an unfinished run, one epoch only. "" if nothing.
    shares : collection of str
        Columns of the table that are fractions, shown as percentages wherever people read them.
    columns : collection of str
        Columns that matter most, in this order, where there is no room for all; the first ones if empty.
    suggested : str
        The network whose row is to stand out.
    """

    table: pd.DataFrame
    text: str
    draw: Callable[[], Figure] = field(repr=False)
    note: str = ""
    shares: Collection[str] = ()
    columns: Collection[str] = ()
    suggested: str = ""

    def figure(self) -> Figure:
        """Draw the figure, anew at each call."""
        from netpick.exam.theme import theme

        with theme():
            drawn = self.draw()
        if pyplot := sys.modules.get("matplotlib.pyplot"):  # else it holds on to every figure that it made
            pyplot.close(drawn)
        drawn._repr_png_ = partial(png, drawn)  # type: ignore[attr-defined]  # notebooks show what knows how
        return drawn

    def save(self, path: str | Path) -> Path:
        """Write the figure as SVG, PNG or PDF, by the suffix of `path`; the same answer gives the same bytes.

        Raises
        ------
        NetpickError
            For another suffix, before anything is drawn; WorkError for a path that can't be written.
        """
        from netpick.exam.theme import theme

        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            near = suggest(suffix, SUFFIXES) if suffix else ""
            raise NetpickError(f"{path} ends in '{suffix}'{near}: a figure is written as {listed(SUFFIXES)}")
        drawn = self.figure()
        # A date in the file would make it differ each time.
        metadata: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})
        content = BytesIO()  # what matplotlib makes of a full disk depends on the format
        with theme():
            drawn.savefig(content, format=suffix[1:], metadata=metadata)
        with named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(path) as temporary:
                temporary.write_bytes(content.getvalue())
        return path

    def __str__(self) -> str:
        """Give the text, and the note after it."""
        return "\n".join(filter(None, (self.text, self.note and f"Note: {self.note}")))

    def _repr_html_(self) -> str:
        """Show itself in a notebook: the sentence, the figure, the table."""
        from netpick.exam.tables import table

        shown = table(self.table, ROWS, self.suggested or None, self.shares)
        return answer_html(self.text, self.note, self.figure(), shown)
