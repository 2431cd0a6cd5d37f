"""The questions of how sure networks are, worked out again: cascade, sets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from audit.raw import TINY, Raw, holm, over_splits
from audit.said import Audit, figures, interval, often, percent, places, verdict, who
from scipy import stats

TIMES = 10


class Passing:
    """Two networks, of which the small one answers what it is sure of."""

    def __init__(self, raw: Raw, keep: float) -> None:
        self.raw, self.keep, self.names = raw, keep, list(raw.asked().index)
        self.right = dict(zip(self.names, raw.right(self.names), strict=True))
        self.macs = raw.networks["macs"].to_dict()
        self.sure = dict(zip(self.names, raw.probabilities(self.names).max(axis=2), strict=True))

    def front(self, here: np.ndarray) -> list[str]:
        """Return those that no other beats on some samples with as few macs, the cheapest first."""
        marks = {n: (self.macs[n], -self.right[n][here].mean(), i) for i, n in enumerate(self.names)}
        ranked, out, top = sorted(self.names, key=lambda n: marks[n]), [], -1.0
        for name in ranked:
            if -marks[name][1] > top:
                out, top = [*out, name], -marks[name][1]
        return out

    def threshold(self, small: str, large: str, here: np.ndarray) -> tuple[float, float]:
        """Return the threshold that passes on least and keeps what is to be kept, and what it passes on."""
        sure, mine, its = (of[here] for of in (self.sure[small], self.right[small], self.right[large]))
        found = []
        for level in [np.inf, *sorted(set(sure), reverse=True)]:
            answers = sure >= level
            if np.where(answers, mine, its).mean() >= self.keep * its.mean() - 1e-12:
                found.append((0.0 if answers.all() else level, 1 - answers.mean()))
        return min(found, key=lambda one: one[1])

    def single(self, front: list[str], large: str, here: np.ndarray) -> str:
        """Return the cheapest of a front that does it alone."""
        goal = self.keep * self.right[large][here].mean() - 1e-12
        return min((n for n in (*front, large) if self.right[n][here].mean() >= goal), key=lambda n: self.macs[n])

    def tried(self, small: str, large: str, one: np.ndarray) -> dict[str, Any]:
        """Choose threshold and single network on one half, and judge on the other."""
        choose, judge = one == 0, one == 1
        level, cost = self.threshold(small, large, choose)
        answers = self.sure[small][judge] >= level
        accuracy = np.where(answers, self.right[small][judge], self.right[large][judge]).mean()
        single = self.single(self.front(choose), large, choose)
        whole = self.macs[large]
        return {
            "cost": self.macs[small] + cost * whole, "pair": (small, large), "passed": 1 - answers.mean(),
            "accuracy": accuracy,
            "kept": accuracy / self.right[large][judge].mean(), "share": self.macs[small] / whole + 1 - answers.mean(),
            "single_accuracy": self.right[single][judge].mean(), "single_share": self.macs[single] / whole,
        }  # fmt: skip


def cascade(raw: Raw, keep: float = 0.99) -> Audit:
    """Try all pairs of the Pareto front as cascades."""
    of, part, everywhere = Passing(raw, keep), raw.splits(TIMES), np.ones(len(raw.labels()), bool)
    macs, front, best = of.macs, of.front(everywhere), []
    for one in part:
        here = of.front(one == 0)
        tries = [of.tried(s, here[-1], one) for s in here if macs[s] < macs[here[-1]]]
        best.append(min(tries, key=lambda t: (t["cost"], *t["pair"]), default=None))
    counts = Counter(t["pair"] for t in best if t)
    rows = []
    for rank, large in enumerate(front[::-1]):
        for small in (s for s in front if macs[s] < macs[large]):
            tries = pd.DataFrame([of.tried(small, large, one) for one in part]).drop(columns="pair").mean()
            level, passed = of.threshold(small, large, everywhere)
            judged = {n: np.mean([of.right[n][one == 1].mean() for one in part]) for n in (small, large)}
            rows.append({
                "order": (rank, macs[small] + passed * macs[large]), "small": small, "large": large, "threshold": level,
                "passed": tries["passed"], "accuracy": tries["accuracy"], "small_accuracy": judged[small],
                "large_accuracy": judged[large], "kept": tries["kept"], "macs": tries["share"] * macs[large],
                "share": tries["share"], "single": of.single(front, large, everywhere),
                "single_accuracy": tries["single_accuracy"], "single_share": tries["single_share"],
                "chosen": counts[small, large] / TIMES,
            })  # fmt: skip
    table = pd.DataFrame(rows).sort_values("order", ignore_index=True).drop(columns="order")
    kept, share, less = (
        over_splits(np.array([f(t) if t else alone for t in best]))
        for f, alone in (
            (lambda t: t["kept"], 1.0), (lambda t: t["share"], 1.0), (lambda t: t["single_share"] - t["share"], 0.0)
        )
    )  # fmt: skip
    top = table.iloc[0]
    accuracies = [percent(top["accuracy"]), percent(top["large_accuracy"])]
    if top["passed"] == 0:
        said = [percent(keep), top["large"], top["small"], *accuracies, percent(top["share"])]
        others = table[(table["large"] == top["large"]) & (table["passed"] > 0)]
        for _, row in others.head(1).iterrows():
            said += [percent(row["passed"]), row["small"], percent(row["accuracy"]), percent(row["share"])]
    else:
        said = [top["small"], percent(top["passed"]), top["large"]]
        said += [] if top["kept"] > 1 and kept[1] > 1 else [percent(top["kept"])]
        said += [*accuracies, percent(keep), percent(top["share"])]
        said += [] if top["single"] == top["large"] else [top["single"]]
    said += [*often(round(TIMES * top["chosen"]), TIMES), *interval(kept), *interval(share)]
    if less[3] < 0.05:
        said += [percent(abs(less[0])), "less than" if less[0] > 0 else "more than", *verdict(less[3])]
    return Audit(table, said, ["less than(?= one)", "more than(?= one)"])


def sets(raw: Raw, method: str = "RAPS", coverage: float = 0.95) -> Audit:
    """Calibrate prediction sets on one third, choose on another by itself, judge on the last."""
    asked, labels = raw.asked(), raw.labels()
    names, part = list(asked.index), raw.splits(TIMES, 3)
    u = np.random.default_rng(0).random(len(labels), dtype=np.float32)
    given = raw.probabilities(names).astype(np.float32)
    kinds = ["right_sure", "right_unsure", "wrong_in_set", "wrong_unsure", "wrong_sure"]
    weights = dict(zip(kinds, (1, 0.5, 0.25, 0, -1), strict=True))
    rows, choosing, judging = [], [], []
    for name, p in zip(names, given, strict=True):
        order = np.argsort(-p, axis=1, kind="stable")
        ranked = np.take_along_axis(p, order, axis=1)
        level = -np.log(ranked) if method == "LAC" else ranked.cumsum(axis=1) - (1 - u[:, None]) * ranked
        # All of it in float32, as scores are kept: sure answers of different samples differ in their last bits alone.
        level = level + np.float32(0.1) * np.arange(p.shape[1], dtype=np.float32) if method == "RAPS" else level
        rank = (order == labels[:, None]).argmax(axis=1)
        own = level[range(len(labels)), rank]
        results: list[list[dict[str, float]]] = [[], []]
        for one in part:
            for which, calibrating, out in zip((1, 2), (1, 0), results, strict=True):
                threshold = _quantile(own[one == calibrating], coverage)
                out.append(_judged(rank[one == which], level[one == which], threshold, kinds))
        mean = pd.DataFrame(results[1]).mean()
        for found, out in zip(results, (choosing, judging), strict=True):
            out.append([sum(weights[k] * split[k] for k in kinds) for split in found])
        rows.append({
            "network": name, "computation": asked.loc[name, "computation"], "activation": asked.loc[name, "activation"],
            "score": sum(weights[k] * mean[k] for k in kinds), "accuracy": mean["right_sure"] + mean["right_unsure"],
            **mean[["coverage", "size", *kinds]], "threshold": _quantile(own, coverage),
            "covered": [s["coverage"] for s in results[1]],
        })  # fmt: skip
    n, m = (int((part[0] == which).sum()) for which in (0, 2))
    k = int(np.ceil((n + 1) * coverage - 1e-9))
    middle, spread = k / (n + 1), stats.betabinom(m, k, n + 1 - k)
    low, high = (middle + (x / m - middle) / np.sqrt(TIMES) for x in (spread.ppf(0.025), spread.ppf(0.975)))
    choosing, judging = np.round(choosing, 12), np.array(judging)
    won = choosing.argmax(axis=0)
    first = judging[won, range(TIMES)]
    less = [over_splits(first - own, parts=3, used=2) for own in judging]
    p = holm(np.array([one[3] for one in less]))
    table = pd.DataFrame(rows).assign(low=low, high=min(high, 1.0))
    table["as_promised"] = table["coverage"] >= low - TINY
    table["chosen"] = np.bincount(won, minlength=len(names)) / TIMES
    table["tied"] = [a >= 0.05 or one[0] <= 0 for a, one in zip(p, less, strict=True)]
    table = table.assign(s=table["score"].round(12), z=table["size"].round(12))
    table = table.sort_values(["s", "z"], ascending=[False, True], kind="stable", ignore_index=True).drop(
        columns=["s", "z"]
    )
    table.insert(0, "rank", table.index + 1)
    top = table.iloc[0]
    plain = table[np.isclose(table["accuracy"], table["accuracy"].max())].iloc[0]
    found = over_splits(first, parts=3, used=2)
    said = [
        top["network"],
        *who(raw),
        figures(top["size"], 3),
        len(raw.classes),
        percent(top["coverage"]),
        percent(coverage),
    ]
    said += [percent(top["right_sure"]), percent(top["wrong_sure"]), places(top["score"], 3), len(table)]
    said += [
        places(max(top["score"] - found[0], 0), 3),
        top["network"],
        *often(round(TIMES * top["chosen"]), TIMES),
        places(found[0], 3),
        95,
    ]
    said += [places(found[1], 3), places(found[2], 3), *often(table["tied"].iloc[1:].sum(), len(table) - 1)]
    said += [] if plain["network"] == top["network"] else [plain["network"], plain["rank"]]
    return Audit(table.drop(columns="covered"), [*said, int(table["as_promised"].sum()), len(table)])


def _quantile(own: np.ndarray, coverage: float) -> float:
    """Return the threshold: of n + 1 scores the one that as many lie below as is promised."""
    return float(np.sort(own)[int(np.ceil((len(own) + 1) * coverage - 1e-9)) - 1])


def _judged(rank: np.ndarray, level: np.ndarray, threshold: float, kinds: list[str]) -> dict[str, float]:
    """Count how answers with sets come out: the first answer is always in the set."""
    found = Counter()
    sizes = np.maximum((level <= np.float32(threshold)).sum(axis=1), 1)
    for place, size in zip(rank, sizes, strict=True):
        if place == 0:
            found["right_sure" if size == 1 else "right_unsure"] += 1
        else:
            found["wrong_in_set" if place < size else "wrong_unsure" if size > 1 else "wrong_sure"] += 1
    shares = {k: found[k] / len(rank) for k in kinds}
    return {"coverage": sum(shares[k] for k in kinds[:3]), "size": sizes.mean(), **shares}
