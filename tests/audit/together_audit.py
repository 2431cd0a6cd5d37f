"""The questions of networks that answer together, worked out again: agreement, committee."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
from audit.raw import TINY, Raw, over_splits
from audit.said import Audit, figures, interval, often, percent, places, some, verdict, who
from scipy import special, stats
from sklearn.linear_model import LinearRegression

TIMES = 10


def agreement(raw: Raw, by: str = "family") -> Audit:
    """Compare the errors of all pairs of networks."""
    asked = raw.asked()
    names, wrong = list(asked.index), ~raw.right(list(asked.index))
    of = asked["computation"] + " " + asked["activation"] if by == "family" else asked[by]
    part = raw.splits(TIMES)
    pairs = list(combinations(range(len(names)), 2))
    kappa = {pair: _kappa(wrong[list(pair)]) for pair in pairs}
    best = _least(pairs, wrong)
    halves = [(wrong[:, one == 0], wrong[:, one == 1]) for one in part]
    chosen = [_least(pairs, choose) for choose, _ in halves]
    single = [min(raw.preferred(names), key=lambda n, c=choose: c[names.index(n)].sum()) for choose, _ in halves]
    error = np.array([judge[list(pair)].all(axis=0).mean() for pair, (_, judge) in zip(chosen, halves, strict=True)])
    alone = np.array([judge[names.index(n)].mean() for n, (_, judge) in zip(single, halves, strict=True)])

    rows = []
    kinds = list(dict.fromkeys(of))
    for g, h in combinations_with_replacement(kinds, 2):
        mine, its = (np.flatnonzero(of == x) for x in (g, h))
        within = [(i, j) for i in mine for j in its if g != h or i < j]
        if not within:
            continue
        known = [k for i, j in within if not np.isnan(k := kappa[min(i, j), max(i, j)])]
        both = {(i, j): wrong[[i, j]].all(axis=0) for i, j in within}
        top = min(within, key=lambda pair: both[pair].sum())
        picked = [min(within, key=lambda pair, o=one: both[pair][o == 0].sum()) for one in part]
        judged = [both[pair][one == 1].mean() for pair, one in zip(picked, part, strict=True)]
        ends = np.percentile(known, [25, 75]) if known else [np.nan] * 2
        rows.append({
            "first": g, "second": h, "pairs": len(within), "kappa": np.mean(known) if known else np.nan, "low": ends[0],
            "high": ends[1], "both_wrong": np.mean([b.mean() for b in both.values()]), "network_a": names[top[0]],
            "network_b": names[top[1]], "chosen": np.mean([pair == top for pair in picked]),
            "joint_error": np.mean(judged),
        })  # fmt: skip
    inside, outside, p = _within(kappa, of.to_numpy(), wrong.mean(axis=1))
    together = [wrong[list(pair)].all(axis=0).sum() for pair in pairs]
    ties = sum(n == min(together) for n in together) - 1
    word = "Not clearly" if p > 0.05 else "Hardly" if inside - outside < 0.05 else "Yes"
    two = [names[i] for i in best]
    said = [word, *who(raw), places(inside, 2), places(outside, 2), figures(p), *two, *([ties] if ties else []), *two]
    said += [*often(sum(pair == best for pair in chosen), TIMES), *interval(over_splits(error))]
    top_single = min(raw.preferred(names), key=lambda n: wrong[names.index(n)].sum())
    less = over_splits(alone - error)
    said += [
        top_single,
        percent(alone.mean()),
        percent(abs(less[0])),
        "less" if less[0] >= 0 else "more",
        *verdict(less[3]),
    ]
    words = ["Not clearly", "Hardly", "Yes", "less(?=,)", "more(?=, and)"]
    return Audit(pd.DataFrame(rows), said, words, by=["first", "second"])


def _kappa(wrong: np.ndarray) -> float:
    """Return Cohen's kappa of two networks' being wrong."""
    both, a, b = wrong.all(axis=0).mean(), *wrong.mean(axis=1)
    seen, chance = both + (~wrong).all(axis=0).mean(), a * b + (1 - a) * (1 - b)
    return (seen - chance) / (1 - chance) if chance < 1 - 1e-15 else np.nan


def _least(pairs: list[tuple[int, int]], wrong: np.ndarray) -> tuple[int, int]:
    """Return the pair that is least often wrong together; of equals the better two, then the first."""
    return min(pairs, key=lambda pair: (wrong[list(pair)].all(axis=0).sum(), wrong[list(pair)].sum()))


def _within(kappa: dict[tuple[int, int], float], of: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """Return mean kappa within groups and between, and in how many of 199 shuffles and the truth it is as large.

    Of networks in the order of their errors five, or a few more, are shuffled at a time; what accuracy explains is left
    out.
    """
    known = {pair: k for pair, k in kappa.items() if not np.isnan(k)}
    inside, outside = (
        np.mean([k for (i, j), k in known.items() if (of[i] == of[j]) == same]) for same in (True, False)
    )
    i, j = np.array(list(known)).T
    logit = special.logit(errors.clip(1e-4, 1 - 1e-4))
    z = stats.zscore(logit)
    both, apart = z[i] + z[j], abs(z[i] - z[j])
    terms = np.array([both, both**2, both**3, apart, apart**2, apart * both]).T
    values = np.array(list(known.values()))
    above = values - LinearRegression().fit(terms, values).predict(terms)  # what accuracy doesn't explain
    codes, rng = pd.factorize(of)[0], np.random.default_rng(0)
    fives = np.array_split(np.argsort(errors, kind="stable"), max(1, len(errors) // 5))
    orders = [codes, *(codes.copy() for _ in range(199))]
    for order in orders[1:]:
        for five in fives:
            order[five] = codes[rng.permutation(five)]
    truth, *shuffled = (above[one[i] == one[j]].sum() for one in orders)
    return inside, outside, (1 + sum(s >= truth - 1e-6 * abs(truth) for s in shuffled)) / 200


def committee(raw: Raw) -> Audit:
    """Let committees of small networks answer, by votes and by probabilities."""
    frame, best, labels = raw.students(), raw.best(), raw.labels()
    part, rng = raw.splits(5, 3), np.random.default_rng(0)
    able = frame[frame["good"] & (frame["name"] != best)]
    small = able[able["params"] <= 2 * frame.loc["Basic", "params"]]
    few = len(small) < 10
    if few:
        small = able.sort_values("params", kind="stable").head(max(10, -(-len(able) // 4)))
    names, costs = list(small.index), small[["params", "macs", "seconds"]].to_numpy(float)
    largest = min(25, len(names))
    drawn = [rng.permutation(len(names))[:largest] for _ in range(20)]
    right, everyone = raw.right(list(frame.index)), list(frame.index)
    order = [everyone.index(n) for n in raw.preferred(everyone)]
    won = [max(order, key=lambda i, o=one: (right[i, o == 0].sum(), -order.index(i))) for one in part]
    goal, alone = (np.array([right[i, one == k].mean() for i, one in zip(won, part, strict=True)]) for k in (1, 2))
    base = frame.loc[best, ["params", "macs", "seconds"]].to_numpy(float)
    rows = [["single", "", 1, *over_splits(alone, 3)[:3], *base, 1.0, True, 1.0, best]]
    second, third = {}, {}
    answers, given = raw.answers(names), raw.probabilities(names)
    mine = answers == labels
    for rule in ("votes", "probabilities"):
        every = np.ones(len(labels), bool)
        ranks = [
            sorted(range(len(names)), key=lambda i, h=h: (-mine[i, h].sum(), costs[i, 1]))
            for h in [*(part == 0), every]
        ]
        courts = [Court(answers, given, labels, rank, rule) for rank in ranks]
        sizing, random = (
            np.array([[court.course(d, one == k) for court, one in zip(courts, part, strict=False)] for d in drawn])
            for k in (1, 2)
        )
        greedy = [court.greedy(one == 0, largest) for court, one in zip(courts, part, strict=False)]
        chosen, judged = (
            np.array([c.course(g, one == k) for c, g, one in zip(courts, greedy, part, strict=False)]) for k in (1, 2)
        )
        second |= {("random", rule): sizing.mean(axis=0), ("greedy", rule): chosen}
        third |= {("random", rule): random.mean(axis=0), ("greedy", rule): judged}
        members = [names[i] for i in courts[-1].greedy(every, largest)]
        of_random, of_greedy = (
            np.mean([np.cumsum(costs[m], axis=0) for m in sets], axis=0) for sets in (drawn, greedy)
        )
        for choice, by_split, spent in (("random", random.mean(axis=0), of_random), ("greedy", judged, of_greedy)):
            for k in range(largest):
                mean, low, high, _ = over_splits(by_split[:, k], 3)
                if choice == "random":
                    low, high = random[:, :, k].mean(axis=1).min(), random[:, :, k].mean(axis=1).max()
                matches, p = mean >= alone.mean() - TINY, over_splits(by_split[:, k] - alone, 3)[3]
                member = members[k] if choice == "greedy" else None
                rows.append(
                    [choice, rule, k + 1, mean, low, high, *spent[k], spent[k, 1] / base[1], matches, p, member]
                )
    columns = [
        "choice",
        "rule",
        "size",
        "accuracy",
        "low",
        "high",
        "params",
        "macs",
        "seconds",
        "macs_share",
        "matches",
        "p",
    ]
    table = pd.DataFrame(rows, columns=[*columns, "member"])
    picks = {
        choice: [_smallest({r: second[choice, r][k] for r in _rules(second)}, goal[k]) for k in range(len(part))]
        for choice in ("greedy", "random")
    }
    keys = zip(table["choice"], table["rule"], table["size"], strict=True)
    often_so = [np.nan if c == "single" else picks[c].count((r, n)) / len(part) for c, r, n in keys]
    table.insert(list(table).index("matches") + 1, "chosen", often_so)
    said = [len(everyone), len(part), best, *some(won.count(everyone.index(best))), percent(alone.mean()), 95]
    said += [percent(max(table["low"][0], 0)), percent(min(table["high"][0], 1))]
    said += [*([] if few else [2, "Basic"]), len(names)]
    for choice in ("greedy", "random"):
        means = {r: second[choice, r].mean(axis=0) for r in _rules(second)}
        rule, size = _smallest(means, goal.mean())
        rows = table[(table["choice"] == choice) & (table["rule"] == rule)].set_index("size")
        came = np.array([third[choice, r][k, n - 1] for k, (r, n) in enumerate(picks[choice])])
        said += [] if means[rule][size - 1] >= goal.mean() - TINY else ["no committee", largest]
        one = [rows.loc[1, "member"]] if choice == "greedy" else [1]
        said += [size, "by votes" if rule == "votes" else "by mean probabilities"] if size > 1 else one
        said += [*often(picks[choice].count((rule, size)), len(part)), figures(rows.loc[size, "macs_share"])]
        more = over_splits(came - alone, 3)
        said += [*interval(over_splits(came, 3)), *_beside(more)]
    words = [
        "by votes",
        "by mean probabilities",
        "as accurate(?=[;.])",
        "no committee",
        "more(?=, and)",
        "less(?=, and)",
    ]
    return Audit(table, said, words)


def _rules(known: dict[tuple[str, str], np.ndarray]) -> list[str]:
    return list(dict.fromkeys(rule for _, rule in known))


def _smallest(accuracy: dict[str, np.ndarray], goal: float) -> tuple[str, int]:
    """Return rule and size of the smallest that isn't below the goal, of two the better; or else of the best of all."""
    every = [(rule, size, x) for rule, course in accuracy.items() for size, x in enumerate(course, 1)]
    fits = [one for one in every if one[2] >= goal - TINY]
    if fits:
        return min(fits, key=lambda one: (one[1], -one[2]))[:2]
    return max(every, key=lambda one: (round(one[2], 12), -one[1]))[:2]


