"""Ask every question of a run and write the figure of each answer into a folder; make figures small for a page.

One question after the other, each asked once, whatever the number of formats. A question that this run can't answer is
a record with an error, and the others go on. No page is made here, and nothing is computed.
"""

from __future__ import annotations

import base64
import gc
import os
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from markupsafe import Markup

from netpick import exam
from netpick.core.errors import NetpickError, RunError, WorkError, listed, suggest
from netpick.core.files import named_errors
from netpick.exam import questions
from netpick.exam.answer import SUFFIXES, Answer
from netpick.exam.run import Run
from netpick.report.drawings import PIXELS, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

FORMATS = tuple(suffix[1:] for suffix in SUFFIXES)
WIDE, BYTES = 1200, 200_000
"""Pixels and bytes that an image on a page has at most."""

Progress = Callable[[str, int, int], None]
"""Called with the name of the question that is about to be asked, its number from 1, and how many there are."""


def quiet(name: str, number: int, total: int) -> None:
    """Report no progress."""


@dataclass(frozen=True)
class Written:
    """What became of one question: its answer and the files of its figure, or the error, in one line."""

    name: str
    title: str
    text: str = ""
    note: str = ""
    files: tuple[Path, ...] = ()
    table: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    error: str = ""
    seconds: float = 0.0
    doc: str = field(default="", repr=False)
    alt: str = ""
    """What the figure shows, for those who do not see it."""
    shares: Collection[str] = ()
    suggested: str = ""
    """As in `Answer`."""

    def file(self, form: str) -> Path | None:
        """Return the file of one format, such as "png", or None where there is none."""
        return next((path for path in self.files if path.suffix == f".{form}"), None)


def write_figures(
    run: Run,
    folder: str | Path,
    formats: Sequence[str] = ("svg", "png"),
    names: Iterable[str | questions.Question] | None = None,
    on_progress: Progress = quiet,
) -> list[Written]:
    """Ask all questions and write their figures as `folder/NAME.FORMAT`.

    Parameters
    ----------
    run : Run
    folder : str or Path
        Made where it isn't there; files of the same names are replaced, and those of a question that now has an
        error are taken away.
    formats : names of formats
        Of svg, png, pdf; none at all asks the questions and draws nothing.
    names : names of questions, optional
        In the order wanted; None for all that come along. Your own are given as `netpick.exam.own_question` loads them.
    on_progress : callable
        See `Progress`.

    Returns
    -------
    list of Written
        One a question, in order.

    Raises
    ------
    NetpickError
        For an unknown format or question; RunError where the run has no finished training; WorkError where a file
        can't be written.
    """
    return list(each_figure(run, folder, formats, names, on_progress))


def each_figure(
    run: Run,
    folder: str | Path,
    formats: Sequence[str] = ("svg", "png"),
    names: Iterable[str | questions.Question] | None = None,
    on_progress: Progress = quiet,
) -> Iterator[Written]:
    """Yield what `write_figures` returns, as it comes; what is wrong with the arguments is raised at once."""
    for form in formats:
        if form not in FORMATS:
            raise NetpickError(f"no format '{form}'{suggest(form, FORMATS)}: figures are written as {listed(FORMATS)}")
    given = questions.questions() if names is None else names
    wanted = {one.name: one for one in (questions.find(one) if isinstance(one, str) else one for one in given)}
    exam.done(run)  # where nothing is finished, nothing can be asked: said once, not by each question
    folder = Path(folder)
    if formats:
        if os.path.islink(folder) and folder.parent.resolve() == run.path.resolve():
            raise RunError(f"{folder} is a link: a run's own folders hold its files, give another folder")
        make_folder(folder)
    return _one_by_one(run, [*wanted.values()], folder, formats, on_progress)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; WorkError where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise WorkError(f"{folder} can't be made a folder ({e.strerror or e}): give another path") from None


def _one_by_one(
    run: Run, asked: list[questions.Question], folder: Path, formats: Sequence[str], on_progress: Progress
) -> Iterator[Written]:
    for number, question in enumerate(asked, 1):
        on_progress(question.name, number, len(asked))
        start = time.perf_counter()
        written = _write_one(run, question, [folder / f"{question.name}.{form}" for form in formats])
        if formats:
            gc.collect()  # figures hold on to themselves in circles, and with them to all that was drawn
        yield replace(written, seconds=time.perf_counter() - start)


