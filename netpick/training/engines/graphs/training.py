"""The training of one network in pieces that are the same each time: done once eagerly, then captured and replayed.

A training here is a generator. Each `next` gives the device some work and waits for none of it; what is yielded is
what the next piece has to wait for. So one thread feeds many networks, each on a `Lane` of its own (see `feeder`).

The same batches in the same order as in `train`, the plain loop, and the same numbers but for rounding. Whatever
changes from step to step lies on the device: the order of the samples, the position in it, the sum of the losses. So
a captured graph of several steps can be replayed unchanged; the steps that are left over, the shorter last batch with
them, are a second graph, the evaluation is a third. The first time each of them is done eagerly and is part of the
training: that warms up what torch sets up late, and there is nothing to be put back afterwards. Where a capture fails
the network goes on eagerly, and the plan of the result says why. Writes no files, knows no other network.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, SplitResult, TrainingResult
from netpick.networks.catalogue.template import Recipe
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import NetworkSpec
from netpick.training.engines.graphs.lanes import CaptureError, Lane, Mark, make_lane
from netpick.training.plan import Plan, precision_context
from netpick.training.steps import arrays_of, smallest_batch

Data = Mapping[str, tuple[Tensor, Tensor]]

CAPTURE_PER_REPLAY = 150
"""What a step costs the feeding thread when it is done eagerly once and captured, in replays of a graph (about 1.5 ms
to 10 µs: of CPU time, from published figures of torch's overhead; not measured on a card yet)."""

MOST_UNROLLED = 32
"""Steps in one graph at most."""

REPLAYS_A_TURN = 16
"""Replays given to the device before another network has its turn; two turns are under way at most."""

EVALUATION_BATCH = 1000
"""Samples in one forward pass of an evaluation: enough to fill a card."""


class Wait(Protocol):
    """What a training waits for: a mark on its lane, or work of another thread."""

    def done(self) -> bool:
        """Return whether it has happened."""


Steps = Generator[Wait | None, None, None]


class _Stop(Exception):  # noqa: N818  no error, but a way out
    def __init__(self, status: str, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error


def unrolled(steps: int, epochs: int) -> int:
    """Return how many steps of `steps` an epoch go into one graph.

    With k steps in it the feeding thread pays for k steps that are done eagerly and captured, and for
    `steps * epochs / k` replays; the sum is least where k is the root of their ratio.
    """
    best = round(math.sqrt(steps * epochs / CAPTURE_PER_REPLAY))
    return max(1, min(best, MOST_UNROLLED, steps))


def make_optimizer(model: nn.Module, recipe: Recipe, plan: Plan, lane: Lane) -> tuple[torch.optim.Optimizer, str]:
    """Make the recipe's optimizer so that its step can be captured; return it, and why it can't, or nothing.

    SGD has no `capturable`: its step reads nothing from the device, and its first one, which makes the momentum, is
    never the captured one.
    """
    args: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe.optimizer_args.items()}
    kind = getattr(torch.optim, recipe.optimizer)
    args[plan.kernel] = True
    refused = ""
    if "capturable" in inspect.signature(kind).parameters:
        args["capturable"] = lane.capturable
    elif recipe.optimizer != "SGD":
        refused = f"{recipe.optimizer} is not capturable"
    return kind(model.parameters(), lr=recipe.lr, **args), refused


class _Captures:
    """Captures for one network, until one fails."""

    def __init__(self, lane: Lane, refused: str, wanted: bool) -> None:
        self.lane, self.refused, self.wanted = lane, refused, wanted

    def part(self, work: Callable[[], None], times: int) -> _Part:
        return _Part(self, work, times)


class _Part:
    """Work that is done `times` times: eagerly first, then captured if it comes at least twice more, then replayed."""

    def __init__(self, captures: _Captures, work: Callable[[], None], times: int) -> None:
        self.captures, self.work, self.left = captures, work, times
        self.calls = 0
        self.replay: Callable[[], None] | None = None

    def __call__(self) -> None:
        lane = self.captures.lane
        may = self.captures.wanted and not self.captures.refused
        if self.replay is None and self.calls and self.left >= 2 and may:
            try:
                with lane.metered():
                    self.replay = lane.capture(self.work)
            except CaptureError as error:
                self.captures.refused = f"capture: {error}"
        if self.replay is not None:
            self.replay()
        elif self.calls < 2:
            with lane.metered():
                self.work()
        else:
            self.work()
        self.calls += 1
        self.left -= 1


@dataclass
class _Epoch:
    """An epoch that the device has been given, on its way to a result."""

    number: int
    marks: tuple[Mark, Mark, Mark, Mark]
    peak: int | None
    loss: Tensor
    scores: dict[str, Tensor]
    metrics: Future[tuple[SplitResult, ...]] | None = None


class _Network:
    """The tensors of a training that stay where they are, and the parts of its work."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        plan: Plan,
        lane: Lane,
        data: Data,
        unroll: int | None,
        batch: int,
        smallest: int,
    ) -> None:
        self.model, self.plan, self.lane, self.data, self.batch = model, plan, lane, data, batch
        self.optimizer, refused = make_optimizer(model, recipe, plan, lane)
        self.captures = _Captures(lane, refused, plan.mode == "graph")
        inputs, labels = data["train"]
        count, size = len(labels), recipe.batch_size
        full, last = divmod(count, size)
        k = max(1, min(unroll or unrolled(full, recipe.epochs), full or 1))
        chunk, self.chunks = [size] * k, full // k
        rest = [size] * (full % k) + [last] * (last >= smallest)
        self.trained = self.chunks * sum(chunk) + sum(rest)
        device = inputs.device
        self.order = torch.empty(count, dtype=torch.int64, device=device)
        self.position = torch.zeros((), dtype=torch.int64, device=device)
        self.window = torch.arange(max(sum(chunk) * (self.chunks > 0), sum(rest)), device=device)
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.scores: dict[str, Tensor] = {}
        self.chunk = self.captures.part(lambda: self._train(chunk), self.chunks * recipe.epochs)
        self.rest = self.captures.part(lambda: self._train(rest), recipe.epochs) if rest else None
        self.evaluate = self.captures.part(self._evaluate, recipe.epochs)

    def epoch(self, order: Tensor) -> Steps:
        """Train one epoch in the given order; yields after each turn."""
        self.order.copy_(order, non_blocking=True)
        self.position.zero_()
        self.total.zero_()
        self.model.train()
        before: Mark | None = None
        for number in range(self.chunks):
            self.chunk()
            if number % REPLAYS_A_TURN == REPLAYS_A_TURN - 1 or self.chunk.replay is None:
                here = self.lane.mark()
                yield before
                before = here
        if self.rest:
            self.rest()
        yield before

    def _train(self, sizes: Sequence[int]) -> None:
        inputs, labels = self.data["train"]
        span = sum(sizes)
        chosen = self.order.index_select(0, self.window[:span] + self.position)
        xs, ys = inputs.index_select(0, chosen).split(sizes), labels.index_select(0, chosen).split(sizes)
        for x, y, size in zip(xs, ys, sizes, strict=True):
            # Without gradients the backward pass makes new ones, in the memory of the graph, and adds nothing up.
            self.optimizer.zero_grad(set_to_none=True)
            with precision_context(self.plan, self.lane.device):
                loss = F.nll_loss(self.model(x).float(), y)
            loss.backward()
            self.optimizer.step()
            self.total.add_(loss.detach(), alpha=size)
        self.position.add_(span)

    @torch.no_grad()
    def _evaluate(self) -> None:
        self.model.eval()
        for split, (inputs, _) in self.data.items():
            if split == "train":
                continue
            for start in range(0, len(inputs), self.batch):
                with precision_context(self.plan, self.lane.device):
                    scores = self.model(inputs[start : start + self.batch]).float()
                if split not in self.scores:  # the first time, which is never captured
                    self.scores[split] = scores.new_empty(len(inputs), scores.shape[1])
                self.scores[split][start : start + self.batch].copy_(scores)

    def fetch(self, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Begin to copy loss and scores to the host; buffers are those of the epoch before the last."""
        loss = self.lane.host(("loss", number % 2), (), torch.float64)
        loss.copy_(self.total, non_blocking=True)
        copies = {}
        for split, scores in self.scores.items():
            copies[split] = self.lane.host((split, number % 2), tuple(scores.shape), torch.float32)
            copies[split].copy_(scores, non_blocking=True)
        return loss, copies


def training(
    spec: NetworkSpec,
    recipe: Recipe,
    lane: Lane,
    data: Data,
    seed: int,
    plan: Plan,
    replicate: int = 0,
    keep_weights: bool = False,
    *,
    background: Executor,
    labels: Mapping[str, np.ndarray] | None = None,
    unroll: int | None = None,
    evaluation_batch: int = EVALUATION_BATCH,
) -> Generator[Wait | None, None, TrainingResult]:
    """Train one network on a lane; see `train.train` for what is not said here.

    Parameters
    ----------
    lane : where; it must be active during each `next`
    background : another thread, for metrics
    labels : of the evaluated splits, on the host
    unroll : steps in one graph; None for as many as pay
    evaluation_batch : samples in one forward pass of an evaluation
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    smallest = smallest_batch(spec, recipe, data["train"][0])
    lane.begin()
    torch.manual_seed(seed)
    with lane.metered():
        model = build(spec.layers, tuned=plan.convolutions == "tuned").to(lane.device)
        network = _Network(model, recipe, plan, lane, data, unroll, evaluation_batch, smallest)
    if labels is None:
        labels = {split: y.cpu().numpy() for split, (_, y) in data.items() if split != "train"}
    generator = torch.Generator().manual_seed(seed ^ 0x5EED)
    count, trained = len(data["train"][1]), network.trained
    done: list[EpochResult] = []
    given: list[_Epoch] = []
    status, error = "done", None
    try:
        for number in range(1, recipe.epochs + 1):
            order = lane.host(("order", number % 2), (count,), torch.int64)
            if recipe.shuffle:
                torch.randperm(count, generator=generator, out=order)
            else:
                torch.arange(count, out=order)
            begin = lane.mark()
            for wait in network.epoch(order):
                yield wait
                _begin_metrics(given, background, labels)
                if recipe.timeout and time.perf_counter() - clock > recipe.timeout:
                    raise _Stop("timeout", f"not finished after {recipe.timeout:g} seconds")
            end = lane.mark()
            # What is done two epochs late at most: the buffers of that epoch are filled again below.
            yield from _settle(given, done, background, labels, trained)
            network.evaluate()
            scored = lane.mark()
            loss, scores = network.fetch(number)
            given.append(_Epoch(number, (begin, end, scored, lane.mark()), lane.peak, loss, scores))
        yield from _settle(given, done, background, labels, trained)
    except _Stop as stop:
        status, error = stop.status, stop.error
        if status == "timeout":  # what was given before is nearly done
            try:
                yield from _settle(given, done, background, labels, trained)
            except _Stop as diverged:
                status, error = diverged.status, diverged.error
    refused = network.captures.refused
    weights = None
    if keep_weights and status == "done":
        weights = arrays_of(model)
    return TrainingResult(
        network=spec.name,
        hash=spec.hash,
        replicate=replicate,
        status=status,
        error=error,
        seed=seed,
        device=lane.device,
        plan=str(replace(plan, mode=f"eager({refused})") if refused else plan),
        started=started,
        seconds=time.perf_counter() - clock,
        epochs=tuple(done),
        weights=weights,
    )


def _begin_metrics(given: list[_Epoch], background: Executor, labels: Mapping[str, np.ndarray]) -> None:
    """Hand the epochs whose scores have arrived to the other thread."""
    for epoch in given:
        if epoch.metrics is None and epoch.marks[3].done():
            seconds = epoch.marks[2].seconds_since(epoch.marks[1])
            epoch.metrics = background.submit(_metrics, epoch.number, epoch.scores, labels, seconds)


def _metrics(
    number: int, scores: Mapping[str, Tensor], labels: Mapping[str, np.ndarray], seconds: float
) -> tuple[SplitResult, ...]:
    samples = sum(len(one) for one in scores.values())
    out = []
    for split, tensor in scores.items():
        here = tensor.numpy().copy()  # the buffer is filled again by the epoch after the next
        if np.isnan(here).any():
            raise _Stop("diverged", f"scores of split {split} are not numbers after epoch {number}")
        out.append(evaluate(split, here, labels[split], seconds * len(here) / samples))
    return tuple(out)


def _settle(
    given: list[_Epoch],
    done: list[EpochResult],
    background: Executor,
    labels: Mapping[str, np.ndarray],
    trained: int,
) -> Steps:
    """Make results of all epochs given so far; raise where one diverged."""
    while given:
        epoch = given[0]
        if not epoch.marks[3].done():
            yield epoch.marks[3]
        loss = epoch.loss.item() / trained
        if not np.isfinite(loss):
            raise _Stop("diverged", f"training loss became {loss} in epoch {epoch.number}")
        _begin_metrics(given, background, labels)
        assert epoch.metrics is not None
        if not epoch.metrics.done():
            yield epoch.metrics
        splits = epoch.metrics.result()
        seconds = epoch.marks[1].seconds_since(epoch.marks[0])
        done.append(EpochResult(epoch.number, loss, seconds, epoch.peak, splits))
        given.pop(0)


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


def train_alone(
    spec: NetworkSpec,
    recipe: Recipe,
    device: str,
    data: Data,
    seed: int,
    plan: Plan,
    replicate: int = 0,
    keep_weights: bool = False,
) -> TrainingResult:
    """Train as `train.train` does, on a lane of its own."""
    from concurrent.futures import ThreadPoolExecutor

    lane = make_lane(device)
    with ThreadPoolExecutor(1) as background:
        work = training(spec, recipe, lane, data, seed, plan, replicate, keep_weights, background=background)
        return run_alone(work, lane)
