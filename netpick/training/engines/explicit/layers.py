"""The forward and backward pass of each kind of layer, by hand, for `explicit`.

A layer keeps from its forward pass what its backward pass needs, writes the gradients of its parameters where it was
told to, and hands on the gradient of its input. The kernels are torch's own, those that autograd would call, but where
another way is faster: see `convolutions` and `activations`. A layer that is in no table runs under autograd, by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from netpick.networks.modules.build import BasicBlock, Reshape
from netpick.training.engines.explicit.activations import FROM_OUTPUT, FromInput, FromOutput, activation_of
from netpick.training.engines.explicit.convolutions import CONVOLUTIONS, convolution

Gradients = Mapping[nn.Parameter, Tensor]
aten = torch.ops.aten

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


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


def make(module: nn.Module, gradients: Gradients, before: Layer | None) -> Layer:
    """Return the layer that does what a module does, after the layer `before`."""
    reusable = before is not None and before.reusable
    name = activation_of(module)
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
    if type(module) is BasicBlock and (activation_of(module.activation1) or type(module.activation1) is nn.Identity):
        return Block(module, gradients)
    return Autograd(module, gradients)
