"""Some of the networks, where there are more than a question has time for: a share of each family, drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

MANY = 2_000
"""Networks that are not drawn from, where a question says nothing else."""


def some_of(frame: pd.DataFrame, most: int, seed: int = 0) -> pd.DataFrame:
    """Return `most` of the students, in their order; all where there are no more.

    They are every so many-th of all, shuffled and then sorted by family: of each as large a share, but for less than
    one network.
    """
    if len(frame) <= most:
        return frame
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(frame))
    family = frame.groupby(["computation", "activation"]).ngroup().to_numpy()
    lined_up = shuffled[np.argsort(family[shuffled], kind="stable")]
    places = (np.arange(most) + rng.random()) * len(frame) / most
    return frame.iloc[np.sort(lined_up[places.astype(int)])]


def drawn_of(frame: pd.DataFrame, most: int, who: str, seed: int = 0) -> tuple[pd.DataFrame, str]:
    """Return `some_of` students, and in words who they are: `who` says it of all."""
    if len(frame) <= most:
        return frame, who
    return some_of(frame, most, seed), f"{most:,} networks drawn from {who}"
