"""Any data set as arrays, and their splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.data.builtin import DATASETS
    from netpick.data.loading import describe, load
    from netpick.data.request import DataInfo, DataRequest, data_dir, manifest_entry, request_of
    from netpick.data.samples import sample_rows

__all__ = [
    "DATASETS",
    "DataInfo",
    "DataRequest",
    "data_dir",
    "describe",
    "load",
    "manifest_entry",
    "request_of",
    "sample_rows",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        "builtin": ("DATASETS",),
        "loading": ("describe", "load"),
        "request": ("DataInfo", "DataRequest", "data_dir", "manifest_entry", "request_of"),
        "samples": ("sample_rows",),
    },
)
