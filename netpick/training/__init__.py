"""One network, one recipe, one device, to a `TrainingResult`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.training.choice import choose
    from netpick.training.engines import ENGINES, train
    from netpick.training.job import Job
    from netpick.training.plan import Plan

__all__ = ["ENGINES", "Job", "Plan", "choose", "train"]

__getattr__, __dir__ = front_door(
    __name__,
    {
        "choice": ("choose",),
        "engines": ("ENGINES", "train"),
        "job": ("Job",),
        "plan": ("Plan",),
    },
)
