"""Activations in ONNX: each as the nodes that it comes to, where there is no one node of its name."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

from netpick.exam.device.graph import Graph

STABLE = 15
"""Threshold from which on what torch's Softplus leaves out is below the precision of float32."""


def _plain(op: str, **attributes: Any) -> Callable[..., str]:
    return lambda graph, x: graph.node(op, x, **attributes)


def _clip(graph: Graph, x: str, low: float, high: float) -> str:
    return graph.node("Clip", x, graph.constant(low), graph.constant(high))


def _gelu(graph: Graph, x: str, approximate: str) -> str:
    if approximate == "none":
        inside = graph.node("Erf", graph.node("Mul", x, graph.constant(1 / sqrt(2))))
    else:
        cube = graph.node("Mul", graph.node("Mul", graph.node("Mul", x, x), x), graph.constant(0.044715))
        inside = graph.node("Mul", graph.node("Add", x, cube), graph.constant(sqrt(2 / pi)))
        inside = graph.node("Tanh", inside)
    both = graph.node("Mul", x, graph.node("Add", inside, graph.constant(1)))
    return graph.node("Mul", both, graph.constant(0.5))


def _softplus(graph: Graph, x: str, beta: float, threshold: float) -> str:
    scaled = x if beta == 1 else graph.node("Mul", x, graph.constant(beta))
    soft = graph.node("Softplus", scaled)
    soft = soft if beta == 1 else graph.node("Mul", soft, graph.constant(1 / beta))
    if threshold >= STABLE:
        return soft
    above = graph.node("Greater", scaled, graph.constant(threshold))
    return graph.node("Where", above, x, soft)


ACTIVATIONS: dict[str, Callable[..., str]] = {
    "CELU": lambda graph, x, alpha: graph.node("Celu", x, alpha=alpha),
    "ELU": lambda graph, x, alpha: graph.node("Elu", x, alpha=alpha),
    "GELU": _gelu,
    "Hardshrink": lambda graph, x, lambd: graph.node("Shrink", x, lambd=lambd),
    "Hardsigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "Hardswish": _plain("HardSwish"),
    "Hardtanh": lambda graph, x, min_val, max_val: _clip(graph, x, min_val, max_val),
    "LeakyReLU": lambda graph, x, negative_slope: graph.node("LeakyRelu", x, alpha=negative_slope),
    "LogSigmoid": lambda graph, x: graph.node("Neg", graph.node("Softplus", graph.node("Neg", x))),
    "Mish": lambda graph, x: graph.node("Mul", x, graph.node("Tanh", graph.node("Softplus", x))),
    "RReLU": lambda graph, x, lower, upper: graph.node("LeakyRelu", x, alpha=(lower + upper) / 2),
    "ReLU": _plain("Relu", quantised=True),
    "ReLU6": lambda graph, x: _clip(graph, x, 0, 6),
    "SELU": _plain("Selu"),
    "SiLU": lambda graph, x: graph.node("Mul", x, graph.node("Sigmoid", x)),
    "Sigmoid": _plain("Sigmoid"),
    "Softplus": _softplus,
    "Softshrink": lambda graph, x, lambd: graph.node("Shrink", x, lambd=lambd, bias=lambd),
    "Softsign": _plain("Softsign"),
    "Tanh": _plain("Tanh"),
    "Tanhshrink": lambda graph, x: graph.node("Sub", x, graph.node("Tanh", x)),
}
"""What adds the nodes of an activation, with the numbers and words that a step says; PReLU is a step of its own."""
