"""Baselines that no gradient trains: fitted once, evaluated once, with the same result as a network.

Nearest class mean is ours, all else scikit-learn's, on the same pixels that the networks get. One fit is one attempt,
so that such a student has a single epoch. Always on the CPU and on one thread. No files here. Which baselines there
are, and what they may be told, is in `whole_networks`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from netpick.core.metrics import evaluate
from netpick.core.result import LEFT_OUT, EpochResult, TrainingResult
from netpick.training.course import Course
from netpick.training.job import Job

SMALLEST = float(np.finfo(np.float32).eps)
"""No class has a probability below this, as in sklearn.metrics.log_loss: a loss could not be told otherwise."""

BLOCK = 1000
"""Samples that are compared with all class means at once."""

Data = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Inputs (samples, C, H, W) float32 and labels (samples,) int64 of each split."""


class NearestMean:
    """The class whose mean image is nearest: by the mean absolute difference (L1) or its root mean square (L2).

    The baseline of Howard and Gugger, "Deep Learning for Coders with fastai and PyTorch", chapter 4.
    """

    def __init__(self, metric: str, classes: int) -> None:
        self.metric, self.classes = metric, classes
        self.means = np.empty((0, 0))

    def fit(self, inputs: np.ndarray, labels: np.ndarray) -> NearestMean:
        """Take the mean of each class; inputs (samples, values)."""
        self.means = np.full((self.classes, inputs.shape[1]), np.nan)  # a class without samples is never the nearest
        for c in np.unique(labels):
            self.means[c] = inputs[labels == c].mean(axis=0, dtype=np.float64)
        return self

    def distances(self, inputs: np.ndarray) -> np.ndarray:
        """Return the distance of each sample to each class mean, (samples, classes); infinite where there is none."""
        out = np.empty((len(inputs), self.classes))
        for start in range(0, len(inputs), BLOCK):
            here = inputs[start : start + BLOCK]
            for c, mean in enumerate(self.means):
                apart = here - mean
                if self.metric == "L1":
                    out[start : start + BLOCK, c] = np.abs(apart).mean(axis=1)
                else:
                    out[start : start + BLOCK, c] = np.sqrt(np.square(apart).mean(axis=1))
        return np.where(np.isnan(out), np.inf, out)


def train(job: Job, data: Data, left_out: np.ndarray | None = None) -> TrainingResult:
    """Fit a baseline and evaluate it.

    Parameters
    ----------
    job : its network's one layer is a baseline; of the recipe only `timeout` matters: a fit can't be interrupted, and
        is dropped when it took longer. The seed is that of a forest. Weights are the fitted numbers, where they are
        arrays: means or coefficients.
    data : the splits; `train` is fitted to, all others are evaluated
    left_out : which of the training samples those of the split `left_out` are

    Returns
    -------
    TrainingResult
        One epoch. Its training loss is NaN: there is no loss that was seen while training. Scores are the logarithms
        of scikit-learn's probabilities, of at least `SMALLEST`. For nearest means they are the log-softmax of the
        negative distances: which class is nearest is what they tell, not with what probability.
    """
    (layer,) = job.spec.layers
    course = Course(replace(job, device="cpu"), len(data["train"][1]))
    flat = {name: (x.reshape(len(x), -1), y) for name, (x, y) in data.items()}
    unfitted = _made(
        layer.op, layer.resolved, len(flat["train"][1]), job.seed
    )  # loads what it needs before it is timed
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that max_iter was reached is what max_iter is for
        model = unfitted.fit(*flat["train"])
    seconds = time.perf_counter() - begin
    splits = []
    for name, (inputs, labels) in flat.items():
        if name != "train":
            begin = time.perf_counter()
            scores = _scores(model, inputs, layer.resolved["num_classes"])
            numbers = left_out if name == LEFT_OUT else None
            splits.append(evaluate(name, scores, labels, time.perf_counter() - begin, numbers))
    with course:
        course.check_time()
        course.add(EpochResult(1, float("nan"), seconds, None, tuple(splits)))
    result = course.result(_arrays(model) if course.keeps_weights else None)
    return result.with_(plan=f"fp32/{layer.op.partition(':')[0]}")


def _made(op: str, args: Mapping[str, Any], samples: int, seed: int) -> Any:
    """Return the baseline, ready to be fitted."""
    args = dict(args)
    classes = args.pop("num_classes")
    if op == "baseline:nearest_mean":
        return NearestMean(args["metric"], classes)
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    kinds = (LogisticRegression, KNeighborsClassifier, RandomForestClassifier)
    kind = next(kind for kind in kinds if kind.__name__ == op.partition(":")[2])
    if kind is KNeighborsClassifier:
        args["n_neighbors"] = min(args["n_neighbors"], samples)
    else:
        args["random_state"] = seed % 2**32
    if kind is not LogisticRegression:
        args["n_jobs"] = 1
    return kind(**args)


def _scores(model: Any, inputs: np.ndarray, classes: int) -> np.ndarray:
    """Return the log-probabilities, (samples, classes) float32."""
    if isinstance(model, NearestMean):
        away = -model.distances(inputs)
        shares = np.exp(away - away.max(axis=1, keepdims=True))
    else:
        shares = np.zeros((len(inputs), classes))
        shares[:, model.classes_] = model.predict_proba(inputs)  # a class without training samples has no column
    shares = np.clip(shares / shares.sum(axis=1, keepdims=True), SMALLEST, None)
    return np.log(shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def _arrays(model: Any) -> dict[str, np.ndarray] | None:
    """Return the fitted numbers of a baseline that has them as arrays."""
    if isinstance(model, NearestMean):
        return {"means": model.means.astype(np.float32)}
    if hasattr(model, "coef_"):
        return {
            "coef": model.coef_.astype(np.float32),
            "intercept": np.atleast_1d(model.intercept_).astype(np.float32),
        }
    return None
