"""The files of one training beside its row: weights, predictions, epochs. None of them counts before the row is there.

Written by whoever has the arrays, the session or a worker that sees the run's folder; the row is the session's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from netpick.core.errors import WorkError
from netpick.core.files import atomic_write, sync_folder
from netpick.core.result import TrainingResult
from netpick.store import checksums
from netpick.store.results import epoch_rows, prediction_tables, table_of
from netpick.store.rows import RunFiles
from netpick.store.shards import arrow_schema, write_groups
from netpick.store.writing import disk_errors


def write_parts(files: RunFiles, result: TrainingResult, labels: dict[str, np.ndarray], scores: str) -> dict[str, int]:
    """Write all of a training but its row, and return the size of each file by its name in the run's folder.

    Raises WorkError for a full or read-only disk; then nothing of it stays.
    """
    stem = f"{result.hash}-{result.replicate}"
    try:
        with disk_errors(files.path):
            written = list(_written(files, stem, result, labels, scores))
            return {path.relative_to(files.path).as_posix(): path.stat().st_size for path in written}
    except WorkError:
        drop_parts(files, stem)
        raise


def drop_parts(files: RunFiles, stem: str) -> None:
    """Remove what there is of a training's files beside its row; what can't be removed `recover` will."""
    for path in (*(_shard(files, table, stem) for table in ("predictions", "epochs")), files.weights(stem)):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def missing_part(files: RunFiles, written: Mapping[str, int]) -> str:
    """Return the first file that is not there in its size; "" where all are whole."""
    for name, size in written.items():
        try:
            if (files.path / name).stat().st_size != size:
                return name
        except OSError:
            return name
    return ""


def _written(
    files: RunFiles, stem: str, result: TrainingResult, labels: dict[str, np.ndarray], scores: str
) -> Iterator[Path]:
    if result.weights is not None:
        yield _write_weights(files.weights(stem), result.weights)
    if result.epochs:
        groups = prediction_tables(result, labels, scores, files.classes)
        for table, tables in (("predictions", groups), ("epochs", None)):
            path, schema = _shard(files, table, stem), arrow_schema(table, files.classes)
            write_groups(path, schema, tables or [table_of(epoch_rows(result), schema)], one=True)
            sync_folder(path.parent)
            yield path


def _shard(files: RunFiles, table: str, stem: str) -> Path:
    return files.path / table / f"{stem}.parquet"


def _write_weights(path: Path, weights: Mapping[str, np.ndarray]) -> Path:
    from safetensors.numpy import save  # not needed by those who keep no weights

    path.parent.mkdir(exist_ok=True)
    arrays = {name: np.asarray(w, order="C") for name, w in weights.items()}
    atomic_write(path, checksums.sealed_weights(save(arrays, checksums.weights_note(path.stem))))
    sync_folder(path.parent)
    return path
