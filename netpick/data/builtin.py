"""The data sets that netpick knows by name: what there is, where the files lie, and how they are read and checked.

Files are read, and where they are missing downloaded, by torchvision's own classes; scikit-learn brings `digits`.
torchvision and scikit-learn are imported only in the functions that read. What is done with the samples is the business
of `loading`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from netpick.core.errors import DataError, listed
from netpick.core.torchvision_import import torchvision_datasets
from netpick.data.samples import Split

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


_MNIST_TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)


def train_counts(name: str, seed: int) -> list[int]:
    """Return the number of training samples of each class; as published, so that no file is needed."""
    source = DATASETS[name]
    if source.torchvision is None:
        return np.bincount(_read_digits(seed)["train"].labels).tolist()
    if name in ("mnist", "qmnist"):  # QMNIST's training part is MNIST's
        return list(_MNIST_TRAIN)
    return [source.train // len(source.classes)] * len(source.classes)


def read_builtin(name: str, data_dir: str, seed: int) -> dict[str, Split]:
    """Read both parts of a data set of the table, "train" and "test", and check them.

    Downloads, by torchvision, only what is missing. `seed` splits digits, which has no test part of its own.

    Raises
    ------
    DataError
        Files are missing and can't be downloaded, are truncated or corrupt.
    """
    source = DATASETS[name]
    parts = _read_digits(seed) if source.torchvision is None else _read_torchvision(name, data_dir)
    for part, split in parts.items():
        _check(name, part, split, source)
    return parts


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


def _read_torchvision(name: str, data_dir: str) -> dict[str, Split]:
    """Read both parts by torchvision's class, which downloads them if files are missing."""
    source = DATASETS[name]
    maker = getattr(torchvision_datasets(), str(source.torchvision))
    folder = Path(data_dir, source.folder)
    present = [folder / file for file in source.files if os.path.isfile(folder / file)]
    missing = [file for file in source.files if folder / file not in present]
    for path in present:
        _check_idx_file(path, source.shape)
    try:
        return {part: _arrays(maker(data_dir, train=part == "train")) for part in ("train", "test")}
    except Exception as error:
        if not missing:
            raise _corrupt(name, data_dir, maker, error) from error
    absent = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        with _quiet_download():
            return {part: _arrays(maker(data_dir, train=part == "train", download=True)) for part in ("train", "test")}
    except Exception as error:
        archive = "as cifar-10-python.tar.gz beside the folder" if name == "cifar10" else "with .gz at the end"
        raise DataError(
            f"data set '{name}' is not in {data_dir}: missing {listed(missing)} in {folder}"
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


def _corrupt(name: str, data_dir: str, maker: Any, error: Exception) -> DataError:
    """Say which file is to blame for an error of torchvision's, where all files are there."""
    folder = Path(data_dir, DATASETS[name].folder)
    sums = [*getattr(maker, "train_list", ()), *getattr(maker, "test_list", ())]
    if isinstance(meta := getattr(maker, "meta", None), dict):
        sums.append((meta["filename"], meta["md5"]))
    for file, expected in sums:
        digest = hashlib.md5((folder / file).read_bytes(), usedforsecurity=False).hexdigest()
        if digest != expected:
            return DataError(f"{folder / file} is corrupt: its MD5 sum is {digest}, expected {expected}; {_AGAIN}")
    return DataError(
        f"cannot read data set '{name}' in {folder}: {_line(error)}; delete its files there and give the"
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


def _line(error: BaseException) -> str:
    """Return an error in one line: its class and the beginning of what it says."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
