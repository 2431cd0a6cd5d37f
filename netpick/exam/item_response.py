"""The two-parameter logistic model of item response theory, fitted to right and wrong answers.

Arrays in, numbers out; the question `ability` says what the model is, and where it is from. Answers that were not given
are in no likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from netpick.exam.answered import is_whole, rates
from netpick.exam.response_table import ResponseTable

NODES = 41
"""Abilities that stand for those of all networks together."""

POINTS = 7
"""Abilities that stand for what is known of one network."""

REACH, GRID = 6, 64
"""Abilities from minus to plus the first have their likelihood computed at so many points, to be read between them."""


class Prior(NamedTuple):
    """What the samples are like, before the answers to each: it steadies what few answers tell, and is found from all.

    Mean of slope and logit, which are normal, and the inverse of their covariance: easy samples may be the steep ones.
    """

    mean: np.ndarray
    precision: np.ndarray

    @classmethod
    def of(cls, slope: np.ndarray, logit: np.ndarray, doubt: np.ndarray) -> Prior:
        """Return the prior that samples come from which are known so far; `doubt` is the mean of their covariances."""
        covariance = np.cov([slope, logit], bias=True) + doubt + 0.01 * np.eye(2)
        return cls(np.array([slope.mean(), logit.mean()]), np.linalg.inv(covariance))


@dataclass(frozen=True)
class ResponseModel:
    """A fitted exam: ability of each network, its error; slope, its error and logit (at ability 0) of each sample.

    Networks that share no samples with others, by no chain of networks, have their own mean 0 and standard deviation 1:
    the error has in it how far these would be off by chance.
    """

    ability: np.ndarray
    errors: np.ndarray
    slope: np.ndarray
    logit: np.ndarray
    slope_errors: np.ndarray
    prior: Prior
    rounds: int

    @property
    def difficulty(self) -> np.ndarray:
        """Ability at which half are right, NaN where ability does not help."""
        helps = self.slope > 0.05
        return np.where(helps, -self.logit / np.where(helps, self.slope, 1), np.nan)

    def information(self, ability: float) -> np.ndarray:
        """What each sample tells about a network of this ability (Fisher information)."""
        p = logistic(self.slope * ability + self.logit)
        return self.slope**2 * p * (1 - p)

    def surprise(self, right: np.ndarray) -> np.ndarray:
        """Return the mean of minus log p over each network's answers, (networks, samples)."""
        out, whole = np.empty(len(right)), is_whole(right)
        for start in range(0, len(right), 64):
            part = slice(start, start + 64)
            z = self.ability[part, None] * self.slope + self.logit
            lost = np.logaddexp(0, np.where(right[part] > 0, -z, z))
            out[part] = rates(lost if whole else np.where(np.isnan(right[part]), np.nan, lost), 1)
        return out

    def may_be_ablest(self, level: float = 0.95) -> np.ndarray:
        """Return which networks can't be told from the ablest: bool (networks), for all of them together."""
        from scipy.stats import norm

        top = int(self.ability.argmax())
        far = norm.isf((1 - level) / max(len(self.ability) - 1, 1))
        apart = (self.ability[top] - self.ability) / np.sqrt(self.errors[top] ** 2 + self.errors**2)
        return apart <= far


def fit(right: np.ndarray, discriminate: bool = True, tolerance: float = 1e-4, most: int = 300) -> ResponseModel:
    """Fit the model to right and wrong answers, (networks, samples) as `marked`, by marginal maximum likelihood.

    In turn (Bock and Aitkin 1981): what the answers tell about each ability, with the samples held, as a distribution;
    and Newton steps for all samples, over these distributions. All abilities together are brought to mean 0 and
    standard deviation 1 each time (Liu, Rubin and Wu 1998), which needs fewer rounds. Right answers enter through sums
    alone (number and mean abilities of those who got a sample right; slopes of what a network got right).
    `discriminate=False` makes all slopes one. Stops when no ability moves by more than `tolerance`.
    """
    table = ResponseTable.of(right)
    known = Known.of_marks(rates(right, 1)).standardised(table.linked)
    prior = Prior(np.array([1.0, 0.0]), np.diag([1.0, 1 / 9]))
    slope, logit = np.ones(right.shape[1]), np.zeros(right.shape[1])
    rounds = 0
    for rounds in range(1, most + 1):
        before = known.mean
        sums = _Sums.of(table, known)
        for _ in range(2 if rounds > 1 else 12):  # nothing is known at first
            slope, logit = _samples_step(slope, logit, sums, prior, discriminate)
        covariance = _covariance(slope, logit, sums, prior)
        prior = Prior.of(slope, logit, covariance.mean(axis=2))
        known = abilities(table, slope, logit).standardised(table.linked)
        if np.abs(known.mean - before).max() < tolerance:
            break
    errors = known.spread
    if table.linked.any():
        errors = np.sqrt(errors**2 + (1 + known.mean**2 / 2) / np.bincount(table.linked)[table.linked])
    return ResponseModel(known.mean, errors, slope, logit, np.sqrt(covariance[0, 0]), prior, rounds)


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

    def standardised(self, linked: np.ndarray) -> Known:
        """Return points such that the distributions of linked networks have mean 0 and standard deviation 1."""
        mean, points = self.mean, np.empty_like(self.points)
        for one in range(linked.max() + 1):
            mine = linked == one
            away = self.points[mine] - mean[mine].mean()
            spread = float(np.sqrt((self.weights[mine] * away**2).sum(axis=1).mean()))
            points[mine] = away / (spread if spread > 0 else 1)
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
    expected, steepness, silence = np.empty(len(grid)), np.empty(len(grid)), np.empty(len(grid))
    for start in range(0, len(grid), 16):
        part = slice(start, start + 16)
        z = grid[part, None] * slope + logit
        p = logistic(z)
        expected[part] = p @ slope + grid[part]
        steepness[part] = (p * (1 - p)) @ slope**2 + 1
        silence[part] = np.logaddexp(0, z).sum(axis=1) + grid[part] ** 2 / 2
    return expected, steepness, silence


