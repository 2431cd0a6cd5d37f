"""The files of trainings: weights, predictions, epochs, and the rows, without which none of the others counts.

Written by whoever has the arrays, the session or a worker that sees the run's folder; the rows are the session's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa

from netpick.core.errors import WorkError
from netpick.core.files import atomic_write, sync_folder
from netpick.core.result import TrainingResult
from netpick.store import checksums
from netpick.store.results import epoch_rows, prediction_tables, table_of, training_row
from netpick.store.rows import RunFiles
from netpick.store.shards import arrow_schema, merged_name, write_groups
from netpick.store.writing import disk_errors


def write_parts(
    files: RunFiles, results: Sequence[TrainingResult], labels: dict[str, np.ndarray], scores: str
) -> dict[str, int]:
    """Write all of some trainings but their rows, and return the size of each file by its name in the run's folder.

    Several share one file of predictions and one of epochs. Raises WorkError for a full or read-only disk; then nothing
    of it stays.
    """
    written: dict[str, int] = {}
    try:
        with disk_errors(files.path):
            for path in _written(files, results, labels, scores):
                written[path.relative_to(files.path).as_posix()] = path.stat().st_size
    except WorkError:
        drop_parts(files, written)
        raise
    return written


def write_rows(files: RunFiles, results: Sequence[TrainingResult]) -> None:
    """Write the rows of some trainings, which makes them count; raises WorkError as `write_parts` does."""
    path, schema = _shard(files, "trainings", results)
    try:
        with disk_errors(files.path):
            write_groups(path, schema, [table_of(map(training_row, results), schema)], one=True)
            sync_folder(path.parent)
    except WorkError:
        with suppress(OSError):  # `recover` will do it
            path.unlink(missing_ok=True)
        raise


def drop_parts(files: RunFiles, written: Iterable[str]) -> None:
    """Remove files that `write_parts` has written; what can't be removed `recover` will."""
    for name in written:
        with suppress(OSError):
            (files.path / name).unlink(missing_ok=True)


def missing_part(files: RunFiles, written: Mapping[str, int]) -> str:
    """Return the first file that is not there in its size; "" where all are whole."""
    for name, size in written.items():
        try:
            if (files.path / name).stat().st_size != size:
                return name
        except OSError:
            return name
    return ""


def stem_of(hash_: str, replicate: int) -> str:
    """Return what the files of a training are named by."""
    return f"{hash_}-{replicate}"


def _written(
    files: RunFiles, results: Sequence[TrainingResult], labels: dict[str, np.ndarray], scores: str
) -> Iterator[Path]:
    folder = None
    for result in results:
        if result.weights is not None:
            path = _write_weights(files.weights(stem_of(result.hash, result.replicate)), result.weights)
            yield path
            folder = path.parent
    if folder is not None:
        sync_folder(folder)
    if evaluated := [result for result in results if result.epochs]:
        groups = _side_by_side([prediction_tables(one, labels, scores, files.classes) for one in evaluated])
        rows = (row for result in evaluated for row in epoch_rows(result))
        for table, tables in (("predictions", groups), ("epochs", None)):
            path, schema = _shard(files, table, evaluated)
            write_groups(path, schema, tables or [table_of(rows, schema)], one=True)
            sync_folder(path.parent)
            yield path


def _side_by_side(results: Sequence[Iterable[pa.Table]]) -> Iterator[pa.Table]:
    """Yield the tables of some results' epochs, those of one epoch as one: a row group costs more than its rows."""
    for tables in zip_longest(*results):
        there = [table for table in tables if table is not None]
        yield there[0] if len(there) == 1 else pa.concat_tables(there).unify_dictionaries().combine_chunks()


def _shard(files: RunFiles, table: str, results: Sequence[TrainingResult]) -> tuple[Path, pa.Schema]:
    """Return the file of some trainings in a table, and its schema: named after the one, or a merged one of several."""
    folder, stems = files.path / table, [stem_of(one.hash, one.replicate) for one in results]
    if len(stems) == 1:
        return folder / f"{stems[0]}.parquet", arrow_schema(table, files.classes)
    return folder / merged_name(folder), arrow_schema(table, files.classes, stems, loose=True)


def _write_weights(path: Path, weights: Mapping[str, np.ndarray]) -> Path:
    from safetensors.numpy import save  # not needed by those who keep no weights

    path.parent.mkdir(exist_ok=True)
    arrays = {name: np.asarray(w, order="C") for name, w in weights.items()}
    atomic_write(path, checksums.sealed_weights(save(arrays, checksums.weights_note(path.stem))))
    return path
