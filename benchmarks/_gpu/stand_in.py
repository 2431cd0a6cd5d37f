"""A card that is not there: the same face as `bench.Bench` on the CPU, at tiny size, so that all else can be tried out.

Lanes are those that netpick itself has in place of a card's, in this process. What only a card can tell is made up, and
the same each time: bytes are what `VALUES`, `WEIGHTS` and the next say, so that one can see whether they are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import torch

from _gpu.bench import Bench, Size, Sized
from netpick.core.result import TrainingResult
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.template import Recipe, load
from netpick.networks.paper.spec import NetworkSpec
from netpick.sessions import Options, session, train_run
from netpick.sessions.workers.gpu_budget import Layout
from netpick.sessions.workers.task import Ended, Task
from netpick.training import Plan, choose

VALUES, WEIGHTS, HELD, CONTEXT = 2.0, 6.0, 10 * 2**20, 500 * 2**20
"""Planted: float32 numbers for each value and each weight; bytes of a network beside them, and of a process."""


class StandIn(Bench):
    """A stand-in of a card."""

    stand_in = True
    card = "stand-in of a card on the CPU"
    dataset, template = "digits", str(Path(__file__).with_name("stand_in.toml"))
    size = Size(
        every=12, equal=2, equal_samples=50, steps=4, learned=50, samples=100, copies=1, turns=2, others=2, careful=2,
        packs=2, packed=6, held=2, groups=(2,), streams=(1, 2), several=((2, 2),),
    )  # fmt: skip
    taken = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        torch.set_num_threads(1)  # as in the processes of a card; more only get in each other's way

    @cached_property
    def panel(self) -> list[Sized]:
        """Three networks of the template."""
        return self.sized(generate(load(self.template), self.image, 10, limit=3))

    def drawn(self, number: int, seed: int = 0) -> list[Sized]:
        """Return networks as a card would, but of another seed: the template has few."""
        return super().drawn(number, seed + 1)

    def plan(self, recipe: Recipe, spec: NetworkSpec, mode: str = "graph") -> Plan:
        """Return what a card would get."""
        chosen = choose(msgspec.structs.replace(recipe, precision="fp32"), "cpu", spec, "eager")
        return replace(chosen, mode=mode, precision="tf32" if recipe.precision == "auto" else recipe.precision)

    def free(self) -> int:
        """Return less each time."""
        self.taken += self.size.held * HELD
        return 2**37 - self.taken

    def threads(self) -> int:
        """Return a number that no card has."""
        return 123_456

    def context_bytes(self) -> int:
        """Return what is planted."""
        return CONTEXT

    def compiled(self, model: Any) -> Any:
        """Return it as it is: to compile takes longer than all else together."""
        return model

    @staticmethod
    def shrink(device: str, most: int) -> None:
        """Do nothing: there is no card whose memory could be less."""

    def stream(
        self, tasks: Sequence[Task], layout: Layout, on_start: Callable[[Task], None], prepare: Any
    ) -> Iterator[Ended[TrainingResult]]:
        """Train in this process, on as many lanes as the card would have in all its processes."""
        with ThreadPoolExecutor(1) as background:
            feeder = prepare("cpu", Layout(1, layout.trainings), background)
            start = feeder.start

            def planted(task: Task, lane: Any) -> Any:
                values = VALUES * task.memory * task.job.recipe.batch_size + WEIGHTS * task.params
                lane.peak = round(4 * values)
                return start(task, lane)

            feeder.start = planted
            for task in tasks:
                feeder.add(task.on("cpu"))
            while feeder.busy:
                for said in feeder.turn():
                    if isinstance(said, Task):
                        on_start(said)
                    else:
                        yield said

    def train_run(self, run: Path) -> bool:
        """Train a run on a card that the session believes in."""

        def stream(tasks: Sequence[Task], devices: object, layout: Layout, on_start: Callable[[Task], None]) -> Any:
            from netpick.sessions.workers.gpu_processes import prepare_card

            return self.stream(tasks, layout, on_start, prepare_card)

        with ExitStack() as stack:
            stack.enter_context(patch.object(torch.cuda, "is_available", lambda: True))
            stack.enter_context(patch.object(torch.cuda, "device_count", lambda: 1))
            stack.enter_context(patch.object(torch.cuda, "get_device_name", lambda name: self.card))
            stack.enter_context(patch.object(session.gpu_processes, "stream", stream))
            train_run(run, Options(device="cuda:0", estimate=False))
        return True