def _beside(more: tuple[float, ...]) -> list[Any]:
    """Return what is said of the difference to the single network."""
    if abs(more[0]) < 5e-5:
        return ["as accurate"]
    return [percent(abs(more[0])), "more" if more[0] > 0 else "less", *verdict(more[3])]


class Court:
    """Networks that answer together; `rank` has them from the most accurate on."""

    def __init__(self, answers: np.ndarray, given: np.ndarray, labels: np.ndarray, rank: list[int], rule: str) -> None:
        self.labels, self.rank = labels, rank
        classes = np.arange(given.shape[2])
        # A vote counts more than the ranks of all voters together, which decide between equal votes.
        place = np.empty(len(rank))
        place[rank] = np.arange(len(rank), 0, -1)
        weight = 10_000 + place[:, None, None]
        self.voices = (answers[:, :, None] == classes) * weight if rule == "votes" else given

    def course(self, members: list[int], here: np.ndarray) -> list[float]:
        """Return the accuracy of the first one, two, ... members: the true class has to be ahead of each other."""
        return self._right(self.voices[list(members)][:, here].cumsum(axis=0), here).mean(axis=1).tolist()

    def greedy(self, here: np.ndarray, largest: int) -> list[int]:
        """Return members as forward selection takes them; of equals that of the better rank."""
        total, chosen = np.zeros(self.voices[0][here].shape), []
        for _ in range(largest):
            rest = [i for i in self.rank if i not in chosen]
            marks = self._right(total + self.voices[rest][:, here], here).sum(axis=1)
            chosen.append(rest[int(marks.argmax())])
            total = total + self.voices[chosen[-1]][here]
        return chosen

    def _right(self, sums: np.ndarray, here: np.ndarray) -> np.ndarray:
        own = np.take_along_axis(sums, self.labels[here][None, :, None], axis=2)
        true = np.arange(sums.shape[2]) == self.labels[here][:, None]
        return ((sums < own - 1e-9) | true).all(axis=2)
