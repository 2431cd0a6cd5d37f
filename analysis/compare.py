"""Is A really better than B?

Asked of families (the default), of two networks (`a` and `b`), or of one network against all others (`a` alone).

Columns
-------
Of families, a row is a pair, the better one first, the largest difference first:

a, b : names of the families
networks_a, networks_b : how many networks each has
accuracy_a, accuracy_b : fraction; mean over networks and samples
difference : fraction; by how much a is more accurate within the same activation (of computations) or the same
    computation (of activations): where the networks of one computation have one activation only, the two accuracies
    would compare computations. Empty where they share none, and none leads from one to the other: then it can't be told
low, high : bounds of the difference's interval, of all pairs together: 0 lies outside where `p` is below `alpha`
p : p-value of "there is no difference", times the number of pairs (Bonferroni)
real : whether p is below `alpha`

Of networks, a row is a pair, a = the network that was named first:

a, b : names of the networks
accuracy_a, accuracy_b, difference : fraction; means over replicates, where there are any
only_a, only_b, both, neither : samples that only a, only b, both or none gets right, in the first replicate; of those
    that both answered, which are none where they left out different folds
p_exact : McNemar's exact test
judged : fraction; the difference that is tested: `difference`, but where one of both is the best of all, that of the
    best on samples that played no part in choosing it
low, high : bounds of the interval of `judged`, by bootstrap over samples, and over replicates where both networks have
    several, or over the splits; with `a` alone these are empty
p : p-value of "there is no difference": McNemar's mid-p test, corrected for the number of pairs; where both networks
    have several replicates, that of the bootstrap over replicates and samples, which speaks of the design and
    not only of the weights that one training happened to find; where one is the best of all, that of the splits
real : whether p is below `alpha`

The best of all was chosen by looking, whoever names it. So the best is chosen on one half of the samples and judged on
the other, a hundred times (Nadeau and Bengio 2003, "Inference for the generalization error").

Method: McNemar 1947, "Note on the sampling error of the difference between correlated proportions", in the mid-p
version of Fagerland, Lydersen and Laake 2013; of replicates the bootstrap of both crossed factors of Owen 2007, "The
pigeonhole bootstrap"; Holm 1979 for many networks; of families least squares by family and what it is confounded with,
with the variance over networks (MacKinnon and White 1985) and over samples. A family's accuracy here is that of its
average network: a better family need not have the better best network. Of families, replicates of a network are
averaged first. Families of one network are compared too, but only the samples vary then: the answer holds for that
network, not for its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, NetpickError, Run, Strata, holm, mcnemar_counts, short, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


WAYS = ("computation", "activation", "family")
WITHIN = {"computation": "activation", "activation": "computation"}
"""What families are confounded with."""
PLURAL = {"computation": "computations", "activation": "activations", "family": "families"}
LEVEL = 0.95
MOST = 10
"""Families in the figure."""
SHARES = ("accuracy_a", "accuracy_b", "difference", "judged", "low", "high")
COLUMNS = ("a", "b", "difference", "low", "high", "p", "real")
"""Of the tables: fractions, and what matters most."""


def ask(
    run: Run,
    *,
    a: str | None = None,
    b: str | None = None,
    by: str = "computation",
    alpha: float = 0.05,
    rounds: int = 1000,
    everyone: bool = False,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> Answer:
    """Compare families, or networks.

    Parameters
    ----------
    a : str
        A network to compare with `b`, or with all others.
    b : str
        The other network.
    by : str
        What makes a family: computation, activation, or family (both together).
    alpha : float
        A difference is called real where its corrected p-value is below this.
    rounds : int
        Draws of the bootstrap, of two networks; time grows with it.
    """
    alpha = exam.check_fraction("alpha", alpha)
    rounds = exam.check_count("rounds", rounds, 100)
    exam.check_choice("by", by, WAYS)
    if b is not None and a is None:
        raise NetpickError(f"b is '{b}' and there is no a: give two networks, or a alone")
    for name in (a, b):
        if name is not None:
            exam.need_network(run, name)
    if a is not None and a == b:
        raise NetpickError(f"a and b are both '{a}': give two different networks")
    compared_on, split = exam.said_of_networks(run, split), exam.comparing_split(run, split)
    if a is not None and b is not None:
        answer = _two(run, a, b, alpha, rounds, split)
    else:
        chosen = exam.selected(run, everyone, good, gold, quantile, split)
        others = [name for name in chosen["name"] if name != a]
        if a is None:
            answer = _families(run, chosen, by, alpha, exam.whom(chosen, everyone), split)
        elif others:
            answer = _one_with_all(run, a, others, alpha, split)
        else:
            raise NetpickError(f"there is no other network to compare {a} with: give a lower `good`, or ask everyone")
    answer.note = "; ".join(filter(None, (answer.note, compared_on)))
    return answer


def mean_right(run: Run, names: list[str], split: str = "test") -> tuple[list[str], np.ndarray]:
    """Return names and (networks, samples): right (1), wrong (0), or the mean of that over replicates.

    NaN where no replicate of a network answered a sample.
    """
    names, predicted, labels = exam.final(run, names, split)
    trained = exam.done(run)
    trained = trained[trained["network"].isin(names)]
    count = trained.groupby("network").size()
    # Thirds in single precision would tell families apart that are equal.
    right = exam.marked(predicted, labels).astype(np.float64 if (count > 1).any() else np.float32)
    if not (count > 1).any():
        return names, right
    place = {name: i for i, name in enumerate(names)}
    several = [place[n] for n in count.index[count > 1]]
    right[several], answered = 0, np.zeros(right.shape, np.int16)
    for replicate, rows in trained[trained["network"].map(count) > 1].groupby("replicate"):
        members = rows["network"].tolist()
        at, given = [place[n] for n in members], run.predicted(split=split, networks=members, replicate=int(replicate))
        right[at] += (given == labels) / count[members].to_numpy()[:, None]
        answered[at] += given >= 0
    holes = answered[several] < count[[names[i] for i in several]].to_numpy()[:, None]
    if holes.any():  # of those who answered
        of = count[[names[i] for i in several]].to_numpy()[:, None] / np.maximum(answered[several], 1)
        right[several] = np.where(answered[several] > 0, right[several] * of, np.nan)
    return names, right


@dataclass(frozen=True)
class Families:
    """Families of networks: by name, the most accurate first, with all pairs of them in a table.

    Parameters
    ----------
    by : what makes a family
    alpha : p-value below which a difference is called real
    means, intervals : its accuracy, as it is within what it is confounded with
    apart : names of the families that can't be compared with the first one
    computations : the one that most of its networks have
    table : the answer
    """

    by: str
    alpha: float
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    apart: list[str]
    computations: dict[str, str]
    table: pd.DataFrame

    @property
    def order(self) -> list[str]:
        """Names of the families."""
        return list(self.means)

    @property
    def within(self) -> str:
        """Within what they are compared, in words."""
        return f"compared within each {WITHIN[self.by]}" if self.by in WITHIN else ""


def _families(run: Run, chosen: pd.DataFrame, by: str, alpha: float, who: str, split: str) -> Answer:
    names, right = mean_right(run, chosen["name"].tolist(), split)
    chosen = chosen.set_index("name").loc[names].reset_index()
    family = chosen[by] if by != "family" else chosen["computation"] + " " + chosen["activation"]
    if family.nunique() < 2:
        raise NetpickError(f"all {len(names)} networks are {family.iloc[0]}: there is nothing to compare by {by}")
    stratum = chosen[WITHIN[by]] if by in WITHIN else pd.Series("", chosen.index)
    whole = exam.is_whole(right)
    accuracy = right.mean(axis=1, dtype=np.float64) if whole else chosen["accuracy"].to_numpy()
    strata = Strata.of(right, family, stratum, accuracy)
    counts = family.value_counts()
    # Those that can be compared with most others lead.
    most = pd.Series(strata.part).map(pd.Series(strata.part).value_counts())
    means = strata.means.round(exam.DIGITS)
    order = sorted(range(len(means)), key=lambda i: (-most[i], -means[i], strata.groups[i]))
    table = _pairs(strata, order, family, accuracy, alpha)
    families = Families(
        by,
        alpha,
        {strata.groups[i]: float(strata.means[i]) for i in order},
        {strata.groups[i]: strata.interval(i, LEVEL) for i in order},
        [strata.groups[i] for i in order if strata.part[i] != strata.part[order[0]]],
        chosen.groupby(family)["computation"].agg(lambda c: c.mode().iloc[0]).to_dict(),
        table,
    )
    lone = [f for f in families.order if counts[f] == 1]
    each = "each of " if len(lone) > 1 else ""
    alone = f"of {each}{_names(lone)} there is one network: what is said holds for it, not for its kind" if lone else ""
    silent = ""
    if strata.silent:
        one = f"have one {by} only, and say" if len(strata.silent) > 1 else f"has one {by} only, and says"
        silent = f"{_names(strata.silent)} {one} nothing of {PLURAL[by]}"
    return Answer(
        table, _said(families, who), lambda: _draw_families(families, exam.how_many(chosen)),
        exam.notes(run, silent, alone, exam.said_of_luck(run, split)), SHARES, COLUMNS,
    )  # fmt: skip


def _pairs(strata: Strata, order: list[int], family: pd.Series, accuracy: np.ndarray, alpha: float) -> pd.DataFrame:
    """Return a row a pair of families, corrected for how many can be compared."""
    plain = pd.Series(accuracy).groupby(family.to_numpy()).agg(["size", "mean"])
    pairs = list(combinations(order, 2))
    together = max(1, sum(strata.part[i] == strata.part[j] for i, j in pairs))
    rows = []
    for i, j in pairs:
        a, b = strata.groups[i], strata.groups[j]
        row = {"a": a, "b": b, "networks_a": plain.loc[a, "size"], "networks_b": plain.loc[b, "size"]}
        row |= {"accuracy_a": plain.loc[a, "mean"], "accuracy_b": plain.loc[b, "mean"]}
        rows.append({**row, **strata.difference(i, j, 1 - alpha / together)._asdict()})
    table = pd.DataFrame(rows)
    table["p"] = (table["p"] * together).clip(upper=1.0)
    table["real"] = table["p"] < alpha
    return table.sort_values("difference", ascending=False, kind="stable", ignore_index=True)


def _said(families: Families, who: str) -> str:
    order, table = families.order, families.table
    best = order[0]
    others = [f for f in order[1:] if f not in families.apart]
    beaten = set(table[(table["a"] == best) & table["real"]]["b"])
    equals = [f for f in others if f not in beaten]
    within = f", {families.within}," if families.within else ""
    text = f"Of {len(order)} {PLURAL[families.by]} of {who}{within} "
    if others:
        text += f"{best} is the most accurate on average ({exam.percent(families.means[best])})"
        if not beaten:
            text += ", and its lead over each of the others may be chance."
        else:
            many = f"all {len(others)} others" if len(others) > 1 else "the other"
            text += f"; it is really better than {many if not equals else f'{len(beaten)} of the {len(others)} others'}"
            text += f", not provably better than {_names(equals)}." if equals else "."
        known = table["p"].notna()
        if len(order) > 2:
            real = int(table["real"].sum())
            text += f" {real or 'None'} of {known.sum()} differences {'are' if real > 1 else 'is'} real"
        text = f"{text.removesuffix('.')} (corrected p < {families.alpha:g})."
    else:
        text += "none can be told from another."
    if families.apart:
        text += (
            f" {_names(families.apart)} can't be compared with {best}: no {WITHIN[families.by]} has both, so that the "
            f"difference may be the {WITHIN[families.by]}'s."
        )
    return text


def _names(words: list[str], most: int = 4) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _counts(a: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
    """Count on which samples that both answered `a` (samples) and each of `others` (networks, samples) are right."""
    answered = ~np.isnan(a)
    shared = (~np.isnan(others[:, answered])).sum(axis=1)
    mine, theirs = a[answered] > 0, others[:, answered] > 0
    both = (theirs & mine).sum(axis=1)
    only_a, only_b = (~np.isnan(others[:, answered]) & mine).sum(axis=1) - both, theirs.sum(axis=1) - both
    return {"only_a": only_a, "only_b": only_b, "both": both, "neither": shared - both - only_a - only_b}


def _two(run: Run, a: str, b: str, alpha: float, rounds: int, split: str) -> Answer:
    frame = exam.students(run, split=split)
    pair = exam.compared(run, a, b, frame, split, rounds, level=LEVEL)
    accuracy = frame.set_index("name")["accuracy"]
    (a_right, b_right), labels = _first_right(run, [a, b], split)
    counts = _counts(a_right, b_right[None])
    table = pd.DataFrame(
        {
            "a": a,
            "b": b,
            "accuracy_a": accuracy[a],
            "accuracy_b": accuracy[b],
            "difference": accuracy[a] - accuracy[b],
            **counts,
            "p_exact": mcnemar_counts(counts["only_a"], counts["only_b"], exact=True),
            "judged": pair.judged.difference,
            "low": pair.judged.low,
            "high": pair.judged.high,
            "p": pair.judged.p,
            "real": pair.judged.p < alpha,
        },
        index=[0],
    )
    row = table.iloc[0]
    points = 100 * row["difference"]
    if row["difference"] == 0 and not pair.chosen:
        text = f"{a} and {b} are equally accurate ({exam.percent(accuracy[a])})"
    else:
        more = f"{abs(points):.2f} points {'more' if points > 0 else 'less'} accurate than"
        shares = f"({exam.percent(accuracy[a])} and {exam.percent(accuracy[b])})"
        text = pair.said(f"{a} is {more if points else 'as accurate as'} {b} {shares}", alpha)
    if row[["only_a", "only_b", "both", "neither"]].any():
        text += (
            f": {row['only_a']} samples only the first gets right, {row['only_b']} only the second, {row['neither']} "
            "none."
        )
    else:
        text += "; they left out different folds, so that there is no sample that both answered."
    said = exam.notes(run, pair.note, exam.said_of_luck(run, split))
    by_class = _by_class(run, [a, b], labels, split)
    computation = frame.set_index("name")["computation"]
    styles = theme.network_styles({name: computation[name] for name in (a, b)})
    return Answer(table, text, lambda: _draw_two(run, table, by_class, styles, pair.label), said, SHARES, COLUMNS)


def _first_right(run: Run, names: list[str], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return where networks are right, by their first replicate, in the order of the names; and the labels."""
    known, predicted, labels = exam.final(run, names, split)
    if missing := [name for name in names if name not in known]:
        raise NetpickError(f"the answers of {_names(missing)} can't be read: name another network")
    return exam.marked(predicted, labels), labels


