"""Which fold of the training samples each network of a run leaves out: balanced over families and sizes.

A function of the whole catalogue alone, whatever is trained first, or again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np


def first_folds(networks: Iterable[tuple[str, str, str, int]], folds: int) -> dict[str, int]:
    """Return the fold that replicate 0 of each network leaves out; those after it leave out the folds after it.

    Parameters
    ----------
    networks : hash, computation, activation and number of parameters of each network of a run
    folds : how many there are

    Returns
    -------
    dict
        By hash. Within a family folds are dealt out in turn, from its smallest network to its largest. They begin where
        all folds together come nearest to an equal number of networks, and then to networks of equal sizes.
    """
    families: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for hash_, computation, activation, params in networks:
        families[computation, activation].append((params, hash_))
    dealt = _deal(families, folds, np.ptp)
    if np.ptp(np.bincount([*dealt.values()], minlength=folds)) > 2:  # hardly ever: the next best was better in the end
        dealt = _deal(families, folds, np.var)
    return dealt


def _deal(
    families: dict[tuple[str, str], list[tuple[int, str]]], folds: int, inequality: Callable[[np.ndarray], float]
) -> dict[str, int]:
    """Deal the folds out to family after family, so that numbers of networks are as equal as it goes each time."""
    out: dict[str, int] = {}
    numbers, sizes = np.zeros(folds, int), np.zeros(folds)
    turns = np.arange(folds)
    for _, members in sorted(families.items()):
        rank = np.arange(len(members))
        # Of a family that begins with fold 0; a beginning at another one turns both.
        more = np.bincount(rank % folds, minlength=folds)
        larger = np.bincount(rank % folds, (rank + 0.5) / len(rank) - 0.5, folds)
        unequal = [
            (float(inequality(numbers + np.roll(more, t))), (sizes + np.roll(larger, t)).std().round(9)) for t in turns
        ]
        begin = min(turns.tolist(), key=unequal.__getitem__)
        numbers, sizes = numbers + np.roll(more, begin), sizes + np.roll(larger, begin)
        out.update((hash_, (begin + i) % folds) for i, (_, hash_) in enumerate(sorted(members)))
    return out
