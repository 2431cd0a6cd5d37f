"""Some trainings of a run done again, and held against what the run says: predictions to the bit, or nearly.

On a processor like the one that trained, with the same versions, a training comes out to the bit. Elsewhere the last
bits differ, and from them on more and more; how much, another seed shows: a training of the same network that is no
more alike than one from another seed was not trained as the run says. Changes nothing in the run.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from netpick.core.result import TrainingResult
from netpick.core.words import percent
from netpick.sessions.inputs import evidence, lay_out, passing_cache
from netpick.sessions.situation import DueTraining, Situation
from netpick.sessions.tasks import tasks_of, with_engines_ready
from netpick.sessions.workers import pool
from netpick.sessions.workers.process import train_task
from netpick.sessions.workers.task import Task, result_of
from netpick.store.reader import Reader

MADE_UP = 0.05
"""Share of made-up rows by which it is said what a number of retrained networks proves."""


BY_ROUNDING = 0.99
"""Share of the answers that at least stay as they are where nothing but last bits can differ: of what has no seed."""


@dataclass(frozen=True, eq=False)
class Retrained:
    """How one training compares with the run's: `agreement` is the share of test samples answered alike at the end.

    `of_another_seed` is the same for a training of the network from another seed, where one was needed; None of a
    network without chance, such as a baseline. `answers` are the predicted classes of the test samples at the end.
    """

    network: str
    replicate: int
    to_the_bit: bool
    agreement: float
    accuracy: float
    accuracy_then: float
    of_another_seed: float | None = None
    fault: str | None = None
    answers: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


def drawn(trainings: Sequence[tuple[str, int]], number: int, seed: int | None) -> list[tuple[str, int]]:
    """Draw trainings; from the system's own randomness without a seed, so that nobody can know which beforehand."""
    chance: random.Random = random.SystemRandom() if seed is None else random.Random(seed)
    return sorted(chance.sample(list(trainings), min(number, len(trainings))))


def proof(number: int, of: int, share: float = MADE_UP) -> float:
    """Return how probably made-up rows, this share of them all, would have been among those that were drawn."""
    return float(1 - hypergeom(of, max(1, round(share * of)), number).pmf(0))


def retrain(
    situation: Situation,
    chosen: Sequence[tuple[str, int]],
    reader: Reader,
    exact: bool,
    data_dir: str | None,
    on_note: Callable[[str], None],
    on_done: Callable[[], object],
) -> Iterator[Retrained]:
    """Do trainings again, and compare each with what the run has.

    Parameters
    ----------
    situation : of the run, settled for this machine, with the code of networks that need it
    chosen : (network, replicate) of those that are done
    reader : of the run
    exact : whether all that bits depend on is as it was: then whatever differs is a fault
    data_dir : where data sets lie, as the user said it
    on_note, on_done : told what takes a while, and of each training

    Raises
    ------
    NetpickError
        The data set is missing, or is another than the run's.
    """
    networks = {network.spec.name: network for network in situation.networks}
    due = [DueTraining(networks[name], replicate) for name, replicate in chosen]
    with passing_cache(situation.store), situation.store.lock():
        inputs = lay_out(situation, [training.network for training in due], data_dir)
        evidence(situation, inputs, lambda text: None)  # refuses other data than the run's
        situation = with_engines_ready(situation, due, on_note)
        again: list[tuple[DueTraining, Retrained]] = []
        for task, result in _trained(situation, tasks_of(situation, inputs, due)):
            compared = _compared(result, task.job.replicate, reader)
            on_done()
            if compared.to_the_bit or compared.fault:
                yield compared
            elif exact:
                yield replace(compared, fault="it came out otherwise, on a processor and versions like the run's own")
            else:
                training = DueTraining(networks[result.network], task.job.replicate)
                again.append((training, compared))
        if again:
            on_note("training from other seeds, to see how much chance alone makes of it")
            yield from _beside_other_seeds(situation, again, reader, lambda due: tasks_of(situation, inputs, due))


