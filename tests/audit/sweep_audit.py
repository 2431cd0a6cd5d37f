"""The question of what was swept, worked out again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from audit.pairs_audit import Halves
from audit.raw import TINY, Raw
from audit.said import Audit, figures, often, percent, some
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
    noise = [r"more than noise(?= \()", r"no more than noise(?= \()", "one replicate"]
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
    p = [_chance(best, other, len(line)) for _, other in rest.iterrows()]
    if np.isnan(p[0]):
        said += ["one replicate"]
    else:
        said += ["more than noise" if p[0] < 0.05 else "no more than noise", figures(p[0])]
    ties = sum(not one < 0.05 for one in p)
    said += often(ties, len(p)) if ties and len(p) > 1 and not np.isnan(p).all() else []
    near = line[(line["accuracy"] - best["accuracy"]).abs() <= 0.002].sort_values("value").iloc[0]
    if by == "attempt" and near["value"] < best["value"]:
        said += [near["value"], percent(0.002), figures(near["seconds"], 3), figures(best["seconds"], 3)]
    others = table[table["line"] != best["line"]].groupby("line")
    agree = [any(rows["best"] & (rows["value"] == best["value"])) for _, rows in others]
    return [*said, *([*some(sum(agree)), len(agree)] if len(agree) > 1 else [])]


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
