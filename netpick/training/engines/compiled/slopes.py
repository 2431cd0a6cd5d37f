"""Where the gradients of what layers make lie on the way back, each only for as long as it is needed.

Two or three of them are there at a time, so that they stay in the cache, where those of all layers would not.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

import numpy as np


def place_slopes(k: Any, rows: Sequence[np.ndarray], made: Sequence[tuple[int, int]], classes: int) -> int:
    """Write into a table where gradients lie; return how many values of a sample there are at the same time, at most.

    The gradient of a sum is that of its first part too, and that of padding the one of what was padded.

    Parameters
    ----------
    k : the module `kernels`
    rows : of the table, whose columns of gradients say how far inside of what a layer reads or makes they begin
    made : what the layers make, in order: where it begins, and how many gradients of a sample it has
    classes : gradients that the loss writes, in the place of the last layer's
    """
    begins = [begin for begin, _ in made]
    same = list(range(len(made)))  # of each, one that lies in the same place

    def at(offset: int) -> int:
        return bisect.bisect_right(begins, offset) - 1

    for row in rows:
        alone = row[k.KIND] == k.ADD or (row[k.KIND] == k.PAD and not row[k.OTHER])
        if alone and row[k.INPUT] >= 0:
            same[at(row[k.OUTPUT])] = same[at(row[k.INPUT])]
    size, first, last = [0] * len(made), [len(rows)] * len(made), [-1] * len(made)
    for which, (_, many) in zip(same, made, strict=True):
        size[which] = max(size[which], many)
    end = same[at(rows[-1][k.OUTPUT])]
    size[end], last[end] = max(size[end], classes), len(rows)
    for number, row in enumerate(rows):
        one = same[at(row[k.OUTPUT])]
        first[one] = min(first[one], number)
        for column in (k.INPUT, k.OTHER) if row[k.KIND] == k.ADD else (k.INPUT,):
            if row[column] >= 0:
                last[same[at(row[column])]] = max(last[same[at(row[column])]], number)
    places, room = place(list(zip(size, first, last, strict=True)))
    for row in rows:
        row[k.OUTPUT_SLOPE] += places[same[at(row[k.OUTPUT])]]
        if row[k.INPUT] >= 0:
            row[k.INPUT_SLOPE] += places[same[at(row[k.INPUT])]]
        if row[k.KIND] == k.ADD and row[k.OTHER] >= 0:
            row[k.OTHER_SLOPE] = places[same[at(row[k.OTHER])]]
    return room


def place(spans: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """Return where values may lie, and the room for all of them.

    Parameters
    ----------
    spans : of each value its size, and the first and the last moment of its life; those who live at the same time don't
        overlap
    """
    places = [0] * len(spans)
    placed: list[int] = []
    for which in sorted(range(len(spans)), key=lambda which: -spans[which][0]):  # the largest first
        size, first, last = spans[which]
        beside = [one for one in placed if spans[one][1] <= last and first <= spans[one][2]]
        begin = 0
        for there, end in sorted((places[one], places[one] + spans[one][0]) for one in beside):
            if there - begin >= size:
                break
            begin = max(begin, end)
        places[which] = begin
        placed.append(which)
    return places, max((begin + span[0] for begin, span in zip(places, spans, strict=True)), default=0)
