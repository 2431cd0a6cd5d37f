"""One network, one recipe, one device, to a `TrainingResult`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.training.loop import train
    from netpick.training.plan import Plan, choose

__all__ = [
    "Plan",
    "choose",
    "train",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        "plan": ("Plan", "choose"),
        "loop": ("train",),
    },
)
