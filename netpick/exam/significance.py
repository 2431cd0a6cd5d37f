"""Is a difference real? McNemar's test, a bootstrap over networks and samples, and Holm's correction.

Arrays in, numbers out; which networks or families are compared is the business of those who ask. Nothing is read here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy  # whose `stats` takes half a second to load: when first used
from numpy.typing import ArrayLike

from netpick.exam.answered import is_whole

ROUNDS = 1000

NOTHING = 1e-12
"""A difference, or the standard error of one, that is rounding alone."""


class Difference(NamedTuple):
    """A difference of two mean accuracies, its interval, and the p-value of "there is none"."""

    difference: float
    low: float
    high: float
    p: float


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike, exact: bool = False) -> float:
    """Return the p-value of "both networks are right equally often", from answers to the same samples.

    Parameters
    ----------
    correct_a, correct_b : (samples,) bool
        Whether each network is right.
    exact : bool
        The exact conditional test, which is too careful, instead of its mid-p version.
    """
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape:
        raise ValueError(f"answers to the same samples are wanted, got shapes {a.shape} and {b.shape}")
    return float(mcnemar_counts((a & ~b).sum(), (b & ~a).sum(), exact))


def mcnemar_counts(only_a: ArrayLike, only_b: ArrayLike, exact: bool = False) -> np.ndarray:
    """Return McNemar's p-values from how many samples only the one and only the other gets right; arrays broadcast.

    Samples on which both are right or both are wrong say nothing; of the others half should fall to each. The exact
    p-value is twice the binomial tail; mid-p counts half of the observed case, which keeps the promised error rate and
    sees more (Fagerland, Lydersen and Laake 2013, "The McNemar test for binary matched-pairs data").
    """
    only_a, only_b = np.asarray(only_a), np.asarray(only_b)
    fewer, discordant = np.minimum(only_a, only_b), only_a + only_b
    p = 2 * scipy.stats.binom.cdf(fewer, discordant, 0.5)
    if not exact:
        p = p - scipy.stats.binom.pmf(fewer, discordant, 0.5)
    return np.minimum(p, 1.0)


def paired(correct_a: ArrayLike, correct_b: ArrayLike, level: float = 0.95) -> Difference:
    """Compare two networks that were named beforehand by their answers to the same samples: the second less the first.

    The interval is Wald's with half a sample added to each of the four counts, which has a width where the answers are
    the same, too (Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions").
    """
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    lost, won, n = int((a & ~b).sum()) + 0.5, int((b & ~a).sum()) + 0.5, a.size + 2
    middle = (won - lost) / n
    room = scipy.stats.norm.ppf((1 + level) / 2) * np.sqrt(won + lost - (won - lost) ** 2 / n) / n
    return Difference(float(b.mean() - a.mean()), float(middle - room), float(middle + room), mcnemar(a, b))


def holm(p: ArrayLike) -> np.ndarray:
    """Return p-values corrected for being many, by the step-down method of Holm (1979); NaN stays."""
    p = np.asarray(p, float)
    out = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p.ravel()))
    order = known[np.argsort(p.ravel()[known], kind="stable")]
    steps = p.ravel()[order] * (len(order) - np.arange(len(order)))
    out.ravel()[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


class Bootstrap:
    """Mean accuracies of groups of networks, drawn again and again over networks and samples at once.

    Parameters
    ----------
    groups : list of (networks, samples) arrays
        Right (1) or wrong (0), or the mean of that over replicates; the same samples in all groups. NaN where a network
        did not answer: its mean is over those that it did.
    rounds : int
        Number of draws.
    seed : int
        The same seed gives the same draws.

    Notes
    -----
    Every round draws samples with replacement, the same for all groups, and networks with replacement within each
    group: the "pigeonhole" bootstrap for crossed factors (Owen 2007, Annals of Applied Statistics 1, 386), which is
    slightly too careful. Of n networks n - 1 are drawn, which makes the variance unbiased in small groups (Rao and Wu
    1988). In a group of one that network is always drawn: what is said then holds for it, not for its kind.
    Time and memory grow with networks × samples × rounds.
    """

    def __init__(self, groups: list[np.ndarray], rounds: int = ROUNDS, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        samples = groups[0].shape[1]
        times = np.empty((samples, rounds), np.float32)
        for r in range(rounds):
            times[:, r] = np.bincount(rng.integers(samples, size=samples), minlength=samples)
        known = [None if is_whole(g) else ~np.isnan(g) for g in groups]
        groups = [g if there is None else np.where(there, g, 0) for g, there in zip(groups, known, strict=True)]
        self.means = np.array([
            g.mean(dtype=np.float64) if there is None else _each(g, there).mean()
            for g, there in zip(groups, known, strict=True)
        ])  # fmt: skip
        self.draws = np.empty((len(groups), rounds))
        self._variance = np.zeros(len(groups))
        self._freedom = np.array([max(len(g) - 1, 1) for g in groups])
        for i, (group, there) in enumerate(zip(groups, known, strict=True)):
            n = len(group)
            drawn = group.astype(np.float32, copy=False) @ times
            drawn /= samples if there is None else np.maximum(there.astype(np.float32) @ times, 1)
            if n == 1:
                self.draws[i] = drawn[0]
                continue
            weights = rng.multinomial(n - 1, np.full(n, 1 / n), size=rounds)
            self.draws[i] = np.einsum("rn,nr->r", weights, drawn) / (n - 1)
            self._variance[i] = _each(group, there).var(ddof=1) / n

    def difference(self, i: int, j: int, level: float = 0.95) -> Difference:
        """Compare group `i` with group `j`.

        Interval and p-value are of one piece: Student's t with Welch's degrees of freedom and the draws' standard
        deviation. Unlike a count of draws beyond zero p does not end at 1 / rounds, and can be corrected for many
        comparisons.
        """
        difference = float(self.means[i] - self.means[j])
        error = float((self.draws[i] - self.draws[j]).std(ddof=1))
        parts = self._variance[[i, j]]
        spread = float((parts**2 / self._freedom[[i, j]]).sum())
        return by_students_t(difference, error, max(error**4 / spread, 1.0) if spread > 0 else np.inf, level)


def _each(group: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Return the mean of each network, over the samples that it answered where it did not answer all."""
    if known is None:
        return group.mean(axis=1, dtype=np.float64)
    return group.sum(axis=1, dtype=np.float64) / np.maximum(known.sum(axis=1), 1)


def by_students_t(difference: float, error: float, freedom: float, level: float = 0.95) -> Difference:
    """Return interval and p-value of a difference with this standard error, by Student's t.

    What is below `NOTHING` is what rounding leaves of 0: networks with the same answers don't differ.
    """
    if error <= NOTHING:
        return Difference(difference, difference, difference, float(abs(difference) <= NOTHING))
    room = float(scipy.stats.t.ppf((1 + level) / 2, freedom)) * error
    p = float(2 * scipy.stats.t.sf(abs(difference) / error, freedom))
    return Difference(difference, difference - room, difference + room, p)


def bootstrap_difference(
    correct_a: np.ndarray, correct_b: np.ndarray, rounds: int = ROUNDS, seed: int = 0, level: float = 0.95
) -> Difference:
    """Compare the mean accuracies of two groups of networks on the same samples; see `Bootstrap`.

    Parameters
    ----------
    correct_a, correct_b : (networks, samples) arrays
        Right or wrong, or the mean of that over replicates.
    """
    return Bootstrap([correct_a, correct_b], rounds, seed).difference(0, 1, level)


def verdict(p: float, alpha: float = 0.05) -> str:
    """Say in words what a p-value means."""
    if p < alpha:
        return f"that is real (p {'< 0.0001' if p < 0.0001 else f'= {p:.2g}'})"
    return f"that may be chance (p = {p:.2g})"
