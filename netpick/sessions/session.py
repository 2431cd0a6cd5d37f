"""A session of training: what is due in a run, in which order, on how many workers, and each result committed at once.

The one place where training meets the store. Prints nothing: a `Listener` hears what happens. A session that ends, in
whatever way, loses only the trainings in flight; the next one goes on from the rows that are there.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from netpick import data
from netpick.core import devices as device
from netpick.core.errors import DataError, RunError, listed, suggest
from netpick.core.provenance import versions
from netpick.core.recipe import applied, check_recipe
from netpick.core.result import TrainingResult
from netpick.data import shared as share
from netpick.networks.catalogue.template import Recipe, apply_override, parse_recipe
from netpick.networks.modules import user_code as modules
from netpick.networks.paper.spec import NetworkSpec, seed_of
from netpick.sessions.forecast import outlook as forecast
from netpick.sessions.forecast.estimate import Estimate
from netpick.sessions.forecast.model import Samples
from netpick.sessions.workers import gpu_budget as packing
from netpick.sessions.workers import gpu_processes as cards
from netpick.sessions.workers import pool
from netpick.sessions.workers.process import train_task
from netpick.sessions.workers.task import Ended, Task, result_of
from netpick.store.folder import SCORES, Store
from netpick.training.choice import choose
from netpick.training.engines.compiled import ready as machine_code
from netpick.training.job import Job
from netpick.training.plan import pinned

PRECISIONS = ("fp32", "tf32", "bf16", "auto")
WEIGHTS = ("last", "none")
RETRYABLE = ("diverged", "failed", "timeout")


@dataclass(frozen=True)
class Options:
    """What the user may say when training; None leaves a value as it is in the run."""

    device: str = "auto"
    workers: int | Literal["auto"] = "auto"
    epochs: int | None = None
    overrides: Sequence[str] = ()
    scores: str | None = None
    weights: str | None = None
    data_dir: str | None = None
    retry: Sequence[str] = ()
    precision: str | None = None
    plan: str | None = None
    compact: bool = True
    estimate: bool = True


@dataclass(frozen=True)
class Start:
    """What a session is about to do.

    `cost` has the predicted seconds of each training, by (hash of the network, replicate), and `estimate` what they
    come to together. `recipe` is the run's; `swept` has the keys in which networks differ from it.
    """

    total: int
    finished: Counter[str]
    due: int
    workers: int
    devices: list[str]
    recipe: Recipe
    cost: dict[tuple[str, int], float]
    estimate: Estimate
    swept: tuple[str, ...] = ()


class Listener:
    """Hears what happens; this one does not care. `started` may be called from another thread."""

    def begin(self, start: Start) -> None:
        """All is checked, the first training is about to start."""

    def started(self, task: Task) -> None:
        """A training has been handed to a worker."""

    def finished(self, result: TrainingResult) -> None:
        """A training has ended and is committed."""

    def note(self, text: str) -> None:
        """Something else takes a while, or is worth knowing."""

    def progress(self, text: str, done: int, total: int) -> None:
        """Something else that takes a while has come so far; 0 of 0 is a mere message."""


class _Interrupt(Protocol):
    def __call__(self) -> contextlib.AbstractContextManager[None]: ...


def train_run(folder: str | Path, options: Options, listener: Listener | None = None) -> Counter[str]:
    """Train all that is due in a run, and commit each result as it comes.

    Returns
    -------
    Counter
        How many trainings of the run have each status now.

    Raises
    ------
    NetpickError
        Bad options, missing data, a run in use, a disk that is full, ...
    KeyboardInterrupt
        Ctrl-C or SIGTERM: what was in flight is dropped, all that was finished is committed.
    """
    listener = listener or Listener()
    _check_options(options)
    store = Store.open(folder)
    with store.lock():
        modules.check_sources([NetworkSpec.from_dict(row) for row in store.networks()])
        store.recover()
        finished = store.finished()
        recipe = _settle_recipe(store, options, len(finished))
        keep = _settle_keep(store, options, len(finished))
        pin = _settle_plan(store, options, len(finished))
        devices = device.resolve(options.device)
        students = _students(store, recipe)
        for one in devices:
            for own in {str(r): r for _, r in students}.values():
                choose(own, one, pin=pin)  # refuses what the device can't do, before anything is loaded
        if options.retry:  # after all that can be refused: from here on results are lost
            store.forget(set(options.retry))
            finished = store.finished()
        due = _due(students, finished)
        total = sum(own.replicates for _, own in students)
        if due:
            data_sets = {}
            for key, own in {_data_of(own): own for _, own, _ in due}.items():
                data_sets[key] = _share_data(store, own, options, len(finished), listener)
            labels = _labels(data_sets.values())
            tasks = _tasks(store, due, data_sets, devices[0], pin, keep["weights"] == "last")
            workers = _workers(options.workers, store, tasks, devices)
            tasks = [replace(task, workers=workers) for task in tasks]
            machine_code.make_ready((task.job.plan for task in tasks), listener.note)
            ahead = forecast.outlook(
                *(store, recipe, keep, [task.key for task in tasks], _most_samples(data_sets), workers, devices),
                lambda: tasks,
                forecast.before_training if options.estimate else forecast.never,
                options.compact,
                listener.note,
                pin,
            )
            seconds = {task.key: ahead.seconds(task.key) for task in tasks}
            # The costliest come first, so that no worker is left with a long one at the end.
            tasks.sort(key=lambda task: seconds[task.key], reverse=True)
            versions_now = versions()
            store.update_manifest(
                training={"devices": devices, "device": device.describe(devices[0]), "workers": workers, **versions_now}
            )
            begin = {"event": "begin", "due": len(due), "total": total, "workers": workers, "device": devices}
            store.append_event(begin)
            ended = Counter(finished.values())
            swept = tuple(dict.fromkeys(key for spec, _ in students for key in spec.recipe))
            listener.begin(Start(total, ended, len(due), workers, devices, recipe, seconds, ahead.estimate, swept))
            _train_all(store, tasks, workers, devices, labels, keep["scores"], listener)
        statuses = Counter(store.finished().values())
        if options.compact and store.is_scattered():
            listener.note("merging the small files into large ones")
            store.compact()
        if due:
            store.append_event({"event": "end", **statuses})
        shutil.rmtree(store.path / ".cache", ignore_errors=True)
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
    _check_options(options)
    store = Store.open(folder)
    finished = store.finished()
    recipe = wanted_recipe(store, options)
    keep = _wanted_keep(store, options)[1]
    pin = _wanted_plan(store, options)
    devices = device.resolve(options.device)
    for one in devices:
        choose(recipe, one, pin=pin)
    left = {key: status for key, status in finished.items() if status not in options.retry}
    students = _students(store, recipe)
    due = _due(students, left)
    keys = [(spec.hash, n) for spec, _, n in due]
    if not due:
        return forecast.nothing(store, len(finished), devices)
    samples: Samples | None = None
    workers: int | None = None
    if options.workers != "auto" or devices[0] == "cpu":  # on a card the number of workers is measured
        workers = _workers(options.workers, store, [], devices)
        samples = forecast.kept_samples(store, recipe, devices, workers, pin)
    tasks: list[Task] = []
    cache = store.path / ".cache"
    was_there = cache.is_dir()
    try:
        with store.lock():
            if samples is None or workers is None:
                data_sets = _lay_out(store, due, options.data_dir)
                samples = _most_samples(data_sets)
                tasks = _tasks(store, due, data_sets, devices[0], pin)
                workers = _workers(options.workers, store, tasks, devices) if workers is None else workers
                tasks = [replace(task, workers=workers) for task in tasks]
                machine_code.make_ready((task.job.plan for task in tasks), listener.note)
            return forecast.outlook(
                *(store, recipe, keep, keys, samples, workers, devices),
                lambda: tasks,
                forecast.on_request(seconds) if tasks else forecast.never,
                options.compact,
                listener.note,
                pin,
            ).estimate
    finally:
        if not was_there:
            shutil.rmtree(cache, ignore_errors=True)


def _train_all(
    store: Store,
    tasks: list[Task],
    workers: int,
    devices: list[str],
    labels: dict[str, Any],
    scores: str,
    listener: Listener,
) -> None:
    def started(task: Task) -> None:
        job = task.job
        store.append_event(
            {"event": "start", "network": job.spec.name, "replicate": job.replicate, "device": job.device}
        )
        listener.started(task)

    with _politely(store) as uninterrupted:
        stream = _stream(store, tasks, workers, devices, started)
        with contextlib.closing(stream):
            for result in map(result_of, stream):
                with uninterrupted():
                    store.commit(result, labels, scores)
                    event = {"event": result.status, "network": result.network, "replicate": result.replicate}
                    store.append_event({**event, "seconds": round(result.seconds, 3), "error": result.error})
                    listener.finished(result)


def _stream(
    store: Store, tasks: list[Task], workers: int, devices: list[str], started: Callable[[Task], None]
) -> Generator[Ended[TrainingResult], None, None]:
    """Hand the tasks to what trains on these devices."""
    if not devices[0].startswith("cuda"):
        return pool.stream(tasks, train_task, workers, devices, started)
    rows = {row["hash"]: row for row in store.networks()}
    sized = [
        replace(task, memory=rows[task.key[0]]["memory"] or 0, params=rows[task.key[0]]["params"] or 0)
        for task in tasks
    ]
    return cards.stream(sized, devices, packing.layout(len(devices), device.usable_cores(), workers), started)


@contextlib.contextmanager
def _politely(store: Store) -> Iterator[_Interrupt]:
    """Turn the first Ctrl-C or SIGTERM into a KeyboardInterrupt that waits for a commit; the second ends at once."""
    asked = False
    shielded = False

    def hear(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            os._exit(130)
        asked = True
        if not shielded:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def uninterrupted() -> Iterator[None]:
        nonlocal shielded
        shielded = True
        try:
            yield
        finally:
            shielded = False
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may listen to signals
        yield uninterrupted
        return
    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield uninterrupted
    except KeyboardInterrupt:
        store.append_event({"event": "interrupted"})
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_options(options: Options) -> None:
    if options.workers != "auto" and options.workers < 1:
        raise RunError(f"--workers: wants auto or a number from 1 on, got {options.workers}")
    for name, value, allowed in (("scores", options.scores, SCORES), ("weights", options.weights, WEIGHTS)):
        if value is not None and value not in allowed:
            raise RunError(f"--{name}: wants one of {', '.join(allowed)}, got '{value}'")
    if options.precision is not None and options.precision not in PRECISIONS:
        near = suggest(options.precision, PRECISIONS)
        raise RunError(f"--precision: wants one of {', '.join(PRECISIONS)}, got '{options.precision}'{near}")
    precision = pinned("auto" if options.plan is None else options.plan).get("precision")
    if precision and options.precision not in (None, precision):
        raise RunError(
            f"--precision {options.precision} and --plan {options.plan} contradict each other: give one of them"
        )
    for status in options.retry:
        if status not in RETRYABLE:
            raise RunError(f"--retry: wants {', '.join(RETRYABLE)}, got '{status}'")


def wanted_recipe(store: Store, options: Options) -> Recipe:
    """Return the recipe of the run with what the user set."""
    raw: dict[str, Any] = {"recipe": copy.deepcopy(store.manifest.get("recipe", {}))}
    overrides = list(options.overrides)
    if options.epochs is not None:
        overrides.append(f"recipe.epochs={options.epochs}")
    if options.precision is not None:
        overrides.append(f'recipe.precision="{options.precision}"')
    for override in overrides:
        if not override.startswith("recipe."):
            raise RunError(f"--set {override}: training can set recipe.* only; the rest is set with netpick generate")
        apply_override(raw, override)
    return parse_recipe(raw["recipe"], "--set" if overrides else str(store.path / "run.toml"))


def _settle_recipe(store: Store, options: Options, results: int) -> Recipe:
    """Return the recipe of the run with what the user set; refuse to change it under results that are there."""
    recipe = wanted_recipe(store, options)
    before = parse_recipe(store.manifest.get("recipe", {}), str(store.path / "run.toml"))
    changed = [
        f"{field.name} from {getattr(before, field.name)} to {getattr(recipe, field.name)}"
        for field in msgspec.structs.fields(recipe)
        # How long one may take changes no result that is there; it is what --retry timeout is for.
        if field.name != "timeout" and getattr(before, field.name) != getattr(recipe, field.name)
    ]
    if changed and results:
        raise RunError(
            f"{store.path} has {results} results of another recipe, which would change {'; '.join(changed)}: "
            "leave that out to go on, or make a new run with netpick generate ... --run runs/OTHER --set ..."
        )
    _refuse_swept(store, before, recipe)
    if changed:  # there are no results yet, and the samples may be other splits now
        (store.path / "samples.parquet").unlink(missing_ok=True)
    if recipe != before:
        store.update_manifest(recipe=msgspec.to_builtins(recipe))
    return recipe


def _wanted_keep(store: Store, options: Options) -> tuple[dict[str, str], dict[str, str]]:
    """Return which scores and weights the run keeps, and which with what the user set."""
    before = {"scores": "all", "weights": "last", **store.manifest.get("keep", {})}
    return before, {"scores": options.scores or before["scores"], "weights": options.weights or before["weights"]}


def _refuse_swept(store: Store, before: Recipe, recipe: Recipe) -> None:
    """Refuse to change a value that differs between the networks: some would follow, and others not."""
    own = {key for row in store.networks() for key in json.loads(row.get("recipe") or "{}")}
    for key in sorted(own):
        if getattr(before, key) != getattr(recipe, key):
            raise RunError(
                f"--set recipe.{key}: the networks of {store.path} differ in it, as their template says: leave it out, "
                f"or make a new run with netpick generate ... --set recipe.{key}=..."
            )


def _settle_keep(store: Store, options: Options, results: int) -> dict[str, str]:
    """Return which scores and weights are kept; the same for all trainings of a run."""
    before, keep = _wanted_keep(store, options)
    for name, value in keep.items():
        if results and value != before[name]:
            raise RunError(
                f"{store.path} has {results} results with --{name} {before[name]}, got {value}: "
                "leave it out to go on, or make a new run"
            )
    if keep != store.manifest.get("keep"):
        store.update_manifest(keep=keep)
    return keep


def _wanted_plan(store: Store, options: Options) -> str:
    return options.plan or store.manifest.get("plan", "auto")


def _settle_plan(store: Store, options: Options, results: int) -> str:
    """Return what is fixed of the plans, kept with the run; refuse to change it under results that are there."""
    before, pin = store.manifest.get("plan", "auto"), _wanted_plan(store, options)
    if pinned(pin) == pinned(before):
        return before
    if results:
        raise RunError(
            f"{store.path} has {results} results with --plan {before}, got {pin}: "
            "leave it out to go on, or make a new run"
        )
    store.update_manifest(plan=pin)
    return pin


def _samples(shared: share.SharedData) -> Samples:
    """Return how many samples there are to train on and to evaluate."""
    counts = {split: len(labels) for split, (_, labels) in share.attach(shared).items()}
    return Samples(counts.pop("train"), sum(counts.values()))


def _request(store: Store, recipe: Recipe, data_dir: str | None) -> data.DataRequest:
    folder = data.data_dir(data_dir)
    return data.request_of(store.manifest, folder, recipe.train_samples, recipe.validation, recipe.normalize)


def _kept(store: Store) -> Path:
    """Return where the pixels of a folder of images are kept: beside the run, for other runs of the same images."""
    return store.path.absolute().parent / ".decoded"


def _share_data(store: Store, recipe: Recipe, options: Options, results: int, listener: Listener) -> share.SharedData:
    """Load the data set, lay it out for the workers, and write down the samples that will be predicted."""
    manifest = store.manifest
    request = _request(store, recipe, options.data_dir)
    shared = share.prepare(request, store.path / ".cache", _kept(store), listener.progress)
    attached = share.attach(shared)
    shape = list(attached["train"][0].shape[1:])
    if shape != manifest["shape"]:
        raise DataError(f"data set {request.name} has images of {shape}, the run was made for {manifest['shape']}")
    if list(shared.classes) != manifest["classes"]:
        got, made = listed(shared.classes), listed(manifest["classes"])
        raise DataError(f"data set {request.name} has the classes {got}, the run was made for {made}")
    # One for each number of training samples: that of the samples alone would need a second look at all of them.
    known = manifest.get("input", {}).get("digests", {})
    number = str(recipe.train_samples or "all")
    if known.get(number, shared.digest) != shared.digest:
        if results:
            raise DataError(
                f"data set {request.name} has changed since {store.path} was begun, which has {results} results of it:"
                " put the files back as they were, or make a new run with netpick generate ... --run runs/OTHER"
            )
        (store.path / "samples.parquet").unlink(missing_ok=True)
    if known.get(number) != shared.digest and "input" in manifest:
        store.update_manifest(input={**manifest["input"], "digests": {**known, number: shared.digest}})
    if not (store.path / "samples.parquet").is_file():
        listener.note("writing down the test samples")
        splits = [split for split in shared.splits if split != "train"]
        dataset = data.load(request, _kept(store))
        # What an exported network needs to get its images in the form that it was trained on.
        scale: dict[str, Any] = {"mean": list(dataset.mean), "std": list(dataset.std)}
        if request.skip_unreadable:
            scale["left_out"] = dataset.left_out
        store.update_manifest(input={**scale, "digest": shared.digest, "digests": {number: shared.digest}})
        store.write_samples(data.sample_rows(dataset, splits))
    return shared


def _students(store: Store, recipe: Recipe) -> list[tuple[NetworkSpec, Recipe]]:
    """Return every network with the recipe that it is trained by; raises TemplateError where that makes no sense."""
    students = [(spec, applied(recipe, spec.recipe)) for spec in map(NetworkSpec.from_dict, store.networks())]
    for spec, own in {str(own): (spec, own) for spec, own in students}.values():
        check_recipe(own, f"{store.path}: {spec.name}")
    return students


Due = Sequence[tuple[NetworkSpec, Recipe, int]]
"""Networks with the recipe that each is trained by, and the number of the replicate."""


def _due(students: Sequence[tuple[NetworkSpec, Recipe]], finished: Collection[tuple[str, int]]) -> Due:
    """Return what has no row yet."""
    return [(spec, own, n) for spec, own in students for n in range(own.replicates) if (spec.hash, n) not in finished]


def _tasks(
    store: Store, due: Due, data_sets: Mapping[Any, share.SharedData], where: str, pin: str, weights: bool = True
) -> list[Task]:
    """Return what workers are given; the seed is of the layers alone, the same whatever recipe they are trained by."""
    run_seed = store.manifest["seed"]
    plans = {spec.hash: choose(own, where, spec, pin) for spec, own, _ in due}  # one for all replicates
    return [
        Task(
            Job(
                *(spec, own, seed_of(run_seed, spec.layers_hash, n), plans[spec.hash], where, n),
                keep_weights=weights,
            ),
            data_sets[_data_of(own)],
        )
        for spec, own, n in due
    ]


def _lay_out(store: Store, due: Due, data_dir: str | None) -> dict[Any, share.SharedData]:
    """Lay the data sets of some trainings out for the workers, in the run's `.cache`; write nothing else."""
    wanted = {_data_of(own): own for _, own, _ in due}
    return {
        key: share.prepare(_request(store, own, data_dir), store.path / ".cache", _kept(store))
        for key, own in wanted.items()
    }


