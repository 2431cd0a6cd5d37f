"""The questions that compare networks and families, worked out again: versus, compare, sweep."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from audit.raw import Raw, holm, mid_p, over_splits
from audit.said import Audit, Number, figures, percent, places, some, verdict
from scipy import stats

TIMES = 100
UNITS = {
    "params": "parameters", "memory": "elements", "ops": "nodes", "depth": "layers", "macs": "multiply-adds",
    "seconds": "s",
}  # fmt: skip


class Halves:
    """How accurate each network is on the half of the samples that chooses and on the one that judges, split by split.

    Of several replicates half judge, drawn for each split, and the others choose.
    """

    def __init__(self, raw: Raw, split: str = "test") -> None:
        self.raw, self.names = raw, list(raw.networks.index)
        part = raw.splits(TIMES, split=split)
        reps = {name: raw.replicates(name) for name in self.names}
        most = max(map(len, reps.values()))
        turns = np.random.default_rng(raw.seed(split)).permuted(np.tile(np.arange(most), (TIMES, 1)), axis=1)
        self.chosen, self.judged = (pd.DataFrame(0.0, self.names, range(TIMES)) for _ in range(2))
        self.variance, self.freedom = {}, {}
        for name, mine in reps.items():
            n = len(mine)
            right = np.stack([raw.right([name], split=split, replicate=r)[0] for r in mine]).astype(float)
            self.variance[name] = right.mean(axis=1).var(ddof=1) / n if n > 1 else 0.0
            self.freedom[name] = max(n - 1, 1)
            for k in range(TIMES):
                ranked = sorted(range(n), key=lambda r, k=k: turns[k][r])
                judges, choosers = (ranked[: n // 2], ranked[n // 2 :]) if n > 1 else ([0], [0])
                self.judged.loc[name, k] = right[judges][:, part[k] == 1].mean()
                self.chosen.loc[name, k] = right[choosers][:, part[k] == 0].mean()

    def winners(self, among: list[str]) -> list[str]:
        """Return the best of each split on the half that chooses; of equals the first that is preferred."""
        return self.chosen.loc[self.raw.preferred(among)].round(12).idxmax().tolist()

    def at(self, names: list[str]) -> np.ndarray:
        """Return the judged accuracies of one network a split."""
        return np.array([self.judged.loc[name, k] for k, name in enumerate(names)])

    def label(self, frame: pd.DataFrame) -> list[Any]:
        """Return what is said of the accuracy of the best of some students: of how many it is, and the flattery."""
        by = frame["accuracy"].max() - self.at(self.winners(list(frame.index))).mean()
        return [len(frame), percent(max(by, 0), 1)]

    def compared(self, first: list[str], second: list[str]) -> tuple[float, float, float, float]:
        """Return by how much the first are better than the second, one a split: mean, interval, p."""
        values = self.at(first) - self.at(second)
        spread = sum(
            np.mean([self.variance[n] for n in of]) ** 2 / np.mean([self.freedom[n] for n in of])
            for of in (first, second)
        )
        whole = values.var(ddof=1) * (1 + 1 / TIMES)
        return over_splits(values, freedom=whole**2 / spread if spread else np.inf)


class Named(NamedTuple):
    """How two networks that were named compare: mean, the interval's half width, p; by draws these lie about here."""

    mean: float
    room: float
    p: float
    drawn: bool

    @classmethod
    def of(cls, raw: Raw, a: str, b: str) -> Named:
        """Compare them, over replicates and samples where both have several; else by McNemar's test."""
        rights = [np.stack([raw.right([n], replicate=r)[0] for r in raw.replicates(n)]).astype(float) for n in (a, b)]
        drawn = min(map(len, rights)) > 1
        rights = rights if drawn else [raw.right([n]).astype(float) for n in (a, b)]
        gap = rights[0].mean(axis=0) - rights[1].mean(axis=0)
        parts = [r.mean(axis=1).var(ddof=1) / len(r) if drawn else 0.0 for r in rights]
        # Which samples a replicate is right on adds to both: replicates and samples are drawn at once.
        cross = sum((r - r.mean(axis=0) - r.mean(axis=1, keepdims=True) + r.mean()).var() / r.shape[1] for r in rights)
        error = np.sqrt(gap.var() / len(gap) + sum(parts) + (cross if drawn else 0))
        spread = sum(part**2 / (len(r) - 1) for part, r in zip(parts, rights, strict=True) if part)
        t = stats.t(max(error**4 / spread, 1) if spread else np.inf)
        only_a, only_b = ((x > y).sum() for x, y in (rights, rights[::-1])) if not drawn else (0, 0)
        p = 2 * t.sf(abs(gap.mean()) / error) if drawn else mid_p(only_a, only_b)
        return cls(gap.mean(), t.ppf(0.975) * error, p, drawn)

    def said(self) -> list[Any]:
        """Return the verdict, which holds for draws too where p is far enough from 0.05."""
        word, p = verdict(self.p)
        return [word, Number(self.p, 0.35 * self.p) if self.drawn else p]


