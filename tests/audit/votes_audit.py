"""The questions about samples, worked out again: easy, weird, confusing, mistakes, suspects, learning, why_hard."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from audit.pairs_audit import Halves
from audit.raw import TINY, Raw, holm, over_splits
from audit.said import Audit, figures, interval, percent, places, some, verdict, who
from scipy import stats


def ballot(raw: Raw) -> pd.DataFrame:
    """Count the votes of the good students on each sample."""
    answers, labels = raw.answers(list(raw.asked().index)), raw.labels()
    n, rows = len(answers), []
    for sample, label in enumerate(labels):
        votes = Counter(answers[:, sample].tolist())
        wrong = {c: k for c, k in votes.items() if c != label}
        mistake = min(c for c, k in wrong.items() if k == max(wrong.values())) if wrong else -1
        rows.append({
            "sample": sample, "label": label, "class_name": raw.classes[label], "right": votes[label] / n,
            "wrong": sum(wrong.values()) / n, "answer": min(c for c, k in votes.items() if k == max(votes.values())),
            "top": max(votes.values()) / n, "mistake": mistake,
            "same": wrong[mistake] / sum(wrong.values()) if wrong else np.nan,
            "entropy": stats.entropy(list(votes.values()), base=2),
            **{f"votes_{c}": votes[c] for c in range(len(raw.classes))},
        })  # fmt: skip
    return pd.DataFrame(rows)


def _part(table: pd.DataFrame, whole: pd.DataFrame) -> list[Any]:
    return [len(table), len(whole), percent(len(table) / len(whole))] if len(table) else [len(whole)]


def _first(table: pd.DataFrame) -> list[Any]:
    return [*table["sample"].head(6), *([len(table) - 6] if len(table) > 6 else [])]


def easy(raw: Raw, at_least: float = 1.0) -> Audit:
    """Find what all, or most, have right."""
    whole = ballot(raw)
    table = whole[whole["right"] >= at_least - TINY].reset_index(drop=True)
    shares = (whole["right"] >= at_least - TINY).groupby(whole["class_name"]).mean()
    most, fewest = (shares.index[np.isclose(shares, end)] for end in (shares.max(), shares.min()))
    said = [*_part(table, whole), *([percent(at_least)] if at_least < 1 else []), *who(raw)]
    return Audit(table, [*said, set(most), percent(shares.max(), 1), set(fewest), percent(shares.min(), 1)])


def weird(raw: Raw, wrong: float = 0.9, same: float = 0.99) -> Audit:
    """Find what nearly all have wrong, with the same answer."""
    whole = ballot(raw).sort_values(["wrong", "same", "sample"], ascending=[False, False, True])
    table = whole[(whole["wrong"] > wrong + TINY) & (whole["same"] >= same - TINY)].reset_index(drop=True)
    said, top = [*_part(table, whole), percent(wrong), *who(raw), percent(same)], whole.iloc[0]
    if not len(table):
        return Audit(table, [*said, top["sample"], percent(top["wrong"], 1)])
    top = table.iloc[0]
    share = percent(top["wrong"] * top["same"], 1)
    return Audit(table, [*said, *_first(table), top["sample"], top["class_name"], share, raw.classes[top["mistake"]]])


def confusing(raw: Raw, top: float = 1 / 3, entropy: float = 1.5) -> Audit:
    """Find what the votes are spread over."""
    whole = ballot(raw)
    whole = whole.assign(entropy=whole["entropy"].round(12)).sort_values(["entropy", "sample"], ascending=[False, True])
    table = whole[(whole["top"] < top - TINY) & (whole["entropy"] >= entropy - TINY)].reset_index(drop=True)
    said = [*_part(table, whole), percent(top), *who(raw), figures(entropy)]
    if not len(table):
        near = whole.iloc[0]
        return Audit(
            table,
            [*said, near["sample"], places(near["entropy"], 2), percent(near["top"], 1), raw.classes[near["answer"]]],
        )
    first = table.iloc[0]
    spread = sum(first[f"votes_{c}"] > 0 for c in range(len(raw.classes)))
    said += [
        *_first(table),
        first["sample"],
        first["class_name"],
        spread,
        places(first["entropy"], 2),
        percent(first["right"], 1),
    ]
    return Audit(table, said)


def mistakes(raw: Raw) -> Audit:
    """Show what the best student gets wrong."""
    name, labels = raw.best(), raw.labels()
    answers, given = raw.answers([name])[0], raw.probabilities([name])[0]
    table = pd.DataFrame([
        {
            "sample": s, "label": label, "class_name": raw.classes[label], "answer": answer,
            "answer_name": raw.classes[answer], "sure": given[s, answer], "truth": given[s, label],
        }
        for s, (label, answer) in enumerate(zip(labels, answers, strict=True)) if label != answer
    ]).sort_values(["sure", "sample"], ascending=[False, True], ignore_index=True)  # fmt: skip
    pairs = Counter(zip(table["class_name"], table["answer_name"], strict=True))
    said = [name, *Halves(raw).label(raw.students()), len(table), len(labels), percent(len(table) / len(labels))]
    for (true, taken), n in sorted(pairs.items(), key=lambda one: (-one[1], one[0]))[:3]:
        said += [true, taken, "once" if n == 1 else n]
    return Audit(table, [*said, 90, int((table["sure"] >= 0.9).sum()) or "none"], ["once", "none"])


def suspects(raw: Raw, confidence: float = 0.75) -> Audit:
    """Rank samples by how firmly good students contradict their label."""
    names, labels = list(raw.asked().index), raw.labels()
    given = raw.probabilities(names)
    rows = []
    for s, label in enumerate(labels):
        mean, top = given[:, s].mean(axis=0), given[:, s].argmax(axis=1)
        votes = Counter(top.tolist())
        answer = max((c for c in range(len(raw.classes)) if c != label), key=lambda c: (votes[c], mean[c]))
        sure = given[top == answer, s, answer].mean() if votes[answer] else np.nan
        share = votes[answer] / len(names)
        rows.append({
            "sample": s, "label": label, "label_name": raw.classes[label], "answer": answer,
            "answer_name": raw.classes[answer],
            "suspect": share >= 0.9 - TINY and sure >= confidence - 1e-6, "margin": mean[answer] - mean[label],
            "votes": share,
            "confidence": sure, "label_votes": votes[label] / len(names), "label_probability": mean[label],
        })  # fmt: skip
    whole = pd.DataFrame(rows).sort_values("label_probability", ignore_index=True)
    whole.insert(0, "rank", whole.index + 1)
    found = whole[whole["suspect"]]
    top = (found if len(found) else whole).iloc[0]
    said = [
        len(found),
        len(whole),
        *who(raw),
        90,
        percent(confidence),
        top["sample"],
        top["label_name"],
        top["answer_name"],
    ]
    table = whole[(whole["margin"] > 0) | whole["suspect"]].reset_index(drop=True)
    return Audit(table, [*said, percent(top["votes"])])


def learning(raw: Raw) -> Audit:
    """Follow each sample through the epochs of the good students."""
    names, labels, epochs = list(raw.asked().index), raw.labels(), range(1, raw.last_epoch + 1)
    courses = np.stack([raw.right(names, epoch) for epoch in epochs], axis=2)
    rows, kept = [], 0
    for s, label in enumerate(labels):
        mine = ["".join("x" if right else "." for right in course) for course in courses[:, s]]
        kept += any("x" in one for one in mine) and not any("x." in one for one in mine)
        ends = [len(one.rstrip("x")) + 1 for one in mine if one.endswith("x")]
        rows.append({
            "sample": s, "label": label, "right": len(ends) / len(mine),
            "forgetting": np.mean([one.count("x.") for one in mine]),
            "forgot": np.mean(["x." in one for one in mine]), "never": np.mean(["x" not in one for one in mine]),
            "unforgettable": np.mean(["x" in one and "x." not in one for one in mine]),
            "settled": np.mean(ends) if ends else np.nan, "confidence": np.nan, "variability": np.nan, "region": None,
        })  # fmt: skip
    table = pd.DataFrame(rows)
    if raw.manifest["keep"]["scores"] == "all":
        given = np.stack([raw.probabilities(names, epoch)[:, range(len(labels)), labels] for epoch in epochs])
        table["confidence"], table["variability"] = given.mean(axis=(0, 1)), given.std(axis=0).mean(axis=0)
        most = table["variability"].quantile(2 / 3)
        sure = np.where(table["confidence"] > 0.5, "easy", "hard")
        table["region"] = np.where(table["variability"] > most, "ambiguous", sure)
    table = table.sort_values(["forgetting", "never", "variability"], ascending=False, kind="stable", ignore_index=True)
    top, latest = table.iloc[0], table["settled"].max()
    most = _most_forgotten(raw, names, courses)
    said = [
        len(epochs),
        *who(raw),
        places(table["forgetting"].mean(), 3),
        *some(kept),
        len(labels),
        *some((table["never"] == 1).sum()),
    ]
    said += [top["sample"], raw.classes[top["label"]], percent(top["forgot"], 0), *most]
    said += [
        places(table["settled"].mean(), 2),
        set(table.loc[np.isclose(table["settled"], latest), "sample"].astype(str)),
    ]
    return Audit(table, [*said, places(latest, 2)])


def _most_forgotten(raw: Raw, names: list[str], courses: np.ndarray) -> list[Any]:
    """Return what the samples that half of the networks forget most are to the others, in ten splits of each kind."""
    events = (courses[:, :, :-1] & ~courses[:, :, 1:]).sum(axis=2)
    codes = pd.factorize(raw.networks.loc[names, "computation"])[0]
    hashes = "\n".join(raw.table("networks")["hash"])
    rng = np.random.default_rng([0, zlib.crc32(hashes.encode()), zlib.crc32(codes.astype("<i8").tobytes())])
    first, tenth = [], []
    for _ in range(10):
        order = rng.permutation(len(codes))
        turns = [i for c in range(codes.max() + 1) for i in order if codes[i] == c]
        choose, judge = (events[turns[k::2]] for k in (0, 1))
        ranked = sorted(range(events.shape[1]), key=lambda s: (-choose[:, s].sum(), s))
        first.append((judge[:, ranked[0]] > 0).mean())
        tenth.append(judge[:, ranked[: -(-len(ranked) // 10)]].sum() / judge.sum())
    return [*interval(over_splits(np.array(first))), *interval(over_splits(np.array(tenth)))]


def why_hard(raw: Raw) -> Audit:
    """Compare, for each hard sample, each group of networks with all the others, and with those like it."""
    names, labels = list(raw.asked().index), raw.labels()
    right, networks = raw.right(names), raw.networks.loc[names]
    hard = [s for s in range(len(labels)) if right[:, s].mean() < 0.5]
    groups = _groups(raw, networks)
    rows = []
    for (way, name), members in groups.items():
        for s in hard:
            shares = [right[m, s].mean() for m in (members, ~members)]
            alike = _among_alike(right[:, s], members, networks)
            rows.append([s, labels[s], right[:, s].mean(), way, name, members.sum(), *shares, *alike])
    columns = ["sample", "label", "right", "way", "group", "networks", "share", "others"]
    columns += ["within", "share_within", "others_within", "p"]
    table = pd.DataFrame(rows, columns=columns)
    table["p"] = holm(table["p"].to_numpy())
    table = table[(table["p"] <= 0.05) & (table["share_within"] > table["others_within"])]
    table["only"] = (table["share"] >= 0.5) & (table["others"] <= 0.02)
    gap = (table["share_within"] - table["others_within"]).round(12)
    order = table.assign(gap=gap, widest=gap.groupby(table["sample"]).transform("max"))
    table = order.sort_values(
        ["widest", "sample", "gap"], ascending=[False, True, False], kind="stable", ignore_index=True
    )
    nobody = sum(not right[:, s].any() for s in hard)
    said = [len(labels), len(hard), *who(raw), *([nobody] if nobody else [])]
    if len(table):
        said += [table["sample"].nunique()]
        for _, row in table.drop_duplicates("sample").head(3).iterrows():
            said += _one(row, networks[groups[row["way"], row["group"]]], networks)
    return Audit(table[[*columns, "only"]], said, ["Only", "[Nn]one gets right"][:1])


def _among_alike(right: np.ndarray, members: np.ndarray, networks: pd.DataFrame) -> list[Any]:
    """Return within what a group is compared, its share and the others', and the p-value, by counting all ways."""
    whole = all(members[networks["computation"] == c].mean() in (0, 1) for c in set(networks["computation"]))
    within = "activation" if whole else "computation"
    strata = [networks[within] == one for one in sorted(set(networks[within]))]
    mixed = [s.to_numpy() for s in strata if 0 < members[s].mean() < 1]
    if not mixed or len(strata) == 1:
        within, mixed = "", [np.ones(len(members), bool)]
    ways, own, size, others = np.ones(1), 0, 0, 0.0
    for s in mixed:
        n, mine, total, got = s.sum(), (s & members).sum(), right[s].sum(), right[s & members].sum()
        dealt = [math.comb(int(total), k) * math.comb(int(n - total), int(mine) - k) for k in range(int(mine) + 1)]
        ways = np.convolve(ways, np.array(dealt, float) / math.comb(int(n), int(mine)))
        own, size, others = own + got, size + mine, others + mine * (total - got) / (n - mine)
    return [within, own / size, others / size, ways[own:].sum()]


