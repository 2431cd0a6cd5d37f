"""What is done with a run: generate, import, train, estimate, time, verify, relabel; and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.sessions.device_times import add_times
    from netpick.sessions.distances import measure_distances
    from netpick.sessions.generate import generate_run
    from netpick.sessions.imports import import_run
    from netpick.sessions.listener import Listener
    from netpick.sessions.options import Options
    from netpick.sessions.pixels import pixels_of
    from netpick.sessions.relabel import relabel_run
    from netpick.sessions.session import estimate_run, train_run
    from netpick.sessions.short_answers import answers_to
    from netpick.sessions.timing import time_run
    from netpick.sessions.verification import check_run, verify_run

__all__ = [
    "Listener",
    "Options",
    "add_times",
    "answers_to",
    "check_run",
    "estimate_run",
    "generate_run",
    "import_run",
    "measure_distances",
    "pixels_of",
    "relabel_run",
    "time_run",
    "train_run",
    "verify_run",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        "device_times": ("add_times",),
        "distances": ("measure_distances",),
        "generate": ("generate_run",),
        "imports": ("import_run",),
        "listener": ("Listener",),
        "options": ("Options",),
        "pixels": ("pixels_of",),
        "relabel": ("relabel_run",),
        "session": ("train_run", "estimate_run"),
        "short_answers": ("answers_to",),
        "timing": ("time_run",),
        "verification": ("check_run", "verify_run"),
    },
)
