"""What answers tell of abilities, where it is known what the samples are like: distributions, in few points each.

Arrays in, numbers out. Networks that answered the same samples are done together, as one sheet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netpick.core.threads import ahead
from netpick.exam.response_table import ResponseTable

POINTS = 7
"""Abilities that stand for what is known of one network."""

FEW_SAMPLES = 512
"""Samples whose chances are multiplied: a half so many times itself is still far from 0."""

PART = 4 * FEW_SAMPLES
"""Samples that one of several threads sums over at a time: so many that threads seldom wait for each other to begin the
next sum, and so few that what is made of them stays near the processor."""

REACH, GRID = 6, 64
"""Abilities from minus to plus the first have their likelihood computed at so many points, to be read between them."""


class Known(NamedTuple):
    """What is known of each ability: a distribution over some points, weights that add to 1 (networks, points)."""

    points: np.ndarray
    weights: np.ndarray

    @classmethod
    def of_marks(cls, marks: np.ndarray) -> Known:
        """Return the shares of right answers, taken as certain: a beginning."""
        return cls(marks[:, None], np.ones((len(marks), 1)))

    @property
    def mean(self) -> np.ndarray:
        """Of each distribution."""
        return (self.weights * self.points).sum(axis=1)

    @property
    def spread(self) -> np.ndarray:
        """Their standard deviations."""
        return np.sqrt((self.weights * (self.points - self.mean[:, None]) ** 2).sum(axis=1))

    def standardised(self, linked: np.ndarray, rows: np.ndarray | None = None) -> Known:
        """Return points such that the distributions of linked networks have mean 0 and standard deviation 1.

        Or those of some of them, `rows`, whose scale the others then share.
        """
        mean, points = self.mean, np.empty_like(self.points)
        some = np.ones(len(points), bool) if rows is None else np.isin(np.arange(len(points)), rows)
        for one in range(linked.max() + 1):
            mine = linked == one
            scaling = mine & some if (mine & some).any() else mine
            middle = mean[scaling].mean()
            spread = np.sqrt((self.weights[scaling] * (self.points[scaling] - middle) ** 2).sum(axis=1).mean())
            points[mine] = (self.points[mine] - middle) / (spread if spread > 0 else 1)
        return self._replace(points=points)


def abilities(table: ResponseTable, slope: np.ndarray, logit: np.ndarray) -> Known:
    """Return what the answers tell of each ability, which is normal (0, 1) before them, as a distribution."""
    earned = table.over_samples(slope)
    out = Known(*np.empty((2, len(earned), POINTS)))
    for networks, samples in table.sheets:
        out.points[networks], out.weights[networks] = _of_earned(earned[networks], slope[samples], logit[samples])
    return out


def _of_earned(earned: np.ndarray, slope: np.ndarray, logit: np.ndarray) -> Known:
    """Return what is known of the abilities of networks that answered the same samples, from what each earned.

    Earned is the sum of the slopes of what a network got right: the likelihood of an ability depends on it alone.
    Gauss-Hermite points about its best value, as far apart as the likelihood is wide: few are enough, however
    many samples there are, where fixed ones would miss a narrow likelihood altogether.
    """
    from scipy.interpolate import CubicHermiteSpline

    times = 1
    while True:  # the best ability is where the expected sum of slopes, and the prior, meet what was earned
        grid = np.linspace(-REACH * times, REACH * times, GRID * times)
        expected, steepness, silence = _curves(grid, slope, logit)
        if expected[0] < earned.min() and earned.max() < expected[-1]:
            break
        times *= 2
    # Monotone in ability, since its derivative is 1 plus a sum of squares: it can be read the other way round.
    best = CubicHermiteSpline(expected, grid, 1 / steepness)(earned)
    width = 1 / np.sqrt(np.interp(best, grid, steepness))
    nodes, weights = np.polynomial.hermite.hermgauss(POINTS)
    points = best[:, None] + np.sqrt(2) * width[:, None] * nodes
    log = earned[:, None] * points - CubicHermiteSpline(grid, silence, expected)(points) + nodes**2 + np.log(weights)
    weights = np.exp(log - log.max(axis=1, keepdims=True))
    return Known(points, weights / weights.sum(axis=1, keepdims=True))


def _curves(grid: np.ndarray, slope: np.ndarray, logit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three curves over ability, each the integral of the one before but for their order.

    The expected sum of slopes plus ability (the prior's part), its derivative, and its integral: minus the logarithm of
    the likelihood of having nothing right, and of the prior.
    """

    def summed(part: slice) -> np.ndarray:
        """Return what the samples of a part add to each curve."""
        z = grid[:, None] * slope[part]
        z += logit[part]
        p = logistic(z)
        q = 1 - p
        # log(1 + exp(z)) is z, or 0, less the logarithm of the likelier answer's chance: one logarithm for many.
        silence = np.maximum(z, 0, out=z).sum(axis=1)
        np.maximum(p, q, out=z)
        for start in range(0, z.shape[1], FEW_SAMPLES):
            silence -= np.log(z[:, start : start + FEW_SAMPLES].prod(axis=1))
        expected = p @ slope[part]
        q *= p
        return np.stack([expected, q @ slope[part] ** 2, silence])

    expected, steepness, silence = sum(ahead(summed, parts_of(len(slope))), np.zeros((3, len(grid))))
    return expected + grid, steepness + 1, silence + grid**2 / 2


def parts_of(samples: int) -> list[slice]:
    """Cut samples into parts that are summed over side by side, in the same way whatever the number of cores."""
    return [slice(start, min(start + PART, samples)) for start in range(0, samples, PART)]


def logistic(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z))."""
    with np.errstate(over="ignore"):  # 1 / inf is the 0 that it should be
        out = np.negative(z)
        np.exp(out, out=out)
    out += 1
    return np.divide(1, out, out=out)
