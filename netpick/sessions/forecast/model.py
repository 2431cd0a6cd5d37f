"""What a training will cost, before it is trained: a model of seconds, and the schedule of many on some workers.

A step's seconds are a sum of things that can be counted on paper (the calls, the arithmetic by kind, the values moved,
the optimizer's parameters), each times a coefficient that is not negative. `fit` finds the coefficients from a few
networks that were timed on the machine (see `calibrate`); `ROUGH` stands in where nothing was timed. The order of
training, the time left and `netpick estimate` all ask here. Nothing is timed here, and torch is not loaded.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netpick.core.errors import SpecError
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.spec import LayerSpec, walk
from netpick.networks.paper.whole_networks import is_baseline

KINDS = ("linear", "conv1d", "conv2d", "conv3d", "other")
COMPILED = "compiled_"
COMPILED_FEATURES = ("step", "ops", "params", "elements", "linear", "conv", "rows")
FEATURES = (
    *("step", "ops", "params", "elements", *KINDS, "padded1d", "padded2d", "padded3d"),
    *(COMPILED + name for name in COMPILED_FEATURES),
)
"""Columns of the model. `step`, `ops` and `params` count once a step, the others once a sample: values that layers
write, multiply-accumulates by the kind of layer, and the same with channels rounded up to those that a kernel computes
at once, which is what convolutions of few channels really cost. A network that is trained in machine code of ours
counts in columns of its own; `rows`, once a step, are the rows of an image times the weights that go over them."""

LANES = 16
"""Channels that a vectorised convolution computes at once: 16 numbers of 32 bits in AVX-512."""

ROUGH = np.array(
    [
        *(3e-4, 1e-5, 3e-9, 4e-9, 1e-10, 1.5e-10, 2e-10, 3e-10, 2e-10, 5e-11, 5e-11, 5e-11),
        *(4e-5, 5e-6, 1e-9, 5e-10, 1.3e-10, 1.5e-10, 5e-9),
    ]
)
"""Seconds for one of each feature, on one core of an ordinary processor: good for the order, not for a promise."""

ROUGH_EVALUATION, ROUGH_FIXED = 0.4, 0.3
"""Rough seconds of an evaluated sample as a share of a trained one; and of what a training takes besides its steps."""

UNTRAINED = 10.0
"""Seconds for a student that is not trained by gradient: nothing on paper says more."""

PRIOR = 0.01
"""Weight of the rough coefficients beside one timed network."""


@dataclass(frozen=True)
class Work:
    """One training on paper.

    `step` are the features of one training step and `sample` those of one evaluated sample; None for a student that is
    not trained by gradient. `key` is (hash of the network, replicate).
    """

    key: tuple[str, int]
    name: str
    computation: str
    steps: int
    evaluated: int
    step: np.ndarray | None
    sample: np.ndarray | None


@dataclass(frozen=True)
class Samples:
    """How many samples are trained on in an epoch, and evaluated after it (all other splits together)."""

    train: int
    evaluated: int


def work_of(
    row: Mapping[str, Any],
    layers: Sequence[LayerSpec],
    replicate: int,
    recipe: Any,
    image: Shape,
    samples: Samples,
    compiled: bool = False,
) -> Work:
    """Return a training on paper.

    Parameters
    ----------
    row : of networks.parquet
    layers : of the network
    replicate : its number
    recipe : that of this training: batch size and epochs count
    image : shape [C, H, W]
    samples : of each split
    compiled : whether its plan is to be trained in machine code, see `compiled`
    """
    steps = recipe.epochs * math.ceil(samples.train / recipe.batch_size)
    step = sample = None
    if not is_baseline(layers):
        counts = quantities(layers, image, row["macs"])
        calls = {"step": 1.0, "ops": row["ops"], "params": row["params"]}
        per_sample = {"elements": row["memory"], **counts}
        if compiled:
            calls["rows"] = rows_of(layers, image)
            per_sample["conv"] = counts["conv1d"] + counts["conv2d"] + counts["conv3d"]
            calls, per_sample = (
                {COMPILED + name: value for name, value in one.items() if name in COMPILED_FEATURES}
                for one in (calls, per_sample)
            )
        batch = min(recipe.batch_size, samples.train)
        step = _vector({**calls, **{k: v * batch for k, v in per_sample.items()}})
        sample = _vector({key: value for key, value in calls.items() if not key.endswith("params")} | per_sample)
    key = row["hash"], replicate
    return Work(key, row["name"], row["computation"], steps, recipe.epochs * samples.evaluated, step, sample)


def quantities(layers: Sequence[LayerSpec], image: Shape, macs: float) -> dict[str, float]:
    """Return the multiply-accumulates of one sample by kind, and padded; all are `other` where paper can't tell."""
    out: dict[str, float] = dict.fromkeys((*KINDS, "padded1d", "padded2d", "padded3d"), 0.0)
    shape: Shape = tuple(image)
    try:
        for one, (after, size) in zip(layers, walk(layers, shape), strict=True):
            _count(out, one, shape, after, size.macs)
            shape = after
    except (SpecError, KeyError):  # an operation that is known only when it runs: a module of the user's own
        return {**dict.fromkeys(out, 0.0), "other": float(macs)}
    out["other"] += max(0.0, macs - sum(out[kind] for kind in KINDS))
    return out


