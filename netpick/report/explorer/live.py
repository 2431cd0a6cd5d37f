"""The live class: which networks travel in the page, as steps of plain data and weights in 8 bits.

A weight is one byte, times a scale that its output channel has; biases, norms and scales are float32. As many networks
travel as fit, taken in turns over the families, the smallest of each first; the best one and `Basic` always do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from netpick import exam
from netpick.core.errors import RunError
from netpick.exam.forward_pass import Passes
from netpick.exam.forward_steps import Step
from netpick.exam.run import Run
from netpick.report.explorer import pack
from netpick.report.explorer.drawing import are_inputs, form, stored_images, unseen_form

Carried = tuple[dict[str, Any], dict[str, Any], dict[str, list[str]]]


def carried(run: Run, budget_bytes: int, count: int | None = None) -> Carried:
    """Return the networks that travel in a page.

    Parameters
    ----------
    run : Run
    budget_bytes : int
        What they may take in the page, in base64; the best and `Basic` each.
    count : int, optional
        How many networks, whatever they take; None for as many as fit, 0 for none.

    Returns
    -------
    head : dict
        networks (names, in the order of the blocks), able (how many could travel), form (see `drawing.form`); empty
        where none travels.
    blocks : dict
        live_steps (a list of steps a network), live_weights (int8, as its bytes), live_numbers (float32): those of all
        networks one after the other; a step says how many it takes of each.
    left_out : dict
        Reasons why a network can't be run in a page, and the names of those that can't for each.
    """
    if count == 0 or run.imported:
        return {}, {}, {}
    passes, students, images = Passes(run), exam.students(run), stored_images(run)
    reasons = {name: passes.obstacle(name) for name in run.networks["name"]}
    if not are_inputs(run, images):
        reasons = dict.fromkeys(reasons, "the run has pictures of its samples, but not the numbers that networks take")
    answered = students["name"].isin(exam.first_replicates(run))
    able = students[answered & ~students["name"].map(reasons).astype(bool)]
    params = dict(zip(able["name"], able["params"], strict=True))
    chosen: dict[str, Packed] = {}
    room = budget_bytes
    for name, certain in _in_turns(able):
        most = math.inf if count is not None else budget_bytes if certain else room
        if name in chosen or params[name] > most:  # a parameter takes more than a byte
            continue
        if len(chosen) == count:
            break
        try:
            packed = Packed(passes.of(name))
        except RunError as error:
            reasons[name] = str(error)
            continue
        if packed.size <= most:
            chosen[name] = packed
            room -= packed.size
    left_out: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if reason:
            left_out.setdefault(reason, []).append(name)
    if not chosen:
        return {}, {}, left_out
    blocks = {
        "live_steps": [packed.steps for packed in chosen.values()],
        "live_weights": np.concatenate([packed.weights for packed in chosen.values()]).view(np.uint8),
        "live_numbers": np.concatenate([packed.numbers for packed in chosen.values()]),
    }
    drawn = unseen_form(run) if images is None else form(images)
    return {"networks": list(chosen), "able": len(able), "form": drawn}, blocks, left_out


def _in_turns(able: pd.DataFrame) -> Iterator[tuple[str, bool]]:
    """Yield networks, and whether they travel in any case: the best and `Basic`, then one of each family in turns."""
    if not len(able):
        return
    for name in (exam.best(able), exam.basic(able)):
        if name is not None:
            yield name, True
    ordered = able.sort_values("params", kind="stable")
    turn = ordered.groupby(["computation", "activation"]).cumcount()
    for name in ordered.loc[turn.sort_values(kind="stable").index, "name"]:
        yield name, False


class Packed:
    """One network as it travels: its steps, its weights in 8 bits, its other numbers, and what it takes in a page."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps: list[dict[str, Any]] = []
        weights, numbers = [np.empty(0, np.int8)], [np.empty(0, np.float32)]
        for step in steps:
            vectors, shape = list(step.numbers), None
            if step.weight is not None:
                shape = step.weight.shape
                scale = np.abs(step.weight).max(axis=1) / 127
                weights.append(np.rint(step.weight / np.where(scale, scale, 1)[:, None]).astype(np.int8).ravel())
                vectors.append(scale)
            numbers.extend(vector.astype(np.float32) for vector in vectors)
            lengths = [len(vector) for vector in vectors]
            self.steps.append({"op": step.op, "of": step.of, **step.sizes, "weight": shape, "numbers": lengths})
        self.weights, self.numbers = np.concatenate(weights), np.concatenate(numbers)
        self.size = sum(pack.packed(part).size for part in (self.steps, self.weights.view(np.uint8), self.numbers))
