"""The whole exam on one page: HTML that needs nothing but itself, or Markdown with its images beside it.

Asks the questions through `figures`, and lays their answers out with the templates `report.html.jinja` and
`exam.md.jinja`, in which every text is escaped. Nothing is computed here.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from netpick import exam
from netpick.core import advice
from netpick.core.errors import NetpickError, WorkError, listed
from netpick.core.files import atomic_write, named_errors
from netpick.core.words import BEST, count, counted, duration
from netpick.exam import questions
from netpick.exam.run import Run
from netpick.exam.tables import Table, cell, table
from netpick.report.figures import Progress, Written, each_figure, embedded, quiet, shrunk
from netpick.report.markup import Part, html_pages, markdown_pages, parts

if TYPE_CHECKING:
    import pandas as pd

ROWS = 10
"""Rows of each table that are shown."""


@dataclass(frozen=True)
class Section:
    """One question on the page."""

    name: str
    title: str
    text: str
    note: str
    error: str
    image: str
    """Where the figure is: a data URI or a relative link; "" where there is none."""
    alt: str
    width: int
    height: int
    table: Table
    about: list[Part]
    command: str


def write_report(
    run: Run,
    path: str | Path,
    folder: str | Path | None = None,
    names: Iterable[str | questions.Question] | None = None,
    rows: int = ROWS,
    run_as: str | None = None,
    on_progress: Progress = quiet,
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
        In the order wanted; None for all that come along. Your own are given as `netpick.exam.own_question` loads them.
    rows : int
        Rows of each table that are shown.
    run_as : str, optional
        How commands on the page name the run's folder; as it was given to `Run` where left out.
    on_progress : callable
        See `netpick.report.figures.Progress`.

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
    path = _tried(path)
    with _place_of_figures(folder) as place:
        written, sections = [], []
        for question in each_figure(run, place, ("svg", "png"), names, on_progress):
            image, size = embedded(question)
            sections.append(_section(run, question, image, size, rows, run_as))
            written.append(question if folder is not None else replace(question, files=()))
    _write(path, html_pages().get_template("report.html.jinja").render(_facts(run, written, sections, run_as)))
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
    names, rows, run_as, on_progress
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
    path = _tried(path)
    written, sections = [], []
    for question in each_figure(run, image_folder, ("png",), names, on_progress):
        link, size = "", (0, 0)
        if (file := question.file("png")) is not None:
            small, size = shrunk(file)
            with named_errors(file):
                atomic_write(file, small)
            relative = Path(os.path.relpath(file.absolute(), path.absolute().parent)).as_posix()
            link = quote(os.fsencode(relative))  # bytes: a path need not be valid Unicode
        sections.append(_section(run, question, link, size, rows, run_as))
        written.append(question)
    facts = _facts(run, written, sections, run_as)
    _write(path, markdown_pages().get_template("exam.md.jinja").render(facts, command=command))
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


def _tried(path: str | Path) -> Path:
    """Return the path of a page to be; WorkError, before any work is done, where it can't be written."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise WorkError(f"{path} is not a file: give the path of the page to write")
    with named_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=".netpick-"):
            return path


def _write(path: Path, page: str) -> None:
    with named_errors(path):
        # A file name that is not valid Unicode can be in the text, and could not be encoded.
        atomic_write(path, page.encode("utf-8", "replace"))


