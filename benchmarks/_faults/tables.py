"""Two finished runs compared to the bit, read by bare pandas: all tables and the bytes of the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

TIMES = {
    "trainings": ["started", "seconds", "attempts", "workers"],
    "epochs": ["train_seconds", "eval_seconds", "peak_memory_bytes"],
}
"""Columns that say how long, how often or beside how many, and differ between any two runs."""

KEYS = ("network", "replicate", "epoch", "split", "sample", "name")
TABLES = ("networks", "samples", "trainings", "epochs", "predictions")


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Read every table, without the columns that no two runs share, in the order of the keys."""
    out = {}
    for table in TABLES:
        path = folder / table if (folder / table).is_dir() else folder / f"{table}.parquet"
        frame = pd.read_parquet(path).drop(columns=TIMES.get(table, []))
        frame = frame.astype({name: str for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)})
        keys = [key for key in KEYS if key in frame]
        out[table] = frame.sort_values(keys, kind="stable", ignore_index=True)
    return out


def differences(expected: Path, got: Path, without: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield what differs between two finished runs; networks of `without` are not looked at."""
    ours, other_tables = read_tables(got), read_tables(expected)
    for table, frame in other_tables.items():
        other = ours[table]
        if "network" in frame:
            frame, other = (one[~one["network"].isin(without)].reset_index(drop=True) for one in (frame, other))
        if without:  # a column that lacks a value of theirs has another type
            other = other.astype(frame.dtypes.to_dict())
        if list(frame) != list(other) or len(frame) != len(other):
            yield f"{table}: {other.shape} rows and columns, expected {frame.shape}"
            continue
        for name in frame:
            if not _same_bits(frame[name], other[name]):
                yield f"{table}.{name} differs"
    weights = [{p.name: _digest(p) for p in (run / "weights").glob("*")} for run in (expected, got)]
    for name in sorted(weights[0].keys() | weights[1].keys()):
        if weights[0].get(name) != weights[1].get(name) and name.rpartition("-")[0] not in without:
            yield f"weights/{name} differs"
    for path in [*got.rglob("*.tmp"), *got.glob(".cache"), *got.glob(".lock.pid")]:
        yield f"{path.relative_to(got)} is left over"


def _same_bits(a: pd.Series, b: pd.Series) -> bool:  # type: ignore[type-arg]
    """Whether two columns have the same type and the same values, floating point numbers to the bit."""
    if a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return bool(a.equals(b))
    return np.ascontiguousarray(a.to_numpy()).tobytes() == np.ascontiguousarray(b.to_numpy()).tobytes()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
