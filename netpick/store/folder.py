"""A run's folder: create, open, lock, write each finished training at once, forget, recover, compact.

With the files beside it, on which it stands, the only user of pyarrow. It knows the files and nothing of how
results come about or what they mean; what a user reads them with is `run`. All that changes a run that exists
(`commit`, `forget`, `recover`, `compact`) is for one process at a time: the one inside `Store.lock`.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import filelock
import msgspec
import numpy as np
import pyarrow as pa

from netpick.core.errors import RunError, WorkError, listed, suggest
from netpick.core.files import append_line, atomic_write, read_text, sync_folder
from netpick.core.result import TrainingResult
from netpick.store import compact
from netpick.store.catalogue import read_catalogue
from netpick.store.manifest import MANIFEST, SCORES, Manifest, manifest_text, read_manifest
from netpick.store.rows import RunFiles, read_file, read_shards
from netpick.store.schema import SCHEMA_VERSION
from netpick.store.shards import TABLES, BrokenShardError, arrow_schema, scan, write_groups

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


class Store:
    """The folder of one run; made by `Store.create` or `Store.open`."""

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.manifest = Manifest(manifest, path / MANIFEST)
        self._recovered = False

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
        schema = arrow_schema("networks")
        rows = [
            {"recipe": "{}", **n, "layers": n["layers"] if isinstance(n["layers"], str) else json.dumps(n["layers"])}
            for n in networks
        ]
        with store._work():
            for table in TABLES:
                (path / table).mkdir(parents=True, exist_ok=True)
        with store.lock(), store._work():
            write_groups(path / "networks.parquet", schema, [_table(rows, schema)])
            store.update_manifest()
        return store

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Open a run's folder; RunError where it is missing, no run, half-written or of a newer schema."""
        path = Path(folder)
        if not os.path.isdir(path):  # which answers for names that no file can have, too
            beside = path.parent.glob(f"*/{MANIFEST}") if os.path.isdir(path.parent) else ()
            there = sorted(p.parent.name for p in beside)
            way = f"the runs beside it are {listed(there)}" if there else "make it with `netpick generate`"
            raise RunError(f"no run at {path}{suggest(path.name, there)}: {way}")
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

    def update_manifest(self, **keys: object) -> None:
        """Change keys of the manifest and write it anew, atomically."""
        manifest = Manifest(_without_none({**self.manifest, **keys}), self.path / MANIFEST)
        text = manifest_text(manifest, manifest.path)
        with self._work():
            atomic_write(self.path / MANIFEST, text)
            sync_folder(self.path)
        self.manifest = manifest

    def networks(self) -> list[dict[str, Any]]:
        """Return the networks as plain rows; `layers` is JSON text. They are read once, and never change."""
        return list(self._networks)

    @cached_property
    def catalogue(self) -> pa.Table:
        """The networks as they are in their file, read and checked once."""
        return read_catalogue(self.path / "networks.parquet", self.manifest.get("catalogue"))

    @cached_property
    def _networks(self) -> list[dict[str, Any]]:
        return self.catalogue.to_pylist()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process alone; RunError where another one does. A killed process holds nothing."""
        lock = filelock.FileLock(self.path / ".lock")
        note = self.path / ".lock.pid"
        try:
            with self._work():
                lock.acquire(timeout=0)
        except filelock.Timeout:
            try:
                pid = read_text(note, 100).strip()
            except (OSError, UnicodeDecodeError):
                pid = ""
            by = f"another process (pid {pid})" if pid else "another process"
            raise RunError(f"{self.path} is in use by {by}: wait until it ends, or stop it") from None
        try:
            with self._work():
                atomic_write(note, f"{os.getpid()}\n".encode())
            yield
        finally:
            note.unlink(missing_ok=True)
            lock.release()

    def write_samples(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write samples.parquet, one row a sample, atomically."""
        schema = arrow_schema("samples")
        with self._work():
            write_groups(self.path / "samples.parquet", schema, [_table(list(rows), schema)])

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
        schema = arrow_schema("timings")
        with self._work():
            write_groups(self.path / "timings.parquet", schema, [_table(list(merged.values()), schema)])
            sync_folder(self.path)

    def commit(self, result: TrainingResult, labels: dict[str, np.ndarray], scores: str = "all") -> None:
        """Write one training's result for good: weights, predictions, epochs, and last the row that makes it count.

        `labels` has the true classes of each split. `scores` says of which epochs the scores are kept (`all`,
        `last`, `none`); predicted classes always are. Raises RunError for a training that has a result already or
        whose network is not in the run, and WorkError for a full or read-only disk; then nothing of it stays.
        """
        if scores not in SCORES:
            raise ValueError(f"scores is {scores!r}; allowed: {', '.join(SCORES)}")
        stem = f"{result.hash}-{result.replicate}"
        if self.files.names.get(result.hash) != result.network:
            raise RunError(f"{self.path} has no network {result.network} with hash {result.hash}: generate it first")
        if not self._recovered:
            self.recover()
        if stem in self._in_merged or (self.path / "trainings" / f"{stem}.parquet").exists():
            raise RunError(f"{result.network}, replicate {result.replicate}, has a result: forget it to replace it")
        paths = {table: self.path / table / f"{stem}.parquet" for table in TABLES}
        try:
            with self._work():
                if result.weights is not None:
                    self._write_weights(stem, result.weights)
                if result.epochs:
                    schema = arrow_schema("predictions", self.classes)
                    groups = self._prediction_groups(result, labels, scores, schema)
                    write_groups(paths["predictions"], schema, groups, "lz4")
                    sync_folder(paths["predictions"].parent)
                    schema = arrow_schema("epochs", self.classes)
                    write_groups(paths["epochs"], schema, [_table(list(_epoch_rows(result)), schema)], "lz4")
                    sync_folder(paths["epochs"].parent)
                schema = arrow_schema("trainings")
                write_groups(paths["trainings"], schema, [_table([_training_row(result)], schema)], "lz4")
                sync_folder(paths["trainings"].parent)
        except WorkError:
            for path in (*paths.values(), self.files.weights(stem)):
                with suppress(OSError):  # `recover` will do it
                    path.unlink(missing_ok=True)
            raise

    def finished(self) -> dict[tuple[str, int], str]:
        """Return the status of each training that has a result, by (hash of the network, replicate)."""
        rows = read_shards(self.files, "trainings", ["hash", "replicate", "status"])
        hashes, replicates, statuses = (rows.column(k).to_pylist() for k in ("hash", "replicate", "status"))
        return dict(zip(zip(hashes, replicates, strict=True), statuses, strict=True))

    def forget(self, statuses: set[str]) -> int:
        """Take out the trainings that ended with one of these statuses, to be trained again; return their number."""
        self.recover()
        stems = [f"{hash_}-{replicate}" for (hash_, replicate), status in self.finished().items() if status in statuses]
        if stems:
            self._recovered = False  # until it is through: what a failure leaves is to be cleared before a commit
            with self._work():
                compact.drop(self.files, stems)
            self.recover()
        return len(stems)

    def recover(self) -> None:
        """Clear up after a kill: unfinished files, files of trainings without a row, an interrupted compact."""
        with self._work():
            compact.recover(self.files)
        merged = (s for t in TABLES for s in scan(self.path / t)[0] if s.merged)
        self._in_merged = {stem for s in merged for stem in s.holds}
        self._recovered = True

    def compact(self, rows_per_file: int = 10_000_000) -> dict[str, tuple[int, int]]:
        """Merge the shards into files of about `rows_per_file` rows.

        Returns each table's number of files before and after. Predictions lie by epoch, split and network, in row
        groups of about 250,000 rows, so that one epoch is read without the others. Needs room on the disk for one
        more copy of one such file, and memory for a few row groups.
        """
        self._recovered = False
        with self._work():
            out = compact.compact(self.files, rows_per_file)
        self.recover()
        return out

    def is_scattered(self) -> bool:
        """Whether there are small files that `compact` would merge."""
        return any(not shard.merged for table in TABLES for shard in scan(self.path / table)[0])

    def append_event(self, event: dict[str, Any]) -> None:
        """Add one line of JSON with the time to events.jsonl; what can't be written is let go."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}, default=str)
        with suppress(OSError):  # the log is not worth a training
            append_line(self.path / "events.jsonl", line)

    def events(self) -> list[dict[str, Any]]:
        """Return the event log; a last line that is only half there is left out."""
        try:
            lines = read_text(self.path / "events.jsonl", EVENTS_BYTES, "replace").splitlines()
        except OSError:
            return []
        events = []
        for line in lines:
            with suppress(ValueError, RecursionError):
                event = json.loads(line)
                msgspec.convert(event, _Event)  # a ValueError where it can't be told
                events.append(event)
        return events

    def in_use(self) -> bool:
        """Whether another process holds the run's lock now."""
        try:
            fd = os.open(self.path / ".lock", os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except OSError:  # nobody has ever trained there
            return False
        try:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except ImportError:  # not a Unix: there the lock is a file that exists as long as it is held
            return True
        except OSError:
            return True
        finally:
            os.close(fd)

    @cached_property
    def files(self) -> RunFiles:
        """What its shards are handled by."""
        hashes, names = (self.catalogue[column].to_pylist() for column in ("hash", "name"))
        return RunFiles(self.path, self.classes, dict(zip(hashes, names, strict=True)))

    def _write_weights(self, stem: str, weights: dict[str, np.ndarray]) -> None:
        from safetensors.numpy import save  # not needed by those who keep no weights

        path = self.files.weights(stem)
        path.parent.mkdir(exist_ok=True)
        data = save({name: np.asarray(w, order="C") for name, w in weights.items()})
        atomic_write(path, data)
        sync_folder(path.parent)

    def _prediction_groups(
        self, result: TrainingResult, labels: dict[str, np.ndarray], scores: str, schema: pa.Schema
    ) -> Iterator[pa.Table]:
        """Yield one table an epoch."""
        last = max(e.epoch for e in result.epochs)
        for epoch in result.epochs:
            keep = scores == "all" or (scores == "last" and epoch.epoch == last)
            parts = []
            for split in epoch.splits:
                n, classes = split.scores.shape
                if classes != self.classes or labels[split.split].shape != (n,):
                    raise ValueError(
                        f"{result.network}: scores of shape {split.scores.shape} do not fit the {split.split} split"
                    )
                columns = [
                    _repeated(result.network, n),
                    pa.array(np.full(n, result.replicate, np.int16)),
                    pa.array(np.full(n, epoch.epoch, np.int16)),
                    _repeated(split.split, n),
                    pa.array(np.arange(n, dtype=np.int32)),
                    pa.array(labels[split.split].astype(np.int16)),
                    pa.array(split.scores.argmax(axis=1).astype(np.int16)),
                ]
                if keep:
                    by_class = np.ascontiguousarray(split.scores.T, dtype=np.float32)
                    columns += [pa.array(by_class[c]) for c in range(classes)]
                else:
                    columns += [pa.nulls(n, pa.float32())] * classes
                parts.append(pa.Table.from_arrays(columns, schema=schema))
            if parts:
                yield pa.concat_tables(parts).unify_dictionaries().combine_chunks()

    @contextmanager
    def _work(self) -> Iterator[None]:
        """Turn what the disk refuses into one line that says how to go on."""
        try:
            yield
        except filelock.Timeout:  # an OSError too, and not the disk's
            raise
        except OSError as e:
            full = e.errno in (errno.ENOSPC, errno.EDQUOT)
            if full:
                what, way = "the disk is full", "free some space"
            elif e.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                what, way = "the folder can't be written to (read-only, or no permission)", "make it writable"
            else:
                what, way = f"writing failed ({e.strerror or e})", "see to it"
            raise WorkError(f"{self.path}: {what}; {way} and give the same command again{self._safe()}") from e

    def _safe(self) -> str:
        """Say how many trainings need no second time."""
        try:
            n = sum(len(s.holds) for s in scan(self.path / "trainings")[0])
        except (OSError, BrokenShardError):
            return ""
        return f"; {n} finished training{'' if n == 1 else 's'} {'is' if n == 1 else 'are'} safe"


def _without_none(value: Any) -> Any:
    """Leave out of dicts what TOML has no word for."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list | tuple) else value


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Make an Arrow table of rows that have exactly the schema's columns."""
    columns = [pa.array([row[f.name] for row in rows], f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _repeated(word: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([word]))


def _training_row(result: TrainingResult) -> dict[str, Any]:
    names = arrow_schema("trainings").names
    row = {f: getattr(result, f) if hasattr(result, f) and f != "epochs" else result.recipe.get(f) for f in names}
    if isinstance(row["optimizer_args"], Mapping):
        row["optimizer_args"] = json.dumps(row["optimizer_args"])
    if result.error is not None:
        row["error"] = " ".join(result.error.split())
    row["started"] = result.started if result.started.tzinfo else result.started.replace(tzinfo=UTC)
    return row


def _epoch_rows(result: TrainingResult) -> Iterator[dict[str, Any]]:
    for epoch in result.epochs:
        for split in epoch.splits:
            per_class = {"accuracy": split.class_accuracy, "auc": split.class_auc}
            yield {
                "network": result.network,
                "replicate": result.replicate,
                "epoch": epoch.epoch,
                "split": split.split,
                "train_loss": None if epoch.train_loss != epoch.train_loss else epoch.train_loss,
                "loss": split.loss,
                "accuracy": split.accuracy,
                "train_seconds": epoch.train_seconds,
                "eval_seconds": split.eval_seconds,
                "peak_memory_bytes": epoch.peak_memory_bytes,
                # NaN means that there is no such value: null in every engine
                **{f"{k}_{c}": None if v != v else v for k, values in per_class.items() for c, v in enumerate(values)},
            }
