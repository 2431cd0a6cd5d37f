"""Trainings on a Dask cluster: bundles of them as futures, results back to the session, which commits them.

Futures are used as they are (https://distributed.dask.org): joblib's back end for Dask waits for ever when a worker
dies. No folder is shared: tasks carry what they need, the data set is sent where it isn't, results come back
compressed, and no more bundles are out than there are workers to take them, so that the session's memory is bounded.

When a worker dies, Dask blames all that was assigned to it. So the trainings of a bundle that was lost are tried again
singly, and those that are lost again alone, with nothing beside them in the whole cluster: only the culprit fails.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

from netpick.core.errors import NetpickError, WorkError, listed
from netpick.core.result import TrainingResult
from netpick.data.loading import load
from netpick.sessions.workers.address import Address
from netpick.sessions.workers.cluster_worker import Facts, Unfit, do_bundle, unpacked
from netpick.sessions.workers.process import train_task
from netpick.sessions.workers.task import Ended, Failure, Task, TrainingKey

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 15
BUNDLE_SECONDS = 20.0
"""Predicted, of a bundle; a training that takes longer is one of its own."""
SHARES = 8
"""Bundles a worker gets at least where there is so much to do, so that all end at about the same time."""
AHEAD = 2
"""Bundles that a worker has: the one in training, and the next."""
PATIENCE_SECONDS = 5.0
"""Between two looks at whether there are workers at all."""
FRESH_SECONDS = 1.0
"""For so long a list of the workers is good: the scheduler isn't asked for each bundle."""


@dataclass
class Cluster:
    """A connection to a scheduler, and what its workers are."""

    client: Client
    address: str
    facts: Mapping[str, Facts]
    unfit: dict[str, str] = field(default_factory=dict)
    there: list[str] = field(default_factory=list)
    seen: float = -math.inf

    def workers(self) -> list[str]:
        """Return the addresses of the workers that were there a moment ago and may train."""
        if time.monotonic() > self.seen + FRESH_SECONDS:
            self.there, self.seen = list(self.client.scheduler_info(n_workers=-1)["workers"]), time.monotonic()
        return [address for address in self.there if address not in self.unfit]

    @property
    def processors(self) -> list[str]:
        """The models of the workers' processors."""
        return sorted({facts.processor for facts in self.facts.values()})


