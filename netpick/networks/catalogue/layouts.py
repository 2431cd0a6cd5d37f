"""The computations: from a few decisions to the layers of one network.

`COMPUTATIONS` is one table, from the name of a computation to the function that lays out a network of that kind; add a
row to add a computation. Such a function asks a `Decisions` for every number that it needs (how deep, how wide, which
kernel, a bias here?), so that the same function serves cells that draw at random and cells that enumerate a grid, and
it keeps the shape in hand while it goes, so that kernels and widths adapt to the image. No torch, no random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from netpick.core.errors import SpecError
from netpick.networks.catalogue.sketch import Decisions, Sketch
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.spec import LayerSpec


def cubic_factorisation(height: int, width: int) -> Shape:
    """Split height × width into the depth, height and width that are most like a cube.

    Both sides are divided by the same f and the depth is f²: 28×28 gives 16×7×7, 8×8 gives 4×4×4. Sides without such
    an f would leave a depth of 1, and so any three numbers from 3 on are taken that make height × width, if there are
    such: 32×33 gives 8×11×12, while 17×19 stays 1×17×19.
    """
    factors = [f for f in range(1, math.gcd(height, width) + 1) if height % f == 0 and width % f == 0]
    cuts = [(f * f, height // f, width // f) for f in factors]
    best: Shape = min(cuts, key=_unlike_a_cube)
    if best[0] == 1:
        best = min((cut for cut in factorisations(height * width) if min(cut) >= 3), key=_unlike_a_cube, default=best)
    return best


def _unlike_a_cube(cut: Shape) -> tuple[float, Shape]:
    return max(cut) / min(cut), cut


@lru_cache(maxsize=16)
def cuts_of(size: int, parts: int) -> list[Shape]:
    """Return all ordered lists of `parts` numbers above 1 whose product is `size`; with 1s where there are no such."""
    divisors = [d for d in range(1, size + 1) if size % d == 0]

    def cut(rest: int, parts: int) -> list[Shape]:
        if parts == 1:
            return [(rest,)]
        return [(d, *more) for d in divisors if rest % d == 0 for more in cut(rest // d, parts - 1)]

    every = cut(size, parts)
    return [parts for parts in every if min(parts) > 1] or every


def factorisations(size: int) -> list[Shape]:
    """Return all ordered triples of numbers above 1 whose product is `size`; with 1s where there are no such."""
    return cuts_of(size, 3)


def conv_input(dims: int, image: Shape, decide: Decisions) -> Shape:
    """Return the input shape of a convolutional network: [C·H, W], [C, H, W] or [C, D, h, w], or what was asked for."""
    wanted = decide.input_shape(dims, image)
    if wanted:
        return wanted
    channels, height, width = image
    if dims == 1:
        return channels * height, width
    if dims == 2:
        return image
    return channels, *decide.factorisation(height, width)


def _hidden_convs(sketch: Sketch, decide: Decisions, count: int, after: int, active: Iterator[bool]) -> None:
    """Add `count` convolutions that leave room for `after` more, each with a kernel of at least 2 if that can be."""
    for at in range(count):
        sketch.hidden_conv(decide, at, count - 1 - at + after, active)


def _spanning_conv(sketch: Sketch, classes: int, bias: bool) -> None:
    """Add a convolution whose kernel spans all that is left."""
    sketch.conv(out_channels=classes, kernel_size=list(sketch.shape[1:]), bias=bias)


def _hidden_linears(
    sketch: Sketch, decide: Decisions, first: int, count: int, most: int, active: Iterator[bool]
) -> None:
    for at in range(count):
        sketch.hidden_linear(decide, at, first + at, most, active)


def _widest(image: Shape) -> int:
    """No hidden linear layer is more than twice as wide as the image has values: more can't hold more."""
    return 2 * math.prod(image)


