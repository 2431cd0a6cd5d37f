"""One epoch as a textbook has it: a permutation, a batch at a time, autograd, `torch.optim` as it comes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from netpick.training.loop import Setup
from netpick.training.steps import optimizer_arguments, scores_of


class PlainLoop:
    """Epochs in torch's simplest code: one tensor after the other."""

    def __init__(self, setup: Setup) -> None:

        self.setup = setup
        recipe = setup.job.recipe
        kind = getattr(torch.optim, recipe.optimizer)
        self.optimizer = kind(setup.model.parameters(), foreach=False, **optimizer_arguments(recipe))

    def epoch(self) -> float:
        """Train one epoch on all batches of at least `smallest` samples; return the mean loss over those samples."""
        setup, batch_size = self.setup, self.setup.job.recipe.batch_size
        count = len(setup.labels)
        indices = torch.arange(count) if setup.order is None else torch.randperm(count, generator=setup.order)
        total, seen = 0.0, 0
        for start in range(0, count, batch_size):
            chosen = indices[start : start + batch_size].to(setup.labels.device)
            if len(chosen) < setup.smallest:
                continue
            self.optimizer.zero_grad()
            loss = F.nll_loss(setup.model(setup.inputs[chosen]), setup.labels[chosen])
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(chosen)
            seen += len(chosen)
            setup.check_time()
        return total / seen

    def score(self, inputs: Tensor) -> np.ndarray:
        """Return the scores as torch computes them."""
        return scores_of(self.setup.model, self.setup.job, inputs)
