"""What layers without windows do to a shape, and what they cost: reshapes, products, norms, blocks and joins.

The functions make rows of the table in `operations`, or are parts of them; convolutions and poolings are in `windows`.
Shapes are per sample, without the batch dimension. What the real modules do is checked against this by tests.
"""

from __future__ import annotations

import math
from dataclasses import replace

from netpick.core.errors import SpecError, suggest
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.arguments import (
    BOOL,
    DIM,
    IN_PLACE,
    INT,
    LAST_SIZES,
    NOT_NEGATIVE,
    NUMBER,
    PLACED,
    RATE,
    Option,
    only,
    optional,
)
from netpick.networks.paper.operation import Args, Operation, Shape, want_dims
from netpick.networks.paper.windows import places

_EPS = {"eps": Option(NOT_NEGATIVE, 1e-5)}
_AFFINE = {"affine": Option(BOOL, True), "bias": Option(BOOL, True)}
DROPOUT = Operation("regularisation", {"p": RATE}, {"p": 0.5}, options=IN_PLACE)
FLATTENED = {"start_dim": Option(DIM, 1), "end_dim": Option(DIM, -1)}


def reshape(given: Shape, args: Args) -> Shape:
    """Give the shape that was asked for, of as many values."""
    shape = tuple(args["shape"])
    if math.prod(shape) != math.prod(given):
        raise SpecError(f"Reshape to {list(shape)} wants {math.prod(shape)} values, got {list(given)}")
    return shape


def flatten(given: Shape, args: Args) -> Shape:
    """Give one dimension in place of some, by default of all."""
    dims = len(given) + 1  # those of a batch, which is the first
    first, last = (args.get(name, FLATTENED[name].default) for name in ("start_dim", "end_dim"))
    start, end = (dim + dims if dim < 0 else dim for dim in (first, last))
    if not 1 <= start <= end < dims:
        raise SpecError(f"Flatten wants dimensions of a batch of {list(given)} in order, got {first} to {last}")
    return (*given[: start - 1], math.prod(given[start - 1 : end]), *given[end:])


def binary(given: Shape, args: Args) -> Shape:
    """Give a score for each of two classes."""
    if given != (1,):
        raise SpecError(f"BinaryLogSigmoid wants one output, an input of shape [1], got {list(given)}")
    return (2,)


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


def batch_norm(name: str, dims: int) -> Operation:
    """Make the row of a batch norm."""

    def shape(given: Shape, args: Args) -> Shape:
        if not (dims == 1 and len(given) == 1):  # BatchNorm1d takes [features] too
            want_dims(name, given, dims + 1)
        if given[0] != args["num_features"]:
            raise SpecError(f"{name} wants num_features = {args['num_features']}, got an input of shape {list(given)}")
        return given

    return Operation(
        "normalisation",
        {"num_features": INT},
        {},
        shape,
        lambda given, out, args: _scales_and_shifts(args["num_features"], args),
        options={
            **_EPS,
            "momentum": Option(optional(NUMBER), 0.1),
            **_AFFINE,
            "track_running_stats": Option(
                only(True, "since without them the scores of a sample depend on the others of its batch"), True
            ),
            **PLACED,
        },
    )


def _scales_and_shifts(count: int, args: Args) -> int:
    """Count the parameters of a norm, where it has them."""
    return count * (1 + args.get("bias", True)) if args.get("affine", True) else 0


def _block_sizes(given: Shape, args: Args) -> tuple[int, int]:
    return places(given[1], 3, args["stride"], 1), places(given[2], 3, args["stride"], 1)


def block(given: Shape, args: Args) -> Shape:
    """Give the shape after a residual block."""
    want_dims("BasicBlock", given, 3)
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
        want_dims(f"Dropout{dims}d", given, dims + 1)
        return given

    return replace(DROPOUT, shape=shape)


def _layer_norm_shape(given: Shape, args: Args) -> Shape:
    wanted = args["normalized_shape"]
    if given[-len(wanted) :] != wanted:
        raise SpecError(f"LayerNorm wants an input whose last sizes are {list(wanted)}, got {list(given)}")
    return given


def layer_norm() -> Operation:
    """Make the row of a norm over the last sizes of each sample."""

    def params(given: Shape, out: Shape, args: Args) -> int:
        affine = args.get("elementwise_affine", True)
        return _scales_and_shifts(math.prod(args["normalized_shape"]), {**args, "affine": affine})

    options = {**_EPS, "elementwise_affine": Option(BOOL, True), "bias": Option(BOOL, True), **PLACED}
    return Operation("normalisation", {"normalized_shape": LAST_SIZES}, {}, _layer_norm_shape, params, options=options)


def _group_norm_shape(given: Shape, args: Args) -> Shape:
    groups, channels = args["num_groups"], args["num_channels"]
    if given[0] != channels:
        raise SpecError(f"GroupNorm wants num_channels = {channels}, got an input of shape {list(given)}")
    if channels % groups:
        raise SpecError(f"GroupNorm wants channels that num_groups = {groups} divides, got {channels}")
    if math.prod(given) == groups:
        raise SpecError(f"GroupNorm wants more than one value a group, got {list(given)} in {groups} groups")
    return given


def group_norm() -> Operation:
    """Make the row of a norm over groups of channels of each sample."""
    return Operation(
        "normalisation",
        {"num_groups": INT, "num_channels": INT},
        {},
        _group_norm_shape,
        lambda given, out, args: _scales_and_shifts(args["num_channels"], args),
        options={**_EPS, **_AFFINE, **PLACED},
    )


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
