"""What a training will cost, before it is trained: a model of seconds, and the schedule of many on some workers.

A step's seconds are a sum of what can be counted on paper (see `work`), each times a coefficient that is not negative.
`fit` finds the coefficients from a few networks that were timed on the machine (see `calibration`); `ROUGH` stands in
where nothing was timed. The order of training, the time left and `netpick estimate` all ask here. Nothing is timed
here, and torch is not loaded.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from netpick.sessions.forecast.work import COMPILED, FEATURES, KINDS, Workload
from netpick.sessions.workers.task import TrainingKey
from netpick.training import cards

TINY = 1e-15
"""For features that count nothing: not 0, so that a fit may find that they do."""

ROUGH = np.array(
    [
        *(3e-4, 1e-5, 3e-9, 4e-9, 1e-10, 1.5e-10, 2e-10, 3e-10, 2e-10, 5e-11, 5e-11, 5e-11),
        *(4e-5, 5e-6, 1e-9, 5e-10, 1.3e-10, 1.5e-10, 5e-9),
        3e-9,
    ]
)
"""Seconds for one of each feature, on one core of an ordinary processor: good for the order, not for a promise."""

ROUGH_ON_CARD = np.array([
    {"ops": cards.OP_SECONDS, "params": cards.WEIGHT_SECONDS, "elements": cards.VALUE_SECONDS}.get(
        name, cards.MAC_SECONDS if name in KINDS else TINY
    )
    for name in FEATURES
])  # fmt: skip
"""Seconds for one of each feature on a card, among as many other trainings as it has at once."""

ROUGH_EVALUATION, ROUGH_FIXED = 0.4, 0.3
"""Rough seconds of an evaluated sample as a share of a trained one; and of what a training takes besides its steps."""

UNTRAINED = 10.0
"""Seconds for a student that is not trained by gradient: nothing on paper says more."""

PRIOR = 0.01
"""Weight of the rough coefficients beside one timed network."""

MACHINE = 0.08
"""Standard deviation of how fast a machine is, from session to session."""


@dataclass(frozen=True)
class Timed:
    """What a few steps of one network took on the machine: seconds a step, a sample, and besides."""

    key: TrainingKey
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
    known: Mapping[TrainingKey, Timed] = field(default_factory=dict)
    calibrated: bool = False

    def seconds(self, load: Workload) -> float:
        """Return the predicted seconds of one training."""
        if load.step is None or load.sample is None:
            return UNTRAINED
        if timed := self.known.get(load.key):
            return self.fixed + load.steps * timed.step_seconds + load.evaluated * timed.sample_seconds
        step, sample = float(load.step @ self.step), float(load.sample @ self.sample)
        return self.fixed + load.steps * step + load.evaluated * sample


def rough(device: str = "cpu") -> Model:
    """Return the model for a device of which nothing is known."""
    step, fixed = (ROUGH_ON_CARD, cards.TRAINING_SECONDS) if device.startswith("cuda") else (ROUGH, ROUGH_FIXED)
    sample = step * ROUGH_EVALUATION
    once = [name.removeprefix(COMPILED) in ("step", "ops", "rows") for name in FEATURES]
    return Model(step, sample / np.where(once, 100, 1), fixed)


def fit(loads: Sequence[Workload], timed: Sequence[Timed], refits: int = 100, device: str = "cpu") -> Model:
    """Fit the model to networks that were timed.

    Non-negative least squares on relative errors (Lawson and Hanson 1974, "Solving least squares problems"), with the
    rough coefficients, scaled to this machine, as a weak prior for what few networks tell. `spread` is from leaving out
    one network at a time.

    Parameters
    ----------
    loads : the networks that were timed
    timed : what they took, in the same order
    refits : resamplings of the networks (bootstrap), for the range
    device : on which they were timed: its rough coefficients are the prior
    """
    step_x = np.array([load.step for load in loads])
    sample_x = np.array([load.sample for load in loads])
    step_y = np.array([times.step_seconds for times in timed])
    sample_y = np.array([times.sample_seconds for times in timed])
    base = rough(device)
    step, sample = _nnls(step_x, step_y, base.step), _nnls(sample_x, sample_y, base.sample)
    errors = [
        math.log(step_y[i] / (step_x[i] @ _nnls(np.delete(step_x, i, 0), np.delete(step_y, i), base.step)))
        for i in range(len(loads))
        if len(loads) > 2
    ]
    random = np.random.default_rng(0)
    scatter = []
    for _ in range(refits):
        drawn = random.integers(0, len(loads), len(loads))
        refit = _nnls(step_x[drawn], step_y[drawn], base.step), _nnls(sample_x[drawn], sample_y[drawn], base.sample)
        scatter.append(refit)
    return Model(
        step,
        sample,
        float(np.median([times.fixed_seconds for times in timed])),
        spread=float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.7,
        scatter=tuple(scatter),
        known={load.key: times for load, times in zip(loads, timed, strict=True)},
        calibrated=True,
    )


def _nnls(x: np.ndarray, y: np.ndarray, prior: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    scaled = prior * np.exp(np.median(np.log(y / (x @ prior))))  # the prior, as fast as this machine
    weak = math.sqrt(PRIOR)
    coefficients = scaled
    # Errors relative to what was measured would make all predictions too low: relative to the prediction they don't.
    for _ in range(4):
        size = x @ coefficients
        rows = np.vstack([x * scaled / size[:, None], weak * np.eye(len(scaled))])
        shares = nnls(rows, np.concatenate([y / size, np.full(len(scaled), weak)]))[0]
        coefficients = np.maximum(shares, 1e-6) * scaled
    return coefficients


def schedule(seconds: Iterable[float], workers: int) -> float:
    """Return when the last of some workers is through, if each takes the next training as soon as it is free."""
    free = [0.0] * workers
    for duration in seconds:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def futures(model: Model, loads: Sequence[Workload], workers: int, draws: int = 200) -> np.ndarray:
    """Return wall times of as many futures as could be, for a range: (draws,) seconds.

    Each takes one refit of the model, an error for each network that was not timed itself, drawn from the model's
    spread, and one factor for the machine, which is not always equally fast (see `MACHINE`).
    """
    random = np.random.default_rng(0)
    out = []
    order = sorted(loads, key=model.seconds, reverse=True)
    for n in range(draws):
        refit = model
        if model.scatter:
            step, sample = model.scatter[n % len(model.scatter)]
            refit = Model(step, sample, model.fixed, known=model.known)
        seconds = np.array([refit.seconds(load) for load in order])
        unseen = np.array([load.key not in model.known for load in order], dtype=bool)
        errors = np.exp(random.normal(0.0, model.spread, len(order)) - model.spread**2 / 2)
        common = 1.0 if model.calibrated else math.exp(random.normal(0.0, 0.7))
        factor = common * max(0.5, 1 + random.normal(0.0, MACHINE))
        out.append(schedule(np.where(unseen, seconds * errors, seconds) * factor, workers))
    return np.array(out)
