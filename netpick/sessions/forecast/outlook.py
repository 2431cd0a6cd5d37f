"""What lies ahead of a run: which model of the costs holds for it, and the estimate that follows.

The model comes from what is known best: trainings of this run that have ended on this machine, a calibration that the
run's folder keeps, a new one where it is worth its time, and else the rough coefficients. Used by `session`, for the
order, the first lines and the time left, and for `netpick estimate`. Trains and prints nothing.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from netpick.core.devices import free_memory, usable_cores
from netpick.sessions.forecast import calibration, estimate
from netpick.sessions.forecast.bookkeeping import Overheads, of_epochs
from netpick.sessions.forecast.calibration import MOST_SECONDS, Calibration, HandOut
from netpick.sessions.forecast.estimate import Estimate, Prediction, predict
from netpick.sessions.forecast.model import UNTRAINED, Model, Timed, fit, rough
from netpick.sessions.forecast.remaining import TimeLeft
from netpick.sessions.forecast.work import Workload, workloads_of
from netpick.sessions.situation import Samples, Situation
from netpick.sessions.workers.task import Task, TrainingKey
from netpick.store.spent import seconds_spent

WORTH_SECONDS = 120.0
"""A session that is roughly shorter is not held up by a calibration."""

SHARE = 0.05
"""Of a session's rough time may go into a calibration before it."""

LEAST_SECONDS = 10.0
"""Of a calibration that somebody asks for: half of it goes into starting the workers."""

FINISHED = 15
"""Trainings that must have ended before they say enough about the others."""


@dataclass(frozen=True)
class Outlook:
    """All trainings of a run on paper, the model, what passes besides, and the estimate for those that are due.

    `cores` are those that the session and its workers share; None where they share none.
    """

    loads: Mapping[TrainingKey, Workload]
    model: Model
    overheads: Overheads
    cores: int | None
    estimate: Estimate

    def seconds(self, key: TrainingKey) -> float:
        """Return the predicted seconds of one training."""
        return self.model.seconds(self.loads[key])

    def time_left(self, keys: Sequence[TrainingKey], workers: int) -> TimeLeft:
        """Return what says the time left while some trainings are handed out in this order."""
        seconds = {key: self.seconds(key) for key in keys}
        measured = self.estimate.basis != "rough"
        return TimeLeft(seconds, self.model.fixed, workers, measured, self.overheads, self.cores)


@dataclass(frozen=True)
class _Known:
    """What is known of the costs: a calibration, trainings of the run that have ended, and both by training."""

    calibration: Calibration
    ended: Sequence[Timed]
    times: Mapping[TrainingKey, Timed]

    def is_enough(self, due: Sequence[Workload]) -> bool:
        """Whether it says enough about what is due."""
        trained = {load.key[0] for load in due if load.step is not None}
        timed = len(self.times) - len(self.ended)
        return len(self.ended) >= FINISHED or timed >= min(4, len(trained)) or not trained

    @property
    def basis(self) -> str:
        """What an estimate says that its times come from."""
        return "rough" if not self.times else "finished" if len(self.ended) >= FINISHED else "timed"


def never(rough: float) -> float:
    """Return 0: nothing is timed."""
    return 0.0


def before_training(rough: float) -> float:
    """Return what a calibration may take that holds up a session of so many seconds."""
    return min(MOST_SECONDS, SHARE * rough) if rough >= WORTH_SECONDS else 0.0


def on_request(seconds: float | None) -> Callable[[float], float]:
    """Return the rule for a calibration that somebody asks for: so many seconds, or else a tenth of the session."""
    if seconds is not None:
        return lambda rough: seconds
    return lambda rough: min(MOST_SECONDS, max(LEAST_SECONDS, 2 * SHARE * rough))


def look_ahead(
    situation: Situation,
    tasks: Sequence[Task],
    budget: Callable[[float], float],
    compact: bool,
    on_note: Callable[[str], None],
    hand_out: HandOut | None = None,
    begun: bool = False,
) -> Outlook:
    """Look at what is due.

    Parameters
    ----------
    situation : the run, with the numbers of its samples
    tasks : the trainings that are due, in the order of the situation; needed where something is to be timed
    budget : of the rough wall seconds: how many of them a calibration may take, such as `before_training`
    compact : whether files are merged at the end
    on_note : told what takes a while
    hand_out : does tasks elsewhere than on this machine, for a calibration
    begun : whether the session has begun that trains them: then torch and the data are loaded
    """
    assert situation.samples is not None
    loads = workloads_of(situation, situation.samples)
    due = [loads[training.key] for training in situation.due]
    known, device = _known(situation, loads, calibration.load(situation) or Calibration([])), situation.devices[0]
    if not known.is_enough(due):
        roughly = predict(rough(device), due, situation.workers, _cores(situation), Overheads()).seconds
        if (allowed := min(budget(roughly), MOST_SECONDS)) > 0:
            on_note(f"timing some of the networks, for about {allowed:.0f} s, to say how long all will take")
            made = calibration.calibrate(situation, tasks, due, allowed, hand_out)
            if made.timed:
                calibration.save(situation, made)
                known = _known(situation, loads, made)
    model = rough(device)
    if known.times:
        model = fit([loads[key] for key in known.times], list(known.times.values()), device=device)
    overheads, cores = _overheads(situation, known.calibration, compact, begun), _cores(situation)
    said = _estimate(situation, due, model, known, predict(model, due, situation.workers, cores, overheads), compact)
    return Outlook(loads, model, overheads, cores, said)


