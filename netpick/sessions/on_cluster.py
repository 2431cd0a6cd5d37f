"""A session over a cluster: what it wants of the workers, what is the case there, and how they are to train."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

from netpick.core.errors import NetpickError
from netpick.sessions.forecast.calibration import HandOut
from netpick.sessions.options import Options
from netpick.sessions.settle import check_device
from netpick.sessions.situation import Situation
from netpick.sessions.workers.cluster import Cluster, connected
from netpick.sessions.workers.cluster_stream import BUNDLE_SECONDS, Manner, stream
from netpick.sessions.workers.landing import Landing, token_in
from netpick.sessions.workers.task import Ended, Task

BUNDLE_BYTES = 64 * 2**20
"""Of the scores that one bundle sends back: the session unpacks it at once."""


@contextlib.contextmanager
def cluster_of(situation: Situation, options: Options) -> Iterator[Cluster]:
    """Connect to the cluster that the user named; raises NetpickError where none of its workers can do it."""
    assert options.cluster is not None

    def refuses(device: str) -> str:
        try:
            check_device(situation, device)
        except NetpickError as error:
            return str(error)
        return ""

    with contextlib.ExitStack() as stack:
        token = stack.enter_context(token_in(situation.store.path)) if options.commit == "worker" else None
        yield stack.enter_context(connected(options.cluster, options.device, refuses, token))


def on_cluster(situation: Situation, cluster: Cluster) -> Situation:
    """Return what is the case where the workers of a cluster train; plans on paper are for the most common device."""
    devices = tuple(cluster.devices()) or ("cpu",)
    return replace(situation, devices=devices, workers=max(1, cluster.lanes), cluster=cluster.machine)


def manner_of(situation: Situation, cluster: Cluster) -> Manner:
    """Return how the workers are to train."""
    assert situation.samples is not None
    store = situation.store
    landing = most = None
    if cluster.token is not None:
        landing = Landing(store.path.resolve(), cluster.token, store.classes, situation.keep["scores"])
    else:
        epochs = max(training.network.recipe.epochs for training in situation.due)
        most = max(1, BUNDLE_BYTES // (4 * epochs * situation.samples.evaluated * store.classes))
    return Manner(situation.pin, landing, most)


def timing_on(cluster: Cluster, situation: Situation) -> HandOut | None:
    """Return what hands out the tasks of a calibration, each as a bundle of its own; None where nobody is there."""
    if not cluster.known:
        return None

    def hand_out(tasks: Sequence[Task], work: Callable[[Task], Any]) -> Generator[Ended[Any], None, None]:
        seconds = {task.key: BUNDLE_SECONDS for task in tasks}
        return stream(cluster, tasks, seconds, work=work, manner=Manner(situation.pin))

    return hand_out


def about(cluster: Cluster) -> dict[str, Any]:
    """Return what there is in a cluster: workers, threads, machines, and how many workers are on what."""
    workers = cluster.known
    names = Counter(worker.model for worker in workers)
    return {
        "address": cluster.address,
        "workers": len(workers),
        "threads": sum(worker.threads for worker in workers),
        "machines": len({worker.facts.host for worker in workers}),
        "devices": dict(names.most_common()),
    }
