"""Columns that networks are picked by, and how their values are written."""

from __future__ import annotations

from netpick.core.words import percent
from netpick.exam.timings import TIMED

NUMBERS = ("params", "memory", "ops", "macs", "depth", "seconds", *TIMED, "accuracy", "class_accuracy", "class_auc")
"""Columns that can be bounded and be objectives; `class_accuracy` is that of a network's worst class, `class_auc` the
area under the ROC curve in its worst class. Those of `TIMED` are there where `netpick time` has measured them."""

WORDS = ("name", "computation", "activation")
ACCURACIES = ("accuracy", "class_accuracy")
FRACTIONS = (*ACCURACIES, "class_auc")
TIMES = ("seconds", "step_seconds", "latency")
IN_WORDS = {
    "seconds": "training time",
    "step_seconds": "a training step",
    "latency": "latency",
    "depth": "layers",
}
AXES = {
    "params": "trainable parameters",
    "memory": "memory (tensor elements for one input)",
    "ops": "operations (nodes of the autograd graph)",
    "macs": "multiply-accumulates for one input",
    "depth": "layers with parameters",
    "seconds": "training time (s)",
    "step_seconds": "time of a training step (s)",
    "latency": "latency of one input (s)",
    "throughput": "throughput (inputs a second)",
    "accuracy": "accuracy, on the samples chosen by",
    "class_accuracy": "accuracy in the worst class, on the samples chosen by",
    "class_auc": "area under the ROC curve in the worst class, on the samples chosen by",
}
"""What the axis of a figure says."""


def amount(column: str, value: float) -> str:
    """Write a value of a column as people read it."""
    if column in FRACTIONS:
        return percent(value)
    if column == "throughput":
        return f"{value:,.3g} inputs/s" if value < 1000 else f"{value:,.0f} inputs/s"
    if column in TIMES:
        return f"{value:.3g} s" if value >= 0.1 else f"{1e3 * value:.3g} ms"
    return f"{value:,.0f}"


def cost(column: str, value: float) -> str:
    """Write a value with what it is: "20,000 macs", "12 layers with parameters"."""
    if column == "depth":
        return f"{value:.0f} layers with parameters"
    if column in ("step_seconds", "latency"):
        return f"{amount(column, value)} {IN_WORDS[column]}"
    return amount(column, value) if column in (*TIMES, "throughput") else f"{amount(column, value)} {column}"
