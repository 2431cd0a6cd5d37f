"""Answers of classifiers that were trained elsewhere, as a file has them: whose, to what, and what they are.

A file is long (a row an answer: network, sample, and predicted or a score a class) or wide (a row a sample, a column
a network). It is read twice, so that memory is bounded: first for the names in it, then for some networks at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from netpick.core.errors import DataError
from netpick.core.names import is_file_name
from netpick.store.given import GivenTable, Words

NETWORK, SAMPLE, LABEL, EPOCH, PREDICTED, SCORE = "network", "sample", "label", "epoch", "predicted", "score_"
NAMELESS = ("", "Unnamed: 0", "__index_level_0__")
"""What pandas calls an index that is written along: in a wide file the samples' numbers."""

MOST_SAMPLES, MOST_EPOCHS = 10_000_000, 10_000
GROUP_BYTES, LARGEST = 2**28, 2**32
"""Of the answers that are in memory at a time, and of those of one network."""

SMALLEST = float(np.finfo(np.float32).eps)
"""A probability of 0 counts as this, as in scikit-learn's log_loss: its logarithm would be minus infinity."""

NEAR_ONE = 0.01
"""By how much the sum of probabilities may differ from 1: they are often written with few digits."""


class Numbering(dict[str, int]):
    """Words by number, in the order in which they are met."""

    def of(self, words: Words, where: str) -> np.ndarray:
        """Return the numbers of a column's rows; DataError where one is empty."""
        if (words.codes < 0).any():
            raise DataError(f"{where} lacks values: each row needs one")
        return np.array([self.setdefault(word, len(self)) for word in words.words] or [0])[words.codes]


class Answered(NamedTuple):
    """What one network answered at one epoch: predicted classes, and log-probabilities (samples, classes) or None."""

    network: str
    epoch: int
    predicted: np.ndarray
    scores: np.ndarray | None