def linear(image: Shape, classes: int, decide: Decisions) -> list[LayerSpec]:
    """Linear layers, one after the other."""
    depth = decide.depth(1)
    sketch = Sketch(image)
    sketch.reshape(math.prod(image))
    _hidden_linears(sketch, decide, 0, depth - 1, _widest(image), iter(decide.activate(depth - 1)))
    sketch.linear(classes, decide.bias(depth - 1))
    return sketch.finish()


def _conv(dims: int) -> Layout:
    def layout(image: Shape, classes: int, decide: Decisions) -> list[LayerSpec]:
        """Convolutions; the last one spans all that is left, and has one channel a class."""
        depth = decide.depth(1)
        sketch = Sketch(image)
        sketch.reshape(*conv_input(dims, image, decide))
        _hidden_convs(sketch, decide, depth - 1, 1, iter(decide.activate(depth - 1)))
        _spanning_conv(sketch, classes, decide.bias(depth - 1))
        return sketch.finish()

    return layout


def _conv_then_linear(dims: int) -> Layout:
    def layout(image: Shape, classes: int, decide: Decisions) -> list[LayerSpec]:
        """Convolutions, then a reshape, then linear layers."""
        depth = decide.depth(2)
        linears = decide.linear_depth(depth - 1)
        convs = depth - linears
        active = iter(decide.activate(depth - 1))
        sketch = Sketch(image)
        sketch.reshape(*conv_input(dims, image, decide))
        _hidden_convs(sketch, decide, convs, 0, active)
        sketch.global_pool(decide)
        sketch.flatten()
        _hidden_linears(sketch, decide, convs, linears - 1, _widest(image), active)
        sketch.linear(classes, decide.bias(depth - 1))
        return sketch.finish()

    return layout


def resnet_style(image: Shape, classes: int, decide: Decisions) -> list[LayerSpec]:
    """A convolution, residual blocks that keep or halve the size, then a convolution, a linear layer or both.

    A block is two computation layers, so that a depth of 4 or 5 has one of them and a depth of 6 has two. With both at
    the end depths are odd.
    """
    depth = decide.depth(4)
    sketch = Sketch(image)
    sketch.reshape(*conv_input(2, image, decide))
    sketch.hidden_conv(decide, 0, 1, _active(decide))
    for at in range((depth - 2) // 2):
        sketch.hidden_block(decide, at)
    end = decide.end()
    if end == "Conv2d":
        _spanning_conv(sketch, classes, decide.bias(depth - 1))
        return sketch.finish()
    if end == "Conv2dThenLinear":
        if depth % 2 == 0:
            raise SpecError(f'with end = "{end}" the depth is odd, got {depth}')
        sketch.hidden_conv(decide, 1, 0, _active(decide))
    sketch.global_pool(decide)
    sketch.flatten()
    sketch.linear(classes, decide.bias(depth - 1))
    return sketch.finish()


def _active(decide: Decisions) -> Iterator[bool]:
    """Yield whether the activation follows a convolution that stands beside blocks; asked when it is due."""
    yield decide.activate(1)[0]


Layout = Callable[[Shape, int, Decisions], list[LayerSpec]]


@dataclass(frozen=True)
class Computation:
    """A row of the table: the layout, and the activation that the name of a family leaves out."""

    layout: Layout
    plain: str = "None"

    def family_name(self, name: str, activation: str) -> str:
        """Return the stem of the networks' names: `Conv2dReLU`, `Linear`, `ResNetStyle` (whose own is ReLU)."""
        return name if activation == self.plain else f"{name}{activation}"


COMPUTATIONS: dict[str, Computation] = {
    "Linear": Computation(linear),
    "Conv1d": Computation(_conv(1)),
    "Conv2d": Computation(_conv(2)),
    "Conv3d": Computation(_conv(3)),
    "Conv1dThenLinear": Computation(_conv_then_linear(1)),
    "Conv2dThenLinear": Computation(_conv_then_linear(2)),
    "Conv3dThenLinear": Computation(_conv_then_linear(3)),
    "ResNetStyle": Computation(resnet_style, plain="ReLU"),
}
