"""Data sets as plain arrays: what there is, where it lies, and how it is split.

A `DataRequest` is all that it takes to get the very same arrays in another process or on another machine. Files are
read, and where they are missing downloaded, by torchvision's own classes; scikit-learn brings `digits`. torch,
torchvision and scikit-learn are imported only in the functions that read. This module knows nothing of networks,
batches or devices.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from netpick.errors import DataError, listed, suggest
from netpick.torchvision_import import torchvision_datasets

_DIGITS = tuple("0123456789")
_GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_GREY = (1, 28, 28)

_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_QMNIST = tuple(f"qmnist-{p}-{k}" for p in ("train", "test") for k in ("images-idx3-ubyte", "labels-idx2-int"))
_CIFAR = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")


class Source(NamedTuple):
    """A row of `DATASETS`: `train` and `test` are the published counts, `files` where torchvision wants them."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train: int
    test: int
    torchvision: str | None
    folder: str = ""
    files: tuple[str, ...] = ()


DATASETS: dict[str, Source] = {
    "digits": Source((1, 8, 8), _DIGITS, 1437, 360, None),
    "mnist": Source(_GREY, _DIGITS, 60000, 10000, "MNIST", "MNIST/raw", _IDX),
    "fashion-mnist": Source(_GREY, _GARMENTS, 60000, 10000, "FashionMNIST", "FashionMNIST/raw", _IDX),
    "kmnist": Source(_GREY, _KANA, 60000, 10000, "KMNIST", "KMNIST/raw", _IDX),
    "qmnist": Source(_GREY, _DIGITS, 60000, 60000, "QMNIST", "QMNIST/raw", _QMNIST),
    "cifar10": Source((3, 32, 32), _THINGS, 50000, 10000, "CIFAR10", "cifar-10-batches-py", _CIFAR),
}

