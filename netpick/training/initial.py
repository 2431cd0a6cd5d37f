"""A network as it is before its first step: its initial weights, drawn from its seed on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from netpick.networks.modules.build import build
from netpick.training.job import Job

INITS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "randn": (nn.init.normal_, nn.init.normal_),
    "xavier": (nn.init.xavier_uniform_, nn.init.zeros_),
    "he": (nn.init.kaiming_normal_, nn.init.zeros_),
}
"""What draws weights, and what draws biases, by the names of `Recipe.init`."""


def initial(job: Job) -> nn.Sequential:
    """Make a network with its initial weights, the same for every device.

    Other weights than each layer's own are drawn from the seed on, as if the layers had drawn none before.
    """
    _seed(job)
    model = build(job.spec.layers, tuned=job.plan.convolutions == "tuned")
    if job.recipe.init != "default":
        _seed(job)
        redraw(model, job.recipe.init)
    return model


def _seed(job: Job) -> None:
    """Begin the random numbers of a training anew."""
    if job.kind == "cpu":  # `torch.manual_seed` also notes for all kinds of cards from where it was called
        torch.default_generator.manual_seed(job.seed)
    else:
        torch.manual_seed(job.seed)


@torch.no_grad()
def redraw(model: nn.Module, name: str) -> None:
    """Draw the weights of all layers that have a matrix or kernels, in torch's order; norms and slopes stay."""
    weights, biases = INITS[name]
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if any(values.dim() > 1 for values in own):
            for values in own:
                (weights if values.dim() > 1 else biases)(values)
