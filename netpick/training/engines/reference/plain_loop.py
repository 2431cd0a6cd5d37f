"""One epoch as a textbook has it: a permutation, a batch at a time, autograd, `torch.optim` as it comes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from netpick.training.loop import Setup
from netpick.training.losses import loss_of
from netpick.training.steps import move, optimizer_arguments, scores_of


class PlainLoop:
    """Epochs in torch's simplest code: one tensor after the other."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        recipe = setup.job.recipe
        self.loss = loss_of(recipe)
        self.clip = recipe.gradient_clip
        self.schedule = None if setup.schedule is None else iter(setup.schedule.tolist())
        kind = getattr(torch.optim, recipe.optimizer)
        self.optimizer = kind(setup.model.parameters(), foreach=False, **optimizer_arguments(recipe))

    def epoch(self) -> float:
        """Train one epoch on all batches of at least `smallest` samples; return the mean loss over those samples."""
        setup, batch_size = self.setup, self.setup.job.recipe.batch_size
        count = setup.order.count
        order = setup.order.draw()
        setup.model.train()
        indices = torch.arange(count) if order is None else order
        total, seen = 0.0, 0
        for start in range(0, count, batch_size):
            chosen = indices[start : start + batch_size].to(setup.labels.device)
            if len(chosen) < setup.smallest:
                continue
            if self.schedule is not None:
                move(self.optimizer, *next(self.schedule))
            self.optimizer.zero_grad()
            images = setup.inputs[chosen]
            if setup.augment is not None:
                images = setup.augment(images, start)
            loss = self.loss(setup.model(images), setup.labels[chosen])
            loss.backward()
            if self.clip:
                nn.utils.clip_grad_norm_(setup.model.parameters(), self.clip)
            self.optimizer.step()
            total += loss.item() * len(chosen)
            seen += len(chosen)
            setup.check_time()
        return total / seen

    def score(self, inputs: Tensor) -> np.ndarray:
        """Return the scores as torch computes them."""
        return scores_of(self.setup.model, self.setup.job, inputs)
