"""Where does the spread of scores come from: the computation, the network, the seed, or the test samples?

Accuracies of the last attempt are taken apart as variances: between computations, between the networks of one
computation, and between replicates of one network, whose initial weights and order of samples are drawn anew. Without
replicates the last two can't be told apart.

Columns of the answer, a row a source:

- `source`: computation, network (within its computation), seed (within a network), or network and seed together
- `sd`: fraction; the standard deviation that it alone would give
- `low`, `high`: of `sd`, 95 %, where five networks or more are in computations of several (a jackknife over networks)
- `share`: of the variance of all trainings; `trainings`: how many it is from
- `samples`, last: by how much (standard deviation) another draw of as many test samples would move one network, which
  moves all others too; it is no share of the spread, since all were asked the same samples

Method: the variances of a nested design with unequal numbers, by equating mean squares with their expectations (Searle,
Casella and McCulloch 1992, "Variance Components", chapter 5); less than nothing counts as nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, NetpickError, Run, percent, points, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 5
"""Networks, in computations of several, that bounds are worked out from."""


def ask(run: Run, *, split: str = "test") -> Answer:
    """Take the spread of the scores apart."""
    compared_on = exam.said_of_networks(run, split)
    split = exam.comparing_split(run, split)
    rows = trainings(run, split)
    if rows["network"].nunique() < 2:
        raise NetpickError("one network has no spread to take apart: ask a run of several")
    table = components(rows)
    table.loc[len(table)] = _samples(run, split)
    whole = points(np.sqrt((table["sd"][table["share"].notna()] ** 2).sum()))
    parts = table[table["share"].notna()].sort_values("share", ascending=False)
    named = exam.listed(
        f"{percent(row.share)} is of the {row.source}{_bounds(row.sd, row.low, row.high)}" for row in parts.itertuples()
    )
    text = f"Scores of {len(rows):,} trainings spread by {whole} (SD): of that variance {named}."
    text += f" Another draw of as many test samples would move a network by {points(table['sd'].iloc[-1])} (SD)."
    if luck := exam.said_of_luck(run, split):
        text += f" {luck[0].upper()}{luck[1:]}."
    title = f"Spread of scores: {exam.listed(f'{percent(row.share, 0)} {row.source}' for row in parts.itertuples())}"
    return Answer(
        table, text, lambda: theme.finish(_draw(table), f"{title} ({exam.counted_word(len(rows), 'training')})"),
        exam.notes(run, compared_on), shares=("sd", "low", "high", "share"),
    )  # fmt: skip


def trainings(run: Run, split: str = "test") -> pd.DataFrame:
    """Return a row a training that is done: network, replicate, computation, accuracy of its last attempt."""
    frame = exam.students(run, split=split).set_index("name")
    rows = exam.last_evaluations(run, split)[["network", "replicate", "accuracy"]].astype({"network": str})
    rows = rows[rows["network"].isin(frame.index)]
    return rows.assign(
        computation=frame["computation"].astype(str).loc[rows["network"]].to_numpy(),
    )


def components(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row a source, with bounds by a jackknife over the networks of each computation."""
    means = rows.groupby(["computation", "network"])["accuracy"]
    cells = pd.DataFrame({"n": means.size(), "mean": means.mean(), "ss": means.var(ddof=0) * means.size()})
    codes = cells.index.get_level_values("computation").factorize()[0]
    values = cells[["n", "mean", "ss"]].to_numpy(float)
    found = nested(codes, *values.T)
    low, high = bounds(codes, values, found)
    replicated = bool((values[:, 0] > 1).any())
    names = ["computation", "network", "seed"] if replicated else ["computation", "network and seed"]
    if not replicated:
        found, low, high = found[:2], low[:2], high[:2]
    whole = found.sum()
    table = pd.DataFrame({
        "source": names, "sd": np.sqrt(found), "low": low, "high": high, "share": found / whole if whole else np.nan,
        "trainings": len(rows),
    })  # fmt: skip
    return table if codes.any() else table.iloc[1:].reset_index(drop=True)


