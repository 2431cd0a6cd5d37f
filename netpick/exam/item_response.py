"""The two-parameter logistic model of item response theory: fitted to right and wrong answers; how well it predicts.

Arrays in, numbers out; the question `ability` says what the model is, and where it is from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from netpick.exam.ballots import halves

NODES, EXACT = 20, 32
"""Abilities that stand for those of all networks, and how many networks it takes to do that."""

GRID = 64
"""Points at which the expected sum of slopes is computed, to be read between them."""

SLOPE, SLOPE_SPREAD, LOGIT_SPREAD = 1.0, 0.5, 3.0
"""Priors of the samples: discrimination, and the logit of a network of ability 0."""


@dataclass(frozen=True)
class ResponseModel:
    """A fitted exam: ability of each network; slope and logit (at ability 0) of each sample."""

    ability: np.ndarray
    slope: np.ndarray
    logit: np.ndarray
    rounds: int

    @property
    def difficulty(self) -> np.ndarray:
        """Ability at which half are right, NaN where ability does not help."""
        helps = self.slope > 0.05
        return np.where(helps, -self.logit / np.where(helps, self.slope, 1), np.nan)

    def information(self, ability: float) -> np.ndarray:
        """What each sample tells about a network of this ability (Fisher information)."""
        p = _logistic(self.slope * ability + self.logit)
        return self.slope**2 * p * (1 - p)

    @property
    def errors(self) -> np.ndarray:
        """Standard error of each ability, from the samples' information."""
        grid = np.linspace(self.ability.min(), self.ability.max(), 60)
        total = [self.information(float(t)).sum() for t in grid]
        return 1 / np.sqrt(np.interp(self.ability, grid, total) + 1)  # the prior counts as 1

    def surprise(self, right: np.ndarray) -> np.ndarray:
        """Return the mean of minus log p over each network's answers, bool (networks, samples)."""
        out = np.empty(len(right))
        for start in range(0, len(right), 64):
            part = slice(start, start + 64)
            z = self.ability[part, None] * self.slope + self.logit
            out[part] = np.logaddexp(0, np.where(right[part], -z, z)).mean(axis=1)
        return out


def fit(right: np.ndarray, discriminate: bool = True, tolerance: float = 1e-4, most: int = 200) -> ResponseModel:
    """Fit the model to a table of right and wrong answers, bool (networks, samples).

    In turn: Newton steps for all samples with the networks held, and the best abilities with the samples held, brought
    to mean 0 and standard deviation 1. Right answers enter through sums alone (number and abilities of those who got a
    sample right; slopes of what a network got right). `discriminate=False` makes all slopes one. Stops
    when no ability moves by more than `tolerance`.
    """
    answers = _Answers(right)
    count = right.sum(axis=0).astype(float)
    ability = _standardised(right.mean(axis=1))
    slope, logit = np.full(right.shape[1], SLOPE), np.zeros(right.shape[1])
    rounds = 0
    for rounds in range(1, most + 1):
        sums = _Sums(count, answers.over_networks(ability), *_nodes(ability))
        for _ in range(2 if rounds > 1 else 12):  # nothing is known at first
            slope, logit = _samples_step(slope, logit, sums, discriminate)
        before = ability
        ability = _standardised(_networks_step(ability, answers.over_samples(slope), slope, logit))
        if np.abs(ability - before).max() < tolerance:
            break
    return ResponseModel(ability, slope, logit, rounds)


class _Answers:
    """Sums over the right answers, from those of the two kinds, right and wrong, that are fewer.

    In double precision: where most answers are right, ever so little in a sum over all of them moves the abilities of
    the best networks by more than a round of the fit does.
    """

    def __init__(self, right: np.ndarray) -> None:
        from scipy.sparse import csr_array

        self.all_but = 2 * np.count_nonzero(right) > right.size
        self.few = csr_array(~right if self.all_but else right, dtype=float)

    def over_networks(self, values: np.ndarray) -> np.ndarray:
        """For each sample the sum of a value over the networks that are right."""
        return self._of_right(values, values @ self.few)

    def over_samples(self, values: np.ndarray) -> np.ndarray:
        """For each network the sum of a value over the samples that it gets right."""
        return self._of_right(values, self.few @ values)

    def _of_right(self, values: np.ndarray, of_few: np.ndarray) -> np.ndarray:
        return values.sum() - of_few if self.all_but else of_few


def _standardised(values: np.ndarray) -> np.ndarray:
    """Return values with mean 0 and standard deviation 1."""
    spread = float(values.std())
    return (values - values.mean()) / (spread if spread > 0 else 1)


