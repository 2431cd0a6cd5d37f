"""Which plan a network gets on a device: a rule that sees only the network, the recipe and the device, never a clock.

So resume, replicates and another number of workers get the same plan, and the same numbers. What each engine can do,
and where it pays, the engines say themselves.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from msgspec import structs

from netpick.core.errors import DeviceError, PlanError
from netpick.core.recipe import Recipe
from netpick.networks.paper.spec import NetworkSpec
from netpick.training import cards, processor
from netpick.training.engines import ENGINES
from netpick.training.job import Job
from netpick.training.plan import Plan, pinned
from netpick.training.sizes import is_convolution, macs_of

FUSED = {"cpu": ("Adam", "AdamW", "SGD"), "cuda": ("Adam", "AdamW", "SGD"), "mps": ()}
"""Where torch.optim has one kernel for the whole step; elsewhere the `foreach` form is the next best."""

BF16_PAYS, BF16_PAYS_COMPILED = 5_000_000, 2_000_000
"""Multiply-accumulates of a sample in convolutions from which `auto` takes bf16 on processors that have it.

With AMX torch's kernels are then about as fast as machine code in fp32. With AVX512-BF16 machine code in bf16 takes 0.8
of the time of fp32 or less; with fewer macs some networks gain as much, and some nothing.
"""

UNKNOWN = NetworkSpec("unknown", "None", "None", ())
"""A network of which nothing is known."""


def choose(
    recipe: Recipe,
    device: str,
    spec: NetworkSpec = UNKNOWN,
    pin: str = "auto",
    missing: Collection[str] = (),
) -> Plan:
    """Return the plan of a network on a device.

    Parameters
    ----------
    recipe : its precision and optimizer count
    device : `cpu`, `cuda:0`, `mps`, ...
    spec : the network
    pin : what the user fixed, as `pinned` reads it
    missing : engines that can't be used on this machine, whatever the network, as `make_ready` finds out

    Raises
    ------
    DeviceError
        The device lacks the precision that was asked for.
    PlanError
        The parts that were fixed don't go together.
    """
    kind = device.partition(":")[0]
    fixed = pinned(pin)
    asked = fixed.get("precision") or recipe.precision
    if asked == "tf32" and kind != "cuda":
        raise DeviceError(f"precision tf32 exists on CUDA GPUs only, got device {device}: say fp32 or bf16")
    precision = auto_precision(device, spec) if asked == "auto" else asked
    fused = recipe.optimizer in FUSED[kind]
    kernel = fixed.get("kernel", "fused" if fused else "foreach")
    job = Job(spec, structs.replace(recipe, precision=asked), 0, Plan(precision, kernel=kernel), device)
    jobs = {mode: replace(job, plan=_with_mode(job.plan, mode, fixed)) for mode in ENGINES}
    usable = {mode: job for mode, job in jobs.items() if mode not in missing}
    mode = fixed.get("mode")
    if mode not in usable:
        mode = _best(usable)
    elif refusal := ENGINES[mode].refuses(jobs[mode]):
        if refusal.whatever:
            raise PlanError(f"--plan: {refusal.reason}")
        mode = _best(usable)
    if kernel == "fused" and not fused:
        raise PlanError(f"--plan: torch has no fused {recipe.optimizer} on {device}: say foreach")
    return jobs[mode].plan


def _with_mode(plan: Plan, mode: str, fixed: dict[str, str]) -> Plan:
    return replace(plan, mode=mode, convolutions=fixed.get("convolutions", ENGINES[mode].CONVOLUTIONS))


def _best(jobs: dict[str, Job]) -> str:
    """Return the first engine that can train a network, and is the faster one for it."""
    return next(mode for mode, job in jobs.items() if not ENGINES[mode].refuses(job) and ENGINES[mode].pays(job))


def auto_precision(device: str, spec: NetworkSpec) -> str:
    """Return the fastest precision that a device has for a network; the safest where nothing is known of the network.

    On a CPU bf16 pays for large convolutions, and only with instructions for it. On CUDA tf32 costs nothing, and bf16
    is for large networks on cards that have it.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        large = macs_of(spec.layers) >= cards.BF16_MACS
        return "bf16" if large and cuda_has_bf16(device) else "tf32"
    macs = macs_of(spec.layers, is_convolution) if kind == "cpu" else 0
    if macs >= min(BF16_PAYS, BF16_PAYS_COMPILED) and processor.has_bf16():
        least = BF16_PAYS_COMPILED if processor.has_bf16_for_machine_code() else BF16_PAYS
        return "bf16" if macs >= least else "fp32"
    return "fp32"


def cuda_has_bf16(device: str) -> bool:
    """Return whether a card multiplies bf16 in its tensor cores: from compute capability 8.0 (Ampere) on."""
    import torch

    return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)
