"""The Parquet files of a run's tables: Arrow schemas, atomic writing, which file holds which training, reading.

A table is a folder of files. A *shard* is one file: either a single training's, named `{hash}-{replicate}.parquet`
(the part before the dot is the training's *stem*), or a merged one, named `part-N.parquet`, whose Parquet metadata
lists the stems that it holds and the older merged files that it replaces. A single training's shard is superseded,
and no longer counts, as soon as a merged file holds its stem. Names that begin with a dot are unfinished files, which
all readers skip. What belongs into the files, and when, is the business of `store` and `compact`.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from netpick.core.errors import RunError
from netpick.core.files import atomic_write
from netpick.core.names import is_stem
from netpick.store import checksums
from netpick.store.schema import SCHEMA_VERSION, columns

TABLES = ("trainings", "epochs", "predictions")
"""The tables that are folders of shards, in the order in which a training is taken out of them."""

_MERGED = re.compile(r"part-(\d+)\.parquet")
_TYPES = {
    "category": pa.dictionary(pa.int32(), pa.string()),
    "string": pa.string(),
    "binary": pa.binary(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "bool": pa.bool_(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


_CHECKED = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)
"""Pages whose checksum is not theirs are an error; those of a run of before have none."""


@dataclass(frozen=True)
class Shard:
    """One file of a table, the stems of the trainings in it, and the names of older merged files it stands for."""

    path: Path
    holds: tuple[str, ...]
    replaces: tuple[str, ...] = ()
    merged: bool = False


class Block(NamedTuple):
    """The predictions of one network × replicate × epoch × split: a slice of an Arrow table."""

    network: str
    replicate: int
    epoch: int
    split: str
    table: Any

    @property
    def key(self) -> tuple[str, int, int, str]:
        """The four values that name the block."""
        return self[:4]

    def array(self, column: str) -> np.ndarray | None:
        """Return one column, or None where any of its values is null."""
        values = self.table.column(column)
        return None if values.null_count else values.to_numpy()


_REST = "read the rest with --skip-broken, in Python Run(..., skip_broken=True)"


class BrokenShardError(RunError):
    """A Parquet file that can't be read; `path` says which."""

    def __init__(self, path: Path, reason: BaseException) -> None:
        self.path = path
        what = (str(reason).splitlines() or [type(reason).__name__])[0].rstrip(".")[:160]
        if isinstance(reason, FileNotFoundError):
            text = f"{path} went away while it was being read, as when a run is compacted: open the run again"
        elif _MERGED.fullmatch(path.name):
            text = f"{path} is broken ({what}): restore it from a copy, or {_REST}"
        else:
            text = (
                f"{path} is broken ({what}): {_REST}, or delete the files {path.name} in trainings/, epochs/ and "
                "predictions/ and train again"
            )
        super().__init__(text)


def arrow_schema(table: str, classes: int = 0, holds: Iterable[str] = (), replaces: Iterable[str] = ()) -> pa.Schema:
    """Return a table's Arrow schema, with unit and meaning of each column in the field's metadata."""
    schema = _schema(table, classes)
    if not holds:
        return schema
    merged = {"netpick.holds": json.dumps(list(holds)), "netpick.replaces": json.dumps(list(replaces))}
    return schema.with_metadata({**schema.metadata, **merged})


@functools.lru_cache
def _schema(table: str, classes: int) -> pa.Schema:
    fields = [
        pa.field(c.name, _TYPES[c.type], metadata={"unit": c.unit, "meaning": c.meaning})
        for c in columns(table, classes)
    ]
    metadata = {"netpick.schema_version": str(SCHEMA_VERSION), "netpick.table": table}
    return pa.schema(fields, metadata=metadata)


