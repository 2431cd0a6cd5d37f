"""Devices beside each other, by the times of networks that were measured on them: which one to use from which size on.

Frames in, frames and a sentence out. Nothing is measured here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """Devices beside each other: a row a network with seconds of a step on each, and what to use from which size on."""

    table: pd.DataFrame
    text: str


def compare(frame: pd.DataFrame, macs: dict[str, int]) -> Comparison:
    """Compare devices network by network.

    Parameters
    ----------
    frame : rows of the table `timings`; each device (with its threads) is compared by its training steps
    macs : of each network, by which networks are called small or large

    Notes
    -----
    The size from which on a device is the one to use is the cut that makes all steps together as short as can be.
    """
    way = frame["device"] + np.where(frame["threads"] > 1, " ×" + frame["threads"].astype(str), "")
    table = frame.assign(way=way).pivot_table("step_seconds", "network", "way", aggfunc="median", sort=False)
    table = table.dropna()
    ways = list(table.columns)
    table.insert(0, "macs", [macs[name] for name in table.index])
    table = table.sort_values("macs", kind="stable")
    if len(ways) > 1 and len(table):
        table["fastest"] = table[ways].idxmin(axis=1)
    said = []
    for other in ways[1:]:
        a, b, size = (table[name].to_numpy(float) for name in (ways[0], other, "macs"))
        said.append(_sentence(ways[0], other, a, b, size))
    return Comparison(table.reset_index(), " ".join(said))


def _sentence(first: str, other: str, a: Any, b: Any, macs: Any) -> str:
    """Say which of two devices to use, from which size on."""
    ratio = float(np.exp(np.mean(np.log(a / b))))
    if not len(a):
        return f"No network was timed on both {first} and {other}."
    if (b < a).all():
        return f"Use {other} for all {len(a)} networks: its steps are {ratio:.2g} times as fast as those of {first}."
    if (a <= b).all():
        return (
            f"Use {first} for all {len(a)} networks: its steps are {1 / ratio:.2g} times as fast as those of {other}."
        )

    def totals(small: Any, large: Any) -> Any:
        return np.concatenate([[0], np.cumsum(small)]) + np.concatenate([np.cumsum(large[::-1])[::-1], [0]])

    # Networks are in the order of their size; the logarithm, so that small networks count as much as large ones.
    up, down = totals(np.log(a), np.log(b)), totals(np.log(b), np.log(a))
    small, large, sums = (first, other, up) if up.min() <= down.min() else (other, first, down)
    cut = int(sums.argmin())
    below, above = (a, b) if small == first else (b, a)
    if cut in (0, len(a)):
        best, times = (large, ratio) if cut == 0 else (small, ratio)
        faster = times if best == other else 1 / times
        wins = int((b < a).sum() if best == other else (a <= b).sum())
        return f"Use {best}: it is faster for {wins} of {len(a)} networks, {faster:.2g} times in the mean."
    right_small, right_large = int((below[:cut] <= above[:cut]).sum()), int((above[cut:] <= below[cut:]).sum())
    return (
        f"Use {small} for networks below {macs[cut]:,.0f} macs an input (faster for {right_small} of {cut}), and "
        f"{large} from there on (faster for {right_large} of {len(a) - cut})."
    )
