"""The page: gathers and packs what it holds, and joins it with its sources into one file that needs no other.

The sources lie in `page/`: plain JavaScript that becomes one script within one function, styles, and a template. The
page's content security policy names these two by their hashes, so that nothing else in the page can ever act.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from netpick import exam
from netpick.core.errors import RunError
from netpick.core.words import size
from netpick.exam.run import Run
from netpick.report.explorer import contents, live
from netpick.report.explorer.choice import chosen
from netpick.report.explorer.pack import Block, differences, packed, within_html
from netpick.report.explorer.scores import scores
from netpick.report.markup import html_pages
from netpick.report.page import EXPLORER, page_path, write_page

__all__ = ["EXPLORER", "Explored", "write_explorer"]

MAX_SIZE = 20_000_000
"""Bytes of the page."""

LIVE = 6_000_000
"""Bytes that the live class takes of it at most; where the page is to be small, `LIVE_SHARE` of it."""

LIVE_SHARE = 0.4

FEWEST = 20
"""Samples below which a page is of no use."""

POLICY = (
    "default-src 'none'; img-src data:; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'"
)
"""Nothing is fetched, nothing is sent, and no script or style acts but the page's own, known by their hashes."""

SCRIPTS = (
    *("blocks", "bits", "numbers", "elements", "columns", "samples", "answers", "state", "plot"),
    *("epochs", "networks", "pointing", "choosing", "wall", "tiles", "sample", "network", "pair", "committee"),
    *("forward", "carried", "classroom", "drawing", "board", "live", "main"),
)
"""Sources of the page's script, in the order in which they are joined."""


@dataclass(frozen=True)
class Explored:
    """What became of a page: its file and size, how many samples of how many, and which networks are left out of what.

    `left_out` are the names of networks that could not come into the live class, by the reason.
    """

    path: Path
    bytes: int
    samples: int
    of: int
    rule: str
    live: int
    left_out: dict[str, list[str]]


def write_explorer(
    run: Run,
    path: str | Path,
    samples: int | None = None,
    live_networks: int | None = None,
    max_size: int = MAX_SIZE,
) -> Explored:
    """Write a run as one page to explore: networks, samples, answers, committees, epochs, and a live class.

    Parameters
    ----------
    run : Run
    path : str or Path
        Of the page.
    samples : int, optional
        How many samples it holds at most; as many as fit where left out.
    live_networks : int, optional
        How many networks travel with their weights; 0 for none, as many as fit where left out.
    max_size : int
        Bytes of the page. Where all samples don't fit, some are kept by a rule that the page states.

    Returns
    -------
    Explored

    Raises
    ------
    NetpickError
        For numbers out of range; RunError where the run has no finished training, or the page would be too large
        with a few samples; WorkError where the file can't be written.
    """
    samples = None if samples is None else exam.check_count("samples", samples, FEWEST)
    live_networks = None if live_networks is None else exam.check_count("live", live_networks, 0)
    exam.done(run)  # where nothing is finished, nothing can be shown
    path = page_path(path)
    given = _Given(run, live_networks, max_size)
    count = min(samples or len(given.labels), len(given.labels))
    while (over := len((made := _page(given, count)).text) - max_size) > 0:
        if count <= FEWEST:
            raise RunError(f"the page takes {size(len(made.text))} with {count} samples: give a larger --max-size")
        count = max(FEWEST, int(count * min(0.9, 1 - over / made.of_samples)))
    write_page(path, made.text)
    return Explored(path, len(made.text), count, len(given.labels), made.rule, given.carried, given.left_out)


