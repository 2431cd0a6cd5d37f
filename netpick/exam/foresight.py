"""How well answers that were not used are foreseen by item response theory, beside models that know less."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from netpick.core.threads import ahead
from netpick.exam.answered import is_whole
from netpick.exam.ballots import halves
from netpick.exam.item_response import FEW, fit
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
    given: Any = ... if is_whole(right) else ~np.isnan(truth)
    wanted = truth[given] > 0
    seen, told = ResponseTable.of(right[np.ix_(others, shown)]), ResponseTable.of(right[np.ix_(learn, hidden)])
    share = (told.correct + 0.5) / (told.answered + 1)
    quality = []
    for discriminate in (True, False):
        model = fit(right[learn], discriminate)
        ability = abilities(seen, model.slope[shown], model.logit[shown]).mean
        quality.append(_quality(_chances(ability, model.slope[hidden], model.logit[hidden])[given], wanted))
    quality.append(_quality(np.broadcast_to(share, truth.shape)[given], wanted))
    return Foresight(*(auc for auc, _ in quality), *(likelihood for _, likelihood in quality))


def _chances(ability: np.ndarray, slope: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Return the chances of right answers, (networks, samples)."""
    out = np.empty((len(ability), len(slope)))

    def fill(start: int) -> None:
        some = slice(start, start + FEW)
        out[some] = logistic(ability[some, None] * slope + logit)

    for _ in ahead(fill, range(0, len(out), FEW)):
        pass
    return out


def _quality(p: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    auc = _auc(p[truth], p[~truth])
    np.subtract(1, p, out=p, where=~truth)
    return auc, float(np.log(p, out=p).mean())


def _auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the share of pairs in which the positive comes out higher, equal ones counted half."""
    if not len(positives) or not len(negatives):
        return float("nan")
    ordered, needles = ahead(np.sort, [positives, negatives])  # sorted ones are found several times faster
    below = np.searchsorted(ordered, needles, "left").sum() + np.searchsorted(ordered, needles, "right").sum()
    return float(1 - below / (2 * len(positives) * len(negatives)))
