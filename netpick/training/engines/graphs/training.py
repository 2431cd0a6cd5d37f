"""The training of one network in pieces that are the same each time: done once eagerly, then captured and replayed.

A training here is a generator. Each `next` gives the device some work and waits for none of it; what is yielded is
what the next piece has to wait for. So one thread feeds many networks, each on a `Lane` of its own (see `gpu_feeder`).

The same batches in the same order as in the plain loop, and the same numbers but for rounding. The first time each
piece is done eagerly and is part of the training: that warms up what torch sets up late, and there is nothing to be put
back afterwards. Where a capture fails the network goes on eagerly, and the plan of the result says why. Writes no
files, knows no other network.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from netpick.core.metrics import evaluate
from netpick.core.result import LEFT_OUT, EpochResult, SplitResult, TrainingResult
from netpick.training.augmentation import augmentation_of
from netpick.training.course import Course
from netpick.training.engines.graphs.lanes import Lane, Mark, make_lane
from netpick.training.engines.graphs.network import Network, Pieces, Steps, Wait
from netpick.training.initial import initial
from netpick.training.job import Data, Job
from netpick.training.order import Order
from netpick.training.parts import Parts
from netpick.training.steps import arrays_of, smallest_batch


@dataclass
class _Epoch:
    """An epoch that the device has been given: marks at its beginning and end, after its evaluation and its copies."""

    number: int
    marks: tuple[Mark, Mark, Mark, Mark]
    peak: int | None
    loss: Tensor
    scores: dict[str, Tensor]
    metrics: Future[tuple[SplitResult, ...]] | None = None


def training(
    job: Job,
    lane: Lane,
    data: Data,
    background: Executor,
    labels: Mapping[str, np.ndarray] | None = None,
    pieces: Pieces = Pieces(),  # noqa: B008  frozen
) -> Generator[Wait | None, None, TrainingResult]:
    """Train one network on a lane.

    Parameters
    ----------
    job : what to train
    lane : where; it must be active during each `next`
    data : on the lane's device
    background : another thread, for metrics
    labels : of the evaluated splits, on the host; of `left_out` all
    pieces : how the work is cut up
    """
    lane.begin(job.plan.precision == "tf32")
    with lane.metered():
        parts = Parts.of(job, data)
    count = parts.count
    course = Course(job, count)
    smallest = smallest_batch(job.spec, job.recipe, count, tuple(parts.inputs.shape[1:]))
    with lane.metered():
        model = initial(job).to(lane.device)
        network = Network(model, job, lane, parts, smallest, pieces)
    if labels is None:
        labels = {split: y.cpu().numpy() for split, (_, y) in parts.evaluated.items()}
    elif parts.left_out is not None:
        labels = {**labels, LEFT_OUT: labels[LEFT_OUT][parts.left_out]}
    under_way = _UnderWay(course, network.trained, background, labels, parts)
    drawn, augment = Order(job, count, parts.chosen), augmentation_of(job, count)
    with course:
        for number in range(1, job.recipe.epochs + 1):
            order = lane.host(("order", number % 2), (count,), torch.int64)
            chosen = drawn.draw()
            order.copy_(torch.arange(count) if chosen is None else chosen)
            numbers = None if augment is None else _staged(augment.draw(), lane, number)
            begin = lane.mark()
            for wait in network.epoch(order, numbers):
                yield wait
                under_way.begin_metrics()
                course.check_time()
            end = lane.mark()
            # What is done two epochs late at most: the buffers of that epoch are filled again below.
            yield from under_way.settle()
            network.evaluate()
            for _ in parts.evaluated:
                drawn.evaluated()
            scored = lane.mark()
            loss, scores = network.fetch(number)
            under_way.epochs.append(_Epoch(number, (begin, end, scored, lane.mark()), lane.peak, loss, scores))
        yield from under_way.settle()
    if course.status == "timeout":  # what was given before is nearly done
        with course:
            yield from under_way.settle()
    result = course.result(arrays_of(model) if course.keeps_weights else None)
    refused = network.captures.refused
    return result.with_(plan=str(replace(job.plan, mode=f"eager({refused})"))) if refused else result


def _staged(numbers: Tensor, lane: Lane, epoch: int) -> Tensor:
    """Return numbers of an epoch in memory that they can be copied to the device from without waiting."""
    return lane.host(("numbers", epoch % 2), tuple(numbers.shape), numbers.dtype).copy_(numbers)


class _UnderWay:
    """The epochs that the device has been given, on their way into the course of the training."""

    def __init__(
        self, course: Course, trained: int, background: Executor, labels: Mapping[str, np.ndarray], parts: Parts
    ) -> None:
        self.course, self.trained, self.background, self.labels, self.parts = course, trained, background, labels, parts
        self.epochs: list[_Epoch] = []

    def begin_metrics(self) -> None:
        """Hand the epochs whose scores have arrived to the other thread."""
        for epoch in self.epochs:
            if epoch.metrics is None and epoch.marks[3].done():
                epoch.metrics = self.background.submit(self._metrics, epoch)

    def _metrics(self, epoch: _Epoch) -> tuple[SplitResult, ...]:
        samples = sum(len(scores) for scores in epoch.scores.values())
        seconds = epoch.marks[2].seconds_since(epoch.marks[1])
        splits = []
        for split, tensor in epoch.scores.items():
            scores = tensor.numpy().copy()  # the buffer is filled again by the epoch after the next
            self.course.check_scores(scores, split, epoch.number)
            took, numbers = seconds * len(scores) / samples, self.parts.numbers(split)
            splits.append(evaluate(split, scores, self.labels[split], took, numbers))
        return tuple(splits)

    def settle(self) -> Steps:
        """Make results of all epochs given so far; stop where one diverged."""
        while self.epochs:
            epoch = self.epochs[0]
            if not epoch.marks[3].done():
                yield epoch.marks[3]
            loss = epoch.loss.item() / self.trained
            self.course.check_loss(loss, epoch.number)
            self.begin_metrics()
            assert epoch.metrics is not None
            if not epoch.metrics.done():
                yield epoch.metrics
            splits = epoch.metrics.result()
            seconds = epoch.marks[1].seconds_since(epoch.marks[0])
            self.course.add(EpochResult(epoch.number, loss, seconds, epoch.peak, splits))
            self.epochs.pop(0)


def run_alone(work: Generator[Wait | None, None, TrainingResult], lane: Lane) -> TrainingResult:
    """Run a training to its end, with nothing beside it."""
    try:
        while True:
            with lane.active():
                wait = next(work)
            while wait is not None and not wait.done():
                time.sleep(0.0001)
    except StopIteration as end:
        result: TrainingResult = end.value
        return result
    finally:
        work.close()
        while not lane.idle():
            time.sleep(0.0001)
        lane.release()


def train_alone(job: Job, data: Data) -> TrainingResult:
    """Train on a lane of its own."""
    lane = make_lane(job.device)
    with ThreadPoolExecutor(1) as background:
        return run_alone(training(job, lane, data, background), lane)
