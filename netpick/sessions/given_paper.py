"""The exam that imported answers are to: its samples by name, labels, classes, and images where there are any."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from netpick.core.errors import DataError, listed, suggest
from netpick.core.image_file import UnreadableError, decode_image, header
from netpick.data import DataRequest, data_dir, load
from netpick.data.samples import Dataset, sample_rows
from netpick.sessions.given_answers import LABEL, SAMPLE, GivenAnswers, Numbering, sample_key
from netpick.store.folder import Store
from netpick.store.given import GivenTable
from netpick.store.reader import Reader

IMAGE_SIDE = 128
"""Pixels of the longer side of an image that is kept."""

MOST_CLASSES = 2**15 - 1


@dataclass(frozen=True)
class Paper:
    """The samples in order: names, labels, and the files or the data set that their images are from."""

    names: Sequence[str]
    labels: np.ndarray
    classes: Sequence[str]
    dataset: str = "imported"
    seed: int | None = None
    """By which the data set's own test samples were drawn."""
    shape: Sequence[int] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    loaded: Dataset | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each class, by its name, and by its number as a word where no class is called so."""
        return {str(c): c for c in range(len(self.classes))} | {name: c for c, name in enumerate(self.classes)}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of samples.parquet."""
        if self.loaded is not None:
            every = list(sample_rows(self.loaded, ["test"]))
            for i, name in enumerate(self.names):
                yield {**every[int(name)], "sample": i, "name": name}
            return
        for i, (name, label) in enumerate(zip(self.names, self.labels.tolist(), strict=True)):
            index = int(name) if name.isdecimal() and len(name) < 10 else i
            row = {"split": "test", "sample": i, "index": index, "label": label, "class_name": self.classes[label]}
            yield {**row, "name": name, "image": self._png(name)}

    def _png(self, name: str) -> bytes | None:
        import io

        from PIL import Image

        if self.shape is None:
            return None
        try:
            pixels = decode_image(self.files[name], self.shape, resize=True)
        except UnreadableError as error:
            raise DataError(f"{self.files[name]}: {error}: give another image of sample {name}") from None
        file = io.BytesIO()
        Image.fromarray(pixels[0] if self.shape[0] == 1 else pixels.transpose(1, 2, 0).copy()).save(file, "PNG")
        return file.getvalue()


def paper_of_source(
    answers: GivenAnswers, labels: str | Path | None, dataset: str | None, images: str | Path | None, option: str | None
) -> Paper:
    """Return the samples of a new run, from whatever tells of them; DataError where that is too little."""
    names = sorted(answers.samples, key=sample_key)
    own = _labels(answers, labels)
    if dataset not in (None, "none"):
        if images is not None:
            raise DataError("--dataset and --images: give one of them, a data set has its images")
        loaded = load(DataRequest(str(dataset), data_dir(option)))
        test = loaded.split("test")
        if odd := [name for name in names if not name.isdecimal() or len(name) > 9 or int(name) >= len(test)]:
            raise DataError(
                f"{answers.table.path}: sample is {odd[0]!r:.40}, and '{dataset}' has test samples 0 to {len(test) - 1}"
            )
        given = Paper(
            names, test.labels[[int(n) for n in names]].astype(np.int16), list(loaded.classes), loaded.name,
            seed=0, shape=list(loaded.shape), loaded=loaded,
        )  # fmt: skip
        return _agreed(given, answers, own)
    if missing := [name for name in names if name not in own]:
        raise DataError(
            f"no label of sample {missing[0]}{_more(missing)}: give a column label, --labels FILE with sample and "
            "label, or --dataset"
        )
    classes = answers.score_classes or sorted({*answers.words, *(own[name] for name in names)}, key=sample_key)
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise DataError(f"{answers.table.path} has {len(classes)} classes: an exam has 2 to {MOST_CLASSES:,}")
    files, shape = _images(images, names) if images is not None else ({}, None)
    given = Paper(names, np.zeros(len(names), np.int16), classes)
    check_classes(given, answers)
    numbers = given.numbers
    if odd := [name for name in names if own[name] not in numbers]:
        raise DataError(_odd_class(f"the label of sample {odd[0]}", own[odd[0]], classes))
    found = np.array([numbers[own[name]] for name in names], np.int16)
    return Paper(names, found, classes, shape=shape, files=files)


