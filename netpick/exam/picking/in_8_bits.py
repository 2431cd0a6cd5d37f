"""Candidates by what they score in whole numbers of 8 bits, and which of them a choice is made among.

To quantise all would take an hour. For each choice, that on all samples and that of each split, the first few networks
are quantised that one would take before: those named by the samples that choose, and by no other. So the samples that
judge play no part in who is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from netpick.core.errors import RunError, listed
from netpick.core.words import counted_word
from netpick.exam.device.graph import onnx_package
from netpick.exam.device.onnx_file import Read, checked, passes, steps_of
from netpick.exam.device.runtime import CALIBRATION, scores_of
from netpick.exam.picking.candidates import Candidates
from netpick.exam.picking.constraints import Constraint
from netpick.exam.picking.objectives import Objectives
from netpick.store.reader import Reader

EACH = 5
"""Networks of a choice that are tried: of 51 choices they are at most 255, and most choices name the same."""


def in_8_bits(
    run: Reader,
    candidates: Candidates,
    objectives: Objectives,
    constraints: Sequence[Constraint],
    known: np.ndarray,
    give_up: float | None,
    read: Read,
    on_note: Callable[[str], None],
) -> tuple[Candidates, str]:
    """Return candidates with what those score in 8 bits that are tried, and a note that says who was.

    Parameters
    ----------
    run : Run
    candidates, objectives, constraints, known, give_up : as for a choice
    read : callable
        Reads the data set.
    on_note : callable
        Told how many networks are quantised, which takes a while.

    Raises
    ------
    NetpickError
        No network can be quantised, with the reason; and as `export_onnx`.
    """
    onnx_package()
    reasons = {name: passes(run).obstacle(name) for name in candidates.frame["name"]}
    able = np.array([not reason for reason in reasons.values()])
    if not able.any():
        raise RunError(f"no network of {run.path} can be quantised: {listed(dict.fromkeys(reasons.values()), 1)}")
    tried = np.zeros((len(able), 1 + len(candidates.splits)), bool)
    halved = {column: max(1, n // 2) for column, n in candidates.samples.items()}
    for k in range(-1, len(candidates.splits)):
        frame = candidates.frame if k < 0 else candidates.at(k)
        there = frame[np.logical_and.reduce([able, known, *(c.met(frame) for c in constraints)])]
        tried[_first(there, objectives, give_up, candidates.samples if k < 0 else halved), k + 1] = True
    if not tried[:, 0].any():
        raise RunError(f"no network of {run.path} that meets the constraints can be quantised: loosen them")
    names = candidates.frame["name"].to_numpy()[tried.any(axis=1)].tolist()
    on_note(f"quantising {counted_word(len(names), 'network')} ...")
    steps = {name: steps_of(run, name) for name in names}
    pixels = read(CALIBRATION)
    answers: dict[str, dict[str, np.ndarray]] = {}
    for name in names:
        made = checked(run, name, steps[name], pixels, True)
        assert made.quantised is not None
        assert made.quantised_scores is not None
        answers[name] = {"test": made.quantised_scores.argmax(axis=1)}
        if candidates.validation:
            answers[name]["validation"] = scores_of(made.quantised, pixels.splits["validation"]).argmax(axis=1)
    return candidates.answered(run, answers, tried), _note(len(names), int((~able).sum()))


def _first(frame: pd.DataFrame, objectives: Objectives, give_up: float | None, samples: dict[str, int]) -> list[int]:
    """Return the numbers of the networks that one would take, one after the other, if those before were not there."""
    out: list[int] = []
    while len(frame) and len(out) < EACH:
        front = objectives.front(frame)
        lost = objectives.standard_error(front, samples) if give_up is None else give_up
        chosen = frame["name"] == objectives.best(front, lost)["name"]
        out += frame.index[chosen].tolist()
        frame = frame[~chosen]
    return out


def _note(tried: int, unable: int) -> str:
    said = (
        f"accuracies are those in 8 bits, of the first {EACH} networks that each choice would take without; "
        f"{tried} were quantised in all, and no others"
    )
    return f"{said}; {counted_word(unable, 'network')} can't be, or kept no weights" if unable else said
