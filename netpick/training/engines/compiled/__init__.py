"""Whole epochs in machine code of our own, without torch: on the CPU, in float32, or convolutions in bf16.

For networks that torch's kernels, made for larger ones, are slower for, and take longer to call than to compute: of
linear layers, convolutions, residual blocks, poolings, norms, dropout and activations. `table` writes a network down
as numbers, with the help of `activations` and `windows`, `program` runs them, `kernels` are the functions that numba
compiles, `loading` loads or compiles them, `cache` knows where they are kept, and `ready` has them compiled beforehand.
"""

from __future__ import annotations

from netpick.core.result import TrainingResult
from netpick.networks.paper.operations import ENDS, OPERATIONS
from netpick.networks.paper.spec import LayerSpec, shapes
from netpick.training import processor
from netpick.training.engines.compiled.activations import ACTIVATIONS
from netpick.training.engines.engine import Refusal, only_fp32_on_the_cpu
from netpick.training.job import Data, Job
from netpick.training.sizes import input_of, is_convolution, macs_of

CONVOLUTIONS = "plain"

OPTIMIZERS = {
    "SGD": ("momentum", "dampening", "weight_decay", "nesterov"),
    "Adam": ("betas", "eps", "weight_decay", "amsgrad"),
    "AdamW": ("betas", "eps", "weight_decay", "amsgrad"),
    "RMSprop": ("alpha", "eps", "weight_decay", "momentum", "centered"),
}
"""Optimizers, and the arguments that there is machine code for; numbered in the kernels in this order."""

UNFUSED = ("RMSprop",)
"""Those of which torch has no fused kernel: their plans say foreach."""

LOSSES = ("nll", "mse", "l1", "distance")
"""Losses; numbered in the kernels in this order."""

ALL_ENTRIES = ("backward", "forward", "conv_back_bf16", "train", "conv_bf16", "score")
"""The kernels that are called from outside, those first that take longest to compile, each in a process of its own."""

BF16_ENTRIES = ("conv_back_bf16", "conv_bf16")
"""Those that are called for convolutions in bf16 alone, and compiled for those who need them."""

ENTRIES = tuple(name for name in ALL_ENTRIES if name not in BF16_ENTRIES)
"""Those that every training needs."""

SHAPES = ("Reshape", "Flatten", "Identity")
"""Operations that compute nothing."""

MISSING = ("RReLU", "Softmax", "Add", "Concat")
"""Operations that there is no machine code for: the slopes that RReLU draws depend on what it gets."""

MOST_MACS = 250_000_000
"""Multiply-accumulates of a sample up to which machine code is faster than torch's kernels."""

MOST_LINEAR_MACS = 1_400_000
"""The same for networks of linear layers alone."""


def refuses(job: Job) -> Refusal | None:
    """Refuse other devices and precisions, and networks and optimizers that the kernels lack something for."""
    recipe, plan, layers = job.recipe, job.plan, job.spec.layers
    chosen = recipe.precision == "auto"  # network by network: some may be bf16
    if (job.kind, plan.precision) == ("cpu", "bf16"):
        if not processor.has_bf16_for_machine_code():
            reason = "compiled has bf16 for processors with AVX512-BF16 and without AMX, which this one isn't"
            return Refusal(f"{reason}: leave it out", whatever=not chosen)
        if not any(is_convolution(layer.op) for layer in layers):
            return Refusal("compiled has bf16 for convolutions, and the network has none")
    elif (refusal := only_fp32_on_the_cpu("compiled", job, "leave it out")) is not None:
        return Refusal(refusal.reason, whatever=job.kind != "cpu" or not chosen)
    if plan.convolutions == "tuned":
        return Refusal("compiled has convolutions of its own, got tuned: say plain", whatever=True)
    if plan.kernel != "fused" and recipe.optimizer not in UNFUSED:
        return Refusal(f"compiled has optimizers of its own, got {plan.kernel}")
    if missing := {*recipe.optimizer_args} - {*OPTIMIZERS.get(recipe.optimizer, ())}:
        return Refusal(f"no machine code for {recipe.optimizer} with {', '.join(sorted(missing))}")
    if recipe.optimizer not in OPTIMIZERS:
        return Refusal(f"no machine code for {recipe.optimizer}")
    image = input_of(layers)
    if image is None or layers[-1].op not in ENDS:
        return Refusal(f"machine code is for layers that say what goes in, and end with {' or '.join(ENDS)}")
    if unknown := [layer.op for layer in layers[:-1] if not _known(layer)]:
        return Refusal(f"no machine code for {unknown[0]}, or for its arguments")
    # Linear layers of images would be applied row by row; a network without weights has nothing to train.
    outputs = zip(layers, shapes(layers, image), strict=True)
    if any(len(output) != 1 for layer, output in outputs if layer.op in ("Linear", "LogSoftmax")):
        return Refusal("no machine code for linear layers of images")
    if not any(OPERATIONS[layer.op].role == "computation" for layer in layers):
        return Refusal("no layer of the network has weights")
    return None


def pays(job: Job) -> bool:
    """Train networks that are so small that machine code is faster than torch's kernels."""
    ops = [layer.op for layer in job.spec.layers]
    linear = all(op == "Linear" for op in ops if OPERATIONS[op].role == "computation")
    return macs_of(job.spec.layers) <= (MOST_LINEAR_MACS if linear else MOST_MACS)


def train(job: Job, data: Data) -> TrainingResult:
    """Train in machine code."""
    from netpick.training.engines.compiled.program import CompiledEpochs
    from netpick.training.loop import train_epochs

    return train_epochs(job, data, CompiledEpochs)


def _known(layer: LayerSpec) -> bool:
    """Return whether there is machine code for a layer before the last."""
    if layer.op == "BasicBlock":
        return layer.resolved["activation"] in ("None", "PReLU", *ACTIVATIONS)
    if layer.op.startswith("BatchNorm"):  # without a momentum the mean of all batches, which takes counting them
        return layer.resolved.get("momentum", 0.1) is not None
    return layer.op in OPERATIONS and layer.op not in (*MISSING, *ENDS)
