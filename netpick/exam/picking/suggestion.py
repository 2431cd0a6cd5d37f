"""Pick a network: constraints, objectives, the Pareto front, and a suggestion with its reasons.

Whoever takes the best of a thousand takes the luckiest too. So the choice is made on the validation split where the run
has one, and the accuracy that is reported is that on the test samples, looked at for nothing else. Without a validation
split the choice is made on all test samples, and the accuracy that is reported is what the same choice comes to when it
is made on one half of them and judged on the other, averaged over many splits. Costs come from the run's tables.
Nothing is printed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from netpick.core.advice import command
from netpick.core.errors import NetpickError
from netpick.exam.answer import Answer
from netpick.exam.checks import check_fraction, need_known, notes
from netpick.exam.device.onnx_file import Read
from netpick.exam.luck import said_of_luck
from netpick.exam.picking.candidates import Candidates
from netpick.exam.picking.choice import Choice
from netpick.exam.picking.columns import FRACTIONS, TIMES
from netpick.exam.picking.constraints import Constraint, nobody_meets
from netpick.exam.picking.figure import draw
from netpick.exam.picking.in_8_bits import in_8_bits
from netpick.exam.picking.objectives import Objectives
from netpick.exam.splits import Judged
from netpick.exam.timings import TIMED, times
from netpick.store.reader import Reader
from netpick.store.schema import SIZES


@dataclass
class Pick(Answer):
    """A suggestion: an `Answer` whose table is the Pareto front, and the runner-up.

    Parameters
    ----------
    name : str
        The suggested network.
    runner_up : str or None
        What would be suggested if there were no such network.
    candidates : int
        Networks that meet the constraints.
    judged : Judged
        Accuracy on samples that played no part in the choice, with its 95 % interval.

    Notes
    -----
    Columns of the table: name, computation, activation, the costs; accuracy, class_accuracy (of the worst class) and,
    where it was asked for, class_auc (area under the ROC curve in the worst class) on the samples that the choice was
    made on; judged, judged_class (the same on samples that played no part in it: of the
    suggested network, `judged` is that of what was chosen in each split; of the others, the mean over the splits in
    which they were on the front); chosen (share of the splits in which it is this network); suggested, runner_up
    (bool).
    """

    name: str = ""
    runner_up: str | None = None
    candidates: int = 0
    judged: Judged | None = None


def pick(
    run: Reader,
    constraints: Mapping[str, float | str | list[str]] | None = None,
    minimize: Iterable[str] | None = None,
    maximize: Iterable[str] | None = None,
    *,
    give_up: float | None = None,
    seed: int = 0,
    int8: Read | None = None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Pick:
    """Suggest a network.

    Parameters
    ----------
    run : Run
    constraints : mapping
        ``min_X`` and ``max_X`` of any column of `NUMBERS`; ``computation``, ``activation`` or ``name``, each a word or
        a list of words. Accuracies are those on the samples that the choice is made on.
    minimize, maximize : names of columns of `NUMBERS`
        The objectives, the most important first; without any, few macs and high accuracy. The suggestion comes from
        their Pareto front: the networks that no other one beats in one objective without losing in another.
    give_up : float, optional
        Accuracy that may be lost for a lower cost: of the networks of the front that are at most this much less
        accurate than the most accurate one, the one is suggested that is best by the other objectives, in their order.
        Without it one standard error of the highest accuracy: what a choice on so few samples can't tell anyway
        (the rule of Breiman et al. 1984, "Classification and regression trees").
    seed : int
        Of the splits.
    int8 : callable, optional
        Choose by what networks score in whole numbers of 8 bits; reads the data set, see `netpick.sessions.pixels_of`.
    on_note : callable
        Told what takes a while.

    Raises
    ------
    NetpickError
        Unknown column or word (the nearest is suggested), a value that makes no sense, and constraints that nothing
        meets: then it says which one is to blame, and which network comes nearest.
    """
    if give_up is not None:
        check_fraction("give_up", give_up)
    constraints = constraints or {}
    candidates = run.once(("candidates", seed), lambda: Candidates.of(run, seed))
    if minimize is None and maximize is None and candidates.frame["macs"].isna().all():
        maximize = ["accuracy"]  # nobody told what imported networks cost
    objectives = Objectives.checked(minimize, maximize)
    asked = {*objectives.columns, *(key.partition("_")[2] for key in constraints)}
    areas = ["class_auc"] if "class_auc" in asked else []
    if areas:
        plain = candidates
        candidates = run.once(("candidates with areas", seed), lambda: plain.with_class_auc(run))
    frame = candidates.frame
    known = np.ones(len(frame), bool)
    for column in asked & {*TIMED}:
        if column not in frame:
            raise NetpickError(f"{column} has not been measured: `{command('time', run.path)}` does")
        known &= frame[column].notna().to_numpy()
    for column in asked & {*SIZES, "seconds"}:
        known &= frame["name"].isin(need_known(run, frame, column)["name"]).to_numpy()
    wanted = [Constraint.checked(key, value, frame) for key, value in constraints.items()]
    _check_met(candidates, wanted, known)
    noted = candidates.note
    if int8 is not None:
        if areas:
            raise NetpickError("class_auc is not worked out in 8 bits: choose by class_accuracy, or without int8")
        candidates, said = in_8_bits(run, candidates, objectives, wanted, known, give_up, int8, on_note)
        _check_met(candidates, wanted, known)
        noted = f"{noted}; {said}"
    choice = Choice.made(candidates, objectives, wanted, known, give_up)
    costs = [column for column in objectives.columns if column not in FRACTIONS] or ["macs"]
    timed = {*objectives.columns, *(c.column for c in wanted)} & {*TIMES, "throughput"}
    return Pick(
        choice.table,
        choice.text,
        lambda: draw(choice),
        "; ".join(filter(None, (noted, notes(run, times(run) if timed else "", said_of_luck(run), first=True)))),
        shares=(*FRACTIONS, "judged", "judged_class", "chosen"),
        columns=("name", *costs, *areas, "judged", "accuracy", "chosen", "runner_up", "judged_class"),
        suggested=str(choice.chosen["name"]),
        name=str(choice.chosen["name"]),
        runner_up=None if choice.second is None else str(choice.second["name"]),
        candidates=len(choice.pool),
        judged=choice.judged,
    )


def _check_met(candidates: Candidates, wanted: list[Constraint], known: np.ndarray) -> None:
    """Raise NetpickError where no network that can be chosen meets all constraints."""
    there = candidates.can_be()
    frame = candidates.frame[there]
    if not np.logical_and.reduce([known[there], *(c.met(frame) for c in wanted)]).any():
        raise NetpickError(nobody_meets(frame, wanted))
