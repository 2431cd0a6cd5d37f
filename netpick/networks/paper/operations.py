"""The operations that a layer can be: arguments, shapes, parameters and multiply-accumulates, worked out on paper.

One table, `OPERATIONS`, from the name of a `torch.nn` class (or `Reshape`, `BasicBlock`, `Add`, `Concat`) to what can
be known of it without building it. A catalogue is enumerated and checked with this table alone; `build` turns the same
names into modules, and `measure` counts on the real modules, so that each is a check of the other. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from netpick.core.errors import SpecError, listed, suggest
from netpick.networks.paper import shapes as paper
from netpick.networks.paper.shapes import ACTIVATIONS, Args, Operation, Shape
from netpick.networks.paper.whole_networks import WHOLE

MAX_SIZE = 2**40
"""No dimension, and no product of dimensions, of a network that can be trained comes near this."""

OPERATIONS: dict[str, Operation] = {
    "Reshape": Operation("reshape", {"shape": "shape"}, {}, paper.reshape),
    "Flatten": Operation("reshape", {}, {}, paper.flatten),
    "Linear": Operation(
        "computation",
        {"in_features": "int", "out_features": "int", "bias": "bool"},
        {"bias": True},
        paper.linear,
        paper.linear_params,
        paper.linear_macs,
    ),
    **{f"Conv{n}d": paper.conv(n) for n in (1, 2, 3)},
    "BasicBlock": Operation(
        "computation",
        {"inplanes": "int", "planes": "int", "stride": "int", "activation": "str"},
        {"stride": 1, "activation": "ReLU"},
        paper.block,
        paper.block_params,
        paper.block_macs,
    ),
    **{name: Operation("activation") for name in ACTIVATIONS},
    "PReLU": Operation("activation", params=lambda given, out, args: 1),
    **{f"MaxPool{n}d": paper.pool(f"MaxPool{n}d", n) for n in (1, 2, 3)},
    **{f"AvgPool{n}d": paper.pool(f"AvgPool{n}d", n) for n in (1, 2, 3)},
    **{f"AdaptiveAvgPool{n}d": paper.adaptive_pool(f"AdaptiveAvgPool{n}d", n) for n in (1, 2, 3)},
    **{f"AdaptiveMaxPool{n}d": paper.adaptive_pool(f"AdaptiveMaxPool{n}d", n) for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": paper.batch_norm(f"BatchNorm{n}d", n) for n in (1, 2, 3)},
    "LayerNorm": Operation(
        "normalisation",
        {"normalized_shape": "sizes"},
        {},
        paper.layer_norm,
        lambda given, out, args: 2 * math.prod(args["normalized_shape"]),
    ),
    "GroupNorm": Operation(
        "normalisation",
        {"num_groups": "int", "num_channels": "int"},
        {},
        paper.group_norm,
        lambda given, out, args: 2 * args["num_channels"],
    ),
    "Dropout": Operation("regularisation", {"p": "float"}, {"p": 0.5}),
    **{f"Dropout{n}d": paper.channel_dropout(n) for n in (1, 2, 3)},
    "AlphaDropout": Operation("regularisation", {"p": "float"}, {"p": 0.5}),
    "Add": Operation("skip", {"from": "layer"}, join=paper.add),
    "Concat": Operation("skip", {"from": "layer"}, join=paper.concat),
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
    if kind.startswith("one of "):
        words = kind.split()[2:]
        if value not in words:
            near = suggest(value, words) if isinstance(value, str) else ""
            raise SpecError(f"{wanted}one of {listed(words)}{near}, got {value!r:.80}")
        return value
    if kind == "positive":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise SpecError(f"{wanted}a positive number, got {value!r:.80}")
        return float(value)
    if kind == "layer":
        if not _is_int(value) or not -1 <= value < MAX_SIZE:
            raise SpecError(f"{wanted}the number of an earlier layer, or -1 for the network's input, got {value!r}")
        return value
    smallest = 0 if kind.endswith("+0") else 1
    dims = None if kind in ("shape", "sizes") else int(kind.removesuffix("+0")[-1])
    values = [value] * (dims or 1) if kind != "shape" and _is_int(value) else value
    good = isinstance(values, list | tuple) and all(_is_int(v) and smallest <= v < MAX_SIZE for v in values)
    if not good or (dims and len(values) != dims) or not 1 <= len(values) <= 8:
        many = f"an integer or a list of {dims} integers" if dims else "a list of integers"
        many = f"an integer or {many}" if kind == "sizes" else many
        raise SpecError(f"{wanted}{many}, each at least {smallest}, got {value!r}")
    return tuple(values)


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

    Raises
    ------
    SpecError
        The operation or an argument is unknown, an argument is missing or has a wrong value.
    """
    known = find(op)
    if known is None:
        raise SpecError(_unknown(op))
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
            if "kernel_size" not in known.arguments:
                out[name] = None
                continue
            value = args["kernel_size"]  # the stride of a pooling
        out[name] = _checked(op, name, kind, value)
    return out


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
