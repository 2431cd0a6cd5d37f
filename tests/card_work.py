"""What the processes of test_gpu_processes do: a module of its own, so that they have little to import."""

from __future__ import annotations

import os
import signal
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from netpick.sessions.workers.gpu_budget import Budget
from netpick.sessions.workers.gpu_feeder import Feeder


class LightLane:
    """A lane without torch, which takes seconds to load."""

    peak = None
    active = nullcontext

    def idle(self):
        return True

    def release(self):
        pass


def prepare(device, layout, background):
    return Feeder([LightLane() for _ in range(layout.streams)], Budget(10**12), start)


def prepare_in_vain(device, layout, background):
    os._exit(3)


def start(task, lane):
    """Do what the task's name says, in three turns, and write down when it began and ended."""
    began = time.monotonic()
    name = task.job.spec.name
    what = name.split("_")[0]
    folder = Path(task.shared)
    for turn in range(3):
        yield None
        if turn == 1:
            if what == "meet":  # goes on when another one is there too, in whatever process
                (folder / f"{name}.met").touch()
                deadline = time.monotonic() + 60
                while len(list(folder.glob("meet_*.met"))) < 2:
                    assert time.monotonic() < deadline, "nobody came"
                    yield None
            if what == "kill" or (what == "kill1" and task.attempts == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "oom" or (what == "oom1" and task.attempts == 1):
                raise MemoryError("tried to allocate 80 GiB")
            if what == "fail":
                raise ValueError("no")
            if what == "sleep":
                (folder / f"{name}.pid").write_text(str(os.getpid()))
                while True:
                    yield None
    with open(folder / "log", "a") as log:
        log.write(f"{name} {task.attempts} {began} {time.monotonic()} {os.getpid()}\n")
    return task.job.result("done", datetime.now(UTC), 0.5)
