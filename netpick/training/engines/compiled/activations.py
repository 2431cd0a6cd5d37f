"""Which function of `kernels` an activation is, and with which numbers: several are one function with others.

No torch is loaded here: a row reads the arguments of a module of `torch.nn` as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Function = tuple[Any, ...]
"""The name of a function in `kernels`, and up to four numbers."""


def _gelu(module: Any) -> Function:
    return ("GELU",) if module.approximate == "none" else ("GELU_TANH",)


def _clamp(module: Any) -> Function:
    return "CLAMP", module.min_val, module.max_val, 1.0, 0.0


ACTIVATIONS: dict[str, Callable[[Any], Function]] = {
    "ReLU": lambda _: ("RELU",),
    "Tanh": lambda _: ("TANH",),
    "Sigmoid": lambda _: ("SIGMOID",),
    "SELU": lambda _: ("SELU",),
    "ELU": lambda module: ("ELU", module.alpha, 1.0),
    "LeakyReLU": lambda module: ("LEAKY_RELU", module.negative_slope),
    "GELU": _gelu,
    "SiLU": lambda _: ("SILU",),
    "CELU": lambda module: ("ELU", module.alpha, 1 / module.alpha),
    "Hardshrink": lambda module: ("SHRINK", module.lambd, 0.0),
    "Hardsigmoid": lambda _: ("CLAMP", 0.0, 1.0, 1 / 6, 0.5),
    "Hardswish": lambda _: ("HARDSWISH",),
    "Hardtanh": _clamp,
    "LogSigmoid": lambda _: ("SOFTPLUS", -1.0, math.inf, -1.0),
    "Mish": lambda _: ("MISH",),
    "ReLU6": _clamp,
    "Softplus": lambda module: ("SOFTPLUS", module.beta, module.threshold, 1 / module.beta),
    "Softshrink": lambda module: ("SHRINK", module.lambd, module.lambd),
    "Softsign": lambda _: ("SOFTSIGN",),
    "Tanhshrink": lambda _: ("TANHSHRINK",),
}
"""Numbers of CLAMP: least and most of its third times x plus its fourth; of SHRINK: what becomes 0 on both sides of 0,
and what the rest is shortened by; of SOFTPLUS: a factor of x, the product from which on it is x, and a factor of what
it is; of ELU: a factor, and one of x."""
