"""The whole exam on one page: HTML that needs nothing but itself, or Markdown with its images beside it.

Asks the questions through `figures`, and lays their answers out with the templates `report.html.jinja` and
`exam.md.jinja`, in which every text is escaped. Nothing is computed here.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any
from urllib.parse import quote

from netpick import exam
from netpick.core import advice
from netpick.core.errors import WorkError
from netpick.core.files import atomic_write, named_errors
from netpick.exam import questions
from netpick.exam.picking import suggestion
from netpick.exam.run import Run
from netpick.exam.tables import Table, table
from netpick.report.facts import facts
from netpick.report.figures import Progress, Written, each_figure, embedded, quiet, shrunk
from netpick.report.markup import Part, html_pages, markdown_pages, parts

ROWS = 10
"""Rows of each table that are shown."""

EXPLORER = "explore.html"
"""The page to explore the run, to which the report leads where it lies beside it."""

COMPARES = "-beside"
"""What the name of a question ends in where it is asked of two runs."""

BESIDE = (
    *("changes", "best", "strategies", "activations", "scores", "easy", "weird", "confusing", "suspects", "mistakes"),
)
"""Questions that are asked of another run too, where a page is to compare."""

FOUND = ("strategies", "weird")
"""Questions whose answers a page of all questions begins with, after the network to pick: families, hard samples."""


@dataclass(frozen=True)
class Section:
    """One question on the page."""

    name: str
    title: str
    text: str
    note: str
    error: str
    image: str
    """The figure, as an element of HTML or as a relative link; "" where there is none."""
    alt: str
    table: Table
    about: list[Part]
    command: str


@dataclass(frozen=True)
class Group:
    """Sections under one heading, and the id of the heading."""

    id: str
    title: str
    sections: list[Section]


def write_report(
    run: Run,
    path: str | Path,
    folder: str | Path | None = None,
    names: Iterable[str | questions.Question] | None = None,
    rows: int = ROWS,
    run_as: str | None = None,
    on_progress: Progress = quiet,
    against: str | Path | None = None,
) -> list[Written]:
    """Write all that a run has to say as one HTML page, which needs no other file and no network.

    Parameters
    ----------
    run : Run
    path : str or Path
        Of the page.
    folder : str or Path, optional
        Where the figures are to be kept as files as well, SVG and PNG.
    names : names of questions, optional
        In the order wanted; None for all that come along, in their groups, after the network to pick. Your own are
        given as `netpick.exam.own_question` loads them.
    rows : int
        Rows of each table that are shown.
    run_as : str, optional
        How commands on the page name the run's folder; as it was given to `Run` where left out.
    on_progress : callable
        See `netpick.report.figures.Progress`.
    against : str or Path, optional
        Folder of another run, with which this one is compared in a group of sections before all others.

    Returns
    -------
    list of Written
        What became of each question; without files where no `folder` was given.

    Raises
    ------
    NetpickError
        For an unknown question or an impossible number of rows; RunError where the run has no finished training;
        WorkError where a file can't be written.
    """
    exam.check_count("rows", rows, 0)
    path = page_path(path)
    with _place_of_figures(folder) as place:
        written, sections = [], []
        for answered in each_figure(run, place, ("svg", "png"), _asked(names, against), on_progress):
            sections.append(_section(run, answered, embedded(answered), rows, run_as, against))
            written.append(answered if folder is not None else replace(answered, files=()))
    shown = _shown(run, written, _groups(sections, names is None, against), run_as)
    shown["explorer"] = EXPLORER if path.with_name(EXPLORER).is_file() else ""
    write_page(path, html_pages().get_template("report.html.jinja").render(shown))
    return written


def write_markdown(
    run: Run,
    path: str | Path,
    image_folder: str | Path,
    command: str,
    names: Iterable[str | questions.Question] | None = None,
    rows: int = ROWS,
    run_as: str | None = None,
    on_progress: Progress = quiet,
    against: str | Path | None = None,
) -> list[Written]:
    """Write the same as Markdown, with the figures as small PNG files that it links to.

    Parameters
    ----------
    run : Run
    path : str or Path
        Of the page.
    image_folder : str or Path
        Of the images, `NAME.png`; the page links to them relative to itself.
    command : str
        The command that writes the page again; the page quotes it.
    names, rows, run_as, on_progress, against
        As in `write_report`.

    Returns
    -------
    list of Written
        What became of each question.

    Raises
    ------
    NetpickError
        As `write_report`.
    """
    exam.check_count("rows", rows, 0)
    path = page_path(path)
    written, sections = [], []
    for answered in each_figure(run, image_folder, ("png",), _asked(names, against), on_progress):
        link = ""
        if (file := answered.file("png")) is not None:
            small, _ = shrunk(file)
            with named_errors(file):
                atomic_write(file, small)
            relative = Path(os.path.relpath(file.absolute(), path.absolute().parent)).as_posix()
            link = quote(os.fsencode(relative))  # bytes: a path need not be valid Unicode
        sections.append(_section(run, answered, link, rows, run_as, against))
        written.append(answered)
    shown = _shown(run, written, _groups(sections, names is None, against), run_as)
    write_page(path, markdown_pages().get_template("exam.md.jinja").render(shown, command=command))
    return written


@contextmanager
def _place_of_figures(folder: str | Path | None) -> Iterator[str | Path]:
    """Give the folder for the figures, or a passing one; what can't be written there is not the user's path."""
    if folder is not None:
        yield folder
        return
    try:
        with TemporaryDirectory(prefix="netpick-") as temporary:
            yield temporary
    except (WorkError, OSError) as e:
        raise WorkError(
            f"the figures can't be kept among the temporary files for a while ({e}): free some space there, or name a"
            " folder in TMPDIR"
        ) from None


def page_path(path: str | Path) -> Path:
    """Return the path of a page to be; WorkError, before any work is done, where it can't be written."""
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise WorkError(f"{path} is not a file: give the path of the page to write")
    with named_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=".netpick-"):
            return path


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all; WorkError where that is not possible."""
    with named_errors(path):
        # A file name that is not valid Unicode can be in the text, and could not be encoded.
        atomic_write(path, page.encode("utf-8", "replace"))


def _asked(
    names: Iterable[str | questions.Question] | None, against: str | Path | None
) -> Iterable[str | questions.Question]:
    """Return the questions of a page, first those that compare.

    Where none are named, which network to pick is the first of the others.
    """
    beside = [] if against is None else [_beside(questions.find(name), Run(against)) for name in BESIDE]
    if names is not None:
        return [*beside, *names]
    _, _, columns = (inspect.getdoc(exam.Pick) or "").partition("Notes\n-----\n")
    doc = f"{inspect.getdoc(suggestion)}\n\n{columns}"
    pick = questions.Question(
        "pick", "Which network should one pick?", doc, {}, Path(suggestion.__file__), own=False, function=exam.pick
    )
    return [*beside, pick, *questions.questions().values()]


def _beside(question: questions.Question, other: Run) -> questions.Question:
    """Return a question as it is asked of two runs."""
    return replace(
        question,
        name=f"{question.name}{COMPARES}",
        function=partial(questions.ask, question=question, against=other.path),
    )


def _groups(sections: list[Section], everything: bool, against: str | Path | None) -> list[Group]:
    """Put the sections under headings: what was found, then the groups of the gallery; or the order that is wanted.

    What compares with another run comes first.
    """
    if against is not None:
        beside = [section for section in sections if section.name.endswith(COMPARES)]
        rest = _groups([section for section in sections if section not in beside], everything, None)
        return [*rest[:1], Group("before-and-after", f"Beside {against}", beside), *rest[1:]]
    by_name = {section.name: section for section in sections}
    if not everything:
        return [Group("found", "What was found", []), Group("group-1", "Questions", sections)]
    first = [by_name.pop(name) for name in ("pick", *FOUND)]
    titled = {
        title: [by_name[each.name] for each in held if each.name in by_name]
        for title, held in questions.groups().items()
    }
    found = Group("found", "What was found", first)
    return [found, *(Group(f"group-{i}", *each) for i, each in enumerate(titled.items(), 1))]


def _shown(run: Run, written: list[Written], groups: list[Group], run_as: str | None) -> dict[str, Any]:
    """Collect what the templates show."""
    return {**facts(run, written), "run": _run_as(run, run_as), "groups": groups}


def _section(
    run: Run, asked: Written, image: str, rows: int, run_as: str | None, against: str | Path | None
) -> Section:
    folder = Path(_run_as(run, run_as))
    command = advice.command("pick", folder) if asked.name == "pick" else advice.command("ask", folder, asked.name)
    if against is not None and asked.name.endswith(COMPARES):
        name = asked.name.removesuffix(COMPARES)
        command = advice.command("ask", folder, name, "--against", Path(against))
    return Section(
        asked.name, asked.title, asked.text, asked.note.rstrip("."), asked.error, image, asked.alt,
        table(asked.table, rows, asked.suggested or None, asked.shares), parts(asked.doc), command,
    )  # fmt: skip


def _run_as(run: Run, run_as: str | None) -> str:
    return str(run.path) if run_as is None else run_as
