"""What does it cost when a small network answers what it is sure of, and passes the rest to a large one?

The small network of a cascade answers where the probability of its top class is at least a threshold; all other
samples go to the large network as well (Viola and Jones 2001; with confidence as the criterion Wang et al. 2017,
"IDK cascades"). Mean cost of an input: the small network's macs, and the large network's times the share passed on.
Candidates are the networks on the Pareto front (no other is as accurate with as few macs); all pairs of them are
tried, with every threshold: it passes on as little as it can while the cascade keeps the wanted share of the large
network's accuracy. Thresholds are chosen on one half of the test samples; accuracies and costs are those on the other
half, means over ten splits. So is what the sentence says of a cascade whose networks are chosen on that half too, with
an interval over the splits (Nadeau and Bengio 2003). Networks are compared by their first replicate. Needs scores.

Columns
-------
small, large : the two networks; first the pairs with the most accurate large network, the cheapest first
threshold : probability from which the small network answers, chosen on all samples; inf where it never does, 0 where
    it always does
passed : fraction of the samples that go to the large network as well
accuracy, small_accuracy, large_accuracy : fraction; of the cascade, and of each network alone
kept : accuracy / large_accuracy
macs : mean multiply-accumulates of an input
share : macs of the cascade, divided by those of the large network
single : cheapest network that alone keeps the wanted share, on all samples: what a cascade has to beat
single_accuracy, single_share : accuracy of the one that does so on the half that chooses, as judged on the other half,
    and its macs divided by those of the large network; means over the splits
chosen : fraction of the splits in which this pair was the cheapest with the most accurate large network
latency, latency_share : where `netpick time` has measured both networks alone: mean seconds of an input that comes by
    itself, and the same divided by those of the large network
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from netpick import exam
from netpick.analysis import _cost
from netpick.exam import Answer, Judged, NetpickError, Run, Splits, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = [
    *("small", "large", "threshold", "passed", "accuracy", "small_accuracy", "large_accuracy", "kept", "macs"),
    *("share", "single", "single_accuracy", "single_share", "chosen"),
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
    split: str = "test",
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
        Of the splits into halves.
    """
    exam.check_fraction("keep", keep)
    named = [exam.need_network(run, name) for name in (small, large) if name is not None]
    compared_on, split = exam.said_of_networks(run, split), exam.need_shared(run, split, "a cascade")
    able = exam.need_known(run, exam.selected(run, everyone, good, gold, quantile, split), "macs")["name"].tolist()
    students = exam.students(run, split=split)
    for name in named:
        exam.need_known(run, students[students["name"] == name], "macs")
    names, predicted, labels = exam.final(run, list(dict.fromkeys([*able, *named])), split)
    splits = Splits.of(run, labels, times=exam.FEW_TIMES, seed=seed)
    right = predicted == labels
    cards = pd.DataFrame(
        {
            "macs": students.set_index("name").loc[names, "macs"].astype(float),
            "accuracy": right.mean(axis=1),
        },
        index=names,
    )
    chosen_by, judged = splits.means(right, 0), splits.means(right)
    is_able = cards.index.isin(able)
    front = pareto(cards[is_able])
    fronts = [pareto(cards.assign(accuracy=chosen_by[:, k])[is_able]) for k in range(len(splits))]
    larges = [large] if large is not None else front[::-1]
    macs = cards["macs"].to_dict()

    def smaller(of: list[str], than: str) -> list[str]:
        return [s for s in ([small] if small is not None else of) if macs[s] < macs[than]]

    pairs = [(s, b) for b in larges for s in smaller(front, b)]
    if not pairs and named:
        raise NetpickError(
            f"no network of the front makes a cascade with {' and '.join(named)}: the small one must have fewer macs "
            "than the large one; name others"
        )

    wanted = dict.fromkeys([*(s for s, _ in pairs), *front, *(s for one in fronts for s in one)])
    known, scores, _ = exam.final_scores(run, list(wanted), split)
    sure = {name: np.exp(scores[i].max(axis=1)) for i, name in enumerate(known)}
    trials = Trials(
        splits, sure, dict(zip(names, right, strict=True)), macs, cards["accuracy"].to_dict(),
        dict(zip(names, chosen_by, strict=True)), dict(zip(names, judged, strict=True)), fronts, keep,
    )  # fmt: skip
    # In each split the networks are chosen anew, by the rule that puts a pair on top of the table.
    best = []
    for k, here in enumerate(fronts):
        last = large if large is not None else here[-1]
        best.append(min((trials.tried(s, last, k) for s in smaller(here, last)), default=None))
    often = pd.Series([(one.small, one.large) for one in best if one is not None], dtype=object).value_counts()
    rows = [(larges.index(b), *trials.row(s, b, front, often.get((s, b), 0) / len(splits))) for s, b in pairs]
    cheapest_first = [row for *_, row in sorted(rows, key=lambda ranked: ranked[:2])]
    table = with_latency(pd.DataFrame(cheapest_first, columns=COLUMNS), exam.timed(run))
    found = Found.of(splits, best)
    return Answer(
        table,
        sentence(table, front, keep, found),
        lambda: draw(table, cards.loc[front], trials.curve, keep, found),
        exam.notes(
            run, exam.times(run) if "latency" in table else "", compared_on, exam.said_of_luck(run, split), first=True
        ),
        shares=[c for c in table if c in SHARES],
        columns=("small", "large", "passed", "accuracy", "large_accuracy", "share", "kept"),
    )