def rows_of(layers: Sequence[LayerSpec], image: Shape) -> float:
    """Return, for all convolutions, the rows of outputs of one sample times the weights that are applied to each."""
    total, shape = 0.0, tuple(image)
    for one, (after, size) in zip(layers, walk(layers, shape), strict=True):
        spans = one.op.startswith("Conv") and tuple(one.resolved["kernel_size"]) == tuple(shape[1:])
        if (one.op.startswith("Conv") and not spans) or one.op == "BasicBlock":
            total += size.macs / after[-1]
        shape = after
    return total


def _count(out: dict[str, float], one: LayerSpec, before: Shape, after: Shape, macs: int) -> None:
    args = one.resolved
    if one.op == "BasicBlock":
        i, p = args["inplanes"], args["planes"]
        out["conv2d"] += macs
        out["padded2d"] += math.prod(after[1:]) * 9 * _pad(p) * (_pad(i) + _pad(p))
    elif one.op in ("Conv1d", "Conv2d", "Conv3d"):
        dims = one.op[4]
        if tuple(args["kernel_size"]) == tuple(before[1:]):  # covers its input: it is computed as a matrix product
            out["linear"] += macs
            return
        groups = args["groups"]
        inner = _pad(args["in_channels"] // groups) if args["in_channels"] > groups else 1  # one channel has a kernel
        per_place = groups * inner * _pad(args["out_channels"] // groups)
        out[f"conv{dims}d"] += macs
        out[f"padded{dims}d"] += math.prod(after[1:]) * math.prod(args["kernel_size"]) * per_place
    elif macs:
        out["linear" if one.op == "Linear" else "other"] += macs


def _pad(channels: int) -> int:
    return -(-channels // LANES) * LANES


def _vector(values: Mapping[str, float]) -> np.ndarray:
    return np.array([float(values.get(name, 0.0)) for name in FEATURES])


@dataclass(frozen=True)
class Timed:
    """What a few steps of one network took on the machine: seconds a step, a sample, and besides."""

    key: tuple[str, int]
    step_seconds: float
    sample_seconds: float
    fixed_seconds: float
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Model:
    """Coefficients in seconds, for steps and for evaluated samples; `fixed` seconds a training besides.

    `spread` is the standard deviation of the logarithm of measured / predicted for networks that a fit had not seen,
    `scatter` holds refits on resampled networks, and `known` the networks that were timed themselves.
    """

    step: np.ndarray
    sample: np.ndarray
    fixed: float
    spread: float = 0.7
    scatter: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    known: Mapping[tuple[str, int], Timed] = field(default_factory=dict)
    calibrated: bool = False

    def seconds(self, work: Work) -> float:
        """Return the predicted seconds of one training."""
        if work.step is None or work.sample is None:
            return UNTRAINED
        if timed := self.known.get(work.key):
            return self.fixed + work.steps * timed.step_seconds + work.evaluated * timed.sample_seconds
        return (
            self.fixed + work.steps * float(work.step @ self.step) + work.evaluated * float(work.sample @ self.sample)
        )


def rough() -> Model:
    """Return the model for a machine of which nothing is known."""
    sample = ROUGH * ROUGH_EVALUATION
    once = [name.removeprefix(COMPILED) in ("step", "ops", "rows") for name in FEATURES]
    return Model(ROUGH, sample / np.where(once, 100, 1), ROUGH_FIXED)


def fit(works: Sequence[Work], timed: Sequence[Timed], refits: int = 100) -> Model:
    """Fit the model to networks that were timed.

    Non-negative least squares on relative errors (Lawson and Hanson 1974, "Solving least squares problems"), with the
    rough coefficients, scaled to this machine, as a weak prior for what few networks tell. `spread` is from leaving out
    one network at a time.

    Parameters
    ----------
    works : the networks that were timed
    timed : what they took, in the same order
    refits : resamplings of the networks (bootstrap), for the range
    """
    step_x = np.array([work.step for work in works])
    sample_x = np.array([work.sample for work in works])
    step_y = np.array([one.step_seconds for one in timed])
    sample_y = np.array([one.sample_seconds for one in timed])
    base = rough()
    step, sample = _nnls(step_x, step_y, base.step), _nnls(sample_x, sample_y, base.sample)
    seen = range(len(works))
    errors = [
        math.log(step_y[i] / (step_x[i] @ _nnls(np.delete(step_x, i, 0), np.delete(step_y, i), base.step)))
        for i in seen
        if len(works) > 2
    ]
    random = np.random.default_rng(0)
    scatter = []
    for _ in range(refits):
        some = random.integers(0, len(works), len(works))
        pair = _nnls(step_x[some], step_y[some], base.step), _nnls(sample_x[some], sample_y[some], base.sample)
        scatter.append(pair)
    return Model(
        step,
        sample,
        float(np.median([one.fixed_seconds for one in timed])),
        spread=float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.7,
        scatter=tuple(scatter),
        known={work.key: one for work, one in zip(works, timed, strict=True)},
        calibrated=True,
    )


def _nnls(x: np.ndarray, y: np.ndarray, prior: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    scaled = prior * np.exp(np.median(np.log(y / (x @ prior))))  # the prior, as fast as this machine
    weak = math.sqrt(PRIOR)
    found = scaled
    # Errors relative to what was measured would make all predictions too low: relative to the prediction they don't.
    for _ in range(4):
        size = x @ found
        rows = np.vstack([x * scaled / size[:, None], weak * np.eye(len(scaled))])
        found = np.maximum(nnls(rows, np.concatenate([y / size, np.full(len(scaled), weak)]))[0], 1e-6) * scaled
    return found


def schedule(seconds: Iterable[float], workers: int) -> float:
    """Return when the last of some workers is through, if each takes the next training as soon as it is free."""
    free = [0.0] * workers
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def spans(model: Model, works: Sequence[Work], workers: int, draws: int = 200, machine: float = 0.08) -> np.ndarray:
    """Return wall times of as many futures as could be, for a range: (draws,) seconds.

    Each takes one refit of the model, an error for each network that was not timed itself, drawn from the model's
    spread, and one factor for the machine, which is not always equally fast (standard deviation `machine`).
    """
    random = np.random.default_rng(0)
    out = []
    order = sorted(works, key=model.seconds, reverse=True)
    for n in range(draws):
        one = model
        if model.scatter:
            step, sample = model.scatter[n % len(model.scatter)]
            one = Model(step, sample, model.fixed, known=model.known)
        seconds = np.array([one.seconds(work) for work in order])
        unseen = np.array([work.key not in model.known for work in order], dtype=bool)
        errors = np.exp(random.normal(0.0, model.spread, len(order)) - model.spread**2 / 2)
        common = 1.0 if model.calibrated else math.exp(random.normal(0.0, 0.7))
        factor = common * max(0.5, 1 + random.normal(0.0, machine))
        out.append(schedule(np.where(unseen, seconds * errors, seconds) * factor, workers))
    return np.array(out)
