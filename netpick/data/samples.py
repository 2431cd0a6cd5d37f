"""Samples as plain arrays: a split of a data set, the data set as a whole, and what can be done with either.

Choosing samples, normalising them, and writing them down as rows with pictures. Nothing is read here.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from netpick.core.errors import DataError, listed
from netpick.core.result import LEFT_OUT


@dataclass(frozen=True, eq=False)
class Split:
    """Some samples of a data set, in the order of its files.

    `pixels` is (N, C, H, W), raw: uint8 from 0 to `pixel_max`, or float32 of any range, whose `pixel_max` is 1.
    `labels` is (N,) int64; `index` (N,) int32: the sample's position in the files of the part that it was taken from
    (for digits: among scikit-learn's 1797 samples; for a folder: among the part's images, by class and name).
    """

    pixels: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    pixel_max: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    def normalised(self, mean: Iterable[float], std: Iterable[float]) -> np.ndarray:
        """Return (pixels / pixel_max - mean) / std as contiguous float32 (N, C, H, W); one mean and std a channel."""
        if self.pixels.dtype != np.uint8:
            out = np.empty(self.pixels.shape, np.float32)
            for channel, (m, s) in enumerate(zip(mean, std, strict=True)):
                for start in range(0, len(self), 4096):
                    span = slice(start, start + 4096)
                    out[span, channel] = (self.pixels[span, channel].astype(np.float64) - m) / s
            return out
        # There are at most 256 different values a channel: a table makes one pass over the samples of all arithmetic.
        levels = np.arange(self.pixel_max + 1) / self.pixel_max
        out = np.empty(self.pixels.shape, np.float32)
        for channel, (m, s) in enumerate(zip(mean, std, strict=True)):
            out[:, channel] = ((levels - m) / s).astype(np.float32)[self.pixels[:, channel]]
        return out

    def take(self, positions: np.ndarray) -> Split:
        """Return the samples at these positions of this split."""
        return Split(self.pixels[positions], self.labels[positions], self.index[positions], self.pixel_max)

    def without(self, positions: np.ndarray) -> Split:
        """Return the samples at all other positions."""
        return self.take(np.setdiff1d(np.arange(len(self)), positions))

    def by_class(self, named: bool) -> Split:
        """Return the samples class after class, in each by the names of their files as text.

        Samples that are `named` are in the order of names already, as the images of a folder. Others are files of the
        name of their number, as in a folder that such a data set was unpacked into: 10 comes before 2.
        """
        names = self.index if named else self.index.astype(str)
        return self.take(np.lexsort((names, self.labels)))

    def only(self, labels: Sequence[int]) -> Split:
        """Return the samples that have one of these labels, which are numbered anew, from 0, in the order given."""
        numbers = np.full(max(*labels, int(self.labels.max(initial=0))) + 1, -1, np.int64)
        numbers[list(labels)] = np.arange(len(labels))
        kept = self.take(np.flatnonzero(numbers[self.labels] >= 0))
        return Split(kept.pixels, numbers[kept.labels], kept.index, kept.pixel_max)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A loaded data set: its splits "train", "test" and, where asked for, "validation".

    `mean` and `std`, one a channel, are of pixels scaled to 0..1, over *all* images of the data set's own training
    part: before a validation split or `train_samples` is taken from it, and without any test image. So they depend
    on the data set and the classes that are kept (MNIST: its 60,000 training images, 0.1307 and 0.3081); for digits,
    which has no test part of its own, they are of the 80 % that the seed makes its training part. `left_out` counts the
    images of a folder that can't be read. `folds` has the fold of each training sample, where they are cut into such;
    they are then the split "left_out" too.
    """

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: dict[str, Split]
    normalize: str = "standard"
    left_out: int = 0
    folds: np.ndarray | None = None

    def inputs(self, split: str) -> np.ndarray:
        """Return a split's images as networks take them: contiguous float32 (N, C, H, W)."""
        if self.normalize == "unit":
            return self.split(split).normalised([0.0] * len(self.mean), [1.0] * len(self.std))
        # A channel that never changes has no deviation to divide by; it becomes 0 everywhere.
        return self.split(split).normalised(self.mean, [s or 1.0 for s in self.std])

    def split(self, name: str) -> Split:
        """Return a split by its name, or raise a `DataError` that lists the names."""
        if name == LEFT_OUT and self.folds is not None:
            return self.splits["train"]
        if name not in self.splits:
            raise DataError(f"data set '{self.name}' has no split '{name}' here: give one of {listed(self.splits)}")
        return self.splits[name]


