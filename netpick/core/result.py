"""What one training gives back: plain, picklable values, with numpy arrays for scores and weights.

This is all that travels from a worker to the coordinating process. No torch here, so that whatever reads or writes
results need not load it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

STATUSES = ("done", "diverged", "failed", "timeout")

LEFT_OUT = "left_out"
"""The split of the training samples where each training leaves a fold of them out: it answers those alone."""


@dataclass(frozen=True)
class SplitResult:
    """One evaluation of one split.

    `scores` is (samples, classes) float32: the natural logarithms of the class probabilities, in the order of the
    split's samples. `loss` is the mean negative log likelihood; `class_accuracy` and `class_auc` have one value a
    class (recall of the class; area under the one-versus-rest ROC curve), NaN where the class has no sample. `samples`
    are the numbers of those that were scored, ascending; None for all of the split.
    """

    split: str
    loss: float
    accuracy: float
    class_accuracy: tuple[float, ...]
    class_auc: tuple[float, ...]
    eval_seconds: float
    scores: np.ndarray
    samples: np.ndarray | None = None


@dataclass(frozen=True)
class EpochResult:
    """One epoch, counted from 1: what training cost, and an evaluation of each split."""

    epoch: int
    train_loss: float
    train_seconds: float
    peak_memory_bytes: int | None
    splits: tuple[SplitResult, ...]


@dataclass(frozen=True)
class TrainingResult:
    """One network × one replicate: how it ended, under which conditions, and its epochs.

    `recipe` has the values that it was trained by, as plain ones, with the number of samples in `train_samples`. `fold`
    is that of the training samples which it left out. What nobody knows of a training elsewhere is NaN, and its seed
    None.
    """

    network: str
    hash: str
    replicate: int
    status: str
    seed: int | None
    device: str
    plan: str
    started: datetime
    seconds: float
    error: str | None = None
    attempts: int = 1
    workers: int = 1
    epochs: tuple[EpochResult, ...] = ()
    weights: dict[str, np.ndarray] | None = field(default=None, repr=False)
    recipe: Mapping[str, object] = field(default_factory=dict)
    fold: int | None = None

    def with_(self, **changes: object) -> TrainingResult:
        """Return a copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]
