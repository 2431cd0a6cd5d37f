"""One evaluation's numbers: loss, accuracy, and accuracy and AUC per class, from scores and labels.

Plain numpy on arrays that are already in memory. No torch, no files, no timing.
"""

from __future__ import annotations

import numpy as np

from netpick.core.result import SplitResult


def evaluate(
    split: str, scores: np.ndarray, labels: np.ndarray, eval_seconds: float, numbers: np.ndarray | None = None
) -> SplitResult:
    """Return the metrics of one evaluation of one split.

    Parameters
    ----------
    split : str
        Name of the split, such as ``test``.
    scores : (samples, classes) array
        Natural logarithms of the class probabilities; kept as float32 in the result.
    labels : (samples,) array of int
        Number of the true class of each sample.
    eval_seconds : float
        What the evaluation took, passed through.
    numbers : (samples,) array of int, optional
        Which of the split's samples these are; None for all of them. Passed through.

    Returns
    -------
    SplitResult
        `loss` is the mean negative log likelihood, added up in float64. The predicted class is the one with the
        highest score, the first of equals. `class_accuracy` is recall, NaN for a class without samples. For
        `class_auc` see `one_versus_rest_auc`.
    """
    scores = np.asarray(scores, dtype=np.float32)
    labels = np.asarray(labels).astype(np.int64, copy=False)
    samples, classes = scores.shape
    if labels.shape != (samples,) or samples == 0:
        raise ValueError(f"{split}: scores of {samples} samples and labels of shape {labels.shape} do not go together")
    of_label = scores[np.arange(samples), labels]
    correct = scores.argmax(axis=1) == labels
    counts = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels[correct], minlength=classes)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that we want
        recall = hits / counts
    return SplitResult(
        split=split,
        loss=-float(of_label.mean(dtype=np.float64)),
        accuracy=float(correct.mean()),
        class_accuracy=tuple(recall.tolist()),
        class_auc=tuple(one_versus_rest_auc(scores, labels).tolist()),
        eval_seconds=float(eval_seconds),
        scores=scores,
        samples=numbers,
    )


def one_versus_rest_auc(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each class against all others, shape (classes,).

    This is the Mann-Whitney statistic: (sum of the positives' ranks - P(P+1)/2) / (P N), where equal scores share the
    average of their ranks. NaN for a class with no positives or no negatives, or with a score that is NaN.
    """
    samples, classes = scores.shape
    out = np.full(classes, np.nan)
    by_class = labels.astype(np.int32).argsort(kind="stable")
    own = scores[np.arange(samples), labels][by_class]  # of the true class, one class after the other
    ends = np.bincount(labels, minlength=classes).cumsum().tolist()
    for c, (column, begin, end) in enumerate(zip(np.array(scores.T, order="C"), [0, *ends], ends, strict=False)):
        p, n = end - begin, samples - (end - begin)
        column.sort()  # NaN sorts last
        if p == 0 or n == 0 or column[-1] != column[-1]:
            continue
        positives = own[begin:end]
        positives.sort()  # sorted needles make searchsorted several times faster
        # Equal scores lie at places first+1 ... last, so that their average rank is (first + last + 1) / 2.
        first = int(column.searchsorted(positives).sum())
        last = int(column.searchsorted(positives, "right").sum())
        ranks = (first + last + p) / 2
        out[c] = (ranks - p * (p + 1) / 2) / (p * n)
    return out
