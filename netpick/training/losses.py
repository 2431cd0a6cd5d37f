"""What training makes small: a function of a batch's scores and labels, by the name that a recipe gives it.

Scores are logarithms of probabilities, whatever the network's last layer is, so that every loss goes with every network
and any number of classes. Of two classes `l1` and `distance` are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from netpick.core.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]


def distance(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of 1 - p of the true class: `mnist_loss` of Howard and Gugger, chapter 4."""
    return (1 - scores.exp().gather(1, labels[:, None])).mean()


def mse(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared difference of the probabilities from 1 for the true class and 0 for the others."""
    return F.mse_loss(scores.exp(), _wanted(scores, labels))


def l1(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean absolute difference of the probabilities from 1 for the true class and 0 for the others."""
    return F.l1_loss(scores.exp(), _wanted(scores, labels))


def _wanted(scores: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels, scores.shape[1]).to(scores.dtype)


def smoothed_nll(scores: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the mean negative log likelihood, of which all classes have a share: `label_smoothing` of torch."""
    return (1 - smoothing) * F.nll_loss(scores, labels) - smoothing * scores.mean()


LOSSES: dict[str, Loss] = {"nll": F.nll_loss, "mse": mse, "l1": l1, "distance": distance}
"""By the names of `Recipe.loss`."""


def loss_of(recipe: Recipe) -> Loss:
    """Return what a recipe makes small."""
    if recipe.label_smoothing:
        return partial(smoothed_nll, smoothing=recipe.label_smoothing)
    return LOSSES[recipe.loss]