def _one_with_all(run: Run, a: str, others: list[str], alpha: float, split: str) -> Answer:
    right, labels = _first_right(run, [a, *others], split)
    frame = exam.students(run, split=split)
    accuracy = frame.set_index("name")["accuracy"]
    counts = _counts(right[0], right[1:])
    table = pd.DataFrame(
        {"a": a, "b": others, "accuracy_a": accuracy[a], "accuracy_b": accuracy[others].to_numpy(), **counts}
    )
    table.insert(4, "difference", table["accuracy_a"] - table["accuracy_b"])
    table["p_exact"] = mcnemar_counts(table["only_a"], table["only_b"], exact=True)
    table["judged"] = table["difference"]
    table["low"] = table["high"] = np.nan
    p, test = mcnemar_counts(table["only_a"], table["only_b"]), "McNemar"
    better = table["only_a"] > table["only_b"]
    if not exam.is_whole(right):
        known = exam.AcrossFolds.of(run, split)
        (first,) = known.place([a])
        found = [known.difference(first, other) for other in known.place(others)]
        p, test = np.array([one.p for one in found]), "equated over folds"
        better = pd.Series([one.difference > 0 for one in found])
    label, how = "", f"{test}, Holm-corrected p < {alpha:g}"
    if chosen := a in exam.leaders(frame):
        table["judged"], by_splits = _best_with_all(run, frame, others, split)
        better = table["judged"] > 0
        label = exam.labelled(run, frame, split)
        p, how = np.maximum(p, by_splits), f"chosen and judged on other samples, Holm-corrected p < {alpha:g}"
    table["p"] = holm(p)
    table["real"] = table["p"] < alpha
    table = table.assign(better=better).sort_values("difference", ascending=False, kind="stable", ignore_index=True)
    more = table.pop("better")
    better = table["real"] & more
    worse = table["real"] & ~better
    unknown = len(table) - better.sum() - worse.sum()
    text = (
        f"{a} ({exam.percent(accuracy[a])}{f', {label}' if label else ''}) is really better than "
        f"{better.sum() or 'none'} of {len(table)} other networks, really worse than {worse.sum() or 'none'}, and "
        f"can't be told from {unknown or 'none'} on {exam.counted_word(len(labels), 'sample')} ({how})."
    )
    single = (frame["replicates"] > 1).any() and not chosen
    tests = "the tests are on each network's first replicate" if single else ""
    said = exam.notes(run, tests, exam.said_of_luck(run, split))
    return Answer(table, text, lambda: _draw_all(table, a, accuracy[a], len(labels), more), said, SHARES, COLUMNS)


