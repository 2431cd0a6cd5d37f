"""The questions about scores, worked out again: scores, strategies, attempts, curves, best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from audit.pairs_audit import TIMES, Halves
from audit.raw import TINY, Raw, holm, over_splits
from audit.said import Audit, equals, figures, percent, places, some, verdict, who
from scipy import stats

LEVELS = (0.8, 0.9, 0.95, 0.99, 1.0)


def scores(raw: Raw) -> Audit:
    """Count who reaches each level."""
    wide = raw.marks()
    table = pd.DataFrame([
        {"epoch": epoch, **{f"at_{100 * t:g}": sum(a >= t - TINY for a in wide[epoch]) for t in LEVELS},
        "of": len(wide)}
        for epoch in wide
    ])  # fmt: skip
    end = [table[f"at_{100 * t:g}"].iloc[-1] for t in LEVELS]
    said = [raw.last_epoch, len(wide), *(x for n, t in zip(end, LEVELS, strict=True) for x in (n, percent(t)))]
    return Audit(table, [*said, table["at_95"].iloc[0], 95, end[2]])


def strategies(raw: Raw, gold: float = 0.98) -> Audit:
    """Describe computations, and computations with an activation."""
    everyone = raw.students(gold=gold)
    rows = []
    for keys in (["computation"], ["computation", "activation"]):
        for of, group in everyone.groupby(keys):
            asked = np.sort(group.loc[group["good"], "accuracy"].to_numpy())
            n = len(asked)
            q = [np.percentile(asked, x) if n else np.nan for x in (0, 25, 50, 75, 100)]
            # The largest number of values beyond which the median lies in less than 2.5 of 100 cases.
            beyond = max([k for k in range(1, n + 1) if stats.binom.cdf(k - 1, n, 0.5) < 0.025], default=1)
            ends = (asked[beyond - 1], asked[-beyond]) if n >= 5 else (np.nan, np.nan)
            counts = (len(group), n, group["star"].sum(), n)
            rows.append([of[0], of[1] if len(keys) > 1 else "all", *counts, *q, *ends])
    columns = [
        "computation",
        "activation",
        "trained",
        "good",
        "stars",
        "asked",
        "least",
        "q25",
        "median",
        "q75",
        "most",
        "low",
        "high",
    ]
    table = pd.DataFrame(rows, columns=columns)
    each = table[table["activation"] == "all"].set_index("computation")
    ranked = each[each["asked"] >= 5].sort_values("median", ascending=False)
    said = [*who(raw), *_ranking(table, ranked, everyone[everyone["good"]])]
    stars = int(everyone["star"].sum())
    said += [stars, percent(gold)] if stars else [percent(gold)]
    if stars:
        of = ranked if len(ranked) else each[each["asked"] > 0]
        share = of["stars"] / of["asked"]
        top = of[share == share.max()].sort_values("stars", ascending=False, kind="stable").iloc[0]
        said += [top.name, top["stars"], top["asked"]]
    passed = (each["good"] / each["trained"])[each["asked"] > 0]
    worst = each.loc[sorted(equals(passed, passed.min()))]
    said += [set(worst.index), set(worst["good"]), set(worst["trained"])] if passed.min() < 1 else []
    return Audit(table, said, ["do not overlap", "overlap"], by=["computation", "activation"])


def _ranking(table: pd.DataFrame, ranked: pd.DataFrame, asked: pd.DataFrame) -> list[Any]:
    """Return what is said of the first computation, the next one, and the first other that has its only activation."""
    if not len(ranked):
        return [5]

    def shares(row: pd.Series) -> list[Any]:
        return [percent(row["median"]), 95, percent(row["low"]), percent(row["high"])]

    def apart(one: pd.Series, other: pd.Series) -> str:
        return "do not overlap" if one["low"] > other["high"] or other["low"] > one["high"] else "overlap"

    first = ranked.iloc[0]
    said = [first.name, *shares(first)]
    for name, second in ranked.iloc[1:2].iterrows():
        said += [name, *shares(second), apart(first, second)]
    used = asked.groupby("computation")["activation"].agg(set)
    if len(ranked) < 2 or len(used[first.name]) > 1 or all(used[c] == used[first.name] for c in ranked.index):
        return said
    (activation,) = used[first.name]
    alike = table[(table["activation"] == activation) & (table["asked"] >= 5)].set_index("computation")
    others = alike.drop(index=first.name).sort_values("median", ascending=False)
    said += [first.name, activation]
    for name, other in others.head(1).iterrows():
        said += [name, *shares(other), apart(alike.loc[first.name], other)]
    return said


def curves(raw: Raw, gain: float = 0.005) -> Audit:
    """Follow the best network and Basic."""
    split = "validation" if "validation" in set(raw.table("epochs")["split"]) else "test"
    rows, said = [], []
    for name in dict.fromkeys([raw.best(split), "Basic"]):
        mine = raw.epochs(split)[lambda f, name=name: f["network"] == name].groupby("epoch")
        accuracy = mine["accuracy"].mean().tolist()
        stalls = [
            bool(len(rest := accuracy[i + 1 :]) >= 2 and max(rest) - now < gain - TINY)
            for i, now in enumerate(accuracy)
        ]
        for i, (epoch, one) in enumerate(mine):
            ends = {m: (one[m].mean(), one[m].min(), one[m].max()) for m in ("accuracy", "loss")}
            rows.append(
                [
                    name,
                    epoch,
                    len(one),
                    *ends["accuracy"],
                    *ends["loss"],
                    one["train_loss"].mean(),
                    any(stalls[: i + 1]),
                ]
            )
        said += [name, percent(accuracy[-1]), len(accuracy)]
        said += Halves(raw, split).label(raw.students(split)) if name == raw.best(split) else []
        if any(stalls):
            start = stalls.index(True)
            said += [start + 1, percent(gain)]
            for metric in ("train_loss", "loss"):
                values = mine[metric].mean().tolist()
                before, after = values[start], values[-1]
                if abs(after - before) >= 0.05 * before:
                    said += ["falls" if after < before else "rises", figures(before, 3), figures(after, 3)]
    columns = "network epoch replicates accuracy accuracy_low accuracy_high loss loss_low loss_high train_loss stalled"
    return Audit(pd.DataFrame(rows, columns=columns.split()), said, ["falls", "rises"])


def best(raw: Raw, by: str = "accuracy") -> Audit:
    """Place the best of the good students in each class, among these; by areas over all it is the mean of them."""
    asked = raw.asked()
    name = raw.best(among=asked)
    last = raw.epochs()[lambda f: f["epoch"] == raw.last_epoch]
    columns = [f"{by}_{c}" for c in range(len(raw.classes))]
    marks = last.groupby("network")[columns].mean()
    whole = last.groupby("network")["accuracy"].mean() if by == "accuracy" else marks.mean(axis=1)
    marks = marks.assign(**{by: whole}).loc[asked.index].round(12)
    counts = [*np.bincount(raw.labels(), minlength=len(raw.classes)), len(raw.labels())]
    table = pd.DataFrame([
        {
            "label": label, "class_name": "all" if label < 0 else raw.classes[label], "samples": n, by: own,
            "percentile": stats.percentileofscore(values, own, "rank"), "rank": 1 + (values > own).sum(),
            "equals": (values == own).sum() - 1, "top": values.max(), "top_name": values.idxmax(),
            "behind": values.max() - own, "median": np.median(values),
        }
        for label, n, (_, values) in zip([*range(len(raw.classes)), -1], counts, marks.items(), strict=True)
        for own in [values[name]]
    ])  # fmt: skip
    judged = [over_splits(places) for places in _places_of_the_best(raw, raw.preferred(list(asked.index)))]
    table["judged"] = [mean for mean, *_ in judged] if by == "accuracy" else np.nan
    classes, whole = table.iloc[:-1], table.iloc[-1]
    first = classes[classes["rank"] == 1]
    label = Halves(raw).label(asked) if by == "accuracy" else []
    said = [name, percent(whole[by]), *label, whole["rank"], len(asked)]
    said += [*some(len(first)), len(classes)]
    if len(first) < len(classes):
        low = classes.loc[classes["percentile"].idxmin()]
        said += [*first["class_name"]] if len(first) else []
        said += [
            low["class_name"],
            places(low["percentile"], 0),
            percent(low[by]),
            low["top_name"],
            percent(low["top"]),
        ]
    if by != "accuracy":
        return Audit(table, [*said, *who(raw)])
    mean, least, most, _ = judged[-1]
    said += [TIMES, places(mean, 0), 95, places(max(least, 0), 0), places(min(most, 100), 0)]
    for end in (classes["judged"].min(), classes["judged"].max()):
        said += [places(end, 0), {str(c) for c in classes.loc[np.isclose(classes["judged"], end), "class_name"]}]
    return Audit(table, [*said, *who(raw)])


def _places_of_the_best(raw: Raw, names: list[str]) -> list[np.ndarray]:
    """Return the percentiles that whoever is best on one half of the samples has on the other: by class, then all."""
    right, labels, rows = raw.right(names), raw.labels(), []
    for part in raw.splits(TIMES):
        marks = right[:, part == 0].mean(axis=1)
        won, judging = int(np.flatnonzero(marks >= marks.max() - TINY)[0]), part == 1
        inside = [judging & (labels == c) for c in range(len(raw.classes))] + [judging]
        rows.append([
            stats.percentileofscore((own := right[:, one].mean(axis=1).round(12)), own[won], "rank") for one in inside
        ])  # fmt: skip
    return list(np.array(rows).T)


def attempts(raw: Raw, by: str = "student") -> Audit:
    """Follow all students over their attempts."""
    wide, frame = raw.marks(), raw.students()
    first, last, highest = wide.iloc[:, 0], wide.iloc[:, -1], wide.max(axis=1)
    right = [raw.right(list(wide.index), epoch) for epoch in wide]
    judged, p = below_best(right, raw.labels())
    table = frame[["name", "computation", "activation"]].assign(
        first=first, lowest=wide.min(axis=1), highest=highest, last=last, change=last - first, drop=highest - last,
        best_epoch=wide.idxmax(axis=1), bloomer=(first < 0.8 - TINY) & (last >= 0.95 - TINY), judged=judged, p=holm(p),
    )  # fmt: skip
    table["worse"] = (table["drop"] >= 0.01 - TINY) & (table["p"] <= 0.05)
    table = table.assign(change=table["change"].round(12)).sort_values(["change", "name"], ascending=[False, True])
    stopping = _stopping(raw, wide.loc[raw.preferred(list(wide.index))])
    families = wide.rename_axis("name").stack().rename("accuracy").reset_index()
    groups = families.assign(computation=families["name"].map(frame["computation"])).groupby(["computation", "epoch"])
    family = (
        groups["accuracy"]
        .describe()[["count", "25%", "50%", "75%"]]
        .set_axis(["students", "q25", "median", "q75"], axis=1)
    )
    tables = {"student": table.reset_index(drop=True), "attempt": stopping, "family": family.reset_index()}

    bloomers, worse = (table.loc[table[kind], "name"].tolist() for kind in ("bloomer", "worse"))
    fell, stop = int((table["drop"] >= 0.01 - TINY).sum()), stopping.iloc[0]
    said = [percent(first.median()), percent(last.median()), len(wide)]
    said += [len(bloomers), 80, 95, *bloomers] if bloomers else [80, 95]
    moved = [] if abs(np.median(judged)) < TINY else [percent(abs(np.median(judged)))]
    said += [fell, 1, len(worse) or "none", len(wide), *worse, *moved] if fell else [1]
    said += [places(100 - 100 * stop["seconds"], 0), *([percent(stop["median_loss"])] if stop["median_loss"] else [])]
    loss = stop["pick_loss"]
    where = [] if abs(loss) < TINY else [percent(abs(loss)), "below the best" if loss > 0 else "above the best"]
    said += [stop["pick"], *where, *verdict(stop["pick_p"])]
    return Audit(tables[by], said, ["none", "(?:below|above) the best(?= of the last)"])


def below_best(right: list[np.ndarray], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the last attempt is below the best, chosen and judged on halves in turn; and the p-values."""
    order = np.random.default_rng(0).permutation(len(labels))
    in_classes = [s for c in range(labels.max() + 1) for s in order if labels[s] == c]
    halves = in_classes[::2], in_classes[1::2]
    fell, p = [], []
    for answers in zip(*right, strict=True):
        fall = 0
        for choose, judge in (halves, halves[::-1]):
            marks = [one[choose].sum() for one in answers]
            top = max(i for i, mark in enumerate(marks) if mark == max(marks))
            fall += int(answers[top][judge].sum()) - int(answers[-1][judge].sum())
        fell.append(fall / len(labels))
        # One-sided: the chance of as many losses and more, and half of that of as many.
        lost = [((one & ~answers[-1]).sum(), (one != answers[-1]).sum()) for one in answers[:-1]]
        tails = [stats.binom.pmf(range(k, n + 1), n, 0.5).sum() - stats.binom.pmf(k, n, 0.5) / 2 for k, n in lost]
        p.append(min(1.0, len(tails) * min(tails)))
    return np.array(fell), np.array(p)


