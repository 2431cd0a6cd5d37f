"""One network on a lane: its tensors that stay where they are, and the pieces of its training.

Whatever changes from step to step lies on the device: the order of the samples, the position in it, the sum of the
losses. So a captured graph of several steps can be replayed unchanged; the steps that are left over, the shorter last
batch with them, are a second graph, the evaluation is a third.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from netpick.core.recipe import Augment
from netpick.training import cards
from netpick.training.augmentation import NUMBERS, augmented
from netpick.training.engines.graphs.lanes import Lane, Mark
from netpick.training.engines.graphs.parts import Captures, make_optimizer, unrolled
from netpick.training.job import Job
from netpick.training.losses import loss_of
from netpick.training.parts import Parts
from netpick.training.schedules import schedule_of
from netpick.training.steps import autocast, move, steps_of


class Wait(Protocol):
    """What a training waits for: a mark on its lane, or work of another thread."""

    def done(self) -> bool:
        """Return whether it has happened."""


Steps = Generator[Wait | None, None, None]


@dataclass(frozen=True)
class Pieces:
    """How the work is cut up.

    `unroll`: steps in one graph, None for as many as pay; `evaluation_batch`: samples in one pass of an evaluation, and
    `turn`: replays given to the device before another network has its turn, None for what the table says.
    """

    unroll: int | None = None
    evaluation_batch: int | None = None
    turn: int | None = None


class Network:
    """The tensors of a training that stay where they are, and the parts of its work."""

    def __init__(self, model: nn.Module, job: Job, lane: Lane, parts: Parts, smallest: int, pieces: Pieces) -> None:
        self.model, self.job, self.lane, self.parts = model, job, lane, parts
        self.batch = pieces.evaluation_batch or cards.EVALUATION_BATCH
        self.turn = pieces.turn or cards.REPLAYS_A_TURN
        self.optimizer, refused = make_optimizer(model, job, lane)
        recipe, count = job.recipe, parts.count
        schedule = schedule_of(recipe, recipe.epochs * steps_of(count, recipe.batch_size, smallest))
        self.schedule = None if schedule is None else iter(schedule.tolist())
        self.captures = Captures(lane, refused, job.plan.mode == "graph" and schedule is None)
        self.clip = recipe.gradient_clip
        self.loss = loss_of(recipe)
        size = recipe.batch_size
        full, last = divmod(count, size)
        k = max(1, min(pieces.unroll or unrolled(full, recipe.epochs), full or 1))
        chunk, self.chunks = [size] * k, full // k
        rest = [size] * (full % k) + [last] * (last >= smallest)
        self.trained = self.chunks * sum(chunk) + sum(rest)
        device = parts.inputs.device
        self.order = torch.empty(count, dtype=torch.int64, device=device)
        self.augment = recipe.augment
        self.numbers = torch.empty(count if self.augment != Augment() else 0, NUMBERS, device=device)
        self.position = torch.zeros((), dtype=torch.int64, device=device)
        self.window = torch.arange(max(sum(chunk) * (self.chunks > 0), sum(rest)), device=device)
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.scores: dict[str, Tensor] = {}
        self.chunk = self.captures.part(lambda: self._train(chunk), self.chunks * recipe.epochs)
        self.rest = self.captures.part(lambda: self._train(rest), recipe.epochs) if rest else None
        self.evaluate = self.captures.part(self._evaluate, recipe.epochs)

    def epoch(self, order: Tensor, numbers: Tensor | None = None) -> Steps:
        """Train one epoch in the given order, images changed by the given numbers; yields after each turn."""
        self.order.copy_(order, non_blocking=True)
        if numbers is not None:
            self.numbers.copy_(numbers, non_blocking=True)
        self.position.zero_()
        self.total.zero_()
        self.model.train()
        before: Mark | None = None
        for number in range(self.chunks):
            self.chunk()
            if number % self.turn == self.turn - 1 or self.chunk.replay is None:
                here = self.lane.mark()
                yield before
                before = here
        if self.rest:
            self.rest()
        yield before

    def _train(self, sizes: Sequence[int]) -> None:
        inputs, labels = self.parts.inputs, self.parts.labels
        span = sum(sizes)
        places = self.window[:span] + self.position
        chosen = self.order.index_select(0, places)
        images = inputs.index_select(0, chosen)
        if len(self.numbers):
            images = augmented(images, self.numbers.index_select(0, places), self.augment)
        ys = labels.index_select(0, chosen).split(sizes)
        for x, y, size in zip(images.split(sizes), ys, sizes, strict=True):
            if self.schedule is not None:
                move(self.optimizer, *next(self.schedule))
            # Without gradients the backward pass makes new ones, in the memory of the graph, and adds nothing up.
            self.optimizer.zero_grad(set_to_none=True)
            with autocast(self.job.plan, self.lane.device):
                loss = self.loss(self.model(x).float(), y)
            loss.backward()
            if self.clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step()
            self.total.add_(loss.detach(), alpha=size)
        self.position.add_(span)

    @torch.no_grad()
    def _evaluate(self) -> None:
        self.model.eval()
        for split, (inputs, _) in self.parts.evaluated.items():
            for start in range(0, len(inputs), self.batch):
                with autocast(self.job.plan, self.lane.device):
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
