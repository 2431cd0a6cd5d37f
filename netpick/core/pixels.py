"""Images of a run's data set as a device has them: the numbers of the files, before a network's own normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images, float32 (N, channels, height, width).

    Parameters
    ----------
    splits : mapping of str to array
        Those of each split that is evaluated.
    calibration : array
        Training images that were drawn by the run's seed.
    unit : str
        What a number is, in words: a pixel of 8 bits over 255, or as the data set has it.
    """

    splits: Mapping[str, np.ndarray]
    calibration: np.ndarray
    unit: str
