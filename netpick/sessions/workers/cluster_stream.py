"""Trainings on a Dask cluster: bundles of them as futures, results back to the session, which commits them.

Futures are used as they are (https://distributed.dask.org): joblib's back end for Dask waits for ever when a worker
dies. Each bundle is for one worker, so that it is known who has what and plans are those of its device, and no worker
has more than a few, so that the session's memory is bounded. No folder is shared: tasks carry what they need, the data
set is sent where it isn't, results come back compressed.

When a worker dies, all that it had is suspect. So the trainings of a bundle that was lost are tried again singly, and
those that are lost again alone, with nothing beside them in the whole cluster: only the culprit fails.
"""

from __future__ import annotations

import contextlib
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

from netpick.core.errors import NetpickError, WorkError
from netpick.data.loading import load
from netpick.sessions.workers.cluster import AHEAD, FRESH_SECONDS, Cluster, Worker
from netpick.sessions.workers.cluster_worker import NoData, Order, do_bundle, unpacked
from netpick.sessions.workers.landing import Landing, Receipt
from netpick.sessions.workers.process import train_task
from netpick.sessions.workers.task import Ended, Failure, Task, TrainingKey

if TYPE_CHECKING:
    from distributed import Future

BUNDLE_SECONDS = 20.0
"""Predicted, of a bundle; a training that takes longer is one of its own."""
SHARES = 8
"""Bundles a worker gets at least where there is so much to do, so that all end at about the same time."""
PATIENCE_SECONDS = 5.0
"""Without a worker, before that is said."""
CALL = lambda content, dataset: __import__("pickle").loads(__import__("zlib").decompress(content))(dataset)  # noqa: E731
"""What a worker is asked to do. A scheduler unpickles each call, and keeps the last thousand for each worker; it has no
need of netpick, nor time and room for networks: so those travel as few bytes, and this as code, which a named function
of a module would not."""
GATHER_SECONDS = 15.0
"""For a bundle's results to come, before it is looked whether its worker is there; then twice that, and so on."""


@dataclass(frozen=True)
class Manner:
    """How workers are to train: what is fixed of the plans, where results go, and the most trainings of a bundle."""

    pin: str = "auto"
    landing: Landing | None = None
    most: int | None = None


def bundles(
    tasks: Sequence[Task], seconds: Mapping[TrainingKey, float], lanes: int, most: int | None = None
) -> list[tuple[Task, ...]]:
    """Pack tasks, in their order, into bundles of about as many predicted seconds, each of one data set.

    Longest first, as they come: a bundle is closed when it is full, so that long trainings stand alone. Where there is
    little to do bundles are smaller, so that each lane gets several; none has more than `most` tasks.
    """
    total = sum(seconds[task.key] for task in tasks)
    limit = min(BUNDLE_SECONDS, total / (SHARES * max(1, lanes)))
    out: list[list[Task]] = []
    filled = 0.0
    for task in tasks:
        full = not out or filled + seconds[task.key] > limit or len(out[-1]) == most
        if full or out[-1][0].shared != task.shared:
            out.append([])
            filled = 0.0
        out[-1].append(task)
        filled += seconds[task.key]
    return [tuple(bundle) for bundle in out]