class _Given:
    """All that is read of the run, once, whatever the number of samples."""

    def __init__(self, run: Run, live_networks: int | None, max_size: int) -> None:
        self.run, self.labels, self.thresholds = run, run.labels(), contents.thresholds()
        self.samples = contents.samples(run)
        self.scores = scores(run)
        students = exam.students(run)
        self.best = exam.labelled(run, students)
        several = (students["replicates"] > 1).any()
        self.notes = exam.notes(run, "votes are those of the first replicate of each" if several else "")
        run.forget()  # of all scores, which are large, no more is needed
        self.answers = [differences(each, self.labels, len(run.classes)) for each in contents.answers(run)]
        self.names = [*exam.first_replicates(run)]
        last = (self.answers[-1].T.astype(np.int32) + self.labels) % len(run.classes)
        self.ballot = exam.ballot(last, self.labels, run.classes)
        self.networks = packed(contents.networks(run, self.names))
        self.marks = {f"mark-{key}": packed(value) for key, value in contents.marks(run, self.names).items()}
        budget = min(LIVE, int(max_size * LIVE_SHARE))
        self.live, blocks, self.left_out = live.carried(run, budget, live_networks)
        self.carried = len(self.live.get("networks", ()))
        self.live_blocks = {name: packed(content) for name, content in blocks.items()}


class _Page(NamedTuple):
    """A page, the rule by which its samples are kept, and how many of its bytes are theirs."""

    text: str
    rule: str
    of_samples: int


def _page(given: _Given, count: int) -> _Page:
    """Return the page with so many samples."""
    run = given.run
    kept, rule = chosen(given.ballot, count, given.thresholds)
    table = given.samples.loc[kept]
    hardest = np.argsort(given.ballot["right"].to_numpy()[kept], kind="stable")  # answers in this order deflate best
    pixels = contents.images(run, kept)
    columns = {str(key): column.tolist() for key, column in table.items()}
    of_samples = {
        "samples": packed({"sample": kept, "hardest": hardest, **columns}),
        **({} if pixels is None else {"images": packed(pixels)}),
        **{f"answers-{epoch}": packed(each[kept[hardest]]) for epoch, each in enumerate(given.answers)},
        **given.scores.blocks(kept),
    }
    blocks = {"networks": given.networks, **given.marks, **of_samples, **given.live_blocks}
    text = _joined(_head(given, rule, count, pixels, blocks), blocks)
    return _Page(text, rule, sum(block.size for block in of_samples.values()))


def _head(given: _Given, rule: str, count: int, pixels: np.ndarray | None, blocks: dict[str, Block]) -> dict[str, Any]:
    """Return what the page knows of itself before it reads a block."""
    run = given.run
    manifest = run.manifest
    shape = " × ".join(str(n) for n in manifest.get("shape", ()))
    return {
        "title": str(manifest.get("title") or run.name),
        "run": run.name,
        "data": f"{manifest['dataset']}: {len(given.labels):,} test samples" + (f" of {shape}" if shape else ""),
        "shape": manifest.get("shape", []),
        "classes": run.classes,
        "networks": len(given.names),
        "samples": count,
        "of": len(given.labels),
        "rule": rule,
        "epochs": len(given.answers),
        "image": None if pixels is None else pixels.shape[1:],
        "notes": given.notes,
        "best": given.best,
        "thresholds": given.thresholds,
        "marks": contents.MARKS,
        "has": {**given.samples.attrs, "scores": given.scores.head},
        "look": contents.look(exam.students(run)),
        "live": given.live,
        "left_out": given.left_out,
        "blocks": {name: block.kind for name, block in blocks.items()},
    }


def _joined(head: dict[str, Any], blocks: dict[str, Block]) -> str:
    """Lay the page out: what it shows is text, data, and the two sources that its policy names."""
    script = "(() => {\n'use strict';\n" + "\n".join(_sources(*(f"{name}.js" for name in SCRIPTS))) + "})();\n"
    style = "\n".join(_sources("style.css", "live.css"))
    [layout] = _sources("explorer.html.jinja")
    return (
        html_pages()
        .from_string(layout)
        .render(
            head=head,
            data=within_html(head),
            blocks={name: block.text for name, block in blocks.items()},
            script=Markup(script),
            style=Markup(style),
            policy=POLICY.format(script=_hash(script), style=_hash(style)),
        )
    )


def _sources(*names: str) -> Iterator[str]:
    folder = resources.files("netpick.report.explorer") / "page"
    for name in names:
        yield (folder / name).read_text("utf-8")


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
