"""What a network gives: raw scores, logarithms of probabilities, or probabilities.

The loss is the negative log likelihood of the log-softmax scores. A network that ends in raw scores (logits) or in
`LogSoftmax` is right either way. One whose output already is a probability, so that a softmax is taken of a softmax,
trains without any error, and badly: the gradient nearly vanishes. It is recognised here from the layers alone; nothing
is built, and no torch is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from netpick.spec import LayerSpec, NetworkSpec
from netpick.whole import BASELINES, OWN, WHOLE

Kind = Literal["logits", "log_probabilities", "probabilities", "unknown"]

PROBABILITIES = ("Softmax", "Softmin", "Sigmoid", "Hardsigmoid")
PASSING = ("Identity", "Flatten", "Reshape", "Dropout", "AlphaDropout")
"""Operations that leave what comes in what it is."""


def output_kind(layers: Sequence[LayerSpec]) -> Kind:
    """Return what the last layer gives, as training sees it.

    `LogSoftmax` after a softmax or a sigmoid is "probabilities", as its scores are those of a network that gave
    probabilities to the loss. `LogSoftmax` after `LogSoftmax` changes nothing.
    """
    ends = [one.op for one in layers if one.op not in PASSING]
    logs = 0
    while ends and ends[-1] == "LogSoftmax":
        logs += 1
        ends.pop()
    last = ends[-1] if ends else ""
    if last == OWN:
        return next(one.args["gives"] for one in reversed(layers) if one.op == OWN)
    if last in PROBABILITIES:
        return "probabilities"
    if logs or last in BASELINES:
        return "log_probabilities"
    linear = last.startswith(("Linear", "Conv", "BatchNorm")) or last in ("Add", "Concat") or last in WHOLE
    return "logits" if linear else "unknown"


def squashed(networks: Iterable[NetworkSpec]) -> list[str]:
    """Return the names of the networks whose output already is a probability when the softmax is taken of it."""
    return [spec.name for spec in networks if output_kind(spec.layers) == "probabilities"]


def warning(names: Sequence[str]) -> str:
    """Say in one line what is wrong with these networks, and what to do."""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    what = "is a probability" if len(names) == 1 else "are probabilities"
    return (
        f"softmax before cross entropy: the output of {shown} already {what}, which ruins training without an error; "
        "take the last Softmax or Sigmoid out"
    )
