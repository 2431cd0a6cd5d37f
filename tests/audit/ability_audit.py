"""The question of ability, worked out again: marginal maximum likelihood, on one fine grid of abilities for all."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from audit.raw import Raw
from audit.said import Audit, Number, percent, who
from scipy import stats
from scipy.special import expit, logsumexp
from sklearn.metrics import log_loss, roc_auc_score

GRID = np.linspace(-7, 7, 281)
NEAR = 0.02
"""How far fits may lie apart that stop when nothing moves by more than a ten-thousandth."""


def posterior(right: np.ndarray, slope: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Return what answers tell of each ability, normal before them: (networks, grid)."""
    z = GRID[:, None] * slope + logit
    log = right @ -np.logaddexp(0, -z).T + ~right @ -np.logaddexp(0, z).T - GRID**2 / 2
    return np.exp(log - logsumexp(log, axis=1, keepdims=True))


class Fit:
    """The two-parameter logistic model, fitted to right and wrong answers (networks, samples)."""

    def __init__(self, right: np.ndarray, alike: bool = False) -> None:
        n, samples = right.shape
        marks = stats.zscore(right.mean(axis=1))
        self.slope, self.logit = np.ones(samples), np.zeros(samples)
        self.middle, self.precision = np.array([1.0, 0.0]), np.diag([1.0, 1 / 9])
        points, weights, before = np.sort(marks), np.eye(n)[:, np.argsort(marks)], marks
        for _ in range(600):
            covariance = self._samples(weights.T @ right, weights.sum(axis=0), points, alike)
            both = np.stack([self.slope, self.logit])
            self.middle = both.mean(axis=1)
            self.precision = np.linalg.inv(np.cov(both, bias=True) + covariance.mean(axis=0) + 0.01 * np.eye(2))
            weights = posterior(right, self.slope, self.logit)
            share = weights.sum(axis=0) / n
            middle = share @ GRID
            points = (GRID - middle) / np.sqrt(share @ (GRID - middle) ** 2)
            self.ability = weights @ points
            self.error = np.sqrt(weights @ points**2 - self.ability**2)
            if np.abs(self.ability - before).max() < 1e-5:
                break
            before = self.ability
        self.slope_error = np.sqrt(covariance[:, 0, 0])

    def _samples(self, correct: np.ndarray, many: np.ndarray, points: np.ndarray, alike: bool) -> np.ndarray:
        """Fit slope and logit of each sample by Newton's method; return their covariances."""
        x = np.stack([points, np.ones_like(points)])
        for _ in range(50):
            both = np.stack([self.slope, self.logit], axis=1)
            p = expit(both @ x)
            slopes = (correct.T - p * many) @ x.T - (both - self.middle) @ self.precision
            curvature = np.einsum("sg,ig,jg->sij", p * (1 - p) * many, x, x) + self.precision
            if alike:  # one slope, at each sample's best logit
                (aa, ab), bb = curvature[:, 0].T, curvature[:, 1, 1]
                step = np.zeros_like(both)
                step[:, 0] = (slopes[:, 0] - ab * slopes[:, 1] / bb).sum() / (aa - ab**2 / bb).sum()
                step[:, 1] = (slopes[:, 1] - ab * step[:, 0]) / bb
            else:
                step = np.linalg.solve(curvature, slopes[:, :, None])[:, :, 0]
            step /= max(1.0, np.abs(step).max())
            self.slope, self.logit = self.slope + step[:, 0], self.logit + step[:, 1]
            if np.abs(step).max() < 1e-9:
                break
        return np.linalg.inv(curvature)


@lru_cache
def _fitted(raw: Raw) -> tuple[np.ndarray, Fit, list[Number]]:
    """Return the answers of the good students, the model, and how well it foresees; once for a run."""
    right = raw.right(list(raw.asked().index))
    return right, Fit(right), _foreseen(right)


def ability(raw: Raw, rows: str = "samples") -> Audit:
    """Fit the model to the last answers of the good students."""
    asked, labels = raw.asked(), raw.labels()
    right, fit, foreseen = _fitted(raw)
    able = np.quantile(fit.ability, 0.9)
    p = expit(fit.slope * able + fit.logit)
    samples = pd.DataFrame({
        "sample": range(len(labels)), "label": labels, "right": right.mean(axis=0),
        "difficulty": np.where(fit.slope > 0.05, -fit.logit / fit.slope, np.nan), "discrimination": fit.slope,
        "discrimination_error": fit.slope_error, "information": np.where(fit.slope > 0, fit.slope**2 * p * (1 - p), 0),
    })  # fmt: skip
    top = int(fit.ability.argmax())
    far = stats.norm.isf(0.05 / (len(asked) - 1))
    apart = (fit.ability[top] - fit.ability) / np.hypot(fit.error[top], fit.error)
    given = expit(np.outer(fit.ability, fit.slope) + fit.logit)
    networks = asked[["name", "computation", "activation", "accuracy"]].assign(
        ability=fit.ability, error=fit.error, surprise=-np.log(np.where(right, given, 1 - given)).mean(axis=1),
        may_be_ablest=apart <= far,
    )  # fmt: skip
    ranked = samples.sort_values("information", ascending=False, kind="stable")
    shares = ranked["information"].cumsum() / ranked["information"].sum()
    half, first = int((shares < 0.5).sum()) + 1, ranked.iloc[0]
    ties = int((apart <= far).sum()) - 1
    said = [
        *who(raw),
        networks.index[top],
        _near(fit.ability[top]),
        _near(1.96 * fit.error[top]),
        *([ties] if ties else []),
    ]
    said += [len(labels), Number(half, 1), first["sample"].astype(int), raw.classes[int(first["label"])]]
    said += [_near(first["discrimination"]), percent(first["right"], 0)]
    table, by = (samples, ["sample"]) if rows == "samples" else (networks.reset_index(drop=True), ["name"])
    moving = ["difficulty", "discrimination", "discrimination_error", "information", "ability", "error", "surprise"]
    near = {column: NEAR * (5 if column == "difficulty" else 1) for column in moving if column in table}
    return Audit(table, [*said, *foreseen], by=by, near=near)


def _near(value: float) -> Number:
    return Number(value, 0.05 + NEAR)


def _foreseen(right: np.ndarray) -> list[Number]:
    """Return how well hidden answers of one half of the networks are foreseen: by the model, and by less."""
    orders = (np.random.default_rng(0).permutation(n) for n in right.shape)
    (learn, others), (shown, hidden) = ((np.sort(order[::2]), np.sort(order[1::2])) for order in orders)
    truth, known = right[np.ix_(others, hidden)].ravel(), right[np.ix_(others, shown)]
    guesses = []
    for alike in (False, True):
        fit = Fit(right[learn], alike)
        its = posterior(known, fit.slope[shown], fit.logit[shown]) @ GRID
        guesses.append(expit(np.outer(its, fit.slope[hidden]) + fit.logit[hidden]).ravel())
    share = (right[np.ix_(learn, hidden)].sum(axis=0) + 0.5) / (len(learn) + 1)
    full, alike, difficulty = *guesses, np.tile(share, len(others))
    said = [roc_auc_score(truth, one) for one in (full, difficulty, alike)]
    said += [-log_loss(truth, one) for one in (full, difficulty, alike)]
    return [Number(value, 0.005) for value in said]  # of fits that end some way apart
