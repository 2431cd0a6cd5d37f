"""What the session itself takes for a training: to write it down, and to merge its files once all have ended.

Timed with made-up results in runs of one network in a folder of their own, by the code that does it in earnest. What it
takes follows from the numbers of samples, classes and epochs, and from no network.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
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

EPOCHS = (1, 6)
"""Of the made-up trainings: what any number of epochs takes lies on the line through both."""

FEW, MANY = 2, 20
"""Trainings whose files are merged: what both take beside their trainings is no part of the difference."""

TOGETHER, GROUPS = 10, 5
"""Trainings that are written down together, and how often."""

NETWORK = NetworkSpec("N", "Linear", "None", (layer("Flatten"),))
"""Of the made-up trainings."""

WEIGHTS = 10_000
"""Values of its weights; what a file takes hangs little on it."""


@dataclass(frozen=True)
class Bookkeeping:
    """Seconds for one training: until it is written down, those of them on a core, and to merge its files.

    `together` and `merge_together` are what it takes where `TOGETHER` are written down at once, into the same files.
    Waiting for a core that others have is no part of these: whoever predicts adds up what the cores have to do.
    """

    commit: float = 0.02
    core: float = 0.01
    merge: float = 0.01
    together: float = 0.005
    merge_together: float = 0.002

    @property
    def joined(self) -> Bookkeeping:
        """What a training takes that is written down with others."""
        return replace(self, commit=self.together, core=self.together, merge=self.merge_together)

    def slower(self, busy: float) -> Bookkeeping:
        """Return what it takes where others have the cores too, so that all that is computed takes longer."""
        return Bookkeeping(*(busy * seconds for seconds in astuple(self)))


@dataclass(frozen=True)
class Overheads:
    """What passes besides the trainings: for each of them, and seconds until the workers have begun.

    `scattered` are trainings that have ended before, and whose files are merged with those of the others. `busy` is how
    many times as long all takes, since others have the cores too.
    """

    each: Bookkeeping = field(default_factory=Bookkeeping)
    start: float = 5.0
    scattered: int = 0
    busy: float = 1.0

    def writing(self, trainings: Sequence[float], workers: int) -> list[Bookkeeping]:
        """Return what trainings of so many seconds take; those that end while others are written down, together."""
        each = self.each.slower(self.busy)
        joined = each.joined
        return [joined if seconds < workers * each.commit else each for seconds in trainings]

    def without_merging(self) -> Overheads:
        """Return what passes where no files are merged."""
        return replace(self, each=replace(self.each, merge=0.0, merge_together=0.0), scattered=0)

    def merging(self, writing: Sequence[Bookkeeping]) -> float:
        """Return the seconds of merging the files of trainings that take so much, and of those before them."""
        return sum(each.merge for each in writing) + self.busy * self.each.merge * self.scattered


NOTHING = Overheads(Bookkeeping(0.0, 0.0, 0.0, 0.0, 0.0), start=0.0)
"""Where nothing is foreseen."""


def time_bookkeeping(classes: Sequence[str], samples: int) -> tuple[Bookkeeping, ...]:
    """Return what trainings of each of `EPOCHS` take, in a folder that is made for it."""
    with tempfile.TemporaryDirectory() as folder:
        return tuple(_MadeUp(Path(folder), classes, samples, epochs).bookkeeping() for epochs in EPOCHS)


class _MadeUp:
    """Runs of made-up trainings: two of them written down one by one, and one of many together."""

    def __init__(self, folder: Path, classes: Sequence[str], samples: int, epochs: int) -> None:
        self._result = _made_up(len(classes), samples, epochs)
        self._runs = [_new_run(folder / f"{epochs}-{name}", classes) for name in ("few", "many", "together")]
        self._labels = {"test": np.zeros(samples, np.int64)}

    def bookkeeping(self) -> Bookkeeping:
        """Return what a training takes."""
        few, many, together = self._runs
        taken = [self._commit(run, [n]) for run, number in ((few, FEW), (many, MANY)) for n in range(number)]
        starts = range(0, GROUPS * TOGETHER, TOGETHER)
        groups = [self._commit(together, range(n, n + TOGETHER))[0] / TOGETHER for n in starts]
        merge = max(0.0, _merging(many) - (least := _merging(few))) / (MANY - FEW)
        once = max(0.0, least - FEW * merge)
        commits, cores = zip(*taken, strict=True)
        return Bookkeeping(
            commit=median(commits),
            core=median(cores),
            merge=merge,
            together=median(groups),
            merge_together=max(0.0, _merging(together) - once) / (GROUPS * TOGETHER),
        )

    def _commit(self, run: Store, replicates: Sequence[int]) -> tuple[float, float]:
        """Write some trainings down; return the seconds until it is done, and those of them on a core."""
        results = [self._result.with_(replicate=n) for n in replicates]
        clock, waited, core = time.perf_counter(), waited_for_core(), time.thread_time()
        run.commit_all(results, self._labels)
        core = time.thread_time() - core
        return time.perf_counter() - clock - (waited_for_core() - waited), core


def _merging(run: Store) -> float:
    """Return the processor seconds of merging a run's files; little else is waited for."""
    clock = time.process_time()
    run.compact()
    return time.process_time() - clock


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