def _logistic(z: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(z)


def _nodes(ability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return few abilities, and for how many networks each stands, that give the sums over all of them.

    They are the nodes and weights of the Gauss quadrature whose measure is the abilities themselves, exact for
    polynomials up to degree 39: eigenvalues, and first components of the eigenvectors, of the tridiagonal matrix to
    which the Lanczos process brings the diagonal matrix of the abilities.
    """
    if len(ability) < EXACT:
        return ability, np.ones(len(ability))
    basis = np.zeros((NODES, len(ability)))
    vector, norm, size = np.ones(len(ability)), float(len(ability)) ** 0.5, 0
    # Fewer nodes are exact where there are fewer different abilities: then nothing is left to go on with.
    while size < NODES and norm > 1e-9:
        basis[size] = vector / norm
        size += 1
        vector = ability * basis[size - 1]
        for _ in range(2):  # once is not enough for orthogonality to the last digit
            vector = vector - basis[:size].T @ (basis[:size] @ vector)
        norm = float(np.linalg.norm(vector))
    nodes, vectors = np.linalg.eigh((basis[:size] * ability) @ basis[:size].T)
    return nodes, len(ability) * vectors[0] ** 2


class _Sums(NamedTuple):
    """What the samples need of the networks: how many are right, the sum of their abilities; nodes and weights."""

    correct: np.ndarray
    weighed: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray


def _samples_step(
    slope: np.ndarray, logit: np.ndarray, sums: _Sums, discriminate: bool
) -> tuple[np.ndarray, np.ndarray]:
    """One damped Newton step of a logistic regression for each sample, all samples at once."""
    count, weighed, nodes, weights = sums
    p = _logistic(slope[:, None] * nodes + logit[:, None])
    w = p * (1 - p)
    expected = p @ np.stack([weights, weights * nodes]).T
    second = w @ np.stack([weights, weights * nodes, weights * nodes**2]).T
    g_logit = count - expected[:, 0] - logit / LOGIT_SPREAD**2
    h_logit = second[:, 0] + 1 / LOGIT_SPREAD**2
    g_slope = weighed - expected[:, 1] - (slope - SLOPE) / SLOPE_SPREAD**2
    h_slope = second[:, 2] + 1 / SLOPE_SPREAD**2
    cross = second[:, 1]
    if not discriminate:  # one slope for all: its gradient and curvature are sums, at each sample's best logit
        step = (g_slope - cross * g_logit / h_logit).sum() / (h_slope - cross**2 / h_logit).sum()
        step = float(np.clip(step, -0.5, 0.5))
        return slope + step, logit + np.clip((g_logit - cross * step) / h_logit, -2, 2)
    determinant = h_logit * h_slope - cross**2
    step_logit = (h_slope * g_logit - cross * g_slope) / determinant
    step_slope = (h_logit * g_slope - cross * g_logit) / determinant
    shrink = 1 / np.maximum(1, np.maximum(abs(step_logit), abs(step_slope)) / 2)
    return slope + shrink * step_slope, logit + shrink * step_logit


def _networks_step(ability: np.ndarray, earned: np.ndarray, slope: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Find each network's ability: where the expected sum of slopes, and the prior, meet what it earned.

    The expected sum is one curve for all networks, so that a grid of it is enough, however many networks there are.
    """
    from scipy.interpolate import CubicHermiteSpline

    low, high = ability.min() - 1, ability.max() + 1
    grid = np.linspace(low, high, GRID)
    expected, steepness = _curve(grid, slope, logit)
    # Monotone in ability, since its derivative is 1 plus a sum of squares: it can be read the other way round.
    inside = np.clip(earned, expected[0], expected[-1])
    return CubicHermiteSpline(expected, grid, 1 / steepness)(inside)


def _curve(grid: np.ndarray, slope: np.ndarray, logit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected sum of slopes plus ability (the prior's part), and its derivative, at each ability."""
    expected, steepness = np.empty(len(grid)), np.empty(len(grid))
    for start in range(0, len(grid), 16):
        part = slice(start, start + 16)
        p = _logistic(grid[part, None] * slope + logit)
        expected[part] = p @ slope + grid[part]
        steepness[part] = (p * (1 - p)) @ slope**2 + 1
    return expected, steepness


def held_out(right: np.ndarray, discriminate: bool = True, seed: int = 0) -> tuple[float, float]:
    """Return the area under the ROC curve, and the mean log likelihood, of answers that were not used in the fit."""
    learn, others = halves(len(right), seed)
    shown, hidden = halves(right.shape[1], seed)
    model = fit(right[learn], discriminate)
    slope, logit = model.slope[shown], model.logit[shown]
    earned = _Answers(right[np.ix_(others, shown)]).over_samples(slope)
    ability = np.quantile(model.ability, np.linspace(0, 1, len(others)))
    for _ in range(3):  # the grid reaches 1 beyond the abilities that it starts from
        ability = _networks_step(ability, earned, slope, logit)
    p = _logistic(ability[:, None] * model.slope[hidden] + model.logit[hidden])
    p = np.clip(p, 1e-6, 1 - 1e-6)
    truth = right[np.ix_(others, hidden)]
    return _auc(p[truth], p[~truth]), float(np.log(np.where(truth, p, 1 - p)).mean())


def _auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the share of pairs in which the positive comes out higher, equal ones counted half."""
    if not len(positives) or not len(negatives):
        return float("nan")
    ordered = np.sort(positives)
    needles = np.sort(negatives)  # sorted ones are found several times faster
    below = np.searchsorted(ordered, needles, "left").sum() + np.searchsorted(ordered, needles, "right").sum()
    return float(1 - below / (2 * len(positives) * len(negatives)))
