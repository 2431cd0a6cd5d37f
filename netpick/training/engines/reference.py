"""The plain loop: what every plan is held against, and what `--plan reference` runs.

One epoch as a textbook has it: a permutation, a batch at a time, autograd, `torch.optim` as it comes. Whatever is done
for speed elsewhere must give the same losses and scores, up to the rounding of its precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netpick.networks.catalogue.template import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the recipe's optimizer with torch's simplest code: one tensor after the other."""
    args: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe.optimizer_args.items()}
    return getattr(torch.optim, recipe.optimizer)(model.parameters(), lr=recipe.lr, foreach=False, **args)


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    batch_size: int,
    order: torch.Generator | None,
    smallest: int = 1,
    after_step: Callable[[], None] = lambda: None,
) -> float:
    """Train one epoch on all batches of at least `smallest` samples; return the mean loss over those samples.

    `after_step` is called after each step, and ends the training early by raising.
    """
    model.train()
    count = len(labels)
    indices = torch.arange(count) if order is None else torch.randperm(count, generator=order)
    total, seen = 0.0, 0
    for start in range(0, count, batch_size):
        chosen = indices[start : start + batch_size].to(labels.device)
        if len(chosen) < smallest:
            continue
        optimizer.zero_grad()
        loss = F.nll_loss(model(inputs[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(chosen)
        seen += len(chosen)
        after_step()
    return total / seen
