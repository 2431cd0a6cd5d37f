"""A session whose trainings take no time: what it needs between two of them, and of memory, from first to last.

Run by itself with the folder of a run, so that no other memory counts; prints a line of JSON. All else is the real
thing: files, rows, events, and what is said of the time left.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import psutil

from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, TrainingResult
from netpick.sessions import session
from netpick.sessions.options import Options
from netpick.sessions.situation import Situation
from netpick.sessions.workers.task import Ended, Task

PARTS = 10
"""Of the session, each with its own figures."""


def idle(folder: str) -> dict[str, list[float]]:
    """Hold the session; return of each part the median milliseconds from training to training, and MB at its end."""
    clock: list[float] = []
    memory: list[float] = []
    labels = np.arange(360) % 10
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(10), len(labels)).astype(np.float32))
    epochs = (EpochResult(1, 0.1, 0.1, None, (evaluate("test", scores, labels, 0.1),)),)

    def stream(
        situation: Situation, tasks: list[Task], started: Callable[[Task], None]
    ) -> Iterator[list[Ended[TrainingResult]]]:
        each = max(1, len(tasks) // PARTS)
        for n, task in enumerate(tasks, 1):
            started(task)
            result = task.job.result("done", datetime.now(UTC), 0.01).with_(epochs=epochs)
            yield [Ended(task, result)]
            clock.append(time.perf_counter())
            if n % each == 0:
                memory.append(psutil.Process().memory_info().rss / 1e6)

    session._stream = stream
    begin = time.perf_counter()
    session.train_run(folder, Options("cpu", 2, scores="none", weights="none", compact=False, estimate=False))
    between = 1000 * np.diff([begin, *clock])
    parts = np.array_split(between[1:], PARTS)
    return {"first": [between[0] / 1000], "ms": [float(part.mean()) for part in parts], "mb": memory[:PARTS]}


if __name__ == "__main__":
    print(json.dumps(idle(sys.argv[1])))
