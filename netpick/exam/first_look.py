"""What a data set looks like before any network sees it: classes, sizes, pixels, and samples that are in two parts.

Takes the arrays of a data set, wherever they are from; nothing is read here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from netpick.core.words import counted_word, percent
from netpick.exam.answer import Answer
from netpick.exam.theme import WIDTH, finish, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS, CLASSES = 12, 20
"""Images of a class, and classes, of the figure."""

NAMED = 5
"""Duplicates that are named."""


class Data(Protocol):
    """A data set: its parts by name, each with `pixels` (N, C, H, W), `labels` (N,) and `pixel_max`, which is white."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes, by label."""

    @property
    def splits(self) -> Mapping[str, Any]:
        """Its parts, of which `train` and `test` are two."""


def look(data: Data) -> Answer:
    """Describe a data set; the table has a row a class: images in each part, share, mean and deviation of the pixels.

    Pixels are scaled to 0 to 1, but for floating point ones, which stay as they are.
    """
    parts, train = data.splits, data.splits["train"]
    counts = {part: np.bincount(split.labels, minlength=len(data.classes)) for part, split in parts.items()}
    scale = train.pixel_max if train.pixels.dtype == np.uint8 else 1
    moments = [_moments(train.pixels[train.labels == c] / scale) for c in range(len(data.classes))]
    table = pd.DataFrame({"class": data.classes, **counts, "share": counts["train"] / len(train.labels)})
    table = table.assign(**{"mean": [m for m, _ in moments], "deviation": [d for _, d in moments]})
    text = [
        _sizes(data),
        _pixels(train, scale),
        _balance(data.classes, counts["train"]),
        _duplicates(train, parts["test"]),
    ]
    return Answer(table, " ".join(text), partial(_draw, data), shares=("share",))


def _moments(values: np.ndarray) -> tuple[float, float]:
    return (float(values.mean()), float(values.std())) if values.size else (float("nan"), float("nan"))


def _sizes(data: Data) -> str:
    channels, height, width = data.splits["train"].pixels.shape[1:]
    form = {1: "grey", 3: "in colour"}.get(channels, f"of {channels} channels")
    each = ", ".join(f"{len(split.labels):,} {part}" for part, split in data.splits.items())
    return f"{data.name}: {each} images, each {height}×{width} and {form}, in {len(data.classes)} classes."


def _pixels(train: Any, scale: int) -> str:
    channels = [_moments(train.pixels[:, c] / scale) for c in range(train.pixels.shape[1])]
    mean, deviation = (", ".join(f"{values[i]:.4f}" for values in channels) for i in range(2))
    low, high = train.pixels.min(), train.pixels.max()
    return f"Pixels are {low:g} to {high:g}{_scaled(scale)} their mean is {mean}, their deviation {deviation}."


def _scaled(scale: int) -> str:
    return ";" if scale == 1 else f" of {scale}; scaled to 0 to 1"


def _balance(classes: tuple[str, ...], counts: np.ndarray) -> str:
    most, least = int(counts.argmax()), int(counts.argmin())
    times = f": {counts[most] / counts[least]:.2f} times as many" if counts[least] else ""
    fewest = f"{classes[least]} fewest, {counts[least]:,}{times}"
    return f"{classes[most]} has most images to train on, {counts[most]:,}, {fewest}."


def _duplicates(train: Any, test: Any) -> str:
    """Say which test images are in the training part too, pixel by pixel."""
    first: dict[bytes, int] = {}
    for number, image in enumerate(train.pixels):
        first.setdefault(_digest(image), number)
    found = [(number, first.get(_digest(image))) for number, image in enumerate(test.pixels)]
    twice = [(number, other) for number, other in found if other is not None]
    if not twice:
        return "No test image is in the training part too."
    named = ", ".join(f"{number} (training {other})" for number, other in twice[:NAMED])
    others = sum(test.labels[number] != train.labels[other] for number, other in twice)
    share = percent(len(twice) / len(test.labels))
    more = f", {others} of them with another label" if others else ""
    many = ", the first ones" if len(twice) > NAMED else ""
    images = f"{'is' if len(twice) == 1 else 'are'} {counted_word(len(twice), 'test image')} ({share})"
    return f"In the training part too, pixel by pixel, {images}{more}{many}: {named}."


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()


def _draw(data: Data) -> Figure:
    """Draw a row a class, of the first images to train on."""
    from matplotlib.figure import Figure

    train, classes = data.splits["train"], range(min(len(data.classes), CLASSES))
    low, high = float(train.pixels.min()), float(train.pixels.max())
    side = WIDTH / (ACROSS + 2)
    fig = Figure(figsize=(WIDTH, side * len(classes) + 0.9))
    axes = fig.subplots(len(classes), ACROSS, squeeze=False)
    for row in classes:
        images = train.pixels[np.flatnonzero(train.labels == row)[:ACROSS]]
        axes[row, 0].set_title(plain(data.classes[row]), loc="left", fontsize=8, pad=2)
        for column, ax in enumerate(axes[row]):
            ax.set_axis_off()
            if column < len(images):
                shown = (images[column].astype(float) - low) / ((high - low) or 1)
                grey = shown.shape[0] != 3
                ax.imshow(shown[0] if grey else shown.transpose(1, 2, 0), cmap="gray_r", vmin=0, vmax=1)
    return finish(fig, f"{data.name}: the first images of each class")
