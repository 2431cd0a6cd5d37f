"""From a network's description to a torch module.

Every operation is the class of `torch.nn` that has its name, made from the arguments of the description; only
`Reshape`, `BasicBlock` and `BinaryLogSigmoid` are ours, and the joins of `skips`. What a description may say is checked
by `spec.check`, before anything is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from netpick.core.errors import SpecError
from netpick.networks.modules.blocks import JOINS, Skipping, make_join
from netpick.networks.modules.torchvision_models import torchvision_model
from netpick.networks.modules.user_code import make
from netpick.networks.paper.spec import LayerSpec, last_uses
from netpick.networks.paper.whole_networks import MODELS, OWN


class Reshape(nn.Module):
    """Give each sample of a batch another shape."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], *self.shape)

    def extra_repr(self) -> str:
        return f"shape={list(self.shape)}"


class BinaryLogSigmoid(nn.Module):
    """Scores of two classes from one output, whose sigmoid is the probability of the positive one."""

    def __init__(self, positive: int = 1) -> None:
        super().__init__()
        self.positive = positive

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.logsigmoid(torch.cat([-x, x] if self.positive else [x, -x], dim=1))

    def extra_repr(self) -> str:
        return f"positive={self.positive}"


IN_PLACE = {"Sigmoid": torch.sigmoid_, "Tanh": torch.tanh_}
"""Activations that have no `inplace` argument: the function that works in place, where torch has one."""


class InPlace(nn.Module):
    """An activation that overwrites its input, for classes of torch.nn that can't be told to."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return IN_PLACE[self.name](x)

    def extra_repr(self) -> str:
        return self.name


def make_activation(name: str, in_place: bool = False) -> nn.Module:
    """Make an activation by name; `in_place` overwrites the input where torch offers that."""
    if name == "None":
        return nn.Identity()
    kind = getattr(nn, name)
    if in_place:
        if name in IN_PLACE:
            return InPlace(name)
        try:
            return kind(inplace=True)
        except TypeError:  # GELU, Softplus, ...: there is no such form
            pass
    return kind()


class BasicBlock(nn.Module):
    """The ResNet block: conv3x3, batch norm, activation, conv3x3, batch norm, skip connection, activation.

    Where the shapes differ the skip connection is a 1×1 convolution with batch norm. As in torchvision's
    `models.resnet.BasicBlock`, the activations and the addition work in place, and the convolutions have no bias
    (He et al. 2016, "Deep residual learning for image recognition", arXiv 1512.03385).
    """

    def __init__(self, inplanes: int, planes: int, stride: int = 1, activation: str = "ReLU") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.activation1 = make_activation(activation, in_place=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or inplanes != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
        self.activation2 = make_activation(activation, in_place=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.activation1(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)
        return self.activation2(out)


class _GreyConv(torch.autograd.Function):
    """A convolution of one channel whose input needs no gradient: the first layer of a network for grey images.

    The gradient of its weights is itself a convolution, of the images with the gradient of the output, where the batch
    plays the part of the channels. torch's own way gets only one channel at a time and takes 2 to 3 times as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, conv: Callable[..., Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.conv, ctx.has_bias = conv, bias is not None
        return conv(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor | None, None]:
        (x,) = ctx.saved_tensors
        (gradient,) = gradients
        weight = ctx.conv(x.transpose(0, 1), gradient.transpose(0, 1)).transpose(0, 1)
        bias = gradient.sum([0, *range(2, gradient.dim())]) if ctx.has_bias else None
        return None, weight.contiguous(), bias, None


class _Tuned:
    """A convolution that is computed in another way where that is faster; the same result but for rounding.

    Where the kernel covers all of the input it is a matrix product; for the first layer of grey images see `_GreyConv`.
    """

    conv: Callable[..., Tensor]

    def forward(self: Any, x: Tensor) -> Tensor:
        plain = not any(self.padding) and self.groups == 1
        if plain and x.shape[2:] == self.kernel_size:
            out = nn.functional.linear(x.flatten(1), self.weight.flatten(1), self.bias)
            return out.reshape(*out.shape, *(1 for _ in self.kernel_size))
        simple = plain and self.in_channels == 1 and {*self.stride, *self.dilation} == {1}
        here = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        if simple and here and not x.requires_grad and torch.is_grad_enabled():
            return _GreyConv.apply(x, self.weight, self.bias, self.conv)
        return super().forward(x)  # type: ignore[misc]


class _TunedConv1d(_Tuned, nn.Conv1d):
    conv = staticmethod(nn.functional.conv1d)


class _TunedConv2d(_Tuned, nn.Conv2d):
    conv = staticmethod(nn.functional.conv2d)


class _TunedConv3d(_Tuned, nn.Conv3d):
    conv = staticmethod(nn.functional.conv3d)


TUNED: dict[str, type[nn.Module]] = {"Conv1d": _TunedConv1d, "Conv2d": _TunedConv2d, "Conv3d": _TunedConv3d}

OURS: dict[str, type[nn.Module]] = {"Reshape": Reshape, "BasicBlock": BasicBlock, "BinaryLogSigmoid": BinaryLogSigmoid}


def build_layer(layer: LayerSpec, tuned: bool = False) -> nn.Module:
    """Make one layer, with all its arguments written out, as they are in its hash."""
    if layer.op in JOINS:
        return make_join(layer.op, layer.resolved)
    if layer.op == OWN:
        return make(**{key: layer.resolved[key] for key in ("of", "path", "source")})
    if layer.op in MODELS:
        return torchvision_model(layer.op.partition(":")[2], **layer.resolved)
    known = {**OURS, **TUNED} if tuned else OURS
    kind = known.get(layer.op) or getattr(nn, layer.op)
    try:
        return kind(**layer.resolved)
    except TypeError as error:  # an argument that came into torch later
        raise SpecError(f"{layer.op} can't be made by the installed torch {torch.__version__}: {error}") from None


def build(layers: Sequence[LayerSpec], tuned: bool = False) -> nn.Sequential:
    """Make a module from layers that `spec.check` has passed.

    The initial weights come from torch's global random generator; seed it before. Takes (batch, C, H, W) and gives
    (batch, classes). With `tuned` some convolutions are computed in a faster way; names and parameters stay the same.
    """
    modules = [build_layer(layer, tuned) for layer in layers]
    last = last_uses(layers)
    return Skipping(modules, last) if last else nn.Sequential(*modules)
