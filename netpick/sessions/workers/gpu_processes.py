"""Many trainings on CUDA cards: processes that each feed several networks at a time, and hand back each result at once.

A process belongs to one card, holds the data set there once, and feeds its networks from one thread (see `feeder`).
Tasks go to it through a pipe, one at a time, and each result comes back as soon as it is there, so that it can be
written down. Processes are started as joblib starts its own, but not fed through joblib: there a call returns once,
and one that dies takes the others' calls with it. Here the death of a process costs what it had begun, which is tried
again alone; what ran out of memory is tried again alone too, when all else is done, and the second time is recorded as
a failure. Does the same as `pool.stream` for other devices, and on the CPU with the stand-in of a card, for tests.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from netpick.core.errors import WorkError
from netpick.core.processes import safe_path
from netpick.core.result import TrainingResult
from netpick.data.shared import attach
from netpick.networks.paper.whole_networks import is_baseline
from netpick.sessions.workers.gpu_budget import Budget, Layout
from netpick.sessions.workers.gpu_feeder import DeviceLost, Feeder, Training
from netpick.sessions.workers.process import (
    LOOK_SECONDS,
    look_for_stopped,
    looking,
    resident,
    started_without_ctrl_c,
    train_task,
    watch,
)
from netpick.sessions.workers.process import prepare as prepare_worker
from netpick.sessions.workers.task import Ended, Failure, Task, TrainingKey
from netpick.training import cards

Prepare = Callable[[str, Layout, Executor], Feeder]

AHEAD = 2
"""Tasks that a process has beyond those in training, so that no stream waits for the pipe."""


# The process of a card


def serve(connection: Connection, device: str, layout: Layout, prepare: Prepare) -> None:
    """Train what comes through the pipe, and send back each task that begins and each result, until it is ended."""
    watch(os.getppid())
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator hears Ctrl-C and decides
    one_at_a_time = threading.Lock()

    def send(said: Task | Ended[TrainingResult]) -> None:
        with one_at_a_time:
            connection.send(said)

    with ThreadPoolExecutor(1) as background, ThreadPoolExecutor(1) as sender:
        feeder = prepare(device, layout, background)
        while True:
            while connection.poll(0 if feeder.busy else None):
                try:
                    feeder.add(connection.recv())
                except (EOFError, OSError):  # the coordinator has gone
                    os._exit(1)
            try:
                happened = feeder.turn()
            except DeviceLost as error:
                sys.stderr.write(f"netpick: {device}: {error}\n")
                sender.shutdown()
                os._exit(1)
            for said in happened:
                if isinstance(said, Task):
                    send(said)  # before its first turn
                else:
                    sender.submit(send, said)  # megabytes of scores: the card is not to wait for them


def prepare_card(device: str, layout: Layout, background: Executor) -> Feeder:
    """Make what feeds a card in this process: lanes, budget, and what to do when the card fails."""
    import torch

    from netpick.training.engines.graphs.lanes import make_lane

    prepare_worker()
    lanes = [make_lane(device) for _ in range(layout.streams)]
    if not device.startswith("cuda"):
        return Feeder(lanes, Budget(sys.maxsize), partial(start_training, background=background))
    torch.cuda.set_device(device)
    free, size = torch.cuda.mem_get_info(device)
    # Each process of a card sees nearly the same: it takes its part.
    torch.cuda.set_per_process_memory_fraction(min(1.0, free / size / layout.processes), device)
    budget = Budget(int(cards.MEMORY_SHARE * (free / layout.processes - cards.CONTEXT_BYTES)))

    def start(task: Task, lane: Any) -> Training:
        budget.set_aside(sum(array.nbytes for split in attach(task.shared).values() for array in split))
        return start_training(task, lane, background)

    return Feeder(lanes, budget, start, partial(_lost, device=device), torch.cuda.empty_cache)


def start_training(task: Task, lane: Any, background: Executor) -> Training:
    """Make the training of a task: on the lane, or beside it where no gradient trains it."""
    if is_baseline(task.job.spec.layers):
        return (yield from _beside(task, background))
    from netpick.training.engines.graphs.training import training

    data = resident(task.shared, task.job.device)
    labels = attach(task.shared).evaluated_labels
    return (yield from training(task.job, lane, data, background, labels))


def _beside(task: Task, background: Executor) -> Training:
    future = background.submit(train_task, task.on("cpu"))
    yield future
    return future.result()


def _lost(error: Exception, device: str) -> bool:
    """Return whether a CUDA error has spoilt this process's context: then every call fails, also a harmless one."""
    import torch

    if isinstance(error, torch.OutOfMemoryError) or "CUDA" not in f"{type(error).__name__}{error}":
        return False
    try:
        torch.cuda.synchronize(device)
        return bool(torch.ones(1, device=device).item() != 1)
    except RuntimeError:
        return True


