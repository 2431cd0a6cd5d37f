"""Small folders of images, for the tests of data of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def grey(seed: int, height: int = 6, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def rgb(seed: int, height: int = 6, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_folder(
    root: Path, classes=("boot", "bag"), train: int = 6, test: int = 3, make=grey
) -> dict[str, np.ndarray]:
    """Write train/CLASS/N.png and test/CLASS/N.png; returns the pixels by path below the root."""
    written = {}
    for part, count in (("train", train), ("test", test)):
        for at, name in enumerate(classes):
            for i in range(count):
                pixels = make(1000 * at + 100 * (part == "test") + i)
                write_image(root / part / name / f"{i}.png", pixels)
                written[f"{part}/{name}/{i}.png"] = pixels
    return written


def write_flat(root: Path, counts: dict[str, int], make=grey) -> None:
    """Write CLASS/NNN.png, without train and test."""
    for at, (name, count) in enumerate(counts.items()):
        for i in range(count):
            write_image(root / name / f"{i:03}.png", make(1000 * at + i))