def _trained(situation: Situation, tasks: Sequence[Task]) -> Iterator[tuple[Task, TrainingResult]]:
    with contextlib.closing(pool.stream(tasks, train_task, situation.workers, situation.devices)) as stream:
        for ended in stream:
            yield ended.task, result_of(ended)


def _beside_other_seeds(
    situation: Situation,
    again: Sequence[tuple[DueTraining, Retrained]],
    reader: Reader,
    tasks: Callable[[Sequence[DueTraining]], list[Task]],
) -> Iterator[Retrained]:
    """Yield trainings that differ, judged by how alike trainings from another seed are."""
    other = max((network.recipe.replicates for network in situation.networks), default=1)  # none of the run's own
    by_name = {training.network.spec.name: compared for training, compared in again}
    due = [replace(training, replicate=other) for training, _ in again]
    chance, seedless = {}, set()
    for _, result in _trained(situation, tasks(due)):
        compared = by_name[result.network]
        chance[result.network] = _compared(result, compared.replicate, reader).agreement
        if np.array_equal(_answers(result), compared.answers):
            seedless.add(result.network)
    by_chance = [share for network, share in chance.items() if network not in seedless] or [0.0]
    least = float(np.quantile(by_chance, 0.95)) if len(by_chance) >= 20 else max(by_chance)
    for _, compared in again:
        alike = percent(compared.agreement, 1)
        if compared.network in seedless:
            why = f"it agrees in {alike} of the answers, and has no seed that they could hang on"
            yield replace(compared, fault=why if compared.agreement < BY_ROUNDING else None)
            continue
        why = f"it agrees in {alike} of the answers, and networks from another seed in {percent(least, 1)}"
        fault = f"{why}: no more alike than by chance" if compared.agreement <= least else None
        yield replace(compared, of_another_seed=chance[compared.network], fault=fault)


def _compared(result: TrainingResult, replicate: int, reader: Reader) -> Retrained:
    """Compare a training with the run's of the same network, of a replicate that may be another."""
    then = reader.predictions(epoch=None, split=None, networks=[result.network], replicate=replicate)
    blocks: dict[Any, pd.DataFrame] = dict(list(then.groupby(["epoch", "split"], observed=True)))
    if result.status != "done" or not result.epochs:
        why = f"it ended as {result.status} ({result.error}), and the run says done"
        return Retrained(result.network, replicate, False, 0.0, np.nan, np.nan, fault=why)
    same = len(blocks) == sum(len(epoch.splits) for epoch in result.epochs)
    alike = accuracy = before = np.nan
    for epoch in result.epochs:
        for split in epoch.splits:
            if split.samples is not None and result.replicate != replicate:
                continue  # another replicate leaves other samples out
            rows = blocks.get((epoch.epoch, split.split))
            numbers = np.arange(len(split.scores)) if split.samples is None else split.samples
            if rows is None or not np.array_equal(rows["sample"], numbers):
                why = f"epoch {epoch.epoch}, split {split.split}: the run has other samples"
                return Retrained(result.network, replicate, False, 0.0, np.nan, np.nan, fault=why)
            predicted = split.scores.argmax(axis=1)
            stored = rows["predicted"].to_numpy()
            scores = rows.filter(like="score_").to_numpy()
            same &= np.array_equal(predicted, stored) and (
                bool(np.isnan(scores).any()) or np.array_equal(scores, split.scores)
            )
            if split.split == "test":
                alike = float((predicted == stored).mean())
                accuracy, before = split.accuracy, float((stored == rows["label"].to_numpy()).mean())
    return Retrained(result.network, replicate, bool(same), alike, accuracy, before, answers=_answers(result))


def _answers(result: TrainingResult) -> np.ndarray:
    """Return the predicted classes of the test samples at the end; empty where it did not come to any."""
    splits = result.epochs[-1].splits if result.epochs else ()
    return next((split.scores.argmax(axis=1) for split in splits if split.split == "test"), np.empty(0, np.int64))