def parquet_writer(file: IO[bytes], schema: pa.Schema, compression: str = "zstd") -> pq.ParquetWriter:
    """Return a writer that has each kind of column encoded in the way that is smallest and quickest to read.

    zstd sets itself up anew for each column of a row group, which costs more than what it compresses in the small file
    of one training: those are written with lz4, 5 to 7 % larger.
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
    return pq.ParquetWriter(
        file,
        schema,
        compression=compression,
        use_dictionary=dictionary,
        column_encoding=encodings or None,
        write_statistics=statistics,
        write_page_checksum=True,
    )


def write_groups(path: Path, schema: pa.Schema, groups: Iterable[pa.Table], compression: str = "zstd") -> None:
    """Write tables to one Parquet file, each as a row group of its own, atomically."""

    def write(file: IO[bytes]) -> None:
        with parquet_writer(file, schema, compression) as writer:
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
    if not folder.is_dir():
        return [], []
    shards: list[Shard] = []
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if name.startswith(".") or not name.endswith(".parquet"):
            continue
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
            if broken is None:
                raise BrokenShardError(path, e) from None
            broken.append(path)
            continue
        shards.append(Shard(path, tuple(holds), tuple(replaces), merged=True))
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
        return pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as e:
        raise BrokenShardError(path, e) from None


def read_shards(
    shards: list[Shard],
    table: str,
    classes: int = 0,
    names: list[str] | None = None,
    broken: list[Path] | None = None,
) -> pa.Table:
    """Read the shards of a small table (all columns, or those of `names`) into one Arrow table."""
    schema = arrow_schema(table, classes)
    while shards:
        try:
            for shard in shards:
                checksums.check(shard.path)
            data = ds.dataset([str(s.path) for s in shards], schema=schema, format=_CHECKED)
            return data.to_table(columns=names).unify_dictionaries().combine_chunks()
        except (OSError, pa.ArrowException) as e:
            bad = _find_broken(shards, names) or BrokenShardError(shards[0].path, e)
            if broken is None:
                raise bad from None
            broken.append(bad.path)
            shards = [s for s in shards if s.path != bad.path]
    return schema.empty_table().select(names or schema.names)


def _find_broken(shards: list[Shard], names: list[str] | None) -> BrokenShardError | None:
    """Read the shards one by one, to say which of them can't be read."""
    for shard in shards:
        try:
            open_shard(shard.path).read(columns=names)
        except BrokenShardError as e:
            return e
        except (OSError, pa.ArrowException) as e:
            return BrokenShardError(shard.path, e)
    return None


def read_blocks(
    shard: Shard,
    names: list[str],
    epochs: Collection[int] | None = None,
    splits: Collection[str] | None = None,
    networks: Collection[str] | None = None,
) -> Iterator[Block]:
    """Yield the blocks of one predictions shard, with the columns of `names`.

    Row groups that can't hold any of the epochs, splits and networks are not read; of those that are read, all blocks
    come out.
    """
    file = open_shard(shard.path)
    wanted = {"network": networks, "epoch": epochs, "split": splits}
    keys = ["network", "replicate", "epoch", "split"]
    try:
        ranges = {file.schema_arrow.get_field_index(k): sorted(v) for k, v in wanted.items() if v is not None}
        for g in range(file.num_row_groups):
            group = file.metadata.row_group(g)
            if all(_may_hold(group.column(i).statistics, values) for i, values in ranges.items()):
                yield from _blocks(file.read_row_group(g, columns=list(dict.fromkeys([*keys, *names]))), names)
    except (OSError, pa.ArrowException) as e:
        raise BrokenShardError(shard.path, e) from None
    finally:
        file.close()


def _may_hold(statistics: Any, values: list[Any]) -> bool:
    """Whether a column chunk of these statistics can hold one of the sorted values."""
    if statistics is None or not statistics.has_min_max:
        return True
    return any(statistics.min <= v <= statistics.max for v in values)


def _blocks(table: pa.Table, names: list[str]) -> Iterator[Block]:
    """Cut a row group where one of the four keys changes."""
    if not len(table):
        return
    table = table.combine_chunks()
    network, split = (table.column(k).chunk(0) for k in ("network", "split"))
    codes = [network.indices.to_numpy(), split.indices.to_numpy()]
    replicate, epoch = (table.column(k).to_numpy() for k in ("replicate", "epoch"))
    changes = np.zeros(len(table) - 1, dtype=bool)
    for column in (*codes, replicate, epoch):
        changes |= column[1:] != column[:-1]
    starts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(table)]
    network_names, split_names = network.dictionary.to_pylist(), split.dictionary.to_pylist()
    values = table.select(names)
    for a, b in pairwise(starts):
        key = network_names[codes[0][a]], int(replicate[a]), int(epoch[a]), split_names[codes[1][a]]
        yield Block(*key, values.slice(a, b - a))


def join_blocks(blocks: Iterable[Block], names: list[str], classes: int) -> pa.Table:
    """Put blocks one after another into one Arrow table of the given columns."""
    tables = [b.table for b in blocks]
    if not tables:
        return arrow_schema("predictions", classes).empty_table().select(names)
    return pa.concat_tables(tables).unify_dictionaries()
