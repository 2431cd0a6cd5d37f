"""Data sets as plain arrays: which one is wanted, which of its classes, and how it is split.

A `DataRequest` is all that it takes to get the very same arrays in another process or on another machine. What the
data sets of the table are and how they are read is in `builtin_data`. This module knows nothing of networks, batches
or devices.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netpick import builtin_data
from netpick.builtin_data import DATASETS as DATASETS
from netpick.errors import DataError, listed, suggest
from netpick.samples import Dataset as Dataset
from netpick.samples import Split as Split
from netpick.samples import channel_statistics, stratified
from netpick.samples import sample_rows as sample_rows

NORMALIZATIONS = ("standard", "unit")


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set without reading it: the shape is (channels, height, width).

    The counts are those of the whole data set, also where only some of its classes are wanted.
    """

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train_count: int
    test_count: int


def describe(wanted: DataRequest | str) -> DataInfo:
    """Return a data set's description, with the classes that are asked for; no file is needed.

    Raises
    ------
    DataError
        There is no data set of this name, or no such class.
    """
    name = wanted if isinstance(wanted, str) else wanted.name
    if name not in DATASETS:
        raise DataError(f"unknown data set '{name}'{suggest(name, DATASETS)}: give one of {listed(DATASETS)}")
    source = DATASETS[name]
    classes = source.classes
    if not isinstance(wanted, str):
        classes = tuple(classes[c] for c in chosen_classes(wanted.classes, classes, name))
    return DataInfo(name, source.shape, classes, source.train, source.test)


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
    classes
        Labels or names of the classes to keep; they are numbered anew, from 0, in this order. None for all.

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

    def __post_init__(self) -> None:
        describe(self)
        if not 0 <= self.seed < 2**32:
            raise DataError(f"seed of the data is {self.seed}: give a whole number from 0 to {2**32 - 1}")
        if self.train_samples is not None and self.train_samples < 1:
            raise DataError(f"train_samples is {self.train_samples}: give 1 or more, or leave it out for all")
        if not 0 <= self.validation < 1:
            raise DataError(f"validation is {self.validation}: give a share of the training part, 0 or more, below 1")
        if self.normalize not in NORMALIZATIONS:
            hint = suggest(self.normalize, NORMALIZATIONS)
            raise DataError(f"normalize is '{self.normalize}'{hint}: give one of {listed(NORMALIZATIONS)}")


def manifest_entry(request: DataRequest) -> dict[str, Any] | None:
    """Return what run.toml has to say of a request beside name, seed and recipe; None where there is nothing."""
    return None if request.classes is None else {"classes": list(describe(request).classes)}


def request_of(
    manifest: Mapping[str, Any],
    data_dir: str,
    train_samples: int | None = None,
    validation: float = 0.0,
    normalize: str = "standard",
) -> DataRequest:
    """Return the request for the data of a run, from what run.toml says (see `manifest_entry`) and its recipe."""
    entry = manifest.get("data", {})
    classes = tuple(entry["classes"]) if "classes" in entry else None
    seed = int(manifest.get("seed", 0))
    return DataRequest(manifest["dataset"], data_dir, seed, train_samples, validation, normalize, classes)


def load(request: DataRequest) -> Dataset:
    """Read a data set, check it, keep the classes that are wanted, and split it.

    Downloads, by torchvision, only what is missing.

    Raises
    ------
    DataError
        Files are missing and can't be downloaded, are truncated or corrupt, or are too few for what is asked.
    """
    info = describe(request)
    parts = builtin_data.read(request.name, request.data_dir, request.seed)
    if request.classes is not None:
        chosen = chosen_classes(request.classes, DATASETS[request.name].classes, request.name)
        parts = {name: split.only(chosen) for name, split in parts.items()}
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
    return Dataset(request.name, info.shape, info.classes, mean, std, splits, request.normalize)