def shares(sizes: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """Return how many of `count` samples fall to each class, by its size, each within one sample of its share."""
    takes, rest = np.divmod(np.asarray(sizes) * count, np.sum(sizes))
    # Whole samples first; those left over go to the classes with the largest remainders, lower numbers first.
    takes[np.argsort(-rest, kind="stable")[: count - takes.sum()]] += 1
    return takes


def stratified(labels: np.ndarray, count: int, seed: int, purpose: int) -> np.ndarray:
    """Choose `count` positions, each class within one sample of its share; sorted, and the same on any machine."""
    takes = shares(np.bincount(labels), count)
    # RandomState, not Generator: numpy promises that its stream never changes. `purpose` keeps choices independent.
    random = np.random.RandomState([seed, purpose])
    chosen = [random.permutation(np.flatnonzero(labels == c))[:take] for c, take in enumerate(takes)]
    return np.sort(np.concatenate(chosen))


def channel_statistics(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation (of the population) of each channel's pixels; of uint8, scaled to 0..1."""
    means, stds = [], []
    if split.pixels.dtype != np.uint8:
        for channel in range(split.pixels.shape[1]):
            values = split.pixels[:, channel].astype(np.float64)
            means.append(float(values.mean()))
            stds.append(float(values.std()))
        return tuple(means), tuple(stds)
    for channel in range(split.pixels.shape[1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(split), 4096):  # bincount makes 8 bytes of each pixel: not of all at once
            counts += np.bincount(split.pixels[start : start + 4096, channel].ravel(), minlength=256)
        # Python's integers: exact, hence the same on every machine.
        n = int(counts.sum())
        first = sum(k * int(c) for k, c in enumerate(counts))
        second = sum(k * k * int(c) for k, c in enumerate(counts))
        means.append(first / (n * split.pixel_max))
        stds.append((n * second - first * first) ** 0.5 / (n * split.pixel_max))
    return tuple(means), tuple(stds)


def _shown_range(dataset: Dataset) -> tuple[float, float]:
    """Return which floating point pixels are shown as black and white: 0 and 1 or 255 if that holds all, else ends."""
    low = float(min(split.pixels.min() for split in dataset.splits.values()))
    high = float(max(split.pixels.max() for split in dataset.splits.values()))
    if low >= 0:
        return (0.0, 1.0) if high <= 1 else (0.0, 255.0) if high <= 255 else (low, high)
    return low, high


def sample_rows(dataset: Dataset, splits: Iterable[str]) -> Iterator[dict[str, object]]:
    """Yield a row a sample, as samples.parquet keeps it, with its image as PNG bytes.

    Raises
    ------
    DataError
        The data set has no such split.
    """
    from PIL import Image

    for name in splits:
        split, folds = dataset.split(name), dataset.folds if name == LEFT_OUT else None
        # (N, H, W) for Pillow's grey images, (N, H, W, 3) for its colour images.
        pixels = split.pixels[:, 0] if dataset.shape[0] == 1 else split.pixels.transpose(0, 2, 3, 1)
        low, high = (0.0, split.pixel_max) if split.pixels.dtype == np.uint8 else _shown_range(dataset)
        if pixels.dtype != np.uint8 or high != 255:
            pixels = np.round((pixels.clip(low, high) - low) * (255 / ((high - low) or 1))).astype(np.uint8)
        for sample, image in enumerate(np.ascontiguousarray(pixels)):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            label = int(split.labels[sample])
            yield {
                "split": name,
                "sample": sample,
                "index": int(split.index[sample]),
                "label": label,
                "class_name": dataset.classes[label],
                "image": png.getvalue(),
                **({} if folds is None else {"fold": int(folds[sample])}),
            }
