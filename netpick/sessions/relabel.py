"""Putting labels right: a file of corrections, checked against the run whole, and the run beside it that has them.

A correction names a sample by split and number, the label that the run has for it, and the one that it is to have;
by class names, or by their numbers where no class is called so. All is checked before anything is written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from netpick.core.errors import DataError, RunError, listed, suggest
from netpick.core.files import open_regular
from netpick.core.fixes import LABEL, SAMPLE, SPLIT, SUGGESTED
from netpick.core.spreadsheet import no_formula
from netpick.sessions.recount import by_other_labels
from netpick.store.folder import Store
from netpick.store.given import GivenTable, as_word
from netpick.store.reader import Reader
from netpick.store.relabelled import write_relabelled

MOST_BYTES = 2**28
"""Of a file of corrections: some hundred bytes for each of a million samples."""

Sample = tuple[str, int]
"""Split and number."""


@dataclass(frozen=True)
class Relabelled:
    """What `relabel_run` made: the folder, how many labels changed in each split, and of how many samples."""

    folder: Path
    changed: dict[str, int]
    samples: int


class Correction(NamedTuple):
    """A row of the file, as words; the split is `test` where there is no such column."""

    sample: str | None
    split: str | None
    label: str | None
    suggested: str | None


def relabel_run(folder: str | Path, fixes: str | Path, target: str | Path, copy: bool = False) -> Relabelled:
    """Make a run of the same answers with other labels, all counted anew.

    Parameters
    ----------
    folder : of the run, which is not being trained; it stays as it is
    fixes : a CSV or Parquet file with columns sample, label, suggested, and maybe split; further ones are not read
    target : a folder that does not exist yet
    copy : copy the answers, where hard links are not possible

    Raises
    ------
    NetpickError
        No run, or one without results; a target that exists; a correction that does not fit the run. Then nothing was
        written. WorkError for a full disk.
    """
    target, store, run = Path(target), Store.open(folder), Reader(folder)
    _check_target(target, store)
    labels = {str(split): run.labels(str(split)) for split in run.samples["split"].unique()}
    new, digest = _corrected(Path(fixes), labels, run)
    changed = {split: int((new[split] != old).sum()) for split, old in labels.items() if (new[split] != old).any()}
    if not changed:
        raise DataError(f"{fixes} changes no label: leave the rows whose `{SUGGESTED}` is right, and edit that column")
    about = {"of": run.name, "file": Path(fixes).name, "sha256": digest, "labels": sum(changed.values())}
    write_relabelled(store, target, {split: new[split] for split in changed}, by_other_labels, about, copy)
    return Relabelled(target, changed, sum(map(len, labels.values())))


def _check_target(target: Path, store: Store) -> None:
    if os.path.lexists(target):
        raise RunError(f"{target} is there already: give --run a folder that is not, or remove it")
    if not os.path.isdir(target.absolute().parent):
        raise RunError(f"{target}: there is no folder {target.parent}: make it first")
    if store.path.resolve() in target.resolve().parents:
        raise RunError(f"{target} would lie in the run itself: give a folder elsewhere")


def _corrected(path: Path, labels: dict[str, np.ndarray], run: Reader) -> tuple[dict[str, np.ndarray], str]:
    """Return the labels of each split with the corrections in them, and the SHA-256 of the file."""
    if path.is_file() and (size := path.stat().st_size) > MOST_BYTES:
        raise DataError(f"{path} has {size >> 20:,} MiB: give a file of corrections, of at most 256 MiB")
    table = GivenTable(path)
    with open_regular(path, MOST_BYTES) as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    table.need(SAMPLE, LABEL, SUGGESTED)
    classes = _numbers(run.classes)
    new, seen = {split: known.copy() for split, known in labels.items()}, set[Sample]()
    for number, row in enumerate(_rows(table), 1):
        where = f"{path}, row {number}"
        split, sample = _sample(row, labels, where)
        if (split, sample) in seen:
            raise DataError(f"{where}: sample {sample} of {split} is there twice: strike one of the rows")
        seen.add((split, sample))
        said, wanted = (_class(word, classes, run, f"{where}: {column}")
                        for column, word in ((LABEL, row.label), (SUGGESTED, row.suggested)))  # fmt: skip
        if said != labels[split][sample]:
            has = run.classes[labels[split][sample]]
            raise DataError(
                f"{where}: sample {sample} of {split} is labelled '{has}' in {run.path}, and not '{run.classes[said]}':"
                " the file is of another run, or of before its labels were put right"
            )
        new[split][sample] = wanted
    return new, digest


def _rows(table: GivenTable) -> Iterator[Correction]:
    names = [name for name in Correction._fields if name in table.columns]
    for piece in table.pieces(names):
        words = {name: [*piece[name].words, None] for name in names}  # code -1 is the last: no word
        for i in range(len(piece[SAMPLE].codes)):
            row = {name: words[name][piece[name].codes[i]] for name in names}
            yield Correction(**{SPLIT: "test", **row})


def _sample(row: Correction, labels: dict[str, np.ndarray], where: str) -> Sample:
    if row.split not in labels:
        near = suggest(str(row.split), labels)
        raise DataError(f"{where}: split is '{row.split or ''}'{near}: the run has samples of {listed(sorted(labels))}")
    many = len(labels[row.split])
    number = int(row.sample) if row.sample and row.sample.isascii() and row.sample.isdigit() else -1
    if not 0 <= number < many:
        raise DataError(
            f"{where}: sample is '{row.sample or '':.40}': the {row.split} split has samples 0 to {many - 1}"
        )
    return row.split, number


def _numbers(classes: list[str]) -> dict[str, int]:
    """Return the number of each class by the words that it may go by in a file; -1 for one of several classes."""
    by_number = {str(c): c for c in range(len(classes))}
    by_name: dict[str, int] = {}
    for c, name in enumerate(classes):
        for word in {as_word(name) or "", no_formula(name)} - {""}:
            by_name[word] = -1 if word in by_name else c
    return by_number | by_name


def _class(word: str | None, classes: dict[str, int], run: Reader, where: str) -> int:
    number = classes.get(word or "")
    if number == -1:
        raise DataError(f"{where} is '{word}', as several classes of {run.path} are called: give the class's number")
    if number is None:
        near = suggest(word, run.classes) if word else ""
        raise DataError(f"{where} is '{word or '':.80}'{near}: the classes are {listed(run.classes)}")
    return number
