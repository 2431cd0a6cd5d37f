"""What a training consists of, as it can be counted on paper: steps, evaluated samples, and what each is made of.

The features that a cost is a sum of; what one of each costs is in `model`. Nothing is timed here, and torch is not
loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netpick.core.errors import SpecError
from netpick.core.recipe import Augment
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.spec import LayerSpec, walk
from netpick.networks.paper.whole_networks import is_baseline
from netpick.sessions.situation import RunNetwork, Samples, Situation
from netpick.sessions.workers.task import TrainingKey

KINDS = ("linear", "conv1d", "conv2d", "conv3d", "other")
COMPILED = "compiled_"
COMPILED_FEATURES = ("step", "ops", "params", "elements", "linear", "conv", "rows")
FEATURES = (
    *("step", "ops", "params", "elements", *KINDS, "padded1d", "padded2d", "padded3d"),
    *(COMPILED + name for name in COMPILED_FEATURES),
    "augmented",
)
"""Columns of the model. `step`, `ops` and `params` count once a step, the others once a sample: values that layers
write, multiply-accumulates by the kind of layer, and the same with channels rounded up to those that a kernel computes
at once, which is what convolutions of few channels really cost. A network that is trained in machine code of ours
counts in columns of its own; `rows`, once a step, are the rows of an image times the weights that go over them.
`augmented` are the values of images that augmentation writes, whatever trains the network: it is no part of a
network's evaluation."""

LANES = 16
"""Channels that a vectorised convolution computes at once: 16 numbers of 32 bits in AVX-512."""


@dataclass(frozen=True)
class Workload:
    """One training on paper.

    `step` are the features of one training step and `sample` those of one evaluated sample; None for a student that is
    not trained by gradient. `key` is (hash of the network, replicate).
    """

    key: TrainingKey
    name: str
    computation: str
    steps: int
    evaluated: int
    step: np.ndarray | None
    sample: np.ndarray | None


def workloads_of(situation: Situation, samples: Samples) -> dict[TrainingKey, Workload]:
    """Return all trainings of a run on paper, those that have ended as well."""
    loads = {}
    for network in situation.networks:
        own = samples
        if network.recipe.train_samples and not network.recipe.folds:  # with which all have the same number
            own = replace(samples, train=network.recipe.train_samples)
        compiled = situation.plans[network.spec.hash].mode == "compiled"
        first = workload_of(network, situation.image, own, compiled)
        for n in range(network.recipe.replicates):
            load = replace(first, key=(network.spec.hash, n))
            loads[load.key] = load
    return loads


def workload_of(network: RunNetwork, image: Shape, samples: Samples, compiled: bool = False) -> Workload:
    """Return the first training of a network on paper.

    Parameters
    ----------
    network : with the recipe that it is trained by: batch size and epochs count
    image : shape [C, H, W]
    samples : of each split
    compiled : whether its plan is to be trained in machine code
    """
    row, recipe, layers = network.row, network.recipe, network.spec.layers
    steps = recipe.epochs * math.ceil(samples.train / recipe.batch_size)
    step = sample = None
    if not is_baseline(layers):
        counts = quantities(layers, image, row["macs"])
        calls = {"step": 1.0, "ops": row["ops"], "params": row["params"]}
        per_sample = {"elements": row["memory"], **counts}
        if compiled:
            calls["rows"] = rows_of(layers, image)
            per_sample["conv"] = counts["conv1d"] + counts["conv2d"] + counts["conv3d"]
            calls, per_sample = _in_machine_code(calls), _in_machine_code(per_sample)
        batch = min(recipe.batch_size, samples.train)
        changed = {"augmented": float(math.prod(image) * passes_of(recipe.augment))}
        step = _vector({**calls, **{k: v * batch for k, v in (per_sample | changed).items()}})
        sample = _vector({key: value for key, value in calls.items() if not key.endswith("params")} | per_sample)
    evaluated = recipe.epochs * samples.evaluated
    return Workload((row["hash"], 0), row["name"], row["computation"], steps, evaluated, step, sample)


def passes_of(augment: Augment) -> int:
    """Return how often augmentation goes over an image: once to move it, mirror it and cut it out, once to erase."""
    moved = augment.shift > 0 or augment.flip or augment.crop < 1
    return int(moved) + int(augment.erase > 0)


def _in_machine_code(counts: Mapping[str, float]) -> dict[str, float]:
    return {COMPILED + name: value for name, value in counts.items() if name in COMPILED_FEATURES}


def quantities(layers: Sequence[LayerSpec], image: Shape, macs: float) -> dict[str, float]:
    """Return the multiply-accumulates of one sample by kind, and padded; all are `other` where paper can't tell."""
    out: dict[str, float] = dict.fromkeys((*KINDS, "padded1d", "padded2d", "padded3d"), 0.0)
    shape: Shape = tuple(image)
    try:
        for layer, (after, size) in zip(layers, walk(layers, shape), strict=True):
            _count(out, layer, shape, after, size.macs)
            shape = after
    except (SpecError, KeyError):  # an operation that is known only when it runs: a module of the user's own
        return {**dict.fromkeys(out, 0.0), "other": float(macs)}
    out["other"] += max(0.0, macs - sum(out[kind] for kind in KINDS))
    return out


def rows_of(layers: Sequence[LayerSpec], image: Shape) -> float:
    """Return, for all convolutions, the rows of outputs of one sample times the weights that are applied to each."""
    total, shape = 0.0, tuple(image)
    for layer, (after, size) in zip(layers, walk(layers, shape), strict=True):
        spans = layer.op.startswith("Conv") and tuple(layer.resolved["kernel_size"]) == tuple(shape[1:])
        if (layer.op.startswith("Conv") and not spans) or layer.op == "BasicBlock":
            total += size.macs / after[-1]
        shape = after
    return total


def _count(out: dict[str, float], layer: LayerSpec, before: Shape, after: Shape, macs: int) -> None:
    args = layer.resolved
    if layer.op == "BasicBlock":
        i, p = args["inplanes"], args["planes"]
        out["conv2d"] += macs
        out["padded2d"] += math.prod(after[1:]) * 9 * _pad(p) * (_pad(i) + _pad(p))
    elif layer.op in ("Conv1d", "Conv2d", "Conv3d"):
        dims = layer.op[4]
        if tuple(args["kernel_size"]) == tuple(before[1:]):  # covers its input: it is computed as a matrix product
            out["linear"] += macs
            return
        groups = args["groups"]
        inner = _pad(args["in_channels"] // groups) if args["in_channels"] > groups else 1  # one channel has a kernel
        per_place = groups * inner * _pad(args["out_channels"] // groups)
        out[f"conv{dims}d"] += macs
        out[f"padded{dims}d"] += math.prod(after[1:]) * math.prod(args["kernel_size"]) * per_place
    elif macs:
        out["linear" if layer.op == "Linear" else "other"] += macs


def _pad(channels: int) -> int:
    return -(-channels // LANES) * LANES


def _vector(values: Mapping[str, float]) -> np.ndarray:
    return np.array([float(values.get(name, 0.0)) for name in FEATURES])
