"""A short exam: which few samples place a new classifier among those of a run, and how well, from its answers to these.

Arrays in, numbers out. The samples are calibrated by the two-parameter logistic model (see `item_response`). Those are
chosen one after the other that leave least doubt about an ability, on average over the abilities that there may be. An
ability then foretells the answers to all other samples: p-IRT of Polo et al. (2024, "tinyBenchmarks", arXiv
2402.14992). How far such an accuracy is off is measured on classifiers of families that the calibration has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from netpick.core.threads import ahead
from netpick.exam import item_response
from netpick.exam.item_response import ResponseModel
from netpick.exam.known_abilities import logistic

BLOCK = 2048
"""Samples at a time, so that what is made of them stays in the processor's cache."""

GRID = np.linspace(-5, 5, 101)
"""Abilities at which doubt is looked at."""

PRIOR = np.exp(-(GRID**2) / 2) / np.exp(-(GRID**2) / 2).sum()
"""What is known of an ability before the first answer: those of the run have mean 0 and standard deviation 1."""

FOLDS = 5
"""Parts of the families, each of which is left out of one calibration."""

LEVEL = 0.9
"""Of the intervals."""

LEVELS = np.arange(0.8, 1.0001, 0.005).round(3)
"""Quantiles that may be needed for that."""

EQUAL = 1e-12
"""Between doubts that differ by rounding alone; of samples that tell as much the first is taken."""

TOLERANCE = 0.01
"""By how much abilities may still move where a fit ends: far less than a few dozen answers can tell."""


def calibrated(right: np.ndarray) -> ResponseModel:
    """Return the model of right and wrong answers, bool (networks, samples), as exactly as it is needed here."""
    return item_response.fit(right, tolerance=TOLERANCE)


class Placed(NamedTuple):
    """Ability of each classifier and its error; the accuracy on all samples, and how far it may be off by the model."""

    ability: np.ndarray
    error: np.ndarray
    accuracy: np.ndarray
    spread: np.ndarray