def logistic(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z))."""
    from scipy.special import expit

    return expit(z)


def _nodes(points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return few abilities, and for how many networks each stands, that give the sums over all weighed points.

    They are the nodes and weights of the Gauss quadrature whose measure is the points themselves, exact for polynomials
    up to degree 81: eigenvalues, and first components of the eigenvectors, of the tridiagonal matrix to which
    the Lanczos process brings the diagonal matrix of the points (Golub and Welsch 1969).
    """
    total = weights.sum()
    basis = np.zeros((NODES, len(points)))
    vector, norm, size = np.sqrt(weights), float(np.sqrt(total)), 0
    # Fewer nodes are exact where there are fewer different points: then nothing is left to go on with.
    while size < NODES and norm > 1e-9:
        basis[size] = vector / norm
        size += 1
        vector = points * basis[size - 1]
        for _ in range(2):  # once is not enough for orthogonality to the last digit
            vector = vector - basis[:size].T @ (basis[:size] @ vector)
        norm = float(np.linalg.norm(vector))
    nodes, vectors = np.linalg.eigh((basis[:size] * points) @ basis[:size].T)
    return nodes, total * vectors[0] ** 2


class _Sums(NamedTuple):
    """What the samples need of the networks: how many are right, and the sum of their abilities.

    And of the samples of each part of the table the nodes and weights that stand for the networks.
    """

    correct: np.ndarray
    weighed: np.ndarray
    parts: list[tuple[np.ndarray | slice, np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, table: ResponseTable, known: Known) -> _Sums:
        """Sum over the networks that answered each sample."""
        parts = [
            (part.samples, *_nodes(known.points[part.networks].ravel(), known.weights[part.networks].ravel()))
            for part in table.parts
        ]
        return cls(table.correct, table.over_networks(known.mean), parts)


class _Curvature(NamedTuple):
    """What is expected of each sample, (samples, 2) as in `_Sums`, and its second derivatives: slope, both, logit."""

    expected: np.ndarray
    slope: np.ndarray
    both: np.ndarray
    logit: np.ndarray

    @classmethod
    def of(cls, slope: np.ndarray, logit: np.ndarray, sums: _Sums, prior: Prior) -> _Curvature:
        expected, second = np.zeros((len(slope), 2)), np.zeros((len(slope), 3))
        for samples, nodes, weights in sums.parts:
            p = logistic(slope[samples, None] * nodes + logit[samples, None])
            expected[samples] = p @ np.stack([weights * nodes, weights]).T
            second[samples] = (p * (1 - p)) @ np.stack([weights * nodes**2, weights * nodes, weights]).T
        (of_slope, of_both), (_, of_logit) = prior.precision
        return cls(expected, second[:, 0] + of_slope, second[:, 1] + of_both, second[:, 2] + of_logit)


def _covariance(slope: np.ndarray, logit: np.ndarray, sums: _Sums, prior: Prior) -> np.ndarray:
    """Return how well slope and logit of each sample are known: (2, 2, samples)."""
    _, h_slope, cross, h_logit = _Curvature.of(slope, logit, sums, prior)
    return np.array([[h_logit, -cross], [-cross, h_slope]]) / (h_logit * h_slope - cross**2)


def _samples_step(
    slope: np.ndarray, logit: np.ndarray, sums: _Sums, prior: Prior, discriminate: bool
) -> tuple[np.ndarray, np.ndarray]:
    """One damped Newton step of a logistic regression for each sample, all samples at once."""
    expected, h_slope, cross, h_logit = _Curvature.of(slope, logit, sums, prior)
    pull = prior.precision @ np.stack([slope - prior.mean[0], logit - prior.mean[1]])
    g_slope = sums.weighed - expected[:, 0] - pull[0]
    g_logit = sums.correct - expected[:, 1] - pull[1]
    if not discriminate:  # one slope for all: its gradient and curvature are sums, at each sample's best logit
        step = (g_slope - cross * g_logit / h_logit).sum() / (h_slope - cross**2 / h_logit).sum()
        step = float(np.clip(step, -0.5, 0.5))
        return slope + step, logit + np.clip((g_logit - cross * step) / h_logit, -2, 2)
    determinant = h_logit * h_slope - cross**2
    step_logit = (h_slope * g_logit - cross * g_slope) / determinant
    step_slope = (h_logit * g_slope - cross * g_logit) / determinant
    shrink = 1 / np.maximum(1, np.maximum(abs(step_logit), abs(step_slope)) / 2)
    return slope + shrink * step_slope, logit + shrink * step_logit
