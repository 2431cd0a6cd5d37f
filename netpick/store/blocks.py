"""The table of predictions, which is too large to be read whole: its blocks, checked as they come.

A block is what one training answered at one epoch for one split: a slice of an Arrow table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from netpick.core.errors import RunError
from netpick.core.result import LEFT_OUT
from netpick.store.rows import RunFiles, check_columns, value_fault
from netpick.store.shards import BrokenShardError, Shard, arrow_schema, open_shard

Verified = dict[tuple[str, int, int, int], set[str]]
"""Columns of which the checksums were right, by path, inode, time of change and row group."""


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
    def key(self) -> tuple[str, int, int, str]:
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

    To look at the checksums of pages takes a sixth of the time that it takes to read them: those of a merged file that
    are in `verified` are not looked at again, the others are added to it.
    """
    file = open_shard(shard.path)
    # All of a single training's file is its network's, or else that is to be found out.
    wanted = {"network": networks if shard.merged else None, "epoch": epochs, "split": splits}
    schema = arrow_schema("predictions", files.classes)
    columns = list(dict.fromkeys(["network", "replicate", "epoch", "split", *names]))
    held = set(map(files.key, shard.holds))
    seen: set[tuple[str, int, int, str]] = set()
    if verified is None or not shard.merged:
        read = partial(file.read_row_group, columns=columns)
    else:
        read = partial(_read_group, shard.path, file, columns, verified)
    try:
        there = file.schema_arrow  # made anew each time that it is asked for
        check_columns(shard.path, there, "predictions", files.classes)
        ranges = {there.get_field_index(k): sorted(v) for k, v in wanted.items() if v is not None}
        for g in range(file.num_row_groups):
            group = file.metadata.row_group(g)
            if all(_may_hold(group.column(i).statistics, values) for i, values in ranges.items()):
                rows = read(g).combine_chunks()
                if rows.schema.types != [schema.field(name).type for name in rows.column_names]:  # words as such
                    rows = rows.cast(pa.schema([schema.field(name) for name in rows.column_names])).combine_chunks()
                if fault := value_fault("predictions", rows, files.classes):
                    raise BrokenShardError(shard.path, ValueError(fault))
                for block in _blocks(rows, names):
                    if fault := _fault(block, held, seen, "sample" in names):
                        raise BrokenShardError(shard.path, ValueError(fault))
                    seen.add(block.key)
                    yield block
    except (OSError, pa.ArrowException) as e:
        raise BrokenShardError(shard.path, e) from None
    finally:
        file.close()


def _read_group(path: Path, file: pq.ParquetFile, columns: list[str], verified: Verified, group: int) -> pa.Table:
    """Read a row group of an open file; the checksums of what is verified are not looked at."""
    about = path.stat()
    known = verified.setdefault((str(path), about.st_ino, about.st_mtime_ns, group), set())
    new, rest = ([name for name in columns if (name in known) is there] for there in (False, True))
    parts = [file.read_row_group(group, columns=new)] if new else []
    known.update(new)
    if rest:
        with pq.ParquetFile(path, memory_map=True, metadata=file.metadata) as unchecked:
            parts.append(unchecked.read_row_group(group, columns=rest))
    return pa.table({name: part.column(name) for part in parts for name in part.column_names})


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


def _blocks(table: pa.Table, names: list[str]) -> Iterator[Block]:
    """Cut a row group where one of the four keys changes."""
    if not len(table):
        return
    network, split = (table.column(k).chunk(0) for k in ("network", "split"))
    codes = [network.indices.to_numpy(), split.indices.to_numpy()]
    replicate, epoch = (table.column(k).to_numpy() for k in ("replicate", "epoch"))
    changes = np.zeros(len(table) - 1, dtype=bool)
    for column in (*codes, replicate, epoch):
        changes |= column[1:] != column[:-1]
    starts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(table)]
    ordered = _ordered(table.column("sample").to_numpy(), starts) if "sample" in names else [False] * (len(starts) - 1)
    network_names, split_names = network.dictionary.to_pylist(), split.dictionary.to_pylist()
    values = table.select(names)
    for (a, b), in_order in zip(pairwise(starts), ordered, strict=True):
        key = network_names[codes[0][a]], int(replicate[a]), int(epoch[a]), split_names[codes[1][a]]
        yield Block(*key, values.slice(a, b - a), in_order)


def _ordered(sample: np.ndarray, starts: list[int]) -> list[bool]:
    """Return for each block, which go from one of these rows to the next, whether its samples are 0, 1, 2, ..."""
    counting = np.arange(max(b - a for a, b in pairwise(starts)), dtype=sample.dtype)
    return [bool((sample[a:b] == counting[: b - a]).all()) for a, b in pairwise(starts)]


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
