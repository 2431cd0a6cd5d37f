"""Which family a network belongs to that doesn't say so: computation and activation, worked out from its layers.

Only names are looked at, so that this needs neither shapes nor torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from netpick import operations
from netpick.spec import LayerSpec
from netpick.whole import MODELS, OWN, TORCHVISION

MIXED = "Mixed"
"""The activation of a network that has several."""


def family_of(layers: Sequence[LayerSpec]) -> tuple[str, str]:
    """Return computation and activation.

    The computation is `Baseline` or `Torchvision` for such a network, `ResNetStyle` with a residual block, else the
    convolution of most dimensions, with `ThenLinear` where a linear layer comes after it, else `Linear`.
    The activation is the only one that appears, `None` for none, `Mixed` for several.
    """
    ops = [one.op for one in layers]
    roles = [getattr(operations.find(op), "role", "") for op in ops]
    inside = [str(one.args.get("activation", "ReLU")) for one in layers if one.op == "BasicBlock"]
    inside += [TORCHVISION[op.partition(":")[2]] for op in ops if op in MODELS]
    found = {op for op, role in zip(ops, roles, strict=True) if role == "activation"} | {*inside} - {"None"}
    activation = next(iter(found)) if len(found) == 1 else (MIXED if found else "None")
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