def stream(
    cluster: Cluster,
    tasks: Sequence[Task],
    seconds: Mapping[TrainingKey, float],
    on_start: Callable[[Task], None] = lambda task: None,
    on_note: Callable[[str], None] = lambda text: None,
    work: Callable[[Task], Any] = train_task,
    manner: Manner = Manner(),
) -> Generator[Ended[Any], None, None]:
    """Do all tasks on a cluster, and yield each as it ends.

    Parameters
    ----------
    cluster : from `connected`
    tasks : what is due, in the order in which it is handed out
    seconds : predicted, of each
    on_start : told each task as it is handed out
    on_note : told what is worth knowing: a worker that can't train, a cluster without workers
    work : what a worker does with a task; a function of a module
    manner : how it is trained

    Raises
    ------
    WorkError
        The connection to the scheduler was lost; or no worker can get at the data set, or write where it should.

    Notes
    -----
    Closing the iterator cancels what is out.
    """
    out = _Out(cluster, on_start, on_note, work, manner)
    waiting = deque(bundles(tasks, seconds, cluster.lanes, manner.most))
    singly: deque[Task] = deque()
    alone: deque[Task] = deque()
    try:
        while waiting or singly or alone or out.flying:
            while (waiting or singly) and (worker := out.free()):
                out.send(worker, (singly.popleft(),) if singly else waiting.popleft())
            if alone and not out.flying and (worker := out.free(anew=True)):
                out.send(worker, (alone.popleft(),), alone=True)
            for sent, outcome in out.landed():
                if isinstance(outcome, list):
                    for ended, task in zip(map(_ended, sent.placed, outcome), sent.tasks, strict=True):
                        if ended.deserves_another:
                            alone.append(task.again())
                        else:
                            yield ended
                elif isinstance(outcome, NoData):
                    waiting.appendleft(sent.tasks)
                elif sent.alone:
                    yield Ended(sent.placed[0], Failure.of_a_worker(f"on {sent.worker}", sent.since))
                elif len(sent.tasks) == 1:
                    alone.append(sent.tasks[0].again())
                else:
                    singly.extend(sent.tasks)
    finally:
        out.cancel()


def _ended(task: Task, outcome: tuple[TrainingKey, Any]) -> Ended[Any]:
    said = outcome[1]
    if not isinstance(said, Receipt):
        return Ended(task, said)
    if said.problem:
        raise WorkError(f"on the worker {task.where}: {said.problem}")
    return Ended(task, said.result, said.files)


@dataclass(frozen=True)
class _Sent:
    tasks: tuple[Task, ...]
    placed: tuple[Task, ...]
    worker: str
    since: datetime
    alone: bool
    has_data: bool
    future: Future


class _Lost:
    """What a bundle comes to whose worker has gone."""


