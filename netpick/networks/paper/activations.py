"""The elementwise activations of torch.nn, with the arguments that each takes, and which may overwrite its input.

Every one that needs no argument. Left out, with the reason: Threshold and MultiheadAttention need arguments; GLU halves
its input; Softmax, Softmax2d, Softmin and LogSoftmax normalise over a dimension instead of working on each element.
"""

from __future__ import annotations

from netpick.core.errors import SpecError
from netpick.networks.paper.arguments import (
    IN_PLACE,
    INT,
    NOT_NEGATIVE,
    NOT_ZERO,
    NUMBER,
    PLACED,
    Option,
    one_of,
    only,
)
from netpick.networks.paper.operation import Args, Operation, Shape

_OLD_NAME = Option(only(None, "the old name of min_val and max_val"), None)

_OPTIONS: dict[str, dict[str, Option]] = {
    "CELU": {"alpha": Option(NOT_ZERO, 1.0), **IN_PLACE},
    "ELU": {"alpha": Option(NUMBER, 1.0), **IN_PLACE},
    "GELU": {"approximate": Option(one_of("none", "tanh"), "none")},
    "Hardshrink": {"lambd": Option(NUMBER, 0.5)},
    "Hardsigmoid": IN_PLACE,
    "Hardswish": IN_PLACE,
    "Hardtanh": {
        "min_val": Option(NUMBER, -1.0),
        "max_val": Option(NUMBER, 1.0),
        **IN_PLACE,
        "min_value": _OLD_NAME,
        "max_value": _OLD_NAME,
    },
    "LeakyReLU": {"negative_slope": Option(NUMBER, 0.01), **IN_PLACE},
    "LogSigmoid": {},
    "Mish": IN_PLACE,
    "PReLU": {"num_parameters": Option(INT, 1), "init": Option(NUMBER, 0.25), **PLACED},
    "RReLU": {"lower": Option(NUMBER, 1 / 8), "upper": Option(NUMBER, 1 / 3), **IN_PLACE},
    "ReLU": IN_PLACE,
    "ReLU6": IN_PLACE,
    "SELU": IN_PLACE,
    "SiLU": IN_PLACE,
    "Sigmoid": {},
    "Softplus": {"beta": Option(NOT_ZERO, 1.0), "threshold": Option(NUMBER, 20.0)},
    "Softshrink": {"lambd": Option(NOT_NEGATIVE, 0.5)},
    "Softsign": {},
    "Tanh": {},
    "Tanhshrink": {},
}

ACTIVATIONS = list(_OPTIONS)
"""Their names."""


def _ordered(op: str, low: str, high: str, equal: bool) -> Operation:
    """Make the row of an activation with two bounds."""
    options = _OPTIONS[op]

    def shape(given: Shape, args: Args) -> Shape:
        least, most = (args.get(name, options[name].default) for name in (low, high))
        if least > most or (least == most and not equal):
            raise SpecError(f"{op} wants {low} {'up to' if equal else 'below'} {high}, got {least:g} and {most:g}")
        return given

    return Operation("activation", shape=shape, options=options)


def _prelu(given: Shape, args: Args) -> Shape:
    slopes = args.get("num_parameters", 1)
    if slopes not in (1, given[0]):
        raise SpecError(f"PReLU wants num_parameters = 1 or one a channel, got {slopes} for {list(given)}")
    return given


OPERATIONS: dict[str, Operation] = {
    **{name: Operation("activation", options=options) for name, options in _OPTIONS.items()},
    "Hardtanh": _ordered("Hardtanh", "min_val", "max_val", equal=False),
    "RReLU": _ordered("RReLU", "lower", "upper", equal=True),
    "PReLU": Operation(
        "activation",
        shape=_prelu,
        params=lambda given, out, args: args.get("num_parameters", 1),
        options=_OPTIONS["PReLU"],
    ),
}
