"""The samples of a run as they are read: those of one split, in order, and the pixels of an image."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from netpick.core.errors import RunError, listed, suggest
from netpick.core.result import LEFT_OUT

MOST_PIXELS = 2**24
"""Pixels of one sample's image."""

PLATE = (64, 32)
"""Width and height of the picture of a name, where a sample is no image."""


ALL = "all"
"""What stands for every sample that networks answered which had not learned it: of `test`, and after it `left_out`."""


def parts_of(split: str) -> tuple[str, ...]:
    """Return the splits that the name of a split stands for, in the order in which their samples are numbered."""
    return ("test", LEFT_OUT) if split == ALL else (split,)


def samples_of(split: str, samples: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the rows of one split in order; RunError where the run at `path` has not each of its samples once.

    Those of `all` are the rows of `test` and of `left_out`, whose numbers run on.
    """
    if split == ALL:
        rows = pd.concat([samples_of(part, samples, path) for part in parts_of(split)])
        return rows.assign(sample=np.arange(len(rows), dtype=np.int32))
    rows = samples[samples["split"] == split]
    if not len(rows):
        there = sorted(samples["split"].unique())
        raise RunError(f"no split '{split}'{suggest(split, there)}: the run has {listed(there)}")
    rows = rows.sort_values("sample")
    if not np.array_equal(rows["sample"], np.arange(len(rows))):
        raise RunError(
            f"{path / 'samples.parquet'} has not each sample of the {split} split once: restore it from a "
            "copy, or generate the run again"
        )
    return rows


def png_pixels(content: bytes | None, what: str, name: str | None = None) -> np.ndarray:
    """Return the pixels of a PNG, uint8; RunError for anything else: nothing but a PNG decoder ever sees it.

    Where there is none and the sample has a name, return a picture of that.
    """
    from PIL import Image

    if content is None and name is not None:
        return _nameplate(name)
    if content is None:
        raise RunError(f"{what} has no image: images were left out when the run was published")
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels")
            return np.asarray(image, dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, TypeError, Image.DecompressionBombError) as e:
        raise RunError(f"{what} has no image that can be read ({e}): generate the run again") from None


def _nameplate(name: str) -> np.ndarray:
    """Return the picture of a name: ten letters in each of two lines."""
    from PIL import Image, ImageDraw

    plate = Image.new("L", PLATE, 255)
    ImageDraw.Draw(plate).text((2, 4), "\n".join([name[:10], name[10:20]]), fill=0)
    return np.asarray(plate)
