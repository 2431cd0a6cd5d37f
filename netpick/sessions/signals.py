"""Ctrl-C and SIGTERM while trainings go on: an interruption that waits for a commit, and a second that doesn't."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

Shield = Callable[[], contextlib.AbstractContextManager[None]]
"""Makes a context in which nothing interrupts."""


@contextlib.contextmanager
def interruptible(on_interrupt: Callable[[], None]) -> Iterator[Shield]:
    """Turn the first Ctrl-C or SIGTERM into a KeyboardInterrupt that waits for a commit; the second ends at once.

    Gives what shields a commit; calls `on_interrupt` before the interruption goes on its way.
    """
    asked = False
    shielded = False

    def hear(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            os._exit(130)
        asked = True
        if not shielded:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def uninterrupted() -> Iterator[None]:
        nonlocal shielded
        shielded = True
        try:
            yield
        finally:
            shielded = False
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may listen to signals
        yield uninterrupted
        return
    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield uninterrupted
    except KeyboardInterrupt:
        on_interrupt()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
