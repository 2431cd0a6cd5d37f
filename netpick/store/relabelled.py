"""A run with other labels beside it: what the networks answered is shared, what follows from the labels is new.

The files of answers get a second name (a hard link) in the new folder, so that they take no room, and each of the two
runs stays whole when the other is changed or removed: netpick never writes into a file that is there. Nothing in such
a run leads out of its folder. What the new numbers are is the caller's to say.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from netpick.core.advice import command
from netpick.core.errors import RunError
from netpick.core.files import named_errors, written_aside
from netpick.store.blocks import Block, read_blocks
from netpick.store.copying import copy_file
from netpick.store.folder import Store
from netpick.store.rows import read_file, read_shards
from netpick.store.shards import TABLES, arrow_schema, merged_name, scan, write_groups

SHARED = ("networks", "timings", "layer_times")
"""Tables of one file that know nothing of labels; distances do, which are those to images of the same class."""

NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}

Numbers = Mapping[str, float]
"""Columns of `epochs` that follow from the labels."""


def write_relabelled(
    store: Store,
    target: Path,
    labels: Mapping[str, np.ndarray],
    numbers: Callable[[Block, np.ndarray], Numbers],
    about: Mapping[str, Any],
    copy: bool = False,
) -> None:
    """Write a run that has a run's answers and other labels; it is there only when it is whole.

    Parameters
    ----------
    store : the run; nobody trains it meanwhile
    target : a folder that does not exist yet
    labels : of all samples of each split that changes
    numbers : what one training's answers at one epoch come to by the labels of their split
    about : what run.toml is to say of the change
    copy : copy the answers, where hard links are not possible

    Raises
    ------
    RunError
        It is in use, has no training that has ended, a file can't be read, or the answers can't be shared.
    WorkError
        The disk is full, ...
    """
    with store.lock():
        ended = store.ended()
        epochs = _epochs(store, ended, labels, numbers)
        with named_errors(target), written_aside(target) as temporary:
            temporary.mkdir()
            for table in TABLES:
                (temporary / table).mkdir()
            with _shareable(store.path, target):
                for source in _shared(store, ended):
                    place = temporary / source.relative_to(store.path)
                    place.parent.mkdir(exist_ok=True)
                    _share(source, place, copy)
            _write_epochs(store, temporary, epochs, ended)
            _write_samples(store, temporary, labels)
            history = [*store.relabelled, dict(about)]
            new = Store(temporary, {})
            new.update_manifest(**{**store.manifest, "created": datetime.now(UTC), "relabelled": history})


def _shared(store: Store, ended: set[str]) -> Iterator[Path]:
    """Yield the files that stay as they are."""
    for table in ("trainings", "predictions"):
        for shard in scan(store.path / table)[0]:
            if not ended.isdisjoint(shard.holds):
                yield shard.path
    yield from filter(Path.is_file, (store.path / f"{table}.parquet" for table in SHARED))
    yield from filter(Path.is_file, map(store.files.weights, sorted(ended)))


def _share(source: Path, target: Path, copy: bool) -> None:
    if not stat.S_ISREG(os.lstat(source).st_mode):  # it may lead anywhere
        raise RunError(f"{source} is a link: a run's own folders hold its files, put the file itself there")
    if copy:
        copy_file(source, target)
    else:
        os.link(source, target)


@contextmanager
def _shareable(source: Path, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        if e.errno not in NO_LINKS:
            raise
        raise RunError(
            f"{target} can't share the answers of {source} by hard links ({e.strerror or e}): give --run a folder on "
            "the same file system, or --copy to copy them"
        ) from None


def _epochs(
    store: Store, ended: set[str], labels: Mapping[str, np.ndarray], numbers: Callable[[Block, np.ndarray], Numbers]
) -> pd.DataFrame:
    """Return the table `epochs` of the trainings that have ended, by the new labels."""
    keys = ["network", "replicate", "epoch", "split"]
    rows = read_shards(store.files, "epochs").to_pandas().astype({"network": str, "split": str})
    pairs = set(map(store.files.key, ended))
    rows = rows[[pair in pairs for pair in zip(rows["network"], rows["replicate"], strict=True)]]
    rows = rows.reset_index(drop=True)
    due = {key: place for place, key in enumerate(zip(*(rows[k].tolist() for k in keys), strict=True))}
    due = {key: place for key, place in due.items() if key[3] in labels}
    names = ["sample", "label", "predicted", *(f"score_{c}" for c in range(store.classes))]
    found: dict[int, Numbers] = {}
    for shard in scan(store.path / "predictions")[0]:
        for block in read_blocks(store.files, shard, names, splits=set(labels)):
            if block.key in due:
                found[due[block.key]] = numbers(block, labels[block.split])
    if len(found) < len(due):
        raise RunError(
            f"{store.path} lacks predictions of {len(due) - len(found)} of its evaluations: "
            f"`{command('check', store.path)}` says which"
        )
    new = pd.DataFrame.from_dict(found, orient="index")
    rows.loc[new.index, new.columns] = new
    return rows


def _write_epochs(store: Store, folder: Path, rows: pd.DataFrame, ended: set[str]) -> None:
    schema = arrow_schema("epochs", store.classes, sorted(ended, key=store.files.key))
    path = folder / "epochs" / merged_name(folder / "epochs")
    write_groups(path, schema, [pa.Table.from_pandas(rows, schema=schema, preserve_index=False)])


def _write_samples(store: Store, folder: Path, labels: Mapping[str, np.ndarray]) -> None:
    """Write samples.parquet with the new labels, and all else as it was."""
    rows = read_file(store.path / "samples.parquet", "samples", store.classes)
    place, now = rows.column("sample").to_numpy(), rows.column("label").to_numpy().copy()
    splits = np.array(rows.column("split").to_pylist(), object)
    for split, known in labels.items():
        mine = splits == split
        now[mine] = known[place[mine]]
    names = [store.manifest["classes"][label] for label in now.tolist()]
    for name, values in (("label", pa.array(now, pa.int16())), ("class_name", pa.array(names, pa.string()))):
        rows = rows.set_column(rows.column_names.index(name), name, values)
    schema = pa.schema([field for field in arrow_schema("samples") if field.name in rows.column_names])
    write_groups(folder / "samples.parquet", schema, [rows.cast(schema)])
