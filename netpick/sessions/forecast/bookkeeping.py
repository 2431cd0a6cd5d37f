"""What the session itself takes for a training: to write it down, and to merge its files once all have ended.

Timed with made-up results in runs of one network in a folder of their own, by the code that does it in earnest. What it
takes follows from the numbers of samples, classes and epochs, and from no network.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from netpick.core.metrics import evaluate
from netpick.core.processes import waited_for_core
from netpick.core.result import EpochResult, TrainingResult
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.store.folder import Store
from netpick.store.schema import columns

EPOCHS = (1, 3)
"""Of the made-up trainings: what any number of epochs takes lies on the line through both."""

FEW, MANY = 2, 10
"""Trainings whose files are merged: what both take beside their trainings is no part of the difference."""

GROUPS = 3
"""Times that as many as `MANY` are written down together."""

NETWORK = NetworkSpec("N", "Linear", "None", (layer("Flatten"),))
"""Of the made-up trainings."""

WEIGHTS = 10_000
"""Values of its weights; what a file takes hangs little on it."""


@dataclass(frozen=True)
class Bookkeeping:
    """Seconds for one training: until it is written down, those of them on a core, and to merge its files.

    `together` is what it takes where several are written down at once. Waiting for a core that others have is no part
    of these: whoever predicts adds up what the cores have to do.
    """

    commit: float = 0.02
    core: float = 0.01
    merge: float = 0.01
    together: float = 0.005

    def slower(self, busy: float) -> Bookkeeping:
        """Return what it takes where others have the cores too, so that all that is computed takes longer."""
        return Bookkeeping(*(busy * seconds for seconds in astuple(self)))


def time_bookkeeping(classes: Sequence[str], samples: int) -> tuple[Bookkeeping, ...]:
    """Return what trainings of each of `EPOCHS` take, in a folder that is made for it."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [_MadeUp(Path(folder), classes, samples, epochs) for epochs in EPOCHS]
        return tuple(Bookkeeping(*run.write(), run.merge(), run.write_together()) for run in runs)


class _MadeUp:
    """Two runs of made-up trainings: `write` them down, then `merge` their files."""

    def __init__(self, folder: Path, classes: Sequence[str], samples: int, epochs: int) -> None:
        self._result = _made_up(len(classes), samples, epochs)
        runs = [(folder / f"{epochs}-{number}", number) for number in (FEW, MANY)]
        self._runs = [(_new_run(path, classes), number) for path, number in runs]
        self._together = _new_run(folder / f"{epochs}-together", classes)
        self._labels = {"test": np.zeros(samples, np.int64)}

    def write(self) -> tuple[float, float]:
        """Return the seconds until a training is written down, and those of them on a core."""
        taken = [self._commit(run, [n]) for run, number in self._runs for n in range(number)]
        commits, cores = zip(*taken, strict=True)
        return median(commits), median(cores)

    def write_together(self) -> float:
        """Return the seconds of a training that is written down with others."""
        starts = range(0, GROUPS * MANY, MANY)
        return median(self._commit(self._together, range(n, n + MANY))[0] for n in starts) / MANY

    def _commit(self, run: Store, replicates: Sequence[int]) -> tuple[float, float]:
        """Write some trainings down; return the seconds until it is done, and those of them on a core."""
        results = [self._result.with_(replicate=n) for n in replicates]
        clock, waited, core = time.perf_counter(), waited_for_core(), time.thread_time()
        run.commit_all(results, self._labels)
        core = time.thread_time() - core
        return time.perf_counter() - clock - (waited_for_core() - waited), core

    def merge(self) -> float:
        """Return the processor seconds of merging the files of one training more; little else is waited for."""
        took = []
        for run, _ in self._runs:
            clock = time.process_time()
            run.compact()
            took.append(time.process_time() - clock)
        return max(0.0, took[1] - took[0]) / (MANY - FEW)


def _new_run(folder: Path, classes: Sequence[str]) -> Store:
    row = {"name": NETWORK.name, "hash": NETWORK.hash, "layers": NETWORK.layers_json()}
    row |= {"computation": NETWORK.computation, "activation": NETWORK.activation}
    counts = dict.fromkeys((c.name for c in columns("networks") if c.type in ("int64", "float64")), 0)
    rest: dict[str, Any] = dict.fromkeys(c.name for c in columns("networks"))
    store = Store.create(folder, {"classes": list(classes)}, [{**rest, **counts, **row}])
    store.recover()
    return store


def _made_up(classes: int, samples: int, epochs: int) -> TrainingResult:
    """Return the result of a training that never was, with random scores."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, samples)
    scores = random.normal(size=(epochs, samples, classes)).astype(np.float32)
    made = (EpochResult(n, 0.0, 0.0, None, (evaluate("test", s, labels, 0.0),)) for n, s in enumerate(scores, 1))
    result = TrainingResult(NETWORK.name, NETWORK.hash, 0, "done", 0, "cpu", "", datetime.now(UTC), 0.0)
    return result.with_(epochs=tuple(made), weights={"0.weight": np.zeros(WEIGHTS, np.float32)})


def of_epochs(timed: Sequence[Bookkeeping], epochs: float) -> Bookkeeping:
    """Return what a training of so many epochs takes, from what those of `EPOCHS` took; it never takes less of more."""
    few, many = timed
    share = (epochs - EPOCHS[0]) / (EPOCHS[1] - EPOCHS[0])

    def at(a: float, b: float) -> float:
        return a + max(0.0, b - a) * share

    return Bookkeeping(*map(at, astuple(few), astuple(many)))
