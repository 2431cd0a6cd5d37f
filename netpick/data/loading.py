"""Data sets as plain arrays: which one is wanted, which of its classes, and how it is split.

A `DataRequest` is all that it takes to get the very same arrays in another process or on another machine. How data
sets are read is said in `builtin_data` (those of the table) and `own_data` (one's own). This module knows nothing of
networks, batches or devices.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netpick.core.errors import DataError, listed, suggest
from netpick.data import builtin as builtin_data
from netpick.data import image_folder
from netpick.data import own as own_data
from netpick.data.builtin import DATASETS as DATASETS
from netpick.data.image_decoding import Report
from netpick.data.own import locate, own_kind
from netpick.data.samples import Dataset as Dataset
from netpick.data.samples import Split as Split
from netpick.data.samples import channel_statistics, shares, stratified
from netpick.data.samples import sample_rows as sample_rows

NORMALIZATIONS = ("standard", "unit")
MAX_SIDE = 4096
TEST_SHARE = 0.2
"""Of one's own samples that come without a test part of their own."""


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set without reading it: the shape is (channels, height, width).

    The training samples are those of the classes that are wanted; so are the test samples of one's own data, while
    those of a data set of the table are all of it.
    """

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train_count: int
    test_count: int


def describe(wanted: DataRequest | str) -> DataInfo:
    """Return a data set's description, with the classes that are asked for.

    Of a data set of the table no file is needed; of one's own data the headers and the labels are read.

    Raises
    ------
    DataError
        There is no data set of this name, no such class, or one's own data are not as they should be.
    """
    request = DataRequest(wanted, data_dir()) if isinstance(wanted, str) else wanted
    name = request.name
    if own_kind(name):
        shape, classes, counts = own_data.describe(name, request.data_dir, request.image_options)
        chosen = chosen_classes(request.classes, classes, name)
        if "whole" in counts:
            taken = shares(counts["whole"], round(TEST_SHARE * sum(counts["whole"])))
            counts = {"train": np.subtract(counts["whole"], taken).tolist(), "test": taken.tolist()}
        train, test = (sum(counts[part][c] for c in chosen) for part in ("train", "test"))
    else:
        source = DATASETS[name]
        shape, classes, train, test = source.shape, source.classes, source.train, source.test
        chosen = chosen_classes(request.classes, classes, name)
        if request.classes is not None:
            by_class = builtin_data.train_counts(name, request.seed)
            train = sum(by_class[c] for c in chosen)
    return DataInfo(name, shape, tuple(classes[c] for c in chosen), train, test)


def chosen_classes(wanted: Sequence[int | str] | None, names: Sequence[str], dataset: str) -> list[int]:
    """Return the labels, in the data set's own numbering, of the classes that are wanted, in the order given.

    Parameters
    ----------
    wanted : labels (numbers) or names of classes; None for all
    names : of all classes of the data set, by label
    dataset : its name, for messages

    Raises
    ------
    DataError
        There is no such class, one is named twice, or there are fewer than two.
    """
    if wanted is None:
        return list(range(len(names)))
    chosen: list[int] = []
    for one in wanted:
        if isinstance(one, str):
            if one not in names:
                raise DataError(
                    f"classes: '{dataset}' has no class '{one}'{suggest(one, names)}: give some of {listed(names, 20)}"
                )
            label = list(names).index(one)
        else:
            if not 0 <= one < len(names):
                raise DataError(
                    f"classes: '{dataset}' has no label {one}: give labels from 0 to {len(names) - 1}, or names of"
                    f" classes: {listed(names, 20)}"
                )
            label = int(one)
        if label in chosen:
            raise DataError(f"classes: label {label} ('{names[label]}') is given twice: give each class once")
        chosen.append(label)
    if len(chosen) < 2:
        got = f"only '{names[chosen[0]]}'" if chosen else "none"
        raise DataError(f"classes: {got} of '{dataset}' is wanted: give two or more, or leave it out for all")
    return chosen


def data_dir(option: str | None = None) -> str:
    """Return the directory of the data sets: the option, else $NETPICK_DATA, else ./data."""
    return os.path.expanduser(option or os.environ.get("NETPICK_DATA") or "./data")


@dataclass(frozen=True)
class DataRequest:
    """Which arrays are wanted. Plain and picklable: the same request gives the same arrays everywhere.

    Parameters
    ----------
    name
        A name of `DATASETS`, "folder:PATH" or "npz:FILE".
    data_dir
        Directory in torchvision's layout; see the functions `data_dir` and `locate`. Not used for digits.
    seed
        0 to 2**32 - 1: decides the test split of digits and of one's own data that have none, the validation split and
        the subset of `train_samples`.
    train_samples
        Train on a stratified subset of this many samples; None for all.
    validation
        Share of the training part, in [0, 1), that becomes the split "validation"; taken before `train_samples`.
    normalize
        "standard": mean 0 and standard deviation 1 a channel, as measured on the training part; "unit": 0 to 1.
    classes
        Labels or names of the classes to keep; they are numbered anew, from 0, in this order. None for all.
    image_size
        For a folder: (height, width) that all images are brought to; None where they are of one size.
    color
        For a folder: "grey", "rgb", or "auto", which is what all images are.
    skip_unreadable
        For a folder: leave out images that can't be read, instead of refusing them.

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
    classes: tuple[int | str, ...] | None = None
    image_size: tuple[int, int] | None = None
    color: str = "auto"
    skip_unreadable: bool = False

    def __post_init__(self) -> None:
        if not own_kind(self.name):
            if self.name not in DATASETS:
                hint = suggest(self.name, DATASETS)
                raise DataError(
                    f"unknown data set '{self.name}'{hint}: give one of {listed(DATASETS)}, folder:PATH or npz:FILE"
                )
            chosen_classes(self.classes, DATASETS[self.name].classes, self.name)
        if self.color not in image_folder.COLORS:
            hint = suggest(self.color, image_folder.COLORS)
            raise DataError(f"color is '{self.color}'{hint}: give one of {listed(image_folder.COLORS)}")
        if self.image_size is not None and not all(1 <= side <= MAX_SIDE for side in self.image_size):
            raise DataError(f"image_size is {list(self.image_size)}: give height and width from 1 to {MAX_SIDE}")
        if own_kind(self.name) != "folder" and self.image_options != image_folder.ImageOptions():
            raise DataError(
                f"image_size, color and skip_unreadable are for folder:PATH, the data set is '{self.name}': leave them"
                " out"
            )
        if not 0 <= self.seed < 2**32:
            raise DataError(f"seed of the data is {self.seed}: give a whole number from 0 to {2**32 - 1}")
        if self.train_samples is not None and self.train_samples < 1:
            raise DataError(f"train_samples is {self.train_samples}: give 1 or more, or leave it out for all")
        if not 0 <= self.validation < 1:
            raise DataError(f"validation is {self.validation}: give a share of the training part, 0 or more, below 1")
        if self.normalize not in NORMALIZATIONS:
            hint = suggest(self.normalize, NORMALIZATIONS)
            raise DataError(f"normalize is '{self.normalize}'{hint}: give one of {listed(NORMALIZATIONS)}")

    @property
    def image_options(self) -> image_folder.ImageOptions:
        """How the images of a folder are brought to one form."""
        return image_folder.ImageOptions(self.image_size, self.color, self.skip_unreadable)


