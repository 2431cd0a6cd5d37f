"""What the session itself takes for a training: to write it down, and to merge its files once all have ended.

Timed with made-up results in runs of one network in a folder of their own, by the code that does it in earnest: written
down one by one, merged, and as a session of all workers. What it takes follows from the numbers of samples, classes and
epochs, and from no network.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from netpick.core.processes import waited_for_core
from netpick.core.result import TrainingResult
from netpick.sessions.forecast.rehearsal import NETWORK, Sizes, made_up
from netpick.store.folder import Store
from netpick.store.schema import columns

EPOCHS = (1, 3)
"""Of the made-up trainings: what any number of epochs takes lies on the line through both."""

FEW, MANY = 2, 10
"""Trainings whose files are merged: what both take beside their trainings is no part of the difference."""

Rehearse = Callable[[Sizes, Callable[[TrainingResult], None]], float]
"""Has the workers make up trainings of these sizes, which are then written down; see `rehearsal`."""


@dataclass(frozen=True)
class Bookkeeping:
    """Seconds for one training: until it is written down, those of them on a core, and to merge its files.

    Waiting for a core that others have is no part of `commit`: whoever predicts adds up what the cores have to do.
    `between` are the seconds on a core in all that its worker and the session take beside it; None where no session was
    rehearsed.
    """

    commit: float = 0.02
    core: float = 0.01
    merge: float = 0.01
    between: float | None = None

    def slower(self, busy: float) -> Bookkeeping:
        """Return what it takes where others have the cores too, so that all that is computed takes longer."""
        between = None if self.between is None else busy * self.between
        return Bookkeeping(busy * self.commit, busy * self.core, busy * self.merge, between)


def time_bookkeeping(classes: Sequence[str], samples: int, rehearse: Rehearse | None = None) -> tuple[Bookkeeping, ...]:
    """Return what trainings of each of `EPOCHS` take, in a folder that is made for it."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [_MadeUp(Path(folder), classes, Sizes(len(classes), samples, epochs)) for epochs in EPOCHS]
        out = []
        for run in runs:
            commit, core = run.write()
            between = run.rehearse(rehearse) if rehearse else None
            out.append(Bookkeeping(commit, core, run.merge(), between))
        return tuple(out)


class _MadeUp:
    """Two runs of made-up trainings: `write` them down, `rehearse` a session, then `merge` their files."""

    def __init__(self, folder: Path, classes: Sequence[str], sizes: Sizes) -> None:
        self._folder, self._classes, self._sizes = folder, classes, sizes
        self._runs = [(self._run(f"{number}"), number) for number in (FEW, MANY)]
        self._rehearsed = 0
        self._labels = {"test": np.zeros(sizes.samples, np.int64)}

    def write(self) -> tuple[float, float]:
        """Return the seconds until a training is written down, and those of them on a core."""
        taken = []
        for run, number in self._runs:
            for n in range(number):
                clock, waited, core = time.perf_counter(), waited_for_core(), time.thread_time()
                run.commit(made_up(self._sizes).with_(replicate=n), self._labels)
                core = time.thread_time() - core
                taken.append((time.perf_counter() - clock - (waited_for_core() - waited), core))
        commits, cores = zip(*taken, strict=True)
        return median(commits), median(cores)

    def merge(self) -> float:
        """Return the processor seconds of merging the files of one training more; little else is waited for."""
        took = []
        for run, _ in self._runs:
            clock = time.process_time()
            run.compact()
            took.append(time.process_time() - clock)
        return max(0.0, took[1] - took[0]) / (MANY + self._rehearsed - FEW)

    def rehearse(self, rehearse: Rehearse) -> float:
        """Return the seconds on a core that pass beside a training in a session."""
        run = self._runs[1][0]

        def commit(result: TrainingResult) -> None:
            run.commit(result.with_(replicate=MANY + result.replicate), self._labels)
            run.append_event({"event": result.status, "network": result.network, "replicate": result.replicate})
            self._rehearsed += 1

        return rehearse(self._sizes, commit)

    def _run(self, name: str) -> Store:
        row = {"name": NETWORK.name, "hash": NETWORK.hash, "layers": NETWORK.layers_json()}
        row |= {"computation": NETWORK.computation, "activation": NETWORK.activation}
        counts = dict.fromkeys((c.name for c in columns("networks") if c.type in ("int64", "float64")), 0)
        rest: dict[str, Any] = dict.fromkeys(c.name for c in columns("networks"))
        folder = self._folder / f"{self._sizes.epochs}-{name}"
        store = Store.create(folder, {"classes": list(self._classes)}, [{**rest, **counts, **row}])
        store.recover()
        return store


def of_epochs(timed: Sequence[Bookkeeping], epochs: float) -> Bookkeeping:
    """Return what a training of so many epochs takes, from what those of `EPOCHS` took; it never takes less of more."""
    few, many = timed
    share = (epochs - EPOCHS[0]) / (EPOCHS[1] - EPOCHS[0])

    def at(a: float, b: float) -> float:
        return a + max(0.0, b - a) * share

    between = None if few.between is None or many.between is None else at(few.between, many.between)
    return Bookkeeping(at(few.commit, many.commit), at(few.core, many.core), at(few.merge, many.merge), between)
