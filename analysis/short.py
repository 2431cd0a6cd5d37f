"""Which few samples place a new classifier among these networks?

Whoever has answered a few dozen samples need not answer thousands: where the networks of a run have answered all of
them, it is known what each sample tells. `netpick examine RUN predictions.csv` places a classifier that answered these.

Columns
-------
A row is a sample, in the order in which they are taken:

place, sample, label : its place from 1, its number and true class
right : share of the networks that get it right
difficulty, discrimination : as in the question `ability`
doubt : what is left of the variance of an ability after this sample and those before it: 1 before the first

Method
------
The samples are calibrated by the two-parameter logistic model (see `ability`). One after the other that sample is taken
that leaves least doubt, the variance 1 / (1 + information) averaged over abilities that are normal (0, 1): so that
easy and hard samples come in, and the first n are the best n that are got this way. Polo et al. (2024,
"tinyBenchmarks: evaluating LLMs with fewer examples", arXiv 2402.14992) take such models for benchmarks of language
models; the accuracy on all samples is their p-IRT: the share of those answered, and for the others what the ability
foretells.

How far that is off is measured on networks of families that are left out: the families (computations, or with their
activations where there are fewer than five) are dealt into five folds, samples are calibrated and chosen without a
fold, and its networks are placed by their answers. The intervals are conformal: an interval reaches as many of the
model's own standard errors as cover 90 % of the networks of a fold by those of the other four, each fold counting
alike. The figure has beside it the plain share of as many samples drawn at
random, and what is known without any answer: the mean accuracy of the networks that were not left out. Of more than
2,000 networks a share of each family is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Run, examination, percent, short_exam, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (5, 10, 20, 30, 50, 100, 200)
"""Numbers of samples in the figure."""

DRAWS = 20
"""Random samples that each size is compared with."""


def ask(
    run: Run,
    *,
    items: int = 30,
    networks: int = exam.MANY,
    everyone: bool = False,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> Answer:
    """Choose the samples, and measure what an accuracy that is estimated from them is worth.

    Parameters
    ----------
    items : int
        Samples of the short exam.
    networks : int
        Where there are more, so many are drawn, a share of each family.
    """
    exam.check_count("items", items, 2)
    exam.check_count("networks", networks, examination.FEWEST)
    compared_on, split = exam.said_of_networks(run, split), exam.need_shared(run, split, "a short exam")
    frame, right, labels = examination.calibrating(run, everyone, good, gold, quantile, split)
    items = exam.check_count("items", items, 2, right.shape[1])
    frame, who = exam.drawn_of(frame, networks, exam.whom(frame, everyone))
    if len(frame) < len(right):
        right = right[frame.index]
    model = short_exam.calibrated(right)
    taken = short_exam.chosen(model, items)
    folds, apart = short_exam.dealt(examination.families(frame))
    left = short_exam.LeftOut.of(right, folds)
    sizes = sorted({items, *(size for size in SIZES if size <= right.shape[1])})
    orders = left.chosen(sizes[-1])
    errors = _errors(left, orders, sizes)
    found = left.placed([order[:items] for order in orders])
    off = left.off(found)
    table = pd.DataFrame(
        {
            "place": np.arange(1, items + 1), "sample": taken, "label": labels[taken],
            "right": right.mean(axis=0)[taken], "difficulty": model.difficulty[taken],
            "discrimination": model.slope[taken], "doubt": _doubt(model, taken),
        }
    )  # fmt: skip
    mine = errors.set_index("items").loc[items]
    reach = left.factor(off) * float(np.median(found.spread))
    left_out = "of families left out of the calibration" if apart else "left out of the calibration"
    text = (
        f"Answers to {items} of {right.shape[1]} samples, number {taken[0]} first, tell the accuracy of networks "
        f"{left_out} to within {exam.points(mine['chosen'])} on average; as many drawn at random to within "
        f"{exam.points(mine['random'])}, and the mean of the other networks, without any answer, to within "
        f"{exam.points(mine['nothing'])}. Half of the 90 % intervals reach less than {exam.points(reach)}; they cover "
        f"{percent(left.coverage(off), 1)} of these networks. Asked were {who}."
    )
    title = f"{items} samples tell a new network's accuracy to within {exam.points(mine['chosen'])}"
    return Answer(
        table, text, lambda: theme.finish(_draw(errors, items), title, who),
        exam.notes(
            run, "" if apart else "there are too few families to leave some out: networks were", compared_on, first=True
        ),
        shares=("right",), columns=("place", "sample", "label", "right", "difficulty", "discrimination", "doubt"),
    )  # fmt: skip


def _errors(left: short_exam.LeftOut, orders: list[np.ndarray], sizes: list[int]) -> pd.DataFrame:
    """Return the mean absolute error by number of samples: chosen, drawn at random, and by the other networks alone."""
    truth, samples = left.right.mean(axis=1), left.right.shape[1]
    others = np.array([truth[left.folds != fold].mean() for fold in range(len(left.models))])[left.folds]
    nothing = np.abs(others - truth).mean()
    rng = np.random.default_rng(0)
    rows = []
    for size in sizes:
        found = left.placed([order[:size] for order in orders]).accuracy
        drawn = [left.right[:, rng.choice(samples, size, replace=False)].mean(axis=1) for _ in range(DRAWS)]
        rows.append((size, np.abs(found - truth).mean(), np.abs(np.array(drawn) - truth).mean(), nothing))
    return pd.DataFrame(rows, columns=["items", "chosen", "random", "nothing"])


def _doubt(model: exam.ResponseModel, taken: np.ndarray) -> np.ndarray:
    p = short_exam.chances(model)[:, taken]
    known = 1 + np.cumsum(model.slope[taken] ** 2 * p * (1 - p), axis=1)
    return short_exam.PRIOR @ (1 / known)


def _draw(errors: pd.DataFrame, items: int) -> Figure:
    """Draw the error over the number of samples."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(theme.WIDTH, 5), layout="constrained")
    ax = fig.subplots()
    for column, word, shade in (("random", "drawn at random", theme.WRONG), ("chosen", "chosen", theme.RIGHT)):
        ax.plot(errors["items"], 100 * errors[column], "o-", color=shade, label=word)
    ax.axhline(100 * errors["nothing"].iloc[0], color="0.5", linestyle="--", label="mean of the other networks")
    ax.axvline(items, color=theme.INK, linestyle=":")
    ax.set_xscale("log")
    ax.set_xticks(errors["items"], [str(size) for size in errors["items"]])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.set(xlabel="samples answered", ylabel="mean error of the accuracy (percentage points)")
    ax.legend()
    return fig
