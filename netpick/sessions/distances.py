"""How far each test image is from the training images of its class, and training images from each other.

Distances are between pixels as they are trained on: the root of the mean square difference, over all pixels. They go
into `distances.parquet`; what one learns from them is the business of the questions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from netpick.data.shared import attach
from netpick.sessions.inputs import evidence, lay_out, passing_cache
from netpick.sessions.options import Options
from netpick.sessions.settle import gathered, need_trainable
from netpick.store.folder import Store

Row = dict[str, Any]
"""Of the table `distances`."""


def measure_distances(
    folder: str | Path, data_dir: str | None = None, on_note: Callable[[str], None] = lambda text: None
) -> int:
    """Write how far images of a run's data set are from training images of their class; return how many were compared.

    All test images, and of each class as many training images as it has test images (or all), drawn at random.

    Raises
    ------
    NetpickError
        The data set is missing, or is not the one that the run was made with.
    """
    store = Store.open(folder)
    need_trainable(store)
    situation = gathered(store, Options(), ["cpu"])
    with passing_cache(store), store.lock():
        inputs = lay_out(situation, situation.networks[:1], data_dir)
        evidence(situation, inputs, on_note)  # refuses another data set
        data = attach(inputs.of(situation.networks[0].recipe))
        rows = rows_of(*data["train"], *data["test"])
        store.write_distances(rows)
    return len(rows)


def rows_of(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> list[Row]:
    """Return the rows of distances.parquet; a class without another training image to compare with has none."""
    rng, rows = np.random.default_rng(0), []
    flat, asked = (images.reshape(len(images), -1) for images in (train, test))
    for label in np.unique(test_labels):
        mine, own = np.flatnonzero(train_labels == label), np.flatnonzero(test_labels == label)
        if len(mine) < 2:
            continue
        drawn = np.sort(rng.choice(len(mine), min(len(own), len(mine)), replace=False))
        near, of = _nearest(flat[mine], asked[own])
        rows += _rows("test", int(label), own, near[:, 0], mine[of[:, 0]])
        near, of = _nearest(flat[mine], flat[mine[drawn]])
        first = (of[:, 0] == drawn).astype(int)[:, None]  # itself, but where another one is the very same
        near, of = (np.take_along_axis(values, first, axis=1)[:, 0] for values in (near, of))
        rows += _rows("train", int(label), mine[drawn], near, mine[of])
    return rows


def _nearest(among: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two smallest distances of each image, and whose they are."""
    from sklearn.neighbors import NearestNeighbors

    near, of = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(among).kneighbors(images)
    return near / np.sqrt(images.shape[1]), of


def _rows(split: str, label: int, samples: np.ndarray, near: np.ndarray, of: np.ndarray) -> list[Row]:
    return [
        {"split": split, "sample": int(s), "label": label, "nearest": float(d), "neighbour": int(n)}
        for s, d, n in zip(samples, near, of, strict=True)
    ]
