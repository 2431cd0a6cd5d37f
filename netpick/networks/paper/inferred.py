"""What a network's layers say of it, by their names alone: its family, and what its output is.

A network that doesn't say to which family it belongs has the one that its operations show. The loss is one of the
log-softmax scores: a network that ends in raw scores (logits) or in `LogSoftmax` is right either way;
one whose output already is a probability, so that a softmax is taken of a softmax, trains without any error, and badly,
since the gradient nearly vanishes. Nothing is built, and no torch is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from netpick.networks.paper import operations
from netpick.networks.paper.spec import LayerSpec, NetworkSpec
from netpick.networks.paper.whole_networks import BASELINES, MODELS, OWN, TORCHVISION, WHOLE

Kind = Literal["logits", "log_probabilities", "probabilities", "unknown"]


PROBABILITIES = ("Softmax", "Softmin", "Sigmoid", "Hardsigmoid")


PASSING = ("Identity", "Flatten", "Reshape", "Dropout", "AlphaDropout")
"""Operations that leave what comes in what it is."""

MIXED = "Mixed"
"""The activation of a network that has several."""


def family_of(layers: Sequence[LayerSpec]) -> tuple[str, str]:
    """Return computation and activation.

    The computation is `Baseline` or `Torchvision` for such a network, `ResNetStyle` with a residual block, else the
    convolution of most dimensions, with `ThenLinear` where a linear layer comes after it, else `Linear`.
    The activation is the only one that appears, `None` for none, `Mixed` for several.
    """
    ops = [layer.op for layer in layers]
    roles = [getattr(operations.find(op), "role", "") for op in ops]
    inside = [str(layer.args.get("activation", "ReLU")) for layer in layers if layer.op == "BasicBlock"]
    inside += [TORCHVISION[op.partition(":")[2]] for op in ops if op in MODELS]
    used = {op for op, role in zip(ops, roles, strict=True) if role == "activation"} | {*inside} - {"None"}
    activation = next(iter(used)) if len(used) == 1 else (MIXED if used else "None")
    return _computation(ops, roles), activation


def _computation(ops: list[str], roles: list[str]) -> str:
    if "baseline" in roles:
        return "Baseline"
    if OWN in ops:
        return OWN
    if "network" in roles:
        return "Torchvision"
    if "BasicBlock" in ops:
        return "ResNetStyle"
    convolution = max((op for op in ops if op.startswith("Conv")), default=None)  # Conv3d comes after Conv1d
    if convolution is None:
        return "Linear"
    after = ops[len(ops) - 1 - ops[::-1].index(convolution) :]
    return f"{convolution}ThenLinear" if "Linear" in after else convolution


def output_kind(layers: Sequence[LayerSpec]) -> Kind:
    """Return what the last layer gives, as training sees it.

    `LogSoftmax` (or `BinaryLogSigmoid`) after a softmax or a sigmoid is "probabilities", as its scores are those of a
    network that gave probabilities to the loss. `LogSoftmax` after `LogSoftmax` changes nothing.
    """
    ends = [layer.op for layer in layers if layer.op not in PASSING]
    logs = 0
    while ends and ends[-1] in operations.ENDS:
        logs += 1
        ends.pop()
    last = ends[-1] if ends else ""
    if last == OWN:
        return next(layer.args["gives"] for layer in reversed(layers) if layer.op == OWN)
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
