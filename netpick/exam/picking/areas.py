"""The area under the ROC curve in a network's worst class, on many parts of the samples at once.

The area is the Mann-Whitney statistic: how often a sample of the class has a higher score for it than one of another
class, equal scores by half (Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve").
"""

from __future__ import annotations

import numpy as np


def class_auc(scores: np.ndarray, labels: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the area of each network in its worst class: float64 (networks, parts).

    Of (networks, samples, classes) scores, and which samples are in each part: bool (parts, samples). A class without
    samples in a part, or without others, does not count there; a score that is NaN leaves no area.
    """
    classes = [c for c in np.unique(labels) if (labels != c).any()]
    if not classes:
        return np.full((len(scores), len(inside)), np.nan)
    each = np.stack([_areas(scores[:, :, c], labels == c, inside) for c in classes])
    return np.fmin.reduce(each, axis=0) if not np.isnan(scores).any() else np.min(each, axis=0)


def _areas(scores: np.ndarray, positive: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the area of one class against all others, by (networks, samples) of its scores."""
    counted, others = inside[:, positive].T, (inside & ~positive).T.copy()  # rows of samples, which are gathered
    pairs = counted.sum(axis=0) * others.sum(axis=0)
    out = np.empty((len(scores), len(inside)))
    lower = np.zeros((len(positive) + 1, len(inside)), np.int32)
    for area, own in zip(out, scores, strict=True):
        order = np.argsort(own)
        np.cumsum(others[order], axis=0, out=lower[1:])
        ends = (np.searchsorted(own[order], own[positive], side) for side in ("left", "right"))
        beaten = sum((lower[end] * counted).sum(axis=0, dtype=np.int64) for end in ends) / 2
        area[:] = np.where(pairs > 0, beaten / np.maximum(pairs, 1), np.nan)
    return out
