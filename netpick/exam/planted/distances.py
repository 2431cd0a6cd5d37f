"""How far the images of a planted exam are from its training images: hard ones farther, and the two splits alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from netpick.exam.planted.design import Design
from netpick.exam.planted.paper import Paper


def distance_rows(paper: Paper, design: Design) -> list[dict[str, Any]]:
    """Return the rows of distances.parquet, of test samples and of as many training images like them."""
    rng, n = np.random.default_rng([design.seed, 3]), len(paper.label)
    far = 0.1 * np.clip(np.nan_to_num(paper.difficulty, nan=0.0), -4, 4)
    rows = []
    for split in ("test", "train"):
        nearest = np.exp(far + 0.2 * rng.normal(size=n))
        neighbours = rng.integers(2 * n, 3 * n, n)
        rows += [
            {
                "split": split,
                "sample": i,
                "label": int(paper.label[i]),
                "nearest": float(d),
                "neighbour": int(neighbour),
            }
            for i, (d, neighbour) in enumerate(zip(nearest, neighbours, strict=True))
        ]
    return rows
