"""A data set as it was requested: described without reading its pixels, or read whole and split.

How data sets are read is said in `builtin` (those of the table) and `own` (one's own). This module knows nothing of
networks, batches or devices.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netpick.core.errors import DataError, listed
from netpick.data.builtin import DATASETS, read_builtin, train_counts
from netpick.data.folds import folds_of
from netpick.data.image_decoding import Report
from netpick.data.own import own_counts, own_kind, read_own
from netpick.data.request import DataInfo, DataRequest, chosen_classes, data_dir
from netpick.data.samples import Dataset, Split, channel_statistics, shares, stratified

TEST_SHARE = 0.2
"""Of one's own samples that come without a test part of their own."""


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
        shape, classes, counts = own_counts(name, request.data_dir, request.image_options)
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
            by_class = train_counts(name, request.seed)
            train = sum(by_class[c] for c in chosen)
    return DataInfo(name, shape, tuple(classes[c] for c in chosen), train, test)


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
        names, parts, left_out = read_own(request.name, request.data_dir, request.image_options, kept, report)
    else:
        names, left_out = DATASETS[request.name].classes, 0
        parts = read_builtin(request.name, request.data_dir, request.seed)
    if "whole" in parts:
        whole = parts["whole"]
        test = stratified(whole.labels, round(TEST_SHARE * len(whole)) or 1, request.seed, purpose=0)
        parts = {"train": whole.without(test), "test": whole.take(test)}
    if request.classes is not None:
        chosen = chosen_classes(request.classes, names, request.name)
        parts = {part: split.only(chosen) for part, split in parts.items()}
        names = tuple(names[c] for c in chosen)
        if not len(parts["test"]):
            raise DataError(f"data set '{request.name}' has no test images of the classes {listed(names)}: add some")
    train = parts["train"]
    mean, std = channel_statistics(train)
    splits = _splits(request, parts)
    folds = folds_of(splits["train"], request.folds, names) if request.folds else None
    shape = train.pixels.shape[1:]
    return Dataset(request.name, shape, names, mean, std, splits, request.normalize, left_out, folds)


def _splits(request: DataRequest, parts: dict[str, Split]) -> dict[str, Split]:
    """Take the validation split, and then the subset that is trained on, out of the training part."""
    train, splits = parts["train"], dict(parts)
    if request.validation > 0:
        count = round(request.validation * len(train))
        if not 0 < count < len(train):
            raise DataError(
                f"validation is {request.validation}: this share of {len(train)} leaves a split empty; change it"
            )
        held_out = stratified(train.labels, count, request.seed, purpose=1)
        splits["validation"] = train.take(held_out)
        train = train.without(held_out)
    if request.train_samples is not None:
        if request.train_samples > len(train):
            raise DataError(
                f"train_samples is {request.train_samples}: '{request.name}' has {len(train)} to train on; give fewer"
            )
        train = train.take(stratified(train.labels, request.train_samples, request.seed, purpose=2))
    if request.by_class:
        train = train.by_class(named=own_kind(request.name) == "folder")
    return {**splits, "train": train}
