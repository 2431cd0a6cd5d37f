"""The table of predictions, which is too large to be read whole: its blocks, checked as they come.

A block is what one training answered at one epoch for one split: a slice of an Arrow table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from netpick.core.errors import RunError
from netpick.core.result import LEFT_OUT
from netpick.core.threads import ahead
from netpick.store.checksums import KEY
from netpick.store.rows import RunFiles, check_columns, value_fault
from netpick.store.shards import BrokenShardError, Shard, arrow_schema, open_shard

Key = tuple[str, int, int, str]
"""Network, replicate, epoch and split of a block."""
KEYS = ("network", "replicate", "epoch", "split")

DECODING = 2
"""Row groups that are decoded at a time; the columns of each are decoded on all cores."""


@dataclass
class Known:
    """What was found out of a row group: columns whose checksums were right, where its blocks are, which are in order.

    Blocks and order are empty where they were not looked at. `same` has the keys of which its footer says, under a
    checksum, that all rows have the same.
    """

    same: dict[str, Any] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)
    blocks: list[tuple[Key, int, int]] = field(default_factory=list)
    ordered: list[bool] = field(default_factory=list)


Verified = dict[tuple[str, int, int, int], Known]
"""What is known of row groups, by path, inode, time of change and number."""

Read = Callable[[int, list[str]], pa.Table]


class Block(NamedTuple):
    """The predictions of one network × replicate × epoch × split: a slice of an Arrow table."""

    network: str
    replicate: int
    epoch: int
    split: str
    table: Any
    ordered: bool
    """Whether its samples are 0, 1, 2, ...; False where they were not read."""

    @property
    def key(self) -> Key:
        """The four values that name the block."""
        return self[:4]

    def array(self, column: str) -> np.ndarray | None:
        """Return one column, or None where any of its values is null."""
        values = self.table.column(column)
        return None if values.null_count else values.to_numpy()


def read_blocks(
    files: RunFiles,
    shard: Shard,
    names: list[str],
    epochs: Collection[int] | None = None,
    splits: Collection[str] | None = None,
    networks: Collection[str] | None = None,
    verified: Verified | None = None,
) -> Iterator[Block]:
    """Yield the blocks of one predictions shard, with the columns of `names`.

    Row groups that can't hold any of the epochs, splits and networks are not read; of those that are read, all blocks
    come out. Raises BrokenShardError where the file is not what its name or its metadata says.

    Of a merged file's row groups that are in `verified`, checksums that were right are not looked at again (that takes
    a sixth of the time that reading takes), and where the blocks are is known; what is found out of others is added.
    """
    file = open_shard(shard.path)
    # All of a single training's file is its network's, or else that is to be found out.
    wanted = {"network": networks if shard.merged else None, "epoch": epochs, "split": splits}
    held = set(map(files.key, shard.holds))
    seen: set[Key] = set()
    try:
        there = file.schema_arrow  # made anew each time that it is asked for
        check_columns(shard.path, there, "predictions", files.classes)
        ranges = {there.get_field_index(k): sorted(v) for k, v in wanted.items() if v is not None}
        groups = [
            g
            for g in range(file.num_row_groups)
            if all(_may_hold(file.metadata.row_group(g).column(i).statistics, v) for i, v in ranges.items())
        ]
        large = shard.merged and verified is not None
        with _reader(shard, file, verified if large else None) as (read, known):
            make = partial(_group, files, names, read, known)
            for found in ahead(make, groups, DECODING) if large else map(make, groups):
                if isinstance(found, str):
                    raise BrokenShardError(shard.path, ValueError(found))
                for block in found:
                    if fault := _fault(block, held, seen, "sample" in names):
                        raise BrokenShardError(shard.path, ValueError(fault))
                    seen.add(block.key)
                    yield block
    except (OSError, pa.ArrowException) as e:
        raise BrokenShardError(shard.path, e) from None
    finally:
        file.close()


@contextmanager
def _reader(
    shard: Shard, file: pq.ParquetFile, verified: Verified | None
) -> Iterator[tuple[Read, Callable[[int], Known]]]:
    """Give what reads columns of an open file's row group, and what is known of one; with `verified` on any thread."""
    if verified is None:
        read_small = partial(file.read_row_group, use_threads=not shard.loose)
        yield lambda group, columns: read_small(group, columns=columns), lambda group: Known()
        return
    path = shard.path
    about = path.stat()

    def known(group: int) -> Known:
        key = str(path), about.st_ino, about.st_mtime_ns, group
        return verified.get(key) or verified.setdefault(key, Known(_same(file, group)))

    def read(group: int, columns: list[str]) -> pa.Table:
        fine, parts = known(group).columns, []
        for check in (True, False):
            if some := [name for name in columns if (name in fine) is not check]:
                opened = pq.ParquetFile(source, metadata=file.metadata, page_checksum_verification=check)
                parts.append(opened.read_row_group(group, columns=some))
        fine.update(columns)
        return pa.table({name: part.column(name) for part in parts for name in part.column_names})

    with pa.memory_map(str(path)) as source:
        yield read, known


