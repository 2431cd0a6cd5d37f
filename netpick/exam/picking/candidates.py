"""Whom one can pick, with what each was right on: all samples to choose by, and many splits of them to judge on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from netpick.exam.ballots import final, final_scores
from netpick.exam.marks import students
from netpick.exam.picking.areas import class_auc
from netpick.exam.picking.columns import ACCURACIES
from netpick.exam.splits import Splits
from netpick.exam.timings import TIMED
from netpick.store.reader import Reader

TIMES = 50
"""How often the choice is made anew."""


@dataclass(frozen=True)
class Candidates:
    """The networks that can be picked.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row a network: its family and costs; accuracy and class_accuracy on the samples to choose by, and class_auc
        where it was asked for.
    splits : Splits
        Of the samples to choose by.
    chosen, judged : dict of str to (networks, splits) array
        By the same columns, on the part of each split that chooses; and by the two accuracies on that which judges:
        all test samples where there is a validation split.
    right : (networks, samples) bool
        Right or wrong on the test samples.
    samples : dict of str to int
        Of how many samples to choose by accuracy and class_accuracy are a share.
    validation : bool
        Whether the choice is made on the validation split, and judged on all test samples.
    tried : (networks, 1 + splits) bool, optional
        Who can be chosen on all samples, and who in each split; without it everyone.
    """

    frame: pd.DataFrame
    splits: Splits
    chosen: dict[str, np.ndarray]
    judged: dict[str, np.ndarray]
    right: np.ndarray
    samples: dict[str, int]
    validation: bool
    tried: np.ndarray | None = None

    @classmethod
    def of(cls, run: Reader, seed: int) -> Candidates:
        """Read them; `seed` is that of the splits."""
        names, predicted, labels = final(run)
        right = predicted == labels
        by, by_labels = right, labels
        if validation := "validation" in set(run.epochs["split"]):
            names, predicted, by_labels = final(run, names, "validation")
            by = predicted == by_labels
        splits = Splits.of(run, by_labels, times=TIMES, seed=seed)
        chosen = _shares(splits, by, by_labels, 0)
        if validation:
            fixed = right.mean(axis=1), _worst_class(right, labels)
            judged = {c: np.repeat(x[:, None], TIMES, axis=1) for c, x in zip(ACCURACIES, fixed, strict=True)}
        else:
            judged = _shares(splits, by, by_labels, 1)
        frame = students(run).set_index("name").loc[names].reset_index()
        columns = ["name", "computation", "activation", "params", "memory", "ops", "depth", "macs", "seconds", *TIMED]
        frame = frame[[column for column in columns if column in frame]].assign(
            accuracy=by.mean(axis=1), class_accuracy=_worst_class(by, by_labels)
        )
        counts = np.bincount(by_labels)
        samples = {"accuracy": len(by_labels), "class_accuracy": int(counts[counts > 0].min())}
        return cls(frame, splits, chosen, judged, right, samples, validation)

    def with_class_auc(self, run: Reader) -> Candidates:
        """Return them with the area under the ROC curve in the worst class: it takes all scores, and a while."""
        _, scores, labels = final_scores(run, self.frame["name"], "validation" if self.validation else "test")
        whole = np.ones((1, len(labels)), bool)
        areas = class_auc(scores, labels, np.concatenate([whole, self.splits.part == 0]))
        chosen = {**self.chosen, "class_auc": areas[:, 1:]}
        return replace(self, frame=self.frame.assign(class_auc=areas[:, 0]), chosen=chosen)

    def answered(self, run: Reader, answers: Mapping[str, Mapping[str, np.ndarray]], tried: np.ndarray) -> Candidates:
        """Return them with other answers of some networks, by name and split, and with who can be chosen."""
        place = {name: i for i, name in enumerate(self.frame["name"])}
        rows = [place[name] for name in answers]
        split = "validation" if self.validation else "test"
        labels, by_labels = run.labels(), run.labels(split)
        now = np.stack([each["test"] for each in answers.values()]) == labels
        by = np.stack([each[split] for each in answers.values()]) == by_labels
        right = self.right.copy()
        right[rows] = now
        chosen, judged = ({c: x.copy() for c, x in parts.items()} for parts in (self.chosen, self.judged))
        fixed = dict(zip(ACCURACIES, (now.mean(axis=1), _worst_class(now, labels)), strict=True))
        judging = {} if self.validation else _shares(self.splits, by, by_labels, 1)
        for column, shares in _shares(self.splits, by, by_labels, 0).items():
            chosen[column][rows] = shares
            judged[column][rows] = fixed[column][:, None] if self.validation else judging[column]
        frame = self.frame.copy()
        frame.loc[frame.index[rows], [*ACCURACIES]] = np.stack([by.mean(axis=1), _worst_class(by, by_labels)], axis=1)
        return replace(self, frame=frame, chosen=chosen, judged=judged, right=right, tried=tried)

    def can_be(self, split: int | None = None) -> np.ndarray:
        """Return who can be chosen on all samples, or in a split: bool (networks,)."""
        if self.tried is None:
            return np.ones(len(self.frame), bool)
        return self.tried[:, 0 if split is None else split + 1]

    def at(self, split: int) -> pd.DataFrame:
        """Return `frame` with the accuracies on the part of a split that chooses."""
        return self.frame.assign(**{column: values[:, split] for column, values in self.chosen.items()})

    @property
    def note(self) -> str:
        """Say what is chosen and judged on."""
        choose = self.samples["accuracy"]
        if self.validation:
            return f"chosen on {choose} validation samples, judged on all {self.right.shape[1]} test samples"
        return (
            f"chosen on all {choose} test samples; judged by making the choice anew on one half of them and looking at "
            f"the other, {TIMES} times"
        )


def _shares(splits: Splits, right: np.ndarray, labels: np.ndarray, part: int) -> dict[str, np.ndarray]:
    """Return both kinds of accuracy on a part of each split."""
    by_class = [
        Splits(splits.part[:, labels == c], splits.parts, splits.seed).means(right[:, labels == c], part)
        for c in np.unique(labels)
    ]
    return {"accuracy": splits.means(right, part), "class_accuracy": np.nanmin(by_class, axis=0)}


def _worst_class(right: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the accuracy of each network in its worst class, of the classes that occur."""
    return np.min([right[:, labels == c].mean(axis=1) for c in np.unique(labels)], axis=0)