def _best_with_all(run: Run, frame: pd.DataFrame, others: list[str], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much the best, chosen and judged on other samples, is better than each other; and p-values."""
    marks = exam.accuracies(run, split)
    known = set(marks.names)
    won = marks.winners(name for name in exam.preferred(frame) if name in known)
    found = marks.compared(won, np.repeat(marks.place(others)[:, None], len(won), axis=1))
    return found.mean, found.p


def _by_class(run: Run, names: list[str], labels: np.ndarray, split: str) -> np.ndarray:
    """Return the accuracy of networks in each class, (networks, classes), means over replicates."""
    rights = [exam.replicates(run, name, split) for name in names]
    classes = [labels == c for c in range(len(run.classes))]
    return np.array([[float(exam.rates(r[:, mine].ravel(), 0)) for mine in classes] for r in rights])


def _draw_families(families: Families, few: str) -> Figure:
    """Draw each family's mean with its interval, and the differences of all pairs as a grid."""
    from matplotlib.figure import Figure

    order, table = families.order, families.table
    shown = order[:MOST]
    fig = Figure(figsize=(theme.WIDTH, theme.HEIGHT), layout="constrained")
    left, grid = fig.subplots(1, 2, width_ratios=(1, 1.6), sharey=True)
    _draw_means(left, families, shown)
    _draw_differences(grid, table, shown)
    left.set_ylim(len(shown) - 0.5, -0.5)  # of both: rows of the grid are those on the left
    more = f". The best {MOST} of {len(order)} are shown" if len(order) > MOST else ""
    real, known = int(table["real"].sum()), int(table["p"].notna().sum())
    return theme.finish(
        fig,
        f"Which {PLURAL[families.by]} are really better? {real} of {known} differences are real ({few})",
        f"Bold: real (corrected p < {families.alpha:g}); in brackets: may be chance. Over networks and samples"
        f"{f', {families.within}' if families.within else ''}; all share the samples, so that a difference is surer "
        f"than its two intervals look{more}.",
    )


def _draw_means(ax: Axes, families: Families, shown: list[str]) -> None:
    for y, family in enumerate(shown):
        low, high = families.intervals[family]
        colour, marker = theme.INK, "o"
        if families.by != "activation":
            colour, marker = (of(families.computations[family]) for of in (theme.colour, theme.marker))
        ax.plot([low, high], [y, y], color=colour, lw=3, alpha=0.6, solid_capstyle="round")
        ax.plot(families.means[family], y, marker, color=colour, ms=9, mec=theme.INK, mew=0.6)
    ax.set_yticks(range(len(shown)), shown)
    theme.percent_axis(ax.xaxis)
    ax.locator_params(axis="x", nbins=4)
    ax.set(xlabel="accuracy of the average network", title=f"Mean and {100 * LEVEL:.0f} % interval")


def _draw_differences(ax: Axes, table: pd.DataFrame, shown: list[str]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    place = {f: i for i, f in enumerate(shown)}
    points = np.full((len(shown), len(shown)), np.nan)
    marks = {}
    for row in table.itertuples():
        if row.a in place and row.b in place and row.p == row.p:
            i, j = place[row.a], place[row.b]
            points[i, j], points[j, i] = 100 * row.difference, -100 * row.difference
            marks[i, j] = marks[j, i] = row.real
    most = max(np.abs(np.nan_to_num(points)).max(), 1e-9)
    shades = LinearSegmentedColormap.from_list("better", [theme.WRONG, "#FFFFFF", theme.RIGHT])
    cells = ax.imshow(np.ma.masked_invalid(points), cmap=shades, vmin=-most, vmax=most, aspect="auto")
    ax.figure.colorbar(cells, ax=ax, label="points (blue: row better, orange: column better)", aspect=35, pad=0.02)
    ax.grid(visible=False)
    ax.set_facecolor("0.9")  # the diagonal
    for (i, j), real in marks.items():
        text = f"{round(points[i, j], 1) + 0.0:.1f}".replace("-", "\N{MINUS SIGN}")
        dark = abs(points[i, j]) > 0.7 * most
        ax.text(
            j, i, text if real else f"({text})", ha="center", va="center", fontsize=8.5 if len(shown) < 10 else 7.5,
            color="white" if dark else theme.INK, fontweight="bold" if real else "normal",
        )  # fmt: skip
    ax.set_xticks(range(len(shown)), shown, rotation=35, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="x", labelsize=10 if len(shown) < 10 else 8.5)
    ax.set_title("Row less column, in percentage points")


def _draw_two(
    run: Run, table: pd.DataFrame, by_class: np.ndarray, styles: dict[str, dict[str, Any]], label: str
) -> Figure:
    """Draw how the samples fall, and the accuracy of both networks in each class."""
    from matplotlib.figure import Figure

    row = table.iloc[0]
    fig = Figure(figsize=(theme.WIDTH, 5), layout="constrained")
    left, beside = fig.subplots(1, 2, width_ratios=(1, 1.4))
    colours = [style["color"] for style in styles.values()]
    counts = [int(row["only_a"]), int(row["only_b"]), int(row["neither"])]
    bars = left.bar(range(3), counts, color=[*colours, "#999999"], width=0.7)
    left.bar_label(bars, fontsize=11)
    left.set_xticks(range(3), [f"only\n{row['a']}", f"only\n{row['b']}", "neither"], fontsize=9)
    left.set(ylabel="samples", title=f"Who is right? (both: {row['both']} samples)")
    x = np.arange(len(run.classes))
    beside.vlines(x, *by_class, color="#999999", lw=2, zorder=1)
    for (name, style), values in zip(styles.items(), by_class, strict=True):
        beside.plot(x, values, **{**style, "linestyle": "none"}, ms=9, label=theme.plain(name))
    beside.set_xticks(
        x, [theme.plain(short(c, 16)) for c in run.classes], rotation=0 if max(map(len, run.classes)) < 4 else 35
    )
    theme.percent_axis(beside.yaxis)
    beside.set(xlabel="class", ylabel="right answers", title="Class by class")
    beside.legend()
    better, other = (row["a"], row["b"]) if row["judged"] >= 0 else (row["b"], row["a"])
    title = f"{better} is {'really' if row['real'] else 'not provably'} better than {other}"
    return theme.finish(
        fig,
        title,
        f"difference{' on samples that played no part' if label else ''} {100 * row['judged']:+.2f} points, "
        f"interval {100 * row['low']:+.2f} to {100 * row['high']:+.2f}, p = {row['p']:.2g}"
        f"{f'. {label}' if label else ''}",
    )


def _draw_all(table: pd.DataFrame, a: str, accuracy: float, samples: int, more: pd.Series) -> Figure:
    """Draw all networks by accuracy: better, worse, or not to be told from `a`; than whom `a` has `more`."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(theme.WIDTH, 5), layout="constrained")
    ax = fig.subplots()
    ordered = table.assign(more=more).sort_values("accuracy_b", ascending=False, ignore_index=True)
    better = ordered["more"]
    groups = {
        f"{a} is really better": (ordered["real"] & better, theme.RIGHT),
        "can't be told apart": (~ordered["real"], "#999999"),
        f"{a} is really worse": (ordered["real"] & ~better, theme.WRONG),
    }
    for label, (rows, colour) in groups.items():
        if rows.any():
            ax.plot(
                ordered.index[rows] + 1, ordered["accuracy_b"][rows], "o", ms=4, color=colour,
                label=f"{label} ({rows.sum()})",
            )  # fmt: skip
    ax.axhline(accuracy, color=theme.INK, linestyle="--", lw=1, label=a)
    theme.percent_axis(ax.yaxis)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="other networks, by accuracy", ylabel="accuracy")
    ax.legend(loc="lower left")
    title = f"From which networks can {a} be told, on {samples} samples?"
    return theme.finish(fig, title, "McNemar's test on shared samples, mid-p, Holm-corrected")
