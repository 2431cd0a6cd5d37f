"""Many tasks on many workers: which one next, on which device, and what happens when a worker dies.

Workers are processes of this machine, made and fed through joblib; over a cluster the same tasks go by `cluster`. When
a worker process dies, joblib ends the whole call, so the pool is started again, what was in hand is tried once more
alone, and the second time it is a failure. One that stays stopped is ended, and so dies. What a task's work is, is of
no concern here, and nothing knows Parquet.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import wait
from typing import Any, TypeVar

import psutil

from netpick.core.processes import safe_path
from netpick.sessions.workers.process import (
    LOOK_SECONDS,
    attempt,
    is_stopped,
    look_for_stopped,
    looking,
    started_without_ctrl_c,
    watch,
)
from netpick.sessions.workers.task import Ended, Failure, Task, TrainingKey

Outcome = TypeVar("Outcome")

TOGETHER = 16
"""Outcomes that are yielded together at most."""
WAITING = 8
"""Outcomes that may wait to be taken, beside one a worker: where they come faster than they are taken, workers rest."""
FREE, REST = 6, 0.004
"""Outcomes that may wait before workers wait a little too, so that the session has a core; and the seconds for each."""
SECONDS_TO_NOTICE = 3
"""joblib notices a dead worker within milliseconds, or never."""


def stream(
    tasks: Sequence[Task],
    work: Callable[[Task], Outcome],
    workers: int,
    devices: Sequence[str] = ("cpu",),
    on_start: Callable[[Task], None] = lambda task: None,
) -> Generator[Ended[Outcome], None, None]:
    """Do all tasks, and yield each one as it ends; see `stream_together`."""
    with contextlib.closing(stream_together(tasks, work, workers, devices, on_start)) as groups:
        for ended in groups:
            yield from ended


def stream_together(
    tasks: Sequence[Task],
    work: Callable[[Task], Outcome],
    workers: int,
    devices: Sequence[str] = ("cpu",),
    on_start: Callable[[Task], None] = lambda task: None,
) -> Generator[list[Ended[Outcome]], None, None]:
    """Do all tasks, in the given order as far as workers are free, and yield those that have ended, as they end.

    Parameters
    ----------
    tasks : what is due
    work : what a worker does with a task; a function of a module. What it raises makes a failure
    workers : tasks at the same time, over all devices
    devices : each task goes to the one that has the fewest tasks in hand
    on_start : told each task that a worker begins; may be called from another thread

    Notes
    -----
    Closing the iterator ends the workers and drops what is in hand: what they are at, and the few outcomes that
    were not taken yet.
    """
    waiting = deque(tasks)
    again: deque[Task] = deque()
    while waiting or again:
        alone = bool(again)
        # Alone means a pool of its own: of several, joblib would hand out the next one to a pool that has just died.
        queue = deque([again.popleft()]) if alone else waiting
        hand = _Hand(devices, on_start, 1 if alone else workers)
        ended: list[Ended[Outcome]] = []
        try:
            while queue:  # which outcomes that wait may leave behind
                with contextlib.closing(_parallel(queue, hand, work, again)) as outcomes:
                    for key, outcome in outcomes:
                        ended.append(Ended(hand.take(key), outcome))
                        if ended[-1].deserves_another:
                            again.append(ended.pop().task.again())
                        if ended and (not hand.waiting() or len(ended) == TOGETHER):
                            yield ended
                            ended = []
        except _worker_death() as error:
            queue.extendleft(reversed(hand.ready))
            for task in hand.begun():
                if task.attempts == 1:
                    again.append(task.again())
                else:
                    ended.append(Ended(task, Failure.of_a_worker(_exit_codes(error), hand.since[task.key])))
            if ended:
                yield ended


class _Hand:
    """The tasks that were handed out: which of them lie ready, which the workers have begun, how many a device has.

    `waiting` says of how many the outcome is there, and was not taken yet.
    """

    def __init__(self, devices: Sequence[str], on_start: Callable[[Task], None], workers: int) -> None:
        self.devices, self.on_start, self.workers = devices, on_start, workers
        self.by_key: dict[TrainingKey, Task] = {}
        self.since: dict[TrainingKey, datetime] = {}
        self.ready: deque[Task] = deque()
        self.waiting: Callable[[], int] = lambda: 0
        self._lock = threading.Lock()

    def give(self, task: Task) -> Task:
        """Choose the device of a task and note that it is in hand."""
        load = Counter(held.job.device for held in list(self.by_key.values()))
        task = task.on(min(self.devices, key=lambda device: load[device]))
        self.by_key[task.key] = task
        self.ready.append(task)
        self._begin()
        return task

    def take(self, key: TrainingKey) -> Task:
        """Note that a task has come back."""
        self.since.pop(key, None)
        self._begin()
        return self.by_key.pop(key)

    def begun(self) -> list[Task]:
        """Return those that workers have begun."""
        return [task for key, task in list(self.by_key.items()) if key in self.since]

    def _begin(self) -> None:
        with self._lock:  # joblib asks for tasks in a thread of its own
            while self.ready and len(self.since) - self.waiting() < self.workers:
                task = self.ready.popleft()
                self.since[task.key] = datetime.now(UTC)
                self.on_start(task)


def _parallel(
    queue: deque[Task], hand: _Hand, work: Callable[[Task], Outcome], again: deque[Task]
) -> Generator[tuple[TrainingKey, Outcome | Failure], None, None]:
    from joblib import Parallel, delayed
    from joblib._parallel_backends import LokyBackend
    from joblib.parallel import get_active_backend

    workers = hand.workers
    # One task a worker lies ready, so that none waits for the next while the coordinator has other things to do. Not
    # for a single worker, for which joblib starts two.
    ahead = workers if workers > 1 else 0

    def calls() -> Iterator[Any]:
        # Over when too much waits to be taken: joblib would go on, and a death would cost all that waits.
        while queue and (held := len(hand.by_key) - ahead) < 2 * workers + WAITING:
            rest = REST * max(0, held - workers - FREE)
            # joblib may ask for a task after a worker has died: what it is given then is in hand, and tried again.
            yield delayed(attempt)(work, hand.give(queue.popleft()), rest)

    # Workers of another backend may have their parent on another machine.
    own = isinstance(get_active_backend()[0], LokyBackend)
    # joblib runs a single job in the coordinator itself, which must survive it: ask for two workers and feed one.
    pool = Parallel(
        n_jobs=max(2, workers),
        return_as="generator_unordered",
        pre_dispatch=workers + ahead,
        batch_size=1,
        max_nbytes=None,
        **({"initializer": watch, "initargs": (os.getpid(),)} if own else {}),
    )
    with safe_path(), warnings.catch_warnings():  # to the end: joblib starts other workers in the place of large ones
        hand.waiting = partial(_waiting, pool, 0)
        with started_without_ctrl_c():
            outcomes = pool(calls())
            executor = _executor(pool)
            _look_after(executor)
        # joblib replaces a worker whose memory has grown, between two tasks; nothing is lost by it
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        # and what is in hand when the stream is closed is dropped: that is what closing is for
        warnings.filterwarnings("ignore", message=".* tasks which were still being processed")
        try:
            with _no_waiting_for_the_dead(pool):
                for taken, outcome in enumerate(outcomes, 1):
                    hand.waiting = partial(_waiting, pool, taken)
                    yield outcome
        finally:
            outcomes.close()
            # One that is stopped does not see the coordinator go, and stays. What is next tried alone, since memory was
            # missing, is not to find a worker that lacks it.
            if any(map(is_stopped, _processes_of(executor))) or (again and not queue):
                executor.shutdown(kill_workers=True)


def _waiting(pool: Any, taken: int) -> int:
    """Return how many outcomes wait in joblib, of which so many were taken."""
    return int(pool.n_completed_tasks) - taken


def _look_after(executor: Any) -> None:
    """End workers that stay stopped, for as long as there are any: when all is done too, for an exit waits for them."""
    seen: dict[int, psutil.Process] = {}

    def living() -> list[int]:
        for pid in _processes_of(executor).keys() - seen.keys():
            with contextlib.suppress(psutil.Error):
                seen[pid] = psutil.Process(pid)
        return [pid for pid, process in seen.items() if process.is_running()]  # joblib forgets those that it waits for

    def look_again_and_again() -> None:
        look, never = look_for_stopped(living), threading.Event()
        while living():
            never.wait(LOOK_SECONDS)
            look()

    if _processes_of(executor) and not hasattr(executor, "is_looked_after"):
        executor.is_looked_after = True
        threading.Thread(target=look_again_and_again, daemon=True).start()


@contextlib.contextmanager
def _no_waiting_for_the_dead(pool: Any) -> Iterator[None]:
    """Make joblib notice a worker that died in the middle of handing in its result.

    joblib (1.6) waits for the rest of such a result, for ever. So where a worker has been dead for some seconds and
    joblib has done nothing about it, the other workers and the pipe of the results are ended too: that it notices.
    """
    dead: Counter[int] = Counter()

    def look() -> bool:
        nonlocal dead
        processes = _processes(pool)
        gone = {pid for pid, process in processes.items() if wait([process.sentinel], timeout=0)}
        dead = Counter({pid: dead[pid] + 1 for pid in gone})
        if not dead or max(dead.values()) < SECONDS_TO_NOTICE:
            return False
        for process in processes.values():
            process.terminate()  # torch leaves SIGTERM as it is: a worker ends at once
        pool._backend._workers._result_queue._writer.close()
        return True

    with looking(look, 1):
        yield


def _processes(pool: Any) -> dict[int, Any]:
    """Return joblib's worker processes by their ids."""
    return _processes_of(_executor(pool))


def _processes_of(executor: Any) -> dict[int, Any]:
    return dict(getattr(executor, "_processes", None) or {})


def _executor(pool: Any) -> Any:
    """Return what holds joblib's workers; None of a back end without."""
    return getattr(getattr(pool, "_backend", None), "_workers", None)


def _worker_death() -> tuple[type[BaseException], ...]:
    from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

    return BrokenProcessPool, TerminatedWorkerError


def _exit_codes(error: BaseException) -> str:
    """Return how the workers ended, out of joblib's long message, such as `{SIGKILL(-9)}`."""
    codes = re.search(r"exit codes of the workers are (\{.*\})", str(error))
    return codes[1] if codes else ""
