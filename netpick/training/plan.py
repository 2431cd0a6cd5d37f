"""How one network is executed on one device: precision, memory layout, mode, optimizer kernel, convolutions.

A plan may change how fast a network trains, and its numbers by rounding; never what is learned. It is chosen before the
training by a rule that sees only the network, the recipe and the device, never a clock: so resume, replicates and
another number of workers get the same plan, and the same numbers. It is written down in `trainings.plan`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

from netpick.core.errors import DeviceError, PlanError, listed, suggest
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper.operations import OPERATIONS
from netpick.networks.paper.spec import NetworkSpec, shapes, walk

FUSED = {"cpu": ("Adam", "AdamW", "SGD"), "cuda": ("Adam", "AdamW", "SGD"), "mps": ()}
"""Where torch.optim has one kernel for the whole step; elsewhere the `foreach` form is the next best."""

ALLOWED: dict[str, tuple[str, ...]] = {
    "precision": ("fp32", "tf32", "bf16"),
    "layout": ("contiguous",),
    "mode": ("eager", "explicit", "compiled", "graph", "reference"),
    "kernel": ("fused", "foreach"),
    "convolutions": ("tuned", "plain"),
}
"""What each field of a plan can be. No word is in two fields, so that a single word says which field it sets."""

WORDS = {word: name for name, words in ALLOWED.items() for word in words}

BF16_PAYS = 2_000_000
"""Multiply-accumulates of a sample from which bf16 is the faster one, on processors that have it; below it is slower.

Two convolutions of some dozen channels on 28×28; `auto` takes bf16 for convolutions from here on.
"""

BF16_PAYS_ON_CUDA = 50_000_000
"""Likewise on CUDA cards, there of all layers: a guess, not measured on a card yet.

bf16 multiplies twice as fast as tf32 there, and casts the weights and inputs of each layer before. A batch of 32 is
then 3 billion operations forward: some tens of microseconds, where a cast takes a few.
"""

COMPILED_MACS = 1_000_000
"""Multiply-accumulates of a sample up to which machine code of our own is faster than torch's kernels, on a CPU."""

COMPILED_LINEAR_MACS = 1_400_000
"""The same for networks of linear layers alone."""

COMPILED_ARGS = {
    "SGD": ("momentum", "dampening", "weight_decay", "nesterov", "maximize"),
    "Adam": ("betas", "eps", "weight_decay", "amsgrad", "maximize"),
    "AdamW": ("betas", "eps", "weight_decay", "amsgrad", "maximize"),
}
"""Optimizers of `kernels`, and the arguments that they know."""

COMPILED_ACTIVATIONS = ("ReLU", "Tanh", "Sigmoid", "SELU", "ELU", "LeakyReLU", "GELU", "SiLU")
"""Activations of `kernels`."""