def _write_one(run: Run, question: questions.Question, paths: list[Path]) -> Written:
    """Ask one question, draw its figure into all the files."""
    named = Written(question.name, question.title, doc=question.doc)
    try:
        answer = questions.ask(run, question)
        if not isinstance(answer.table, pd.DataFrame):
            raise TypeError(f"the table of an answer is to be a DataFrame, got a {type(answer.table).__name__}")
        alt = _save(answer, question, paths)
    except _CantWriteError as e:
        raise e.cause from None  # the next question would run into it as well
    except NetpickError as e:
        _remove(paths)
        return replace(named, error=str(e))
    except (Exception, SystemExit) as e:  # noqa: BLE001  one question's bug must not cost the other answers
        _remove(paths)
        return replace(named, error=_bug(question, e))
    return replace(
        named, text=str(answer.text), note=str(answer.note), files=tuple(paths), table=answer.table, alt=alt,
        shares=answer.shares, suggested=answer.suggested,
    )  # fmt: skip


class _CantWriteError(Exception):
    """A file can't be written, which is nothing that the question is to blame for."""

    def __init__(self, cause: WorkError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _save(answer: Answer, question: questions.Question, paths: list[Path]) -> str:
    """Write the figure of an answer into files, and describe it.

    It is drawn anew for each file: laying out a figure a second time, for another resolution, can cut off its texts.
    """
    alt = ""
    for path in paths:
        drawn = answer.figure()
        alt = alt or _alt(question, drawn)
        try:
            _with_figure(answer, drawn).save(path)
        except WorkError as e:
            raise _CantWriteError(e) from None
    return alt


def _with_figure(answer: Answer, drawn: Figure) -> Answer:
    return replace(answer, draw=lambda: drawn)


def _alt(question: questions.Question, drawn: Figure) -> str:
    """Describe a figure by its own title, which states what it shows."""
    titles = [drawn.get_suptitle(), *(ax.get_title() for ax in drawn.axes)]
    said = " ".join(next(filter(None, titles), "").split())
    return f"Figure for “{question.title}”{said and f': {said}'}"


def _bug(question: questions.Question, error: BaseException) -> str:
    """Say in one line what went wrong that should not have, and in which line of the question."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(question.source)]
    place = f"{question.source.name}, line {lines[-1]}" if lines else question.source.name
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"question '{question.name}' ({place}) failed: {said}"


def _remove(paths: list[Path]) -> None:
    """Take away files of an earlier run, or half of those of this one: they would pass for this run's figure."""
    for path in paths:
        with named_errors(path):
            path.unlink(missing_ok=True)


def shrunk(path: Path, wide: int = WIDE, most: int = BYTES) -> tuple[bytes, tuple[int, int]]:
    """Return a figure's PNG file made small, and its width and height in pixels.

    Figures have few colours: 256 of them look the same as all, in about half of the bytes. `wide` is the greatest width
    in pixels, `most` the greatest number of bytes.
    """
    from PIL import Image

    with Image.open(path, formats=("PNG",)) as opened:
        image = opened.convert("RGB")
    if image.width > wide:
        image = _narrower(image, wide)
    colours = 256
    while True:
        file = BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(file, "png", optimize=True)
        if file.tell() <= most or image.width <= wide // 4:
            return file.getvalue(), image.size
        if colours > 64:
            colours //= 2
        else:
            image = _narrower(image, int(image.width * 0.85))


def _narrower(image: Image, width: int) -> Image:
    from PIL.Image import Resampling

    return image.resize((width, max(1, round(image.height * width / image.width))), Resampling.LANCZOS)


def embedded(written: Written) -> Markup:
    """Return a figure as an element of an HTML page: its SVG, or its PNG where that can't be a part of it."""
    png, svg = written.file("png"), written.file("svg")
    if png is None or svg is None:
        return Markup("")
    if drawn := drawing(svg.read_bytes(), f"figure-{written.name}", written.alt):
        return Markup(drawn)
    small, (width, height) = shrunk(png)
    return Markup('<img src="{}{}" width="{}" height="{}" alt="{}">').format(
        PIXELS, base64.b64encode(small).decode(), width, height, written.alt
    )