def _one(row: pd.Series, members: pd.DataFrame, networks: pd.DataFrame) -> list[Any]:
    """Return what is said of one sample: who reads it, and in what else all of these are alike."""
    known = {*networks["computation"], *networks["activation"]} - {"None"}
    alike = [members[c].iloc[0] for c in ("computation", "activation") if c != row["way"] and members[c].nunique() == 1]
    who_reads = [name for name in (row["group"], *alike) if name in known]
    return [
        *(["Only"] if row["only"] else []),
        *who_reads,
        row["sample"],
        percent(row["share"], 0),
        percent(row["others"], 0),
        *([percent(row[c], 0) for c in ("share_within", "others_within")] if row["within"] else []),
    ]


def _groups(raw: Raw, networks: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Return who is in each group of five or more, each set of networks once."""
    ops = {name: [layer["op"] for layer in raw.layers(name)] for name in networks.index}
    first = [next(op for op in ops[n] if op.startswith(("Conv", "Linear", "BasicBlock"))) for n in ops]
    convolves = [any(op.startswith(("Conv", "BasicBlock")) for op in ops[n]) for n in ops]
    place = (stats.rankdata(networks["params"]) / len(networks) * 4 - 1e-8).clip(max=3.5).astype(int)
    ways = {
        "computation": networks["computation"], "activation": networks["activation"],
        "layers": ["with convolutions" if c else "without convolutions" for c in convolves], "first layer": first,
        "size": np.array(["smallest quarter", "second quarter", "third quarter", "largest quarter"])[place],
    }  # fmt: skip
    out: dict[tuple[str, str], np.ndarray] = {}
    for way, values in ways.items():
        for name in sorted(set(values)):
            members = np.asarray(values) == name
            if 5 <= members.sum() < len(members) and not any((members == other).all() for other in out.values()):
                out[way, name] = members
    return out


def representative(raw: Raw) -> Audit:
    """Compare the distances of test images with those of training images, by all pairs."""
    names, labels = list(raw.asked().index), raw.labels()
    wrong = 1 - raw.right(names).mean(axis=0)
    far = raw.table("distances")
    rows, outside, total, variance = [], np.empty(len(labels)), 0.0, 0.0
    for c in range(len(raw.classes)):
        test, train = (far[(far["split"] == s) & (far["label"] == c)].sort_values("sample") for s in ("test", "train"))
        near, other = test["nearest"].to_numpy(), train["nearest"].to_numpy()
        chance = (np.sign(np.subtract.outer(near, other)).mean() + 1) / 2
        p = stats.ranksums(near, other).pvalue
        outside[test["sample"]] = (near[:, None] > other).mean(axis=1)
        rho = _within([(near, wrong[test["sample"]])])
        n, m = len(near), len(other)
        total += (chance - 0.5) * n * m / (n + m + 1)
        variance += n * m / 12 / (n + m + 1)
        rows.append([c, raw.classes[c], n, m, np.median(near), np.median(other), chance, p, *rho])
    columns = ["label", "class_name", "test", "train", "test_median", "train_median", "farther", "p"]
    table = pd.DataFrame(rows, columns=[*columns, "correlation", "low", "high"])
    table["p"] = holm(table["p"].to_numpy())
    of_split = {s: far[far["split"] == s] for s in ("test", "train")}
    whole = [-1, "all", *(len(f) for f in of_split.values()), *(f["nearest"].median() for f in of_split.values())]
    whole += [np.average(table["farther"], weights=table["test"]), 2 * stats.norm.sf(abs(total) / np.sqrt(variance))]
    test = of_split["test"]
    each = [(f["nearest"].to_numpy(), wrong[f["sample"]]) for _, f in test.groupby("label")]
    table.loc[len(table)] = [*whole, *_within(each)]
    real = table.iloc[:-1][lambda f: f["p"] < 0.05].sort_values("farther", ascending=False)
    last = table.iloc[-1]
    said = [percent(last["farther"], 1), 50, *verdict(last["p"])]
    if len(real):
        said += [len(real), len(raw.classes)]
        for _, row in real.iterrows():
            said += [row["class_name"], percent(row["farther"], 1)]
    near = np.empty(len(labels))
    near[test["sample"]] = test["nearest"]
    order = sorted(range(len(labels)), key=lambda s: (-outside[s], -near[s], s))
    out = [s for s in order if outside[s] >= 0.99]
    if out:
        said += [len(out), len(labels), 99, *out[:4], *([len(out) - 4] if len(out) > 4 else []), 1]
        said += [places(len(labels) / 100, 0)]
    else:
        said += [99]
    said += [places(last["correlation"], 2), 95, places(last["low"], 2), places(last["high"], 2), *who(raw)]
    return Audit(table, said)


def _within(groups: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """Return Spearman's correlation within groups, each by its degrees of freedom, and its 95 % interval."""
    known = [(len(x) - 1, stats.spearmanr(x, y).statistic) for x, y in groups if len(x) >= 5 and len(set(y)) > 1]
    freedom = sum(n for n, _ in known)
    mean = sum(n * rho for n, rho in known) / freedom
    room = stats.norm.ppf(0.975) * np.sqrt((1 + mean**2 / 2) / (freedom - 2))
    return mean, float(np.tanh(np.arctanh(mean) - room)), float(np.tanh(np.arctanh(mean) + room))
