"""Which activation is best in each computation, and which is steady?

All students are asked, in their last attempt: those that fail are what makes an activation risky.

Columns of the answer, a row a computation × activation, and after them a row an activation (computation `all`: those
computations together that come with several activations of five students):

- `computation`, `activation`, `students`
- `least`, `tenth`, `q25`, `median`, `q75`, `most`: last accuracies; a tenth of the students are below `tenth`
- `spread`: how far the quartiles are apart
- `steadier`: number of activations whose scores really spread more, within the computations; `riskier`: that of those
  whose scores really spread less; in the rows of `all`

Spread is compared as Brown and Forsythe do (1974, "Robust tests for the equality of variances"): by the distances of
scores from the median of their computation and activation. As a few students fail altogether, distances are compared by
rank, within each computation that has five students of both activations (Van Elteren 1960, "On the combination of
independent two-sample tests of Wilcoxon"), and p-values are corrected for all pairs of activations (Holm 1979). Whether
one activation is more accurate than another is what `compare` tests, with `by="activation"`.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.analysis import _ranks, _scale
from netpick.exam import Answer, Run, listed, percent, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FACETS = 4
"""In a row."""


def ask(run: Run, *, alpha: float = 0.05, split: str = "test") -> Answer:
    """Describe the last scores of each activation in each computation.

    Parameters
    ----------
    alpha : float
        A difference in spread is called real where its corrected p-value is below this.
    """
    alpha = exam.check_fraction("alpha", alpha)
    frame = exam.students(run, split=split)
    pairs = spreads(frame, alpha)
    table = summary(frame, pairs)
    text = f"{_best(frame)} {_overall(frame)} {_steady(pairs, alpha)}"
    real = pairs[pairs["real"]]
    title = f"Activations in each computation: {len(real)} of {len(pairs)} pairs differ in spread beyond chance"
    who = f"{exam.how_many(frame)}, all of them; a box has five or more, of fewer each is a point."
    return Answer(
        table, text, lambda: theme.finish(_draw(frame), title, who), exam.notes(run, exam.said_of_networks(run, split)),
        shares=("least", "tenth", "q25", "median", "q75", "most", "spread"),
        columns=("computation", "activation", "students", "median", "spread", "tenth", "steadier", "riskier"),
    )  # fmt: skip


def spreads(frame: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Return a row a pair of activations: the steadier one, the other, the p-value, and whether that is real."""
    from scipy.stats import norm

    several = _several(frame)
    distances = {
        cell: np.abs(scores - scores.median()).to_numpy()
        for cell, scores in several.groupby(["computation", "activation"])["accuracy"]
    }
    rows = []
    for one, other in combinations(theme.family_order(several, "activation"), 2):
        both = [c for c in several["computation"].unique() if (c, one) in distances and (c, other) in distances]
        if both:
            z = _ranks.stratified([(distances[c, one], distances[c, other]) for c in both])
            rows.append((*((one, other) if z <= 0 else (other, one)), 2 * norm.sf(abs(z))))
    pairs = pd.DataFrame(rows, columns=["steady", "risky", "p"])
    pairs["p"] = exam.holm(pairs["p"].to_numpy(float))
    return pairs.assign(real=pairs["p"] < alpha)


