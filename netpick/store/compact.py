"""Merge a run's many small shards into few large ones, take trainings out again, and repair what a kill left behind.

Every change is one rename or removal at a time, in an order in which a kill at any instant loses nothing. A merged
file names in its own metadata the trainings that it holds and the merged files that it replaces: once it is in place
the old files are superseded, and `recover` removes whichever are still there. Only in between does a reader that
knows nothing of this see rows twice. Nothing here takes the run's lock: that is for the caller to do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter, itemgetter

import numpy as np
import pyarrow as pa

from netpick.core.errors import WorkError
from netpick.core.files import sync_folder
from netpick.store.blocks import Block, Key, read_blocks
from netpick.store.rows import RunFiles, read_shards
from netpick.store.shards import (
    TABLES,
    BrokenShardError,
    Shard,
    arrow_schema,
    merged_name,
    open_shard,
    scan,
    write_groups,
)

GROUP_ROWS = 250_000
GROUP_BYTES = 256 * 2**20
"""A row group ends at whichever of the two comes first: many classes make wide rows."""

OnShare = Callable[[float], None]
"""Told which share of some work is done."""


def drop(files: RunFiles, stems: Collection[str], tables: Collection[str] = TABLES) -> None:
    """Take trainings out of the tables, the row in `trainings` first, so that a kill leaves orphans and no gaps."""
    stems = set(stems)
    for table in tables:
        folder = files.path / table
        for shard in scan(folder)[0]:
            if stems.isdisjoint(shard.holds):
                continue
            keep = [s for s in shard.holds if s not in stems]
            if keep:
                _rewrite(files, table, shard, keep)
            else:
                shard.path.unlink(missing_ok=True)
        if folder.is_dir():
            sync_folder(folder)
    for stem in stems:
        files.weights(stem).unlink(missing_ok=True)


def _rewrite(files: RunFiles, table: str, shard: Shard, keep: list[str]) -> None:
    """Put a merged file in its own place without some of its trainings, row group by row group."""
    schema = arrow_schema(table, files.classes, keep, loose=shard.loose)
    networks, replicates = zip(*map(files.key, keep), strict=True)

    def groups() -> Iterator[pa.Table]:
        wanted = set(zip(networks, replicates, strict=True))
        file = open_shard(shard.path)
        try:
            for g in range(file.num_row_groups):
                rows = file.read_row_group(g).combine_chunks()
                column = rows.column("network").chunk(0)
                names, codes = column.dictionary.to_pylist(), column.indices.to_numpy()
                pairs = codes.astype(np.int64) << 16 | rows.column("replicate").to_numpy()
                unique, inverse = np.unique(pairs, return_inverse=True)
                kept = np.array([(names[p >> 16], int(p & 0xFFFF)) in wanted for p in unique.tolist()])[inverse]
                if kept.any():
                    yield rows.filter(pa.array(kept)).cast(schema)
        except pa.ArrowException as e:
            raise BrokenShardError(shard.path, e) from None
        finally:
            file.close()

    write_groups(shard.path, schema, groups())


def recover(files: RunFiles) -> None:
    """Remove unfinished and superseded files, and whatever belongs to no row of `trainings`.

    After it, what a bare reader of the folders sees is exactly the finished trainings.
    """
    for folder in (files.path, *(files.path / t for t in (*TABLES, "weights"))):
        for path in folder.glob(".*.tmp"):
            path.unlink(missing_ok=True)
    live: dict[str, list[Shard]] = {}
    for table in TABLES:
        live[table], superseded = scan(files.path / table)
        for path in superseded:
            path.unlink(missing_ok=True)
    finished = {stem for s in live["trainings"] for stem in s.holds}
    for table in TABLES[1:]:
        orphans = {stem for s in live[table] for stem in s.holds} - finished
        if orphans:
            drop(files, orphans, [table])
    kept = {files.weights(stem) for stem in finished}
    for path in (files.path / "weights").glob("*.safetensors"):
        if path not in kept:
            path.unlink(missing_ok=True)


def compact(files: RunFiles, rows_per_file: int, on_share: OnShare) -> dict[str, tuple[int, int]]:
    """Merge shards into files of about `rows_per_file` rows; return each table's number of files before and after.

    `on_share` is told now and then which share of the work is done, by the bytes that are read.
    """
    recover(files)
    out, due = {}, []
    for table in TABLES:
        shards = scan(files.path / table)[0]
        out[table] = len(shards)
        due += [(table, batch) for batch in _batches(files, shards, rows_per_file)]
    sizes = [sum(shard.path.stat().st_size for shard in batch.shards) for _, batch in due]
    done, whole = 0, sum(sizes)
    for (table, batch), size in zip(due, sizes, strict=True):
        _merge(files, table, batch, partial(_tell, on_share, done, size, whole))
        done += size
        on_share(done / whole)
    return {table: (before, len(scan(files.path / table)[0])) for table, before in out.items()}


def _tell(on_share: OnShare, done: int, size: int, whole: int, share: float) -> None:
    """Tell the share of all work, at a share of a part of it."""
    on_share((done + share * size) / whole)


@dataclass
class _Batch:
    """Shards that become one file, and their rows."""

    shards: list[Shard] = field(default_factory=list)
    rows: int = 0


def _batches(files: RunFiles, shards: list[Shard], rows_per_file: int) -> list[_Batch]:
    """Share out whole shards among the files to come; a merged file that is large enough, or alone, is left alone."""
    units = []
    for shard in shards:
        file = open_shard(shard.path)
        rows = file.metadata.num_rows
        file.close()
        if shard.loose or rows < rows_per_file / 2:
            units.append((min(map(files.key, shard.holds)), rows, shard))
    batches: list[_Batch] = []
    for _, rows, shard in sorted(units, key=lambda unit: unit[0]):
        if not batches or batches[-1].rows + rows > rows_per_file:
            batches.append(_Batch())
        batches[-1].shards.append(shard)
        batches[-1].rows += rows
    return [b for b in batches if len(b.shards) > 1 or b.shards[0].loose]


def _merge(files: RunFiles, table: str, batch: _Batch, on_share: OnShare) -> None:
    """Write one merged file in the place of the shards of a batch, and remove these."""
    folder, shards = files.path / table, batch.shards
    holds = sorted((stem for s in shards for stem in s.holds), key=files.key)
    # What the replaced files themselves replaced was removed before this began.
    schema = arrow_schema(table, files.classes, holds, [s.path.name for s in shards if s.merged])
    if table == "predictions":
        groups = _sorted_predictions(files, batch, schema, on_share)
    else:
        rows = read_shards(files, table, shards=shards)
        order = ["network", "replicate", "epoch", "split"] if table == "epochs" else ["network", "replicate"]
        plain = pa.table(
            {k: rows.column(k).cast(pa.string()) if k in ("network", "split") else rows.column(k) for k in order}
        )
        indices = plain.append_column("row", pa.array(np.arange(len(rows)))).sort_by([(k, "ascending") for k in order])
        groups = iter([rows.take(indices.column("row")).cast(schema)])
    path = folder / merged_name(folder)
    write_groups(path, schema, groups)
    sync_folder(folder)  # the new file must be there to stay before the old ones go
    for shard in shards:
        shard.path.unlink(missing_ok=True)
    sync_folder(folder)


Evaluation = tuple[int, str]
"""Epoch and split."""


def _sorted_predictions(files: RunFiles, batch: _Batch, schema: pa.Schema, on_share: OnShare) -> Iterator[pa.Table]:
    """Yield row groups by epoch, then split, then network.

    Each shard is read once where all rows have room in the memory of a row group or two; otherwise again for each epoch
    and split.
    """
    row_bytes = 4 * files.classes + 20
    limit, done = min(GROUP_ROWS, max(1, GROUP_BYTES // row_bytes)), 0
    blocks_of = _held if batch.rows * row_bytes <= GROUP_BYTES else _read_again
    for blocks in blocks_of(files, batch.shards, schema.names, on_share):
        waiting: list[Block] = []
        rows = 0
        for block in blocks:
            waiting.append(block)
            rows += len(block.table)
            if rows >= limit:
                yield _group(waiting, schema)
                done += rows
                waiting, rows = [], 0
        if waiting:
            yield _group(waiting, schema)
            done += rows
    if done != batch.rows:  # nothing is in place yet, and nothing was removed
        raise WorkError(f"{files.path / 'predictions'}: merging got {done} of {batch.rows} rows; nothing was changed")


def _held(files: RunFiles, shards: list[Shard], names: list[str], on_share: OnShare) -> Iterator[list[Block]]:
    """Yield the blocks of each epoch and split, by network; all are in memory."""
    held: dict[Evaluation, list[Block]] = defaultdict(list)
    for place, shard in enumerate(shards):
        for block in read_blocks(files, shard, names):
            held[block.epoch, block.split].append(block)
        on_share((place + 1) / len(shards))
    for evaluation in sorted(held):
        yield sorted(held.pop(evaluation), key=attrgetter("network", "replicate"))


def _read_again(files: RunFiles, shards: list[Shard], names: list[str], on_share: OnShare) -> Iterator[Iterator[Block]]:
    """Yield the blocks of each epoch and split, as they are read: by network, but for those of a shard that is packed.

    Of one that is loose each network is read by itself, where it belongs among those of others.
    """
    readings: dict[Evaluation, list[tuple[Key, Shard]]] = defaultdict(list)
    for shard in shards:
        first: dict[Evaluation, Key] = {}
        for block in read_blocks(files, shard, ["epoch"]):
            if (evaluation := (block.epoch, block.split)) not in first or shard.loose:
                first[evaluation] = block.key
                readings[evaluation].append((block.key, shard))
    number, done = sum(map(len, readings.values())), 0

    def blocks_of(epoch: int, split: str) -> Iterator[Block]:
        nonlocal done
        for key, shard in sorted(readings[epoch, split], key=itemgetter(0)):
            networks = [key[0]] if shard.loose else None
            for block in read_blocks(files, shard, names, [epoch], [split], networks):
                if block.key == key or (not shard.loose and (block.epoch, block.split) == (epoch, split)):
                    yield block
            done += 1
            on_share(done / number)

    for evaluation in sorted(readings):
        yield blocks_of(*evaluation)


def _group(blocks: list[Block], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([b.table for b in blocks]).unify_dictionaries().combine_chunks().cast(schema)
