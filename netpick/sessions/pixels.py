"""The images of a run as its networks get them on a device: read again from the data set, not normalised.

What is written into a run are pictures of 8 bits; what a network is checked with are the numbers that it was tested on.
"""

from __future__ import annotations

import numpy as np

from netpick.core.errors import DataError
from netpick.core.pixels import Pixels
from netpick.core.recipe import current
from netpick.data import data_dir, load, request_of
from netpick.data.samples import stratified
from netpick.store.reader import Reader

PURPOSE = 8
"""Of the draw of training images, so that it is none of those that make splits."""


def pixels_of(run: Reader, calibration: int = 0, option: str | None = None) -> Pixels:
    """Read the evaluated images of a run's data set, and draw training images by its seed.

    Parameters
    ----------
    run : whose networks were trained
    calibration : how many training images are drawn, a share of each class; all where there are fewer
    option : where data sets lie, as the user said it

    Raises
    ------
    DataError
        The data set is missing, or has other numbers of samples than the run.
    """
    recipe = current(run.recipe)
    request = request_of(
        run.manifest, data_dir(option), recipe.get("train_samples"), recipe.get("validation", 0.0), "unit",
        recipe.get("order") == "by_class",
    )  # fmt: skip
    dataset = load(request, run.path.absolute().parent / ".decoded")
    splits = {name: split for name, split in dataset.splits.items() if name in set(run.samples["split"])}
    for name, split in splits.items():
        if len(split) != len(run.labels(name)):
            raise DataError(
                f"data set {request.name} has {len(split)} samples in the split {name}, and {run.path} has "
                f"{len(run.labels(name))}: put the files back as they were"
            )
    train = dataset.split("train")
    count = min(calibration, len(train))
    drawn = stratified(train.labels, count, request.seed, PURPOSE) if count else np.empty(0, np.int64)
    unit = f"pixels of 8 bits over {train.pixel_max}" if train.pixels.dtype == np.uint8 else "as the data set has them"
    scaling = [0.0] * dataset.shape[0], [1.0] * dataset.shape[0]
    return Pixels(
        {name: split.normalised(*scaling) for name, split in splits.items()}, train.take(drawn).normalised(*scaling),
        unit,
    )  # fmt: skip
