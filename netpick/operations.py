"""The operations that a layer can be: arguments, shapes, parameters and multiply-accumulates, worked out on paper.

One table, `OPERATIONS`, from the name of a `torch.nn` class (or `Reshape`, `BasicBlock`) to what can be known of it
without building it. A catalogue is enumerated and checked with this table alone; `build` turns the same names into
modules, and `measure` counts on the real modules, so that each is a check of the other. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netpick.errors import SpecError, listed, suggest

Shape = tuple[int, ...]
Args = Mapping[str, Any]

MAX_SIZE = 2**40
"""No dimension, and no product of dimensions, of a network that can be trained comes near this."""


@dataclass(frozen=True)
class Operation:
    """What is known of an operation: shapes are per sample, without the batch dimension.

    `arguments` maps each argument to its kind (`int`, `bool`, `float`, `str`, `shape`, `dim`, or `sizes1` to `sizes3`
    for one or N integers); `defaults` has the optional ones, None for one that follows `kernel_size`.
    `shape(input, args)` gives the output shape or raises SpecError; `params` and `macs` count from input shape, output
    shape and arguments.
    """

    role: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    shape: Callable[[Shape, Args], Shape] = lambda given, args: given
    params: Callable[[Shape, Shape, Args], int] = lambda given, out, args: 0
    macs: Callable[[Shape, Shape, Args], int] = lambda given, out, args: 0


def _spatial(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Size after a convolution or pooling, by the formula in torch.nn.Conv2d's documentation."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _want_dims(name: str, given: Shape, dims: int) -> None:
    if len(given) != dims:
        wanted = {1: "[features]", 2: "[channels, length]", 3: "[channels, height, width]"}.get(
            dims, "[channels, depth, height, width]"
        )
        raise SpecError(f"{name} wants an input of shape {wanted}, got {list(given)}")


def _reshape(given: Shape, args: Args) -> Shape:
    shape = tuple(args["shape"])
    if math.prod(shape) != math.prod(given):
        raise SpecError(f"Reshape to {list(shape)} wants {math.prod(shape)} values, got {list(given)}")
    return shape


def _flatten(given: Shape, args: Args) -> Shape:
    return (math.prod(given),)


def _linear(given: Shape, args: Args) -> Shape:
    if given[-1] != args["in_features"]:
        raise SpecError(f"Linear wants in_features = {args['in_features']}, got an input of shape {list(given)}")
    return (*given[:-1], args["out_features"])


def _linear_params(given: Shape, out: Shape, args: Args) -> int:
    return args["out_features"] * (args["in_features"] + args["bias"])


def _linear_macs(given: Shape, out: Shape, args: Args) -> int:
    return math.prod(out) * args["in_features"]


def _conv(dims: int) -> Operation:
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


def _pool(name: str, dims: int) -> Operation:
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


def _adaptive_pool(name: str, dims: int) -> Operation:
    def shape(given: Shape, args: Args) -> Shape:
        _want_dims(name, given, dims + 1)
        return (given[0], *args["output_size"])

    return Operation("pooling", {"output_size": f"sizes{dims}"}, {}, shape)


def _batch_norm(name: str, dims: int) -> Operation:
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


def _block(given: Shape, args: Args) -> Shape:
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


def _block_params(given: Shape, out: Shape, args: Args) -> int:
    i, p = args["inplanes"], args["planes"]
    shortcut = (i * p + 2 * p) if _has_shortcut(args) else 0
    slopes = 2 * (args["activation"] == "PReLU")
    return 9 * i * p + 2 * p + 9 * p * p + 2 * p + shortcut + slopes


def _block_macs(given: Shape, out: Shape, args: Args) -> int:
    i, p = args["inplanes"], args["planes"]
    return math.prod(out[1:]) * (9 * i * p + 9 * p * p + (i * p if _has_shortcut(args) else 0))


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

OPERATIONS: dict[str, Operation] = {
    "Reshape": Operation("reshape", {"shape": "shape"}, {}, _reshape),
    "Flatten": Operation("reshape", {}, {}, _flatten),
    "Linear": Operation(
        "computation",
        {"in_features": "int", "out_features": "int", "bias": "bool"},
        {"bias": True},
        _linear,
        _linear_params,
        _linear_macs,
    ),
    **{f"Conv{n}d": _conv(n) for n in (1, 2, 3)},
    "BasicBlock": Operation(
        "computation",
        {"inplanes": "int", "planes": "int", "stride": "int", "activation": "str"},
        {"stride": 1, "activation": "ReLU"},
        _block,
        _block_params,
        _block_macs,
    ),
    **{name: Operation("activation") for name in ACTIVATIONS},
    "PReLU": Operation("activation", params=lambda given, out, args: 1),
    **{f"MaxPool{n}d": _pool(f"MaxPool{n}d", n) for n in (1, 2, 3)},
    **{f"AvgPool{n}d": _pool(f"AvgPool{n}d", n) for n in (1, 2, 3)},
    **{f"AdaptiveAvgPool{n}d": _adaptive_pool(f"AdaptiveAvgPool{n}d", n) for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": _batch_norm(f"BatchNorm{n}d", n) for n in (1, 2, 3)},
    "Dropout": Operation("regularisation", {"p": "float"}, {"p": 0.5}),
    "Identity": Operation("identity"),
    "LogSoftmax": Operation("output", {"dim": "dim"}, {"dim": 1}),
    "Softmax": Operation("output", {"dim": "dim"}, {"dim": 1}),
}


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _checked(op: str, name: str, kind: str, value: Any) -> Any:
    """Return `value` in canonical form (tuples for sizes and shapes), or raise SpecError."""
    wanted = f"{op}.{name} wants "
    if kind == "bool":
        if not isinstance(value, bool):
            raise SpecError(f"{wanted}true or false, got {value!r}")
        return value
    if kind == "str":
        if not isinstance(value, str):
            raise SpecError(f"{wanted}a word, got {value!r}")
        return value
    if kind == "float":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise SpecError(f"{wanted}a number from 0 to below 1, got {value!r}")
        return float(value)
    if kind == "dim":
        if not _is_int(value) or value not in (1, -1):
            raise SpecError(f"{wanted}1 or -1, the dimension of the classes, got {value!r}")
        return value
    if kind == "int":
        if not _is_int(value) or not 1 <= value < MAX_SIZE:
            raise SpecError(f"{wanted}a positive integer, got {value!r}")
        return value
    smallest = 0 if kind.endswith("+0") else 1
    dims = None if kind == "shape" else int(kind.removesuffix("+0")[-1])
    values = [value] * dims if dims and _is_int(value) else value
    good = isinstance(values, list | tuple) and all(_is_int(v) and smallest <= v < MAX_SIZE for v in values)
    if not good or (dims and len(values) != dims) or not 1 <= len(values) <= 8:
        many = f"an integer or a list of {dims} integers" if dims else "a list of integers"
        raise SpecError(f"{wanted}{many}, each at least {smallest}, got {value!r}")
    return tuple(values)


def resolve(op: str, args: Args) -> dict[str, Any]:
    """Return all arguments of a layer, defaults filled in and sizes written out, in the operation's order.

    Raises
    ------
    SpecError
        The operation or an argument is unknown, an argument is missing or has a wrong value.
    """
    known = OPERATIONS.get(op)
    if known is None:
        raise SpecError(f"unknown operation '{op}'{suggest(op, OPERATIONS)}; allowed are {listed(OPERATIONS, 60)}")
    for name in args:
        if name not in known.arguments:
            allowed = listed(known.arguments) or "none"
            raise SpecError(f"{op} has no argument '{name}'{suggest(name, known.arguments)}; allowed: {allowed}")
    out: dict[str, Any] = {}
    for name, kind in known.arguments.items():
        if name not in args and name not in known.defaults:
            raise SpecError(f"{op} needs the argument '{name}'")
        value = args.get(name, known.defaults.get(name))
        if value is None and name in known.defaults and known.defaults[name] is None:
            value = args["kernel_size"]  # the stride of a pooling
        out[name] = _checked(op, name, kind, value)
    return out


def output_shape(op: str, args: Args, given: Shape) -> Shape:
    """Return the per-sample shape that an operation makes of the shape `given`; raise SpecError if it can't."""
    out = OPERATIONS[op].shape(given, args)
    if math.prod(out) >= MAX_SIZE:
        raise SpecError(f"{op} makes an output of {math.prod(out):.1e} values, more than any machine can hold")
    params = OPERATIONS[op].params(given, out, args)
    if params >= MAX_SIZE:
        raise SpecError(f"{op} has {params:.1e} parameters, more than any machine can hold")
    return out
