"""Whom one can pick, with what each was right on: on the samples to choose by, and on the others, to judge on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from netpick.core.errors import NetpickError
from netpick.exam.ballots import final, halves
from netpick.exam.marks import students
from netpick.exam.timings import TIMED
from netpick.store.reader import Reader


@dataclass(frozen=True)
class Candidates:
    """The networks that can be picked.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row a network: its family and costs; accuracy and class_accuracy on the samples to choose by, judged and
        judged_class on the others.
    right : (networks, samples) bool
        Right or wrong on the samples to judge on.
    samples : dict of str to int
        Of how many samples to choose by accuracy and class_accuracy are a share.
    validation : bool
        Whether the choice is made on the validation split, and judged on all test samples.
    """

    frame: pd.DataFrame
    right: np.ndarray
    samples: dict[str, int]
    validation: bool

    @classmethod
    def of(cls, run: Reader, seed: int) -> Candidates:
        """Read them; `seed` is that of the halves, where there is no validation split."""
        names, predicted, labels = final(run)
        right = predicted == labels
        validation = "validation" in set(run.epochs["split"])
        if validation:
            names, chosen_by, choose_labels = final(run, names, "validation")
            choose_right, judge_right, judge_labels = chosen_by == choose_labels, right, labels
        else:
            if len(labels) < 2:
                raise NetpickError(
                    f"{run.path} has {len(labels)} test samples: there must be two at least, to choose and to judge"
                )
            choose, judge = halves(len(labels), seed, labels)
            choose_right, choose_labels = right[:, choose], labels[choose]
            judge_right, judge_labels = right[:, judge], labels[judge]
        frame = students(run).set_index("name").loc[names].reset_index()
        columns = ["name", "computation", "activation", "params", "memory", "ops", "depth", "macs", "seconds", *TIMED]
        frame = frame[[column for column in columns if column in frame]].assign(
            accuracy=choose_right.mean(axis=1),
            class_accuracy=_worst_class(choose_right, choose_labels),
            judged=judge_right.mean(axis=1),
            judged_class=_worst_class(judge_right, judge_labels),
        )
        counts = np.bincount(choose_labels)
        samples = {"accuracy": len(choose_labels), "class_accuracy": int(counts[counts > 0].min())}
        return cls(frame, judge_right, samples, validation)

    @property
    def note(self) -> str:
        """Say what is chosen and judged on."""
        choose, judge = self.samples["accuracy"], self.right.shape[1]
        if self.validation:
            return f"chosen on {choose} validation samples, judged on all {judge} test samples"
        return f"chosen on {choose} test samples, judged on the other {judge}"


def _worst_class(right: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the accuracy of each network in its worst class, of the classes that occur."""
    return np.min([right[:, labels == c].mean(axis=1) for c in np.unique(labels)], axis=0)
