"""Any data set as arrays, and their splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.data.loading import DataRequest, describe, load

__all__ = [
    "DataRequest",
    "describe",
    "load",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        "loading": ("DataRequest", "describe", "load"),
    },
)
