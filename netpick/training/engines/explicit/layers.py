"""The forward and backward pass of each kind of layer, by hand, for `explicit`.

A layer keeps from its forward pass what its backward pass needs, writes the gradients of its parameters where it was
told to, and hands on the gradient of its input. The kernels are torch's own, those that autograd would call, but where
another way is faster: see `convolutions`. A layer that is in no table here runs under autograd, by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from netpick.networks.modules.build import BasicBlock, InPlace, Reshape
from netpick.training.engines.explicit.convolutions import CONVOLUTIONS, convolution

Gradients = Mapping[nn.Parameter, Tensor]
aten = torch.ops.aten


class Layer(Protocol):
    """What `explicit` walks over. `reusable`: nobody reads this layer's output again, the next may overwrite it."""

    reusable: bool

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of one batch, and keep what `backward` needs."""

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        """Take the gradient of the output; return that of the input, if it is wanted."""


class Shape:
    """A layer that only gives its input another shape."""

    def __init__(self, shape: tuple[int, ...], reusable: bool) -> None:
        self.shape, self.reusable = shape, reusable

    def forward(self, x: Tensor) -> Tensor:
        self.before = x.shape
        return x.reshape(x.shape[0], *self.shape)

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        return g.reshape(self.before) if wanted else None


class Same:
    """The identity."""

    def __init__(self, reusable: bool) -> None:
        self.reusable = reusable

    def forward(self, x: Tensor) -> Tensor:
        return x

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        return g


class Linear:
    """A matrix product; gradients are written where they belong, with no copy between."""

    reusable = True

    def __init__(self, module: nn.Linear, gradients: Gradients) -> None:
        self.weight = module.weight.detach()
        self.transposed = self.weight.t()
        self.d_weight = gradients[module.weight]
        self.bias = None if module.bias is None else module.bias.detach()
        self.d_bias = None if module.bias is None else gradients[module.bias]

    def forward(self, x: Tensor) -> Tensor:
        self.before = x.shape
        self.x = x = x.reshape(-1, x.shape[-1]) if x.dim() != 2 else x
        out = x.mm(self.transposed) if self.bias is None else torch.addmm(self.bias, x, self.transposed)
        return out if len(self.before) == 2 else out.view(*self.before[:-1], -1)

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        g = g.reshape(-1, g.shape[-1]) if g.dim() != 2 else g
        torch.mm(g.t(), self.x, out=self.d_weight)
        if self.d_bias is not None:
            torch.sum(g, 0, out=self.d_bias)
        return g.mm(self.weight).view(self.before) if wanted else None


class BatchNorm:
    """Batch norm in training: with the statistics of the batch, which it also adds to the running ones.

    For many values mean and variance are taken in two passes of vectorised sums, which is as exact as torch's one pass
    of running updates and two to three times faster; for few values the calls would cost more than they save.
    """

    reusable = True
    MANY = 20_000

    def __init__(self, module: Any, gradients: Gradients) -> None:
        self.module = module
        self.weight, self.bias = module.weight.detach(), module.bias.detach()
        self.d_weight, self.d_bias = gradients[module.weight], gradients[module.bias]

    def forward(self, x: Tensor) -> Tensor:
        m = self.module
        m.num_batches_tracked.add_(1)
        self.x = x
        if x.numel() < self.MANY:
            out, self.mean, self.invstd = torch.native_batch_norm(
                x, self.weight, self.bias, m.running_mean, m.running_var, True, m.momentum, m.eps
            )
            return out
        others = [0, *range(2, x.dim())]
        across = (-1, *(1 for _ in others[1:]))  # one value a channel, for every place of it
        self.mean = x.mean(others)
        out = x - self.mean.view(across)
        variance = (out * out).mean(others)
        self.invstd = (variance + m.eps).rsqrt_()
        count = x.numel() // len(variance)
        m.running_mean.lerp_(self.mean, m.momentum)
        m.running_var.lerp_(variance * (count / (count - 1)), m.momentum)
        return out.mul_((self.invstd * self.weight).view(across)).add_(self.bias.view(across))

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        m = self.module
        statistics = (m.running_mean, m.running_var, self.mean, self.invstd)
        d_input, d_weight, d_bias = aten.native_batch_norm_backward(
            g.contiguous(), self.x, self.weight, *statistics, True, m.eps, [wanted, True, True]
        )
        self.d_weight.copy_(d_weight)
        self.d_bias.copy_(d_bias)
        return d_input


_SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)
"""Alpha, scale, input scale: Klambauer et al. 2017, arXiv 1706.02515, as torch has them."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

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
    "ELU": (
        _elu,
        _elu,
        lambda g, y: aten.elu_backward(g, 1.0, 1.0, 1.0, True, y),
    ),
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


