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
NaturalRange = Natural | Annotated[list[Natural], Meta(min_length=2, max_length=2)]
RateRange = Rate | Annotated[list[Rate], Meta(min_length=2, max_length=2)]
PoolKind = Literal["max", "avg"]
Layers = list[dict[str, Any]]

# What a key of a grid may have for one network: a value for all layers, a list with one for each; among those a list is
# one for each dimension.
Whole = Positive | list[Positive]
Sizes = Positive | list[Positive | list[Positive]]
NaturalSizes = Natural | list[Natural | list[Natural]]


class SampledOptions(Strict, frozen=True, kw_only=True):
    """What a sampled cell draws from, and what it must keep to; `[defaults]` of a template has the same keys.

    A range is `[lowest, highest]`, both included and equally likely, or one number.
    """

    depth: Range = msgspec.field(default_factory=lambda: [2, 6])
    linear_depth: Range = msgspec.field(default_factory=lambda: [1, 3])
    features: Range = msgspec.field(default_factory=lambda: [10, 500])
    channels: Range = msgspec.field(default_factory=lambda: [2, 64])
    planes: Range = msgspec.field(default_factory=lambda: [4, 64])
    kernel_size: Range = msgspec.field(default_factory=lambda: [2, 7])
    stride: Range = msgspec.field(default_factory=lambda: [1, 2])
    square: Probability = 1.0
    bias: Probability = 0.35
    activate: Probability = 0.5
    end: tuple[Literal["Conv2d", "Linear"], ...] = ("Conv2d", "Linear")
    factorisation: Triple | Literal["cubic", "random"] = "cubic"
    input_shape: Literal["image", "random"] | list[Positive] = "image"
    conv_stride: Range = 1
    dilation: Range = 1
    padding: NaturalRange | Literal["same"] = 0
    groups: Range = 1
    depthwise: Probability = 0.0
    batch_norm: Probability = 0.0
    skip: Probability = 0.0
    pool: Probability = 0.0
    pool_kind: tuple[PoolKind, ...] = ("max",)
    pool_size: Range = 2
    global_pool: Probability = 0.0
    dropout: Probability = 0.0
    dropout_p: RateRange = 0.5
    min_params: Positive | None = None
    max_params: Positive | None = None
    min_macs: Positive | None = None
    max_macs: Positive | None = None


class SampledCell(SampledOptions, frozen=True, kw_only=True, tag_field="kind", tag="sampled"):
    """Networks of one computation, drawn at random: `count` of `activation`, or a table {activation: count}."""

    computation: str
    count: Positive | dict[str, Annotated[int, Meta(ge=0)]]
    activation: str = "None"
    recipe: dict[str, Any] = msgspec.field(default_factory=dict)

    def families(self) -> list[tuple[str, int]]:
        """Return (activation, count) of each family."""
        if isinstance(self.count, int):
            return [(self.activation, self.count)]
        return [(activation, count) for activation, count in self.count.items() if count]


class GridCell(Strict, frozen=True, kw_only=True, tag_field="kind", tag="grid"):
    """Every combination of the listed values; a width, kernel or bias holds for all layers, a list for each in turn."""

    computation: tuple[str, ...]
    activation: tuple[str, ...] = ("None",)
    depth: tuple[Positive, ...] = (2,)
    linear_depth: tuple[Positive, ...] = (1,)
    features: tuple[Whole, ...] = (64,)
    channels: tuple[Whole, ...] = (16,)
    planes: tuple[Whole, ...] = (16,)
    kernel_size: tuple[Sizes, ...] = (3,)
    stride: tuple[Whole, ...] = (1,)
    bias: tuple[bool, ...] = (True,)
    end: tuple[Literal["Conv2d", "Linear"], ...] = ("Linear",)
    factorisation: tuple[Triple | Literal["cubic"], ...] = ("cubic",)
    input_shape: tuple[Literal["image"] | list[Positive], ...] = ("image",)
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
    layers: Layers
    computation: str | None = None
    activation: str | None = None
    recipe: dict[str, Any] = msgspec.field(default_factory=dict)


Cell = SampledCell | GridCell | ExplicitCell

KINDS: dict[str, type[Struct]] = {"sampled": SampledCell, "grid": GridCell, "explicit": ExplicitCell}
NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
RANGES = [f.name for f in msgspec.structs.fields(SampledOptions) if f.type in (Range, RateRange)] + ["padding"]


def check_ranges(options: Struct, source: str, where: str) -> None:
    """Refuse ranges whose end lies before their start."""
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
    for key, words in (("end", "Conv2d, Linear"), ("pool_kind", "max, avg")):
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
