"""The cells of a template: their keys, types, defaults and ranges.

A cell says which networks to make: drawn at random, every combination of a grid, or one written out. Whether a cell can
be filled is the business of `catalogue`. Nothing here reads files or draws numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from netpick.core.errors import TemplateError, listed, suggest
from netpick.core.names import NAME
from netpick.core.recipe import Positive, Strict
from netpick.networks.catalogue.layouts import COMPUTATIONS
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.inferred import MIXED

Natural = Annotated[int, Meta(ge=0, le=2**40)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Rate = Annotated[float, Meta(ge=0, lt=1)]
# Lists of a given length, not fixed tuples: msgspec 0.22 reads the latter's length wrongly inside a union.
Pair = Annotated[list[Positive], Meta(min_length=2, max_length=2)]
Triple = Annotated[list[Positive], Meta(min_length=3, max_length=3)]
Range = Positive | Pair
MOST_LAYERS = 1000
"""Of a network, as in a file of networks."""
Depth = Annotated[int, Meta(ge=1, le=MOST_LAYERS)]
DepthRange = Depth | Annotated[list[Depth], Meta(min_length=2, max_length=2)]
NaturalRange = Natural | Annotated[list[Natural], Meta(min_length=2, max_length=2)]
RateRange = Rate | Annotated[list[Rate], Meta(min_length=2, max_length=2)]
End = Literal["Conv2d", "Linear", "Conv2dThenLinear"]
PoolKind = Literal["max", "avg"]
Layers = Annotated[list[dict[str, Any]], Meta(max_length=MOST_LAYERS)]

# What a key of a grid may have for one network: a value for all layers, a list with one for each; among those a list is
# one for each dimension.
Whole = Positive | list[Positive]
Sizes = Positive | list[Positive | list[Positive]]
NaturalSizes = Natural | list[Natural | list[Natural]]


class SampledOptions(Strict, frozen=True, kw_only=True):
    """What a sampled cell draws from, and what it must keep to; `[defaults]` of a template has the same keys.

    A range is `[lowest, highest]`, both included and equally likely, or one number.
    """

    depth: DepthRange | dict[str, Positive] = msgspec.field(default_factory=lambda: [2, 6])
    """Computation layers, the last one included. A residual block is two. In a sampled cell also a table of depths
    with how often each is drawn: `{ 2 = 3, 4 = 1 }` for three with a depth of 2 to one with a depth of 4.
    """
    linear_depth: DepthRange = msgspec.field(default_factory=lambda: [1, 3])
    """How many of them are linear layers at the end (`ConvNdThenLinear`)."""
    features: Range = msgspec.field(default_factory=lambda: [10, 500])
    """Outputs of a hidden linear layer. Drawn ones are at most twice the values of an image."""
    channels: Range = msgspec.field(default_factory=lambda: [2, 64])
    """Outputs of a hidden convolution."""
    planes: Range | Literal["same"] = msgspec.field(default_factory=lambda: [4, 64])
    """Outputs of a residual block (`ResNetStyle`); in a sampled cell also `"same"`: as many as its inputs."""
    kernel_size: Range = msgspec.field(default_factory=lambda: [2, 7])
    """Size of a hidden convolution's kernel. Drawn ones are at most what fits. One number is cut to what fits in a
    `Conv3d`, and in images of one row.
    """
    leave_room: bool = True
    """Whether a drawn kernel leaves room for a kernel of 2 in each convolution after it. Otherwise it may span all that
    is left, and the kernels after it have a size of 1.
    """
    stride: Range = msgspec.field(default_factory=lambda: [1, 2])
    """Stride of a residual block."""
    square: Probability = 1.0
    """Probability that a kernel has the same size in all directions; so for strides, paddings, dilations and
    poolings.
    """
    bias: Probability = 0.35
    """Probability that a linear layer or convolution has a bias; in a grid, whether."""
    activate: Probability = 0.5
    """Probability that the activation follows a hidden layer. It follows one at least; in a grid, all."""
    end: tuple[End, ...] = ("Conv2d", "Linear")
    """How a `ResNetStyle` network ends. With `Conv2dThenLinear` its depth is odd."""
    factorisation: Triple | Literal["cubic", "random"] = "cubic"
    """Input of a `Conv3d`: `cubic` (28×28 becomes 16×7×7, 32×33 8×11×12), three numbers, or in a sampled cell
    `random`.
    """
    input_shape: Literal["image", "cubic", "random"] | list[Positive] = "image"
    """Input of the first convolution: `image`, or channels and sizes of the image's values, such as `[7, 112]` for
    a `Conv1d` of 28×28; in a sampled cell also `random`. With `cubic` a `Conv1d` has a channel for each layer of the
    cube that a `Conv3d` has: 28×28 becomes `[16, 49]`.
    """
    conv_stride: Range = 1
    """Stride of a hidden convolution."""
    dilation: Range = 1
    """Dilation of a hidden convolution."""
    padding: NaturalRange | Literal["same"] = 0
    """Padding of a hidden convolution: at most half the kernel where it is drawn. `"same"` keeps the size, with
    odd kernels and a stride of 1.
    """
    groups: Range = 1
    """Groups of a hidden convolution. A drawn number divides the input's channels, and the outputs are cut to a
    multiple of it. In a grid also `"depthwise"`.
    """
    depthwise: Probability = 0.0
    """Probability that a hidden convolution has a group for each channel of its input."""
    batch_norm: Probability = 0.0
    """Probability that a batch norm follows a hidden linear layer or convolution, before the activation; in a
    grid, whether.
    """
    skip: Probability = 0.0
    """Probability that a hidden layer has a skip connection: it takes on the shape of an earlier one's output, and
    that is added to its own. In a grid, whether the output of the layer before is added wherever its shape is the
    same.
    """
    pool: Probability = 0.0
    """Probability that a pooling follows a hidden convolution or block, where there is room; in a grid, whether."""
    pool_kind: tuple[PoolKind, ...] = ("max",)
    """Kind of the pooling: `max` or `avg`."""
    pool_size: Range = 2
    """Size and stride of a pooling."""
    global_pool: Probability = 0.0
    """Probability that the linear layers after convolutions get the mean of each channel alone; in a grid, whether."""
    dropout: Probability = 0.0
    """Probability that a dropout follows a hidden layer; in a grid, whether."""
    dropout_p: RateRange = 0.5
    """Share of the values that a dropout sets to zero, from 0 to below 1; not a whole number."""
    min_params: Positive | None = None
    """Fewest parameters."""
    max_params: Positive | None = None
    """Most parameters."""
    min_macs: Positive | None = None
    """Fewest multiply-accumulates."""
    max_macs: Positive | None = None
    """Most multiply-accumulates."""


class SampledCell(SampledOptions, frozen=True, kw_only=True, tag_field="kind", tag="sampled"):
    """Networks of one computation, drawn at random: `count` of `activation`, or a table {activation: count}."""

    computation: str
    """One of the computations; in a grid, several. In an explicit cell any word, for the tables;
    left out it is worked out from the layers.
    """
    count: Positive | dict[str, Annotated[int, Meta(ge=0)]]
    """Number of networks, or a table `{ activation = number }`."""
    activation: str = "None"
    """`None`, or an activation of `torch.nn` that needs no argument. In an explicit cell it is worked out where it
    is left out; with several it is `Mixed`.
    """
    recipe: dict[str, Any] = msgspec.field(default_factory=dict)
    """Values of the recipe for the networks of this cell alone."""

    def families(self) -> list[tuple[str, int]]:
        """Return (activation, count) of each family."""
        if isinstance(self.count, int):
            return [(self.activation, self.count)]
        return [(activation, count) for activation, count in self.count.items() if count]


class GridCell(Strict, frozen=True, kw_only=True, tag_field="kind", tag="grid"):
    """Every combination of the listed values; a width, kernel or bias holds for all layers, a list for each in turn."""

    computation: tuple[str, ...]
    activation: tuple[str, ...] = ("None",)
    depth: tuple[Depth, ...] = (2,)
    linear_depth: tuple[Depth, ...] = (1,)
    features: tuple[Whole, ...] = (64,)
    channels: tuple[Whole, ...] = (16,)
    planes: tuple[Whole, ...] = (16,)
    kernel_size: tuple[Sizes, ...] = (3,)
    stride: tuple[Whole, ...] = (1,)
    bias: tuple[bool, ...] = (True,)
    end: tuple[End, ...] = ("Linear",)
    factorisation: tuple[Triple | Literal["cubic"], ...] = ("cubic",)
    input_shape: tuple[Literal["image", "cubic"] | list[Positive], ...] = ("image",)
    conv_stride: tuple[Sizes, ...] = (1,)
    dilation: tuple[Sizes, ...] = (1,)
    padding: tuple[NaturalSizes | Literal["same"], ...] = (0,)
    groups: tuple[Whole | Literal["depthwise"], ...] = (1,)
    batch_norm: tuple[bool, ...] = (False,)
    skip: tuple[bool, ...] = (False,)
    pool: tuple[bool, ...] = (False,)
    pool_kind: tuple[PoolKind, ...] = ("max",)
    pool_size: tuple[Sizes, ...] = (2,)
    global_pool: tuple[bool, ...] = (False,)
    dropout: tuple[bool, ...] = (False,)
    dropout_p: tuple[Rate, ...] = (0.5,)
    recipe: dict[str, Any] = msgspec.field(default_factory=dict)
    min_params: Positive | None = None
    max_params: Positive | None = None
    min_macs: Positive | None = None
    max_macs: Positive | None = None


class ExplicitCell(Strict, frozen=True, kw_only=True, tag_field="kind", tag="explicit"):
    """One network, layer by layer; "input", "pixels" and "classes" stand for the numbers of the data set.

    Computation and activation are worked out from the layers where they are left out.
    """

    name: str
    """Name of the network."""
    layers: Layers
    """The layers: `op` is a layer, an activation or a whole network, with its arguments. `"input"`, `"pixels"` and
    `"classes"` stand for the numbers of the data set.
    """
    computation: str | None = None
    activation: str | None = None
    recipe: dict[str, Any] = msgspec.field(default_factory=dict)


Cell = SampledCell | GridCell | ExplicitCell

KINDS: dict[str, type[Struct]] = {"sampled": SampledCell, "grid": GridCell, "explicit": ExplicitCell}
RANGES = [f.name for f in msgspec.structs.fields(SampledOptions) if f.type in (Range, DepthRange, RateRange)] + [
    "depth",
    "padding",
    "planes",
]


def check_ranges(options: Struct, source: str, where: str) -> None:
    """Refuse ranges whose end lies before their start, and tables of depths that are none."""
    depths = getattr(options, "depth", None)
    if isinstance(depths, dict):
        wrong = next((key for key in depths if not re.fullmatch(r"[1-9]\d{0,3}", key) or int(key) > MOST_LAYERS), None)
        if wrong is not None or not depths:
            raise TemplateError(
                f"{source}: {where}.depth: wants a table of depths from 1 to {MOST_LAYERS}, such as "
                f"{{ 2 = 3, 4 = 1 }}, got {wrong if depths else depths!r:.80}"
            )
    for field in msgspec.structs.fields(options):
        value = getattr(options, field.name)
        if field.name in RANGES and isinstance(value, list) and value[0] > value[1]:
            raise TemplateError(
                f"{source}: {where}.{field.name}: impossible range [{value[0]}, {value[1]}], the first is the lowest"
            )
    for what in ("params", "macs"):
        low, high = getattr(options, f"min_{what}"), getattr(options, f"max_{what}")
        if low and high and low > high:
            raise TemplateError(
                f"{source}: {where}: impossible range: min_{what} = {low} lies above max_{what} = {high}"
            )
    for key, words in (("end", "Conv2d, Linear, Conv2dThenLinear"), ("pool_kind", "max, avg")):
        if getattr(options, key, None) == ():
            raise TemplateError(f"{source}: {where}.{key}: wants at least one of {words}, got []")
    if isinstance(options, SampledOptions) and (options.skip or options.padding == "same"):
        sizes = options.kernel_size if isinstance(options.kernel_size, list) else [options.kernel_size] * 2
        if sizes[0] == sizes[1] and sizes[0] % 2 == 0:
            why = "skip" if options.skip else 'padding = "same"'
            raise TemplateError(
                f"{source}: {where}.kernel_size: {why} keeps the size of a convolution's input, and wants an odd "
                f"kernel_size, or a range with an odd one in it, got {options.kernel_size!r}"
            )


def check_cell(cell: Cell, source: str, where: str) -> None:
    """Refuse unknown computations, activations and names, and empty lists."""

    def known(word: str, allowed: Sequence[str] | Mapping[str, Any], key: str) -> None:
        if word not in allowed:
            raise TemplateError(
                f"{source}: {where}.{key}: unknown {key} '{word}'{suggest(word, allowed)}; "
                f"allowed are {listed(allowed, 40)}"
            )

    activations = ["None", *ACTIVATIONS]
    if isinstance(cell, ExplicitCell):
        if not NAME.fullmatch(cell.name):
            raise TemplateError(
                f"{source}: {where}.name: got {cell.name!r:.80}, allowed are 1 to 100 of A-Z a-z 0-9 _ . -"
            )
        if cell.computation is not None and not NAME.fullmatch(cell.computation):
            raise TemplateError(
                f"{source}: {where}.computation: got {cell.computation!r:.80}, "
                "allowed are 1 to 100 of A-Z a-z 0-9 _ . -"
            )
        if cell.activation is not None:
            known(cell.activation, [*activations, MIXED], "activation")
        return
    check_ranges(cell, source, where)
    if isinstance(cell, GridCell):
        for field in msgspec.structs.fields(cell):
            if getattr(cell, field.name) == ():
                raise TemplateError(f"{source}: {where}.{field.name}: a grid needs at least one value, got []")
        for computation in cell.computation:
            known(computation, COMPUTATIONS, "computation")
        for activation in cell.activation:
            known(activation, activations, "activation")
        return
    known(cell.computation, COMPUTATIONS, "computation")
    for activation, _ in cell.families():
        known(activation, activations, "activation")
    if not cell.families():
        raise TemplateError(f"{source}: {where}.count: asks for no network at all")
