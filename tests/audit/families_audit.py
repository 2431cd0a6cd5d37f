"""Families of networks compared, worked out again, by least squares within what they are confounded with."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from audit.raw import Raw, holm
from audit.said import Audit, often, percent, some, who
from scipy import stats


def families(raw: Raw, by: str = "computation") -> Audit:
    """Compare families within what they are confounded with, by least squares."""
    asked = raw.asked()
    right = np.stack(
        [np.mean([raw.right([n], replicate=r)[0] for r in raw.replicates(n)], axis=0) for n in asked.index]
    )
    mean = right.mean(axis=1)
    group = asked["computation"] + " " + asked["activation"] if by == "family" else asked[by]
    within = {"computation": "activation", "activation": "computation"}.get(by)
    stratum = asked[within] if within else pd.Series("", asked.index)
    dummies = pd.concat([pd.get_dummies(group, prefix="g"), pd.get_dummies(stratum, prefix="s")], axis=1).to_numpy(
        float
    )
    names, solve = sorted(set(group)), np.linalg.pinv(dummies)
    hat = dummies @ solve
    left = (mean - hat @ mean) ** 2 / np.where(1 - np.diag(hat) > 1e-9, 1 - np.diag(hat), np.inf)
    part, member = _joined(group, stratum), pd.get_dummies(group)[names].to_numpy(float)

    def contrast(of: np.ndarray, pairs: int) -> tuple[float, float, float, float]:
        """Return what a weighted sum of the networks comes to, with interval and p-value for so many pairs."""
        own = (of**2 * left) @ member
        variance = own.sum() + (of @ right).var(ddof=0) / (right.shape[1] - 1)
        welch = (own**2 / np.maximum(member.sum(axis=0) - 1, 1)).sum()
        t = stats.t(max(variance**2 / welch, 1) if welch > 0 else np.inf)
        error, value = np.sqrt(variance), of @ mean
        if error < 1e-12:  # the same answers
            return value, value, value, float(abs(value) < 1e-12)
        room = t.ppf(1 - 0.025 / pairs) * error
        return value, value - room, value + room, min(1.0, 2 * t.sf(abs(value) / error) * pairs)

    level = {}
    for g in names:  # how far a group is above the others that it is joined with, on their mean
        mine = np.array([part[x] == part[g] for x in group])
        others = np.mean([solve[names.index(x)] @ mean for x in group[mine]])
        level[g] = round(mean[mine].mean() + solve[names.index(g)] @ mean - others, 12)
    most = pd.Series(part).value_counts()
    order = sorted(names, key=lambda g: (-most[part[g]], -level[g], g))
    pairs, rows = list(combinations(order, 2)), []
    together = sum(part[a] == part[b] for a, b in pairs)
    for a, b in pairs:
        found = (
            contrast(solve[names.index(a)] - solve[names.index(b)], together) if part[a] == part[b] else [np.nan] * 4
        )
        rows.append([a, b, *((group == g).sum() for g in (a, b)), *(mean[group == g].mean() for g in (a, b)), *found])
    columns = ["a", "b", "networks_a", "networks_b", "accuracy_a", "accuracy_b", "difference", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=columns).assign(real=lambda f: f["p"] < 0.05)
    return Audit(table, _said_of_families(raw, table, order, part, level), by=["a", "b"])


def activations(raw: Raw) -> Audit:
    """Describe activations in each computation, and compare how far they spread by ranks within these."""
    frame = raw.students()
    cells = {key: group["accuracy"] for key, group in frame.groupby(["computation", "activation"])}
    enough = {key: scores for key, scores in cells.items() if len(scores) >= 5}
    several = {(c, a): s for (c, a), s in enough.items() if sum(k[0] == c for k in enough) > 1}
    used = sorted({a for _, a in several})
    pairs = [(a, b, *_steadier(several, a, b)) for a, b in combinations(used, 2)]
    pairs = [(a, b, p) if z <= 0 else (b, a, p) for a, b, z, p in pairs if not np.isnan(z)]
    real = [pair for pair, p in zip(pairs, holm(np.array([p for *_, p in pairs])), strict=True) if p < 0.05]
    rows = [[*key, *_quantiles(scores), np.nan, np.nan] for key, scores in cells.items()]
    for a in used:
        counts = [sum(pair[end] == a for pair in real) for end in (0, 1)]
        rows.append(["all", a, *_quantiles(pd.concat([s for (_, x), s in several.items() if x == a])), *counts])
    columns = ["students", "least", "tenth", "q25", "median", "q75", "most", "spread", "steadier", "riskier"]
    table = pd.DataFrame(rows, columns=["computation", "activation", *columns])
    said = _best_of(several) if several else [5]
    means = frame.groupby("activation")["accuracy"].mean()
    top = means.idxmax()
    said += [*_named(top), percent(means[top])]
    lone = frame.groupby("computation")["activation"].transform("nunique") == 1
    only, rest = frame[lone & (frame["activation"] == top)], frame[~lone].groupby("activation")["accuracy"].mean()
    if len(only):
        said += [len(only), *only["computation"].unique(), percent(rest[top])]
        said += [] if rest.idxmax() == top else [*_named(rest.idxmax()), percent(rest.max())]
    if pairs:
        said += [len(real), len(pairs), 0.05]
        for a in dict.fromkeys(pair[0] for pair in real):
            said += [*_named(a), *(x for pair in real if pair[0] == a for x in _named(pair[1]))]
    return Audit(table, said, by=["computation", "activation"])


def _named(activation: str) -> list[str]:
    return [] if activation == "None" else [activation]


def _quantiles(scores: pd.Series) -> list[float]:
    q = [float(np.percentile(scores, x)) for x in (0, 10, 25, 50, 75, 100)]
    return [len(scores), *q, q[4] - q[2]]


def _best_of(several: dict[tuple[str, str], pd.Series]) -> list[Any]:
    """Return how many computations there are, and in how many which activation has the highest median."""
    computations = {c for c, _ in several}
    medians = {key: round(float(scores.median()), 12) for key, scores in several.items()}
    tops = [a for (c, a), m in medians.items() if m == max(v for k, v in medians.items() if k[0] == c)]
    order = ["None", "ReLU", "SELU", "Sigmoid", "Tanh"]
    counts = sorted(set(tops), key=lambda a: (-tops.count(a), order.index(a)))
    return [len(computations), *(word for a in counts for word in (*_named(a), tops.count(a)))]


def _steadier(several: dict[tuple[str, str], pd.Series], a: str, b: str) -> tuple[float, float]:
    """Return Van Elteren's statistic of distances from the median, from Mann and Whitney's in each computation."""
    total = variance = 0.0
    for c in {c for c, _ in several if (c, a) in several and (c, b) in several}:
        one, other = ((several[c, x] - several[c, x].median()).abs().round(12) for x in (a, b))
        n, m = len(one), len(other)
        ties = stats.tiecorrect(stats.rankdata([*one, *other]))
        total += (stats.mannwhitneyu(one, other).statistic - n * m / 2) / (n + m + 1)
        variance += n * m * (n + m + 1) / 12 * ties / (n + m + 1) ** 2
    z = total / np.sqrt(variance) if variance else np.nan
    return z, 2 * stats.norm.sf(abs(z))


def _joined(group: pd.Series, stratum: pd.Series) -> dict[str, int]:
    """Return a number for each group: the same for those that a chain of shared strata joins."""
    part = {g: i for i, g in enumerate(sorted(set(group)))}
    for _ in part:
        for _, mine in group.groupby(stratum):
            least = min(part[g] for g in mine)
            part = {g: least if n in {part[x] for x in mine} else n for g, n in part.items()}
    return part


def _said_of_families(raw: Raw, table: pd.DataFrame, order: list[str], part: dict, level: dict) -> list[Any]:
    def words(names: list[str]) -> list[Any]:
        each = [word for name in names[:4] for word in name.split() if word != "None"]
        return [*each, *([len(names) - 4] if len(names) > 4 else [])]

    best, others = order[0], [g for g in order[1:] if part[g] == part[order[0]]]
    beaten = set(table.loc[(table["a"] == best) & table["real"], "b"])
    said = [len(order), *who(raw), *words([best]), percent(level[best])]
    if beaten:
        said += [*often(len(beaten), len(others)), *words([g for g in others if g not in beaten])]
    apart = [g for g in order if part[g] != part[best]]
    known = int(table["p"].notna().sum())
    return [*said, *some(table["real"].sum()), known, 0.05, *(words(apart) + words([best]) if apart else [])]