def first_tasks(store: Store, recipe: Recipe, hashes: Collection[str], where: str, data_dir: str | None) -> list[Task]:
    """Return one training of each of some networks, as `train_run` would give it to a worker of the device `where`."""
    due = [(spec, own, 0) for spec, own in _students(store, recipe) if spec.hash in hashes]
    return _tasks(store, due, _lay_out(store, due, data_dir), where, store.manifest.get("plan", "auto"))


def _most_samples(data_sets: Mapping[Any, share.SharedData]) -> Samples:
    """Return the numbers of samples of the largest data set: what is trained on where a recipe doesn't say how many."""
    return max(map(_samples, data_sets.values()), key=lambda samples: samples.train)


def _data_of(recipe: Recipe) -> tuple[Any, ...]:
    """Return what of a recipe decides over the data."""
    return recipe.train_samples, recipe.validation, recipe.normalize


def _labels(shared: Iterable[share.SharedData]) -> dict[str, Any]:
    """Return the labels of the splits that are predicted: the same whatever is trained on."""
    return {split: labels for one in shared for split, (_, labels) in share.attach(one).items() if split != "train"}


def _workers(wanted: int | Literal["auto"], store: Store, tasks: list[Task], devices: list[str]) -> int:
    """Return how many trainings run at the same time."""
    if wanted != "auto":
        return min(wanted, max(1, len(tasks))) if tasks else wanted
    if devices[0].startswith("cuda"):
        layout = packing.layout(len(devices), device.usable_cores())
        return min(layout.trainings * len(devices), len(tasks) or layout.trainings * len(devices))
    if devices[0] == "mps":
        return 1
    return device.cpu_workers()