def versus(raw: Raw, first: str = "", second: str = "") -> Audit:
    """Compare the best student with Basic, or two that were named."""
    frame = raw.students()
    a, b = first or raw.best(), second or "Basic"
    rows = [(m, unit, *frame.loc[[a, b], m].astype(float)) for m, unit in UNITS.items()]
    accuracy = frame.loc[[a, b], "accuracy"]
    rows.append(("seconds a point", "s", *(frame.loc[[a, b], "seconds"] / (100 * accuracy))))
    rows += [("accuracy", "fraction", *accuracy), ("error", "fraction", *(1 - accuracy))]
    mine, its = raw.right([a, b])
    words = ("both right", "only the first right", "only the second right", "neither right")
    counts = [int(n.sum()) for n in (mine & its, mine & ~its, its & ~mine, ~mine & ~its)]
    rows += [(word, "samples", n, n) for word, n in zip(words, counts, strict=True)]
    table = pd.DataFrame(rows, columns=["measure", "unit", a, b])
    counted = table["unit"] == "samples"
    table["ratio"] = (table[a] / table[b]).where(~counted)
    table["difference"] = (table[a] - table[b]).where(~counted)

    gap = accuracy[a] - accuracy[b]
    said = [a, percent(accuracy[a]), b, percent(accuracy[b]), percent(abs(gap)), "more" if gap > 0 else "less"]
    said += _chosen(raw, a, b) if a == raw.best() else Named.of(raw, a, b).said()
    ratio = table.set_index("measure")["ratio"]
    for measure in ("params", "memory", "ops", "macs", "seconds"):
        said += [a] if measure == "params" else []
        said += [figures(ratio[measure], 3) if ratio[measure] < 1000 else places(ratio[measure], 0)]
    return Audit(table, [*said, len(mine), counts[1], a, counts[2], b], ["more", "less"])


def _chosen(raw: Raw, best: str, other: str) -> list[Any]:
    """Return what is said of the best one, chosen and judged on other samples."""
    halves, everyone = Halves(raw), list(raw.networks.index)
    won = halves.winners([name for name in everyone if name != other])
    mean, low, high, p = halves.compared(won, [other] * TIMES)
    said = [best, *halves.label(raw.students()), TIMES, best, *some(won.count(best)), percent(abs(mean))]
    said += ["more" if mean >= 0 else "less", other, 95, percent(low), percent(high)]
    named = Named.of(raw, best, other)  # having chosen it can't make it surer
    return [*said, *(named.said() if named.p > p else verdict(p))]


def one_with_all(raw: Raw, a: str = "") -> Audit:
    """Compare one network with all other good ones."""
    frame, a = raw.students(), a or raw.best()
    others = [name for name in raw.asked().index if name != a]
    mine, rest = raw.right([a])[0], raw.right(others)
    only_a, only_b = (mine & ~rest).sum(axis=1), (rest & ~mine).sum(axis=1)
    table = pd.DataFrame({
        "a": a, "b": others, "accuracy_a": frame.loc[a, "accuracy"], "accuracy_b": frame.loc[others,
        "accuracy"].to_numpy(),
        "difference": frame.loc[a, "accuracy"] - frame.loc[others, "accuracy"].to_numpy(), "only_a": only_a,
        "only_b": only_b,
        "both": (mine & rest).sum(axis=1), "neither": (~mine & ~rest).sum(axis=1),
        "p_exact": [stats.binomtest(int(i), int(i + j)).pvalue if i + j else 1.0 for i, j in zip(only_a, only_b,
        strict=True)],
    })  # fmt: skip
    p = np.array([mid_p(i, j) for i, j in zip(only_a, only_b, strict=True)])
    table["judged"], table["low"], table["high"] = table["difference"], np.nan, np.nan
    said: list[Any] = [a, percent(frame.loc[a, "accuracy"])]
    if a == raw.best():
        halves = Halves(raw)
        won = halves.winners(halves.names)
        found = [halves.compared(won, [other] * TIMES) for other in others]
        table["judged"] = [mean for mean, *_ in found]
        p = np.maximum(p, [p for *_, p in found])
        said += halves.label(frame)
    table["p"] = holm(p)
    table["real"] = table["p"] < 0.05
    table = table.assign(difference=table["difference"].round(12)).sort_values(
        "difference", ascending=False, kind="stable"
    )
    ahead = table["judged"] > 0 if a == raw.best() else table["only_a"] > table["only_b"]
    counts = [*some((table["real"] & ahead).sum()), len(table), *some((table["real"] & ~ahead).sum())]
    return Audit(table.reset_index(drop=True), [*said, *counts, *some((~table["real"]).sum()), len(mine), 0.05])


def two(raw: Raw, a: str, b: str) -> Audit:
    """Compare two networks that were named."""
    frame, named = raw.students(), Named.of(raw, a, b)
    mine, its = raw.right([a, b])
    only_a, only_b, both = (mine & ~its).sum(), (its & ~mine).sum(), (mine & its).sum()
    marks = frame.loc[[a, b], "accuracy"]
    gap = marks[a] - marks[b]
    table = pd.DataFrame({
        "a": a, "b": b, "accuracy_a": marks[a], "accuracy_b": marks[b], "difference": gap, "only_a": only_a,
        "only_b": only_b,
        "both": both, "neither": len(mine) - only_a - only_b - both,
        "p_exact": stats.binomtest(int(only_a), int(only_a + only_b)).pvalue, "judged": named.mean,
        "low": named.mean - named.room, "high": named.mean + named.room, "p": named.p, "real": named.p < 0.05,
    }, index=[0])  # fmt: skip
    said = [a, percent(abs(gap)), "more" if gap > 0 else "less", b, *map(percent, marks), *named.said()]
    near = {"low": named.room / 4, "high": named.room / 4, **({"p": 0.35 * named.p} if named.drawn else {})}
    return Audit(table, [*said, only_a, only_b, table["neither"][0]], ["more", "less"], near=near)
