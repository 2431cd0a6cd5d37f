"""The questions of cost, worked out again: study time, notes, rough work, steps, macs, layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from audit.raw import Raw
from audit.said import Audit, Number, equals, figures, percent, places, who
from scipy import stats
from sklearn.linear_model import LinearRegression

COLUMNS = {"study_time": "seconds", "notes": "params", "rough_work": "memory", "steps": "ops", "macs": "macs"}


def cost(raw: Raw, question: str, gold: float = 0.98) -> Audit:
    """Describe one column of the good students, by computation, beside Basic and the gold stars."""
    column = COLUMNS[question]
    asked = raw.asked(gold=gold)
    base = float(raw.students().loc["Basic", column])
    groups = [*asked.groupby("computation"), ("all", asked)]
    table = pd.DataFrame([_row(name, group, column, base) for name, group in groups])
    whole, each = table.iloc[-1], table.iloc[:-1].dropna(subset="within")
    values, stars = asked[column], asked[asked["star"]]
    said = [
        *who(raw),
        _amount(whole["median"]),
        _times(whole["median"] / base),
        "Basic",
        *_span(raw, column, whole["median"]),
    ]
    for end in (values.min(), values.max()):
        said += [_amount(end), equals(values, end)]
    if len(stars):
        said += [
            *([len(stars)] if len(stars) > 1 else []),
            _amount(whole["star_median"]),
            _times(whole["star_median"] / base),
        ]
        least = stars[column].min()
        said += ["Basic", equals(stars[column], least), _amount(least)]
    rho, low, high = whole[["within", "low", "high"]]
    how = "hardly " if abs(rho) < 0.1 else "somewhat " if abs(rho) < 0.4 else "" if abs(rho) < 0.7 else "clearly "
    words = f"who spends more scores {how}{'better' if rho > 0 else 'worse'}"
    said += ["nothing shows that" if low <= 0 <= high else words, places(rho, 2), 95, places(low, 2), places(high, 2)]
    if len(each) > 1:
        ends = [places(x, 2) for x in (each["within"].min(), each["within"].max())]
        said += [*ends, len(each), places(whole["correlation"], 2)]
    return Audit(
        table, said, ["nothing shows that", "who spends more scores(?: [a-z]+)? (?:better|worse)"], by=["computation"]
    )


def _row(name: str, group: pd.DataFrame, column: str, base: float) -> dict[str, Any]:
    stars, n = group.loc[group["star"], column], len(group)
    rhos = {c: (len(g), _spearman(g, column)) for c, g in group.groupby("computation") if len(g) >= 5}
    known = [(k - 1, rho) for k, rho in rhos.values() if not np.isnan(rho)]
    low = high = within = np.nan
    if known:
        freedom = sum(k for k, _ in known)
        within = sum(k * rho for k, rho in known) / freedom
        room = stats.norm.ppf(0.975) * np.sqrt((1 + within**2 / 2) / (freedom - 2))
        low, high = np.tanh(np.arctanh(within) - room), np.tanh(np.arctanh(within) + room)
    return {
        "computation": name, "students": n,
        **dict(zip(("least", "q25", "median", "q75", "most"), np.percentile(group[column], [0, 25, 50, 75, 100]),
        strict=True)),
        "of_basic": group[column].median() / base, "stars": len(stars), "star_median": stars.median(),
        "correlation": _spearman(group, column) if n >= 3 else np.nan, "within": within, "low": low, "high": high,
    }  # fmt: skip


def _spearman(group: pd.DataFrame, column: str) -> float:
    values = group[[column, "accuracy"]]
    return float(stats.spearmanr(values).statistic) if values.nunique().min() > 1 else np.nan


def _amount(value: float) -> Number:
    if value >= 1e6:
        return figures(value / 10 ** (9 if value >= 1e9 else 6), 3)
    return figures(value) if value < 10 and value != int(value) else places(value, 0)


def _times(ratio: float) -> Number:
    return figures(ratio) if ratio < 100 else places(ratio, 0)


def _span(raw: Raw, column: str, median: float) -> list[Number]:
    """Return from which to which multiple of Basic it is, by Basic's shortest and longest epoch."""
    if column != "seconds":
        return []
    seconds = raw.epochs()[lambda f: f["network"] == "Basic"]["train_seconds"]
    return [_times(median / (raw.last_epoch * s)) for s in (seconds.max(), seconds.min())]


def layer_times(raw: Raw) -> Audit:
    """Compare layers by their kind at the same macs, drawing networks again as whole lists of layers."""
    rows = raw.table("layer_times")
    table = rows.groupby("op").agg(
        layers=("seconds", "size"), networks=("network", "nunique"),
        q25=("seconds", lambda s: 1e6 * np.percentile(s, 25)), median=("seconds", lambda s: 1e6 * s.median()),
        q75=("seconds", lambda s: 1e6 * np.percentile(s, 75)),
        share=("seconds", lambda s: s.sum() / rows["seconds"].sum()),
        macs=("macs", "median"),
    ).reset_index()  # fmt: skip
    many = rows[rows["macs"] > 0].groupby("op").filter(lambda g: g["network"].nunique() >= 5)
    base = many["op"].value_counts().index[0]
    names, rng = sorted(set(many["network"])), np.random.default_rng(0)
    kinds, logs = pd.get_dummies(many["op"]).astype(float), np.log(many["macs"])
    terms = kinds.drop(columns=base).assign(**{"log macs": logs, "square": logs**2})
    places = {name: np.flatnonzero(many["network"] == name) for name in names}
    drawn = []
    for _ in range(300):
        again = np.concatenate([places[names[i]] for i in rng.integers(len(names), size=len(names))])
        drawn.append(_levels(terms.iloc[again], many["seconds"].iloc[again], base))
    ends = pd.DataFrame(drawn).quantile([0.025, 0.975])
    for column, found in (
        ("factor", _levels(terms, many["seconds"], base)),
        ("low", ends.iloc[0]),
        ("high", ends.iloc[1]),
    ):
        table[column] = np.exp(table["op"].map(found))
    table = table.sort_values("share", ascending=False, ignore_index=True)
    known = {*raw.table("networks")["computation"], *raw.table("networks")["activation"]}
    named = lambda op: [op] if op in known else []  # noqa: E731
    first = table.iloc[0]
    said = [len(set(rows["network"])), *named(first["op"]), percent(first["share"], 1)]
    for _, row in table[table["macs"] == 0].head(6).iterrows():
        said += [*named(row["op"]), figures(row["median"]), percent(row["share"], 1)]
    more = table[table["factor"].notna() & (table["op"] != base)].sort_values("factor", ascending=False)
    said += [*named(base), 95]
    for _, row in more.iterrows():
        said += [*named(row["op"]), *(figures(row[c]) for c in ("factor", "low", "high"))]
    return Audit(table, said)


def _levels(terms: pd.DataFrame, seconds: pd.Series, base: str) -> pd.Series:
    """Return by how much each kind is above the commonest one, by scikit-learn's least squares; NaN without any."""
    fitted = LinearRegression().fit(terms.to_numpy(), np.log(seconds))
    levels = pd.Series(fitted.coef_[:-2], terms.columns[:-2])
    return pd.concat([levels.where(terms[levels.index].any()), pd.Series({base: 0.0})])
