"""What a layout works with: the decisions that it may ask for, and the layers so far with their shapes.

`Decisions` says which questions there are; `decisions` answers them, at random or from a grid. A `Sketch` adds layers
one by one and keeps the shape in hand, so that kernels and widths adapt to the image. A hidden layer brings along what
may stand around it: batch norm, skip connection, activation, pooling, dropout, in this order. No torch, no random
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

from netpick.networks.paper import operations
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.spec import LayerSpec, layer


class Decisions(Protocol):
    """What a layout may ask. `at` counts the questions of a kind, from 0, so that a grid can answer layer by layer.

    `keep` is the shape that the layer should give, so that a skip connection can go back to an earlier output of that
    shape; None where there is no such wish.
    """

    activation: str

    def depth(self, least: int) -> int:
        """Number of computation layers, the last one included; at least `least`."""

    def linear_depth(self, most: int) -> int:
        """How many of them are linear layers at the end, from 1 to `most` (ConvNdThenLinear)."""

    def width(self, at: int, most: int, keep: Shape | None = None) -> int:
        """Output features of a hidden linear layer, at most `most`."""

    def conv(self, at: int, given: Shape, left: int, keep: Shape | None = None) -> dict[str, Any]:
        """All arguments but `in_channels` of a hidden convolution that gets `given` and has `left` more after it."""

    def planes(self, at: int, given: Shape, keep: Shape | None = None) -> int:
        """Output channels of a residual block that gets `given`."""

    def stride(self, at: int, keep: Shape | None = None) -> int:
        """Stride of a residual block."""

    def bias(self, at: int) -> bool:
        """Whether a layer has a bias."""

    def activate(self, hidden: int) -> list[bool]:
        """After which of the hidden layers the activation stands; at least one, where there is an activation."""

    def batch_norm(self) -> bool:
        """Whether a batch norm follows a hidden layer."""

    def skip(self, earlier: list[int]) -> int | None:
        """Which of these layers' outputs is added to that of the next hidden layer."""

    def pool(self, at: int, sizes: Shape, left: int) -> tuple[str, list[int]] | None:
        """Kind (`Max` or `Avg`) and sizes of a pooling after a convolution or block, with `left` more after it."""

    def global_pool(self) -> bool:
        """Whether the mean of each channel is all that linear layers get of convolutions."""

    def dropout(self) -> float | None:
        """Probability of a dropout after a hidden layer."""

    def input_shape(self, dims: int, image: Shape) -> Shape | None:
        """Input of the convolutions, in as many dimensions and channels; None for what the image gives by itself."""

    def factorisation(self, height: int, width: int) -> Shape:
        """Depth, height and width of a Conv3d input: three numbers whose product is height × width."""

    def end(self) -> str:
        """The last computation of a ResNetStyle network: `Conv2d` or `Linear`."""


class Sketch:
    """The layers so far, and the shape that each of them gives; `hidden` has the numbers of those that end a stage."""

    def __init__(self, image: Shape) -> None:
        self.layers: list[LayerSpec] = []
        self.before = [image]
        self.hidden: list[int] = []

    @property
    def shape(self) -> Shape:
        """Shape that the next layer gets."""
        return self.before[-1]

    def add(self, op: str, **args: object) -> None:
        """Add a layer whose shape must fit."""
        added = layer(op, **args)
        self.before.append(operations.output_shape(op, added.resolved, self.shape, self.before))
        self.layers.append(added)

    def reshape(self, *shape: int) -> None:
        """Give each sample another shape."""
        self.layers.append(layer("Reshape", shape=list(shape)))
        self.before.append(shape)

    def flatten(self) -> None:
        """Give each sample one dimension."""
        if len(self.shape) > 1:
            self.reshape(math.prod(self.shape))

    def linear(self, features: int, bias: bool) -> None:
        """Add a linear layer."""
        self.add("Linear", in_features=self.shape[0], out_features=features, bias=bias)

    def conv(self, **args: Any) -> None:
        """Add a convolution, in as many dimensions as its kernel has."""
        self.add(f"Conv{len(args['kernel_size'])}d", in_channels=self.shape[0], **args)

    def activate(self, activation: str, wanted: bool) -> None:
        """Add the activation, where it is wanted and there is one."""
        if wanted and activation != "None":
            self.add(activation)

    def hidden_conv(self, decide: Decisions, at: int, left: int, active: Iterator[bool]) -> None:
        """Add a convolution that leaves room for `left` more, and all that follows it."""
        source, keep = self._source(decide)
        self.conv(**decide.conv(at, self.shape, left, keep))
        self._norm(decide)
        self._join(source)
        self.activate(decide.activation, next(active))
        self._pool(decide, at, left)
        self._end(decide)

    def hidden_linear(self, decide: Decisions, at: int, bias_at: int, most: int, active: Iterator[bool]) -> None:
        """Add a linear layer, at most `most` wide, and all that follows it."""
        source, keep = self._source(decide)
        self.linear(decide.width(at, most, keep), decide.bias(bias_at))
        self._norm(decide)
        self._join(source)
        self.activate(decide.activation, next(active))
        self._end(decide)

    def hidden_block(self, decide: Decisions, at: int) -> None:
        """Add a residual block, and all that follows it; its batch norms and activations are its own."""
        source, keep = self._source(decide)
        planes, stride = decide.planes(at, self.shape, keep), decide.stride(at, keep)
        self.add("BasicBlock", inplanes=self.shape[0], planes=planes, stride=stride, activation=decide.activation)
        self._join(source)
        self._pool(decide, at, 1)
        self._end(decide)

    def global_pool(self, decide: Decisions) -> None:
        """Add a pooling that leaves the mean of each channel, where that is wanted."""
        dims = len(self.shape) - 1
        if dims and math.prod(self.shape[1:]) > 1 and decide.global_pool():
            self.add(f"AdaptiveAvgPool{dims}d", output_size=[1] * dims)

    def finish(self) -> list[LayerSpec]:
        """Return the layers of the whole network."""
        self.flatten()
        self.add("LogSoftmax", dim=1)
        return self.layers

    def _source(self, decide: Decisions) -> tuple[int | None, Shape | None]:
        """Ask for the layer that a skip around the next one goes back to; return it and its shape.

        It must be one whose sizes, channels aside, are those in hand: then a layer can be had that keeps its shape.
        """

        def alike(shape: Shape) -> bool:
            return len(shape) == len(self.shape) and shape[1:] == self.shape[1:]

        source = decide.skip([number for number in self.hidden if alike(self.before[number + 1])])
        return source, None if source is None else self.before[source + 1]

    def _join(self, source: int | None) -> None:
        if source is not None and self.before[source + 1] == self.shape:
            self.add("Add", **{"from": source})

    def _norm(self, decide: Decisions) -> None:
        if decide.batch_norm():
            self.add(f"BatchNorm{max(1, len(self.shape) - 1)}d", num_features=self.shape[0])

    def _pool(self, decide: Decisions, at: int, left: int) -> None:
        pooling = decide.pool(at, self.shape[1:], left)
        if pooling:
            self.add(f"{pooling[0]}Pool{len(self.shape) - 1}d", kernel_size=pooling[1])

    def _end(self, decide: Decisions) -> None:
        p = decide.dropout()
        if p is not None:
            self.add("Dropout", p=p)
        self.hidden.append(len(self.layers) - 1)