NORMALIZATIONS = ("standard", "unit")


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set without its files: the shape is (channels, height, width)."""

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train_count: int
    test_count: int


def describe(name: str) -> DataInfo:
    """Return a data set's description; no file is needed.

    Raises
    ------
    DataError
        There is no data set of this name.
    """
    if name not in DATASETS:
        raise DataError(f"unknown data set '{name}'{suggest(name, DATASETS)}: give one of {listed(DATASETS)}")
    source = DATASETS[name]
    return DataInfo(name, source.shape, source.classes, source.train, source.test)


def data_dir(option: str | None = None) -> str:
    """Return the directory of the data sets: the option, else $NETPICK_DATA, else ./data."""
    return os.path.expanduser(option or os.environ.get("NETPICK_DATA") or "./data")


@dataclass(frozen=True)
class DataRequest:
    """Which arrays are wanted. Plain and picklable: the same request gives the same arrays everywhere.

    Parameters
    ----------
    name
        A name of `DATASETS`.
    data_dir
        Directory in torchvision's layout; see the function `data_dir`. Not used for digits.
    seed
        0 to 2**32 - 1: decides the test split of digits, the validation split and the subset of `train_samples`.
    train_samples
        Train on a stratified subset of this many samples; None for all.
    validation
        Share of the training part, in [0, 1), that becomes the split "validation"; taken before `train_samples`.
    normalize
        "standard": mean 0 and standard deviation 1 a channel, as measured on the training part; "unit": 0 to 1.

    Raises
    ------
    DataError
        A value is not allowed.
    """

    name: str
    data_dir: str
    seed: int = 0
    train_samples: int | None = None
    validation: float = 0.0
    normalize: str = "standard"

    def __post_init__(self) -> None:
        describe(self.name)
        if not 0 <= self.seed < 2**32:
            raise DataError(f"seed of the data is {self.seed}: give a whole number from 0 to {2**32 - 1}")
        if self.train_samples is not None and self.train_samples < 1:
            raise DataError(f"train_samples is {self.train_samples}: give 1 or more, or leave it out for all")
        if not 0 <= self.validation < 1:
            raise DataError(f"validation is {self.validation}: give a share of the training part, 0 or more, below 1")
        if self.normalize not in NORMALIZATIONS:
            hint = suggest(self.normalize, NORMALIZATIONS)
            raise DataError(f"normalize is '{self.normalize}'{hint}: give one of {listed(NORMALIZATIONS)}")


@dataclass(frozen=True, eq=False)
class Split:
    """Some samples of a data set, in the order of its files.

    `pixels` is (N, C, H, W) uint8, raw, 0 to `pixel_max`; `labels` (N,) int64; `index` (N,) int32: the sample's
    position in the files of the part that it was taken from (for digits: among scikit-learn's 1797 samples).
    """

    pixels: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    pixel_max: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    def normalised(self, mean: Iterable[float], std: Iterable[float]) -> np.ndarray:
        """Return (pixels / pixel_max - mean) / std as contiguous float32 (N, C, H, W); one mean and std a channel."""
        # There are at most 256 different values a channel: a table makes one pass over the samples of all arithmetic.
        levels = np.arange(self.pixel_max + 1) / self.pixel_max
        out = np.empty(self.pixels.shape, np.float32)
        for channel, (m, s) in enumerate(zip(mean, std, strict=True)):
            out[:, channel] = ((levels - m) / s).astype(np.float32)[self.pixels[:, channel]]
        return out

    def take(self, positions: np.ndarray) -> Split:
        """Return the samples at these positions of this split."""
        return Split(self.pixels[positions], self.labels[positions], self.index[positions], self.pixel_max)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A loaded data set: its splits "train", "test" and, where asked for, "validation".

    `mean` and `std`, one a channel, are of pixels scaled to 0..1, over *all* images of the data set's own training
    part: before a validation split or `train_samples` is taken from it, and without any test image. So they depend
    on the data set alone (MNIST: its 60,000 training images, 0.1307 and 0.3081); for digits, which has no test part
    of its own, they are of the 80 % that the seed makes its training part.
    """

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: dict[str, Split]
    normalize: str = "standard"

    def inputs(self, split: str) -> np.ndarray:
        """Return a split's images as networks take them: contiguous float32 (N, C, H, W)."""
        if self.normalize == "unit":
            return self.split(split).normalised([0.0] * len(self.mean), [1.0] * len(self.std))
        # A channel that never changes has no deviation to divide by; it becomes 0 everywhere.
        return self.split(split).normalised(self.mean, [s or 1.0 for s in self.std])

    def split(self, name: str) -> Split:
        """Return a split by its name, or raise a `DataError` that lists the names."""
        if name not in self.splits:
            raise DataError(f"data set '{self.name}' has no split '{name}' here: give one of {listed(self.splits)}")
        return self.splits[name]


def load(request: DataRequest) -> Dataset:
    """Read a data set, check it, and split it.

    Downloads, by torchvision, only what is missing.

    Raises
    ------
    DataError
        Files are missing and can't be downloaded, are truncated or corrupt, or are too few for what is asked.
    """
    source = DATASETS[request.name]
    parts = _read_digits(request.seed) if source.torchvision is None else _read_torchvision(request)
    for part, split in parts.items():
        _check(request.name, part, split, source)
    train = parts["train"]
    mean, std = _channel_statistics(train)
    splits = {"train": train, "test": parts["test"]}
    if request.validation > 0:
        count = round(request.validation * len(train))
        if not 0 < count < len(train):
            raise DataError(
                f"validation is {request.validation}: this share of {len(train)} leaves a split empty; change it"
            )
        held_out = _stratified(train.labels, count, request.seed, purpose=1)
        splits["validation"] = train.take(held_out)
        train = train.take(np.setdiff1d(np.arange(len(train)), held_out))
    if request.train_samples is not None:
        if request.train_samples > len(train):
            raise DataError(
                f"train_samples is {request.train_samples}: '{request.name}' has {len(train)} to train on; give fewer"
            )
        train = train.take(_stratified(train.labels, request.train_samples, request.seed, purpose=2))
    splits["train"] = train
    return Dataset(request.name, source.shape, source.classes, mean, std, splits, request.normalize)


# Reading


def _read_digits(seed: int) -> dict[str, Split]:
    """Return scikit-learn's handwritten digits, 80 % and 20 %, stratified."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    whole = Split(
        digits.images.astype(np.uint8)[:, None],
        digits.target.astype(np.int64),
        np.arange(len(digits.target), dtype=np.int32),
        pixel_max=16,
    )
    train, test = train_test_split(whole.index, test_size=0.2, stratify=whole.labels, random_state=seed)
    # In file order: training shuffles anyway, and a person finds a sample again.
    return {"train": whole.take(np.sort(train)), "test": whole.take(np.sort(test))}


def _read_torchvision(request: DataRequest) -> dict[str, Split]:
    """Read both parts by torchvision's class, which downloads them if files are missing."""
    source = DATASETS[request.name]
    maker = getattr(torchvision_datasets(), str(source.torchvision))
    folder = Path(request.data_dir, source.folder)
    present = [folder / file for file in source.files if (folder / file).is_file()]
    missing = [file for file in source.files if folder / file not in present]
    for path in present:
        _check_idx_file(path, source.shape)
    try:
        return {part: _arrays(maker(request.data_dir, train=part == "train")) for part in ("train", "test")}
    except Exception as error:
        if not missing:
            raise _corrupt(request, maker, error) from error
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with _quiet_download():
            return {
                part: _arrays(maker(request.data_dir, train=part == "train", download=True))
                for part in ("train", "test")
            }
    except Exception as error:
        archive = "as cifar-10-python.tar.gz beside the folder" if request.name == "cifar10" else "with .gz at the end"
        raise DataError(
            f"data set '{request.name}' is not in {request.data_dir}: missing {listed(missing)} in {folder}"
            f" (or {archive}), and the download failed ({_line(error)}); put the files there, or name their"
            " directory with --data-dir or NETPICK_DATA, or take the data set 'digits', which needs no download"
        ) from error
    finally:
        for path in absent:  # torchvision leaves empty folders behind when a download fails
            with contextlib.suppress(OSError):  # not empty, or never made
                path.rmdir()


def _arrays(dataset: Any) -> Split:
    """Turn a torchvision data set, whatever way it keeps its samples, into one split."""
    pixels = np.asarray(dataset.data)
    labels = np.asarray(dataset.targets, dtype=np.int64)
    if labels.ndim == 2:  # QMNIST keeps writer and form numbers as well; the class comes first
        labels = labels[:, 0]
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return Split(
        np.ascontiguousarray(pixels),
        np.ascontiguousarray(labels),
        np.arange(len(labels), dtype=np.int32),
        pixel_max=255,
    )


@contextlib.contextmanager
def _quiet_download(seconds: float = 5.0) -> Iterator[None]:
    """Silence torchvision's progress, and give up on a network that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


# Checking

_AGAIN = "delete it and give the command again to download it, or put the original file there"


def _check_idx_file(path: Path, shape: tuple[int, int, int]) -> None:
    """Compare a file's size with what its header promises.

    torchvision parses these files; all that it says of a truncated one is that a shape does not fit.
    """
    kinds = {"images-idx3-ubyte": (0x803, 1), "labels-idx1-ubyte": (0x801, 1), "labels-idx2-int": (0xC02, 4)}
    kind = next((kinds[k] for k in kinds if path.name.endswith(k)), None)
    if kind is None:
        return
    magic, item = kind
    ndim = magic & 0xFF
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = [int.from_bytes(file.read(4), "big") for _ in range(1 + ndim)]
    except OSError as error:
        raise DataError(f"cannot read {path}: {_line(error)}; make it readable, or give another --data-dir") from error
    start = 4 * (1 + ndim)
    if size < start:
        raise DataError(f"{path} is truncated: it has {size} bytes, fewer than its header of {start}; {_AGAIN}")
    if header[0] != magic:
        raise DataError(f"{path} is corrupt: it begins with 0x{header[0]:08x}, expected 0x{magic:08x}; {_AGAIN}")
    if ndim == 3 and tuple(header[2:]) != shape[1:]:
        got, want = "×".join(map(str, header[2:])), "×".join(map(str, shape[1:]))
        raise DataError(f"{path} is corrupt: its images are {got} pixels, expected {want}; {_AGAIN}")
    expected = start + item * int(np.prod([int(d) for d in header[1:]], dtype=object))
    if size != expected:
        word = "truncated" if size < expected else "corrupt"
        raise DataError(
            f"{path} is {word}: it has {size} bytes, and its header, for {header[1]} samples, says {expected}; {_AGAIN}"
        )


def _corrupt(request: DataRequest, maker: Any, error: Exception) -> DataError:
    """Say which file is to blame for an error of torchvision's, where all files are there."""
    folder = Path(request.data_dir, DATASETS[request.name].folder)
    sums = [*getattr(maker, "train_list", ()), *getattr(maker, "test_list", ())]
    if isinstance(meta := getattr(maker, "meta", None), dict):
        sums.append((meta["filename"], meta["md5"]))
    for file, expected in sums:
        found = hashlib.md5((folder / file).read_bytes(), usedforsecurity=False).hexdigest()
        if found != expected:
            return DataError(f"{folder / file} is corrupt: its MD5 sum is {found}, expected {expected}; {_AGAIN}")
    return DataError(
        f"cannot read data set '{request.name}' in {folder}: {_line(error)}; delete its files there and give the"
        " command again to download them"
    )


def _check(name: str, part: str, split: Split, source: Source) -> None:
    """Check what was read: the parts fit each other and the table, whatever the files' headers said."""
    where = f"the {part} part of '{name}'"
    if split.pixels.dtype != np.uint8 or split.pixels.shape[1:] != source.shape:
        got = f"{split.pixels.dtype} {split.pixels.shape[1:]}"
        raise DataError(f"{where} is corrupt: its images are {got}, expected uint8 {source.shape}; delete its files")
    if len(split.pixels) != len(split.labels):
        raise DataError(
            f"{where} is corrupt: {len(split.pixels)} images and {len(split.labels)} labels, expected as many of each;"
            " its files are not from the same data set: delete them"
        )
    if len(split) == 0:
        raise DataError(f"{where} is corrupt: it holds no samples; delete its files and give the command again")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= len(source.classes):
        raise DataError(
            f"{where} is corrupt: its labels go from {low} to {high}, expected 0 to {len(source.classes) - 1}; delete"
            " its file of labels and give the command again"
        )


# Splitting


def _stratified(labels: np.ndarray, count: int, seed: int, purpose: int) -> np.ndarray:
    """Choose `count` positions, each class within one sample of its share; sorted, and the same on any machine."""
    sizes = np.bincount(labels)
    takes, rest = np.divmod(sizes * count, len(labels))
    # Whole samples first; those left over go to the classes with the largest remainders, lower numbers first.
    takes[np.argsort(-rest, kind="stable")[: count - takes.sum()]] += 1
    # RandomState, not Generator: numpy promises that its stream never changes. `purpose` keeps choices independent.
    random = np.random.RandomState([seed, purpose])
    chosen = [random.permutation(np.flatnonzero(labels == c))[:take] for c, take in enumerate(takes)]
    return np.sort(np.concatenate(chosen))


def _channel_statistics(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation (of the population) of each channel's pixels, scaled to 0..1."""
    means, stds = [], []
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


# Samples as a table


def sample_rows(dataset: Dataset, splits: Iterable[str]) -> Iterator[dict[str, object]]:
    """Yield a row a sample, as samples.parquet keeps it: split, sample, index, label, class_name, image (PNG bytes).

    Raises
    ------
    DataError
        The data set has no such split.
    """
    from PIL import Image

    for name in splits:
        split = dataset.split(name)
        # (N, H, W) for Pillow's grey images, (N, H, W, 3) for its colour images.
        pixels = split.pixels[:, 0] if dataset.shape[0] == 1 else split.pixels.transpose(0, 2, 3, 1)
        if split.pixel_max != 255:
            pixels = np.round(pixels * (255 / split.pixel_max)).astype(np.uint8)
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
            }


def _line(error: BaseException) -> str:
    """Return an error in one line: its class and the beginning of what it says."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
