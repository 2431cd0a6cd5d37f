"""Many trainings on many workers: which one next, on which device, and what happens when a worker dies.

Workers are processes, made and fed through joblib. Tasks and results are plain picklable values and a worker assumes
no disk shared with the coordinator beyond its data directory, so that another joblib backend, such as Dask's, can
carry the same tasks over a cluster. A failure is a row, not a crash: whatever a task raises is caught inside it; when
a worker process dies, joblib ends the whole call, so the pool is started again, what was in hand is tried once more
alone, and the second time it is recorded as `failed`. Nothing here knows Parquet.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from multiprocessing.connection import wait
from typing import Any

import msgspec

from netpick.core.recipe import FOR_BASELINES
from netpick.core.result import TrainingResult
from netpick.data.shared import SharedData, attach
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import is_baseline
from netpick.training.plan import Plan

OUT_OF_MEMORY = "out of memory"

SECONDS_TO_NOTICE = 3
"""joblib notices a dead worker within milliseconds, or never."""

Key = tuple[str, int]


@dataclass(frozen=True)
class Task:
    """One training, with all that a worker needs for it; plain values only. `memory` and `params` are the network's."""

    spec: NetworkSpec
    replicate: int
    seed: int
    recipe: Recipe
    plan: Plan
    shared: SharedData
    device: str = "cpu"
    workers: int = 1
    keep_weights: bool = True
    attempts: int = 1
    memory: int = 0
    params: int = 0

    @property
    def key(self) -> Key:
        """Hash of the network, and replicate."""
        return self.spec.hash, self.replicate

    def failure(self, status: str, error: str, started: datetime, seconds: float) -> TrainingResult:
        """Return the row of a training that gave no result of its own."""
        return TrainingResult(
            network=self.spec.name,
            hash=self.spec.hash,
            replicate=self.replicate,
            status=status,
            error=error,
            attempts=self.attempts,
            seed=self.seed,
            device=self.device,
            plan=str(self.plan),
            workers=self.workers,
            started=started,
            seconds=seconds,
            recipe=self.recipe_values(None),
        )

    def recipe_values(self, samples: int | None) -> dict[str, Any]:
        """Return what goes into the columns of the recipe; a baseline has no learning rate, nor batches."""
        values = {**msgspec.to_builtins(self.recipe), "train_samples": samples}
        return {k: values[k] for k in FOR_BASELINES} if is_baseline(self.spec.layers) else values


def run_task(task: Task) -> TrainingResult:
    """Train in a worker process; whatever goes wrong comes back as a result with a status."""
    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        _prepare_worker()
        from netpick.training.loop import train

        data = _resident(task.shared, task.device)
        recipe = task.recipe_values(len(data["train"][1]))
        conditions: dict[str, Any] = {"attempts": task.attempts, "workers": task.workers, "recipe": recipe}
        result = train(
            task.spec,
            task.recipe,
            task.device,
            data,
            task.seed,
            task.plan,
            task.replicate,
            task.keep_weights,
        )
        return result.with_(**conditions)
    except Exception as error:  # noqa: BLE001  every failure of a network must become its row
        return task.failure("failed", describe_error(error), started, time.perf_counter() - clock)
    finally:
        if task.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()  # what this process keeps back, the others on the card can't have


def describe_error(error: BaseException) -> str:
    """Return an exception in one line; running out of memory, of any device, begins with "out of memory"."""
    text = " ".join(str(error).split())[:500] or type(error).__name__
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if memory or "can't allocate memory" in text or "out of memory" in text.lower():
        return f"{OUT_OF_MEMORY}: {text}"
    return f"{type(error).__name__}: {text}"


@lru_cache(maxsize=1)
def _prepare_worker() -> None:
    """Set a worker process up, once: one thread, no Ctrl-C of its own, and all that torch loads late."""
    import torch

    with contextlib.suppress(ValueError):  # not the main thread, as in a cluster's worker
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator hears Ctrl-C and decides
    torch.set_num_threads(1)
    # Numbers below 1e-38 are worth nothing to a network, and make it many times slower on some processors.
    torch.set_flush_denormal(True)
    # The first optimizer of a process makes torch load its compiler, for seconds that belong to no network.
    torch.optim.SGD([torch.zeros(1)])


def _watch(coordinator: int) -> None:
    """Run first of all in a worker: end it when its coordinator has gone, even by `kill -9`."""

    def watch() -> None:
        while os.getppid() == coordinator:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@lru_cache(maxsize=2)
def _resident(shared: SharedData, device: str) -> dict[str, Any]:
    """Return the splits as tensors on a device: the mapped files themselves on the CPU, else one copy a process."""
    import torch

    return {
        split: (torch.from_numpy(inputs).to(device), torch.from_numpy(labels).to(device))
        for split, (inputs, labels) in attach(shared).items()
    }


Work = Callable[[Task], TrainingResult]


