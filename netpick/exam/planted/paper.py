"""The samples of a planted exam: which follow the model, which are of a special kind, and how they look."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np

KINDS = ("easy", "weird", "confusing", "mislabelled", "forgotten", "late", "specialist")


@dataclass(frozen=True)
class Paper:
    """The samples of one split: kind ("" follows the model), labels, parameters, and the answers that mislead.

    `fold` is that of each sample where each network answers one fold alone.
    """

    kind: np.ndarray
    label: np.ndarray
    true_label: np.ndarray
    distractor: np.ndarray
    difficulty: np.ndarray
    discrimination: np.ndarray
    fold: np.ndarray | None = None

    @classmethod
    def draw(cls, rng: np.random.Generator, n: int, classes: int, shares: Mapping[str, float]) -> Paper:
        """Draw `n` samples, of each kind its share."""
        kind = np.full(n, "", dtype="U11")
        free = rng.permutation(n)
        for name, share in shares.items():
            count = max(1, round(share * n)) if share else 0
            kind[free[:count]], free = name, free[count:]
        true_label = rng.permutation(np.arange(n) % classes)
        distractor = (true_label + rng.integers(1, classes, n)) % classes
        wrong = kind == "mislabelled"
        label = np.where(wrong, distractor, true_label)
        distractor = np.where(wrong, true_label, distractor)
        follows = kind == ""
        # The hardest is still right for a fifth of average good networks (θ about 4): hard, and not weird.
        difficulty = np.where(follows, -1.5 + 5.7 * rng.beta(1.5, 3.0, n), np.nan)
        discrimination = np.where(follows, np.exp(rng.uniform(math.log(0.8), math.log(2.2), n)), np.nan)
        return cls(kind, label, true_label, distractor, difficulty, discrimination)

    def cut(self, folds: int) -> Paper:
        """Return the paper cut into folds, class by class."""
        fold = np.empty(len(self.label), int)
        fold[np.argsort(self.label, kind="stable")] = np.arange(len(fold)) % folds
        return replace(self, fold=fold)

    def take(self, numbers: np.ndarray) -> Paper:
        """Return some of its samples."""
        return Paper(*(None if part is None else part[numbers] for part in vars(self).values()))  # type: ignore[arg-type]


def sample_rows(
    rng: np.random.Generator, papers: Mapping[str, Paper], shape: Sequence[int], classes: int
) -> Iterator[dict[str, Any]]:
    """Yield the rows of samples.parquet, with an image each: the pattern of its true class, with noise."""
    from PIL import Image

    channels, height, width = shape
    patterns = rng.integers(0, 2, (classes, height, width)) * 170
    for split, paper in papers.items():
        for j, (label, true_label) in enumerate(zip(paper.label.tolist(), paper.true_label, strict=True)):
            pixels = np.clip(patterns[true_label] + rng.integers(0, 80, (height, width)), 0, 255).astype(np.uint8)
            file = BytesIO()
            Image.fromarray(np.stack([pixels] * 3, axis=-1) if channels == 3 else pixels).save(file, "png")
            row = {"split": split, "sample": j, "index": j, "label": label, "class_name": str(label)}
            row["fold"] = None if paper.fold is None else int(paper.fold[j])
            yield {**row, "image": file.getvalue()}
