"""A Dask cluster as a session sees it: the connection, who is there, what each worker is and trains on.

Whoever is there is looked at as it comes, from the first to one that joins late: its versions must be the session's,
and it must have a device that was asked for. A worker has one device: cards are dealt out among the workers that see
them, so that each has its own (`dask cuda worker`, or a worker a card), or a part of one where there are more workers.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

from netpick.core.errors import NetpickError, listed
from netpick.sessions.workers.address import Address
from netpick.sessions.workers.cluster_worker import Device, Facts
from netpick.training import cards

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 15
MEET_SECONDS = 60.0
"""For so long the workers that are there at first may take to say what they are: they load torch for it."""
FRESH_SECONDS = 1.0
"""For so long a list of the workers is good: the scheduler isn't asked for each bundle."""
AHEAD = 1
"""Bundles that a worker has beyond those in training, so that it needn't wait for the next."""


@dataclass(frozen=True)
class Worker:
    """A worker that may train: where it is, what it is, and on which device it trains with how many others."""

    address: str
    facts: Facts
    device: Device
    share: int = 1
    threads: int = 1

    @property
    def model(self) -> str:
        """What it trains on, in words: its card, or else its processor."""
        return self.device.model if self.device.identity else self.facts.processor

    @property
    def lanes(self) -> int:
        """Networks in training at once: a card has many, anything else one."""
        return cards.STREAMS if self.device.name.startswith("cuda") else 1


class Cluster:
    """The workers of a scheduler.

    Parameters
    ----------
    client : connected
    address : of the scheduler, as the user said it
    choice : devices that are wanted, as `devices.resolve` reads it on each worker
    refuses : says why nothing can be trained on a device as the run wants it; "" for nothing
    token : a file that workers must see
    """

    def __init__(
        self,
        client: Client,
        address: str,
        choice: str = "auto",
        refuses: Callable[[str], str] = lambda device: "",
        token: Path | None = None,
    ) -> None:
        self.client, self.address, self.choice, self.refuses, self.token = client, address, choice, refuses, token
        self.notes: deque[str] = deque()
        self._mine = Facts.here("cpu")
        self._there: dict[str, Any] = {}
        self._fit: dict[str, Worker] = {}
        self._unfit: dict[str, str] = {}
        self._asked: set[str] = set()
        self._answers: Queue[tuple[str, Facts | Exception]] = Queue()
        self._seen = -math.inf

    def workers(self, anew: bool = False) -> list[Worker]:
        """Return those that may train and take work, as of a moment ago or, with `anew`, of now."""
        if anew:
            self._seen = -math.inf
        self.look()
        return [w for address, w in self._fit.items() if self._there[address].get("status", "running") == "running"]

    def has(self, address: str) -> bool:
        """Whether a worker is still there."""
        self.look()
        return address in self._there

    @property
    def lanes(self) -> int:
        """Trainings at the same time, over all workers."""
        return sum(worker.lanes for worker in self._fit.values())

    @property
    def known(self) -> list[Worker]:
        """All that may train, as of the last look."""
        return list(self._fit.values())

    def look(self) -> None:
        """Look who is there, if that is not known well enough, and ask those that are new what they are.

        Raises ConnectionError where there is no connection any more.
        """
        if time.monotonic() < self._seen + FRESH_SECONDS:
            return
        scheduler = self.client.scheduler
        if self.client.status != "running" or scheduler is None:
            raise ConnectionError(f"the connection is {self.client.status}")
        # Not `scheduler_info`, whose answer a look of the client's own, which asks for no workers, may replace.
        info = self.client.sync(scheduler.identity, n_workers=-1)
        self._there, self._seen = dict(info["workers"]), time.monotonic()
        for known in (self._fit, self._unfit):
            for address in known.keys() - self._there.keys():
                del known[address]
        self._asked &= self._there.keys()
        for address in self._there.keys() - self._asked:
            self._asked.add(address)
            # In threads, each by itself: one that has been stopped answers never, and holds up nobody.
            threading.Thread(target=self._ask, args=(address,), daemon=True).start()
        with contextlib.suppress(Empty):
            while True:
                self._take_in(*self._answers.get_nowait())

    def meet(self) -> None:
        """Wait until those that are there have said what they are; raises NetpickError where none of them can train."""
        deadline = time.monotonic() + MEET_SECONDS
        self.look()
        while self._asked - self._fit.keys() - self._unfit.keys() and time.monotonic() < deadline:
            with contextlib.suppress(Empty):
                self._take_in(*self._answers.get(timeout=1))
        if self._unfit and not self._fit:
            first = min(self._unfit)
            raise NetpickError(
                f"--scheduler: none of the {len(self._unfit)} workers can train: {first}: {self._unfit[first]}"
            )

    def _ask(self, address: str) -> None:
        try:
            said = self.client.run(Facts.here, self.choice, self.token, workers=[address], on_error="return")
            self._answers.put((address, said[address]))
        except Exception as error:  # noqa: BLE001  whatever a worker without netpick makes of it, or one that goes
            self._answers.put((address, error))

    def _take_in(self, address: str, said: Facts | Exception) -> None:
        if address not in self._there:
            return
        if isinstance(said, Facts) and not (why := self._unfitness(said)):
            # Of the devices that it sees the one that the fewest others have, in its own order.
            takers = Counter(worker.device.identity for worker in self._fit.values() if worker.device.identity)
            device = min(said.devices, key=lambda device: takers[device.identity])
            threads = int(self._there[address].get("nthreads", 1))
            self._fit[address] = Worker(address, said, device, 1 + takers[device.identity], threads)
            return
        if not isinstance(said, Facts):
            why = f"no netpick that can be imported ({said!r:.120}): install the same versions there as here"
        if why not in self._unfit.values():
            self.notes.append(f"not used: {address}: {why}")
        self._unfit[address] = why

    def _unfitness(self, facts: Facts) -> str:
        """Say what keeps a worker from training; "" for nothing."""
        if differs := self._mine.difference(facts):
            return f"{differs}: install the same versions there as here"
        return facts.refusal or self.refuses(facts.devices[0].name)

    def devices(self) -> dict[str, int]:
        """Return how many workers there are by the name of their device, the most common first."""
        names = Counter(worker.device.name for worker in self.known)
        return dict(names.most_common())

    @property
    def machine(self) -> str:
        """What the workers train on, in words, for run.toml: models of processors and cards."""
        return listed(sorted({worker.model for worker in self.known})) or "a cluster"


