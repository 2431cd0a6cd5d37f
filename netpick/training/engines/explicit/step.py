"""A training step without autograd: each layer says its own forward and backward pass, gradients land in one tensor.

A small network's step is mostly the bookkeeping around its arithmetic: autograd's graph, the calls of modules, lists of
parameters for the optimizer. Here the layers of an `nn.Sequential` are walked forwards and backwards by hand with
torch's own kernels, all parameters are views of one flat tensor and all gradients of another, so that the optimizer is
one kernel on one tensor. Layers that are in no table (`layers.make`) run under autograd by themselves. Chooses nothing:
`plan` says when to use it. On the CPU, in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from netpick.training.engines.explicit.layers import Layer, make

ALIGNMENT = 16
"""Values: each parameter begins at a multiple of 64 bytes, a line of the cache, as it would by itself."""


class FlatParameters:
    """All trainable parameters of a model as views of one tensor, `values`, and their gradients as views of `gradient`.

    The model's own parameters stay what they are for everybody else: only their memory has moved. The gaps between
    them, for the alignment, are zeros and have no gradient, so that every optimizer leaves them alone.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = list(model.parameters())
        starts, end = [], 0
        for p in parameters:
            starts.append(end)
            end += -(-p.numel() // ALIGNMENT) * ALIGNMENT
        self.values = nn.Parameter(torch.zeros(end))
        self.values.grad = torch.zeros(end)
        self.gradients: dict[nn.Parameter, Tensor] = {}
        flat = self.values.detach()
        for p, start in zip(parameters, starts, strict=True):
            view = flat[start : start + p.numel()].view(p.shape)
            view.copy_(p.detach())
            p.data = view
            self.gradients[p] = self.values.grad[start : start + p.numel()].view(p.shape)


class ExplicitStep:
    """Loss and gradients of one batch of a model, by hand.

    Parameters
    ----------
    model : on the CPU, in float32; its parameters are moved into one tensor
    """

    def __init__(self, model: nn.Sequential) -> None:
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
        self.one = torch.ones(())

    def __call__(self, x: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Write the mean negative log likelihood into `loss`, (), and the gradients into the flat tensor.

        Call it under `torch.no_grad`; x (batch, C, H, W), labels (batch,).
        """
        for forward in self.forwards:
            x = forward(x)
        value, weight = torch.ops.aten.nll_loss_forward(x, labels, None, 1, -100)
        loss.copy_(value)
        g: Tensor | None = torch.ops.aten.nll_loss_backward(self.one, x, labels, None, 1, -100, weight)
        for backward, wanted in self.backwards:
            g = backward(g, wanted)
