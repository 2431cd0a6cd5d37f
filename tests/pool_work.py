"""What the workers of test_pool do: a module of its own, so that a worker has little to import."""

from __future__ import annotations

import gc
import os
import signal
import struct
import time
from datetime import UTC, datetime
from pathlib import Path

from netpick.core.result import TrainingResult


def work(task) -> TrainingResult:
    """Do what the task's name says, and write down when it began and ended; `shared` is the folder for that."""
    began = time.monotonic()
    what = task.spec.name.split("_")[0]
    folder = Path(task.shared)
    mark = folder / f"{task.spec.name}-{task.attempts}.pid"
    mark.write_text(str(os.getpid()))
    if what == "kill" or (what == "kill1" and task.attempts == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "torn" and task.attempts == 1:  # dies in the middle of handing in its result: 10 of 1000 bytes
        queue = next(one for one in gc.get_objects() if type(one).__name__ == "SimpleQueue")
        os.write(queue._writer.fileno(), struct.pack("!i", 1000) + b"x" * 10)
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "sleep":
        time.sleep(600)
    if what == "meet":  # ends when another one is there too
        deadline = time.monotonic() + 60
        while len(list(folder.glob("meet_*.pid"))) < 2:
            assert time.monotonic() < deadline, "nobody came"
            time.sleep(0.01)
    time.sleep(0.03)
    if what == "oom" or (what == "oom1" and task.attempts == 1):
        return task.failure("failed", "out of memory: tried to allocate 80 GiB", datetime.now(UTC), 0.0)
    if what == "fail":
        return task.failure("failed", "RuntimeError: no", datetime.now(UTC), 0.0)
    with open(folder / "log", "a") as log:  # one short line: written at once
        log.write(f"{task.spec.name} {task.attempts} {began} {time.monotonic()}\n")
    return task.failure("done", None, datetime.now(UTC), 0.5).with_(workers=os.getpid())