class _Out:
    """The bundles that are out."""

    def __init__(
        self,
        cluster: Cluster,
        on_start: Callable[[Task], None],
        on_note: Callable[[str], None],
        work: Callable[[Task], Any],
        manner: Manner,
    ) -> None:
        self.cluster, self.on_start, self.on_note, self.work, self.manner = cluster, on_start, on_note, work, manner
        self.flying: dict[str, _Sent] = {}
        self.done: Queue[Future] = Queue()
        self.dataset: Future | None = None
        self.wish: Future | None = None
        self.number = 0
        self.staffed: float | None = time.monotonic()

    def free(self, anew: bool = False) -> Worker | None:
        """Return the worker that has the most room for another bundle, or None.

        With `anew` one that is there now: what is lost alone is to blame, unless it was sent to one that had gone.
        """
        with self._scheduler():
            workers = self.cluster.workers(anew)
            self._call_for(workers)
        load = Counter(sent.worker for sent in self.flying.values())
        having = [(load[w.address] / w.lanes, w) for w in workers if load[w.address] < w.lanes + AHEAD]
        return min(having, key=lambda pair: pair[0])[1] if having else None

    def _call_for(self, workers: Sequence[Worker]) -> None:
        """Let a cluster that starts workers as there is work see some: bundles are for workers that are there."""
        if workers:
            self.wish = None
        elif self.wish is None:
            self.wish = self.cluster.client.submit(lambda: None, key=f"netpick-{id(self)}-wish", pure=False)

    def send(self, worker: Worker, tasks: tuple[Task, ...], alone: bool = False) -> None:
        """Hand a bundle to a worker."""
        import cloudpickle

        placed = tuple(replace(task.on(worker.device.name), where=worker.address) for task in tasks)
        for task in placed:
            self.on_start(task)
        self.number += 1
        order = Order(tasks, worker.device.name, worker.share, self.manner.pin, self.manner.landing)
        with self._scheduler():
            future = self.cluster.client.submit(
                CALL,
                zlib.compress(cloudpickle.dumps(partial(do_bundle, order, work=self.work)), 1),
                self.dataset,
                key=f"netpick-{id(self)}-{self.number}",
                pure=False,
                priority=-self.number,
                workers=[worker.address],
            )
        sent = _Sent(tasks, placed, worker.address, datetime.now(UTC), alone, self.dataset is not None, future)
        self.flying[str(future.key)] = sent
        future.add_done_callback(self.done.put)

    def landed(self) -> Iterator[tuple[_Sent, Any]]:
        """Wait a while for bundles; yield each with its outcomes, with why it was not begun, or as lost."""
        future = self._next()
        for note in self._news():
            self.on_note(note)
        for key, sent in [*self.flying.items()]:
            if not self._is_there(sent):
                del self.flying[key]
                sent.future.cancel()
                yield sent, _Lost()
        sent_now = self.flying.pop(str(future.key), None) if future is not None else None
        if sent_now is None:
            return
        with self._scheduler():
            result = self._result(sent_now)
            sent_now.future.release()
        if isinstance(result, NoData):
            self._send_data(result, sent_now)
        yield sent_now, unpacked(result) if isinstance(result, bytes) else result

    def _next(self) -> Future | None:
        """Return the next future that is finished, or None after a while without one."""
        try:
            return self.done.get(timeout=FRESH_SECONDS)
        except Empty:
            return None

    def _is_there(self, sent: _Sent) -> bool:
        with self._scheduler():
            return self.cluster.has(sent.worker)

    def _news(self) -> Iterator[str]:
        """Yield what is worth knowing of the workers."""
        while self.cluster.notes:
            yield self.cluster.notes.popleft()
        if self.cluster.known:
            self.staffed = time.monotonic()
        elif self.staffed is not None and time.monotonic() > self.staffed + PATIENCE_SECONDS:
            self.staffed = None  # said once, until there are some again
            yield "the cluster has no worker now: waiting for some; Ctrl-C loses nothing"

    def _result(self, sent: _Sent) -> Any:
        """Return what a bundle came to, which lies with its worker until it is fetched."""
        from distributed import CancelledError, KilledWorker

        seconds = GATHER_SECONDS
        while True:
            try:
                return sent.future.result(timeout=seconds)
            except KilledWorker:
                return _Lost()
            except TimeoutError:  # where the worker has died meanwhile, Dask would wait for another one at its address
                if not self.cluster.has(sent.worker):
                    sent.future.cancel()
                    return _Lost()
                seconds *= 2
            except CancelledError:
                if self.cluster.client.status != "running":
                    raise
                self.dataset = None  # it lay with a worker that has gone
                return _Lost()

    def _send_data(self, said: NoData, sent: _Sent) -> None:
        """See to it that workers get the data set with their next bundles."""
        if sent.has_data:
            raise WorkError(f"the data set can't be had on a worker: {said.reason}")
        if self.dataset is None:  # else another bundle has said so meanwhile
            self.on_note("sending the data set to the workers")
            # Its pixels are a quarter of what is trained on; each worker makes that of them, to the bit.
            self.dataset = self.cluster.client.scatter(load(sent.tasks[0].shared.request), hash=False)

    def cancel(self) -> None:
        """Drop what is out; a bundle that a worker is at is trained to its end, and nobody waits for it."""
        with contextlib.suppress(Exception):
            self.cluster.client.cancel([sent.future for sent in self.flying.values()], force=True)

    @contextlib.contextmanager
    def _scheduler(self) -> Iterator[None]:
        """Turn the loss of the scheduler into one line."""
        from distributed import CancelledError
        from distributed.client import ClosedClientError

        try:
            yield
        except (OSError, CancelledError, ClosedClientError) as error:
            raise WorkError(
                f"the cluster at {self.cluster.address} was lost ({type(error).__name__}: {error!s:.160}): all that "
                "came back is safe; give the same command when it is there again"
            ) from None
        except NetpickError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a worker makes of code that it hasn't
            raise WorkError(
                f"a worker of the cluster can't train ({type(error).__name__}: {error!s:.160}): install the same "
                "versions there as here, and give the same command again"
            ) from None
