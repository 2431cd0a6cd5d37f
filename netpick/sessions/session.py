"""A session: what is due in a run is trained, each result committed at once; or it is said beforehand what that takes.

The one place where training meets the store. Prints nothing: a `Listener` hears what happens. Everything is settled
and checked before anything is written, so that options that are refused leave no trace. A session that ends, in
whatever way, loses only the trainings in flight; the next one goes on from the rows that are there.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from netpick.core import devices
from netpick.core.advice import command
from netpick.core.errors import NetpickError, WorkError
from netpick.core.processes import waited_for_core
from netpick.core.provenance import versions
from netpick.core.result import TrainingResult
from netpick.sessions.forecast import outlook
from netpick.sessions.forecast.estimate import Estimate
from netpick.sessions.forecast.remaining import TimeLeft
from netpick.sessions.hopeless import Hopeless
from netpick.sessions.inputs import Evidence, discard, evidence, lay_out, passing_cache
from netpick.sessions.listener import Listener, Start
from netpick.sessions.on_cluster import about, cluster_of, manner_of, on_cluster, timing_on
from netpick.sessions.options import Options, check_options
from netpick.sessions.settle import decisions, refuse_changes, settled, with_code
from netpick.sessions.signals import interruptible
from netpick.sessions.situation import Situation
from netpick.sessions.tasks import in_order, tasks_of, with_engines_ready, with_signs
from netpick.sessions.workers import gpu_budget, gpu_processes, pool
from netpick.sessions.workers.cluster import Cluster
from netpick.sessions.workers.cluster_stream import stream as over_cluster
from netpick.sessions.workers.process import train_task
from netpick.sessions.workers.task import Ended, Task, TrainingKey, result_of
from netpick.store.folder import Store

Outcome = TypeVar("Outcome")

LEFT_SECONDS = 2.0
"""Between two results whose events say how long the session will still take."""


def train_run(folder: str | Path, options: Options, listener: Listener | None = None) -> Counter[str]:
    """Train all that is due in a run, and commit each result as it comes.

    Returns
    -------
    Counter
        How many trainings of the run have each status now.

    Raises
    ------
    NetpickError
        Bad options, missing data, a run in use, a disk that is full, ...; WorkError where every training fails of the
        same error: the session is stopped, what was in flight is dropped, and the failures are rows.
    KeyboardInterrupt
        Ctrl-C or SIGTERM: what was in flight is dropped, all that was finished is committed.
    """
    listener = listener or Listener()
    check_options(options)
    store = Store.open(folder)
    with contextlib.ExitStack() as stack, store.lock():
        situation = settled(store, options)
        cluster = None
        if situation.due and options.cluster is not None:
            cluster = stack.enter_context(cluster_of(situation, options))
            situation = on_cluster(situation, cluster)
        if situation.due or options.modules or options.trust is not None:
            situation = with_code(situation, options, listener.note)
        refuse_changes(situation)
        left = None
        if situation.due:
            left = _train_due(situation, options, listener, cluster)
        else:
            store.recover()  # a kill while the last files were merged leaves nothing else to do
            Evidence().write(store, **decisions(situation))
        statuses = Counter(store.finished().values())
        if options.compact and (scattered := store.scattered()):
            _merge(store, left or outlook.merging_alone(scattered), listener)
        if situation.due:
            store.append_event({"event": "end", **statuses})
        discard(store)
    return statuses


def estimate_run(
    folder: str | Path, options: Options, seconds: float | None = None, listener: Listener | None = None
) -> Estimate:
    """Say what `train_run` with the same options would take; the run and its results stay as they are.

    Parameters
    ----------
    folder, options : as for `train_run`
    seconds : what a calibration may take at most; 0 for none, None for what suits the run. What it finds is kept in the
        run's folder, and used again by the next estimate and by the training.
    listener : hears what takes a while

    Raises
    ------
    NetpickError
        As `train_run`.
    """
    listener = listener or Listener()
    check_options(options)
    store = Store.open(folder)
    situation = settled(store, options)
    if not situation.due:
        return outlook.nothing_due(situation)
    tasks: list[Task] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(store.lock())
        hand_out = cluster = None
        if options.cluster is not None:
            cluster = stack.enter_context(cluster_of(situation, options))
            situation = on_cluster(situation, cluster)
            hand_out = timing_on(cluster, situation)
        stack.enter_context(passing_cache(store))
        samples = outlook.kept_samples(situation)
        if samples is None:
            situation = with_code(situation, options, listener.note)
            networks = [training.network for training in situation.due]
            inputs = lay_out(situation, networks, options.data_dir)
            samples = inputs.samples
            if cluster is None:
                situation = with_engines_ready(situation, situation.due, listener.note)
            tasks = tasks_of(situation, inputs, situation.due)
        situation = replace(situation, samples=samples)
        can_time = bool(tasks) and (cluster is None or hand_out is not None)
        budget = outlook.on_request(seconds) if can_time else outlook.never
        ahead = outlook.look_ahead(situation, tasks, budget, options.compact, listener.note, hand_out)
        return ahead.estimate if cluster is None else replace(ahead.estimate, cluster=about(cluster))


def _merge(store: Store, left: TimeLeft, listener: Listener) -> None:
    """Merge the small files into large ones, and say how far that is."""

    def on_share(share: float) -> None:
        now = time.monotonic()
        left.merged(share, now)
        listener.merging(share, left.seconds(now))

    on_share(0.0)
    store.append_event({"event": "merging", "left": round(left.seconds(time.monotonic()) or 0.0, 1)})
    store.compact(on_share=on_share)


def _train_due(situation: Situation, options: Options, listener: Listener, cluster: Cluster | None) -> TimeLeft:
    """Get everything ready, write down what was settled, all at once, and train; return what says the time left."""
    store = situation.store
    try:
        inputs = lay_out(situation, [t.network for t in situation.due], options.data_dir, listener.progress)
        facts = evidence(situation, inputs, listener.note)
        situation = replace(situation, samples=inputs.samples)
        if cluster is None:  # whose workers see to it themselves
            situation = with_engines_ready(situation, situation.due, listener.note)
        tasks = tasks_of(situation, inputs, situation.due)
        hand_out = None if cluster is None else timing_on(cluster, situation)
        can_time = cluster is None or hand_out is not None
        budget = outlook.before_training if options.estimate and can_time else outlook.never
        ahead = outlook.look_ahead(situation, tasks, budget, options.compact, listener.note, hand_out, begun=True)
    except NetpickError:
        discard(store)
        raise
    store.recover()
    store.forget(set(situation.retry))
    facts.write(store, **decisions(situation), training=_circumstances(situation))
    seconds = {task.key: ahead.seconds(task.key) for task in tasks}
    tasks = in_order(tasks, seconds, situation.workers)
    store.append_event(
        {
            "event": "begin",
            "due": len(tasks),
            "total": situation.total,
            "workers": situation.workers,
            "device": list(situation.devices),
            **({"cluster": cluster.address} if cluster else {}),
        }
    )
    left = ahead.time_left([task.key for task in tasks], situation.workers)
    listener.begin(
        Start(
            total=situation.total,
            finished=Counter(situation.standing.values()),
            due=len(tasks),
            workers=situation.workers,
            devices=list(situation.devices),
            recipe=situation.recipe,
            cost=seconds,
            estimate=ahead.estimate,
            left=left,
            swept=tuple(dict.fromkeys(key for network in situation.networks for key in network.spec.recipe)),
        )
    )
    with contextlib.ExitStack() as stack:
        if listener.watches and cluster is None:  # the signs are files of this machine
            tasks = with_signs(tasks, stack.enter_context(tempfile.TemporaryDirectory(prefix="netpick-")))
        _train_all(situation, tasks, seconds, inputs.labels, left, listener, cluster)
    return left


def _circumstances(situation: Situation) -> dict[str, object]:
    """Return what run.toml says of the session."""
    return {
        "devices": list(situation.devices),
        "device": situation.machine,
        "workers": situation.workers,
        **versions(),
    }


def _train_all(
    situation: Situation,
    tasks: list[Task],
    seconds: Mapping[TrainingKey, float],
    labels: dict[str, Any],
    left: TimeLeft,
    listener: Listener,
    cluster: Cluster | None,
) -> None:
    store = situation.store

    def started(task: Task) -> None:
        left.started(task.key, time.monotonic())
        job = task.job
        event = {"event": "start", "network": job.spec.name, "replicate": job.replicate, "device": job.device}
        store.append_event({**event, "worker": task.where} if task.where else event)
        listener.started(task)

    hopeless, why, said = Hopeless(tasks), "", time.monotonic()
    with interruptible(lambda: store.append_event({"event": "interrupted"})) as uninterrupted:
        if cluster is not None:
            manner = manner_of(situation, cluster)
            stream = _alone(over_cluster(cluster, tasks, seconds, started, listener.note, train_task, manner))
        else:
            stream = _stream(situation, tasks, started)
        with contextlib.closing(stream):
            for ended in stream:
                results = [result_of(one) for one in ended]
                with uninterrupted():
                    clock, waited = time.monotonic(), waited_for_core()
                    _write_down(situation, ended, results, labels)
                    now = time.monotonic()
                    took = {(one.hash, one.replicate): (one.seconds, one.status == "done") for one in results}
                    left.finished(took, now - clock, now, waited_for_core() - waited)
                    for result in results:
                        event = {"event": result.status, "network": result.network, "replicate": result.replicate}
                        event |= {"seconds": round(result.seconds, 3), "error": result.error}
                        if now - said >= LEFT_SECONDS and (rest := left.seconds(now)) is not None:
                            event["left"], said = round(rest, 1), now
                        store.append_event(event)
                    for result in results:
                        listener.finished(result)
                if why := next(filter(None, map(hopeless.after, results)), ""):
                    break
    if why:
        store.append_event({"event": "stopped", "error": why})
        discard(store)
        again = command("train", store.path, "--retry", "failed")
        raise WorkError(f"{why}; the session was stopped: mend that, and then `{again}`")


def _write_down(
    situation: Situation,
    ended: Sequence[Ended[TrainingResult]],
    results: Sequence[TrainingResult],
    labels: dict[str, Any],
) -> None:
    """Write results for good: all together, or one by one where their workers have written most of it."""
    commit = partial(situation.store.commit_all, labels=labels, scores=situation.keep["scores"])
    if all(one.written is None for one in ended):
        return commit(results)
    for one, result in zip(ended, results, strict=True):
        commit([result], written=one.written)


def _stream(
    situation: Situation, tasks: list[Task], started: Callable[[Task], None]
) -> Generator[list[Ended[TrainingResult]], None, None]:
    """Hand the tasks to what trains on these devices."""
    here = list(situation.devices)
    if not here[0].startswith("cuda"):
        return pool.stream_together(tasks, train_task, situation.workers, here, started)
    layout = gpu_budget.layout(len(here), devices.usable_cores(), situation.workers)
    return _alone(gpu_processes.stream(tasks, here, layout, started))


def _alone(stream: Generator[Outcome, None, None]) -> Generator[list[Outcome], None, None]:
    """Yield all that a stream does as lists of one."""
    with contextlib.closing(stream):
        for one in stream:
            yield [one]
