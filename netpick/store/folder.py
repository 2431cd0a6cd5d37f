"""A run's folder: create, open, lock, write each finished training at once, forget, recover, compact.

With the files beside it, on which it stands, the only user of pyarrow. It knows the files and nothing of how
results come about or what they mean; what a user reads them with is `run`. All that changes a run that exists
(`commit`, `forget`, `recover`, `compact`) is for one process at a time: the one inside `Store.lock`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import numpy as np
import pyarrow as pa

from netpick.core.errors import RunError, WorkError, listed, suggest
from netpick.core.files import append_line, atomic_write, read_text, sync_folder
from netpick.core.names import is_unicode
from netpick.core.result import TrainingResult
from netpick.store import compact
from netpick.store.catalogue import catalogue_table, read_catalogue
from netpick.store.locking import in_use, lock
from netpick.store.manifest import MANIFEST, SCORES, Manifest, manifest_text, read_manifest
from netpick.store.parts import drop_parts, missing_part, stem_of, write_parts, write_rows
from netpick.store.results import table_of
from netpick.store.rows import RunFiles, read_file, read_shards
from netpick.store.schema import SCHEMA_VERSION
from netpick.store.shards import TABLES, arrow_schema, scan, write_groups
from netpick.store.writing import disk_errors

EVENTS_BYTES = 2**30
"""Size of what is taken for a log: those that netpick writes stay far below."""


class _Event(TypedDict):
    """A line of the log, as far as it is told again."""

    time: Annotated[datetime, msgspec.Meta(tz=True)]
    event: str
    network: NotRequired[str]
    replicate: NotRequired[int]
    due: NotRequired[int]
    workers: NotRequired[int]
    left: NotRequired[float]
    worker: NotRequired[str]
    cluster: NotRequired[str]


class Store:
    """The folder of one run; made by `Store.create` or `Store.open`."""

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.manifest = Manifest(manifest, path / MANIFEST)
        self._recovered = False
        self._logging = threading.Lock()  # trainings are started in another thread than they end in

    @classmethod
    def create(cls, folder: str | Path, manifest: dict[str, Any], networks: list[dict[str, Any]]) -> Store:
        """Make a run's folder with its networks; run.toml comes last, and says that the rest is complete.

        `schema_version` and `created` are added to the manifest, and keys whose value is None left out. `layers` of a
        network may be a list or its JSON text. Raises RunError for a folder that has something in it already.
        """
        path = Path(folder)
        if os.path.isdir(path) and any(path.iterdir()):
            is_run = (path / MANIFEST).is_file()
            way = "train it, or give another folder" if is_run else "remove it, or give another folder"
            raise RunError(f"{path} is {'a run already' if is_run else 'not empty and not a run'}: {way}")
        if os.path.exists(path) and not os.path.isdir(path):
            raise RunError(f"{path} is a file and no folder: give another folder")
        manifest = {"schema_version": SCHEMA_VERSION, "created": datetime.now(UTC), **manifest}
        store = cls(path, _without_none(manifest))
        manifest_text(store.manifest, path / MANIFEST)
        rows = catalogue_table(networks)
        with disk_errors(path):
            for table in TABLES:
                (path / table).mkdir(parents=True, exist_ok=True)
        with store.lock(), disk_errors(path):
            write_groups(path / "networks.parquet", rows.schema, [rows])
            store.update_manifest()
        return store

    def add_networks(self, networks: Sequence[dict[str, Any]], **keys: object) -> None:
        """Put networks after those that an imported run has, atomically; `keys` of the manifest change with it."""
        table = catalogue_table([*self._networks, *networks])
        with disk_errors(self.path):
            write_groups(self.path / "networks.parquet", table.schema, [table])
        for name in ("catalogue", "_networks", "files"):
            self.__dict__.pop(name, None)
        self.update_manifest(networks=len(table), **keys)

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Open a run's folder; RunError where it is missing, no run, half-written or of a newer schema."""
        path = Path(folder)
        if not os.path.isdir(path):  # which answers for names that no file can have, too
            beside = path.parent.glob(f"*/{MANIFEST}") if os.path.isdir(path.parent) else ()
            there = sorted(p.parent.name for p in beside)
            way = f"the runs beside it are {listed(there)}" if there else "make it with `netpick generate`"
            raise RunError(f"no run at {path}{suggest(path.name, there)}: {way}")
        if not is_unicode(str(path)):
            raise RunError(f"{path}: the folder's name is not UTF-8: give it another name")
        again = "remove the folder and generate it again"
        try:
            manifest = read_manifest(path / MANIFEST)
        except FileNotFoundError:
            if (path / "networks.parquet").is_file() or any((path / t).is_dir() for t in TABLES):
                raise RunError(f"{path} is half-written, it has no {MANIFEST}: {again}") from None
            raise RunError(
                f"{path} is not a run, it has no {MANIFEST}: give a folder made by `netpick generate`"
            ) from None
        if not (path / "networks.parquet").is_file():
            raise RunError(f"{path} is half-written, it has no networks.parquet: {again}")
        for name in (*TABLES, "weights"):
            if (path / name).is_symlink():
                raise RunError(f"{path / name} is a link: a run's own folders hold its files, put the files there")
        return cls(path, manifest)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.manifest["classes"])

    @property
    def imported(self) -> dict[str, Any] | None:
        """What run.toml says of the files that its answers were imported from; None where netpick trained."""
        return self.manifest.get("imported")

    @property
    def relabelled(self) -> list[dict[str, Any]]:
        """What run.toml says of the labels that were put right after the answers: by which files, and how many."""
        return list(self.manifest.get("relabelled", ()))

    def update_manifest(self, **keys: object) -> None:
        """Change keys of the manifest and write it anew, atomically."""
        manifest = Manifest(_without_none({**self.manifest, **keys}), self.path / MANIFEST)
        text = manifest_text(manifest, manifest.path)
        with disk_errors(self.path):
            atomic_write(self.path / MANIFEST, text)
            sync_folder(self.path)
        self.manifest = manifest

    def networks(self) -> list[dict[str, Any]]:
        """Return the networks as plain rows; `layers` is JSON text. They are read once, and never change."""
        return list(self._networks)

    @cached_property
    def catalogue(self) -> pa.Table:
        """The networks as they are in their file, read and checked once."""
        return read_catalogue(self.path / "networks.parquet", self.manifest.get("catalogue"), self.imported)

    @cached_property
    def _networks(self) -> list[dict[str, Any]]:
        return self.catalogue.to_pylist()

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run for this process alone; RunError where another one does. A killed process holds nothing."""
        return lock(self.path)

    def in_use(self) -> bool:
        """Whether another process holds the run's lock now."""
        return in_use(self.path)

    def write_samples(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write samples.parquet, one row a sample, atomically."""
        schema = arrow_schema("samples")
        with disk_errors(self.path):
            rows = ({"name": None, "fold": None, **row} for row in rows)
            write_groups(self.path / "samples.parquet", schema, [table_of(rows, schema)])

    def timings(self) -> list[dict[str, Any]]:
        """Return the rows of timings.parquet; none where nothing was timed."""
        path = self.path / "timings.parquet"
        if not path.is_file():
            return []
        rows: list[dict[str, Any]] = read_file(path, "timings").to_pylist()
        return rows

    def write_timings(self, rows: Iterable[dict[str, Any]]) -> None:
        """Put rows into timings.parquet, atomically, in the place of those of the same network, device and threads."""
        key = itemgetter("network", "device", "threads")
        merged = {key(row): row for row in (*self.timings(), *rows)}
        self._write_table("timings", merged.values())

    def write_layer_times(self, rows: Sequence[dict[str, Any]]) -> None:
        """Put rows into layer_times.parquet, atomically, for all of the same network, device and threads."""
        key = itemgetter("network", "device", "threads")
        path, fresh = self.path / "layer_times.parquet", {key(row) for row in rows}
        old = read_file(path, "layer_times").to_pylist() if path.is_file() else []
        self._write_table("layer_times", [*(row for row in old if key(row) not in fresh), *rows])

    def write_device_times(self, rows: Iterable[dict[str, Any]]) -> None:
        """Put rows into device_times.parquet, atomically, in the place of those measured in the same way."""
        key = itemgetter("network", "device_name", "precision", "threads")
        path = self.path / "device_times.parquet"
        old = read_file(path, "device_times").to_pylist() if path.is_file() else []
        self._write_table("device_times", {key(row): row for row in (*old, *rows)}.values())

    def write_distances(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write distances.parquet, one row an image, atomically."""
        self._write_table("distances", rows)

    def _write_table(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        schema = arrow_schema(table)
        with disk_errors(self.path):
            write_groups(self.path / f"{table}.parquet", schema, [table_of(rows, schema)])
            sync_folder(self.path)

    def commit(
        self,
        result: TrainingResult,
        labels: dict[str, np.ndarray],
        scores: str = "all",
        written: Mapping[str, int] | None = None,
    ) -> None:
        """Write one training's result for good: `commit_all` of one."""
        self.commit_all([result], labels, scores, written)

    def commit_all(
        self,
        results: Sequence[TrainingResult],
        labels: dict[str, np.ndarray],
        scores: str = "all",
        written: Mapping[str, int] | None = None,
    ) -> None:
        """Write some trainings' results for good: weights, predictions, epochs, and last the rows that make them count.

        Those of several lie in one file a table, which takes a fraction of the time. `labels` has the true classes of
        each split. `scores` says of which epochs the scores are kept (`all`, `last`, `none`); predicted classes always
        are. `written` are files that a worker has written, with their sizes: then only the rows are missing. Raises
        RunError for a training that has a result already or whose network is not in the run, and WorkError for a full
        or read-only disk, or a file of a worker's that is not whole here; then nothing of them stays.
        """
        if scores not in SCORES:
            raise ValueError(f"scores is {scores!r}; allowed: {', '.join(SCORES)}")
        if not self._recovered:
            self.recover()
        for result in results:
            name, number = result.network, result.replicate
            stem = stem_of(result.hash, number)
            if self.files.names.get(result.hash) != name:
                raise RunError(f"{self.path} has no network {name} with hash {result.hash}: generate it first")
            if stem in self._in_merged or (self.path / "trainings" / f"{stem}.parquet").exists():
                raise RunError(f"{name}, replicate {number}, has a result: forget it to replace it")
        results = sorted(results, key=lambda result: (result.network, result.replicate))
        if written is None:
            written = write_parts(self.files, results, labels, scores)
        elif name := missing_part(self.files, written):
            drop_parts(self.files, written)
            raise WorkError(
                f"{self.path / name} was written by a worker and is not whole here: leave --commit worker out, and "
                "give the same command again"
            )
        try:
            write_rows(self.files, results)
        except WorkError:
            drop_parts(self.files, written)
            raise
        if len(results) > 1:
            self._in_merged |= {stem_of(one.hash, one.replicate) for one in results}

    def finished(self) -> dict[tuple[str, int], str]:
        """Return the status of each training that has a result, by (hash of the network, replicate)."""
        rows = read_shards(self.files, "trainings", ["hash", "replicate", "status"])
        hashes, replicates, statuses = (rows.column(k).to_pylist() for k in ("hash", "replicate", "status"))
        return dict(zip(zip(hashes, replicates, strict=True), statuses, strict=True))

    def ended(self) -> set[str]:
        """Return the stems of the files of trainings that have ended; RunError where there are none."""
        if not (finished := self.finished()):
            raise RunError(f"{self.path} has no training that has ended: train it first")
        return {stem_of(*key) for key in finished}

    def forget(self, statuses: set[str]) -> int:
        """Take out the trainings that ended with one of these statuses, to be trained again; return their number."""
        self.recover()
        stems = [stem_of(*key) for key, status in self.finished().items() if status in statuses]
        if stems:
            self._recovered = False  # until it is through: what a failure leaves is to be cleared before a commit
            with disk_errors(self.path):
                compact.drop(self.files, stems)
            self.recover()
        return len(stems)

    def recover(self) -> None:
        """Clear up after a kill: unfinished files, files of trainings without a row, an interrupted compact."""
        with disk_errors(self.path):
            compact.recover(self.files)
        merged = (s for t in TABLES for s in scan(self.path / t)[0] if s.merged)
        self._in_merged = {stem for s in merged for stem in s.holds}
        self._recovered = True

    def compact(
        self, rows_per_file: int = 10_000_000, on_share: Callable[[float], None] = lambda share: None
    ) -> dict[str, tuple[int, int]]:
        """Merge the shards into files of about `rows_per_file` rows; `on_share` is told which share of it is done.

        Returns each table's number of files before and after. Predictions lie by epoch, split and network, in row
        groups of about 250,000 rows, so that one epoch is read without the others. Needs room on the disk for one
        more copy of one such file, and memory for a few row groups.
        """
        self._recovered = False
        with disk_errors(self.path):
            out = compact.compact(self.files, rows_per_file, on_share)
        self.recover()
        return out

    def scattered(self) -> int:
        """Return how many trainings have small files that `compact` would merge."""
        tables = (scan(self.path / table)[0] for table in TABLES)
        return max(sum(len(shard.holds) for shard in shards if shard.loose) for shards in tables)

    def append_event(self, event: dict[str, Any]) -> None:
        """Add one line of JSON with the time to events.jsonl; what can't be written is let go."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}, default=str)
        with self._logging, suppress(OSError):  # the log is not worth a training
            append_line(self.path / "events.jsonl", line)

    def events(self) -> list[dict[str, Any]]:
        """Return the event log; a last line that is only half there is left out."""
        try:
            lines = read_text(self.path / "events.jsonl", EVENTS_BYTES, "replace").splitlines()
        except OSError:
            return []
        events = []
        for line in lines:
            with suppress(ValueError, RecursionError, msgspec.ValidationError):
                event = json.loads(line)
                msgspec.convert(event, _Event)  # which raises where it can't be told
                events.append(event)
        return events

    @cached_property
    def files(self) -> RunFiles:
        """What its shards are handled by."""
        hashes, names = (self.catalogue[column].to_pylist() for column in ("hash", "name"))
        return RunFiles(self.path, self.classes, dict(zip(hashes, names, strict=True)))


def _without_none(value: Any) -> Any:
    """Leave out of dicts what TOML has no word for."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list | tuple) else value
