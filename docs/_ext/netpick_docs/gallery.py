"""The gallery: every question, asked of a planted exam while the site is built.

The exam is synthetic, made from a seed, with known easy, weird, confusing and mislabelled samples; no network is
trained. What a page shows as code is what was executed for its figure, its sentence and its table.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from netpick.exam import plant
from netpick.exam.questions import Question, groups, questions
from netpick.exam.tables import table as shown
from netpick.report.markup import Part, markdown, parts
from netpick_docs.markdown import cell, code, table

RUN = "runs/demo"
SIZE: dict[str, Any] = {"networks": 100, "samples": 250, "compact": True}
ROWS = 8
CODE = """\
from netpick import Run

answer = Run("{run}").ask("{name}")
answer.text  # the sentence
answer.table  # a DataFrame
answer.figure()  # a matplotlib figure
"""
CARD = """\
:::{{grid-item-card}} {name}
:img-top: questions/{name}.png
:link: questions/{name}
:link-type: doc

{title}
:::
"""


def grouped() -> str:
    """Return a card a question, under the headings of their groups."""
    held = (f"## {title}\n\n{cards([each.name for each in group])}" for title, group in groups().items())
    return "\n\n".join(held)


def cards(names: list[str]) -> str:
    """Return a grid with a card a question, and their place in the contents."""
    held = [CARD.format(name=name, title=markdown(questions()[name].title)) for name in names]
    grid = ["::::{grid} 1 2 2 3", ":gutter: 3", "", *held, "::::", ""]
    return "\n".join([*grid, "```{toctree}", ":hidden:", "", *(f"{name} <questions/{name}>" for name in names), "```"])


def pages() -> dict[str, str | bytes]:
    """Plant an exam, ask all questions, and return a page and a figure for each."""
    out: dict[str, str | bytes] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        plant(RUN, **SIZE)
        for name, question in questions().items():
            asked: dict[str, Any] = {}
            exec(CODE.format(run=RUN, name=name), asked)
            figure = asked["answer"].save(f"{name}.png")
            out[f"{name}.png"] = Path(figure).read_bytes()
            out[f"{name}.md"] = page(question, asked["answer"])
    return out


def page(question: Question, answer: Any) -> str:
    """Return the page of one question."""
    title = markdown(question.title)
    out = [f"# {title}", f"![{title}]({question.name}.png)", markdown(answer.text)]
    if answer.note:
        out.append(f"Note: {markdown(answer.note)}.")
    out.append(f"```python\n{CODE.format(run=RUN, name=question.name)}```")
    out.append(f"```sh\nnetpick ask {RUN} {question.name} --plot {question.name}.png\n```")
    out += ["## The table", _first_rows(answer.table), "## How it is worked out", *map(_part, parts(question.doc))]
    if question.options:
        rows = (
            [
                f"`--{name.replace('_', '-')}`",
                "" if option.default is None else f"`{option.default}`",
                cell(option.help),
            ]
            for name, option in question.options.items()
        )
        out += ["## Options", table(["option", "default", "meaning"], rows)]
    out += [
        "## The whole question",
        f":::{{literalinclude}} ../../../analysis/{question.source.name}\n:language: python\n:::",
    ]
    return "\n\n".join(out) + "\n"


def _first_rows(frame: Any) -> str:
    held = shown(frame, ROWS)
    said = f"\nThe first {len(held.rows)} of {held.total} rows.\n" if held.total > len(held.rows) else ""
    rows = [[markdown(value, block=False) for value in row] for row in held.rows]
    return table([f"`{heading}`" for heading in held.headings], rows, held.numbers) + said


def _part(part: Part) -> str:
    """Write a part of a question's documentation; its headings stand below the page's own."""
    if part.kind == "heading":
        return f"### {markdown(part.text)}"
    if part.kind == "columns":
        return table(
            ["", "meaning"], ([code(names.split(", ")), markdown(said, block=False)] for names, said in part.entries)
        )
    if part.kind == "points":
        return "\n".join(f"- {markdown(said)}" for _, said in part.entries)
    return markdown(part.text)
