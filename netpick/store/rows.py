"""Small tables as they are read: whole, and checked, since a run may be anyone's.

A file has its table's columns in their types; the values that everything rests on are there and in their range; and the
rows are those of the trainings that the file is named after: others would be read with those, and stay or go with the
wrong ones. All checks are of whole columns at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from netpick.core.errors import listed
from netpick.core.result import STATUSES
from netpick.store.schema import ADDED, NEVER_NULL, columns, least
from netpick.store.shards import BrokenShardError, Shard, again_if_gone, arrow_schema, open_shard, scan
from netpick.store.weights import weights_file

AT_ONCE = 1000
"""Files whose rows are put together at a time: a table of a few rows takes many times what they take among others."""


@dataclass(frozen=True)
class RunFiles:
    """What must be known of a run to handle its shards: its folder, number of classes, and network name by hash."""

    path: Path
    classes: int
    names: Mapping[str, str]

    def key(self, stem: str) -> tuple[str, int]:
        """Return the (network, replicate) of a stem; a hash that is not in the run stands for itself."""
        hash_, _, replicate = stem.rpartition("-")
        return self.names.get(hash_, hash_), int(replicate) if replicate.isdigit() else -1

    def weights(self, stem: str) -> Path:
        """Return where the weights of a training are, if they are kept."""
        return weights_file(self.path, *self.key(stem))


def read_file(path: Path, table: str, classes: int = 0, only: str | None = None, more: Sequence[str] = ()) -> pa.Table:
    """Read a table that is one file, the schema's columns (or one of them) in its order; raises BrokenShardError.

    After them come those of `more` that are there: words, numbers, or true and false.
    """
    file = open_shard(path)
    try:
        check_columns(path, file.schema_arrow, table, classes)
        names = [name for name in arrow_schema(table, classes).names if name in file.schema_arrow.names]
        names += [name for name in more if name not in names and is_plain(file.schema_arrow.field(name).type)]
        rows = file.read(names if only is None else [only]).combine_chunks()
    except (OSError, pa.ArrowException, UnicodeDecodeError, KeyError) as e:
        raise BrokenShardError(path, e) from None
    finally:
        file.close()
    if fault := value_fault(table, rows, classes):
        raise BrokenShardError(path, ValueError(fault))
    return rows


def read_shards(
    files: RunFiles,
    table: str,
    names: list[str] | None = None,
    shards: list[Shard] | None = None,
    broken: list[Path] | None = None,
) -> pa.Table:
    """Read a small table (all columns, or those of `names`) into one Arrow table.

    Parameters
    ----------
    files, table : which
    names : of columns; None for all
    shards : those that are read; None for all that count
    broken : takes the files that can't be read, or are not what they should be, instead of a BrokenShardError
    """
    schema = arrow_schema(table, files.classes)
    keys = [c for c in ("network", "hash", "replicate", "status", "epoch", "split") if c in schema.names]
    wanted = list(dict.fromkeys([*keys, *(names or schema.names)]))

    def read() -> pa.Table:
        left = scan(files.path / table, broken)[0] if shards is None else shards
        while left:
            try:
                return _read(files, table, wanted, left).select(names or schema.names)
            except BrokenShardError as bad:
                if broken is None or bad.is_gone:
                    raise bad from None
                broken.append(bad.path)
                left = [s for s in left if s.path != bad.path]
        return schema.empty_table().select(names or schema.names)

    return again_if_gone(read)


def _read(files: RunFiles, table: str, wanted: list[str], shards: list[Shard]) -> pa.Table:
    schema = arrow_schema(table, files.classes)
    kinds, tables = pa.schema([schema.field(name) for name in wanted]), []
    counts: list[int] = []
    for some in (shards[n : n + AT_ONCE] for n in range(0, len(shards), AT_ONCE)):
        parts = [_part(files, table, kinds, shard) for shard in some]
        tables.append(pa.concat_tables(parts).unify_dictionaries().combine_chunks())
        counts += map(len, parts)
    rows = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    if _fault(files, table, rows, shards, counts):
        starts = np.cumsum([0, *counts])
        for shard, start, count in zip(shards, starts, counts, strict=False):
            if fault := _fault(files, table, rows.slice(start, count), [shard], [count]):
                raise BrokenShardError(shard.path, ValueError(fault))
        raise BrokenShardError(shards[-1].path, ValueError("it holds rows that another file holds too"))
    return rows


def _part(files: RunFiles, table: str, wanted: pa.Schema, shard: Shard) -> pa.Table:
    """Read some columns of one file; what it is too old to have is null."""
    file = open_shard(shard.path)
    try:
        there = file.schema_arrow
        check_columns(shard.path, there, table, files.classes)
        names = set(there.names)
        # What is small is read sooner than a thread is found for it, above all where others have the cores.
        rows = file.read([name for name in wanted.names if name in names], use_threads=not shard.loose)
        for field in (field for field in wanted if field.name not in names):
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
        rows = rows.select(wanted.names)
        return rows.replace_schema_metadata() if rows.schema.equals(wanted) else rows.cast(wanted)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as e:
        raise BrokenShardError(shard.path, e) from None
    finally:
        file.close()


def check_columns(path: Path, there: pa.Schema, table: str, classes: int) -> None:
    """Raise BrokenShardError where a file has not exactly the columns of a table, in their types.

    Their order is free, further ones may be of a later version, and a run of before may lack those that were added
    since; but the columns that are there once a class are as many as the run's classes.
    """
    schema, names = arrow_schema(table, classes), there.names
    if there.equals(schema):  # as nearly always: one look, for a run has thousands of files
        return
    added = ADDED.get(table, ())
    missing = [n for n in schema.names if names.count(n) != 1 and (n in names or n not in added)]
    if missing:
        raise BrokenShardError(path, ValueError(f"it has not exactly one column {listed(missing, 3)}"))
    if any(column.name in names for column in columns(table, classes + 1) if column.name not in schema.names):
        raise BrokenShardError(path, ValueError(f"it is of more than the {classes} classes that run.toml names"))
    for field in schema:
        if field.name in names and not _alike(got := there.field(field.name).type, field.type):
            raise BrokenShardError(path, ValueError(f"its column {field.name} is of {got}, wanted {field.type}"))


def _alike(got: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column may have a type: words may be a dictionary of any size or none, as other programs write them."""
    return got.equals(wanted) or (_is_words(got) and _is_words(wanted))


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column of this type holds words, numbers, or true and false."""
    return _is_words(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _is_words(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def value_fault(table: str, rows: pa.Table, classes: int) -> str | None:
    """Say which column of a table has a value that it can't have."""
    needed = NEVER_NULL - {*ADDED.get(table, ())}
    for name in rows.column_names:
        column = rows.column(name)
        if name in needed and column.null_count:
            return f"its column {name} lacks values"
        if (low := least(name)) is not None and len(column) > column.null_count:
            values = (column.drop_null() if column.null_count else column).to_numpy()
            if values.min() < low or (name in ("label", "predicted") and values.max() >= classes):
                return f"its column {name} has values that can't be"
    return None