def stream(
    tasks: Sequence[Task],
    workers: int,
    devices: Sequence[str] = ("cpu",),
    on_start: Callable[[Task], None] = lambda task: None,
    work: Work = run_task,
) -> Iterator[TrainingResult]:
    """Run all tasks, in the given order as far as workers are free, and yield each result as it finishes.

    Parameters
    ----------
    tasks : what is due
    workers : trainings at the same time, over all devices
    devices : each task goes to the one that has the fewest tasks in hand
    on_start : told each task that is handed out; may be called from another thread
    work : what a worker does with a task; gives its result

    Notes
    -----
    Closing the iterator ends the workers and drops what is in hand.
    """
    waiting = deque(tasks)
    again: deque[Task] = deque()
    while waiting or again:
        alone = bool(again)
        # Alone means a pool of its own: of several, joblib would hand out the next one to a pool that has just died.
        queue = deque([again.popleft()]) if alone else waiting
        hand = _Hand(devices, on_start)
        try:
            with contextlib.closing(_parallel(queue, hand, 1 if alone else workers, work)) as results:
                for result in results:
                    task = hand.take(result)
                    memory = result.status == "failed" and (result.error or "").startswith(OUT_OF_MEMORY)
                    if memory and task.attempts == 1:
                        again.append(replace(task, attempts=2))  # it may fit when it has the device for itself
                    else:
                        yield result
        except _worker_death() as error:
            for task in hand.tasks():
                if task.attempts == 1:
                    again.append(replace(task, attempts=2))
                else:
                    seconds = (datetime.now(UTC) - hand.since[task.key]).total_seconds()
                    message = (
                        f"its worker process died twice, the second time with nothing beside it{_exit_codes(error)}"
                    )
                    yield task.failure("failed", message, hand.since[task.key], seconds)


class _Hand:
    """The tasks that are with the workers now, and how many each device has."""

    def __init__(self, devices: Sequence[str], on_start: Callable[[Task], None]) -> None:
        self.devices, self.on_start = devices, on_start
        self.by_key: dict[Key, Task] = {}
        self.since: dict[Key, datetime] = {}

    def give(self, task: Task) -> Task:
        """Choose the device of a task and note that it is in hand."""
        load = Counter(held.device for held in list(self.by_key.values()))
        task = replace(task, device=min(self.devices, key=lambda device: load[device]))
        self.by_key[task.key], self.since[task.key] = task, datetime.now(UTC)
        self.on_start(task)
        return task

    def take(self, result: TrainingResult) -> Task:
        """Note that a task has come back."""
        return self.by_key.pop((result.hash, result.replicate))

    def tasks(self) -> list[Task]:
        return list(self.by_key.values())


def _parallel(queue: deque[Task], hand: _Hand, workers: int, work: Work) -> Generator[TrainingResult, None, None]:
    from joblib import Parallel, delayed
    from joblib._parallel_backends import LokyBackend
    from joblib.parallel import get_active_backend

    def calls() -> Iterator[Any]:
        while queue:
            # joblib may ask for a task after a worker has died: what it is given then is in hand, and tried again.
            yield delayed(work)(hand.give(queue.popleft()))

    # Workers of another backend may have their parent on another machine.
    own = isinstance(get_active_backend()[0], LokyBackend)
    # joblib runs a single job in the coordinator itself, which must survive it: ask for two workers and feed one.
    pool = Parallel(
        n_jobs=max(2, workers),
        return_as="generator_unordered",
        pre_dispatch=workers,
        batch_size=1,
        max_nbytes=None,
        **({"initializer": _watch, "initargs": (os.getpid(),)} if own else {}),
    )
    with _workers_without_ctrl_c():
        results = pool(calls())
    with warnings.catch_warnings():
        # joblib replaces a worker whose memory has grown, between two tasks; nothing is lost by it
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        # and what is in hand when the stream is closed is dropped: that is what closing is for
        warnings.filterwarnings("ignore", message=".* tasks which were still being processed")
        try:
            with _no_waiting_for_the_dead(pool):
                yield from results
        finally:
            results.close()


@contextlib.contextmanager
def _no_waiting_for_the_dead(pool: Any) -> Iterator[None]:
    """Make joblib notice a worker that died in the middle of handing in its result.

    joblib (1.6) waits for the rest of such a result, for ever. So where a worker has been dead for some seconds and
    joblib has done nothing about it, the other workers and the pipe of the results are ended too: that it notices.
    """
    over = threading.Event()

    def watch() -> None:
        dead: Counter[int] = Counter()
        while not over.wait(1):
            executor = getattr(getattr(pool, "_backend", None), "_workers", None)
            processes = dict(getattr(executor, "_processes", None) or {})
            gone = {pid for pid, process in processes.items() if wait([process.sentinel], timeout=0)}
            dead = Counter({pid: dead[pid] + 1 for pid in gone})
            if dead and max(dead.values()) >= SECONDS_TO_NOTICE:
                for process in processes.values():
                    process.terminate()  # torch leaves SIGTERM as it is: a worker ends at once
                executor._result_queue._writer.close()  # type: ignore[union-attr]
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _workers_without_ctrl_c() -> Iterator[None]:
    """Block Ctrl-C while processes are started: they inherit that, and would otherwise each print a traceback."""
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _worker_death() -> tuple[type[BaseException], ...]:
    from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

    return BrokenProcessPool, TerminatedWorkerError


def _exit_codes(error: BaseException) -> str:
    """Return how the workers ended, out of joblib's long message, such as ` ({SIGKILL(-9)})`."""
    found = re.search(r"exit codes of the workers are (\{.*\})", str(error))
    return f" ({found[1]})" if found else ""
