"""Are networks that left out different folds equally good? They share no samples that could be paired.

Their accuracies are equated (see `answered`). How far such a rate may be off comes from the samples of the fold, of
which those that are hard for a network and for the fold's others alike say nothing of it; and from how much the fold's
networks differ in what they make of its samples and of the shared ones, which the equating rests upon. Both follow by
the delta method. Networks of the same fold are paired on its samples, by McNemar's test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from netpick.exam.answered import blocks, fold_odds, marked, rates, times_odds
from netpick.exam.ballots import final, first_trainings
from netpick.exam.marks import anchors, last_evaluations
from netpick.exam.significance import Difference, by_students_t, mcnemar_counts
from netpick.store.reader import Reader


@dataclass(frozen=True)
class AcrossFolds:
    """What is known of networks by the samples that each left out, of its first replicate.

    Parameters
    ----------
    names : of the networks
    fold : (networks,)
    right : (networks, samples)
        NaN where a network did not answer.
    accuracy : (networks,)
        Equated.
    variance : (networks,)
        Of that, by the samples of the fold and by its networks.
    """

    names: list[str]
    fold: np.ndarray
    right: np.ndarray
    accuracy: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, run: Reader, split: str) -> AcrossFolds:
        """Read the last answers of all networks; once for a run."""
        return run.once(("across folds", split), lambda: cls._of(run, split))

    @classmethod
    def _of(cls, run: Reader, split: str) -> AcrossFolds:
        names, predicted, labels = final(run, None, split)
        trained = first_trainings(run, names, split)
        return cls.of_answers(names, marked(predicted, labels), trained["fold"].to_numpy(int), anchors(run, trained))

    @classmethod
    def of_answers(cls, names: list[str], right: np.ndarray, fold: np.ndarray, anchor: np.ndarray) -> AcrossFolds:
        """Equate the accuracies of networks, by those on the samples that all answered, and say how sure they are."""
        error = 1 - rates(right, 1)
        odds, variance = fold_odds(1 - error, fold, anchor), np.full(len(names), np.nan)
        equal = times_odds(error, odds)
        for rows, samples in blocks(right):
            wrong, own, times = 1 - right[rows][:, samples], error[rows], odds[rows]
            by_error, by_odds = np.stack([times, own * (1 - own)]) / (1 - own + times * own) ** 2
            share = by_odds / max(float(by_odds.sum()), 1e-12)
            away = by_error[:, None] * (wrong - own[:, None])
            # One mistake is added, so that a network without any is not called sure of having none.
            left = np.square(away - np.outer(share, away.sum(axis=0))).sum(axis=1) + by_error**2
            expected = (1 - anchor[rows]) * equal[rows].sum() / max(float((1 - anchor[rows]).sum()), 1e-12)
            common = np.var(equal[rows] - expected, ddof=1) * len(own) if len(own) > 1 else 0.0
            variance[rows] = left / wrong.shape[1] ** 2 + share**2 * common
        return cls(names, fold, right, 1 - equal, variance)

    def place(self, names: list[str]) -> np.ndarray:
        """Return the numbers of networks."""
        where = {name: i for i, name in enumerate(self.names)}
        return np.array([where[name] for name in names])

    def counts(self, first: int, second: int) -> tuple[int, int, int]:
        """Return on how many shared samples only the first and only the second is right, and how many are shared."""
        both = self.right[[first, second]]
        one, other = both[:, ~np.isnan(both).any(axis=0)] > 0
        return int((one & ~other).sum()), int((other & ~one).sum()), len(one)

    def difference(self, first: int, second: int, level: float = 0.95) -> Difference:
        """Compare two networks."""
        found = float(self.accuracy[first] - self.accuracy[second])
        only, lost, shared = self.counts(first, second)
        if self.fold[first] != self.fold[second] or not shared:
            return by_students_t(found, float(np.sqrt(self.variance[[first, second]].sum())), np.inf, level)
        error = np.sqrt(max(only + lost - (only - lost) ** 2 / shared, 1)) / shared
        room = float(stats.norm.ppf((1 + level) / 2)) * error
        return Difference(found, found - room, found + room, float(mcnemar_counts(only, lost)))


def named_difference(run: Reader, first: str, second: str, split: str, level: float = 0.95) -> Difference:
    """Compare two networks that were named beforehand: by the replicates where both have several, else by samples."""
    groups = last_evaluations(run, split).groupby("network")["accuracy"]
    each = [groups.get_group(name).to_numpy() for name in (first, second)]
    if min(map(len, each)) < 2:
        known = AcrossFolds.of(run, split)
        one, other = known.place([first, second])
        return known.difference(one, other, level)
    parts = np.array([values.var(ddof=1) / len(values) for values in each])
    spread = (parts**2 / [len(values) - 1 for values in each]).sum()
    freedom = float(parts.sum() ** 2 / spread) if spread > 0 else np.inf
    return by_students_t(float(each[0].mean() - each[1].mean()), float(np.sqrt(parts.sum())), freedom, level)