def _fault(files: RunFiles, table: str, rows: pa.Table, shards: Sequence[Shard], counts: Sequence[int]) -> str | None:
    """Say what is wrong with the rows of some shards, which lie one after another."""
    if (fault := value_fault(table, rows, files.classes)) or not len(rows):
        return fault
    column = rows.column("network").chunk(0)
    names, codes = column.dictionary.to_pylist(), column.indices.to_numpy()
    place = np.repeat(np.arange(len(shards)), counts)
    held = [set(map(files.key, shard.holds)) for shard in shards]
    pairs = codes.astype(np.int64) << 16 | rows.column("replicate").to_numpy()
    for key in np.unique(place * (len(names) << 16) + pairs).tolist():
        shard, pair = divmod(key, len(names) << 16)
        network, replicate = names[pair >> 16], pair & 0xFFFF
        if (network, replicate) not in held[shard]:
            return f"it holds {network}, replicate {replicate}, and is not the file of that"
    if table == "epochs":
        split = rows.column("split").chunk(0)
        pairs = (pairs << 16 | rows.column("epoch").to_numpy()) * len(split.dictionary) + split.indices.to_numpy()
    elif [len(shard.holds) for shard in shards] != list(counts):
        return "it has not one row for each of its trainings"
    elif any(map(_differs(files), rows.column("hash").to_pylist(), column.to_pylist())):
        return "it holds a training of another network of that name"
    elif not set(rows.column("status").to_pylist()) <= set(STATUSES):
        return f"it has a status that is none of {listed(STATUSES)}"
    if len(np.unique(pairs)) != len(rows):
        return "it holds rows twice"
    return None


def _differs(files: RunFiles) -> Callable[[str, str], bool]:
    return lambda hash_, network: files.names.get(hash_, hash_) != network
