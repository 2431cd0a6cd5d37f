"""The axis of accuracies that figures share: logit where most would be crammed into the corner of a plain one."""

from __future__ import annotations

from typing import Any

import numpy as np

from netpick.exam import theme

TICKS = (0.01, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


def logit_ends(values: Any) -> tuple[float, float] | None:
    """Return from where to where a logit axis of some accuracies goes; None where a plain one will do.

    Who has all right, or nothing, is drawn a little beyond the next.
    """
    inside = np.asarray(values, float).ravel()
    inside = inside[(inside > 0) & (inside < 1)]
    return (inside.min() / 2, (1 + inside.max()) / 2) if theme.spans_decades(1 - inside, 10) else None


def write(axis: Any, low: float, high: float, logit: bool) -> None:
    """Write an axis in percent, with ticks that people read where it is logit."""
    from matplotlib.ticker import FixedLocator, NullLocator

    if logit:
        axis.set_major_locator(FixedLocator([t for t in TICKS if low <= t <= high]))
        axis.set_minor_locator(NullLocator())
    theme.percent_axis(axis)
