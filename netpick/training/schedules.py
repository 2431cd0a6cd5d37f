"""Schedules: the learning rate of each step of a training, and the momentum where the schedule moves that too.

Worked out once for all steps, as plain numbers, so that every engine takes the very same. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netpick.core.recipe import OPTIMIZERS, Recipe

PEAK, DIV, DIV_FINAL, MOMENTUM = 0.25, 25.0, 1e5, (0.95, 0.85)
"""Of `onecycle`, as fastai's `fit_one_cycle` has them: the share of the steps before the highest learning rate; what
that is divided by at the beginning and at the end; the momentum at both ends and at the highest learning rate."""


def schedule_of(recipe: Recipe, steps: int) -> np.ndarray | None:
    """Return (steps, 2) float64, learning rate and momentum of each step; None where both stay as the recipe has them.

    The momentum is that of SGD and RMSprop, 0 where the recipe gives them none, and the first beta of Adam.
    """
    if recipe.schedule == "constant" and not recipe.warmup:
        return None
    values = np.empty((steps, 2))
    values[:, 1] = usual = momentum_of(recipe)
    if recipe.schedule == "onecycle":
        share = np.arange(steps) / steps
        values[:, 0] = recipe.lr * _cycle(share, 1 / DIV, 1, 1 / DIV_FINAL)
        if usual:
            values[:, 1] = _cycle(share, MOMENTUM[0], MOMENTUM[1], MOMENTUM[0])
        return values
    warm = round(recipe.warmup * steps)
    values[:warm, 0] = recipe.lr * np.arange(1, warm + 1) / warm if warm else 0
    values[warm:, 0] = recipe.lr * _FALLING[recipe.schedule](np.arange(steps - warm) / max(1, steps - warm))
    return values


def momentum_of(recipe: Recipe) -> float:
    """Return the momentum that a recipe's optimizer has: what `onecycle` moves, unless it is 0."""
    given = recipe.optimizer_args
    if "betas" in OPTIMIZERS[recipe.optimizer]:
        betas = given.get("betas")
        return betas[0] if isinstance(betas, list) else 0.9
    momentum = given.get("momentum", 0.0)
    return momentum if isinstance(momentum, float) else 0.0


def _cycle(share: np.ndarray, begin: float, middle: float, end: float) -> np.ndarray:
    """Go from one value to a second until `PEAK`, and on to a third, each along half a cosine."""
    rising = begin + (middle - begin) * (1 - np.cos(np.pi * share / PEAK)) / 2
    falling = middle + (end - middle) * (1 - np.cos(np.pi * (share - PEAK) / (1 - PEAK))) / 2
    return np.where(share < PEAK, rising, falling)


_FALLING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "constant": np.ones_like,
    "cosine": lambda share: (1 + np.cos(np.pi * share)) / 2,
    "linear": lambda share: 1 - share,
    "step": lambda share: np.where(share < 0.5, 1, np.where(share < 0.75, 0.1, 0.01)),
}
"""What the learning rate is multiplied by, after each share of the steps behind the warm-up. `step` has the places of
He et al. 2016, "Deep residual learning for image recognition", section 4.2."""
