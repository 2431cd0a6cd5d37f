"""Measure networks alone on an idle device: seconds of a training step, latency of one input, throughput of a batch.

Times that were taken while several trainings shared a machine say as much of the neighbours as of the network. Here
one network has the device for itself; how it is timed is said in `stopwatch`. The times go into `timings.parquet`,
those of layers into `layer_times.parquet`; what one learns from them is the business of `exam` and of the questions.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from netpick.core.devices import resolve
from netpick.core.errors import DeviceError, NetpickError, RunError, listed, suggest
from netpick.networks.paper.whole_networks import is_baseline
from netpick.sessions.comparison import Comparison, compare
from netpick.sessions.forecast.calibration import choose
from netpick.sessions.forecast.work import workload_of
from netpick.sessions.inputs import lay_out, passing_cache
from netpick.sessions.options import Options
from netpick.sessions.settle import gathered, need_trainable, with_code
from netpick.sessions.situation import DueTraining, RunNetwork, Samples, Situation
from netpick.sessions.stopwatch import BATCH, time_alone
from netpick.sessions.tasks import tasks_of, with_engines_ready
from netpick.sessions.workers import pool
from netpick.sessions.workers.task import Ended, Failure, Task
from netpick.store.folder import Store

Row = dict[str, Any]
"""Of the table `timings`."""

SECONDS = 0.6
"""For one network on one device: a quarter each for steps, single inputs, batches and layers. What starts up comes on
top.
"""

BUSY = 0.25
"""Cores that other processes may use: more than that, and a time says something of them too."""


@dataclass(frozen=True)
class Timings:
    """What was measured now, as rows of the table `timings`.

    `failed` has (network, why), `skipped` the names of baselines: no gradient trains them, so that they have no step.
    """

    rows: list[dict[str, Any]]
    failed: list[tuple[str, str]]
    devices: list[str]
    missing: list[str]
    skipped: list[str] = field(default_factory=list)
    macs: dict[str, int] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """Return what was measured, as the columns of the table `timings`."""
        return pd.DataFrame(self.rows)

    def overview(self) -> Comparison:
        """Return what people look at: devices beside each other, or the times on the only one there is."""
        frame = self.frame()
        if len(frame[["device", "threads"]].drop_duplicates()) > 1:
            return compare(frame, self.macs)
        shown = frame.assign(
            macs=frame["network"].map(self.macs), step_ms=1e3 * frame["step_seconds"], latency_ms=1e3 * frame["latency"]
        )
        columns = ["network", "macs", "step_ms", "latency_ms", "throughput"]
        return Comparison(shown[columns].sort_values("step_ms", ignore_index=True), "")

    def where(self) -> str:
        """Return the devices with their names, in words."""
        return ", ".join(dict.fromkeys(f"{row['device']} ({row['device_name']})" for row in self.rows))


def time_run(
    folder: str | Path,
    networks: Sequence[str] = (),
    computations: Sequence[str] = (),
    limit: int | None = None,
    devices: str = "auto",
    threads: Sequence[int] = (1,),
    seconds: float = SECONDS,
    data_dir: str | None = None,
    busy: bool = False,
    on_start: Callable[[int, float], None] = lambda number, seconds: None,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    modules: Sequence[str] = (),
    trust: str | None = None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Timings:
    """Time networks of a run alone, and keep what was found in `timings.parquet` and `layer_times.parquet`.

    A network that was timed before on the same device with as many threads gets new values; all other rows stay. What
    was measured before an interruption is kept.

    Parameters
    ----------
    folder : of the run
    networks : names; all where there are none
    computations : only networks of these
    limit : only so many, spread over computations and sizes
    devices : as for training, several with commas between them; those that are not there are left out
    threads : of the CPU; each number is measured by itself
    seconds : for one network on one device, about
    data_dir : where data sets lie
    busy : measure although other processes use the machine
    on_start, on_row : told how many measurements there will be and how long they take, and each one

    Raises
    ------
    NetpickError
        A name or computation that the run does not have, none of the devices, a busy machine, missing data.
    """
    store = Store.open(folder)
    need_trainable(store)
    here, missing = _devices(devices)
    options = Options(modules=modules, trust=trust)
    situation = gathered(store, options, here)
    chosen, skipped = _chosen(situation, networks, computations, limit)
    chosen = with_code(replace(situation, networks=chosen), options, on_note).networks
    if not busy:
        check_idle()
    ways = [(device, n) for device in here for n in (threads if device == "cpu" else (1,))]
    rows: list[dict[str, Any]] = []
    layers: list[dict[str, Any]] = []
    failed: list[tuple[str, str]] = []
    with passing_cache(store), store.lock():
        number = len(chosen) * len(ways)
        on_start(number, forecast_seconds(number, seconds))
        try:
            for device, n in ways:
                place = replace(situation, devices=(device,), networks=chosen, workers=1)
                for ended in _timed(place, data_dir, partial(time_alone, seconds=seconds, threads=n)):
                    if isinstance(ended.outcome, Failure):
                        failed.append((ended.task.job.spec.name, ended.outcome.error))
                    else:
                        layers += ended.outcome.pop("layers")
                        rows.append(ended.outcome)
                        on_row(ended.outcome)
        finally:
            if rows:
                store.write_timings(rows)
                store.write_layer_times(layers)
    macs = {network.spec.name: network.row["macs"] for network in chosen}
    return Timings(rows, failed, here, missing, skipped, macs)


def _timed(situation: Situation, data_dir: str | None, work: Callable[[Task], Row]) -> Iterator[Ended[Row]]:
    """Time the first training of each network, one after the other, on the first device."""
    inputs = lay_out(situation, situation.networks, data_dir)
    due = [DueTraining(network, 0) for network in situation.networks]
    tasks = tasks_of(with_engines_ready(situation, due), inputs, due)
    with contextlib.closing(pool.stream(tasks, work, 1, situation.devices)) as stream:
        yield from stream


def forecast_seconds(number: int, seconds: float) -> float:
    """Return about how long so many measurements take, the start of a worker and the data set included."""
    return 6 + number * (1.4 * seconds + 0.1)


def _chosen(
    situation: Situation, names: Sequence[str], computations: Sequence[str], limit: int | None
) -> tuple[tuple[RunNetwork, ...], list[str]]:
    """Return the networks to time, and the names of the baselines among those asked for."""
    path = situation.store.path
    there = [network.spec.name for network in situation.networks]
    kinds = sorted({network.spec.computation for network in situation.networks})
    for name in names:
        if name not in there:
            raise RunError(f"no network '{name}'{suggest(name, there)} in {path}, which has {len(there)}")
    for kind in computations:
        if kind not in kinds:
            raise RunError(f"no computation '{kind}'{suggest(kind, kinds)} in {path}: it has {listed(kinds)}")
    asked = [
        network
        for network in situation.networks
        if (not names or network.spec.name in names) and (not computations or network.spec.computation in computations)
    ]
    skipped = [network.spec.name for network in asked if is_baseline(network.spec.layers)]
    trained = [network for network in asked if not is_baseline(network.spec.layers)]
    if not trained:
        raise RunError(f"{path}: none of the networks asked for is trained by gradient: name others")
    if limit is not None and limit < len(trained):
        samples = Samples(situation.recipe.batch_size, BATCH)
        loads = [workload_of(network, situation.image, samples) for network in trained]
        trained = [trained[place] for place in sorted(choose(loads, limit))]
    return tuple(trained), skipped


def _devices(text: str) -> tuple[list[str], list[str]]:
    """Return the devices that are there, and one line for each that is not."""
    here, missing = [], []
    for choice in [word.strip() for word in text.split(",") if word.strip()]:
        try:
            resolved = resolve(choice)
        except DeviceError as error:
            if choice not in ("all", "cuda", "mps") and not choice.startswith("cuda:"):
                raise
            missing.append(str(error))
        else:
            here.append(resolved[0])  # of several equal cards one is enough
    if not here:
        raise DeviceError(missing[0] if missing else f"--devices: wants names such as cpu,cuda, got '{text}'")
    return list(dict.fromkeys(here)), missing


def others_cores(seconds: float = 1.0) -> float:
    """Return how many cores' worth of time other processes use, as seen over some seconds."""
    import psutil

    own = psutil.Process()
    before, clock = sum(own.cpu_times()[:2]), time.monotonic()
    percent = psutil.cpu_percent(interval=seconds)
    mine = (sum(own.cpu_times()[:2]) - before) / (time.monotonic() - clock)
    return max(0.0, percent / 100 * (psutil.cpu_count() or 1) - mine)


def check_idle() -> None:
    """Raise NetpickError where other processes use the machine."""
    import psutil

    used = others_cores()
    if used > BUSY:
        load = psutil.getloadavg()[0]
        raise NetpickError(
            f"the machine is busy: other processes use {used:.1f} of {psutil.cpu_count()} cores (load average "
            f"{load:.1f}): wait until it is idle, or say --busy to measure all the same"
        )