@dataclass
class GivenAnswers:
    """A file of answers; its names are read when they are first asked for. DataError for whatever it can't be."""

    table: GivenTable
    networks: Numbering = field(default_factory=Numbering)
    samples: Numbering = field(default_factory=Numbering)
    epochs: Numbering = field(default_factory=Numbering)
    words: Numbering = field(default_factory=Numbering)
    """Of classes, in labels and answers."""
    labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """Of each sample the number of its word; -1 where the file does not tell."""

    @classmethod
    def read(cls, path: str | Path) -> GivenAnswers:
        """Open a file, and read all names in it."""
        given = cls(GivenTable(path))
        given._read_names()
        if not given.networks or not given.samples:
            raise DataError(f"{path} has no answers: give a row an answer, or a row a sample and a column a network")
        return given

    @property
    def is_wide(self) -> bool:
        """Whether a column is a network."""
        return NETWORK not in self.table.columns

    @cached_property
    def score_classes(self) -> list[str]:
        """The classes that columns of scores are named after."""
        return [] if self.is_wide else [c.removeprefix(SCORE) for c in self.table.columns if c.startswith(SCORE)]

    def answers(self, order: Sequence[str], numbers: dict[str, int], classes: int) -> Iterator[Answered]:
        """Yield the answers of each network at each of its epochs.

        Parameters
        ----------
        order : names of the samples, in the order in which answers are wanted
        numbers : of the classes, by the words that they go by
        classes : how many there are
        """
        place = {name: i for i, name in enumerate(order)}
        to = np.array([place[name] for name in self.samples])
        cells = max(1, len(self.epochs)) * len(order)
        size = cells * (8 + (12 * classes if self.score_classes else 0))
        if size > LARGEST:
            raise DataError(f"{self.table.path}: answers of one network take {size >> 30} GiB: give fewer epochs")
        names, many = list(self.networks), max(1, GROUP_BYTES // size)
        for start in range(0, len(names), many):
            yield from self._group(names[start : start + many], order, to, numbers, classes)

    def _group(
        self, names: list[str], order: Sequence[str], to: np.ndarray, numbers: dict[str, int], classes: int
    ) -> Iterator[Answered]:
        shape = (len(names), max(1, len(self.epochs)), len(order))
        predicted = np.full(shape, -2, np.int32)  # -1: there is a row, and no class in it
        scores = np.full((*shape, classes), np.nan, np.float32) if self.score_classes else None
        columns = np.argsort([numbers[word] for word in self.score_classes])
        for network, epoch, sample, words, given in self._rows(names):
            at = (network, epoch, to[sample])
            flat = np.ravel_multi_index(at, shape)
            found, counts = np.unique(flat, return_counts=True)
            again = (counts > 1) | (predicted.ravel()[found] != -2)
            if again.any():
                cell = self._cell(names, order, *np.unravel_index(found[int(np.argmax(again))], shape))
                raise DataError(f"{cell} is there twice: give each answer once")
            predicted[at] = np.array([numbers[word] for word in words.words] + [-1])[words.codes]
            if scores is not None and given is not None:
                scores[at] = given[:, columns]
        epochs = [int(word) for word in self.epochs] or [1]
        for i, name in enumerate(names):
            for e in np.argsort(epochs):
                there = predicted[i, e] != -2
                if not there.any() and len(epochs) > 1:  # it stopped earlier
                    continue
                if not there.all():
                    raise DataError(
                        f"{self._cell(names, order, i, e, np.argmin(there))} is missing: it answers {there.sum()} of "
                        f"{len(there)} samples, and each network must answer all"
                    )
                yield self._checked(name, epochs[e], predicted[i, e], None if scores is None else scores[i, e])

    def _checked(self, name: str, epoch: int, predicted: np.ndarray, scores: np.ndarray | None) -> Answered:
        has = None if scores is None else ~np.isnan(scores).all(axis=1)
        if scores is None or has is None or not has.any():
            if (predicted < 0).any():
                raise DataError(f"{self.table.path}: {name} has rows without a predicted class: fill or remove them")
            return Answered(name, epoch, predicted, None)
        if not has.all():
            raise DataError(f"{self.table.path}: {name} has scores in some rows and none in others: give all or none")
        found = log_probabilities(scores, f"{self.table.path}: {name}")
        return Answered(name, epoch, found.argmax(axis=1), found)

    def _cell(self, names: list[str], order: Sequence[str], network: Any, epoch: Any, sample: Any) -> str:
        at = f" at epoch {list(self.epochs)[epoch]}" if len(self.epochs) > 1 else ""
        return f"{self.table.path}: the answer of {names[network]} to sample {order[sample]}{at}"

    def _read_names(self) -> None:
        for network in self._columns_of_networks() if self.is_wide else ():
            self.networks.setdefault(network, len(self.networks))
        if not self.is_wide:
            self.table.need(SAMPLE)
            if not self.score_classes:
                self.table.need(PREDICTED)
        texts = self._texts(list(self.networks) if self.is_wide else [])
        for piece, sample in self._numbered(texts):
            if not self.is_wide:
                self.networks.of(piece[NETWORK], self._column(NETWORK))
            for name in (*self.networks,) if self.is_wide else (PREDICTED,):
                for word in piece[name].words if name in piece else ():
                    self.words.setdefault(word, len(self.words))
            if EPOCH in piece:
                self.epochs.of(piece[EPOCH], self._column(EPOCH))
            if LABEL in piece:
                self._take_labels(sample, self.words.of(piece[LABEL], self._column(LABEL)))
        self._check_names()

    def _check_names(self) -> None:
        for name in self.networks:
            if not is_file_name(name):
                raise DataError(
                    f"{self.table.path}: {name!r:.80} can't be a network's name: up to 150 letters that can be "
                    "printed, no slash, and no dot at the beginning"
                )
        for word in self.epochs:
            if not word.isdecimal() or not 1 <= int(word) <= 32767:
                raise DataError(f"{self.table.path}: epoch is {word!r:.40}: give whole numbers from 1 on")
        if len(self.epochs) > MOST_EPOCHS:
            raise DataError(f"{self.table.path} has {len(self.epochs)} epochs: give at most {MOST_EPOCHS}")

    def _take_labels(self, sample: np.ndarray, label: np.ndarray) -> None:
        if len(self.labels) < len(self.samples):
            self.labels = np.append(self.labels, np.full(2 * len(self.samples) - len(self.labels), -1))
        before = self.labels[sample]
        self.labels[sample] = label
        wrong = (self.labels[sample] != label) | ((before >= 0) & (before != label))
        if wrong.any():
            which = list(self.samples)[sample[int(np.argmax(wrong))]]
            raise DataError(f"{self.table.path}: sample {which} has two labels: each sample has one")

    def _texts(self, networks: Sequence[str]) -> list[str]:
        there = self.table.columns
        names = [name for name in (SAMPLE, LABEL, EPOCH) if name in there]
        if self.is_wide:
            index = [there[0]] if SAMPLE not in there and there[0] in NAMELESS else []
            return [*names, *index, *networks]
        return [NETWORK, *names, *([PREDICTED] if PREDICTED in there else [])]

    def _columns_of_networks(self) -> list[str]:
        kept = (SAMPLE, LABEL, EPOCH, *NAMELESS)
        return [name for name in self.table.columns if name not in kept]

    def _column(self, name: str) -> str:
        return f"{self.table.path}: its column {name}"

    def _numbered(self, texts: Sequence[str], numbers: Sequence[str] = ()) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield the pieces of the file, each with the numbers of its samples."""
        rows = 0
        named = SAMPLE if SAMPLE in texts else next((name for name in texts if name in NAMELESS), None)
        for piece in self.table.pieces(texts, numbers):
            many = len(next(iter(piece.values())).codes)
            if named is None:  # rows are samples, in order
                piece[SAMPLE] = Words(np.arange(many), [str(rows + i) for i in range(many)])
            column = SAMPLE if named is None else named
            yield piece, self.samples.of(piece[column], self._column(column))
            rows += many
            if len(self.samples) > MOST_SAMPLES:
                raise DataError(f"{self.table.path} has more than {MOST_SAMPLES:,} samples: give fewer")

    def _rows(self, names: list[str]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Words, np.ndarray | None]]:
        """Yield rows of some networks: place of the network in `names`, epoch, sample, predicted class, scores."""
        scores = [SCORE + word for word in self.score_classes]
        if self.is_wide:
            for piece, sample in self._numbered(self._texts(names)):
                epoch = self._epoch(piece, len(sample))
                for i, name in enumerate(names):
                    yield np.full(len(sample), i), epoch, sample, piece[name], None
            return
        place = np.full(len(self.networks), -1)
        place[[self.networks[name] for name in names]] = np.arange(len(names))
        for piece, sample in self._numbered(self._texts(()), scores):
            network = place[self.networks.of(piece[NETWORK], self._column(NETWORK))]
            mine = network >= 0
            words = piece.get(PREDICTED, Words(np.full(len(sample), -1), []))
            given = np.stack([piece[name][mine] for name in scores], axis=1) if scores else None
            epoch = self._epoch(piece, len(sample))
            yield network[mine], epoch[mine], sample[mine], words._replace(codes=words.codes[mine]), given

    def _epoch(self, piece: dict[str, Any], rows: int) -> np.ndarray:
        return self.epochs.of(piece[EPOCH], self._column(EPOCH)) if EPOCH in piece else np.zeros(rows, np.int64)


def sample_key(name: str) -> tuple[int, int, str]:
    """Order samples by number, and after those by name."""
    number = name.removeprefix("-")
    return (0, int(name), name) if number.isdecimal() and len(number) < 19 else (1, 0, name)


def log_probabilities(scores: np.ndarray, whose: str) -> np.ndarray:
    """Return scores that are probabilities, or the logarithms of such, as the latter: float32 (samples, classes)."""
    if np.isnan(scores).any():
        raise DataError(f"{whose} has rows in which some scores are missing: give all of a row, or none")
    if (scores < 0).any():
        with np.errstate(over="ignore"):
            sums = np.exp(scores.astype(np.float64)).sum(axis=1)
        logs = scores
    else:
        sums = scores.sum(axis=1, dtype=np.float64)
        with np.errstate(divide="ignore"):
            logs = np.log(np.maximum(scores, SMALLEST))
    if (away := ~(np.abs(sums - 1) <= NEAR_ONE)).any():
        raise DataError(
            f"{whose} has scores that are neither probabilities nor logarithms of such: those of a sample add up to "
            f"{sums[int(np.argmax(away))]:.4g} and not to 1: give predict_proba, a softmax of logits, or `predicted`"
        )
    if np.isinf(logs).any() or logs is not scores:
        logs = np.maximum(logs, np.log(SMALLEST))
        logs = logs - np.log(np.exp(logs.astype(np.float64)).sum(axis=1, keepdims=True))
    return logs.astype(np.float32)