def summary(frame: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the table: a row a computation × activation, and last a row an activation."""
    several, real = _several(frame), pairs[pairs["real"]]
    cells = [(c, a, frame) for c in theme.family_order(frame) for a in theme.family_order(frame, "activation")]
    cells += [("all", a, several) for a in theme.family_order(several, "activation")]
    rows = []
    for computation, activation, of in cells:
        mine = of[(of["activation"] == activation) & ((of["computation"] == computation) | (computation == "all"))]
        if len(mine):
            q = np.quantile(mine["accuracy"], [0, 0.1, 0.25, 0.5, 0.75, 1])
            counts = [
                (real[end] == activation).sum() if computation == "all" else np.nan for end in ("steady", "risky")
            ]
            rows.append((computation, activation, len(mine), *q, q[4] - q[2], *counts))
    columns = ("computation", "activation", "students", "least", "tenth", "q25", "median", "q75", "most", "spread")
    return pd.DataFrame(rows, columns=[*columns, "steadier", "riskier"])


def _several(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the students of computations that come with several activations, of activations that have enough."""
    enough = frame[frame.groupby(["computation", "activation"])["name"].transform("size") >= exam.ENOUGH]
    return enough[enough.groupby("computation")["activation"].transform("nunique") > 1]


def _best(frame: pd.DataFrame) -> str:
    """Say in how many computations which activation has the highest median."""
    rows = _several(frame)
    if not len(rows):
        return f"No computation has two activations with {exam.ENOUGH} students each."
    medians = rows.groupby(["computation", "activation"], sort=False)["accuracy"].median().round(exam.DIGITS)
    tops = medians[medians == medians.groupby("computation").transform("max")].reset_index()["activation"]
    counts = tops.value_counts().loc[theme.family_order(tops.to_frame(), "activation")]
    said = listed(f"{name} in {n}" for name, n in counts.sort_values(ascending=False, kind="stable").items())
    return (
        f"Of {exam.counted_word(rows['computation'].nunique(), 'computation')} with several activations, the highest "
        f"median has {said}."
    )


def _overall(frame: pd.DataFrame) -> str:
    """Say which activation has the highest mean, and which one among computations that come with several."""
    means = frame.groupby("activation")["accuracy"].mean().sort_values(ascending=False)
    said = f"Over all, {means.index[0]} has the highest mean ({percent(means.iloc[0])})"
    alone = frame.groupby("computation")["activation"].transform("nunique") == 1
    only = frame[alone & (frame["activation"] == means.index[0])]
    rest = frame[~alone].groupby("activation")["accuracy"].mean().sort_values(ascending=False)
    if not len(only) or not len(rest):
        return f"{said}."
    own = f"it has {percent(rest[means.index[0]])}" if means.index[0] in rest else "there is none of it"
    first = " and is still the first" if rest.index[0] == means.index[0] else (
        f", and {rest.index[0]} is the first ({percent(rest.iloc[0])})"
    )  # fmt: skip
    return (
        f"{said}; {len(only)} of its networks are {listed(only['computation'].unique())}, which has no other: without "
        f"these {own}{first}."
    )


def _steady(pairs: pd.DataFrame, alpha: float) -> str:
    """Say who is steadier than whom, where that is real."""
    if not len(pairs):
        return "Nothing can be said of how steady they are."
    real = pairs[pairs["real"]]
    said = (
        f"{len(real)} of {exam.counted_word(len(pairs), 'pair')} of them "
        f"{'differs' if len(real) == 1 else 'differ'} in spread within the computations beyond chance (corrected p < "
        f"{alpha:g})"
    )
    steady = real.groupby("steady", sort=False)["risky"].agg(list)
    named = [f"{name} is steadier than {listed(others)}" for name, others in steady.items()]
    return f"{said}{': ' if named else ''}{'; '.join(named)}."


def _draw(frame: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    order, activations = theme.family_order(frame), theme.family_order(frame, "activation")
    rows, columns = -(-len(order) // FACETS), min(len(order), FACETS)
    fig = Figure(figsize=(10, 3.2 * rows + 1.2))
    axes = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    ends = _scale.logit_ends(frame["accuracy"])
    for ax, computation in zip(axes.flat, order, strict=False):
        if ends:
            ax.set_yscale("logit")
        mine = frame[frame["computation"] == computation]
        groups = [mine.loc[mine["activation"] == a, "accuracy"].clip(*(ends or (0, 1))).to_numpy() for a in activations]
        _boxes(ax, groups, computation)
        ax.set_xticks(range(len(activations)), [theme.plain(a) for a in activations])
        ax.tick_params(axis="x", rotation=45, labelbottom=True)
        ax.set_title(theme.plain(computation), fontsize=10, loc="left")
        ax.grid(axis="x", visible=False)
    for ax in axes.flat[len(order) :]:
        ax.set_axis_off()
    _scale.write(axes[0, 0].yaxis, *axes[0, 0].get_ylim(), bool(ends))
    for row in axes:
        row[0].set_ylabel(f"last score{' (logit scale)' if ends else ''}")
    return fig


def _boxes(ax: Axes, groups: list[np.ndarray], computation: str) -> None:
    """Draw a box for each group, with how many it has above; of fewer than five students each one."""
    shade, marker = theme.colour(computation), theme.marker(computation)
    boxed = [i for i, scores in enumerate(groups) if len(scores) >= exam.ENOUGH]
    if boxed:
        ax.boxplot(
            [groups[i] for i in boxed], positions=boxed, widths=0.62, patch_artist=True, manage_ticks=False,
            boxprops={"facecolor": shade, "edgecolor": theme.INK, "linewidth": 0.8}, medianprops=theme.median_line(),
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": shade},
        )  # fmt: skip
    for i, scores in enumerate(groups):
        if i not in boxed:
            ax.plot(np.full(len(scores), i), scores, marker, color=shade, ms=5, mec=theme.INK, mew=0.4)
        if len(scores):
            ax.annotate(
                str(len(scores)), (i, 0), xycoords=("data", "axes fraction"), xytext=(0, 3),
                textcoords="offset points", ha="center", va="bottom", fontsize=7.5, color="#555555",
            )  # fmt: skip
