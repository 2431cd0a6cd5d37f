"""Convolutions by hand, for `explicit`: the forward pass and both gradients, each in the way that is fastest.

Which way, follows from the layer alone, so that a network is computed alike wherever and whenever it is trained. What
was measured is in benchmarks/NOTES.md. On the CPU, in float32; the results are torch's but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_FUNCTION: dict[int, Callable[..., Tensor]] = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}


class Convolution:
    """Any convolution, by torch's own kernels.

    The gradient of the weights of one input channel is itself a convolution, of the images with the gradient of the
    output, where the batch plays the part of the channels: torch's own way has only one channel at a time to work on.
    """

    reusable = True

    def __init__(self, module: Any, gradients: Mapping[nn.Parameter, Tensor]) -> None:
        self.weight, self.d_weight = module.weight.detach(), gradients[module.weight]
        self.bias = None if module.bias is None else module.bias.detach()
        self.d_bias = None if module.bias is None else gradients[module.bias]
        self.stride, self.padding = list(module.stride), list(module.padding)
        self.dilation, self.groups = list(module.dilation), module.groups
        self.dims = len(self.stride)
        simple = not any(self.padding) and {*self.stride, *self.dilation, self.groups} == {1}
        self.simple = simple
        self.grey = simple and module.in_channels == 1
        self.spatial = [0, *range(2, 2 + self.dims)]
        self.bias_shape = None if self.bias is None else list(self.bias.shape)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        function = _FUNCTION[self.dims]
        return function(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        if self.grey and not wanted:
            d_weight = _FUNCTION[self.dims](self.x.transpose(0, 1), g.transpose(0, 1))
            self.d_weight.copy_(d_weight.transpose(0, 1))
            if self.d_bias is not None:
                torch.sum(g, self.spatial, out=self.d_bias)
            return None
        zeros = [0] * self.dims
        d_input, d_weight, d_bias = torch.ops.aten.convolution_backward(
            *(g, self.x, self.weight, self.bias_shape, self.stride, self.padding, self.dilation, False, zeros),
            *(self.groups, [wanted, True, self.d_bias is not None]),
        )
        self.d_weight.copy_(d_weight)
        if self.d_bias is not None:
            self.d_bias.copy_(d_bias)
        return d_input


class Product(Convolution):
    """A convolution whose kernel may cover all of its input: then it is a matrix product."""

    def __init__(self, module: Any, gradients: Mapping[nn.Parameter, Tensor]) -> None:
        super().__init__(module, gradients)
        self.kernel = tuple(module.kernel_size)
        self.spans = False

    def forward(self, x: Tensor) -> Tensor:
        self.spans = tuple(x.shape[2:]) == self.kernel
        if not self.spans:
            return super().forward(x)
        self.before = x.shape
        self.x = x = x.reshape(x.shape[0], -1)
        weight = self.weight.view(len(self.weight), -1).t()
        out = x.mm(weight) if self.bias is None else torch.addmm(self.bias, x, weight)
        return out.view(*out.shape, *(1 for _ in self.kernel))

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        if not self.spans:
            return super().backward(g, wanted)
        g = g.reshape(len(g), -1)
        torch.mm(g.t(), self.x, out=self.d_weight.view(len(self.weight), -1))
        if self.d_bias is not None:
            torch.sum(g, 0, out=self.d_bias)
        return g.mm(self.weight.view(len(self.weight), -1)).view(self.before) if wanted else None


class Rows(Product):
    """A convolution over one dimension, as one product of the patches, laid out in rows, with the weights.

    The values of a patch lie beside each other once the channels come last, so that laying them out is a plain copy.
    Measured at 65 to 85 GFLOP/s where torch's own convolution reaches 35 to 60 (and the processor 95).
    """

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) == self.kernel:
            return super().forward(x)
        self.spans = False
        (k,) = self.kernel
        batch, channels, length = self.size = x.shape
        places = length - k + 1
        last = x.transpose(1, 2).contiguous()  # no copy after another such convolution
        patches = last.as_strided((batch, places, k * channels), (length * channels, channels, 1))
        self.rows = patches.reshape(batch * places, k * channels)
        self.matrix = self.weight.permute(2, 1, 0).reshape(k * channels, -1)
        out = self.rows.mm(self.matrix) if self.bias is None else torch.addmm(self.bias, self.rows, self.matrix)
        return out.view(batch, places, -1).transpose(1, 2)

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        if self.spans:
            return super().backward(g, wanted)
        (k,) = self.kernel
        batch, channels, length = self.size
        g = g.transpose(1, 2).reshape(self.rows.shape[0], -1)
        d_matrix = self.rows.t().mm(g)
        self.d_weight.copy_(d_matrix.view(k, channels, -1).permute(2, 1, 0))
        if self.d_bias is not None:
            torch.sum(g, 0, out=self.d_bias)
        if not wanted:
            return None
        places = length - k + 1
        d_rows = g.mm(self.matrix.t()).view(batch, places, k, channels)
        d_input = g.new_zeros(batch, length, channels)
        for at in range(k):
            d_input[:, at : at + places] += d_rows[:, :, at]
        return d_input.transpose(1, 2)


class Places(Product):
    """A convolution over one dimension with fewer channels out than in: the sum of its kernel's products, shifted.

    Every value is multiplied with all of the kernel at once, (channels, k x outputs); then the outputs, which are few,
    are added up, where `Rows` would lay out the many inputs k times.
    """

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) == self.kernel:
            return super().forward(x)
        self.spans = False
        (k,) = self.kernel
        batch, channels, length = self.size = x.shape
        places, outputs = length - k + 1, len(self.weight)
        self.rows = x.transpose(1, 2).reshape(batch * length, channels)
        self.matrix = self.weight.permute(1, 2, 0).reshape(channels, k * outputs)
        products = self.rows.mm(self.matrix).view(batch, length, k, outputs)
        out = products[:, :places, 0].clone() if self.bias is None else products[:, :places, 0] + self.bias
        for at in range(1, k):
            out += products[:, at : at + places, at]
        return out.transpose(1, 2)

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        if self.spans:
            return super().backward(g, wanted)
        (k,) = self.kernel
        batch, channels, length = self.size
        places, outputs = length - k + 1, len(self.weight)
        g = g.transpose(1, 2)
        spread = g.new_zeros(batch, length, k, outputs)
        for at in range(k):
            spread[:, at : at + places, at] = g
        d_products = spread.view(batch * length, k * outputs)
        d_matrix = self.rows.t().mm(d_products)
        self.d_weight.copy_(d_matrix.view(channels, k, outputs).permute(2, 0, 1))
        if self.d_bias is not None:
            torch.sum(g, [0, 1], out=self.d_bias)
        return d_products.mm(self.matrix.t()).view(batch, length, channels).transpose(1, 2) if wanted else None


class Picked:
    """A convolution of single values with a stride: it picks some values, and the others need no arithmetic.

    torch's own way takes three times as long, and with the channels last writes over memory that is not its own.
    """

    reusable = True

    def __init__(self, module: Any, gradients: Mapping[nn.Parameter, Tensor]) -> None:
        self.pick = (slice(None), slice(None), *(slice(None, None, step) for step in module.stride))
        self.inner = Convolution(module, gradients)
        self.inner.stride = [1] * len(self.inner.stride)

    def forward(self, x: Tensor) -> Tensor:
        self.before = x
        return self.inner.forward(x[self.pick].contiguous())

    def backward(self, g: Tensor, wanted: bool) -> Tensor | None:
        d_picked = self.inner.backward(g, wanted)
        if d_picked is None:
            return None
        d_input = torch.zeros_like(self.before)
        d_input[self.pick] = d_picked
        return d_input


def convolution(module: Any, gradients: Mapping[nn.Parameter, Tensor]) -> Convolution | Picked:
    """Return the way to compute a convolution that is fastest for its arguments."""
    plain = Convolution(module, gradients)
    if any(plain.padding) or module.groups != 1 or module.padding_mode != "zeros":
        return plain
    if plain.simple and plain.dims == 1 and math.prod(module.kernel_size) > 1:
        few = module.out_channels < module.in_channels
        return Places(module, gradients) if few else Rows(module, gradients)
    if math.prod(module.kernel_size) == 1 and max(plain.stride) > 1:
        return Picked(module, gradients)
    return Product(module, gradients)
