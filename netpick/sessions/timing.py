"""Measure networks alone on an idle device: seconds of a training step, latency of one input, throughput of a batch.

Times that were taken while several trainings shared a machine say as much of the neighbours as of the network. Here
one network has the device for itself: warmed up, the device synchronised at both ends of what is timed, the median of
several. The step is that of a real training, with the run's plan and recipe. The times go into `timings.parquet`; what
one learns from them is the business of `exam` and of the questions.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from netpick.core import devices as device
from netpick.core.errors import DeviceError, NetpickError, RunError, listed, suggest
from netpick.core.result import TrainingResult
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import is_baseline
from netpick.sessions import session
from netpick.sessions.forecast import calibration as calibrate
from netpick.sessions.forecast import model as cost
from netpick.sessions.forecast import outlook as forecast
from netpick.sessions.workers import pool
from netpick.sessions.workers.process import prepare, resident
from netpick.sessions.workers.task import Failure, Task
from netpick.store.folder import Store
from netpick.training.engines.compiled import ready as machine_code
from netpick.training.job import EVALUATION_BATCH, Data, Job

if TYPE_CHECKING:
    import pandas as pd

BATCH = EVALUATION_BATCH
"""Inputs of a batch whose throughput is measured, as many as an evaluation takes at once on the CPU."""

SECONDS = 0.6
"""For one network on one device: a third each for steps, single inputs and batches. What starts up comes on top."""

REPEATS = 7
"""Of which the median is taken; single inputs are repeated as often as there is time."""

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
        import pandas as pd

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
) -> Timings:
    """Time networks of a run alone, and keep what was found in `timings.parquet`.

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
    recipe = session.wanted_recipe(store, session.Options())
    rows, skipped = _chosen(store, recipe, networks, computations, limit)
    here, missing = _devices(devices)
    if not busy:
        check_idle()
    cache = store.path / ".cache"
    was_there = cache.is_dir()
    found: list[dict[str, Any]] = []
    failed: list[tuple[str, str]] = []
    try:
        with store.lock():
            hashes = {row["hash"] for row in rows}
            ways = [(one, n) for one in here for n in (threads if one == "cpu" else (1,))]
            on_start(len(rows) * len(ways), forecast_seconds(len(rows) * len(ways), seconds))
            try:
                for one, n in ways:
                    tasks = session.first_tasks(store, recipe, hashes, one, data_dir)
                    machine_code.make_ready((task.job.plan for task in tasks), lambda text: None)
                    stream = pool.stream(tasks, partial(time_alone, seconds=seconds, threads=n), 1, [one])
                    with contextlib.closing(stream):
                        for ended in stream:
                            if isinstance(ended.outcome, Failure):
                                failed.append((ended.task.job.spec.name, ended.outcome.error))
                            else:
                                found.append(ended.outcome)
                                on_row(ended.outcome)
            finally:
                if found:
                    store.write_timings(found)
    finally:
        if not was_there:
            shutil.rmtree(cache, ignore_errors=True)
    return Timings(found, failed, here, missing, skipped, {row["name"]: row["macs"] for row in rows})


def forecast_seconds(number: int, seconds: float) -> float:
    """Return about how long so many measurements take, the start of a worker and the data set included."""
    return 6 + number * (1.4 * seconds + 0.1)