def bounds(codes: np.ndarray, values: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of standard deviations: Student's t with the jackknife's error of the variance's logarithm.

    Networks are left out in turn (Miller 1968, "Jackknifing variances"). Of what came out as nothing the upper bound is
    that of the variance itself.
    """
    from scipy.stats import t

    held = [i for i, code in enumerate(codes) if (codes == code).sum() > 1]
    if len(held) < LEAST:
        return np.full(len(found), np.nan), np.full(len(found), np.nan)
    kept = np.ones(len(codes), bool)
    without = []
    for i in held:
        kept[i] = False
        without.append(nested(codes[kept], *values[kept].T))
        kept[i] = True
    room = t.ppf(0.975, len(held) - 1) * (len(held) - 1) / np.sqrt(len(held))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = room * np.log(np.maximum(without, 1e-3 * found)).std(axis=0)
        least = np.where(found > 0, np.exp(np.log(found) - error), 0.0)
        most = np.where(found > 0, np.exp(np.log(found) + error), room * np.std(without, axis=0))
    return np.sqrt(least), np.minimum(np.sqrt(most), 0.5)  # accuracies spread by no more than that


def nested(codes: np.ndarray, n: np.ndarray, mean: np.ndarray, ss: np.ndarray) -> np.ndarray:
    """Return the variances between groups, between cells of a group, and within a cell.

    Parameters
    ----------
    codes : (cells,) int
        The group of each cell.
    n, mean, ss : (cells,)
        Values of each cell: how many, their mean, and the sum of squares about it.
    """
    total, groups = n.sum(), np.unique(codes)
    of = [codes == group for group in groups]
    sizes = np.array([n[mine].sum() for mine in of])
    centres = np.array([np.average(mean[mine], weights=n[mine]) for mine in of])
    within_freedom, cell_freedom, group_freedom = total - len(n), len(n) - len(groups), len(groups) - 1
    within = ss.sum() / within_freedom if within_freedom else 0.0
    cells = sum((n[mine] * (mean[mine] - centre) ** 2).sum() for mine, centre in zip(of, centres, strict=True))
    squares = np.array([(n[mine] ** 2).sum() for mine in of])
    k = (total - (squares / sizes).sum()) / cell_freedom if cell_freedom else np.nan
    between_cells = max(0.0, (cells / cell_freedom - within) / k) if cell_freedom else 0.0
    if not group_freedom:
        return np.array([0.0, between_cells, within])
    groups_ss = (sizes * (centres - np.average(centres, weights=sizes)) ** 2).sum()
    k_cells = ((squares / sizes).sum() - squares.sum() / total) / group_freedom
    k_groups = (total - (sizes**2).sum() / total) / group_freedom
    between = max(0.0, (groups_ss / group_freedom - within - k_cells * between_cells) / k_groups)
    return np.array([between, between_cells, within])


def _bounds(sd: float, low: float, high: float) -> str:
    known = f", {100 * low:.2g} to {100 * high:.2g}" if low == low else ""
    return f" (SD {points(sd)}{known})"


def _samples(run: Run, split: str) -> list[object]:
    _, predicted, labels = exam.final(run, None, split)
    accuracy, given = exam.rates(exam.marked(predicted, labels), 1), int(np.median((predicted >= 0).sum(axis=1)))
    sd = float(np.sqrt(np.median(accuracy * (1 - accuracy)) / max(1, given - 1)))
    return ["samples", sd, np.nan, np.nan, np.nan, len(predicted)]


def _draw(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    fig = Figure(figsize=(9, 0.6 * len(table) + 2.0))
    ax = fig.subplots()
    places = np.arange(len(table))
    ax.barh(
        places, table["sd"], color=[theme.RIGHT if share == share else theme.OTHER_NETWORKS for share in table["share"]]
    )
    ax.hlines(places, table["low"], table["high"], color=theme.INK, linewidth=2)
    labels = [
        f"{row.source} ({percent(row.share)})" if row.share == row.share else "another draw of test samples"
        for row in table.itertuples()
    ]
    ax.set_yticks(places, labels)
    ax.invert_yaxis()
    theme.percent_axis(ax.xaxis)
    ax.set(xlabel="standard deviation of the score, with its 95 % interval")
    return fig