# The coordinator


@dataclass
class _Process:
    """A process of a card as the coordinator sees it."""

    device: str
    layout: Layout
    prepare: Prepare
    given: dict[TrainingKey, Task] = field(default_factory=dict)
    begun: dict[TrainingKey, datetime] = field(default_factory=dict)
    fruitless: int = 0
    open: bool = False

    def start_process(self) -> None:
        """Start it."""
        from joblib.externals.loky.backend import get_context

        context = get_context("loky")
        self.connection, theirs = context.Pipe()
        with started_without_ctrl_c(), safe_path():
            arguments = (theirs, self.device, self.layout, self.prepare)
            self.process = context.Process(target=serve, args=arguments, daemon=True)
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.open = True

    def give(self, task: Task) -> None:
        """Hand a task over."""
        task = task.on(self.device)
        self.given[task.key] = task
        with contextlib.suppress(OSError):  # it has died: that is noticed when its end of the pipe is read
            self.connection.send(task)

    def close(self) -> None:
        """End it at once; what it had is dropped."""
        if self.open:
            self.open = False
            self.process.terminate()
            self.process.join()
            self.connection.close()


def stream(
    tasks: Sequence[Task],
    devices: Sequence[str],
    layout: Layout,
    on_start: Callable[[Task], None] = lambda task: None,
    prepare: Prepare = prepare_card,
) -> Generator[Ended[TrainingResult], None, None]:
    """Train all tasks on some cards and yield each one as it ends; see `pool.stream`.

    Parameters
    ----------
    tasks : what is due, the costliest first
    devices : the cards, such as `cuda:0`
    layout : processes on each, and networks at a time in each process
    on_start : told each task that begins
    prepare : makes what feeds a card, in its process; a function of a module

    Raises
    ------
    WorkError
        A card's process ends again and again before it has begun anything.
    """
    waiting = deque(tasks)
    again: list[Task] = []
    # Turn about, so that the first tasks, the costliest, are spread over the cards.
    places = [_Process(device, layout, prepare) for _ in range(layout.processes) for device in devices]
    places = places[: max(1, len(tasks))] if tasks else []
    single = _Process(devices[0], Layout(1, 1), prepare)
    with looking(look_for_stopped(lambda: [p.process.pid for p in (*places, single) if p.open]), LOOK_SECONDS):
        yield from _run(waiting, again, places, on_start)
        if again:
            yield from _run(deque(again), [], [single], on_start)


def _run(
    waiting: deque[Task], again: list[Task], places: list[_Process], on_start: Callable[[Task], None]
) -> Generator[Ended[TrainingResult], None, None]:
    """Yield what waits as it ends; what is to be tried again alone goes into `again`."""
    try:
        while waiting or any(place.given for place in places):
            for place in places:
                if waiting and not place.open:
                    place.start_process()
            _deal(waiting, [place for place in places if place.open])
            by_connection = {place.connection: place for place in places if place.open}
            for connection in wait(list(by_connection)):
                place = by_connection[connection]
                try:
                    said = place.connection.recv()
                except (EOFError, OSError):
                    yield from _bury(place, waiting, again)
                    continue
                if isinstance(said, Task):
                    place.begun[said.key] = datetime.now(UTC)
                    place.fruitless = 0
                    on_start(said)
                    continue
                place.given.pop(said.task.key)
                place.begun.pop(said.task.key, None)
                if said.deserves_another:
                    again.append(said.task.again())
                else:
                    yield said
    finally:
        for place in places:
            place.close()


def _deal(waiting: deque[Task], places: list[_Process]) -> None:
    """Hand out tasks, one to each place in turn, as long as a place has room."""
    room = True
    while waiting and room:
        room = False
        for place in sorted(places, key=lambda place: len(place.given)):
            if waiting and len(place.given) < place.layout.streams + AHEAD:
                place.give(waiting.popleft())
                room = True


def _bury(place: _Process, waiting: deque[Task], again: list[Task]) -> Iterator[Ended[TrainingResult]]:
    """Deal with what a dead process had."""
    place.process.join(5)
    code = place.process.exitcode
    place.close()
    for key, task in reversed(place.given.items()):
        if key not in place.begun:
            waiting.appendleft(task)
        elif task.attempts == 1:
            again.append(task.again())
        else:
            yield Ended(task, Failure.of_a_worker(f"exit code {code}", place.begun[key]))
    place.fruitless += not place.begun
    if place.fruitless > 1:
        raise WorkError(
            f"the worker process on {place.device} ended twice (exit code {code}) before it had begun a training: "
            "look at its messages above, or choose another device with --device"
        )
    place.given, place.begun = {}, {}
