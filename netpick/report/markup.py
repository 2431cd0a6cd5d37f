"""Texts and docstrings as the templates of pages lay them out, and the escaping that keeps them what they are.

Two environments of jinja2 escape whatever is put into a page, one for HTML, one for Markdown. No page is made here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, FunctionLoader
from markupsafe import Markup, escape

CODE = re.compile(r"(`[\w ./=-]+`)")
"""A name or a command within a text."""


@dataclass(frozen=True)
class Part:
    """A part of a question's documentation, by its kind.

    A "heading" or a "text" (paragraph), "columns" (names and their meaning), or "points" (a list, without names).
    """

    kind: str
    text: str = ""
    entries: Sequence[tuple[str, str]] = ()


def parts(doc: str) -> list[Part]:
    """Take a question's docstring apart, without its first line: paragraphs, headings, columns and their meaning."""
    out: list[Part] = []
    for block in re.split(r"\n\s*\n", doc.partition("\n")[2].strip()):
        lines = [line for line in block.splitlines() if line.strip()]
        if len(lines) > 1 and re.fullmatch(r"[-=~]{3,}", lines[1].strip()):
            out.append(Part("heading", lines[0].strip()))
            lines = lines[2:]
        if entries := _entries(lines):
            out.append(Part("columns", entries=entries))
        elif points := _points(lines):
            out.append(Part("points", entries=points))
        elif lines:
            out.append(Part("text", " ".join(line.strip() for line in lines)))
    return out


def _entries(lines: list[str]) -> list[tuple[str, str]]:
    """Read `name : meaning`, with what is indented beneath it; none unless all lines are of that kind."""
    out: list[tuple[str, str]] = []
    for line in lines:
        if not line[0].isspace() and " : " in line:
            name, _, meaning = line.partition(" : ")
            out.append((name.strip(), meaning.strip()))
        elif line[0].isspace() and out:
            out[-1] = (out[-1][0], f"{out[-1][1]} {line.strip()}".strip())
        else:
            return []
    return out


def _points(lines: list[str]) -> list[tuple[str, str]]:
    """Read `- text`, with what is indented beneath it; none unless all lines are of that kind."""
    text = "\n".join(lines)
    if not text.startswith("- ") or any(not re.match(r"- |\s", line) for line in lines):
        return []
    return [("", " ".join(point.split())) for point in re.split(r"^- ", text, flags=re.MULTILINE)[1:]]


def _source(name: str) -> str:
    return (resources.files("netpick.templates") / name).read_text("utf-8")


def html_pages() -> Environment:
    """Escape whatever is put into an HTML page."""
    environment = Environment(autoescape=True, loader=FunctionLoader(_source), trim_blocks=True, lstrip_blocks=True)
    environment.filters["prose"] = _prose
    return environment


def _prose(text: str) -> Markup:
    """Escape a text for HTML, set the names within backticks as code, and keep "98 %" on one line."""
    safe = re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", str(escape(text)))
    return Markup(CODE.sub(lambda code: f"<code>{code[0][1:-1]}</code>", safe))


class Raw(str):
    """Markdown that is not to be escaped."""


def markdown_pages() -> Environment:
    """Escape whatever is put into the Markdown page, unless it passes a filter that says what it is."""
    environment = Environment(
        autoescape=False,  # that is HTML's; `finalize` escapes for Markdown
        finalize=lambda value: value if isinstance(value, Raw) else markdown(str(value)),
        loader=FunctionLoader(_source),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(fenced=_fenced, as_is=Raw, cell=_cell_text)
    return environment


def markdown(text: str, block: bool = True) -> str:
    """Write a text so that Markdown shows it as it is: one line, with nothing in it that Markdown or HTML reads.

    `block` is for a text that can stand at the beginning of a line, where lists and headings are read too.
    """
    pieces = CODE.split(" ".join(text.split()))
    pieces[::2] = map(_plain, pieces[::2])
    text = "".join(pieces)
    return re.sub(r"^(\d*)(?=[-+#.)])(?=.[\s#])", r"\1\\", text) if block else text


def _plain(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")
    text = re.sub(r"([\\`*\[\]|~])", r"\\\1", text)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)  # within a word it is itself


def _fenced(text: str) -> Raw:
    """Write a command as a block of code, with a fence that is longer than any in it."""
    fence = "`" * max(3, *(len(ticks) + 1 for ticks in ["", *re.findall("`+", text)]))
    return Raw(f"{fence}sh\n{text}\n{fence}")


def _cell_text(text: str) -> Raw:
    return Raw(markdown(text, block=False))
