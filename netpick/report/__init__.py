"""Pages out of answers, and runs as data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.report.explorer.page import write_explorer
    from netpick.report.figures import write_figures
    from netpick.report.page import write_markdown, write_report
    from netpick.report.publication import publish_run

__all__ = [
    "publish_run",
    "write_explorer",
    "write_figures",
    "write_markdown",
    "write_report",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        "explorer.page": ("write_explorer",),
        "figures": ("write_figures",),
        "page": ("write_report", "write_markdown"),
        "publication": ("publish_run",),
    },
)
