"""One network timed by itself, in a worker process: its training step, one input, a batch, each layer.

Warmed up, the device synchronised at both ends of what is timed, the median of several. The step is that of a real
training, with the run's plan and recipe. Which networks, and what becomes of the times, is said in `timing`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from netpick.core import devices
from netpick.core.errors import NetpickError
from netpick.core.result import TrainingResult
from netpick.networks.paper.spec import walk
from netpick.sessions.workers.process import prepare, resident
from netpick.sessions.workers.task import Task
from netpick.training.job import EVALUATION_BATCH, Data, Job

if TYPE_CHECKING:
    from torch.nn import Sequential

BATCH = EVALUATION_BATCH
"""Inputs of a batch whose throughput is measured, the most that an evaluation takes at once on the CPU."""

REPEATS = 7
"""Of which the median is taken; single inputs are repeated as often as there is time."""

MOST_REPEATS = 1000
"""Of single inputs."""

MOST_STEPS = 64
"""Of one of the epochs that a step's time is measured by."""


def time_alone(task: Task, seconds: float, threads: int = 1) -> dict[str, Any]:
    """Time one network in a worker process; return its row of the table `timings`, with its `layers`' rows in it."""
    import torch

    from netpick.training.parts import Parts

    prepare()
    job = replace(task.job, fold=None)
    torch.set_num_threads(threads)
    try:
        whole = Parts.of(task.job, resident(task.shared, job.device)).timed()
        step, steps, text = step_seconds(job, whole, seconds / 4)
        latency, _ = forward_seconds(job, whole, 1, seconds / 4)
        batch = min(BATCH, len(whole["train"][1]))
        of_batch, repeats = forward_seconds(job, whole, batch, seconds / 4)
        layers = layer_seconds(job, whole, seconds / 4)
    finally:
        torch.set_num_threads(1)
    samples = len(whole["train"][1])
    key = {"network": job.spec.name, "device": job.device, "threads": threads}
    sizes = walk(job.spec.layers, tuple(whole["train"][0].shape[1:]))
    return {
        "layers": [
            {**key, "layer": i, "op": layer.op, "macs": size.macs, "seconds": took}
            for i, (layer, (_, size), took) in enumerate(zip(job.spec.layers, sizes, layers, strict=True))
        ],
        **key,
        "hash": job.spec.hash,
        "device_name": devices.describe(job.device),
        "plan": text,
        "batch_size": min(job.recipe.batch_size, samples),
        "step_seconds": step,
        "epoch_steps": -(-samples // job.recipe.batch_size),
        "latency": latency,
        "throughput": batch / of_batch,
        "throughput_batch": batch,
        "repeats": min(steps, repeats),
        "measured": datetime.now(UTC),
    }


def step_seconds(job: Job, whole: Data, seconds: float) -> tuple[float, int, str]:
    """Return the seconds of a training step, how many epochs of some steps it is the median of, and the plan."""
    from netpick.training.engines import train

    samples = len(whole["train"][1])
    batch = min(job.recipe.batch_size, samples)
    other = next(split for split in whole if split != "train")

    def part(steps: int, epochs: int) -> TrainingResult:
        beginning = whole["train"][0][: steps * batch], whole["train"][1][: steps * batch]
        data = {"train": beginning, other: (whole[other][0][:1], whole[other][1][:1])}
        recipe = msgspec.structs.replace(job.recipe, epochs=epochs, timeout=None)
        return train(replace(job, recipe=recipe, keep_weights=False), data)

    few = max(1, min(2, samples // batch))
    first = part(few, 2)
    if len(first.epochs) < 2:
        raise NetpickError(first.error or first.status)
    roughly = first.epochs[-1].train_seconds / few
    steps = max(1, min(samples // batch, MOST_STEPS, int(seconds / REPEATS / roughly)))
    result = part(steps, REPEATS + 1)
    if len(result.epochs) < 2:
        raise NetpickError(result.error or result.status)
    warm = [epoch.train_seconds / steps for epoch in result.epochs[1:]]
    return median(warm), len(warm), result.plan


def forward_seconds(job: Job, whole: Data, batch: int, seconds: float) -> tuple[float, int]:
    """Return the seconds of one forward pass as an evaluation does it, and how many passes it is the median of.

    But for graphs: on a CUDA card the pass is not captured, since whoever uses the network calls it.
    """
    x = whole["train"][0][:batch].clone()
    took: list[float] = []
    with _evaluating(job) as model:
        model(x).float()  # loads kernels, and chooses among them
        model(x).float()
        end = time.perf_counter() + seconds
        while len(took) < REPEATS or (time.perf_counter() < end and len(took) < MOST_REPEATS):
            devices.synchronize(job.device)
            start = time.perf_counter()
            model(x).float()
            devices.synchronize(job.device)
            took.append(time.perf_counter() - start)
    return median(took), len(took)


def layer_seconds(job: Job, whole: Data, seconds: float) -> list[float]:
    """Return the seconds of each layer on what one input comes to before it, each the median of several.

    Some calls are timed together, for the clock alone takes as long as a reshape.
    """
    given: list[tuple[Any, ...]] = []
    took = []
    with _evaluating(job) as model:
        layers = list(model)
        hooks = [layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs)) for layer in layers]
        model(whole["train"][0][:1].clone())
        for hook in hooks:
            hook.remove()
        for layer, inputs in zip(layers, given, strict=True):
            once = _repeated(layer, inputs, 2, job.device)
            calls = max(1, min(100, int(seconds / len(layers) / REPEATS / max(once, 1e-7))))
            took.append(median(_repeated(layer, inputs, calls, job.device) for _ in range(REPEATS)))
    return took


def _repeated(layer: Callable[..., Any], inputs: tuple[Any, ...], calls: int, device: str) -> float:
    """Return the seconds of one of so many calls in a row."""
    devices.synchronize(device)
    start = time.perf_counter()
    for _ in range(calls):
        layer(*inputs)
    devices.synchronize(device)
    return (time.perf_counter() - start) / calls


@contextlib.contextmanager
def _evaluating(job: Job) -> Iterator[Sequential]:
    """Build a job's network as an evaluation has it, and let it be used so."""
    import torch

    from netpick.networks.modules.build import build
    from netpick.training.steps import autocast

    torch.manual_seed(job.seed)
    model = build(job.spec.layers, tuned=job.plan.convolutions == "tuned").to(job.device).eval()
    tf32 = devices.tf32(job.device, job.plan.precision == "tf32")
    with torch.inference_mode(), tf32, autocast(job.plan, job.device):
        yield model