COMPILED = (
    *("Linear", "Reshape", "Flatten", "Identity", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d"),
    *COMPILED_ACTIVATIONS,
)
"""Operations of `kernels`, beside convolutions and residual blocks."""


@dataclass(frozen=True)
class Plan:
    """The decisions; `str(plan)` is what is stored, such as `fp32/contiguous/explicit/fused/tuned`.

    `precision` of the arithmetic; memory `layout`; `mode`: eager (autograd), explicit (see `explicit`), compiled (whole
    epochs in machine code, see `compiled`), graph (CUDA graphs, see `cuda_graph`; where they fail `eager(why)` is
    written), or reference (the plain loop); `kernel` of the optimizer: fused or foreach; `convolutions`: tuned,
    computed in another way where that is faster (see `build` and `convolutions`), or plain.
    """

    precision: str = "fp32"
    layout: str = "contiguous"
    mode: str = "eager"
    kernel: str = "fused"
    convolutions: str = "tuned"

    def __str__(self) -> str:
        return "/".join(astuple(self))

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Read what `str` wrote; raises PlanError."""
        names = [field.name for field in fields(cls)]
        words = [word.partition("(")[0] for word in text.split("/")]  # without why it is eager
        if len(words) != len(names):
            raise PlanError(f"a plan has {len(names)} parts, {'/'.join(names)}, got '{text}'")
        for name, word in zip(names, words, strict=True):
            if word not in ALLOWED[name]:
                near = suggest(word, ALLOWED[name])
                raise PlanError(f"plan '{text}': no {name} '{word}'{near}; allowed: {listed(ALLOWED[name])}")
        return cls(*words)


def pinned(text: str) -> dict[str, str]:
    """Return what `--plan` fixes, by field: nothing for `auto`, all for a whole plan, else word by word.

    Raises
    ------
    PlanError
        A word is unknown, or two of them speak of one field.
    """
    if text == "auto":
        return {}
    if text == "reference":
        return {"mode": "reference", "convolutions": "plain"}
    words = text.split("/")
    if len(words) == len(ALLOWED):
        return {field.name: getattr(Plan.parse(text), field.name) for field in fields(Plan)}
    found: dict[str, str] = {}
    for word in words:
        if word not in WORDS:
            known = ("auto", *WORDS)
            raise PlanError(f"--plan: no '{word}'{suggest(word, known)}; allowed: {listed(known, 20)}, joined by /")
        if WORDS[word] in found:
            raise PlanError(f"--plan {text}: {found[WORDS[word]]} and {word} are both a {WORDS[word]}: give one")
        found[WORDS[word]] = word
    return found


def choose(recipe: Recipe, device: str, spec: NetworkSpec | None = None, pin: str = "auto") -> Plan:
    """Return the plan of a network on a device.

    Parameters
    ----------
    recipe : its precision and optimizer count
    device : `cpu`, `cuda:0`, `mps`, ...
    spec : the network; without it, the plan of a network of which nothing is known
    pin : what the user fixed, as `pinned` reads it

    Raises
    ------
    DeviceError
        The device lacks the precision that was asked for.
    PlanError
        The parts that were fixed don't go together.
    """
    kind = device.partition(":")[0]
    fixed = pinned(pin)
    precision = fixed.get("precision") or recipe.precision
    if precision == "tf32" and kind != "cuda":
        raise DeviceError(f"precision tf32 exists on CUDA GPUs only, got device {device}: say fp32 or bf16")
    if precision == "auto":
        precision = auto_precision(device, spec)
    mode = "graph" if kind == "cuda" else "explicit" if kind == "cpu" and precision == "fp32" else "eager"
    plan = Plan(precision, mode=mode, kernel="fused" if recipe.optimizer in FUSED[kind] else "foreach")
    plan = replace(plan, **fixed)
    compiles = spec is not None and can_be_compiled(spec, recipe) and plan.kernel == "fused"
    if fixed.get("mode") == "compiled":
        plan = _pinned_to_compiled(plan, recipe, device, compiles, fixed)
    elif "mode" not in fixed and plan.mode == "explicit" and fixed.get("convolutions") != "tuned" and compiles:
        assert spec is not None
        if _compiling_pays(spec):
            plan = replace(plan, mode="compiled", convolutions="plain")
    if plan.mode == "explicit" and (kind != "cpu" or plan.precision != "fp32"):
        raise PlanError(f"--plan: explicit is for fp32 on the cpu, got {plan.precision} on {device}: say eager")
    if plan.mode == "graph" and kind != "cuda":
        raise PlanError(f"--plan: graph is for CUDA GPUs, got {device}: say eager")
    if plan.mode == "reference" and plan.precision != "fp32":
        raise PlanError(f"--plan: reference is for fp32, got {plan.precision}: say fp32/reference, or eager")
    if plan.kernel == "fused" and recipe.optimizer not in FUSED[kind]:
        raise PlanError(f"--plan: torch has no fused {recipe.optimizer} on {device}: say foreach")
    return plan


def _pinned_to_compiled(plan: Plan, recipe: Recipe, device: str, compiles: bool, fixed: dict[str, str]) -> Plan:
    """Return a plan in machine code, or explicit steps for a network for which there is none."""
    chosen = "precision" not in fixed and recipe.precision == "auto"  # network by network: some may be bf16
    if device != "cpu" or (plan.precision != "fp32" and not chosen):
        raise PlanError(f"--plan: compiled is for fp32 on the cpu, got {plan.precision} on {device}: leave it out")
    if fixed.get("convolutions") == "tuned":
        raise PlanError("--plan: compiled has convolutions of its own, got tuned: say plain")
    if plan.precision != "fp32":
        return replace(plan, mode="eager")
    return replace(plan, convolutions="plain") if compiles else replace(plan, mode="explicit")


def can_be_compiled(spec: NetworkSpec, recipe: Recipe) -> bool:
    """Return whether `kernels` has all that a network and its optimizer need."""
    if recipe.optimizer not in COMPILED_ARGS or not {*recipe.optimizer_args} <= {*COMPILED_ARGS[recipe.optimizer]}:
        return False
    image = _image(spec)
    if image is None or spec.layers[-1].op != "LogSoftmax":
        return False
    for one in spec.layers[:-1]:
        if one.op in ("Conv1d", "Conv2d", "Conv3d"):
            if one.resolved["groups"] != 1:
                return False
        elif one.op == "BasicBlock":
            if one.resolved["activation"] not in ("None", *COMPILED_ACTIVATIONS):
                return False
        elif one.op not in COMPILED:
            return False
    # Linear layers of images would be applied row by row; a network without weights has nothing to train.
    outputs = shapes(spec.layers, image)
    flat = all(
        len(out) == 1 for one, out in zip(spec.layers, outputs, strict=True) if one.op in ("Linear", "LogSoftmax")
    )
    return flat and any(OPERATIONS[one.op].role == "computation" for one in spec.layers)


def _compiling_pays(spec: NetworkSpec) -> bool:
    """Return whether a network is so small that machine code of our own is faster than torch's kernels."""
    macs = _macs(spec)
    linear = all(OPERATIONS[one.op].role != "computation" or one.op == "Linear" for one in spec.layers)
    return macs <= (COMPILED_LINEAR_MACS if linear else COMPILED_MACS)


def auto_precision(device: str, spec: NetworkSpec | None) -> str:
    """Return the fastest precision that a device has for a network; the safest where nothing is known of the network.

    On a CPU bf16 pays for large convolutions, and only with instructions for it. On CUDA tf32 costs nothing, and bf16
    is for large networks on cards that have it.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        large = spec is not None and _macs(spec) >= BF16_PAYS_ON_CUDA
        return "bf16" if large and cuda_has_bf16(device) else "tf32"
    if kind == "cpu" and spec is not None and cpu_has_bf16() and _macs(spec, of=_is_convolution) >= BF16_PAYS:
        return "bf16"
    return "fp32"


def cpu_has_bf16() -> bool:
    """Return whether this processor multiplies bf16 in hardware: AMX tiles or AVX512-BF16."""
    import torch

    tests = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(test() for test in tests if test is not None)


def cuda_has_bf16(device: str) -> bool:
    """Return whether a card multiplies bf16 in its tensor cores: from compute capability 8.0 (Ampere) on."""
    import torch

    return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)


def _is_convolution(op: str) -> bool:
    return op == "BasicBlock" or op.startswith("Conv")


def _macs(spec: NetworkSpec, of: Callable[[str], bool] = lambda op: True) -> int:
    """Return the multiply-accumulates of a sample in some operations; 0 where the layers don't say what goes in."""
    image = _image(spec)
    if image is None:
        return 0
    steps = walk(spec.layers, image)
    return sum(size.macs for (_, size), one in zip(steps, spec.layers, strict=True) if of(one.op))


def _image(spec: NetworkSpec) -> tuple[int, ...] | None:
    """Return a shape that a network's input may have, or None where the layers don't say."""
    first, *others = spec.layers
    if first.op == "Reshape":
        return tuple(first.resolved["shape"])
    if first.op == "Flatten" and others and others[0].op == "Linear":
        return (others[0].resolved["in_features"],)
    return None


def precision_context(plan: Plan, device: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a network's forward passes run."""
    import torch

    kind = device.partition(":")[0]
    if kind == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = plan.precision == "tf32"
    if plan.precision == "bf16":
        return torch.autocast(kind, dtype=torch.bfloat16)
    return contextlib.nullcontext()