class LogSoftmax:
    """The logarithm of the softmax over a dimension."""

    reusable = False

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        self.y = torch._log_softmax(x, self.dim, False)
        return self.y

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        return aten._log_softmax_backward_data(g, self.y, self.dim, self.y.dtype) if wanted else None


class Autograd:
    """Any other module: its own piece of autograd's graph, made and used up within the step.

    Its input is contiguous, as in the plain loop: what a module draws at random (dropout, RReLU) lands on the values in
    the order in which they lie in memory.
    """

    reusable = False

    def __init__(self, module: nn.Module, gradients: Gradients) -> None:
        self.module = module
        if getattr(module, "inplace", False):  # its input is kept by the layer before, and is a leaf to autograd
            module.inplace = False
        self.parameters = list(module.parameters())
        self.gradients = [gradients[p] for p in self.parameters]

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            self.x = x.detach().contiguous().requires_grad_()
            self.y = self.module(self.x)
        return self.y.detach()

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        inputs = [*self.parameters, self.x] if wanted else self.parameters
        computed = torch.autograd.grad(self.y, inputs, g, allow_unused=True)
        del self.y
        for into, gradient in zip(self.gradients, computed, strict=False):
            if gradient is None:
                into.zero_()
            else:
                into.copy_(gradient)
        if not wanted:
            return None
        return computed[-1] if computed[-1] is not None else torch.zeros_like(self.x)


class Block:
    """The residual block of `build`, from the layers above."""

    reusable = False

    def __init__(self, module: BasicBlock, gradients: Gradients) -> None:
        first: list[Layer] = [convolution(module.conv1, gradients), BatchNorm(module.bn1, gradients)]
        first.append(make(module.activation1, gradients, first[-1]))
        self.main: list[Layer] = [*first, convolution(module.conv2, gradients), BatchNorm(module.bn2, gradients)]
        self.short: list[Layer] = []
        if len(module.shortcut):
            conv, norm = module.shortcut
            self.short = [convolution(conv, gradients), BatchNorm(norm, gradients)]
        self.last = make(module.activation2, gradients, self.main[-1])

    def forward(self, x: Tensor) -> Tensor:
        out = short = x
        for layer in self.main:
            out = layer.forward(out)
        for layer in self.short:
            short = layer.forward(short)
        return self.last.forward(out.add_(short))

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        after = self.last.backward(g, True)
        main, short = after, after
        for layer in reversed(self.main):
            main = layer.backward(main, wanted or layer is not self.main[0])
        for layer in reversed(self.short):
            short = layer.backward(short, wanted or layer is not self.short[0])
        return main + short if wanted else None  # type: ignore[operator]


def _activation(module: nn.Module) -> str | None:
    """Return the name of an activation with the arguments that it has by default, or None."""
    name = module.name if isinstance(module, InPlace) else type(module).__name__
    if name not in FROM_OUTPUT and name not in FROM_INPUT:
        return None
    given = {key: getattr(module, key, None) for key in ("alpha", "negative_slope", "approximate")}
    usual = {"alpha": 1.0, "negative_slope": 0.01, "approximate": "none"}
    return name if all(value is None or value == usual[key] for key, value in given.items()) else None


def make(module: nn.Module, gradients: Gradients, before: Layer | None) -> Layer:
    """Return the layer that does what a module does, after the layer `before`."""
    reusable = before is not None and before.reusable
    name = _activation(module)
    if name in FROM_OUTPUT:
        return FromOutput(name, reusable)
    if name is not None:
        return FromInput(name)
    if isinstance(module, Reshape):
        return Shape(module.shape, reusable)
    if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return Shape((-1,), reusable)
    if type(module) is nn.Identity:
        return Same(reusable)
    if type(module) is nn.LogSoftmax and module.dim is not None:
        return LogSoftmax(module.dim)
    if type(module) is nn.Linear:
        return Linear(module, gradients)
    if type(module) in NORMS and module.bias is not None and module.momentum is not None:
        return BatchNorm(module, gradients)
    if isinstance(module, CONVOLUTIONS) and module.padding_mode == "zeros" and module.padding != "same":
        return convolution(module, gradients)
    # An activation within the block that would itself need autograd can't overwrite what autograd must keep.
    if type(module) is BasicBlock and (_activation(module.activation1) or type(module.activation1) is nn.Identity):
        return Block(module, gradients)
    return Autograd(module, gradients)
