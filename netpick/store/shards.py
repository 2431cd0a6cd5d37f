"""The Parquet files of a run's tables: Arrow schemas, atomic writing, which file holds which training.

A table is a folder of files. A *shard* is one file: either a single training's, named `{hash}-{replicate}.parquet`
(the part before the dot is the training's *stem*), or a merged one, named `part-N.parquet`, whose Parquet metadata
lists the stems that it holds and the older merged files that it replaces. A single training's shard is superseded,
and no longer counts, as soon as a merged file holds its stem. A shard is *loose* as it was written when its trainings
ended, alone or several at once: merging packs and orders it. Names that begin with a dot are unfinished files, which
all readers skip. What belongs into the files, and when, is the business of `folder` and `compact`; how they are read,
that of `rows` and `blocks`.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from netpick.core.errors import RunError
from netpick.core.files import atomic_write
from netpick.core.names import is_stem
from netpick.store import checksums
from netpick.store.schema import SCHEMA_VERSION, columns

T = TypeVar("T")

TABLES = ("trainings", "epochs", "predictions")
"""The tables that are folders of shards, in the order in which a training is taken out of them."""

MEASURED = ("timings", "layer_times", "device_times", "distances")
"""Tables of one file each, which are there once somebody has measured what is in them."""

LOOKS = 10
"""At a folder that changes under the eyes, before what is seen is taken as it is."""

_MERGED = re.compile(r"part-(\d+)\.parquet")
_LOOSE = "netpick.loose"
_TYPES = {
    "category": pa.dictionary(pa.int32(), pa.string()),
    "string": pa.string(),
    "binary": pa.binary(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "bool": pa.bool_(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Shard:
    """One file of a table, the stems of the trainings in it, and the names of older merged files it stands for."""

    path: Path
    holds: tuple[str, ...]
    replaces: tuple[str, ...] = ()
    merged: bool = False
    loose: bool = True


_REST = "read the rest with --skip-broken, in Python Run(..., skip_broken=True)"


class BrokenShardError(RunError):
    """A Parquet file that can't be read; `path` says which, `is_gone` whether it was there a moment ago."""

    def __init__(self, path: Path, reason: BaseException) -> None:
        self.path = path
        what = (str(reason).splitlines() or [type(reason).__name__])[0].rstrip(".")[:160]
        self.is_gone = isinstance(reason, FileNotFoundError) and not path.is_symlink()
        if self.is_gone:
            text = f"{path} went away while it was being read, as when a run is compacted: open the run again"
        elif _MERGED.fullmatch(path.name):
            text = f"{path} is broken ({what}): restore it from a copy, or {_REST}"
        elif path.parent.name not in TABLES:
            text = f"{path} is broken ({what}): restore it from a copy, or generate the run again"
        else:
            text = (
                f"{path} is broken ({what}): {_REST}, or delete the files {path.name} in trainings/, epochs/ and "
                "predictions/ and train again"
            )
        super().__init__(text)


def arrow_schema(
    table: str, classes: int = 0, holds: Iterable[str] = (), replaces: Iterable[str] = (), loose: bool = False
) -> pa.Schema:
    """Return a table's Arrow schema, with unit and meaning of each column in the field's metadata."""
    schema = _schema(table, classes)
    if not holds:
        return schema
    merged = {"netpick.holds": json.dumps(list(holds)), "netpick.replaces": json.dumps(list(replaces))}
    if loose:
        merged[_LOOSE] = "yes"
    return schema.with_metadata({**schema.metadata, **merged})


@functools.lru_cache
def _schema(table: str, classes: int) -> pa.Schema:
    fields = [
        pa.field(c.name, _TYPES[c.type], metadata={"unit": c.unit, "meaning": c.meaning})
        for c in columns(table, classes)
    ]
    metadata = {"netpick.schema_version": str(SCHEMA_VERSION), "netpick.table": table}
    return pa.schema(fields, metadata=metadata)


WORDS = ("network", "split")
SOUGHT = ("network", "epoch", "split")
"""Columns of predictions that hold words, and those by whose ranges row groups are passed over."""