def _facts(run: Run, written: list[Written], sections: list[Section], run_as: str | None) -> dict[str, Any]:
    """Collect what the templates show."""
    manifest = run.manifest
    trained = manifest.get("training", {})
    statuses = Counter(run.trainings["status"])
    wanted = run.wanted
    epochs = int(run.epochs["epoch"].max())
    samples = len(run.labels())
    answers = int((run.epochs["split"] == "test").sum()) * samples
    shape = " × ".join(str(n) for n in manifest.get("shape", ()))
    device = trained.get("device") or listed(trained.get("devices", ()))
    workers = trained.get("workers")
    source = manifest.get("source", "a template")
    trainings = f"{cell(sum(statuses.values()))} of {cell(wanted)} finished: {counted(statuses)}"
    about = {
        "Data set": f"{manifest['dataset']}: {cell(samples)} test samples{f' of {shape}' if shape else ''}",
        "Classes": f"{len(run.classes)}: {listed(run.classes)}",
        "Networks": f"{cell(len(run.networks))} from {source}, seed {manifest.get('seed')}",
        "Trainings": f"{trainings}; {duration(float(run.trainings['seconds'].sum()))} of work in all",
        "Recipe": _recipe(run.recipe),
        "Device": (f"{device}, " if device else "") + _counted(int(workers), "worker") if workers else device,
        "Versions": ", ".join(f"{k} {v}" for k, v in _versions(manifest).items()),
        "Made": f"{manifest['created']:%Y-%m-%d}" if hasattr(manifest.get("created"), "year") else "",
    }
    numbers = {
        _word(len(run.networks), "network"): cell(len(run.networks)),
        _word(epochs, "epoch"): cell(epochs),
        _word(samples, "test sample"): cell(samples),
        "answers kept": cell(answers),
    }
    thresholds = next((w for w in written if w.name == "scores" and not w.error), None)
    if thresholds is None and all(w.name != "scores" for w in written):
        thresholds = _asked(run, "scores")
    best, reference = best_networks(run)
    return {
        "title": manifest.get("title") or run.name,
        "name": run.name,
        "run": _run_as(run, run_as),
        "numbers": numbers,
        "about": {k: v for k, v in about.items() if v},
        "notes": exam.notes(run),
        "best": table(best, len(best), reference),
        "reference": reference,
        "students": len(exam.students(run)),
        "thresholds": table(_in_words(thresholds.table), 20) if thresholds else None,
        "sections": sections,
        "answered": [s for s in sections if not s.error],
        "refused": [s for s in sections if s.error],
    }


def best_networks(run: Run) -> tuple[pd.DataFrame, str | None]:
    """Return the best networks as people read them, with `Basic` after them, and the name of `Basic` if it is there."""
    frame = exam.students(run)
    ranked = frame.sort_values(["accuracy", "macs", "params"], ascending=[False, True, True], kind="stable")
    reference = exam.basic(frame)
    rows = ranked[(ranked["name"] == reference) | (ranked["name"].isin(ranked["name"].head(BEST)))]
    out = rows[["name", "params", "memory", "ops", "macs", "seconds", "accuracy"]].rename(
        columns={"name": "network", "seconds": "training, s"}
    )
    places = ranked["name"].reset_index(drop=True)
    out.insert(0, "place", [int(places.index[places == name][0]) + 1 for name in rows["name"]])
    out["accuracy"] = [exam.percent(a) for a in rows["accuracy"]]
    for column in ("params", "memory", "ops", "macs"):
        out[column] = [count(v) for v in rows[column]]
    out["training, s"] = [f"{v:.2f}" for v in rows["seconds"]]
    return out, reference


def _in_words(thresholds: pd.DataFrame) -> pd.DataFrame:
    """Give the columns of the question `scores` headings: at_80 is "≥ 80 %"."""
    return thresholds.rename(columns=lambda name: re.sub(r"^at_(\d+)$", r"≥ \1 %", str(name)))


def _asked(run: Run, name: str) -> Written | None:
    """Ask for a table alone; None where there is no answer."""
    try:
        answer = run.ask(name)
    except NetpickError:
        return None
    return Written(name, "", answer.text, table=answer.table)


def _section(run: Run, asked: Written, image: str, size: tuple[int, int], rows: int, run_as: str | None) -> Section:
    return Section(
        asked.name, asked.title, asked.text, asked.note.rstrip("."), asked.error, image, asked.alt, *size,
        table(asked.table, rows), about=parts(asked.doc),
        command=advice.command("ask", Path(_run_as(run, run_as)), asked.name),
    )  # fmt: skip


def _run_as(run: Run, run_as: str | None) -> str:
    return str(run.path) if run_as is None else run_as


def _recipe(recipe: Mapping[str, Any]) -> str:
    """Write the recipe in one line."""
    said = []
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            said += [f"{k} {cell(v)}" for k, v in value.items()]
        else:
            said.append(f"{key} {cell(value)}")
    return ", ".join(said)


def _versions(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that the networks were trained with, or else those they were generated with."""
    names = manifest.get("versions", {})
    return {k: str(manifest.get("training", {}).get(k, v)) for k, v in names.items()}


def _word(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"


def _counted(number: int, word: str) -> str:
    return f"{cell(number)} {_word(number, word)}"
