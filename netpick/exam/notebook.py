"""How answers and runs show themselves in a notebook: HTML with the sentence, the figure and the table, all escaped."""

from __future__ import annotations

import base64
from collections import Counter
from io import BytesIO
from typing import TYPE_CHECKING

from markupsafe import Markup

from netpick.core.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from netpick.exam.tables import Table

ROWS = 10
"""Of a table that are shown."""


def png(figure: Figure) -> bytes:
    """Return a figure as a notebook shows it."""
    from netpick.exam.theme import theme

    with theme():
        figure.savefig(out := BytesIO(), format="png", dpi=96)
    return out.getvalue()


def answer_html(text: str, note: str, figure: Figure, shown: Table) -> str:
    """Return the sentence, the note, the figure and the first rows of the table."""
    picture = base64.b64encode(png(figure)).decode()
    out = [
        Markup("<p>{}</p>").format(text),
        Markup("<p><small>{}</small></p>").format(note),
        Markup('<img alt="{}" src="data:image/png;base64,{}">').format(text, picture),
        _table(shown),
    ]
    return Markup("\n").join(out)


def _table(shown: Table) -> Markup:
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in shown.headings)
    rows = [Markup("<tr>{}</tr>").format(head)]
    for cells, marked in zip(shown.rows, shown.marked, strict=True):
        tag = Markup("<td><b>{}</b></td>" if marked else "<td>{}</td>")
        rows.append(Markup("<tr>{}</tr>").format(Markup("").join(tag.format(cell) for cell in cells)))
    more = shown.total - len(shown.rows)
    rest = Markup("<p><small>{} more rows in <code>.table</code></small></p>").format(more) if more else Markup("")
    return Markup('<div style="overflow-x:auto"><table>{}</table></div>{}').format(Markup("").join(rows), rest)


def run_html(path: str, dataset: str, networks: int, wanted: int, ended: Counter[str]) -> str:
    """Return what a run is of, how far it has come, and what can be done with it."""
    return Markup(
        "<p><b>{}</b>: {} networks for {}, {} of {} trainings finished ({})</p>"
        "<p><small>Go on with <code>.ask('weird')</code>, <code>.pick(max_params=20_000)</code>, "
        "<code>.networks</code>, <code>.trainings</code>, <code>.epochs</code>, <code>.predictions()</code>; "
        "<code>netpick ask {}</code> lists the questions.</small></p>"
    ).format(path, networks, dataset, ended.total(), wanted, counted(ended), path)
