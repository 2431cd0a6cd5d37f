"""Claims about associations, abilities, medians and attempts: drawn as arrays, since no run's files play a part.

`CLAIMS` has of each by name what it says, one simulation of it, and between which rates that is to be true.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from netpick import exam
from netpick.analysis import _judged, agreement, attempts, learning, strategies
from netpick.exam import item_response, short_exam

SIZES = (5, 6, 8, 10, 12, 20)
"""Networks of the computations in a run of some sixty."""


def _families(rng: np.random.Generator, together: float) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Draw cost and score of families that differ in both at random, correlated by so much within each."""
    of = pd.Series(np.repeat(range(len(SIZES)), SIZES))
    cost, luck = rng.normal(size=(2, len(of)))
    score = together * cost + np.sqrt(1 - together**2) * luck
    apart = 4 * rng.normal(size=(2, len(SIZES)))
    return pd.Series(cost) + of.map(dict(enumerate(apart[0]))), pd.Series(score) + of.map(dict(enumerate(apart[1]))), of


def cost_null(rng: np.random.Generator) -> bool:
    """Ask whether cost and score go together where they don't, though computations differ in both."""
    return exam.association(*_families(rng, 0.0)).real


def cost_covers(rng: np.random.Generator) -> bool:
    """Compare the interval with the rank correlation of normal numbers that correlate by -0.4 within computations."""
    found = exam.association(*_families(rng, -0.4))
    return found.low <= 6 / np.pi * np.arcsin(-0.4 / 2) <= found.high


