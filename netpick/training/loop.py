"""The loop over epochs that the engines of one training at a time share: train, look at the loss, evaluate.

The data set is resident on the device. Nothing is read from or written to files here, and the loss is looked at once an
epoch, since reading a number from a device makes the device wait. How an epoch is trained, is the engine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from netpick.core import devices
from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, SplitResult, TrainingResult
from netpick.training.augmentation import Augmentation, augmentation_of
from netpick.training.course import Course
from netpick.training.initial import initial
from netpick.training.job import Data, Job
from netpick.training.order import Order
from netpick.training.parts import Parts
from netpick.training.schedules import schedule_of
from netpick.training.steps import arrays_of, smallest_batch, steps_of


@dataclass(frozen=True)
class Setup:
    """What an engine begins with.

    `inputs` and `labels` are those to train on, all or some of them; `order` knows how many, and draws their order in
    each epoch; batches of fewer samples than `smallest` are left out; `schedule` has learning rate and momentum of each
    step, where they change; `augment`, where there is one, changes the images; `check_time` is to be called after each
    step.
    """

    job: Job
    model: nn.Sequential
    inputs: Tensor
    labels: Tensor
    order: Order
    smallest: int = 1
    schedule: np.ndarray | None = None
    augment: Augmentation | None = None
    check_time: Callable[[], None] = lambda: None

    @property
    def count(self) -> int:
        """Number of samples that an epoch trains on: where a batch is left out, it has one sample."""
        return self.order.count - (self.smallest - 1)


class Trainer(Protocol):
    """What an engine makes of a setup."""

    def epoch(self) -> float:
        """Train one epoch, to its end; return the mean loss over its samples. The model's mode is the trainer's own."""

    def score(self, inputs: Tensor) -> np.ndarray:
        """Return the scores (samples, classes) float32 of the model as it is."""


def train_epochs(job: Job, data: Data, make: Callable[[Setup], Trainer]) -> TrainingResult:
    """Train a network by what `make` returns, and evaluate it after every epoch.

    Returns
    -------
    TrainingResult
        `done`, or `diverged` or `timeout` with the epochs that were finished before. Exceptions of torch pass through.
    """
    parts = Parts.of(job, data)
    course = Course(job, parts.count)
    devices.reset_peak_memory(job.device)
    smallest = smallest_batch(job.spec, job.recipe, parts.count, tuple(parts.inputs.shape[1:]))
    model = initial(job)
    if job.kind != "cpu":  # where it is already: torch would look at each tensor
        model.to(job.device)
    order = Order(job, parts.count, parts.chosen)
    steps = job.recipe.epochs * steps_of(parts.count, job.recipe.batch_size, smallest)
    schedule = schedule_of(job.recipe, steps)
    augment = augmentation_of(job, parts.count)
    trainer = make(Setup(job, model, parts.inputs, parts.labels, order, smallest, schedule, augment, course.check_time))
    with course:
        for epoch in range(1, job.recipe.epochs + 1):
            devices.synchronize(job.device)
            start = time.perf_counter()
            if augment is not None:
                augment.begin_epoch()
            loss = trainer.epoch()  # reads the loss from the device, and so waits for it
            seconds = time.perf_counter() - start
            course.check_loss(loss, epoch)
            splits = tuple(_evaluate(trainer, course, order, parts, split, epoch) for split in parts.evaluated)
            course.add(EpochResult(epoch, loss, seconds, devices.peak_memory(job.device), splits))
    return course.result(arrays_of(model) if course.keeps_weights else None)


@torch.inference_mode()
def _evaluate(trainer: Trainer, course: Course, order: Order, parts: Parts, split: str, epoch: int) -> SplitResult:
    """Score every sample of a split; stop where a score is not a number."""
    inputs, labels = parts.evaluated[split]
    order.evaluated()
    devices.synchronize(course.job.device)
    start = time.perf_counter()
    scores = trainer.score(inputs)
    seconds = time.perf_counter() - start
    course.check_scores(scores, split, epoch)
    return evaluate(split, scores, labels.cpu().numpy(), seconds, parts.numbers(split))
