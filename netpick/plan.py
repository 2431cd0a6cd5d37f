"""How one network is executed on one device: precision, memory layout, mode, optimizer kernel.

A plan may change how fast a network trains, and its numbers by rounding; never what is learned. It is chosen before the
training by a rule that sees only the device and the recipe, so that resume and replicates get the same plan, and it is
written down in `trainings.plan`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from netpick.errors import DeviceError
from netpick.template import Recipe

FUSED = {"cpu": ("Adam", "AdamW", "SGD"), "cuda": ("Adam", "AdamW", "SGD"), "mps": ()}
"""Where torch.optim has one kernel for the whole step; elsewhere the `foreach` form is the next best."""


@dataclass(frozen=True)
class Plan:
    """The decisions; `str(plan)` is what is stored, such as `fp32/contiguous/eager/fused/tuned`.

    `precision` of the arithmetic; memory `layout`; `mode`: eager; `kernel` of the optimizer: fused or foreach;
    `convolutions`: `tuned`, computed in another way where that is faster (see `build`), or `plain`.
    """

    precision: str = "fp32"
    layout: str = "contiguous"
    mode: str = "eager"
    kernel: str = "fused"
    convolutions: str = "tuned"

    def __str__(self) -> str:
        return f"{self.precision}/{self.layout}/{self.mode}/{self.kernel}/{self.convolutions}"


def choose(recipe: Recipe, device: str) -> Plan:
    """Return the plan for a device; raises DeviceError where the device lacks the precision that was asked for."""
    kind = device.partition(":")[0]
    if recipe.precision == "tf32" and kind != "cuda":
        raise DeviceError(f"precision tf32 exists on CUDA GPUs only, got device {device}: say fp32 or bf16")
    return Plan(recipe.precision, kernel="fused" if recipe.optimizer in FUSED[kind] else "foreach")


def precision_context(plan: Plan, device: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a network's forward passes run."""
    import torch

    kind = device.partition(":")[0]
    if kind == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = plan.precision == "tf32"
    if plan.precision == "bf16":
        return torch.autocast(kind, dtype=torch.bfloat16)
    return contextlib.nullcontext()
