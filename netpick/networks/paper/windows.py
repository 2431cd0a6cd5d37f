"""Operations that slide a window over their input: convolutions and poolings, in 1, 2 or 3 dimensions.

The functions make rows of the table of operations. Sizes are those of the formulas in torch.nn's documentation; what
the real modules do is checked against this by tests.
"""

from __future__ import annotations

import math
from typing import Any

from netpick.core.errors import SpecError
from netpick.networks.paper.arguments import (
    BOOL,
    DIVISOR,
    INT,
    PLACED,
    Option,
    one_of,
    only,
    optional,
    padding,
    sizes,
    sizes_or_same,
)
from netpick.networks.paper.operation import Args, Operation, Shape, want_dims

_ONE_OUTPUT = {"return_indices": Option(only(False, "since a layer has one output"), False)}


def places(size: int, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1, ceil: bool = False) -> int:
    """Return how many places a window has; with `ceil` it may begin in the input and end behind the padding."""
    room = size + 2 * pad - dilation * (kernel - 1) - 1
    out = (-(-room // stride) if ceil else room // stride) + 1
    return out - 1 if ceil and (out - 1) * stride >= size + pad else out


def conv(dims: int) -> Operation:
    """Make the row of a convolution."""
    name = f"Conv{dims}d"
    each = sizes(dims)
    return Operation(
        "computation",
        {
            "in_channels": INT,
            "out_channels": INT,
            "kernel_size": each,
            "stride": each,
            "padding": padding(dims),
            "dilation": each,
            "groups": INT,
            "bias": BOOL,
        },
        {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True},
        lambda given, args: _conv_shape(name, dims, given, args),
        lambda given, out, args: args["out_channels"] * (_weights(args) + args["bias"]),
        lambda given, out, args: math.prod(out) * _weights(args),
        options={"padding_mode": Option(one_of("zeros", "reflect", "replicate", "circular"), "zeros"), **PLACED},
        settled=lambda args: _settled_padding(name, args),
    )


def _weights(args: Args) -> int:
    """Return the weights of one output channel."""
    return args["in_channels"] // args["groups"] * math.prod(args["kernel_size"])


def _around(args: Args) -> list[int]:
    """Return what padding 'same' adds to each size, on both sides together."""
    return [step * (span - 1) for span, step in zip(args["kernel_size"], args["dilation"], strict=True)]


def _settled_padding(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """Write the padding 'same' in numbers; where it is not the same on both sides, the word stays."""
    if args["padding"] == "same":
        if any(step != 1 for step in args["stride"]):
            raise SpecError(f"{name} with padding 'same' wants a stride of 1, got {list(args['stride'])}")
        around = _around(args)
        if not any(more % 2 for more in around):
            args["padding"] = tuple(more // 2 for more in around)
    return args


def _conv_shape(name: str, dims: int, given: Shape, args: Args) -> Shape:
    want_dims(name, given, dims + 1)
    if given[0] != args["in_channels"]:
        raise SpecError(f"{name} wants in_channels = {args['in_channels']}, got an input of shape {list(given)}")
    if args["in_channels"] % args["groups"] or args["out_channels"] % args["groups"]:
        raise SpecError(
            f"{name} wants channels that groups = {args['groups']} divides, "
            f"got {args['in_channels']} and {args['out_channels']}"
        )
    if args["padding"] == "same":
        pads = [more - more // 2 for more in _around(args)]  # on the wider side
        out = given[1:]
    else:
        pads = args["padding"]
        windows = zip(given[1:], args["kernel_size"], args["stride"], pads, args["dilation"], strict=True)
        out = tuple(places(*window) for window in windows)
    _check_mode(name, args.get("padding_mode", "zeros"), pads, given)
    if min(out) < 1:
        raise SpecError(f"{name} with kernel_size {list(args['kernel_size'])} does not fit into {list(given)}")
    return (args["out_channels"], *out)


def _check_mode(name: str, mode: str, pads: Any, given: Shape) -> None:
    """Refuse a padding that takes more values of the input than there are."""
    most = {"reflect": -1, "circular": 0}.get(mode, math.inf)
    if any(pad > size + most for pad, size in zip(pads, given[1:], strict=True)):
        below = "below" if most else "up to"
        raise SpecError(f"{name} with padding_mode '{mode}' wants a padding {below} each size of {list(given)}")


def pool(name: str, dims: int) -> Operation:
    """Make the row of a pooling."""
    each = sizes(dims)
    if name.startswith("Max"):
        options = {"dilation": Option(each, (1,) * dims), **_ONE_OUTPUT, "ceil_mode": Option(BOOL, False)}
    else:
        options = {"ceil_mode": Option(BOOL, False), "count_include_pad": Option(BOOL, True)}
        if dims > 1:
            options["divisor_override"] = Option(optional(DIVISOR), None)
    return Operation(
        "pooling",
        {"kernel_size": each, "stride": optional(each), "padding": sizes(dims, 0)},
        {"stride": None, "padding": 0},
        lambda given, args: _pool_shape(name, dims, given, args),
        options=options,
        settled=lambda args: {**args, "stride": args["stride"] or args["kernel_size"]},
    )


def _pool_shape(name: str, dims: int, given: Shape, args: Args) -> Shape:
    want_dims(name, given, dims + 1)
    kernel, pads = args["kernel_size"], args["padding"]
    dilation = args.get("dilation", (1,) * dims)
    if any(2 * pad > size for size, pad in zip(kernel, pads, strict=True)):
        raise SpecError(f"{name} wants a padding of at most half the kernel_size, got {list(pads)}")
    windows = zip(given[1:], kernel, args["stride"], pads, dilation, strict=True)
    out = tuple(places(*window, ceil=args.get("ceil_mode", False)) for window in windows)
    # torch wants the kernel of this one to fit even without the padding.
    too_small = name == "AvgPool3d" and any(span > size for span, size in zip(kernel, given[1:], strict=True))
    if min(out) < 1 or too_small:
        raise SpecError(f"{name} with kernel_size {list(kernel)} does not fit into {list(given)}")
    return (given[0], *out)


def adaptive_pool(name: str, dims: int) -> Operation:
    """Make the row of a pooling to a given size."""

    def shape(given: Shape, args: Args) -> Shape:
        want_dims(name, given, dims + 1)
        return (given[0], *(size or same for size, same in zip(args["output_size"], given[1:], strict=True)))

    kind = sizes_or_same(dims) if dims > 1 else sizes(dims)  # as torch
    return Operation("pooling", {"output_size": kind}, {}, shape, options=_ONE_OUTPUT if "Max" in name else {})