def merging_alone(number: int) -> TimeLeft:
    """Return what says the time left where no training is due, and files of so many are merged."""
    return TimeLeft({}, 0.0, 1, measured=False, overheads=Overheads(scattered=number))


def kept_samples(situation: Situation) -> Samples | None:
    """Return the numbers of samples that a calibration has kept: then the data set need not be looked at."""
    kept = calibration.load(situation)
    return kept.samples if kept else None


def nothing_due(situation: Situation) -> Estimate:
    """Return the estimate of a run that is done."""
    total = len(situation.ended)
    return Estimate(
        run=str(situation.store.path), due=0, total=total, devices=situation.devices, workers=0, basis="finished",
        measured=total, calibration_seconds=0.0, spread=0.0, seconds=0.0, low=0.0, high=0.0, worker_seconds=0.0,
        merge_seconds=0.0,
        disk={}, disk_free=shutil.disk_usage(situation.store.path).free, worker_memory=0, data_memory=0,
        memory_free=None, device_memory=None, costliest=(),
    )  # fmt: skip


def _known(situation: Situation, loads: Mapping[TrainingKey, Workload], timed: Calibration) -> _Known:
    ended = _ended(situation, loads)
    times = {times.key: times for times in [*timed.timed, *ended] if times.key in loads}
    return _Known(timed, ended, times)


def _ended(situation: Situation, loads: Mapping[TrainingKey, Workload]) -> list[Timed]:
    """Return what trainings of this run took that are done, where that was on this machine with as many workers."""
    store = situation.store
    before = store.manifest.get("training", {})
    if before.get("device") != situation.machine or before.get("workers") != situation.workers:
        return []
    out = []
    for spent in seconds_spent(store, situation.workers):
        load = loads.get(spent.key)
        if load is not None and load.step is not None and spent.train > 0 and spent.evaluation > 0:
            fixed = max(0.0, spent.whole - spent.train - spent.evaluation)
            out.append(Timed(load.key, spent.train / load.steps, spent.evaluation / max(1, load.evaluated), fixed))
    return out


def _estimate(
    situation: Situation, due: Sequence[Workload], model: Model, known: _Known, said: Prediction, compact: bool
) -> Estimate:
    samples, store = situation.samples, situation.store
    assert samples is not None
    networks = [training.network for training in situation.due]
    pixels = math.prod(situation.image)
    measured = [times.memory_bytes for times in model.known.values() if times.memory_bytes]
    on_card = situation.devices[0].startswith("cuda")
    on_paper = estimate.memory(networks, pixels, samples)
    first = not (store.path / "samples.parquet").is_file()
    untrained = sum(load.step is None for load in due)
    return Estimate(
        run=str(store.path),
        due=len(due),
        total=situation.total,
        devices=situation.devices,
        workers=situation.workers,
        basis=known.basis,
        measured=len(known.ended if known.basis == "finished" else known.times),
        calibration_seconds=known.calibration.took if known.basis == "timed" else 0.0,
        spread=model.spread,
        seconds=said.seconds,
        low=said.low,
        high=said.high,
        worker_seconds=said.worker_seconds,
        merge_seconds=said.merging,
        disk=estimate.disk(networks, samples, len(situation.classes), situation.keep, pixels, first, compact),
        disk_free=shutil.disk_usage(store.path).free,
        worker_memory=estimate.WORKER_BYTES if on_card else max([on_paper, *measured]),
        data_memory=4 * pixels * (samples.train + samples.evaluated),
        memory_free=None if situation.cluster else free_memory("cpu"),
        device_memory=max(measured, default=None) if on_card else None,
        costliest=estimate.costliest(model, due, {network.spec.hash: network.row for network in networks}),
        note=f"{untrained} students are not trained by gradient: {UNTRAINED:g} s were taken for each"
        if untrained
        else "",
    )


def _cores(situation: Situation) -> int | None:
    """Return the cores that the session and its workers share; None where they share none."""
    return None if situation.cluster else usable_cores()


def _overheads(situation: Situation, timed: Calibration, compact: bool, begun: bool) -> Overheads:
    """Return what the session needs, as it was measured, or else as it usually is."""
    out = Overheads(busy=timed.busy)
    if timed.start is not None:
        out = replace(out, start=estimate.LOADING_SECONDS + timed.start)
    if timed.bookkeeping and situation.due:
        epochs = fmean(training.network.recipe.epochs for training in situation.due)
        out = replace(out, each=of_epochs(timed.bookkeeping, epochs))
    if begun:
        out = replace(out, start=out.start - estimate.LOADING_SECONDS)
    return replace(out, scattered=situation.store.scattered()) if compact else out.without_merging()
