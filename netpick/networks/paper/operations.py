"""The operations that a layer can be: arguments, shapes, parameters and multiply-accumulates, worked out on paper.

One table, `OPERATIONS`, from the name of a `torch.nn` class (or `Reshape`, `BasicBlock`, `Add`, `Concat`) to what can
be known of it without building it. A catalogue is enumerated and checked with this table alone; `build` turns the same
names into modules, and `measure` counts on the real modules, so that each is a check of the other. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from netpick.core.errors import SpecError, listed, suggest
from netpick.networks.paper import activations, shapes, windows
from netpick.networks.paper.arguments import (
    BOOL,
    CLASS_DIM,
    CLASS_OF_TWO,
    IGNORED,
    INT,
    LAYER,
    MAX_SIZE,
    PLACED,
    SHAPE,
    WORD,
    Option,
)
from netpick.networks.paper.operation import Args, Operation, Shape
from netpick.networks.paper.whole_networks import WHOLE

OPERATIONS: dict[str, Operation] = {
    "Reshape": Operation("reshape", {"shape": SHAPE}, {}, shapes.reshape),
    "Flatten": Operation("reshape", shape=shapes.flatten, options=shapes.FLATTENED),
    "Linear": Operation(
        "computation",
        {"in_features": INT, "out_features": INT, "bias": BOOL},
        {"bias": True},
        shapes.linear,
        shapes.linear_params,
        shapes.linear_macs,
        options=PLACED,
    ),
    **{f"Conv{n}d": windows.conv(n) for n in (1, 2, 3)},
    "BasicBlock": Operation(
        "computation",
        {"inplanes": INT, "planes": INT, "stride": INT, "activation": WORD},
        {"stride": 1, "activation": "ReLU"},
        shapes.block,
        shapes.block_params,
        shapes.block_macs,
    ),
    **activations.OPERATIONS,
    **{f"MaxPool{n}d": windows.pool(f"MaxPool{n}d", n) for n in (1, 2, 3)},
    **{f"AvgPool{n}d": windows.pool(f"AvgPool{n}d", n) for n in (1, 2, 3)},
    **{f"AdaptiveAvgPool{n}d": windows.adaptive_pool(f"AdaptiveAvgPool{n}d", n) for n in (1, 2, 3)},
    **{f"AdaptiveMaxPool{n}d": windows.adaptive_pool(f"AdaptiveMaxPool{n}d", n) for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": shapes.batch_norm(f"BatchNorm{n}d", n) for n in (1, 2, 3)},
    "LayerNorm": shapes.layer_norm(),
    "GroupNorm": shapes.group_norm(),
    "Dropout": shapes.DROPOUT,
    **{f"Dropout{n}d": shapes.channel_dropout(n) for n in (1, 2, 3)},
    "AlphaDropout": replace(shapes.DROPOUT, options={"inplace": Option(IGNORED, False)}),
    "Add": Operation("skip", {"from": LAYER}, join=shapes.add),
    "Concat": Operation("skip", {"from": LAYER}, join=shapes.concat),
    "Identity": Operation("identity"),
    "LogSoftmax": Operation("output", {"dim": CLASS_DIM}, {"dim": 1}),
    "BinaryLogSigmoid": Operation("output", {"positive": CLASS_OF_TWO}, {"positive": 1}, shapes.binary),
    "Softmax": Operation("output", {"dim": CLASS_DIM}, {"dim": 1}),
}

ENDS = ("LogSoftmax", "BinaryLogSigmoid")
"""Operations that give the logarithms of the classes' probabilities: what a network's last layer is one of."""


def find(op: str) -> Operation | None:
    """Return what is known of an operation, one that is a whole network included; None where there is none."""
    return OPERATIONS.get(op) or WHOLE.get(op)


def _unknown(op: str) -> str:
    source, colon, _ = op.partition(":")
    allowed = [name for name in WHOLE if colon and name.startswith(f"{source}:")]
    near = suggest(op, allowed or [*OPERATIONS, *WHOLE])
    if not allowed:
        sources = sorted({name.partition(":")[0] for name in WHOLE})
        allowed = [*OPERATIONS, *(f"{source}:..." for source in sources)]
    return f"unknown operation '{op:.100}'{near}; allowed are {listed(allowed, 100)}"


def resolve(op: str, args: Args) -> dict[str, Any]:
    """Return all arguments of a layer, defaults filled in and sizes written out, in the operation's order.

    Of torch's further arguments, the `options`, there are those that differ from torch's default.

    Raises
    ------
    SpecError
        The operation or an argument is unknown, an argument is missing or has a wrong value.
    """
    known = find(op)
    if known is None:
        raise SpecError(_unknown(op))
    for name in args:
        if name not in known.arguments and name not in known.options:
            names = [*known.arguments, *known.options]
            raise SpecError(f"{op} has no argument '{name}'{suggest(name, names)}; allowed: {listed(names) or 'none'}")
    out: dict[str, Any] = {}
    for name, kind in known.arguments.items():
        if name not in args and name not in known.defaults:
            raise SpecError(f"{op} needs the argument '{name}'")
        out[name] = kind.read(f"{op}.{name}", args[name] if name in args else known.defaults[name])
    for name, option in known.options.items():
        if name in args:
            value = option.kind.read(f"{op}.{name}", args[name])
            if value != option.default:
                out[name] = value
    return known.settled(out)


def output_shape(op: str, args: Args, given: Shape, before: Sequence[Shape] = ()) -> Shape:
    """Return the per-sample shape that an operation makes of the shape `given`; raise SpecError if it can't.

    `before` has the shapes that an operation with `join` may take: the network's input, then the output of each layer
    before this one, the last of which is `given`.
    """
    row = OPERATIONS.get(op) or WHOLE[op]
    if row.join:
        source = args["from"]
        if len(before) < 2:
            raise SpecError(f"{op} wants an earlier layer to go back to, got the first layer")
        if source > len(before) - 3:
            allowed = "-1" if len(before) == 2 else f"-1 to {len(before) - 3}"
            raise SpecError(
                f"{op} wants from = {allowed} (-1 is the network's input), a layer before its own input, got {source}"
            )
        out = row.join(given, before[source + 1], args)
    else:
        out = row.shape(given, args)
    if math.prod(out) >= MAX_SIZE:
        raise SpecError(f"{op} makes an output of {math.prod(out):.1e} values, more than any machine can hold")
    params = row.params(given, out, args)
    if params >= MAX_SIZE:
        raise SpecError(f"{op} has {params:.1e} parameters, more than any machine can hold")
    return out