def _exam(rng: np.random.Generator, networks: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw abilities, brought to mean 0 and standard deviation 1, and answers to samples that are mostly easy."""
    ability, _, right = _steep(rng, networks, samples)
    return (ability - ability.mean()) / ability.std(), right


def _steep(rng: np.random.Generator, networks: int, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw abilities, the slopes of samples, and answers to them."""
    ability = rng.normal(size=networks)
    slope, difficulty = 1.4 * np.exp(rng.normal(0, 0.3, samples)), rng.normal(-1, 1.3, samples)
    right = rng.random((networks, samples)) < 1 / (1 + np.exp(-slope * (ability[:, None] - difficulty)))
    return ability, slope, right


def _covers(networks: int, samples: int) -> Callable[[np.random.Generator], bool]:
    def draw(rng: np.random.Generator) -> bool:
        ability, right = _exam(rng, networks, samples)
        model = item_response.fit(right)
        which = rng.integers(networks)  # one network an exam: those of one exam share its samples
        return bool(abs(model.ability[which] - ability[which]) < 1.96 * model.errors[which])

    return draw


def _covers_others(networks: int, drawn: int) -> Callable[[np.random.Generator], bool]:
    """Ask of one that was not drawn; the scale is that of those drawn."""

    def draw(rng: np.random.Generator) -> bool:
        ability, right = _exam(rng, networks, 360)
        model, some = item_response.fit_some(right, np.arange(drawn)), ability[:drawn]
        which = rng.integers(drawn, networks)
        return bool(
            abs(model.ability[which] - (ability[which] - some.mean()) / some.std()) < 1.96 * model.errors[which]
        )

    return draw


def _slopes(networks: int, low: float) -> Callable[[np.random.Generator], bool]:
    def draw(rng: np.random.Generator) -> bool:
        ability, slope, right = _steep(rng, networks, 360)
        found = item_response.fit(right).slope
        some = (right.mean(axis=0) > 0.1) & (right.mean(axis=0) < 0.9)
        return bool(low <= found[some].mean() / (slope[some].mean() * ability.std()) <= 1.05)

    return draw


def agreement_null(rng: np.random.Generator) -> bool:
    """Ask whether families agree more within, where they differ in ability alone."""
    ability = rng.normal(0, 0.5, 60) + np.arange(60) % 3
    wrong = rng.random((60, 300)) > 1 / (1 + np.exp(-2 * (ability[:, None] - rng.normal(-1, 1.3, 300))))
    joint = agreement.both_wrong(wrong)
    kappa = agreement.kappas(joint, 300)
    errors = np.diag(joint) / 300
    return agreement.within_test(kappa, np.arange(60) % 3, 99, int(rng.integers(2**31)), errors)[2] <= 0.05


def ablest(rng: np.random.Generator) -> bool:
    """Look whether the ablest network in truth is among those that are said not to be told from the ablest."""
    ability, right = _exam(rng, 60, 360)
    return bool(item_response.fit(right).may_be_ablest()[ability.argmax()])


def _median_covers(networks: int) -> Callable[[np.random.Generator], bool]:
    def draw(rng: np.random.Generator) -> bool:
        low, high = strategies.interval(rng.random(networks) ** 0.1)  # skewed as accuracies are
        return low <= 0.5**0.1 <= high

    return draw


def strategies_null(rng: np.random.Generator) -> bool:
    """Look whether the intervals of the two highest medians are said not to overlap, of eight equal families."""
    ends = sorted((np.median(scores), *strategies.interval(scores)) for scores in rng.normal(size=(8, 12)))
    return bool(ends[-1][1] > ends[-2][2])


def worse_null(rng: np.random.Generator) -> bool:
    """Look whether any of 100 networks is said to have got worse, where all attempts are equally good."""
    right = rng.random((4, 100, 360)) < 0.95
    p = _judged.below_best(right, exam.halves(360, int(rng.integers(2**31))))["p"]
    return bool((exam.holm(p) <= attempts.ALPHA).any())


def _splits(rng: np.random.Generator, number: int) -> exam.Splits:
    return exam.Splits(np.stack([rng.permutation(number) % 2 for _ in range(exam.FEW_TIMES)]), 2, [])


def early_pick(rng: np.random.Generator) -> bool:
    """Look whether who leads 100 networks after one of three attempts is told from who leads at last, all equal."""
    right, splits = rng.random((4, 100, 360)) < 0.95, _splits(rng, 360)
    choosing = np.stack([splits.means(one, 0) for one in right])
    found = _judged.early(choosing, np.stack([choosing[-1], splits.means(right[-1])]), splits)
    return bool(found["pick_p"][0] < attempts.ALPHA)


def forgotten_tenth(rng: np.random.Generator) -> bool:
    """Look whether the interval of what the most forgotten tenth takes has a tenth in it, all samples alike."""
    found = learning.MostForgotten.of(rng.poisson(0.1, (40, 360)), _splits(rng, 40))
    return found is not None and found.tenth.low <= 0.1 <= found.tenth.high


def _short_covers(items: int) -> Callable[[np.random.Generator], bool]:
    """Place one network of a family that no calibration has seen: families have strengths of their own."""

    def draw(rng: np.random.Generator) -> bool:
        families, each, samples = 9, 14, 300
        of = np.repeat(np.arange(families), each)
        ability = rng.normal(0, 0.6, families)[of] + rng.normal(0, 0.8, len(of))
        slope, difficulty = np.exp(rng.normal(0.2, 0.4, samples)), rng.normal(-1, 1.3, samples)
        own = rng.normal(0, 0.6, (families, samples))[of]
        right = rng.random((len(of), samples)) < 1 / (1 + np.exp(-slope * (ability[:, None] - difficulty) - own))
        known, new = right[of > 0], right[:1]
        folds, _ = short_exam.dealt(of[of > 0].astype(str).tolist())
        model = short_exam.calibrated(known)
        taken = short_exam.chosen(model, items)
        left = short_exam.LeftOut.of(known, folds)
        found = short_exam.placed(model, taken, new[:, taken])
        off = left.off(left.placed(taken))
        return bool(abs(found.accuracy[0] - new.mean()) <= left.factor(off) * found.spread[0])

    return draw


CLAIMS: dict[str, tuple[str, Callable[[np.random.Generator], bool], float, float]] = {
    "cost_null": ("macs: cost and score go together within computations, where they don't", cost_null, 0.0, 0.05),
    "cost_covers": ("macs: the interval of the association covers it", cost_covers, 0.93, 0.97),
    "ability_20": ("ability: ±1.96 errors cover, 20 networks × 200 samples", _covers(20, 200), 0.93, 0.97),
    "ability_40": ("ability: ±1.96 errors cover, 40 networks × 360 samples", _covers(40, 360), 0.93, 0.97),
    "ability_300": ("ability: ±1.96 errors cover, 300 networks × 360 samples", _covers(300, 360), 0.93, 0.97),
    "ability_others": (
        "ability: ±1.96 errors cover those not drawn, 200 of 600 networks × 360 samples",
        _covers_others(600, 200),
        0.93,
        0.97,
    ),
    "slopes_40": (
        "ability: middling samples' slopes are 0.85 to 1.05 of the true, 40 networks",
        _slopes(40, 0.85),
        0.9,
        1,
    ),
    "slopes_300": ("ability: the same, 0.95 to 1.05, 300 networks", _slopes(300, 0.95), 0.9, 1.0),
    "short_30": ("examine: 90 % intervals cover a new family, 30 of 300 samples", _short_covers(30), 0.88, 0.92),
    "short_60": ("examine: 90 % intervals cover a new family, 60 of 300 samples", _short_covers(60), 0.88, 0.92),
    "agreement_null": ("agreement: families of other ability and no design agree more", agreement_null, 0.0, 0.05),
    "ablest": ("ability: the ablest is among those not told from it", ablest, 0.95, 1.0),
    "median_5": ("strategies: the interval of the median of 5 covers it", _median_covers(5), 0.93, 1.0),
    "median_8": ("strategies: the interval of the median of 8 covers it", _median_covers(8), 0.95, 1.0),
    "median_25": ("strategies: the interval of the median of 25 covers it", _median_covers(25), 0.95, 1.0),
    "strategies_null": ("strategies: the first of equal families is told from the second", strategies_null, 0.0, 0.05),
    "early_pick": ("attempts: of equals the early pick is told from the late one", early_pick, 0.0, 0.05),
    "forgotten_tenth": (
        "learning: the interval of the most forgotten tenth covers it, all samples alike",
        forgotten_tenth,
        0.93,
        1.0,
    ),
    "worse_null": ("attempts: any of 100 equal to the last attempt got worse", worse_null, 0.0, 0.05),
}