@contextlib.contextmanager
def connected(
    address: Address,
    choice: str = "auto",
    refuses: Callable[[str], str] = lambda device: "",
    token: Path | None = None,
) -> Iterator[Cluster]:
    """Connect to a scheduler, and look what its workers are; see `Cluster` for what is wanted of them.

    Raises
    ------
    NetpickError
        Dask is not installed; no scheduler answers there; there are workers, and none of them can train.
    """
    try:
        from distributed import Client
        from distributed.security import Security
    except ImportError:
        raise NetpickError("--scheduler: Dask is not installed: pip install 'netpick[cluster]'") from None
    is_file = address.scheduler.endswith(".json")
    where: dict[str, Any] = {"scheduler_file": address.scheduler} if is_file else {"address": address.scheduler}
    try:
        security = None
        if address.is_encrypted:
            security = Security(
                tls_ca_file=address.tls_ca,
                tls_client_cert=address.tls_cert,
                tls_client_key=address.tls_key,
                require_encryption=True,
            )
        client = Client(**where, security=security, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise NetpickError(_no_answer(address, error)) from None
    try:
        cluster = Cluster(client, address.scheduler, choice, refuses, token)
        try:
            cluster.meet()
        except OSError as error:
            raise NetpickError(_no_answer(address, error)) from None
        yield cluster
    finally:
        with contextlib.suppress(Exception):  # a scheduler that has gone can't be told
            client.close(timeout=5)


def _no_answer(address: Address, error: BaseException) -> str:
    """Say why there is no connection, in one line."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    first = next((one for one in causes if type(one).__module__ == "ssl"), error)
    said = " ".join(str(first).split())[:200] or type(first).__name__
    line = f"--scheduler: no scheduler answers at {address.scheduler} ({said}): "
    if address.is_encrypted:
        return line + (
            "--tls-ca must be the authority that signed the scheduler's certificate, --tls-cert and --tls-key a pair "
            "that it signed too, and the address tls://HOST:8786"
        )
    return line + (
        "start one with `dask scheduler`, or give tcp://HOST:8786 or the file that it writes with --scheduler-file"
    )
