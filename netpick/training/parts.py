"""What a training has of a data set: the samples that it is trained on, and the splits that are evaluated.

All trainings of a process share the arrays. One that leaves out a fold of the training samples is given the numbers of
the others, and learns as if there were no more; of those that it left out it has a copy, as a split to be evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netpick.core.result import LEFT_OUT
from netpick.training.job import Data, Job


@dataclass(frozen=True)
class Parts:
    """The parts of the data that a job takes.

    `chosen` are the numbers, int64 on the CPU, of those samples of `inputs` and `labels` that are trained on; None for
    all. `evaluated` has inputs and labels of each split; `left_out` are the numbers of the training samples that are in
    the split of that name.
    """

    inputs: Tensor
    labels: Tensor
    chosen: Tensor | None
    evaluated: dict[str, tuple[Tensor, Tensor]]
    left_out: np.ndarray | None

    @classmethod
    def of(cls, job: Job, data: Data) -> Parts:
        """Take them."""
        inputs, labels, *folds = data["train"]
        evaluated = {split: (part[0], part[1]) for split, part in data.items() if split != "train"}
        if job.fold is None:
            return cls(inputs, labels, None, evaluated, None)
        outside = folds[0] == job.fold
        left_out, chosen = (torch.nonzero(which)[:, 0] for which in (outside, ~outside))
        there = left_out.to(labels.device)
        evaluated[LEFT_OUT] = inputs.index_select(0, there), labels.index_select(0, there)
        return cls(inputs, labels, chosen, evaluated, left_out.numpy())

    @property
    def count(self) -> int:
        """Number of samples that are trained on."""
        return len(self.labels if self.chosen is None else self.chosen)

    def arrays(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return what is trained on, as the split `train`, and what is evaluated, as arrays of the host."""
        train = self.inputs, self.labels
        if self.chosen is not None:
            train = self.inputs.cpu()[self.chosen], self.labels.cpu()[self.chosen]
        splits = {"train": train, **self.evaluated}
        return {split: (x.cpu().numpy(), y.cpu().numpy()) for split, (x, y) in splits.items()}

    def timed(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return splits of the same sizes for a job without folds: it takes as long, whichever samples it learns."""
        return {"train": (self.inputs[: self.count], self.labels[: self.count]), **self.evaluated}

    def numbers(self, split: str) -> np.ndarray | None:
        """Return which samples of a split are evaluated; None for all."""
        return self.left_out if split == LEFT_OUT else None
