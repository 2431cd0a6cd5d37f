"""One network timed by itself, in a worker process: its training step, one input, a batch.

Warmed up, the device synchronised at both ends of what is timed, the median of several. The step is that of a real
training, with the run's plan and recipe. Which networks, and what becomes of the times, is said in `timing`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median
from typing import Any

import msgspec

from netpick.core import devices
from netpick.core.errors import NetpickError
from netpick.core.result import TrainingResult
from netpick.sessions.workers.process import prepare, resident
from netpick.sessions.workers.task import Task
from netpick.training.job import EVALUATION_BATCH, Data, Job

BATCH = EVALUATION_BATCH
"""Inputs of a batch whose throughput is measured, as many as an evaluation takes at once on the CPU."""

REPEATS = 7
"""Of which the median is taken; single inputs are repeated as often as there is time."""

MOST_REPEATS = 1000
"""Of single inputs."""

MOST_STEPS = 64
"""Of one of the epochs that a step's time is measured by."""


def time_alone(task: Task, seconds: float, threads: int = 1) -> dict[str, Any]:
    """Time one network in a worker process; return its row of the table `timings`."""
    import torch

    prepare()
    job = task.job
    torch.set_num_threads(threads)
    try:
        whole = resident(task.shared, job.device)
        step, steps, text = step_seconds(job, whole, seconds / 3)
        latency, _ = forward_seconds(job, whole, 1, seconds / 3)
        batch = min(BATCH, len(whole["train"][1]))
        of_batch, repeats = forward_seconds(job, whole, batch, seconds / 3)
    finally:
        torch.set_num_threads(1)
    samples = len(whole["train"][1])
    return {
        "network": job.spec.name,
        "hash": job.spec.hash,
        "device": job.device,
        "device_name": devices.describe(job.device),
        "threads": threads,
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
    import torch

    from netpick.networks.modules.build import build
    from netpick.training.steps import autocast

    torch.manual_seed(job.seed)
    model = build(job.spec.layers, tuned=job.plan.convolutions == "tuned").to(job.device).eval()
    x = whole["train"][0][:batch].clone()
    took: list[float] = []
    tf32 = devices.tf32(job.device, job.plan.precision == "tf32")
    with torch.inference_mode(), tf32, autocast(job.plan, job.device):
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