def parquet_writer(file: IO[bytes], schema: pa.Schema, one: bool = False) -> pq.ParquetWriter:
    """Return a writer that has each kind of column encoded in the way that is smallest and quickest to read.

    The small file of `one` training is written for the moment and read once or twice. zstd sets itself up anew for each
    column of a row group, which costs more than what it compresses, and so do dictionaries of few values and ranges by
    which nothing is passed over. Its compression is lz4, 5 to 7 % larger.
    """
    encodings, dictionary, statistics = {}, [], []
    for field in schema:
        if pa.types.is_float32(field.type):  # scores: thousands of different values, exponents much alike
            encodings[field.name] = "BYTE_STREAM_SPLIT"
            continue
        if field.name == "sample":  # 0, 1, 2, ...: a difference of one takes no room
            encodings[field.name] = "DELTA_BINARY_PACKED"
        elif not pa.types.is_binary(field.type):
            dictionary.append(field.name)
        statistics.append(field.name)
    if one:
        of_many_rows = "sample" in schema.names
        dictionary = [name for name in WORDS if of_many_rows]
        statistics = [name for name in SOUGHT if of_many_rows]
    return pq.ParquetWriter(
        file,
        schema,
        compression="lz4" if one else "zstd",
        use_dictionary=dictionary,
        column_encoding=encodings or None,
        write_statistics=statistics,
        write_page_checksum=True,
    )


def write_groups(path: Path, schema: pa.Schema, groups: Iterable[pa.Table], one: bool = False) -> None:
    """Write tables to one Parquet file, each as a row group of its own, atomically; `one` training's, or of many."""

    def write(file: IO[bytes]) -> None:
        with parquet_writer(file, schema, one) as writer:
            for group in groups:
                writer.write_table(group, row_group_size=max(1, len(group)))
            writer.add_key_value_metadata({checksums.KEY: checksums.EMPTY})
        checksums.seal(file)

    atomic_write(path, write)


def merged_name(folder: Path) -> str:
    """Return the name of the next merged file: above all there are, so that `replaces` never names a later file."""
    numbers = [int(m[1]) for n in os.listdir(folder) if (m := _MERGED.fullmatch(n))]
    return f"part-{max(numbers, default=0) + 1:05d}.parquet"


def scan(folder: Path, broken: list[Path] | None = None) -> tuple[list[Shard], list[Path]]:
    """Return a table's shards that count, and the files that are superseded by one of them.

    Raises BrokenShardError for a merged file that can't be read; with a list in `broken` puts it there instead.
    """
    return again_if_gone(lambda: _scan(folder, broken))


def again_if_gone(read: Callable[[], T]) -> T:
    """Return what a look at files gives; look again where one goes away meanwhile, as when a run is compacted."""
    for _ in range(LOOKS - 1):
        try:
            return read()
        except BrokenShardError as error:
            if not error.is_gone:
                raise
    return read()


def _names(folder: Path) -> list[str]:
    """Return the names of a folder's files as they are at one instant, without those that are unfinished.

    While a folder is listed, a merged file may come where the list has passed and those that it replaces go where it
    has not: all of them would be missing. So a list counts when the next one is the same.
    """

    def listed_now() -> list[str]:
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted(name for name in names if name.endswith(".parquet") and not name.startswith("."))

    names = listed_now()
    for _ in range(LOOKS):
        before, names = names, listed_now()
        if names == before:
            break
    return names


def _scan(folder: Path, broken: list[Path] | None) -> tuple[list[Shard], list[Path]]:
    shards: list[Shard] = []
    for name in _names(folder):
        path = folder / name
        if not _MERGED.fullmatch(name):
            shards.append(Shard(path, (path.stem,)))
            continue
        try:
            checksums.check(path)
            metadata = pq.read_metadata(path).metadata
            holds, replaces = (json.loads(metadata[k]) for k in (b"netpick.holds", b"netpick.replaces"))
            if not all(map(is_stem, holds)) or not all(map(_MERGED.fullmatch, replaces)):  # files are called by them
                raise ValueError("it names trainings or files as no run does")
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as e:
            error = BrokenShardError(path, e)
            if broken is None or error.is_gone:
                raise error from None
            broken.append(path)
            continue
        shards.append(Shard(path, tuple(holds), tuple(replaces), merged=True, loose=_LOOSE.encode() in metadata))
    in_merged = {stem for s in shards if s.merged for stem in s.holds}
    replaced = {name for s in shards for name in s.replaces}
    live, superseded = [], []
    for shard in shards:
        if shard.path.name in replaced or (not shard.merged and shard.holds[0] in in_merged):
            superseded.append(shard.path)
        else:
            live.append(shard)
    return live, superseded


def open_shard(path: Path) -> pq.ParquetFile:
    """Open a Parquet file, or raise BrokenShardError."""
    try:
        checksums.check(path)
        # Read ahead by another thread, what lies in memory already would only be waited for.
        return pq.ParquetFile(path, memory_map=True, pre_buffer=False, page_checksum_verification=True)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as e:
        raise BrokenShardError(path, e) from None