def manifest_entry(request: DataRequest, info: DataInfo) -> dict[str, Any] | None:
    """Return what run.toml has to say of a request beside name, seed and recipe; None where there is nothing."""
    entry: dict[str, Any] = {}
    if request.classes is not None:
        entry["classes"] = list(info.classes)
    if own_kind(request.name):
        entry["path"] = str(locate(request.name, request.data_dir))
    if own_kind(request.name) == "folder":
        size = list(request.image_size) if request.image_size else None
        entry |= {"image_size": size, "color": request.color, "skip_unreadable": request.skip_unreadable}
    return entry or None


def request_of(
    manifest: Mapping[str, Any],
    data_dir: str,
    train_samples: int | None = None,
    validation: float = 0.0,
    normalize: str = "standard",
) -> DataRequest:
    """Return the request for the data of a run, from what run.toml says (see `manifest_entry`) and its recipe.

    Raises
    ------
    DataError
        One's own data are no longer where they were, nor in the data directory.
    """
    entry = manifest.get("data", {})
    name, seed = manifest["dataset"], int(manifest.get("seed", 0))
    if own_kind(name):
        name = f"{own_kind(name)}:{locate(name, data_dir, entry.get('path'))}"
    return DataRequest(
        name,
        data_dir,
        seed,
        train_samples,
        validation,
        normalize,
        tuple(entry["classes"]) if "classes" in entry else None,
        tuple(entry["image_size"]) if "image_size" in entry else None,
        entry.get("color", "auto"),
        entry.get("skip_unreadable", False),
    )


def load(request: DataRequest, kept: Path | None = None, report: Report | None = None) -> Dataset:
    """Read a data set, check it, keep the classes that are wanted, and split it.

    Downloads, by torchvision, only what is missing.

    Parameters
    ----------
    request : which arrays are wanted
    kept : folder for the pixels of a folder of images, which are decoded once; None keeps nothing
    report : hears how far decoding has come

    Raises
    ------
    DataError
        Files are missing and can't be downloaded, are truncated or corrupt, or are too few for what is asked.
    """
    if own_kind(request.name):
        names, parts, left_out = own_data.read(request.name, request.data_dir, request.image_options, kept, report)
    else:
        names, left_out = DATASETS[request.name].classes, 0
        parts = builtin_data.read(request.name, request.data_dir, request.seed)
    if "whole" in parts:
        whole = parts["whole"]
        test = stratified(whole.labels, round(TEST_SHARE * len(whole)) or 1, request.seed, purpose=0)
        parts = {"train": whole.take(np.setdiff1d(np.arange(len(whole)), test)), "test": whole.take(test)}
    if request.classes is not None:
        chosen = chosen_classes(request.classes, names, request.name)
        parts = {name: split.only(chosen) for name, split in parts.items()}
        names = tuple(names[c] for c in chosen)
        if not len(parts["test"]):
            raise DataError(f"data set '{request.name}' has no test images of the classes {listed(names)}: add some")
    train = parts["train"]
    mean, std = channel_statistics(train)
    splits = {"train": train, "test": parts["test"]}
    if request.validation > 0:
        count = round(request.validation * len(train))
        if not 0 < count < len(train):
            raise DataError(
                f"validation is {request.validation}: this share of {len(train)} leaves a split empty; change it"
            )
        held_out = stratified(train.labels, count, request.seed, purpose=1)
        splits["validation"] = train.take(held_out)
        train = train.take(np.setdiff1d(np.arange(len(train)), held_out))
    if request.train_samples is not None:
        if request.train_samples > len(train):
            raise DataError(
                f"train_samples is {request.train_samples}: '{request.name}' has {len(train)} to train on; give fewer"
            )
        train = train.take(stratified(train.labels, request.train_samples, request.seed, purpose=2))
    splits["train"] = train
    return Dataset(request.name, train.pixels.shape[1:], names, mean, std, splits, request.normalize, left_out)
