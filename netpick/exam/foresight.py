"""How well answers that were not used are foreseen by item response theory, beside models that know less."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netpick.exam.answered import is_whole
from netpick.exam.ballots import halves
from netpick.exam.item_response import fit
from netpick.exam.known_abilities import abilities, logistic
from netpick.exam.response_table import ResponseTable


class Foresight(NamedTuple):
    """How well answers that were not used are foreseen: areas under the ROC curve, and mean log likelihoods.

    By the model, by one whose samples all discriminate alike, and by the samples' difficulty alone.
    """

    auc: float
    alike_auc: float
    difficulty_auc: float
    likelihood: float
    alike_likelihood: float
    difficulty_likelihood: float


def foresight(right: np.ndarray, seed: int = 0) -> Foresight:
    """Foresee answers of one half of the networks to one half of the samples from all the others.

    Samples' parameters are from the one half of the networks, abilities of the other half from their answers to
    one half of the samples. Difficulty alone is the share of the first half of the networks that get a sample right.
    """
    learn, others = halves(len(right), seed)
    shown, hidden = halves(right.shape[1], seed)
    truth = right[np.ix_(others, hidden)]
    given = np.ones(truth.shape, bool) if is_whole(right) else ~np.isnan(truth)
    seen, told = ResponseTable.of(right[np.ix_(others, shown)]), ResponseTable.of(right[np.ix_(learn, hidden)])
    share = (told.correct + 0.5) / (told.answered + 1)
    quality = []
    for discriminate in (True, False):
        model = fit(right[learn], discriminate)
        ability = abilities(seen, model.slope[shown], model.logit[shown]).mean
        p = logistic(ability[:, None] * model.slope[hidden] + model.logit[hidden])
        quality.append(_quality(p[given], truth[given] > 0))
    quality.append(_quality(np.broadcast_to(share, truth.shape)[given], truth[given] > 0))
    return Foresight(*(auc for auc, _ in quality), *(likelihood for _, likelihood in quality))


def _quality(p: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return _auc(p[truth], p[~truth]), float(np.log(np.where(truth, p, 1 - p)).mean())


def _auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the share of pairs in which the positive comes out higher, equal ones counted half."""
    if not len(positives) or not len(negatives):
        return float("nan")
    ordered = np.sort(positives)
    needles = np.sort(negatives)  # sorted ones are found several times faster
    below = np.searchsorted(ordered, needles, "left").sum() + np.searchsorted(ordered, needles, "right").sum()
    return float(1 - below / (2 * len(positives) * len(negatives)))
