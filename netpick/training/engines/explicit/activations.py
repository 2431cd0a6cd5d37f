"""The activations that `explicit` computes by hand: each with its gradient, which follows from its output or input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from netpick.networks.modules.build import InPlace

aten = torch.ops.aten

_SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)
"""Alpha, scale, input scale: Klambauer et al. 2017, arXiv 1706.02515, as torch has them."""

Function = Callable[..., Tensor]

MANY = 8_000
"""Values from which on a few vectorised passes take less time than torch's own tanh and ELU on the CPU."""


def _tanh(x: Tensor) -> Tensor:
    """2 sigmoid(2x) - 1: within 2e-7 of torch's, in half of the time (benchmarks/layers.py)."""
    return torch.tanh(x) if x.numel() < MANY else (2 * x).sigmoid_().mul_(2).sub_(1)


def _elu(x: Tensor) -> Tensor:
    """Return max(x, exp(min(x, 0)) - 1): within 1e-7 of torch's, in two thirds of the time."""
    return nn.functional.elu(x) if x.numel() < MANY else torch.maximum(x, x.clamp_max(0).exp_().sub_(1))


FROM_OUTPUT: dict[str, tuple[Function, Function, Function]] = {
    "ReLU": (torch.relu, torch.relu_, lambda g, y: aten.threshold_backward(g, y, 0)),
    "Tanh": (_tanh, _tanh, aten.tanh_backward.default),
    "Sigmoid": (torch.sigmoid, torch.sigmoid_, aten.sigmoid_backward.default),
    "SELU": (torch.selu, torch.selu_, lambda g, y: aten.elu_backward(g, *_SELU, True, y)),
    "ELU": (_elu, _elu, lambda g, y: aten.elu_backward(g, 1.0, 1.0, 1.0, True, y)),
    "LeakyReLU": (
        nn.functional.leaky_relu,
        aten.leaky_relu_.default,
        lambda g, y: aten.leaky_relu_backward(g, y, 0.01, True),
    ),
}
"""Activations whose gradient follows from the output: the function, the same in place, and the gradient."""

FROM_INPUT: dict[str, tuple[Function, Function]] = {
    "GELU": (nn.functional.gelu, lambda g, x: aten.gelu_backward(g, x)),
    "SiLU": (nn.functional.silu, aten.silu_backward.default),
}
"""Activations whose gradient needs the input."""


def _like(g: Tensor, values: Tensor) -> Tensor:
    """Return a gradient laid out in memory as the values are: torch is slow where two layouts meet."""
    return g if g.stride() == values.stride() else torch.empty_like(values).copy_(g)


class FromOutput:
    """An activation that may overwrite its input."""

    reusable = False

    def __init__(self, name: str, overwrite: bool) -> None:
        self.function = FROM_OUTPUT[name][1 if overwrite else 0]
        self.gradient = FROM_OUTPUT[name][2]

    def forward(self, x: Tensor) -> Tensor:
        self.y = self.function(x)
        return self.y

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        return self.gradient(_like(g, self.y), self.y) if wanted else None


class FromInput:
    """An activation that keeps its input."""

    reusable = True

    def __init__(self, name: str) -> None:
        self.function, self.gradient = FROM_INPUT[name]

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return self.function(x)

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        return self.gradient(_like(g, self.x), self.x) if wanted else None


def activation_of(module: nn.Module) -> str | None:
    """Return the name of an activation with the arguments that it has by default, or None."""
    name = module.name if isinstance(module, InPlace) else type(module).__name__
    if name not in FROM_OUTPUT and name not in FROM_INPUT:
        return None
    given = {key: getattr(module, key, None) for key in ("alpha", "negative_slope", "approximate")}
    usual = {"alpha": 1.0, "negative_slope": 0.01, "approximate": "none"}
    return name if all(value is None or value == usual[key] for key, value in given.items()) else None
