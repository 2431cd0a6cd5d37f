"""What the workers of test_pool do: a module of its own, so that a worker has little to import."""

from __future__ import annotations

import gc
import os
import signal
import struct
import time
from pathlib import Path


def work(task) -> int:
    """Do what the task's name says, and write down when it began and ended; `shared` is the folder for that.

    Gives the process that it was done in.
    """
    began = time.monotonic()
    name = task.job.spec.name
    what = name.split("_")[0]
    folder = Path(task.shared)
    mark = folder / f"{name}-{task.attempts}.pid"
    mark.write_text(str(os.getpid()))
    if what == "kill" or (what == "kill1" and task.attempts == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "stop" or (what == "stop1" and task.attempts == 1):
        os.kill(os.getpid(), signal.SIGSTOP)
    if what == "torn" and task.attempts == 1:  # dies in the middle of handing in its result: 10 of 1000 bytes
        queue = next(one for one in gc.get_objects() if type(one).__name__ == "SimpleQueue")
        os.write(queue._writer.fileno(), struct.pack("!i", 1000) + b"x" * 10)
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "nap":
        time.sleep(1)
    if what == "sleep":
        time.sleep(600)
    if what == "meet":  # ends when another one is there too
        deadline = time.monotonic() + 60
        while len(list(folder.glob("meet_*.pid"))) < 2:
            assert time.monotonic() < deadline, "nobody came"
            time.sleep(0.01)
    while what == "hold" and not (folder / "go").exists():
        time.sleep(0.01)
    time.sleep(0.03)
    if what == "oom" or (what == "oom1" and task.attempts == 1):
        raise MemoryError("tried to allocate 80 GiB")
    if what == "fail":
        raise RuntimeError("no")
    with open(folder / "log", "a") as log:  # one short line: written at once
        log.write(f"{name} {task.attempts} {began} {time.monotonic()}\n")
    return os.getpid()
