"""Epochs under autograd, by torch's own kernels: a gather every few dozen steps, and slices of what was gathered."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from netpick.training.loop import Setup
from netpick.training.losses import loss_of
from netpick.training.steps import autocast, batches, make_optimizer, make_step, scores_of


class Autograd:
    """Epochs under autograd."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.optimizer = make_optimizer(setup.model.parameters(), setup.job)
        self.step = make_step(self.optimizer, setup.schedule, setup.job.recipe.gradient_clip)
        self.loss = loss_of(setup.job.recipe)

    def epoch(self) -> float:
        """Train one epoch."""
        setup, job = self.setup, self.setup.job
        setup.model.train()
        exact = torch.float32 if job.kind == "mps" else torch.float64  # MPS has no 64 bits
        total = torch.zeros((), dtype=exact, device=job.device)
        size, order = job.recipe.batch_size, setup.order.draw()
        for x, y in batches(setup.inputs, setup.labels, size, order, setup.augment):
            if len(y) < setup.smallest:
                continue
            with autocast(job.plan, job.device):
                loss = self.loss(setup.model(x).float(), y)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.step()
            total.add_(loss.detach(), alpha=len(y))
            setup.check_time()
        return float(total.item()) / setup.count

    def score(self, inputs: Tensor) -> np.ndarray:
        """Return the scores as torch computes them."""
        return scores_of(self.setup.model, self.setup.job, inputs)
