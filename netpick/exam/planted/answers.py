"""The answers to a planted exam: right or wrong as the model has it, wrong as the distractor has it, and how sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netpick.exam.planted.paper import Paper
from netpick.exam.planted.students import Student

DISTRACTED = 0.94
"""Share of an ordinary sample's wrong answers that are its distractor."""


@dataclass(frozen=True)
class Draws:
    """What is drawn once for a training and a split, so that answers change between epochs only as ability does."""

    paper: Paper
    luck: np.ndarray
    """(samples,) logistic: right where a (θ - b) + luck > 0."""
    other: np.ndarray
    """(samples,) the answer given where it is wrong."""
    sure: np.ndarray
    """(samples,) uniform: how sure, among answers as right as this one."""
    rest: np.ndarray
    """(samples, classes) gamma: shares of the probability that the answer leaves."""

    @classmethod
    def of(cls, rng: np.random.Generator, paper: Paper, classes: int) -> Draws:
        """Draw for the samples of a split."""
        n = len(paper.label)
        any_wrong = (paper.label + rng.integers(1, classes, n)) % classes
        steady = np.isin(paper.kind, ("weird", "mislabelled", "late", "forgotten", "specialist"))
        other = np.where(steady | (rng.random(n) < DISTRACTED), paper.distractor, any_wrong)
        if classes >= 6:  # confusing: the label and five others, all alike
            spread = (paper.label + rng.integers(0, 6, n)) % classes
            other = np.where(paper.kind == "confusing", spread, other)
        uniform = np.clip(rng.random(n), 1e-12, 1 - 1e-12)
        luck = np.log(uniform / (1 - uniform))
        return cls(paper, luck, other, rng.random(n), rng.standard_gamma(0.3, (n, classes)) + 1e-6)

    def answers(self, student: Student, epoch: int) -> np.ndarray:
        """Return the predicted classes at an epoch from 1."""
        paper, epochs = self.paper, len(student.theta)
        theta = float(student.theta[epoch - 1])
        kind = paper.kind
        logit = np.nan_to_num(paper.discrimination * (theta - paper.difficulty), nan=0.0)
        right = logit + self.luck > 0
        settled = theta > 2.0  # whoever is weak, or has not bloomed yet, has trouble with easy samples too
        if epoch == epochs or settled:
            right = np.where(kind == "easy", True, right)
        rare = self.luck > 4.6  # one in a hundred
        right = np.where(np.isin(kind, ("weird", "mislabelled")), rare, right)
        right = np.where(kind == "confusing", self.other == paper.label, right)
        right = np.where(kind == "late", (epoch == epochs) & (self.luck > -3), right)
        first = (epoch == 1) | ((epoch > 2) & (self.luck > -2))
        right = np.where(kind == "forgotten", first, right)
        right = np.where(kind == "specialist", student.spec.computation == student.specialists, right)
        return np.where(right, paper.label, self.other)

    def scores(self, student: Student, epoch: int) -> np.ndarray:
        """Return float32 (samples, classes): log-probabilities whose highest is the answer."""
        paper, answer = self.paper, self.answers(student, epoch)
        right = answer == paper.label
        q = _confidence(right, self.sure, exact=student.calibrated)
        if not student.calibrated:
            q = np.where(paper.kind == "mislabelled", 0.93 + 0.06 * self.sure, q)
            q = np.where(np.isin(paper.kind, ("weird", "confusing")), 0.51 + 0.1 * self.sure, q)
        rows = np.arange(len(answer))
        rest = self.rest.copy()
        # Of what the answer leaves, most is the label's where the answer is wrong, else the distractor's.
        second = np.where(right, paper.distractor, paper.label)
        rest[rows, second] += rest.sum(axis=1)
        rest[rows, answer] = 0.0
        p = rest * ((1 - q) / rest.sum(axis=1))[:, None]
        p[rows, answer] = q
        logs = student.temperature * np.log(np.maximum(p, 1e-12))
        logs -= logs.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        return logs.astype(np.float32)


_GRID = np.linspace(0.505, 0.9995, 400)


def _confidence(right: np.ndarray, sure: np.ndarray, exact: bool) -> np.ndarray:
    """Draw how sure each answer is, so that of the answers given with probability q a share q is right.

    A density f(q) over confidence whose mean is the accuracy makes P(q | right) proportional to q f(q), and
    P(q | wrong) to (1 - q) f(q): drawing from these by whether the answer is right is calibrated exactly. An accuracy
    below the lowest confidence can't be calibrated: there the lowest is given.
    """
    accuracy = float(np.clip(right.mean(), 0.52, 0.995)) if len(right) else 0.9
    u = (_GRID - 0.5) / 0.5
    # f(q) = u^k on the grid, k by bisection such that the mean of q is the accuracy
    low, high = -0.999, 400.0
    for _ in range(60):
        k = (low + high) / 2
        f = u**k
        low, high = (k, high) if (f * _GRID).sum() / f.sum() < accuracy else (low, k)
    out = np.empty(len(right))
    for value, weight in ((True, f * _GRID), (False, f * (1 - _GRID))):
        cumulated = np.cumsum(weight) / weight.sum()
        mine = right == value
        out[mine] = np.interp(sure[mine], cumulated, _GRID)
    return out