def paper_of_run(store: Store, answers: GivenAnswers, labels: str | Path | None) -> Paper:
    """Return the samples of a run that is there; DataError where the answers are not to these."""
    run = Reader(store.path)
    rows = run.samples[run.samples["split"] == "test"].sort_values("sample")
    paper = Paper(rows["name"].tolist(), rows["label"].to_numpy(np.int16), run.classes)
    known = set(paper.names)
    if odd := [name for name in answers.samples if name not in known]:
        raise DataError(
            f"{answers.table.path}: {store.path} has no sample {odd[0]}{_more(odd)}: give answers to its own"
        )
    return _agreed(paper, answers, _labels(answers, labels))


def _labels(answers: GivenAnswers, path: str | Path | None) -> dict[str, str]:
    """Return the label of each sample that one is given for, by the names of both."""
    words, names = list(answers.words), list(answers.samples)
    own = {names[s]: words[c] for s, c in enumerate(answers.labels[: len(names)].tolist()) if c >= 0}
    if path is None:
        return own
    table = GivenTable(path)
    table.need(SAMPLE, LABEL)
    samples, labels = Numbering(), Numbering()
    told: dict[str, str] = {}
    for piece in table.pieces([SAMPLE, LABEL]):
        s = samples.of(piece[SAMPLE], f"{path}: its column sample")
        c = labels.of(piece[LABEL], f"{path}: its column label")
        of_sample, of_label = list(samples), list(labels)
        for i, j in zip(s.tolist(), c.tolist(), strict=True):
            sample, label = of_sample[i], of_label[j]
            if told.setdefault(sample, label) != label:
                raise DataError(f"{path}: sample {sample} has the labels {told[sample]} and {label}: give one")
            if own.get(sample, label) != label:
                raise DataError(f"{path}: sample {sample} is {label}, and {answers.table.path} says {own[sample]}")
    return told


def check_classes(paper: Paper, answers: GivenAnswers) -> None:
    """Raise DataError where an answer is no class of the paper, or scores are not one for each."""
    numbers, path = paper.numbers, answers.table.path
    for word in answers.words:
        if word not in numbers:
            raise DataError(_odd_class(f"{path}: a class", word, paper.classes))
    if answers.score_classes:
        there = {numbers.get(word, -1) for word in answers.score_classes}
        if there != set(range(len(paper.classes))) or len(there) != len(answers.score_classes):
            scores = listed((f"score_{word}" for word in answers.score_classes), 4)
            raise DataError(f"{path}: the columns {scores} are not one for each class of {listed(paper.classes, 8)}")


def _agreed(paper: Paper, answers: GivenAnswers, own: Mapping[str, str]) -> Paper:
    """Return the paper; DataError where its classes are not those of the answers, or a label is another."""
    check_classes(paper, answers)
    for name, label in zip(paper.names, paper.labels.tolist(), strict=True):
        if name in own and paper.numbers.get(own[name]) != label:
            where = f"{answers.table.path}: sample {name}"
            raise DataError(f"{where} is labelled {own[name]}, and it is {paper.classes[label]}: put it right")
    return paper


def _images(folder: str | Path, names: Sequence[str]) -> tuple[dict[str, Path], list[int]]:
    """Return the file of each sample's image, and the shape that all are brought to: that of the first, if small."""
    if not os.path.isdir(folder):
        raise DataError(f"--images: no folder {folder}")
    files = sorted(path for path in Path(folder).iterdir() if path.is_file())
    there = {path.stem: path for path in files} | {path.name: path for path in files}
    if missing := [name for name in names if name not in there]:
        near = suggest(missing[0], list(there)[:1000])
        raise DataError(f"{folder} has no image of sample {missing[0]}{_more(missing)}{near}: name files after samples")
    try:
        (height, width), mode = header(there[names[0]])
    except UnreadableError as error:
        raise DataError(f"{there[names[0]]}: {error}: give another image of sample {names[0]}") from None
    by = min(1.0, IMAGE_SIDE / max(height, width))
    shape = [1 if mode in ("1", "L", "I;16") else 3, max(1, round(by * height)), max(1, round(by * width))]
    return {name: there[name] for name in names}, shape


def _odd_class(what: str, word: str, classes: Sequence[str]) -> str:
    return f"{what} is {word!r:.60}{suggest(word, classes)}: the classes are {listed(classes)}"


def _more(names: Sequence[str]) -> str:
    return f" (nor of {len(names) - 1} more)" if len(names) > 1 else ""
