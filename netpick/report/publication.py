"""A run as a data set that others load: a card for people and hubs, Croissant for machines, sums, and the run itself.

What is written is a run: `Run(FOLDER)` opens it, and all commands work on it. Beside its files lie `README.md`, whose
head names each table as the Hugging Face Hub reads it, `croissant.json` (https://docs.mlcommons.org/croissant, version
1.0), and `SHA256SUMS`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from netpick.core.errors import RunError
from netpick.core.files import named_errors, open_regular, written_aside
from netpick.exam.run import Run
from netpick.report.croissant import croissant
from netpick.report.facts import described
from netpick.report.markup import markdown_pages
from netpick.store.copying import copy_run
from netpick.store.folder import Store
from netpick.store.schema import TABLES, columns

CARD, CROISSANT, SUMS = "README.md", "croissant.json", "SHA256SUMS"

FIRST = "predictions"
"""The table that a hub shows where none is named: what there is to publish."""

_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


@dataclass(frozen=True)
class Publication:
    """What was written: the folder, the number of its files, and their bytes."""

    folder: Path
    files: int
    bytes: int


def publish_run(
    folder: str | Path,
    target: str | Path,
    license_name: str,
    creator: str,
    images: bool = True,
    weights: bool = True,
) -> Publication:
    """Write a run as a data set that can be passed on.

    Parameters
    ----------
    folder : of the run
    target : a folder that does not exist yet; it is there only when it is whole
    license_name : identifier of a licence, such as cc-by-4.0 or mit, as hubs and https://spdx.org/licenses list them
    creator : who is to be named
    images, weights : whether those go along

    Raises
    ------
    NetpickError
        No run, or one without results; a target that exists; words that can't be a licence; a full disk.
    """
    target = Path(target)
    if not _LICENSE.fullmatch(license_name):
        raise RunError(f"--license: wants an identifier such as cc-by-4.0, mit or cc0-1.0, got '{license_name:.80}'")
    if not creator.strip():
        raise RunError("--creator: wants the name of a person or group, got nothing")
    if os.path.lexists(target):
        raise RunError(f"{target} is there already: give a folder that is not, or remove it")
    if not os.path.isdir(target.absolute().parent):
        raise RunError(f"{target}: there is no folder {target.parent}: make it first")
    store = Store.open(folder)
    if store.path.resolve() in target.resolve().parents:
        raise RunError(f"{target} would lie in the run itself: give a folder elsewhere")
    with named_errors(target), written_aside(target) as temporary:
        temporary.mkdir()
        copy = copy_run(store, temporary, images, weights)
        _describe(copy, target.name, license_name, creator.strip(), images)
        for lock in temporary.glob(".lock*"):
            lock.unlink()
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        lines = [f"{sha256(path)}  {path.relative_to(temporary).as_posix()}\n" for path in files]
        (temporary / SUMS).write_text("".join(lines), encoding="utf-8")
        size = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
    return Publication(target, len(files) + 1, size)


def sha256(path: Path) -> str:
    """Return the sum of a file, in hexadecimal digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()


def _describe(store: Store, name: str, license_name: str, creator: str, images: bool) -> None:
    run = Run(store.path)
    shown = described(run)
    there = {path.name for path in store.path.iterdir()}
    tables = [table for table in TABLES if {table, f"{table}.parquet"} & there]
    files = {table: f"{table}/*.parquet" if (store.path / table).is_dir() else f"{table}.parquet" for table in tables}
    title = str(shown["title"])
    made = store.manifest["created"]
    about = {
        "name": name,
        "title": title,
        "description": " ".join(str(shown["description"]).split()) or title,
        "license": license_name,
        "creator": creator,
        "date": f"{made:%Y-%m-%d}",
        "year": f"{made:%Y}",
        "images": images,
        "weights": (store.path / "weights").is_dir(),
        "own_data": ":" in str(store.manifest["dataset"]),
    }
    cards: dict[str, Any] = {
        **shown,
        **about,
        "files": files,
        "first": FIRST,
        "tables": {table: columns(table, len(run.classes)) for table in tables},
        "schema": {table: TABLES[table] for table in tables},
        "statuses": Counter(run.trainings["status"]),
        "quoted": lambda text: json.dumps(text, ensure_ascii=False),
        "bibtex": lambda text: re.sub(r"[{}`\\\\\s]+", " ", text).strip(),
        "key": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run",
    }
    text = markdown_pages().get_template("dataset_card.md.jinja").render(cards)
    (store.path / CARD).write_text(text, encoding="utf-8")
    sums = {path: sha256(store.path / path) for path in files.values() if "*" not in path}
    metadata = croissant(about, files, sums, cards["tables"])
    (store.path / CROISSANT).write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
