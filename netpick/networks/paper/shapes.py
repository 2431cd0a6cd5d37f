"""What each kind of operation does to a shape, and what it costs, worked out on paper.

`Operation` is a row of the table in `operations`; the functions here make such rows. Shapes are per sample, without the
batch dimension. What the real modules do is checked against this by tests. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netpick.core.errors import SpecError, suggest

Shape = tuple[int, ...]
Args = Mapping[str, Any]

ACTIVATIONS = [
    "CELU",
    "ELU",
    "GELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
]
"""Every elementwise activation of torch.nn that needs no argument.

Left out, with the reason: Threshold and MultiheadAttention need arguments; GLU halves its input; Softmax, Softmax2d,
Softmin and LogSoftmax normalise over a dimension instead of working on each element.
"""


@dataclass(frozen=True)
class Operation:
    """What is known of an operation: shapes are per sample, without the batch dimension.

    `arguments` maps each argument to its kind (`int`, `bool`, `float`, `positive`, `str`, `one of A B`, `shape`, `dim`,
    `layer`, `sizes` for one or more integers, or `sizes1` to `sizes3` for one or N); `defaults` has the optional ones,
    None for one that follows `kernel_size`, or for no value where there is none. `shape(input, args)` gives the output
    shape or raises SpecError; `params` and `macs` count from input shape, output shape and arguments. An operation with
    `join` takes the output of an earlier layer too, the one that its argument `from` says: `join(input, earlier, args)`
    then gives the output shape in place of `shape`.
    """

    role: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    shape: Callable[[Shape, Args], Shape] = lambda given, args: given
    params: Callable[[Shape, Shape, Args], int] = lambda given, out, args: 0
    macs: Callable[[Shape, Shape, Args], int] = lambda given, out, args: 0
    join: Callable[[Shape, Shape, Args], Shape] | None = None


def _spatial(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Size after a convolution or pooling, by the formula in torch.nn.Conv2d's documentation."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _want_dims(name: str, given: Shape, dims: int) -> None:
    if len(given) != dims:
        wanted = {1: "[features]", 2: "[channels, length]", 3: "[channels, height, width]"}.get(
            dims, "[channels, depth, height, width]"
        )
        raise SpecError(f"{name} wants an input of shape {wanted}, got {list(given)}")


def reshape(given: Shape, args: Args) -> Shape:
    """Give the shape that was asked for, of as many values."""
    shape = tuple(args["shape"])
    if math.prod(shape) != math.prod(given):
        raise SpecError(f"Reshape to {list(shape)} wants {math.prod(shape)} values, got {list(given)}")
    return shape


def flatten(given: Shape, args: Args) -> Shape:
    """Give one dimension."""
    return (math.prod(given),)


def linear(given: Shape, args: Args) -> Shape:
    """Replace the last size."""
    if given[-1] != args["in_features"]:
        raise SpecError(f"Linear wants in_features = {args['in_features']}, got an input of shape {list(given)}")
    return (*given[:-1], args["out_features"])


def linear_params(given: Shape, out: Shape, args: Args) -> int:
    """Count the weights and the biases."""
    return args["out_features"] * (args["in_features"] + args["bias"])


def linear_macs(given: Shape, out: Shape, args: Args) -> int:
    """Count one product an input value and output value."""
    return math.prod(out) * args["in_features"]


def conv(dims: int) -> Operation:
    """Make the row of a convolution in 1, 2 or 3 dimensions."""
    name = f"Conv{dims}d"

    def shape(given: Shape, args: Args) -> Shape:
        _want_dims(name, given, dims + 1)
        if given[0] != args["in_channels"]:
            raise SpecError(f"{name} wants in_channels = {args['in_channels']}, got an input of shape {list(given)}")
        if args["in_channels"] % args["groups"] or args["out_channels"] % args["groups"]:
            raise SpecError(
                f"{name} wants channels that groups = {args['groups']} divides, "
                f"got {args['in_channels']} and {args['out_channels']}"
            )
        sizes = zip(given[1:], args["kernel_size"], args["stride"], args["padding"], args["dilation"], strict=True)
        out = tuple(_spatial(*five) for five in sizes)
        if min(out) < 1:
            raise SpecError(f"{name} with kernel_size {list(args['kernel_size'])} does not fit into {list(given)}")
        return (args["out_channels"], *out)

    def params(given: Shape, out: Shape, args: Args) -> int:
        per_output = args["in_channels"] // args["groups"] * math.prod(args["kernel_size"])
        return args["out_channels"] * (per_output + args["bias"])

    def macs(given: Shape, out: Shape, args: Args) -> int:
        return math.prod(out) * (args["in_channels"] // args["groups"]) * math.prod(args["kernel_size"])

    sizes = f"sizes{dims}"
    return Operation(
        "computation",
        {
            "in_channels": "int",
            "out_channels": "int",
            "kernel_size": sizes,
            "stride": sizes,
            "padding": sizes + "+0",
            "dilation": sizes,
            "groups": "int",
            "bias": "bool",
        },
        {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True},
        shape,
        params,
        macs,
    )


def pool(name: str, dims: int) -> Operation:
    """Make the row of a pooling."""

    def shape(given: Shape, args: Args) -> Shape:
        _want_dims(name, given, dims + 1)
        sizes = zip(given[1:], args["kernel_size"], args["stride"], args["padding"], strict=True)
        if any(2 * p > k for k, p in zip(args["kernel_size"], args["padding"], strict=True)):
            raise SpecError(f"{name} wants a padding of at most half the kernel_size, got {list(args['padding'])}")
        out = tuple(_spatial(*four) for four in sizes)
        # torch wants the kernel of this one to fit even without the padding.
        too_small = name == "AvgPool3d" and any(k > s for k, s in zip(args["kernel_size"], given[1:], strict=True))
        if min(out) < 1 or too_small:
            raise SpecError(f"{name} with kernel_size {list(args['kernel_size'])} does not fit into {list(given)}")
        return (given[0], *out)

    sizes = f"sizes{dims}"
    return Operation(
        "pooling",
        {"kernel_size": sizes, "stride": sizes, "padding": sizes + "+0"},
        {"stride": None, "padding": 0},
        shape,
    )


def adaptive_pool(name: str, dims: int) -> Operation:
    """Make the row of a pooling to a given size."""

    def shape(given: Shape, args: Args) -> Shape:
        _want_dims(name, given, dims + 1)
        return (given[0], *args["output_size"])

    return Operation("pooling", {"output_size": f"sizes{dims}"}, {}, shape)


def batch_norm(name: str, dims: int) -> Operation:
    """Make the row of a batch norm."""

    def shape(given: Shape, args: Args) -> Shape:
        if not (dims == 1 and len(given) == 1):  # BatchNorm1d takes [features] too
            _want_dims(name, given, dims + 1)
        if given[0] != args["num_features"]:
            raise SpecError(f"{name} wants num_features = {args['num_features']}, got an input of shape {list(given)}")
        return given

    return Operation(
        "normalisation", {"num_features": "int"}, {}, shape, lambda given, out, args: 2 * args["num_features"]
    )


def _block_sizes(given: Shape, args: Args) -> tuple[int, int]:
    return _spatial(given[1], 3, args["stride"], 1), _spatial(given[2], 3, args["stride"], 1)


def block(given: Shape, args: Args) -> Shape:
    """Give the shape after a residual block."""
    _want_dims("BasicBlock", given, 3)
    if given[0] != args["inplanes"]:
        raise SpecError(f"BasicBlock wants inplanes = {args['inplanes']}, got an input of shape {list(given)}")
    if args["activation"] not in ("None", *ACTIVATIONS):
        raise SpecError(
            f"BasicBlock has no activation '{args['activation']}'{suggest(args['activation'], ACTIVATIONS)}"
        )
    return (args["planes"], *_block_sizes(given, args))


def _has_shortcut(args: Args) -> bool:
    """Whether the skip connection needs a 1×1 convolution, because the shapes differ."""
    return args["stride"] != 1 or args["inplanes"] != args["planes"]


def block_params(given: Shape, out: Shape, args: Args) -> int:
    """Count those of the convolutions, the batch norms and the slopes of PReLU."""
    i, p = args["inplanes"], args["planes"]
    shortcut = (i * p + 2 * p) if _has_shortcut(args) else 0
    slopes = 2 * (args["activation"] == "PReLU")
    return 9 * i * p + 2 * p + 9 * p * p + 2 * p + shortcut + slopes


def block_macs(given: Shape, out: Shape, args: Args) -> int:
    """Count those of the convolutions."""
    i, p = args["inplanes"], args["planes"]
    return math.prod(out[1:]) * (9 * i * p + 9 * p * p + (i * p if _has_shortcut(args) else 0))


def channel_dropout(dims: int) -> Operation:
    """Dropout of whole channels."""

    def shape(given: Shape, args: Args) -> Shape:
        _want_dims(f"Dropout{dims}d", given, dims + 1)
        return given

    return Operation("regularisation", {"p": "float"}, {"p": 0.5}, shape)


def layer_norm(given: Shape, args: Args) -> Shape:
    """Keep the shape, whose last sizes must be the norm's."""
    wanted = args["normalized_shape"]
    if given[-len(wanted) :] != wanted:
        raise SpecError(f"LayerNorm wants an input whose last sizes are {list(wanted)}, got {list(given)}")
    return given


