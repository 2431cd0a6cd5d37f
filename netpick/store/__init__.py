"""A run's folder: schema, shards, commit, compaction, reading. The only user of pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.store.folder import Store
    from netpick.store.reader import Reader

__all__ = [
    "Reader",
    "Store",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        "folder": ("Store",),
        "reader": ("Reader",),
    },
)
