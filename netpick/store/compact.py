"""Merge a run's many small shards into few large ones, take trainings out again, and repair what a kill left behind.

Every change is one rename or removal at a time, in an order in which a kill at any instant loses nothing. A merged
file names in its own metadata the trainings that it holds and the merged files that it replaces: once it is in place
the old files are superseded, and `recover` removes whichever are still there. Only in between does a reader that
knows nothing of this see rows twice. Nothing here takes the run's lock: that is for the caller to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa

from netpick.core.errors import WorkError
from netpick.core.files import sync_folder
from netpick.store.blocks import Block, read_blocks
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
    schema = arrow_schema(table, files.classes, keep)
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


def compact(files: RunFiles, rows_per_file: int) -> dict[str, tuple[int, int]]:
    """Merge shards into files of about `rows_per_file` rows; return each table's number of files before and after."""
    recover(files)
    out = {}
    for table in TABLES:
        shards = scan(files.path / table)[0]
        for batch in _batches(files, shards, rows_per_file):
            _merge(files, table, batch)
        out[table] = len(shards), len(scan(files.path / table)[0])
    return out


def _batches(files: RunFiles, shards: list[Shard], rows_per_file: int) -> list[list[Shard]]:
    """Share out whole shards among the files to come; a merged file that is large enough, or alone, is left alone."""
    units = []
    for shard in shards:
        file = open_shard(shard.path)
        rows = file.metadata.num_rows
        file.close()
        if not shard.merged or rows < rows_per_file / 2:
            units.append((min(map(files.key, shard.holds)), rows, shard))
    batches: list[list[Shard]] = []
    filled = 0
    for _, rows, shard in sorted(units, key=lambda unit: unit[0]):
        if not batches or filled + rows > rows_per_file:
            batches.append([])
            filled = 0
        batches[-1].append(shard)
        filled += rows
    return [b for b in batches if len(b) > 1 or not b[0].merged]


def _merge(files: RunFiles, table: str, batch: list[Shard]) -> None:
    """Write one merged file in the place of the shards of `batch`, and remove these."""
    folder = files.path / table
    holds = sorted((stem for s in batch for stem in s.holds), key=files.key)
    # What the replaced files themselves replaced was removed before this began.
    schema = arrow_schema(table, files.classes, holds, [s.path.name for s in batch if s.merged])
    if table == "predictions":
        groups = _sorted_predictions(files, batch, schema)
    else:
        rows = read_shards(files, table, shards=batch)
        order = ["network", "replicate", "epoch", "split"] if table == "epochs" else ["network", "replicate"]
        plain = pa.table(
            {k: rows.column(k).cast(pa.string()) if k in ("network", "split") else rows.column(k) for k in order}
        )
        indices = plain.append_column("row", pa.array(np.arange(len(rows)))).sort_by([(k, "ascending") for k in order])
        groups = iter([rows.take(indices.column("row")).cast(schema)])
    path = folder / merged_name(folder)
    write_groups(path, schema, groups)
    sync_folder(folder)  # the new file must be there to stay before the old ones go
    for shard in batch:
        shard.path.unlink(missing_ok=True)
    sync_folder(folder)


def _sorted_predictions(files: RunFiles, batch: list[Shard], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield row groups by epoch, then split, then network, holding no more than about one of them in memory."""
    held: dict[Shard, list[tuple[int, str, str, int]]] = {}
    expected = 0
    for shard in batch:
        blocks = list(read_blocks(files, shard, ["epoch"]))
        held[shard] = [(b.epoch, b.split, b.network, b.replicate) for b in blocks]
        expected += sum(len(b.table) for b in blocks)
    row_bytes = 4 * files.classes + 20
    limit = min(GROUP_ROWS, max(1, GROUP_BYTES // row_bytes))
    done = 0
    for epoch, split in sorted({key[:2] for keys in held.values() for key in keys}):
        waiting: list[Block] = []
        rows = 0
        # Each shard is read in turn, so that its own order within the epoch and split stays as it is: by network.
        for shard in batch:
            if not any(key[:2] == (epoch, split) for key in held[shard]):
                continue
            for block in read_blocks(files, shard, schema.names, [epoch], [split]):
                if (block.epoch, block.split) != (epoch, split):
                    continue
                waiting.append(block)
                rows += len(block.table)
                if rows >= limit:
                    yield _group(waiting, schema)
                    done += rows
                    waiting, rows = [], 0
        if waiting:
            yield _group(waiting, schema)
            done += rows
    if done != expected:  # nothing is in place yet, and nothing was removed
        raise WorkError(f"{files.path / 'predictions'}: merging got {done} of {expected} rows; nothing was changed")


def _group(blocks: list[Block], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([b.table for b in blocks]).unify_dictionaries().combine_chunks().cast(schema)
