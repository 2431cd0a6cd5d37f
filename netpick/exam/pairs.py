"""Two networks compared: as they were named beforehand, or one of them because it came out best.

Two that were named are compared on all samples: by McNemar's test, or over samples and replicates where both have
several. Whoever compares the best of all with another one, named or not, has chosen it by looking. Then the best is
chosen anew in each of many splits, and judged on the other samples (and on other replicates, where there are several).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from netpick.core.result import LEFT_OUT
from netpick.core.words import points
from netpick.exam.across_folds import named_difference
from netpick.exam.answered import comparing_split, marked
from netpick.exam.ballots import final
from netpick.exam.checks import done
from netpick.exam.marks import leaders, preferred
from netpick.exam.significance import ROUNDS, Difference, bootstrap_difference, mcnemar, verdict
from netpick.exam.splits import Accuracies
from netpick.exam.winner import accuracies, labelled
from netpick.store.reader import Reader


@dataclass(frozen=True)
class Pair:
    """How two networks compare.

    Parameters
    ----------
    judged : Difference
        Accuracy of the first less that of the second: on all samples where both were named, else as it was judged on
        samples that played no part in choosing.
    chosen : str
        How the best of all was chosen and judged, in a sentence; "" where both were named.
    label : str
        What a figure of the best on all samples is to be called; "" likewise.
    note : str
        What the test is over, where there are replicates.
    """

    judged: Difference
    chosen: str
    label: str
    note: str

    def said(self, more: str, alpha: float = 0.05) -> str:
        """End a sentence that says `more`, how much the first has more or less than the second."""
        sure = verdict(self.judged.p, alpha)
        return f"{more} ({self.label}). {self.chosen}, and {sure}" if self.chosen else f"{more}, and {sure}"


def compared(
    run: Reader, first: str, second: str, frame: pd.DataFrame, split: str = "test", rounds: int = ROUNDS,
    looked: str | None = None, level: float = 0.95,
) -> Pair:  # fmt: skip
    """Compare two networks.

    Parameters
    ----------
    run : Run
    first, second : str
        Their names.
    frame : pandas.DataFrame
        All `students`: those that the best is the best of.
    rounds : int
        Draws of the bootstrap.
    looked : str, optional
        Another of the two that was chosen by looking: the best of those that remain without the first.
    """
    split = comparing_split(run, split)
    rights = [replicates(run, name, split) for name in (first, second)]
    if split == LEFT_OUT:
        named = named_difference(run, first, second, split, level)
    else:
        named = difference(rights, rounds, level)
    counts = [len(right) for right in rights]
    note = f"the interval and p are over {counts[0]} and {counts[1]} replicates" if min(counts) > 1 else ""
    top = next((name for name in (first, second) if name in leaders(frame)), None)
    if top is None:
        return Pair(named, "", "", note)
    marks = accuracies(run, split)
    known = set(marks.names)
    order = [name for name in preferred(frame) if name in known]
    fixed = {name for name in (first, second) if name not in (top, looked)}
    won = marks.winners(name for name in order if name not in fixed)
    lost = marks.winners(order, but=won) if looked else np.full(len(won), marks.place(fixed)[0])
    rows = (won, lost) if top == first else (lost, won)
    found = marks.compared(*rows, level)
    # Choosing can't make anything surer than if it had been named beforehand.
    judged = Difference(float(found.mean), float(found.low), float(found.high), max(float(found.p), named.p))
    label = f"{top} is the {labelled(run, frame, split)}"
    return Pair(judged, _chosen(marks, top, first, second, won, judged, bool(looked)), label, note)


def _chosen(
    marks: Accuracies, top: str, first: str, second: str, won: np.ndarray, judged: Difference, both: bool
) -> str:
    times, often = len(marks.splits), int((won == marks.place([top])[0]).sum()) or "none"
    other = "the next best" if both else second if top == first else first
    by, low, high = (judged.difference, judged.low, judged.high)
    if top != first:
        by, low, high = -by, -high, -low
    return (
        f"Chosen on one half of the samples and judged on the other, {times} times ({top} in {often} of them), the "
        f"best has {points(abs(by))} {'more' if by >= 0 else 'less'} than {other} (95 % interval {100 * low:+.2f} to "
        f"{100 * high:+.2f})"
    )


def replicates(run: Reader, name: str, split: str = "test") -> np.ndarray:
    """Return right and wrong of every replicate of one network, float32 (replicates, samples); NaN if not answered."""
    rows = done(run)
    numbers = sorted(rows.loc[rows["network"] == name, "replicate"])
    if len(numbers) == 1:
        _, predicted, labels = final(run, [name], split)
        return marked(predicted, labels).astype(np.float32)
    labels = run.labels(split)
    right = [marked(run.predicted(networks=name, split=split, replicate=int(r)), labels) for r in numbers]
    return np.concatenate(right).astype(np.float32)


def difference(rights: list[np.ndarray], rounds: int = ROUNDS, level: float = 0.95) -> Difference:
    """Compare two networks that were named beforehand, from (replicates, samples) of each.

    Where both have several replicates, one test over all of them and the samples; else McNemar's on the first of each.
    """
    if min(len(right) for right in rights) > 1:
        return bootstrap_difference(rights[0], rights[1], rounds=rounds, level=level)
    first, second = (right[:1] for right in rights)
    found = bootstrap_difference(first, second, rounds=rounds, level=level)
    return found._replace(p=mcnemar(first[0] > 0, second[0] > 0))