def _judged_pick(raw: Raw, names: list[str], epoch: int) -> dict[str, float]:
    """Judge whoever leads after an epoch on one half of the samples by the last epoch on the other half."""
    now, last = raw.right(names, epoch), raw.right(names)
    ends, loss = [], []
    for part in raw.splits(10):
        pick, best = (int(one[:, part == 0].sum(axis=1).argmax()) for one in (now, last))
        ends.append(last[pick, part == 1].mean())
        loss.append(last[best, part == 1].mean() - ends[-1])
    found = dict(zip(("pick_loss", "pick_low", "pick_high", "pick_p"), over_splits(np.array(loss)), strict=True))
    return {"pick_last": float(np.mean(ends)), **found}


def _stopping(raw: Raw, wide: pd.DataFrame) -> pd.DataFrame:
    rows = raw.table("epochs").query("split == 'test'")
    last, rows = wide.iloc[:, -1], rows.groupby("epoch")["train_seconds"].sum()
    out = []
    for epoch, now in wide.items():
        pick = now.idxmax()
        out.append({
            "epoch": epoch, "students": len(now), "median": now.median(), "top": now.max(),
            "median_loss": (last - now).median(),
            "peaked": np.mean([row.idxmax() == epoch for _, row in wide.iterrows()]), "pick": pick,
            **_judged_pick(raw, list(wide.index), epoch), "correlation": stats.spearmanr(now, last).statistic,
            "seconds": rows[:epoch].sum() / rows.sum(),
        })  # fmt: skip
    return pd.DataFrame(out)