@contextlib.contextmanager
def connected(address: Address) -> Iterator[Cluster]:
    """Connect to a scheduler, and look what its workers are.

    Raises
    ------
    NetpickError
        Dask is not installed; no scheduler answers there; there are workers, and none has this netpick.
    """
    try:
        from distributed import Client
        from distributed.security import Security
    except ImportError:
        raise NetpickError("--scheduler: Dask is not installed: pip install 'netpick[cluster]'") from None
    security = None
    if address.tls_ca or address.tls_cert or address.tls_key:
        security = Security(
            tls_ca_file=address.tls_ca,
            tls_client_cert=address.tls_cert,
            tls_client_key=address.tls_key,
            require_encryption=True,
        )
    is_file = address.scheduler.endswith(".json")
    where: dict[str, Any] = {"scheduler_file": address.scheduler} if is_file else {"address": address.scheduler}
    try:
        client = Client(**where, security=security, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise NetpickError(
            f"--scheduler: no scheduler answers at {address.scheduler} ({said}): start one with `dask scheduler`, or "
            "give tcp://HOST:8786 or the file that it writes with --scheduler-file"
        ) from None
    try:
        yield Cluster(client, address.scheduler, *_looked_at(client))
    finally:
        with contextlib.suppress(Exception):  # a scheduler that has gone can't be told
            client.close(timeout=5)


def _looked_at(client: Client) -> tuple[dict[str, Facts], dict[str, str]]:
    """Return what the workers are, and why some may not train; raises NetpickError where there are, and none may."""
    there = client.scheduler_info(n_workers=-1)["workers"]
    if not there:  # an adaptive cluster starts some when there is work
        return {}, {}
    try:
        answers = client.run(Facts.here, on_error="return")
    except Exception as error:  # noqa: BLE001  whatever a worker without netpick makes of it
        answers = dict.fromkeys(there, error)
    mine = Facts.here()
    facts = {address: answer for address, answer in answers.items() if isinstance(answer, Facts)}
    unfit = {address: mine.difference(other) for address, other in facts.items() if mine.difference(other)}
    without = {a: f"it can't import netpick ({answer!r:.120})" for a, answer in answers.items() if a not in facts}
    unfit |= without
    if len(unfit) == len(there):
        first = min(unfit)
        raise NetpickError(
            f"--scheduler: none of the {len(there)} workers can train: {first} has {unfit[first]}; install the same "
            "versions there as here"
        )
    return facts, unfit


def bundles(tasks: Sequence[Task], seconds: Mapping[TrainingKey, float], workers: int) -> list[tuple[Task, ...]]:
    """Pack tasks, in their order, into bundles of about as many predicted seconds, each of one data set.

    Longest first, as they come: a bundle is closed when it is full, so that long trainings stand alone. Where there is
    little to do bundles are smaller, so that each worker gets several.
    """
    total = sum(seconds[task.key] for task in tasks)
    most = min(BUNDLE_SECONDS, total / (SHARES * max(1, workers)))
    out: list[list[Task]] = []
    filled = 0.0
    for task in tasks:
        if not out or filled + seconds[task.key] > most or out[-1][0].shared != task.shared:
            out.append([])
            filled = 0.0
        out[-1].append(task)
        filled += seconds[task.key]
    return [tuple(bundle) for bundle in out]


def stream(
    cluster: Cluster,
    tasks: Sequence[Task],
    seconds: Mapping[TrainingKey, float],
    on_start: Callable[[Task], None],
    on_note: Callable[[str], None],
    work: Callable[[Task], TrainingResult] = train_task,
) -> Generator[Ended[TrainingResult], None, None]:
    """Train all tasks on a cluster, and yield each as it ends.

    Parameters
    ----------
    cluster : from `connected`
    tasks : what is due, in the order in which it is handed out
    seconds : predicted, of each
    on_start : told each task as it is handed out
    on_note : told what is worth knowing: a worker that can't train, a cluster without workers
    work : what a worker does with a task; a function of a module

    Raises
    ------
    WorkError
        The connection to the scheduler was lost; or no worker can train.

    Notes
    -----
    Closing the iterator cancels what is out.
    """
    out = _Out(cluster, on_start, on_note, work)
    waiting = deque(bundles(tasks, seconds, len(cluster.workers())))
    singly: deque[Task] = deque()
    alone: deque[Task] = deque()
    try:
        while waiting or singly or alone or out.flying:
            while out.has_room() and (waiting or singly):
                out.send((singly.popleft(),) if singly else waiting.popleft())
            if alone and not out.flying:
                out.send((alone.popleft(),), alone=True)
            for sent, outcome in out.landed():
                if isinstance(outcome, list):
                    ended = [Ended(task, result) for task, (_, result) in zip(sent.tasks, outcome, strict=True)]
                    for one in ended:
                        if one.deserves_another:
                            alone.append(one.task.again())
                        else:
                            yield one
                elif isinstance(outcome, Unfit):
                    waiting.appendleft(sent.tasks)
                elif sent.alone:
                    yield Ended(sent.tasks[0], Failure.of_a_worker(outcome, sent.since))
                elif len(sent.tasks) == 1:
                    alone.append(sent.tasks[0].again())
                else:
                    singly.extend(sent.tasks)
    finally:
        out.cancel()


@dataclass(frozen=True)
class _Sent:
    tasks: tuple[Task, ...]
    since: datetime
    alone: bool
    has_data: bool


class _Out:
    """The bundles that are out."""

    def __init__(
        self,
        cluster: Cluster,
        on_start: Callable[[Task], None],
        on_note: Callable[[str], None],
        work: Callable[[Task], TrainingResult],
    ) -> None:
        self.cluster, self.on_start, self.on_note, self.work = cluster, on_start, on_note, work
        self.flying: dict[Future, _Sent] = {}
        self.done: Queue[Future] = Queue()
        self.dataset: Future | None = None
        self.mine = Facts.here()
        self.number = 0
        self.is_waiting = False

    def has_room(self) -> bool:
        """Whether the workers can take another bundle; where there are none, one waits for the first to come."""
        return len(self.flying) < max(1, AHEAD * len(self.cluster.workers()))

    def send(self, tasks: tuple[Task, ...], alone: bool = False) -> None:
        """Hand out a bundle."""
        for task in tasks:
            self.on_start(task)
        self.number += 1
        with self._scheduler():
            future = self.cluster.client.submit(
                do_bundle,
                tasks,
                self.mine,
                self.dataset,
                self.work,
                key=f"netpick-{id(self)}-{self.number}",
                pure=False,
                priority=-self.number,
                workers=self.cluster.workers() if self.cluster.unfit else None,
            )
            self.flying[future] = _Sent(tasks, datetime.now(UTC), alone, self.dataset is not None)
            future.add_done_callback(self.done.put)

    def landed(self) -> Iterator[tuple[_Sent, Any]]:
        """Wait for a bundle; yield it with its outcomes, with why it was not begun, or with how it was lost."""
        from distributed import KilledWorker

        future = self._next()
        if future is None:
            return
        sent = self.flying.pop(future)
        with self._scheduler():
            try:
                result = future.result()
            except KilledWorker as error:
                yield sent, f"on {error.last_worker.address}" if error.last_worker else "on a cluster"
                return
            finally:
                future.release()
        if isinstance(result, Unfit):
            self._take_up(result, sent)
            yield sent, result
        else:
            yield sent, unpacked(result)

    def _next(self) -> Future | None:
        """Return the next future that is finished, or None after a while without one."""
        try:
            return self.done.get(timeout=PATIENCE_SECONDS)
        except Empty:
            with self._scheduler():
                if self.cluster.client.status != "running":
                    raise ConnectionError(f"the connection is {self.cluster.client.status}") from None
                there = bool(self.cluster.workers())
            if not there and not self.is_waiting:
                self.on_note("the cluster has no worker now: waiting for some; Ctrl-C loses nothing")
            self.is_waiting = not there
            return None

    def _take_up(self, unfit: Unfit, sent: _Sent) -> None:
        """See to it that a bundle that was not begun will be."""
        if unfit.kind == "data":
            if sent.has_data:
                raise WorkError(f"the data set can't be had on a worker: {unfit.reason}")
            if self.dataset is not None:  # another bundle has said so meanwhile
                return
            self.on_note("sending the data set to the workers")
            # Its pixels are a quarter of what is trained on; each worker makes that of them, to the bit.
            self.dataset = self.cluster.client.scatter(load(sent.tasks[0].shared.request), hash=False)
            return
        # One that joined late: which one is asked anew, of all.
        facts, unfits = _looked_at(self.cluster.client)
        self.cluster.facts = facts
        self.cluster.unfit.update(unfits)
        self.on_note(f"not used: {listed(f'{a} has {why}' for a, why in unfits.items())}")

    def cancel(self) -> None:
        """Drop what is out; a bundle that a worker is at is trained to its end, and nobody waits for it."""
        with contextlib.suppress(Exception):
            self.cluster.client.cancel(list(self.flying), force=True)

    @contextlib.contextmanager
    def _scheduler(self) -> Iterator[None]:
        """Turn the loss of the scheduler into one line."""
        from distributed import CancelledError

        try:
            yield
        except (OSError, CancelledError) as error:
            raise WorkError(
                f"the cluster at {self.cluster.address} was lost ({type(error).__name__}: {error!s:.160}): all that "
                "came back is safe; give the same command when it is there again"
            ) from None
        except (ImportError, AttributeError, pickle.UnpicklingError) as error:
            raise WorkError(
                f"a worker of the cluster can't train ({type(error).__name__}: {error!s:.160}): install the same "
                "versions there as here, and give the same command again"
            ) from None
