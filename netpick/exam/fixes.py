"""Samples whose labels a user is to look at, as a table to edit and their images beside it: see `netpick relabel`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from netpick.core.errors import NetpickError
from netpick.core.files import named_errors, written_aside
from netpick.core.fixes import COLUMNS
from netpick.core.spreadsheet import csv_text
from netpick.store.reader import Reader


def write_fixes(
    run: Reader,
    path: str | Path,
    samples: ArrayLike,
    suggested: ArrayLike,
    share: ArrayLike,
    split: str = "test",
) -> Path:
    """Write a row a sample into a CSV file, and the image of each into a folder beside it, named after the file.

    Parameters
    ----------
    run : Run
    path : str or Path
        Of the file, which ends in .csv and does not exist yet.
    samples : numbers of the samples within their split
    suggested : for each the class that is probably the true one
    share : of the networks that say so
    split : str

    Raises
    ------
    NetpickError
        For another ending, and a file or a folder that is there already; WorkError where they can't be written.
    """
    target = Path(path)
    if target.suffix.lower() != ".csv":
        raise NetpickError(f"{target} does not end in .csv: give the name of a CSV file")
    folder = target.with_suffix("") if run.has_images else None
    for there in filter(None, (target, folder)):
        if os.path.lexists(there):
            raise NetpickError(f"{there} is there already: give another file, or remove it")
    numbers, classes = np.asarray(samples, int), np.asarray(run.classes, object)
    label, wanted = classes[run.labels(split)[numbers]], classes[np.asarray(suggested, int)]
    images = [f"{folder.name}/{split}-{sample}.png" if folder else "" for sample in numbers]
    values = (numbers, split, label, wanted, np.asarray(share, float).round(4), images)
    table = pd.DataFrame(dict(zip(COLUMNS, values, strict=True)), columns=COLUMNS)
    with named_errors(target), ExitStack() as both:  # or none
        target.parent.mkdir(parents=True, exist_ok=True)
        both.enter_context(written_aside(target)).write_text(csv_text(table), encoding="utf-8", newline="")
        if folder is not None:
            aside = both.enter_context(written_aside(folder))
            aside.mkdir()
            for sample in numbers.tolist():
                _write_image(run, sample, split, aside / f"{split}-{sample}.png")
    return target


def _write_image(run: Reader, sample: int, split: str, path: Path) -> None:
    from PIL import Image

    Image.fromarray(run.image(sample, split)).save(path, "png")