def _same(file: pq.ParquetFile, group: int) -> dict[str, Any]:
    """Return those keys that all rows of a group share, of a file whose footer has a checksum: it was looked at."""
    if KEY.encode() not in (file.metadata.metadata or {}):
        return {}
    columns = map(file.metadata.row_group(group).column, range(file.metadata.num_columns))
    keys = ((column.path_in_schema, column.statistics) for column in columns if column.path_in_schema in KEYS)
    return {name: told.min for name, told in keys if told and told.has_min_max and told.min == told.max}


def _group(files: RunFiles, names: list[str], read: Read, of: Callable[[int], Known], number: int) -> list[Block] | str:
    """Read a row group, and cut it into its blocks; or say what is wrong with it."""
    known = of(number)
    counted = bool(known.ordered) and all(known.ordered) and len(names) > 1
    keys = () if known.blocks else [key for key in KEYS if key not in known.same]
    needed = [name for name in names if name != "sample" or not counted]
    rows = read(number, list(dict.fromkeys([*keys, *needed]))).combine_chunks()
    schema = pa.schema([arrow_schema("predictions", files.classes).field(name) for name in rows.column_names])
    if rows.schema.types != schema.types:  # words as such
        rows = rows.cast(schema).combine_chunks()
    if fault := value_fault("predictions", rows, files.classes):
        return fault
    known.blocks = known.blocks or _cuts(rows, known.same)
    if counted and "sample" in names:
        whole = np.concatenate([np.arange(b - a, dtype=np.int32) for _, a, b in known.blocks])
        rows = rows.append_column("sample", pa.array(whole))
    elif "sample" in names and len(rows):
        known.ordered = _ordered(rows.column("sample").to_numpy(), known.blocks)
    values, ordered = rows.select(names), known.ordered or [False] * len(known.blocks)
    return [Block(*key, values.slice(a, b - a), fine) for (key, a, b), fine in zip(known.blocks, ordered, strict=True)]


def _fault(block: Block, held: Collection[Any], seen: Collection[Any], with_samples: bool) -> str | None:
    """Say what is wrong with a block of a file that holds these trainings, and of which these blocks were seen."""
    sample = block.array("sample") if with_samples and not block.ordered else None
    known = block.key[:2] in held
    if known and block.key not in seen and (sample is None or _once(sample, block.split)):
        return None
    about = f"{block.network}, replicate {block.replicate}"
    if not known:
        return f"it holds {about}, and is not the file of that"
    return f"it has not each sample of {about}, epoch {block.epoch}, split {block.split} once"


def _once(sample: np.ndarray, split: str) -> bool:
    """Whether each sample of a split is there once; of `left_out` no sample twice, for each training has some alone."""
    if split == LEFT_OUT:
        return len(np.unique(sample)) == len(sample)
    return bool((np.sort(sample) == np.arange(len(sample))).all())


def _may_hold(statistics: Any, values: list[Any]) -> bool:
    """Whether a column chunk of these statistics can hold one of the sorted values."""
    if statistics is None or not statistics.has_min_max:
        return True
    return any(statistics.min <= v <= statistics.max for v in values)


def _cuts(table: pa.Table, same: dict[str, Any]) -> list[tuple[Key, int, int]]:
    """Return the blocks of a row group, each with its first row and the one after its last: where a key changes."""
    if not len(table):
        return []
    columns = {key: table.column(key).chunk(0) for key in KEYS if key not in same}
    changes = np.zeros(len(table) - 1, dtype=bool)
    for column in columns.values():
        values = (column.indices if pa.types.is_dictionary(column.type) else column).to_numpy()
        changes |= values[1:] != values[:-1]
    starts = [0, *(np.flatnonzero(changes) + 1).tolist()]
    told = {key: [value] * len(starts) for key, value in same.items()}
    told |= {key: column.take(pa.array(starts)).to_pylist() for key, column in columns.items()}
    keys = zip(*(told[key] for key in KEYS), strict=True)
    return list(zip(keys, starts, [*starts[1:], len(table)], strict=True))


def _ordered(sample: np.ndarray, blocks: list[tuple[Key, int, int]]) -> list[bool]:
    """Return for each block whether its samples are 0, 1, 2, ..."""
    counting = np.arange(max(b - a for _, a, b in blocks), dtype=sample.dtype)
    return [bool((sample[a:b] == counting[: b - a]).all()) for _, a, b in blocks]


def with_labels(block: Block, labels: np.ndarray, names: list[str]) -> Block:
    """Return a block's columns of `names` with the labels that its samples have now."""
    table, sample = block.table, block.table.column("sample").to_numpy()
    if sample.max(initial=-1) >= len(labels):
        raise RunError(f"{block.network} answered samples of {block.split} that samples.parquet does not have")
    now = pa.array(labels[sample], pa.int16())
    table = table.set_column(table.column_names.index("label"), "label", now)
    return block._replace(table=table.select(names))


def join_blocks(blocks: Iterable[Block], names: list[str], classes: int) -> pa.Table:
    """Put blocks one after another into one Arrow table of the given columns."""
    tables = [b.table for b in blocks]
    if not tables:
        return arrow_schema("predictions", classes).empty_table().select(names)
    return pa.concat_tables(tables).unify_dictionaries()
