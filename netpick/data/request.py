"""Which data are wanted: a data set, which of its classes, how it is split and normalised.

A `DataRequest` is all that it takes to get the very same arrays in another process or on another machine; run.toml
keeps it. Nothing is read here; see `loading`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netpick.core.errors import DataError, listed, suggest
from netpick.data.builtin import DATASETS
from netpick.data.image_folder import COLORS, ImageOptions
from netpick.data.own import locate, own_kind

NORMALIZATIONS = ("standard", "unit")
MAX_SIDE = 4096


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
    by_class
        Give the training samples class after class, in each by the names of their files as text; see `Split.by_class`.
    folds
        Cut the training samples, those that are left of the above, into so many folds; 0 for none.

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
    by_class: bool = False
    folds: int = 0

    def __post_init__(self) -> None:
        if not own_kind(self.name):
            if self.name not in DATASETS:
                hint = suggest(self.name, DATASETS)
                raise DataError(
                    f"unknown data set '{self.name}'{hint}: give one of {listed(DATASETS)}, folder:PATH or npz:FILE"
                )
            chosen_classes(self.classes, DATASETS[self.name].classes, self.name)
        if self.color not in COLORS:
            hint = suggest(self.color, COLORS)
            raise DataError(f"color is '{self.color}'{hint}: give one of {listed(COLORS)}")
        if self.image_size is not None and not all(1 <= side <= MAX_SIDE for side in self.image_size):
            raise DataError(f"image_size is {list(self.image_size)}: give height and width from 1 to {MAX_SIDE}")
        if own_kind(self.name) != "folder" and self.image_options != ImageOptions():
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
    def image_options(self) -> ImageOptions:
        """How the images of a folder are brought to one form."""
        return ImageOptions(self.image_size, self.color, self.skip_unreadable)


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
    for key in wanted:
        if isinstance(key, str):
            if key not in names:
                raise DataError(
                    f"classes: '{dataset}' has no class '{key}'{suggest(key, names)}: give some of {listed(names, 20)}"
                )
            label = list(names).index(key)
        else:
            if not 0 <= key < len(names):
                raise DataError(
                    f"classes: '{dataset}' has no label {key}: give labels from 0 to {len(names) - 1}, or names of"
                    f" classes: {listed(names, 20)}"
                )
            label = int(key)
        if label in chosen:
            raise DataError(f"classes: label {label} ('{names[label]}') is given twice: give each class once")
        chosen.append(label)
    if len(chosen) < 2:
        got = f"only '{names[chosen[0]]}'" if chosen else "none"
        raise DataError(f"classes: {got} of '{dataset}' is wanted: give two or more, or leave it out for all")
    return chosen


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
    by_class: bool = False,
    folds: int = 0,
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
        by_class,
        folds,
    )