def _chosen(
    store: Store, recipe: Any, networks: Sequence[str], computations: Sequence[str], limit: int | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the networks to time, and the names of the baselines among those asked for."""
    rows = store.networks()
    names, kinds = [row["name"] for row in rows], sorted({row["computation"] for row in rows})
    for name in networks:
        if name not in names:
            raise RunError(f"no network '{name}'{suggest(name, names)} in {store.path}, which has {len(names)}")
    for kind in computations:
        if kind not in kinds:
            raise RunError(f"no computation '{kind}'{suggest(kind, kinds)} in {store.path}: it has {listed(kinds)}")
    rows = [
        row
        for row in rows
        if (not networks or row["name"] in networks) and (not computations or row["computation"] in computations)
    ]
    skipped = [row["name"] for row in rows if is_baseline(NetworkSpec.from_dict(row).layers)]
    rows = [row for row in rows if row["name"] not in set(skipped)]
    if not rows:
        raise RunError(f"{store.path}: none of the networks asked for is trained by gradient: name others")
    if limit is not None and limit < len(rows):
        image = tuple(store.manifest["shape"])
        some = cost.Samples(recipe.batch_size, BATCH)
        specs = [NetworkSpec.from_dict(row) for row in rows]
        works = [
            cost.work_of(row, spec.layers, 0, forecast.recipe_of(spec, recipe), image, some)
            for row, spec in zip(rows, specs, strict=True)
        ]
        rows = [rows[place] for place in sorted(calibrate.choose(works, limit))]
    return rows, skipped


def _devices(text: str) -> tuple[list[str], list[str]]:
    """Return the devices that are there, and one line for each that is not."""
    here, missing = [], []
    for choice in [word.strip() for word in text.split(",") if word.strip()]:
        try:
            found = device.resolve(choice)
        except DeviceError as error:
            if choice not in ("all", "cuda", "mps") and not choice.startswith("cuda:"):
                raise
            missing.append(str(error))
        else:
            here.append(found[0])  # of several equal cards one is enough
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


def time_alone(task: Task, seconds: float, threads: int = 1) -> dict[str, Any]:
    """Time one network in a worker process; return its row of the table `timings`."""
    import torch

    prepare()
    job = task.job
    torch.set_num_threads(threads)
    try:
        whole = resident(task.shared, task.job.device)
        step, steps, text = _step(job, whole, seconds / 3)
        latency, _ = _forward(job, whole, 1, seconds / 3)
        batch = min(BATCH, len(whole["train"][1]))
        of_batch, repeats = _forward(job, whole, batch, seconds / 3)
    finally:
        torch.set_num_threads(1)
    samples = len(whole["train"][1])
    return {
        "network": job.spec.name,
        "hash": job.spec.hash,
        "device": job.device,
        "device_name": device.describe(job.device),
        "threads": threads,
        "plan": text,
        "batch_size": min(job.recipe.batch_size, samples),
        "step_seconds": step,
        "epoch_steps": -(-samples // job.recipe.batch_size),
        "latency": latency,
        "throughput": batch / of_batch,
        "throughput_batch": batch,
        "repeats": min(steps, repeats),
        "measured": datetime.now(UTC),
    }


def _step(job: Job, whole: Data, seconds: float) -> tuple[float, int, str]:
    """Return the seconds of a training step, how many epochs of some steps it is the median of, and the plan."""
    from netpick.training.engines import train

    samples = len(whole["train"][1])
    batch = min(job.recipe.batch_size, samples)
    other = next(split for split in whole if split != "train")

    def part(steps: int, epochs: int) -> TrainingResult:
        first = whole["train"][0][: steps * batch], whole["train"][1][: steps * batch]
        data = {"train": first, other: (whole[other][0][:1], whole[other][1][:1])}
        recipe = msgspec.structs.replace(job.recipe, epochs=epochs, timeout=None)
        return train(replace(job, recipe=recipe, keep_weights=False), data)

    few = max(1, min(2, samples // batch))
    first = part(few, 2)
    if len(first.epochs) < 2:
        raise NetpickError(first.error or first.status)
    one = first.epochs[-1].train_seconds / few
    steps = max(1, min(samples // batch, 64, int(seconds / REPEATS / one)))
    result = part(steps, REPEATS + 1)
    if len(result.epochs) < 2:
        raise NetpickError(result.error or result.status)
    warm = [epoch.train_seconds / steps for epoch in result.epochs[1:]]
    return median(warm), len(warm), result.plan


def _forward(job: Job, whole: Data, batch: int, seconds: float) -> tuple[float, int]:
    """Return the seconds of one forward pass as an evaluation does it, and how many passes it is the median of.

    But for graphs: on a CUDA card the pass is not captured, since whoever uses the network calls it.
    """
    import torch

    from netpick.networks.modules.build import build
    from netpick.training.steps import autocast

    torch.manual_seed(job.seed)
    model = build(job.spec.layers, tuned=job.plan.convolutions == "tuned").to(job.device).eval()
    x = whole["train"][0][:batch].clone()
    took: list[float] = []
    tf32 = device.tf32(job.device, job.plan.precision == "tf32")
    with torch.inference_mode(), tf32, autocast(job.plan, job.device):
        model(x).float()  # loads kernels, and chooses among them
        model(x).float()
        end = time.perf_counter() + seconds
        while len(took) < REPEATS or (time.perf_counter() < end and len(took) < 1000):
            device.synchronize(job.device)
            start = time.perf_counter()
            model(x).float()
            device.synchronize(job.device)
            took.append(time.perf_counter() - start)
    return median(took), len(took)


@dataclass(frozen=True)
class Comparison:
    """Devices beside each other: a row a network with seconds of a step on each, and what to use from which size on."""

    table: pd.DataFrame
    text: str


def compare(frame: pd.DataFrame, macs: dict[str, int]) -> Comparison:
    """Compare devices network by network.

    Parameters
    ----------
    frame : rows of the table `timings`; each device (with its threads) is compared by its training steps
    macs : of each network, by which networks are called small or large

    Notes
    -----
    The size from which on a device is the one to use is the cut that makes all steps together as short as can be.
    """
    import numpy as np

    way = frame["device"] + np.where(frame["threads"] > 1, " ×" + frame["threads"].astype(str), "")
    table = frame.assign(way=way).pivot_table("step_seconds", "network", "way", aggfunc="median", sort=False)
    table = table.dropna()
    ways = list(table.columns)
    table.insert(0, "macs", [macs[name] for name in table.index])
    table = table.sort_values("macs", kind="stable")
    if len(ways) > 1 and len(table):
        table["fastest"] = table[ways].idxmin(axis=1)
    said = []
    for other in ways[1:]:
        one = ways[0]
        a, b, size = (table[name].to_numpy(float) for name in (one, other, "macs"))
        said.append(_sentence(one, other, a, b, size))
    return Comparison(table.reset_index(), " ".join(said))


def _sentence(one: str, other: str, a: Any, b: Any, macs: Any) -> str:
    """Say which of two devices to use, from which size on."""
    import numpy as np

    ratio = float(np.exp(np.mean(np.log(a / b))))
    if not len(a):
        return f"No network was timed on both {one} and {other}."
    if (b < a).all():
        return f"Use {other} for all {len(a)} networks: its steps are {ratio:.2g} times as fast as those of {one}."
    if (a <= b).all():
        return f"Use {one} for all {len(a)} networks: its steps are {1 / ratio:.2g} times as fast as those of {other}."

    def totals(small: Any, large: Any) -> Any:
        return np.concatenate([[0], np.cumsum(small)]) + np.concatenate([np.cumsum(large[::-1])[::-1], [0]])

    # Networks are in the order of their size; the logarithm, so that small networks count as much as large ones.
    up, down = totals(np.log(a), np.log(b)), totals(np.log(b), np.log(a))
    small, large, sums = (one, other, up) if up.min() <= down.min() else (other, one, down)
    cut = int(sums.argmin())
    first, second = (a, b) if small == one else (b, a)
    if cut in (0, len(a)):
        best, times = (large, ratio) if cut == 0 else (small, ratio)
        faster = times if best == other else 1 / times
        wins = int((b < a).sum() if best == other else (a <= b).sum())
        return f"Use {best}: it is faster for {wins} of {len(a)} networks, {faster:.2g} times in the mean."
    right_small, right_large = int((first[:cut] <= second[:cut]).sum()), int((second[cut:] <= first[cut:]).sum())
    return (
        f"Use {small} for networks below {macs[cut]:,.0f} macs an input (faster for {right_small} of {cut}), and "
        f"{large} from there on (faster for {right_large} of {len(a) - cut})."
    )