SHARES = (
    *("threshold", "passed", "accuracy", "small_accuracy", "large_accuracy", "kept", "share"),
    *("single_accuracy", "single_share", "chosen", "latency_share"),
)


class Tried(NamedTuple):
    """A cascade in one split: its mean macs on the half that chooses, and what it came to on the other."""

    cost: float
    small: str
    large: str
    passed: float
    accuracy: float
    kept: float
    share: float
    single_accuracy: float
    single_share: float


@dataclass(frozen=True)
class Trials:
    """What is known of the networks, to try pairs of them.

    Parameters
    ----------
    splits : into the half that chooses and the half that judges
    sure : by name, the probability of the top class (samples,)
    right : by name, bool (samples,)
    macs, accuracy : by name; accuracy is that on all samples
    chosen, judged : by name, accuracy on each half (times,)
    fronts : the Pareto front of each split, on the half that chooses
    keep : share of the large network's accuracy that is to be kept
    """

    splits: Splits
    sure: dict[str, np.ndarray]
    right: dict[str, np.ndarray]
    macs: dict[str, float]
    accuracy: dict[str, float]
    chosen: dict[str, np.ndarray]
    judged: dict[str, np.ndarray]
    fronts: list[list[str]]
    keep: float

    def tried(self, small: str, large: str, k: int) -> Tried:
        """Choose a pair's threshold in one split, and the cheapest single network of its front; judge both."""
        macs, whole = self.macs, self.macs[large]
        goal = self.keep * self.chosen[large][k] - 1e-12
        level, passed_on = self._threshold(small, large, self.splits.samples(k, 0), goal)
        judge = self.splits.samples(k)
        answers = self.sure[small][judge] >= level
        accuracy = float(np.where(answers, self.right[small][judge], self.right[large][judge]).mean())
        passed, alone = float(1 - answers.mean()), float(self.judged[large][k])
        single = min((n for n in (*self.fronts[k], large) if self.chosen[n][k] >= goal), key=macs.__getitem__)
        return Tried(
            macs[small] + passed_on * whole, small, large, passed, accuracy, accuracy / alone if alone else np.nan,
            macs[small] / whole + passed, float(self.judged[single][k]), macs[single] / whole,
        )  # fmt: skip

    def row(self, small: str, large: str, front: list[str], chosen: float) -> tuple[float, dict[str, object]]:
        """Return a pair's mean macs with the threshold that is chosen on all samples, and its row of the table."""
        tried = pd.DataFrame([self.tried(small, large, k) for k in range(len(self.splits))])
        mean = tried.drop(columns=["small", "large"]).mean()
        macs, goal = self.macs, self.keep * self.accuracy[large] - 1e-12
        level, passed_on = self._threshold(small, large, np.arange(len(self.right[small])), goal)
        single = min((n for n in (*front, large) if self.accuracy[n] >= goal), key=macs.__getitem__)
        return macs[small] + passed_on * macs[large], {
            "small": small,
            "large": large,
            "threshold": level,
            "passed": mean["passed"],
            "accuracy": mean["accuracy"],
            "small_accuracy": float(self.judged[small].mean()),
            "large_accuracy": float(self.judged[large].mean()),
            "kept": mean["kept"],
            "macs": mean["share"] * macs[large],
            "share": mean["share"],
            "single": single,
            "single_accuracy": mean["single_accuracy"],
            "single_share": mean["single_share"],
            "chosen": chosen,
        }

    def curve(self, small: str, large: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mean macs and accuracy of a pair at all thresholds, on all samples."""
        _, accuracy, passed = sweep(self.sure[small], self.right[small], self.right[large])
        return self.macs[small] + passed * self.macs[large], accuracy

    def _threshold(self, small: str, large: str, samples: np.ndarray, goal: float) -> tuple[float, float]:
        """Return the threshold that passes on least with the accuracy that is the goal, and the share passed on."""
        level, accuracy, passed = sweep(
            *(of[samples] for of in (self.sure[small], self.right[small], self.right[large]))
        )
        at = np.flatnonzero(accuracy >= goal)[-1]  # the first, which passes on everything, always does
        return float(level[at]), float(passed[at])


class Found(NamedTuple):
    """What a cascade comes to whose networks and threshold are chosen on other samples; `less` costs than a single."""

    kept: Judged
    share: Judged
    less: Judged

    @classmethod
    def of(cls, splits: Splits, best: list[Tried | None]) -> Found:
        """Judge the pairs of all splits; where there is none, a network stands alone."""
        values = [(b.kept, b.share, b.single_share - b.share) if b is not None else (1.0, 1.0, 0.0) for b in best]
        return cls(*(splits.over(np.array(one)) for one in zip(*values, strict=True)))

    @property
    def better(self) -> bool:
        """Whether it is more accurate than its large network, and not by chance."""
        return bool(self.kept.low > 1)


def with_latency(table: pd.DataFrame, timed: pd.DataFrame | None) -> pd.DataFrame:
    """Return the table with two columns more where networks were timed alone."""
    if timed is None or not len(table):
        return table
    small, large = (table[name].map(timed["latency"]) for name in ("small", "large"))
    mean = small + table["passed"] * large
    return table.assign(latency=mean, latency_share=mean / large) if mean.notna().any() else table


def pareto(cards: pd.DataFrame) -> list[str]:
    """Return the networks that no other beats in accuracy with as few macs, from the cheapest to the best."""
    return _cost.front(cards, "macs").index.tolist()


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


def sentence(table: pd.DataFrame, front: list[str], keep: float, found: Found) -> str:
    """Name the cheapest pair with the most accurate large network, and say what choosing such a pair comes to."""
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
        if top["kept"] > 1 and found.better:
            keeps = "is even more accurate than that one alone"
        said = (
            f"{top['small']}, which passes on {exam.percent(top['passed'])} of the samples to {top['large']}, {keeps} "
            f"({exam.percent(top['accuracy'])} against {exam.percent(top['large_accuracy'])} of the judged samples; to "
            f"keep {share} was asked for) at {exam.percent(top['share'])} of its macs."
        )
        if top["single"] == top["large"]:
            said += " No cheaper network alone does as well."
        else:
            said += f" The cheapest network that does it alone is {top['single']}."
    often = exam.often(round(top["chosen"] * exam.FEW_TIMES), exam.FEW_TIMES)
    said += (
        f" Networks and threshold chosen on one half of the samples and judged on the other (these two {often}), a "
        f"cascade keeps {found.kept} at {found.share} of the macs"
    )
    if (less := found.less).p < 0.05:
        said += (
            f", {exam.points(abs(less.mean))} {'less' if less.mean > 0 else 'more'} than one network that does it "
            f"alone, and {exam.verdict(less.p)}"
        )
    return f"{said}."


def draw(
    table: pd.DataFrame,
    front: pd.DataFrame,
    curve: Callable[[str, str], tuple[np.ndarray, np.ndarray]],
    keep: float,
    found: Found,
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
        if top["kept"] > 1 and found.better:
            who = f"{top['small']} alone" if alone else f"{top['small']} before {top['large']}"
            title = f"{who} is even better than {top['large']}{'' if alone else ' alone'},"
        elif alone:
            title = f"{top['small']} needs no help for {what} the accuracy of {top['large']}"
        else:
            title = f"{top['small']} before {top['large']}: {what} its accuracy"
        title += f" at {exam.percent(top['share'], 1)} of its macs"
        lowest = min(wanted - 2, 100 * rows["small_accuracy"].min() - 0.5)
    front = front[100 * front["accuracy"] >= lowest]  # cheap ones far below would leave no room for the rest
    ax.plot(front["macs"], 100 * front["accuracy"], "o", color="0.55", ms=6, label="one network alone (Pareto front)")
    if theme.spans_decades(front["macs"], 20):
        ax.set_xscale("log")
    else:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
    ax.set(xlabel="mean cost (macs for one input)", ylabel="accuracy (%)")
    ax.legend(title="first network of the cascade", loc="lower right")
    theme.finish(
        fig,
        title,
        "Curves and grey dots: on all samples. Diamonds: on samples that played no part in choosing the threshold.",
    )
    return fig