def chances(model: ResponseModel, samples: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Return how likely a right answer is at each ability of the grid: (grid, samples)."""
    return logistic(GRID[:, None] * model.slope[samples] + model.logit[samples])


def sums(model: ResponseModel) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of right answers to expect at each ability of the grid, and its variance."""
    expected, luck = np.zeros((2, len(GRID)))
    for start in range(0, len(model.slope), BLOCK):
        p = chances(model, slice(start, start + BLOCK))
        expected += p.sum(axis=1)
        luck += (p * (1 - p)).sum(axis=1)
    return expected, luck


def chosen(model: ResponseModel, items: int) -> np.ndarray:
    """Return the samples in the order in which they are taken: each leaves least doubt, with those before it.

    Doubt is the variance of an ability, 1 / (1 + information), the prior's own information being 1, averaged over the
    grid. Samples that the abler get wrong more often are left out: their labels are doubtful.
    """
    p = chances(model).T
    information = model.slope[:, None] ** 2 * p * (1 - p)
    information[model.slope <= 0] = 0
    known = np.ones(len(GRID))
    order: list[int] = []
    # What a sample takes from the doubt gets less with each one that is known: so what it took when last looked at is
    # the most that it can take, and few have to be looked at again.
    most = np.full(len(information), np.inf)
    for _ in range(min(items, len(information))):
        doubt = float(PRIOR @ (1 / known))
        promising = int(most.argmax())
        least = doubt - (1 / (known + information[promising])) @ PRIOR
        some = np.flatnonzero(most >= least - EQUAL)
        most[some] = doubt - (1 / (known + information[some])) @ PRIOR
        order.append(int(some[most[some] >= most[some].max() - EQUAL][0]))
        most[order[-1]] = -np.inf
        known += information[order[-1]]
    return np.array(order)


def posterior(model: ResponseModel, items: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return what answers, bool (classifiers, items), tell of each ability: weights (classifiers, grid)."""
    z = GRID[:, None] * model.slope[items] + model.logit[items]
    log = right @ -np.logaddexp(0, -z).T + (~right) @ -np.logaddexp(0, z).T + np.log(PRIOR)
    weights = np.exp(log - log.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def placed(model: ResponseModel, items: np.ndarray, right: np.ndarray) -> Placed:
    """Place classifiers by their answers to some samples, bool (classifiers, items)."""
    weights, p = posterior(model, items, right), chances(model, items)
    ability = weights @ GRID
    error = np.sqrt(np.maximum(weights @ GRID**2 - ability**2, 0))
    expected, luck = sums(model)
    expected, luck = expected - p.sum(axis=1), luck - (p * (1 - p)).sum(axis=1)
    mean = weights @ expected
    variance = np.maximum(weights @ expected**2 - mean**2, 0) + weights @ luck
    samples = len(model.slope)
    return Placed(ability, error, (right.sum(axis=1) + mean) / samples, np.sqrt(variance + 0.25) / samples)


def next_item(model: ResponseModel, items: np.ndarray, right: np.ndarray) -> int | None:
    """Return the sample that tells most about one classifier after its answers so far; None where all are answered."""
    (weights,) = posterior(model, items, right[None])
    p = chances(model)
    telling = weights @ (np.maximum(model.slope, 0) ** 2 * p * (1 - p))
    telling[items] = -1
    best = int(telling.argmax())
    return best if telling[best] >= 0 else None


def dealt(families: Sequence[str], folds: int = FOLDS) -> tuple[np.ndarray, bool]:
    """Return the fold of each network, and whether families stay together: where there are fewer, networks are dealt.

    The largest families come first, each into the fold with the fewest networks so far.
    """
    names, of, counts = np.unique(np.asarray(families, str), return_inverse=True, return_counts=True)
    if len(names) < folds:
        return np.random.default_rng(0).permutation(len(of)) % folds, False
    fold, held = np.zeros(len(names), int), np.zeros(folds)
    for family in np.argsort(-counts, kind="stable"):
        fold[family] = int(held.argmin())
        held[fold[family]] += counts[family]
    return fold[of], True


@dataclass(frozen=True)
class LeftOut:
    """Models that have not seen one fold of the networks, and the answers of all, bool (networks, samples)."""

    right: np.ndarray
    folds: np.ndarray
    models: list[ResponseModel]

    @classmethod
    def of(cls, right: np.ndarray, folds: np.ndarray) -> LeftOut:
        """Fit a model without each fold."""
        numbers = range(int(folds.max()) + 1)
        return cls(right, folds, list(ahead(lambda f: calibrated(right[folds != f]), numbers)))

    def chosen(self, items: int) -> list[np.ndarray]:
        """Return the samples that each model takes, in its order: the first of them are what it takes for fewer."""
        return list(ahead(lambda model: chosen(model, items), self.models))

    def placed(self, items: Sequence[np.ndarray]) -> Placed:
        """Place each network by the model that has not seen its fold, by the samples `items` of that model."""
        parts = [np.empty(len(self.right)) for _ in Placed._fields]
        for fold, (model, given) in enumerate(zip(self.models, items, strict=True)):
            mine = self.folds == fold
            for part, values in zip(parts, placed(model, given, self.right[np.ix_(mine, given)]), strict=True):
                part[mine] = values
        return Placed(*parts)

    def off(self, found: Placed) -> np.ndarray:
        """Return by how many of its spreads each estimated accuracy is off."""
        return np.abs(found.accuracy - self.right.mean(axis=1)) / found.spread

    def factor(self, off: np.ndarray) -> float:
        """Return how many spreads an interval has to reach to cover `LEVEL` of the networks of a family left out.

        It is a quantile of how far all are off, as in conformal prediction (Vovk et al. 2005), each fold counting
        alike. Since a new family is none of the folds, the quantile is the one that covers `LEVEL` of a fold, on
        average, where it is taken from the others.
        """
        return self._quantile(off, self._level(off))

    def coverage(self, off: np.ndarray) -> float:
        """Return the share of networks that such intervals cover, whose reach was found without the network's fold."""
        return self._covered(off, self._level(off))

    def _level(self, off: np.ndarray) -> float:
        away = [abs(self._covered(off, level) - LEVEL) for level in LEVELS]
        return float(LEVELS[int(np.argmin(away))])

    def _covered(self, off: np.ndarray, level: float) -> float:
        folds = range(int(self.folds.max()) + 1)
        return float(np.mean([(off[self.folds == f] <= self._quantile(off, level, f)).mean() for f in folds]))

    def _quantile(self, off: np.ndarray, level: float, without: int | None = None) -> float:
        use = np.ones(len(off), bool) if without is None else self.folds != without
        weight = (1 / np.bincount(self.folds)[self.folds])[use]
        order = np.argsort(off[use])
        share = np.cumsum(weight[order]) / weight.sum()
        return float(off[use][order][min(int(np.searchsorted(share, level)), len(order) - 1)])
