"""A training step without autograd: each layer says its own forward and backward pass, gradients land in one tensor.

A small network's step is mostly the bookkeeping around its arithmetic: autograd's graph, the calls of modules, lists of
parameters for the optimizer. Here the layers of an `nn.Sequential` are walked forwards and backwards by hand with
torch's own kernels, all parameters are views of one flat tensor and all gradients of another, so that the optimizer is
one kernel on one tensor. Layers that are in no table (`layers.make`) run under autograd by themselves.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netpick.training.engines.explicit.layers import Layer, make
from netpick.training.loop import Setup
from netpick.training.losses import Loss, loss_of
from netpick.training.steps import FlatParameters, batches, make_optimizer, make_step, scores_of

_ONE = torch.ones(())


class ExplicitStep:
    """Loss and gradients of one batch of a model, by hand.

    Parameters
    ----------
    model : on the CPU, in float32; its parameters are moved into one tensor
    loss : what is made small; the mean negative log likelihood, without autograd, where None is given
    """

    def __init__(self, model: nn.Sequential, loss: Loss | None = None) -> None:
        self.loss = _nll if loss is None else functools.partial(_under_autograd, loss)
        self.flat = FlatParameters(model)
        modules = list(model) if type(model) is nn.Sequential else [model]
        self.layers: list[Layer] = []
        for module in modules:
            self.layers.append(make(module, self.flat.gradients, self.layers[-1] if self.layers else None))
        learning = [any(True for _ in module.parameters()) for module in modules]
        first = learning.index(True) if True in learning else len(modules)
        # From which layer on backwards nobody asks for the gradient any more.
        self.backwards: list[tuple[Any, bool]] = [
            (layer.backward, at > first) for at, layer in enumerate(self.layers) if at >= first
        ][::-1]
        self.forwards = [layer.forward for layer in self.layers]

    def __call__(self, x: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Write the loss of a batch into `loss`, (), and the gradients into the flat tensor.

        Call it under `torch.no_grad`; x (batch, C, H, W), labels (batch,).
        """
        for forward in self.forwards:
            x = forward(x)
        value, g = self.loss(x, labels)
        loss.copy_(value)
        for backward, wanted in self.backwards:
            g = backward(g, wanted)


def _nll(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the mean negative log likelihood and its gradient."""
    value, weight = torch.ops.aten.nll_loss_forward(scores, labels, None, 1, -100)
    return value, torch.ops.aten.nll_loss_backward(_ONE, scores, labels, None, 1, -100, weight)


def _under_autograd(loss: Loss, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return any other loss and its gradient."""
    with torch.enable_grad():
        given = scores.detach().requires_grad_()
        value = loss(given, labels)
    (g,) = torch.autograd.grad(value, given)
    return value.detach(), g


class ExplicitEpochs:
    """Epochs of such steps."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        recipe = setup.job.recipe
        plain = recipe.loss == "nll" and not recipe.label_smoothing
        self.gradients = ExplicitStep(setup.model, None if plain else loss_of(recipe))
        optimizer = make_optimizer([self.gradients.flat.values], setup.job)
        self.step = make_step(optimizer, setup.schedule, recipe.gradient_clip)
        count, batch_size = setup.order.count, recipe.batch_size
        self.losses = torch.zeros(-(-count // batch_size))
        self.each = self.losses.unbind()
        self.sizes = torch.full_like(self.losses, batch_size, dtype=torch.float64)
        self.sizes[-1] = (count - 1) % batch_size + 1

    @torch.no_grad()
    def epoch(self) -> float:
        """Train one epoch."""
        setup = self.setup
        setup.model.train()
        size, order = setup.job.recipe.batch_size, setup.order.draw()
        parts = batches(setup.inputs, setup.labels, size, order, setup.augment)
        for loss, (x, y) in zip(self.each, parts, strict=True):
            if len(y) < setup.smallest:
                continue  # its loss stays 0
            self.gradients(x, y, loss)
            self.step()
            setup.check_time()
        return float(self.losses.double() @ self.sizes) / setup.count

    def score(self, inputs: Tensor) -> np.ndarray:
        """Return the scores as torch computes them."""
        return scores_of(self.setup.model, self.setup.job, inputs)
