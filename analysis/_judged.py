"""Attempts and networks judged on other samples than chose them: who fell from its best, and who was picked early."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Run, Splits

BLOCK_BYTES = 64 * 2**20
"""Answers that are held at a time."""


@dataclass(frozen=True)
class Marks:
    """What single answers tell of the networks' attempts: who fell, and who is best where others choose than judge.

    Parameters
    ----------
    below : a row a network by name
        `judged`, how far its last attempt is below its best one, and `p`, not yet corrected for the number of students.
    names : of the networks, in the order of the rows of what follows
    splits : of the samples
    choosing : (networks, splits) by epoch
        Accuracies on the part that chooses; NaN where a network made no such attempt.
    last : (2, networks, splits)
        At the last attempt, on the part that chooses and on that which judges.
    """

    below: pd.DataFrame
    names: list[str]
    splits: Splits
    choosing: dict[int, np.ndarray]
    last: np.ndarray

    @classmethod
    def of(cls, run: Run, split: str) -> Marks:
        """Read the answers of all attempts, some networks at a time."""
        labels = run.labels(split)
        which = exam.first_replicates(run, split)
        rows = exam.evaluations(run, split)
        first = rows[rows["replicate"] == rows["network"].map(which)]
        alike = first.groupby("network")["epoch"].agg(lambda epochs: tuple(sorted(epochs))).to_frame("epochs")
        alike["replicate"] = alike.index.map(which)
        strata = exam.within_folds(run, split, labels)
        halves, splits = exam.halves(len(labels), 0, strata), Splits.of(run, strata, times=exam.FEW_TIMES)
        place = {name: i for i, name in enumerate(alike.index)}
        choosing = {int(e): np.full((len(place), len(splits)), np.nan) for e in sorted(first["epoch"].unique())}
        last = np.empty((2, len(place), len(splits)))
        found = []
        for (epochs, replicate), group in alike.groupby(["epochs", "replicate"]):
            block = max(1, BLOCK_BYTES // (len(labels) * len(epochs)))
            for start in range(0, len(group), block):
                asked = set(group.index[start : start + block])
                names = [name for name in which if name in asked]  # as answers are ordered
                read = (run.predicted(e, split=split, networks=names, replicate=int(replicate)) for e in epochs)
                right = np.stack([exam.marked(answers, labels) for answers in read])
                found.append(pd.DataFrame(below_best(right, halves), index=names))
                at = [place[name] for name in names]
                for epoch, one in zip(epochs, right, strict=True):
                    choosing[epoch][at] = splits.means(one, 0)
                last[:, at] = choosing[epochs[-1]][at], splits.means(right[-1])
        trained = exam.first_trainings(run, place, split)
        choosing = {epoch: exam.on_equal_folds(run, trained, one, split) for epoch, one in choosing.items()}
        last = np.stack([exam.on_equal_folds(run, trained, one, split) for one in last])
        return cls(pd.concat(found), list(place), splits, choosing, last)

    def picks(self, preferred: list[str]) -> pd.DataFrame:
        """Compare the best of each attempt with the best of the last one; of equals the one that is preferred."""
        place = {name: i for i, name in enumerate(self.names)}
        rows = [place[name] for name in preferred if name in place]
        choosing = np.stack([one[rows] for one in self.choosing.values()])
        return pd.DataFrame(early(choosing, self.last[:, rows], self.splits), index=list(self.choosing))


def early(choosing: np.ndarray, last: np.ndarray, splits: Splits) -> dict[str, np.ndarray]:
    """Judge the best network of each attempt by its last one, beside the best of the last; of equals the first.

    `choosing` has accuracies on the part that chooses, (attempts, networks, splits), NaN where there is none; `last`
    those of the last attempt on the part that chooses and on that which judges.
    """
    at = np.arange(len(splits))
    best = last[1][np.round(last[0], exam.DIGITS).argmax(axis=0), at]
    won = np.where(np.isnan(choosing), -1, np.round(choosing, exam.DIGITS)).argmax(axis=1)
    ends = last[1][won, at]
    loss = splits.over(best - ends)
    return {
        "pick_last": ends.mean(axis=1), "pick_loss": loss.mean, "pick_low": loss.low, "pick_high": loss.high,
        "pick_p": loss.p,
    }  # fmt: skip


def below_best(right: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """Compare the last attempt with the best one; `right` is (attempts, networks, samples) as `marked`.

    How far it is below is judged on the half of the samples that did not choose the best; of equals the last one is
    chosen. The test is against each attempt, of which the surest counts, corrected for as many.
    """
    from scipy.stats import binom

    attempts, networks, samples = right.shape
    if not exam.is_whole(right):
        samples = (~np.isnan(right[0])).sum(axis=1)
        right = right > 0
    fell = np.zeros(networks, int)
    for choosing, judging in (halves, halves[::-1]):
        marks = right[:, :, choosing].sum(axis=2)
        best = attempts - 1 - marks[::-1].argmax(axis=0)
        then, at_last = right[best, np.arange(networks)][:, judging], right[-1][:, judging]
        fell += then.sum(axis=1) - at_last.sum(axis=1)
    p = np.full(networks, np.nan if attempts == 1 else 1.0)
    for then in right[:-1]:
        lost, won = (then & ~right[-1]).sum(axis=1), (right[-1] & ~then).sum(axis=1)
        mid_p = binom.sf(lost, lost + won, 0.5) + binom.pmf(lost, lost + won, 0.5) / 2
        p = np.minimum(p, (attempts - 1) * mid_p)
    return {"judged": fell / samples, "p": p}
