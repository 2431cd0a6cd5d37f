"""A copy of a run that can be passed on: its results in few large files, and nothing of where it was made.

What others need to read and to check it goes along; logs, pages, figures and the paths of the machine stay behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from netpick.core.files import open_regular
from netpick.store.folder import Store
from netpick.store.rows import read_file
from netpick.store.shards import MEASURED, TABLES, arrow_schema, scan, write_groups
from netpick.store.writing import disk_errors


def copy_run(store: Store, target: Path, images: bool = True, weights: bool = True) -> Store:
    """Copy a run into an empty folder, merged; return the copy.

    Parameters
    ----------
    store : the run; nobody trains it meanwhile
    target : an empty folder
    images, weights : whether those go along; without images, `samples.parquet` has nulls in their place

    Raises
    ------
    RunError
        It is being trained, has no training that has ended, or a file of it can't be read.
    WorkError
        The disk is full, ...
    """
    with store.lock():
        ended = store.ended()
        with disk_errors(target):
            for table in TABLES:
                (target / table).mkdir()
                for shard in scan(store.path / table)[0]:
                    copy_file(shard.path, target / table / shard.path.name)
            for table in ("networks", *MEASURED):
                if (path := store.path / f"{table}.parquet").is_file():
                    copy_file(path, target / path.name)
            _copy_samples(store, target, images)
            if weights:
                (target / "weights").mkdir()
                for path in filter(Path.is_file, map(store.files.weights, sorted(ended))):
                    copy_file(path, target / "weights" / path.name)
    copy = Store(target, {})
    copy.update_manifest(**_without_places(store, weights))
    copy.compact()
    return copy


def copy_file(source: Path, target: Path) -> None:
    """Copy a regular file to where none is."""
    with open_regular(source) as given, open(target, "xb") as taken:
        shutil.copyfileobj(given, taken, 2**20)


def _copy_samples(store: Store, target: Path, images: bool) -> None:
    path = store.path / "samples.parquet"
    if images:
        copy_file(path, target / path.name)
        return
    rows = read_file(path, "samples", store.classes)
    schema = pa.schema([field for field in arrow_schema("samples") if field.name in rows.column_names])

    def without() -> Iterator[pa.Table]:
        at = rows.column_names.index("image")
        yield rows.set_column(at, schema.field("image"), pa.nulls(len(rows), pa.binary())).cast(schema)

    write_groups(target / path.name, schema, without())


def _without_places(store: Store, weights: bool) -> dict[str, object]:
    """Return the manifest without the paths of the machine that the run was made on."""
    manifest = dict(store.manifest)
    if "path" in (data := dict(manifest.get("data", {}))):
        kind = manifest["dataset"].partition(":")[0]
        manifest["dataset"] = f"{kind}:{Path(data.pop('path')).name}"
        manifest["data"] = data
    if not weights:
        manifest["keep"] = {**manifest.get("keep", {}), "weights": "none"}
    return manifest
