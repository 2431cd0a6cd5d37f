"""The scores that travel in the page, for the mean probability of a committee: of some networks, on some samples.

A sample that every network has right is right by the mean of any of them too, so that scores of the others are
enough. Probabilities are kept as the nearest of 64 steps of their square root: fine where they are small.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netpick import exam
from netpick.core.errors import RunError
from netpick.exam.run import Run
from netpick.report.explorer.pack import Block, packed

ALL, SOME = 4_000_000, 1_500_000
"""Bytes of the scores, before they are compressed to a half or less: of all networks, or else of some."""

STEPS = 63


class Scores:
    """Scores that travel: `steps` uint8 (networks, samples, classes); `networks` and `samples` are whose they are."""

    def __init__(self, steps: np.ndarray, networks: list[int], samples: np.ndarray) -> None:
        self._steps, self._samples = steps, samples
        self.head: dict[str, Any] = {"networks": networks}

    def blocks(self, kept: np.ndarray) -> dict[str, Block]:
        """Return the scores on those samples that are kept, sample by sample, and the places of these among them."""
        if not self.head["networks"]:
            return {}
        mine = np.isin(self._samples, kept)
        places = np.searchsorted(kept, self._samples[mine])
        steps = self._steps[:, mine].transpose(1, 0, 2)
        return {"scores": packed(np.ascontiguousarray(steps)), "scored": packed(places.tolist())}


def scores(run: Run) -> Scores:
    """Choose networks and samples: all networks where they fit, else the best, `Basic`, and some of every family."""
    nobody = Scores(np.empty((0, 0, 0), np.uint8), [], np.empty(0, int))
    try:
        names, values, labels = exam.final_scores(run)
    except RunError:
        return nobody
    everyone, predicted, _ = exam.final(run)
    if names != everyone:
        return nobody
    hard = np.flatnonzero((predicted != labels).any(axis=0))
    each = max(1, len(hard) * len(run.classes))
    rows = _over_families(run, names)[: len(names) if each * len(names) <= ALL else SOME // each]
    steps = np.empty((len(rows), len(hard), len(run.classes)), np.uint8)
    for i, row in enumerate(rows):
        steps[i] = np.rint(STEPS * np.exp(values[row][hard] / 2))
    return Scores(steps, rows, hard)


def _over_families(run: Run, names: list[str]) -> list[int]:
    """Return places of all networks: the best, `Basic`, then one of each family in turns, the most accurate first."""
    frame = exam.students(run)
    frame = frame[frame["name"].isin(names)]
    place = {name: i for i, name in enumerate(names)}
    order = frame.sort_values(["accuracy", "macs", "name"], ascending=[False, True, True])
    turn = order.groupby(["computation", "activation"]).cumcount()
    spread = order.assign(turn=turn).sort_values("turn", kind="stable")["name"].tolist()
    first = [exam.best(frame), *filter(None, [exam.basic(frame)])]
    return [place[name] for name in dict.fromkeys([*first, *spread])]
