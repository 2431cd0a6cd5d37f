"""Work that comes again and again: done once eagerly, then captured, then replayed; and an optimizer that allows it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import torch
from torch import nn

from netpick.training import cards
from netpick.training.engines.graphs.lanes import CaptureError, Lane
from netpick.training.job import Job
from netpick.training.steps import optimizer_arguments


def unrolled(steps: int, epochs: int) -> int:
    """Return how many steps of `steps` an epoch go into one graph.

    With k steps in it the feeding thread pays for k steps that are done eagerly and captured, and for
    `steps * epochs / k` replays; the sum is least where k is the root of their ratio.
    """
    best = round(math.sqrt(steps * epochs / cards.CAPTURE_PER_REPLAY))
    return max(1, min(best, cards.MOST_UNROLLED, steps))


def make_optimizer(model: nn.Module, job: Job, lane: Lane) -> tuple[torch.optim.Optimizer, str]:
    """Make the recipe's optimizer so that its step can be captured; return it, and why it can't, or nothing.

    SGD has no `capturable`: its step reads nothing from the device, and its first one, which makes the momentum, is
    never the captured one.
    """
    name = job.recipe.optimizer
    kind = getattr(torch.optim, name)
    args = {**optimizer_arguments(job.recipe), job.plan.kernel: True}
    refused = ""
    if "capturable" in inspect.signature(kind).parameters:
        args["capturable"] = lane.capturable
    elif name != "SGD":
        refused = f"{name} is not capturable"
    return kind(model.parameters(), **args), refused


class Captures:
    """Captures for one network, until one fails."""

    def __init__(self, lane: Lane, refused: str, wanted: bool) -> None:
        self.lane, self.refused, self.wanted = lane, refused, wanted

    def part(self, work: Callable[[], None], times: int) -> Part:
        """Return work that will be done so many times."""
        return Part(self, work, times)


class Part:
    """Work that is done `times` times: eagerly first, then captured if it comes at least twice more, then replayed."""

    def __init__(self, captures: Captures, work: Callable[[], None], times: int) -> None:
        self.captures, self.work, self.left = captures, work, times
        self.calls = 0
        self.replay: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Do it once more."""
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
