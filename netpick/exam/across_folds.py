"""Are networks that left out different folds equally good? They share no samples that could be paired.

Their accuracies are equated (see `answered`). How far such a rate may be off comes from the samples of the fold: from
what of a network's mistakes is not explained by how hard each sample is for the fold's networks, as in the variance of
a ratio; and from how much the fold's networks differ in what they make of its samples and of the shared ones, which the
equating rests upon. Networks of the same fold are paired on its samples, by McNemar's test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from netpick.exam.answered import SHARED, blocks, marked, rates
from netpick.exam.ballots import final, first_replicates
from netpick.exam.checks import done
from netpick.exam.marks import last_evaluations, on_equal_folds
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
        right, which = marked(predicted, labels), first_replicates(run, split)
        trained = done(run).set_index(["network", "replicate"], drop=False).loc[[(n, which[n]) for n in names]]
        anchors = last_evaluations(run, SHARED).set_index(["network", "replicate"])["accuracy"]
        error, expected = 1 - rates(right, 1), 1 - anchors.loc[trained.index].to_numpy(float)
        accuracy = on_equal_folds(run, trained.reset_index(drop=True), 1 - error, split)
        variance = np.full(len(names), np.nan)
        for rows, samples in blocks(right):
            wrong = 1 - right[rows][:, samples]
            own, times = error[rows], np.ones(len(wrong))
            np.divide(1 - accuracy[rows], own, out=times, where=own > 0)
            hard = wrong.mean(axis=0)
            level, among = max(float(hard.mean()), 1e-12), max(float(expected[rows].sum()), 1e-12)
            # One mistake is added, so that a network without any is not called sure of having none.
            left = np.square(wrong - np.outer(own, hard) / level).sum(axis=1) + 1
            beside = own - expected[rows] * own.sum() / among
            common = np.var(beside, ddof=1) / len(own) / level**2 if len(own) > 1 else 0.0
            variance[rows] = times**2 * left / wrong.shape[1] ** 2 + (1 - accuracy[rows]) ** 2 * common
        return cls(names, trained["fold"].to_numpy(int), right, accuracy, variance)

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
        return known.difference(*known.place([first, second]), level)
    parts = np.array([values.var(ddof=1) / len(values) for values in each])
    spread = (parts**2 / [len(values) - 1 for values in each]).sum()
    freedom = float(parts.sum() ** 2 / spread) if spread > 0 else np.inf
    return by_students_t(float(each[0].mean() - each[1].mean()), float(np.sqrt(parts.sum())), freedom, level)
