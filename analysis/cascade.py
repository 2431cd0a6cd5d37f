"""What does it cost when a small network answers what it is sure of, and passes the rest to a large one?

The small network of a cascade answers where the probability of its top class is at least a threshold; all other
samples go to the large network as well (Viola and Jones 2001; with confidence as the criterion Wang et al. 2017,
"IDK cascades"). Mean cost of an input: the small network's macs, and the large network's times the share passed on.
Candidates are the networks on the Pareto front (no other is as accurate with as few macs); all pairs of them are
tried, with every threshold. Front, threshold and order of the pairs are chosen on one half of the test samples: the
threshold passes on as little as it can while the cascade keeps the wanted share of the large network's accuracy.
All accuracies and costs in the table are those on the other half. Networks are compared by their first replicate.
Needs scores.

Columns
-------
small, large : the two networks; first the pairs with the most accurate large network, the cheapest first
threshold : probability from which the small network answers; inf where it never does, 0 where it always does
passed : fraction of the samples that go to the large network as well
accuracy, small_accuracy, large_accuracy : fraction; of the cascade, and of each network alone
kept : accuracy / large_accuracy
macs : mean multiply-accumulates of an input
share : macs of the cascade, divided by those of the large network
single : cheapest network that alone keeps the wanted share (on the half that chooses): what a cascade has to beat
single_accuracy, single_share : its accuracy, and its macs divided by those of the large network
latency, latency_share : where `netpick time` has measured both networks alone: mean seconds of an input that comes by
    itself, and the same divided by those of the large network
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, NetpickError, Run, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = [
    *("small", "large", "threshold", "passed", "accuracy", "small_accuracy", "large_accuracy", "kept", "macs"),
    *("share", "single", "single_accuracy", "single_share"),
]


def ask(
    run: Run,
    *,
    keep: float = 0.99,
    small: str | None = None,
    large: str | None = None,
    seed: int = 0,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    everyone: bool = False,
) -> Answer:
    """Try all pairs of networks on the Pareto front as cascades.

    Parameters
    ----------
    keep : float
        Share of the large network's accuracy that a cascade must keep, from 0 to 1.
    small : str
        Only cascades that begin with this network, on the front or not.
    large : str
        Only cascades that end with this network, on the front or not.
    seed : int
        Of the split into halves.
    """
    exam.check_fraction("keep", keep)
    named = [exam.need_network(run, name) for name in (small, large) if name is not None]
    able = exam.selected(run, everyone, good, gold, quantile)["name"].tolist()
    names, predicted, labels = exam.final(run, list(dict.fromkeys([*able, *named])))
    choose, judge = exam.two_halves(run, labels, seed)
    right = predicted == labels
    cards = pd.DataFrame(
        {
            "macs": exam.students(run).set_index("name").loc[names, "macs"].astype(float),
            "chosen": right[:, choose].mean(axis=1),  # accuracy on the half that chooses
            "judged": right[:, judge].mean(axis=1),
        },
        index=names,
    )
    front = pareto(cards[cards.index.isin(able)])
    larges = [large] if large is not None else front[::-1]
    smalls = [small] if small is not None else front
    macs = cards["macs"].to_dict()
    pairs = [(s, b) for b in larges for s in smalls if macs[s] < macs[b]]
    if not pairs and named:
        raise NetpickError(
            f"no network of the front makes a cascade with {' and '.join(named)}: the small one must have fewer macs "
            "than the large one; name others"
        )

    known, scores, _ = exam.final_scores(run, list(dict.fromkeys([*(s for s, _ in pairs), *front])))
    sure = {name: np.exp(scores[i].max(axis=1)) for i, name in enumerate(known)}
    halves = Halves(choose, judge, sure, dict(zip(names, right, strict=True)), cards, front)
    rows = [(larges.index(b), *halves.tried(s, b, keep)) for s, b in pairs]
    cheapest_first = [row for *_, row in sorted(rows, key=lambda ranked: ranked[:2])]
    table = with_latency(pd.DataFrame(cheapest_first, columns=COLUMNS), exam.timed(run))
    return Answer(
        table,
        sentence(table, front, keep),
        lambda: draw(table, cards.loc[front], halves.curve, keep),
        exam.notes(run, exam.times(run) if "latency" in table else ""),
    )


@dataclass(frozen=True)
class Halves:
    """What is known of the networks on the half that chooses and on the half that judges.

    Parameters
    ----------
    choose, judge : numbers of the samples of each half
    sure : by name, the probability of the top class (samples,)
    right : by name, bool (samples,)
    cards : a row a network by name: macs, and accuracy on each half (chosen, judged)
    front : names of the networks on the Pareto front
    """

    choose: np.ndarray
    judge: np.ndarray
    sure: dict[str, np.ndarray]
    right: dict[str, np.ndarray]
    cards: pd.DataFrame
    front: list[str]

    @cached_property
    def _of(self) -> list[dict[str, float]]:
        """The cards as dicts by name: each is looked up for every pair."""
        return [self.cards[column].to_dict() for column in ("macs", "chosen", "judged")]

    def tried(self, small: str, large: str, keep: float) -> tuple[float, dict[str, Any]]:
        """Choose a pair's threshold: return its mean macs on the half that chooses, and its row of the table."""
        macs, chosen, judged = self._of
        level, accuracy, passed = self._sweep(small, large, self.choose)
        # The last that qualifies passes on least; the first, which passes on everything, always does.
        at = np.flatnonzero(accuracy >= keep * chosen[large] - 1e-12)[-1]
        answers = self.sure[small][self.judge] >= level[at]
        given = np.where(answers, self.right[small][self.judge], self.right[large][self.judge])
        kept, cost = float(given.mean()), macs[small] + (1 - answers.mean()) * macs[large]
        enough = (name for name in (*self.front, large) if chosen[name] >= keep * chosen[large])
        single = min(enough, key=macs.__getitem__)
        return macs[small] + passed[at] * macs[large], {
            "small": small,
            "large": large,
            "threshold": level[at],
            "passed": 1 - answers.mean(),
            "accuracy": kept,
            "small_accuracy": judged[small],
            "large_accuracy": judged[large],
            "kept": kept / judged[large] if judged[large] else np.nan,
            "macs": cost,
            "share": cost / macs[large],
            "single": single,
            "single_accuracy": judged[single],
            "single_share": macs[single] / macs[large],
        }

    def curve(self, small: str, large: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mean macs and accuracy of a pair at all thresholds, on the half that judges."""
        _, accuracy, passed = self._sweep(small, large, self.judge)
        macs, *_ = self._of
        return macs[small] + passed * macs[large], accuracy

    def _sweep(self, small: str, large: str, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return sweep(self.sure[small][half], self.right[small][half], self.right[large][half])


def with_latency(table: pd.DataFrame, timed: pd.DataFrame | None) -> pd.DataFrame:
    """Return the table with two columns more where networks were timed alone."""
    if timed is None or not len(table):
        return table
    small, large = (table[name].map(timed["latency"]) for name in ("small", "large"))
    mean = small + table["passed"] * large
    return table.assign(latency=mean, latency_share=mean / large) if mean.notna().any() else table


def pareto(cards: pd.DataFrame) -> list[str]:
    """Return the networks that no other beats in `chosen` with as few macs, from the cheapest to the best."""
    order = cards.sort_values(["macs", "chosen"], ascending=[True, False], kind="stable")
    above = order["chosen"] > order["chosen"].cummax().shift(fill_value=-1.0)
    return order.index[above].tolist()


def sweep(sure: np.ndarray, small: np.ndarray, large: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what each possible threshold does: the thresholds, falling, accuracy, and the share passed on.

    Parameters
    ----------
    sure : array of float (samples,)
        The small network's confidence.
    small, large : array of bool (samples,)
        Whether each network is right.
    """
    n = len(sure)
    order = np.argsort(-sure, kind="stable")
    ranked = sure[order]
    gain = np.cumsum(small[order].astype(np.int64) - large[order])
    correct = large.sum() + np.concatenate([[0], gain])
    level = np.concatenate([[np.inf], ranked[:-1], [0.0]])  # at the last one it answers whatever comes
    # Of samples with equal confidence all are passed on, or none.
    cut = np.concatenate([[True], ranked[:-1] > ranked[1:], [True]])
    return level[cut], correct[cut] / n, 1 - np.flatnonzero(cut) / n


def sentence(table: pd.DataFrame, front: list[str], keep: float) -> str:
    """Name the cheapest pair with the most accurate large network."""
    if not len(table):
        return f"No cascade can help: {front[0]} is the most accurate network and no other costs less."
    top = table.iloc[0]
    share = exam.percent(keep)
    if top["passed"] == 0:
        said = (
            f"To keep {share} of {top['large']}'s accuracy, {top['small']} needs no help: alone it has "
            f"{exam.percent(top['accuracy'])} against {exam.percent(top['large_accuracy'])} of the judged samples, at "
            f"{exam.percent(top['share'])} of the macs."
        )
        if len(others := table[(table["large"] == top["large"]) & (table["passed"] > 0)]):
            other = others.iloc[0]
            said += (
                f" The cheapest that passes some on, {exam.percent(other['passed'])} of them, is {other['small']}: "
                f"{exam.percent(other['accuracy'])} at {exam.percent(other['share'])} of the macs."
            )
    else:
        keeps = f"keeps {exam.percent(top['kept'])} of its accuracy"
        if top["kept"] > 1:
            keeps = "is even more accurate than that one alone"
        said = (
            f"{top['small']}, which passes on {exam.percent(top['passed'])} of the samples to {top['large']}, {keeps} "
            f"({exam.percent(top['accuracy'])} against {exam.percent(top['large_accuracy'])} of the judged samples; to "
            f"keep {share} was asked for) at {exam.percent(top['share'])} of its macs."
        )
        if top["single"] == top["large"]:
            said += " No cheaper network alone does as well."
        else:
            verdict = "more" if top["single_share"] > top["share"] else "not more"
            said += (
                f" The cheapest network that does it alone, {top['single']}, costs {verdict}: "
                f"{exam.percent(top['single_share'])} ({exam.percent(top['single_accuracy'])})."
            )
    return said


def draw(
    table: pd.DataFrame,
    front: pd.DataFrame,
    curve: Callable[[str, str], tuple[np.ndarray, np.ndarray]],
    keep: float,
    curves: int = 5,
) -> Figure:
    """Draw accuracy against mean macs over the threshold, for the cheapest pairs with the best large network."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter

    fig, ax = plt.subplots(figsize=(10, 6))
    lowest = -1.0
    title = "No pair of networks makes a cascade"
    if len(table):
        top = table.iloc[0]
        rows = table[table["large"] == top["large"]].head(curves)
        shades = [
            theme.INK,
            *plt.get_cmap("cividis")(np.linspace(0.3, 0.85, len(rows) - 1)),
        ]  # not those of computations
        for i, (shade, (_, row)) in enumerate(zip(shades, rows.iterrows(), strict=True)):
            cost, accuracy = curve(row["small"], row["large"])
            ax.plot(cost, 100 * accuracy, color=shade, lw=2 if i else 2.6, label=row["small"])
            size = 8 if i else 12  # seen also where another lies upon it
            ax.plot(row["macs"], 100 * row["accuracy"], "D", color=shade, ms=size, mec="white", zorder=7 if i else 6)
        ax.plot([], [], "D", color="0.25", ms=8, label="chosen threshold")
        wanted = 100 * keep * top["large_accuracy"]
        ax.axhline(100 * top["large_accuracy"], color="0.25", ls=":", lw=1.6, label=f"{top['large']} alone")
        ax.axhline(wanted, color="0.25", ls="--", lw=1.2, label=f"{exam.percent(keep)} of it")
        what = f"{exam.percent(top['kept'], 1)} of"
        alone = top["passed"] == 0
        if top["kept"] > 1:
            who = f"{top['small']} alone" if alone else f"{top['small']} before {top['large']}"
            title = f"{who} is even better than {top['large']}{'' if alone else ' alone'},"
        elif alone:
            title = f"{top['small']} needs no help for {what} the accuracy of {top['large']}"
        else:
            title = f"{top['small']} before {top['large']}: {what} its accuracy"
        title += f" at {exam.percent(top['share'], 1)} of its macs"
        lowest = min(wanted - 2, 100 * rows["small_accuracy"].min() - 0.5)
    front = front[100 * front["judged"] >= lowest]  # cheap ones far below would leave no room for the rest
    ax.plot(front["macs"], 100 * front["judged"], "o", color="0.55", ms=6, label="one network alone (Pareto front)")
    if theme.spans_decades(front["macs"], 20):
        ax.set_xscale("log")
    else:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
    ax.set(xlabel="mean cost (macs for one input)", ylabel="accuracy on the judged half (%)")
    ax.legend(title="first network of the cascade", loc="lower right")
    theme.finish(fig, title)
    return fig
