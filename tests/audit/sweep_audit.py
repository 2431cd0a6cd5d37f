"""The question of what was swept, worked out again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from audit.pairs_audit import Halves
from audit.raw import TINY, Raw
from audit.said import Audit, figures, percent, some
from scipy import stats


def sweep(raw: Raw, by: str = "attempt") -> Audit:
    """Compare the values of what was swept: the epochs of each network, or networks that differ in one property."""
    split = "validation" if "validation" in set(raw.table("epochs")["split"]) else "test"
    rows = raw.epochs(split).sort_values("epoch")
    rows = rows.assign(seconds=rows.groupby(["network", "replicate"])["train_seconds"].cumsum())
    each = rows.groupby(["network", "epoch"]).agg(
        accuracy=("accuracy", "mean"), low=("accuracy", "min"), high=("accuracy", "max"), spread=("accuracy", "std"),
        replicates=("accuracy", "size"), seconds=("seconds", "mean"),
    ).round({"accuracy": 12}).reset_index()  # fmt: skip
    if by == "attempt":
        table = each.assign(line=each["network"], value=each["epoch"])
    else:
        table = each[each["epoch"] == raw.last_epoch]
        lines = table["network"].map(lambda n: _alike(raw, n, by))
        table = table.assign(value=table["network"].map(raw.networks[by]), line=lines)
        several = table.groupby("line")["value"].transform("nunique") > 1
        table = (
            table[several] if several.any() else table.assign(line=table["network"].map(raw.networks["computation"]))
        )
        place = table["network"].map(raw.networks["place"])
        table = table.assign(
            line=table.assign(place=place).sort_values("place").groupby("line")["network"].transform("first")
        )
    table["best"] = table["accuracy"] == table.groupby("line")["accuracy"].transform("max")
    table = table.rename(columns={"network": "name"})
    columns = ["line", "value", "name", "accuracy", "low", "high", "spread", "replicates", "seconds", "best"]
    noise = [r"more than noise(?= \()", r"no more than noise(?= \()", "one replicate", "None(?= of the other)"]
    return Audit(
        table[columns],
        _said_of_sweep(raw, table, by, split),
        [*noise[::-1], "on (?:test|validation)"],
        by=["line", "name", "value"],
    )


def _alike(raw: Raw, name: str, by: str) -> str:
    """Return what networks have in common that differ in activation, or in computation, alone."""
    sizes = [layer[k] for layer in raw.layers(name) for k in ("out_features", "out_channels", "planes") if k in layer]
    if by == "activation":
        return f"{raw.networks.loc[name, 'computation']} {len(sizes)} {max(sizes[:-1], default=0)}"
    return f"{raw.networks.loc[name, 'activation']} {raw.networks.loc[name, 'depth']}"


def _said_of_sweep(raw: Raw, table: pd.DataFrame, by: str, split: str) -> list[Any]:
    """Return what is said of the longest line, of equals that with the best student; or of the best one's epochs."""
    size = {(-len(rows), -rows["accuracy"].max(), line): line for line, rows in table.groupby("line")}
    line = table[table["line"] == (raw.best(split) if by == "attempt" else size[min(size)])]
    tops = line.sort_values(["accuracy", "value"], ascending=[False, True]).drop_duplicates("value")
    best, rest = tops.iloc[0], tops.iloc[1:]

    def word(value: Any) -> list[Any]:
        return [] if value == "None" else [value]

    gap = best["accuracy"] - rest["accuracy"].iloc[0]
    nexts = (
        set(rest.loc[rest["accuracy"] == rest["accuracy"].iloc[0], "value"].astype(str)) if by != "attempt" else None
    )
    frame = raw.students(split)
    among = frame["accuracy"].max() <= frame.loc[best["name"], "accuracy"] + TINY
    label = Halves(raw, split).label(frame) if among else []
    said = [f"on {split}", *word(best["value"]), best["name"], percent(best["accuracy"]), *label]
    said += [figures(best["seconds"], 3), *([percent(gap)] if gap > TINY else [])]
    said += [nexts] if nexts and "None" not in nexts else word(rest["value"].iloc[0]) if not nexts else []
    spoken = sum(len(rows) == len(line) for _, rows in table.groupby("line"))  # the line was chosen from so many
    p = [np.minimum(1, spoken * _chance(best, other, len(line))) for _, other in rest.iterrows()]
    if np.isnan(p[0]):
        said += ["one replicate"]
    else:
        said += _noise(p[0])
    said += _ties(p) if not np.isnan(p).all() else []
    near = line[(line["accuracy"] - best["accuracy"]).abs() <= 0.002].sort_values("value").iloc[0]
    if by == "attempt" and near["value"] < best["value"]:
        said += [near["value"], percent(0.002), figures(near["seconds"], 3), figures(best["seconds"], 3)]
    others = table[table["line"] != best["line"]].groupby("line")
    agree = [any(rows["best"] & (rows["value"] == best["value"])) for _, rows in others]
    said += [*some(sum(agree)), len(agree)] if len(agree) > 1 else []
    return said + _over_lines(table, word)


def _noise(p: float) -> list[Any]:
    return ["more than noise" if p < 0.05 else "no more than noise", 0.0001 if p < 0.0001 else figures(p)]


def _ties(p: list[float]) -> list[Any]:
    """Return what is said of the values that can't be told from the best."""
    ties = sum(not one < 0.05 for one in p)
    return [] if not ties or len(p) < 2 else ["None", len(p)] if ties == len(p) else [ties, len(p)]


def _over_lines(table: pd.DataFrame, word: Any) -> list[Any]:
    """Return what is said of all lines: each two values are compared on those that have both, five at least."""
    wide = table.pivot_table("accuracy", "line", "value", aggfunc="mean", sort=False)
    wide = wide.loc[:, wide.count() >= 5]
    both = {a: {b: (wide[a] - wide[b]).dropna() for b in wide if b != a} for a in wide}
    both = {a: {b: d for b, d in others.items() if len(d) >= 5} for a, others in both.items()}
    if not any(both.values()):
        return []
    hand = {a: min(d.mean().round(12) for d in others.values()) for a, others in both.items() if others}
    best = max(hand, key=hand.get)
    gaps = {b: d.mean().round(12) for b, d in both[best].items()}
    equals = {b for b in gaps if gaps[b] == min(gaps.values())}
    runner_up = next(iter(equals))
    p = {b: np.nan for b in wide if b != best}
    for b, d in both[best].items():
        t = np.abs(stats.ttest_1samp(d, 0).statistic)
        p[b] = stats.studentized_range.sf(np.sqrt(2) * t, wide.shape[1], len(d) - 1)
    gap = max(gaps[runner_up], 0)
    lines = int((wide.count(axis=1) > 1).sum())
    said = [lines, *word(best), *([percent(gap)] if gap > TINY else []), *word(runner_up)]
    return [*said, *_noise(p[runner_up]), *_ties(list(p.values()))]


def _chance(best: pd.Series, other: pd.Series, among: int) -> float:
    """Return the p-value of Games and Howell: Student's t of Welch, for the best of so many."""
    if min(best["replicates"], other["replicates"]) < 2:
        return np.nan
    parts = [row["spread"] ** 2 / row["replicates"] for row in (best, other)]
    gap = best["accuracy"] - other["accuracy"]
    if sum(parts) == 0:
        return float(gap <= TINY)
    freedom = sum(parts) ** 2 / sum(
        part**2 / (row["replicates"] - 1) for part, row in zip(parts, (best, other), strict=True)
    )
    return float(stats.studentized_range.sf(np.sqrt(2 / sum(parts)) * gap, among, freedom))
