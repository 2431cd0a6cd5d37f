"""A training's result as rows of the run's tables, in the columns of the schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any

import numpy as np
import pyarrow as pa

from netpick.core.result import TrainingResult
from netpick.store.shards import arrow_schema


def table_of(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Make an Arrow table of rows that have exactly the schema's columns."""
    rows = list(rows)
    columns = [pa.array([row[f.name] for row in rows], f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def training_row(result: TrainingResult) -> dict[str, Any]:
    """Return the row that makes a training count."""
    names = arrow_schema("trainings").names
    row = {f: getattr(result, f) if hasattr(result, f) and f != "epochs" else result.recipe.get(f) for f in names}
    row |= {name: json.dumps(value) for name, value in row.items() if isinstance(value, Mapping)}
    row["seconds"] = _known(result.seconds)
    if result.error is not None:
        row["error"] = " ".join(result.error.split())
    row["started"] = result.started if result.started.tzinfo else result.started.replace(tzinfo=UTC)
    return row


def epoch_rows(result: TrainingResult) -> Iterator[dict[str, Any]]:
    """Yield one row an epoch and split."""
    for epoch in result.epochs:
        for split in epoch.splits:
            per_class = {"accuracy": split.class_accuracy, "auc": split.class_auc}
            yield {
                "network": result.network,
                "replicate": result.replicate,
                "epoch": epoch.epoch,
                "split": split.split,
                "train_loss": _known(epoch.train_loss),
                "loss": _known(split.loss),
                "accuracy": split.accuracy,
                "train_seconds": _known(epoch.train_seconds),
                "eval_seconds": _known(split.eval_seconds),
                "peak_memory_bytes": epoch.peak_memory_bytes,
                **{f"{k}_{c}": _known(v) for k, values in per_class.items() for c, v in enumerate(values)},
            }


def _known(value: float) -> float | None:
    """Return a number, or None for NaN: there is no such value; null in every engine."""
    return None if value != value else value


def prediction_tables(
    result: TrainingResult, labels: dict[str, np.ndarray], scores: str, classes: int
) -> Iterator[pa.Table]:
    """Yield one table an epoch; `scores` says of which epochs the scores are kept (`all`, `last`, `none`)."""
    schema = arrow_schema("predictions", classes)
    last = max(e.epoch for e in result.epochs)
    for epoch in result.epochs:
        keep = scores == "all" or (scores == "last" and epoch.epoch == last)
        parts = []
        for split in epoch.splits:
            n, label = len(split.scores), labels[split.split]
            if split.samples is not None:
                label = label[split.samples]
            if split.scores.shape != (n, classes) or label.shape != (n,):
                raise ValueError(
                    f"{result.network}: scores of shape {split.scores.shape} do not fit the {split.split} split"
                )
            columns = [
                _repeated(result.network, n),
                pa.array(np.full(n, result.replicate, np.int16)),
                pa.array(np.full(n, epoch.epoch, np.int16)),
                _repeated(split.split, n),
                pa.array(np.arange(n, dtype=np.int32) if split.samples is None else split.samples.astype(np.int32)),
                pa.array(label.astype(np.int16)),
                pa.array(split.scores.argmax(axis=1).astype(np.int16)),
            ]
            if keep:
                by_class = np.ascontiguousarray(split.scores.T, dtype=np.float32)
                columns += [pa.array(by_class[c]) for c in range(classes)]
            else:
                columns += [pa.nulls(n, pa.float32())] * classes
            parts.append(pa.Table.from_arrays(columns, schema=schema))
        if parts:
            yield pa.concat_tables(parts).unify_dictionaries().combine_chunks()


def _repeated(word: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([word]))