def group_norm(given: Shape, args: Args) -> Shape:
    """Keep the shape; the groups must divide the channels."""
    groups, channels = args["num_groups"], args["num_channels"]
    if given[0] != channels:
        raise SpecError(f"GroupNorm wants num_channels = {channels}, got an input of shape {list(given)}")
    if channels % groups:
        raise SpecError(f"GroupNorm wants channels that num_groups = {groups} divides, got {channels}")
    if math.prod(given) == groups:
        raise SpecError(f"GroupNorm wants more than one value a group, got {list(given)} in {groups} groups")
    return given


def _from(args: Args) -> str:
    return "the network's input" if args["from"] == -1 else f"layer {args['from']}"


def add(given: Shape, earlier: Shape, args: Args) -> Shape:
    """Keep the shape; both must be equal."""
    if given != earlier:
        raise SpecError(f"Add wants two equal shapes, got {list(given)}, and {list(earlier)} from {_from(args)}")
    return given


def concat(given: Shape, earlier: Shape, args: Args) -> Shape:
    """Add up the channels; all other sizes must be equal."""
    if given[1:] != earlier[1:] or len(given) != len(earlier):
        raise SpecError(
            "Concat wants two shapes that differ in the first size alone, "
            f"got {list(given)}, and {list(earlier)} from {_from(args)}"
        )
    return (given[0] + earlier[0], *given[1:])
