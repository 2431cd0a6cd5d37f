"""The card of a cluster's worker: one thread that feeds it, for all the bundles that the worker has at a time.

A card is packed as on one machine, by the same feeder, lanes and budget (see `gpu_feeder`). It is not fed by processes
of its own: a worker under a nanny may not start any, and is itself one that can die and be replaced.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue

from netpick.core.result import TrainingResult
from netpick.sessions.workers.gpu_budget import Layout
from netpick.sessions.workers.gpu_feeder import DeviceLost, Feeder
from netpick.sessions.workers.gpu_processes import Prepare, prepare_card
from netpick.sessions.workers.task import Failure, Task, TrainingKey
from netpick.training import cards

PREPARE: Prepare = prepare_card
"""What makes the feeder of a card; a stand-in's, in tests."""

Outcome = TrainingResult | Failure

_MAKING = threading.Lock()


class Card:
    """A card, fed by a thread of its own.

    Parameters
    ----------
    device : such as `cuda:0`
    share : the workers that have this card: each takes its part of the memory
    prepare : makes what feeds it
    """

    def __init__(self, device: str, share: int, prepare: Prepare) -> None:
        self.device, self.layout, self.prepare = device, Layout(share, cards.STREAMS), prepare
        self._incoming: SimpleQueue[tuple[Task, Future[Outcome]]] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True, name=f"netpick {device}").start()

    def train(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Train some networks beside all others, and return what each came to; waits for them."""
        expected: list[Future[Outcome]] = [Future() for _ in tasks]
        for pair in zip(tasks, expected, strict=True):
            self._incoming.put(pair)
        return [one.result() for one in expected]

    def _run(self) -> None:
        expected: dict[TrainingKey, Future[Outcome]] = {}
        try:
            with ThreadPoolExecutor(1) as background:
                self._feed(self.prepare(self.device, self.layout, background), expected)
        except DeviceLost as error:
            sys.stderr.write(f"netpick: {self.device}: {error}\n")
            os._exit(1)  # a process that has lost its card trains nothing more: another one takes its place
        except Exception as error:  # noqa: BLE001  whoever waits would wait for ever
            for one in expected.values():
                one.set_exception(error)
            while True:
                self._incoming.get()[1].set_exception(error)

    def _feed(self, feeder: Feeder, expected: dict[TrainingKey, Future[Outcome]]) -> None:
        while True:
            while (said := self._next(wait=not feeder.busy)) is not None:
                task, one = said
                expected[task.key] = one
                feeder.add(task)
            for happened in feeder.turn():
                if not isinstance(happened, Task):
                    expected.pop(happened.task.key).set_result(happened.outcome)

    def _next(self, wait: bool) -> tuple[Task, Future[Outcome]] | None:
        try:
            return self._incoming.get(block=wait)
        except Empty:
            return None


def card(device: str, share: int) -> Card:
    """Return the card of this process; a worker has one, whichever of its threads asks first."""
    with _MAKING:
        return _card(device, share)


@functools.cache
def _card(device: str, share: int) -> Card:
    return Card(device, share, PREPARE)


def forget_cards() -> None:
    """Let the next `card` be another one; what feeds those that there are goes on."""
    _card.cache_clear()
