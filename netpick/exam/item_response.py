"""The two-parameter logistic model of item response theory, fitted to right and wrong answers.

Arrays in, numbers out; the question `ability` says what the model is, and where it is from. Answers that were not given
are in no likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from netpick.core.threads import ahead
from netpick.exam.answered import is_whole, rates
from netpick.exam.known_abilities import Known, abilities, logistic, parts_of
from netpick.exam.response_table import ResponseTable, linked_sets

FEW = 8
"""Networks at a time, so that what is made of their chances stays in the processor's cache."""

NODES = 41
"""Abilities that stand for those of all networks together."""


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

        def fill(start: int) -> None:
            part = slice(start, start + FEW)
            z = self.ability[part, None] * self.slope + self.logit
            lost = np.logaddexp(0, np.where(right[part] > 0, -z, z))
            out[part] = rates(lost if whole else np.where(np.isnan(right[part]), np.nan, lost), 1)

        for _ in ahead(fill, range(0, len(right), FEW)):
            pass
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
    errors = _errors(known, table.linked)
    return ResponseModel(known.mean, errors, slope, logit, np.sqrt(covariance[0, 0]), prior, rounds)


def fit_some(right: np.ndarray, rows: np.ndarray) -> ResponseModel:
    """Fit the model's samples to the answers of some networks, `rows`, and find the abilities of all by these samples.

    All are on the scale of those `rows`, whose abilities are as `fit` finds them without the others.
    """
    model, sets = fit(right[rows]), linked_sets(right)
    parts = [
        abilities(ResponseTable.of(right[i : i + len(rows)]), model.slope, model.logit)
        for i in range(0, len(right), len(rows))
    ]
    known = Known(*map(np.concatenate, zip(*parts, strict=True))).standardised(sets, rows)
    return replace(model, ability=known.mean, errors=_errors(known, sets, rows))


def _errors(known: Known, linked: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the errors of abilities; of several sets of linked networks, each with a scale of its own, with that's."""
    if not linked.any():
        return known.spread
    scaling = np.bincount(linked if rows is None else linked[rows], minlength=linked.max() + 1)
    return np.sqrt(known.spread**2 + (1 + known.mean**2 / 2) / np.maximum(scaling, 1)[linked])


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
            found = _expected(slope[samples], logit[samples], nodes, weights)
            expected[samples], second[samples] = found[:, :2], found[:, 2:]
        (of_slope, of_both), (_, of_logit) = prior.precision
        return cls(expected, second[:, 0] + of_slope, second[:, 1] + of_both, second[:, 2] + of_logit)


def _expected(slope: np.ndarray, logit: np.ndarray, nodes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sums over networks, (samples, 5): of p, times ability and alone, and of p (1 - p), times it twice too."""
    of_p = np.stack([weights * nodes, weights]).T
    of_spread = np.stack([weights * nodes**2, weights * nodes, weights]).T
    out = np.empty((len(slope), 5))

    def fill(part: slice) -> None:
        z = slope[part, None] * nodes
        z += logit[part, None]
        p = logistic(z)
        out[part, :2] = p @ of_p
        p *= np.subtract(1, p, out=z)
        out[part, 2:] = p @ of_spread

    for _ in ahead(fill, parts_of(len(slope))):
        pass
    return out


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
