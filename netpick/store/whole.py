"""A run's folder read whole: every file, each of its checksums, and whether what belongs together is all there.

What is read elsewhere is checked as it is read; here everything is, so that nothing that rots stays unseen. What the
numbers say, and whether they are true, is the business of `sessions.recount`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from netpick.core.errors import RunError
from netpick.core.result import LEFT_OUT
from netpick.store.blocks import Block, read_blocks
from netpick.store.folder import Store
from netpick.store.rows import read_file, read_shards
from netpick.store.samples import png_pixels, samples_of
from netpick.store.shards import MEASURED, Shard, scan
from netpick.store.weights import kept_weights, read_weights

COLUMNS = ("sample", "label", "predicted")

Row = dict[str, Any]


def faults(
    store: Store,
    keeps_weights: Callable[[Row], bool],
    on_block: Callable[[Block], None] = lambda block: None,
) -> Iterator[str]:
    """Read every file of a run, and yield what is wrong with it, a line each.

    Parameters
    ----------
    store : a run that is not being trained
    keeps_weights : whether a network, given as its row of the catalogue, has weights that can be kept
    on_block : told what each training answered at each epoch for each split, with all columns but the four keys

    Notes
    -----
    A flipped bit shows by the checksums: of Parquet's pages and footers, of the catalogue in run.toml. A file that is
    missing shows by what it should hold: each training has its epochs, each epoch its predictions of every sample.
    """
    try:
        store.catalogue  # noqa: B018  read and checked against run.toml
    except RunError as error:
        yield str(error)
        return  # all other files are named after it
    samples, said = _samples(store)
    yield from said
    trainings, said = _rows(store, "trainings", ["network", "replicate", "status", "epochs", "fold"])
    yield from said
    epochs, said = _rows(store, "epochs", ["network", "replicate", "epoch", "split"])
    yield from said
    folds = {(row["network"], row["replicate"]): row["fold"] for row in trainings}
    predicted: set[tuple[str, int, int, str]] = set()
    shards, said = _shards(store, "predictions")
    yield from said
    names = [*COLUMNS, *(f"score_{c}" for c in range(store.classes))]
    for shard in shards:
        try:
            for block in read_blocks(store.files, shard, names):
                predicted.add(block.key)
                if fault := _samples_fault(block, samples, folds.get(block.key[:2])):
                    yield f"{shard.path}: {block.network}, replicate {block.replicate}, epoch {block.epoch} {fault}"
                on_block(block)
        except RunError as error:
            yield str(error)
    yield from _missing(store, trainings, epochs, predicted)
    if store.manifest.get("keep", {}).get("weights") == "last":
        kept = {row["name"] for row in store.networks() if keeps_weights(row)}
        yield from _weights_faults(store, (row for row in trainings if row["network"] in kept))
    for table in MEASURED:
        if (path := store.path / f"{table}.parquet").is_file():
            try:
                read_file(path, table, len(store.manifest["classes"]))
            except RunError as error:
                yield str(error)


def _samples(store: Store) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the fold of each sample of each split, NaN where it has none, and what is wrong with their file."""
    path = store.path / "samples.parquet"
    if not path.is_file():
        ended = any(name.endswith(".parquet") for name in map(str, (store.path / "trainings").glob("*")))
        return {}, [f"{path} is missing, and there are results: restore it from a copy"] if ended else []
    try:
        frame = read_file(path, "samples", store.classes).to_pandas()
        splits = {split: samples_of(split, frame, store.path) for split in frame["split"].unique()}
        for split, rows in splits.items():
            for sample, image in enumerate(rows["image"].dropna()):
                png_pixels(image, f"{path}: sample {sample} of {split}")
    except RunError as error:
        return {}, [str(error)]
    if LEFT_OUT in splits and ("fold" not in frame or splits[LEFT_OUT]["fold"].isna().any()):
        return {}, [f"{path} does not say the fold of each sample of {LEFT_OUT}: restore it from a copy"]
    return {
        split: rows.get("fold", pd.Series(np.nan, rows.index)).to_numpy(float) for split, rows in splits.items()
    }, []


def _samples_fault(block: Block, samples: Mapping[str, np.ndarray], fold: int | None) -> str | None:
    """Say which samples a block lacks or has too many; it has each at most once, as it was read."""
    if not samples:  # which was said
        return None
    folds = samples.get(block.split, np.empty(0))
    if block.split != LEFT_OUT:
        return (
            None
            if len(block.table) == len(folds)
            else f"has {len(block.table)} of {len(folds)} samples of {block.split}"
        )
    own = np.flatnonzero(folds == fold)  # none where the training names no fold
    if np.array_equal(np.sort(block.table.column("sample").to_numpy()), own):
        return None
    return f"has {len(block.table)} samples of {block.split}, and not the {len(own)} of its fold, {fold}"


def _shards(store: Store, table: str) -> tuple[list[Shard], list[str]]:
    """Return the files of a table that can be looked at, and what is wrong with the others."""
    broken: list[Path] = []
    shards = scan(store.path / table, broken)[0]
    return shards, [f"{path} is broken: restore it from a copy" for path in broken]


def _rows(store: Store, table: str, names: list[str]) -> tuple[list[Row], list[str]]:
    """Return the rows of a small table, and what is wrong with its files."""
    shards, said = _shards(store, table)
    tables: list[pa.Table] = []
    for shard in shards:
        try:
            tables.append(read_shards(store.files, table, None, [shard]).select(names))
        except RunError as error:
            said.append(str(error))
    return [row for rows in tables for row in rows.to_pylist()], said


def _missing(
    store: Store,
    trainings: list[Row],
    epochs: list[Row],
    predicted: set[tuple[str, int, int, str]],
) -> Iterator[str]:
    """Yield what should be there and is not."""
    ended = {(row["network"], row["replicate"]): row for row in trainings}
    evaluated = {(row["network"], row["replicate"], row["epoch"], row["split"]) for row in epochs}
    evaluated = {key for key in evaluated if key[:2] in ended}
    for network, replicate, epoch, split in sorted(evaluated - predicted, key=str):
        yield f"{store.path}: no predictions of {network}, replicate {replicate}, epoch {epoch}, split {split}"
    last = Counter[tuple[str, int]]()
    for network, replicate, epoch, _ in evaluated:
        last[network, replicate] = max(last[network, replicate], epoch)
    for key, row in ended.items():
        due = row["epochs"]
        if row["status"] == "done" and due is not None and last[key] != due:
            yield f"{store.path}: {key[0]}, replicate {key[1]}, is done and has {last[key]} of {due} epochs"


def _weights_faults(store: Store, trainings: Iterable[Row]) -> Iterator[str]:
    """Yield what is wrong with the weights of those that are done."""
    for row in trainings:
        if row["status"] != "done":
            continue
        about = f"{store.path}: {row['network']}, replicate {row['replicate']}, is done, and its weights"
        path = kept_weights(store.path, row["network"], row["replicate"])
        if path is None:
            yield f"{about} are missing"
            continue
        try:
            read_weights(path)
        except RunError as error:
            yield f"{about} can't be read ({error})"
