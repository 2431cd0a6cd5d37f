"""Do networks of similar design get the same samples wrong?

For two networks, agreement is Cohen's kappa of being wrong: how much more often both are right or both wrong than two
networks with the same error rates would be by chance; 1 is complete agreement, 0 is chance (Cohen 1960; as a measure of
diversity in ensembles: Kuncheva and Whitaker 2003). It is averaged over the pairs within a group and between groups.
That networks of the same group agree more is tested by shuffling the groups among networks of like accuracy, five at a
time, and by what the two accuracies leave of kappa, since able networks agree with able ones, whatever their design.
Two networks complement each other where they are seldom wrong together: chosen on one half of the test samples, as is
the best single network that they are compared with, and judged on the other, in ten splits. Kappa uses all test samples
at the last epoch, first replicate; pairs without an error have none and are left out. Time and memory grow with the
square of the number of networks, so that of more than 2,000 a share of each family is drawn. Networks of a run with
folds that left out different ones share no samples of the split `left_out`: pairs are then of the same fold, and none
is said to complement each other best.

Columns
-------
first, second : groups (families by default); the same one twice for agreement within it
pairs : pairs of different networks, one of each group
kappa : mean over the pairs, from -1 to 1
low, high : kappa's quartiles over the pairs
both_wrong : fraction of the samples on which both networks are wrong; mean over the pairs
network_a, network_b : the pair of these groups that complements each other best on all samples; of equals the first
chosen : fraction of the splits in which it is this pair that is chosen
joint_error : fraction of the judged half on which both networks of the chosen pair are wrong; mean over the splits
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Judged, NetpickError, Run, Splits, percent, short, theme, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GROUPS = ("family", "computation", "activation")
HARDLY = 0.05
"""A difference of kappa below this is called small, however surely it is not chance."""
MOST = 8
"""Groups in the figure."""
BLOCK = 16
"""Shuffles at a time."""
ALIKE = 5
"""Networks that are called alike in accuracy, neighbours in its order."""


def ask(
    run: Run,
    *,
    by: str = "family",
    shuffles: int = 199,
    seed: int = 0,
    networks: int = exam.MANY,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    everyone: bool = False,
    split: str = "test",
) -> Answer:
    """Compare the errors of all pairs of networks.

    Parameters
    ----------
    by : str
        What makes a group: family (computation and activation), computation or activation.
    shuffles : int
        How often the groups are shuffled for the test.
    seed : int
        Of the shuffles, of the splits into halves, and of the networks where there are too many.
    networks : int
        Where there are more, so many are drawn, a share of each family; time and memory grow with their square.
    """
    exam.check_choice("by", by, GROUPS)
    exam.check_count("shuffles", shuffles)
    exam.check_count("networks", networks)
    compared_on, split = exam.said_of_networks(run, split), exam.comparing_split(run, split)
    frame = exam.selected(run, everyone, good, gold, quantile, split)
    frame, who = exam.drawn_of(frame, networks, exam.whom(frame, everyone), seed)
    names, predicted, labels = exam.final(run, frame["name"], split)
    if len(names) < 2:
        raise NetpickError("agreement needs two networks and there is one: give a lower `good`, or ask `everyone`")
    frame = frame.set_index("name", drop=False).rename_axis(None).loc[names]
    groups = frame["computation"] + " " + frame["activation"] if by == "family" else frame[by]
    codes, labelled = pd.factorize(groups)
    right = exam.marked(predicted, labels)
    if len(labels) < 2:
        raise NetpickError(f"{run.path} has {len(labels)} test samples: two are needed, to choose and to judge")
    joint, shared, kappa, fold = of_pairs(right)
    groups_of = pairs_of(codes, labelled.tolist())
    preferred = [names.index(name) for name in exam.preferred(frame)]
    best = None  # whom to choose is not to be luck of the fold
    if exam.is_whole(right):
        splits = Splits.of(run, labels, times=exam.FEW_TIMES, seed=seed)
        best = chosen(splits, ~right, joint, groups_of, preferred)
    table = pair_table(best, kappa, joint / shared, groups_of, names)

    inside, outside, p = within_test(kappa, codes, shuffles, seed, np.diag(joint / shared), fold)
    text = sentence(inside, outside, p, by, best, names, who)
    # Families are many: the figure has their computations.
    of = (frame["activation"] if by == "activation" else frame["computation"]).reset_index(drop=True)
    shown = largest(of).to_numpy()
    few = exam.how_many(frame)

    def figure() -> Figure:
        part, names_of = kappa[np.ix_(shown, shown)], of[shown].reset_index(drop=True)
        square = means(part, *pd.factorize(names_of))
        rows = beside(part, codes[shown], names_of)
        return draw(rows, square, by, f"{headline(inside, outside, p, by)} ({few})", who)

    return Answer(
        table, text, figure, exam.notes(run, compared_on, exam.said_of_luck(run, split), first=True),
        shares=[column for column in ("both_wrong", "chosen", "joint_error") if column in table],
        columns=("first", "second", "kappa", "low", "high", "both_wrong", "pairs"),
    )  # fmt: skip


@dataclass(frozen=True)
class Pairs:
    """All pairs of networks of two groups: names of the groups, and numbers of the networks."""

    first: str
    second: str
    i: np.ndarray
    j: np.ndarray


@dataclass(frozen=True)
class Best:
    """The pair that complements each other best, and what came of choosing it.

    Parameters
    ----------
    pair : numbers of its networks, on all samples; single: the best network
    equals : how many other pairs are wrong together as seldom
    often : share of the splits in which it is this pair that is chosen
    error, single_error : Judged
        Of the chosen pair, and of the best single network, on samples that played no part in choosing them.
    less : Judged
        By how much the former is below the latter.
    rows : a tuple for each of the pairs of groups: `pair`, `often`, and the mean of `error`
    """

    pair: tuple[int, int]
    single: int
    equals: int
    often: float
    error: Judged
    single_error: Judged
    less: Judged
    rows: list[tuple[tuple[int, int], float, float]]


def chosen(splits: Splits, wrong: np.ndarray, joint: np.ndarray, groups: list[Pairs], preferred: list[int]) -> Best:
    """Choose the best pair of all, of each two groups, and the best single network; judge them on the other halves.

    Parameters
    ----------
    wrong : bool (networks, samples)
    joint : (networks, networks)
        On how many samples both are wrong.
    groups : the pairs of each two groups
    preferred : numbers of the networks, the first of equals first
    """
    times = len(splits)
    error, single_error, often = np.empty(times), np.empty(times), np.empty(times, bool)
    found, same = np.empty((times, len(groups))), np.empty((times, len(groups)), bool)
    pair, single = complement(joint), preferred[int(np.diag(joint)[preferred].argmin())]
    whole = [int(joint[g.i, g.j].argmin()) for g in groups]
    for k in range(times):
        judge = splits.samples(k)
        judged = both_wrong(wrong[:, judge])
        choosing = joint - judged
        i, j = complement(choosing)
        top = preferred[int(np.diag(choosing)[preferred].argmin())]
        error[k], single_error[k] = judged[i, j] / len(judge), judged[top, top] / len(judge)
        often[k] = (i, j) == pair
        for n, g in enumerate(groups):
            best = int(choosing[g.i, g.j].argmin())
            found[k, n], same[k, n] = judged[g.i[best], g.j[best]] / len(judge), best == whole[n]
    upper = joint[np.triu_indices(len(joint), 1)]
    rows = [
        ((int(g.i[best]), int(g.j[best])), float(same[:, n].mean()), float(found[:, n].mean()))
        for n, (g, best) in enumerate(zip(groups, whole, strict=True))
    ]
    return Best(
        pair, single, int((upper == joint[pair]).sum()) - 1, float(often.mean()), splits.over(error),
        splits.over(single_error), splits.over(single_error - error), rows,
    )  # fmt: skip


def pairs_of(codes: np.ndarray, groups: list[str]) -> list[Pairs]:
    """Return the pairs of networks of each two groups; a group by itself only if it has two networks."""
    members = [np.flatnonzero(codes == g) for g in range(len(groups))]
    out = []
    for g, h in combinations_with_replacement(range(len(groups)), 2):
        i, j = (x.ravel() for x in np.meshgrid(members[g], members[h], indexing="ij"))
        if g == h:
            i, j = i[i < j], j[i < j]
        if len(i):
            out.append(Pairs(groups[g], groups[h], i, j))
    return out


def both_wrong(wrong: np.ndarray) -> np.ndarray:
    """Count for each two networks the samples on which both are wrong, from bool (networks, samples)."""
    x = wrong.astype(np.float32)  # counts below 2^24 are exact, and the product is fast
    return (x @ x.T).astype(np.float64)


def of_pairs(right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count for each two networks the samples that both have wrong, and those that both answered; kappa, and folds.

    NaN for two that share no samples; folds are those of each network.
    """
    joint, shared, kappa = np.full((3, len(right), len(right)), np.nan)
    fold = np.zeros(len(right), int)
    for number, (rows, samples) in enumerate(exam.blocks(right)):
        wrong = both_wrong(~(right[rows][:, samples] > 0))
        count, at = right[:, samples].shape[1], np.arange(len(right))[rows]
        these = np.ix_(at, at)
        joint[these], shared[these], kappa[these] = wrong, count, kappas(wrong, count)
        fold[rows] = number
    return joint, shared, kappa, fold


def kappas(joint: np.ndarray, samples: int) -> np.ndarray:
    """Return Cohen's kappa of being wrong for each two networks, from `both_wrong`.

    NaN where neither is wrong anywhere, or both are everywhere: chance alone gives full agreement there.
    """
    joint = joint / samples
    p = np.diag(joint)
    chance = np.outer(p, p)
    # Observed less expected agreement, and 1 less the expected, with the terms that cancel left out.
    above, room = 2 * (joint - chance), p[:, None] + p[None, :] - 2 * chance
    return np.divide(above, room, out=np.full_like(above, np.nan), where=room > 0)


def complement(joint: np.ndarray) -> tuple[int, int]:
    """Return the two networks that are least often wrong together, from `both_wrong`; of equals the better ones."""
    errors = np.diag(joint)
    # Errors decide between equals only: together they weigh less than one sample.
    value = joint + (errors[:, None] + errors[None, :]) / (2 * errors.max() + 1)
    np.fill_diagonal(value, np.inf)
    i, j = np.unravel_index(value.argmin(), value.shape)
    return int(i), int(j)


def pair_table(
    best: Best | None, kappa: np.ndarray, joint: np.ndarray, groups: list[Pairs], names: list[str]
) -> pd.DataFrame:
    """Return one row a pair of groups, those first that agree most; `joint` is the share of samples both have wrong.

    Without the `best` pairs where not all networks share samples, and of those pairs alone that do.
    """
    rows = []
    for n, g in enumerate(groups):
        share = joint[g.i, g.j]
        if best is None and np.isnan(share).all():
            continue
        values = kappa[g.i, g.j]
        known = values[~np.isnan(values)]
        low, high = np.quantile(known, (0.25, 0.75)) if len(known) else (np.nan, np.nan)
        row: dict[str, object] = {
            "first": g.first,
            "second": g.second,
            "pairs": int((~np.isnan(share)).sum()),
            "kappa": known.mean() if len(known) else np.nan,
            "low": low,
            "high": high,
            "both_wrong": share[~np.isnan(share)].mean(),
        }
        if best is not None:
            (a, b), often, error = best.rows[n]
            row |= {"network_a": names[a], "network_b": names[b], "chosen": often, "joint_error": error}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("kappa", ascending=False, kind="stable", ignore_index=True)


def as_accurate(errors: np.ndarray) -> list[np.ndarray]:
    """Return the numbers of networks, in sets of `ALIKE` or a few more that are next to each other in accuracy."""
    return np.array_split(np.argsort(errors, kind="stable"), max(1, len(errors) // ALIKE))


def as_accurate_by_fold(errors: np.ndarray, fold: np.ndarray) -> list[np.ndarray]:
    """Return such sets of each fold: networks of different folds share no samples."""
    members = [np.flatnonzero(fold == one) for one in np.unique(fold)]
    return [mine[part] for mine in members for part in as_accurate(errors[mine])]


def beyond_accuracy(kappa: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return kappa less what the accuracies of two networks explain; `errors` are shares of the samples.

    Least squares by the sum of their logits, to the third power, and by how far these are apart: networks of like
    accuracy agree more, on hard samples and easy ones, whatever they are made of.
    """
    share = np.clip(errors, 1e-4, 1 - 1e-4)
    level = np.log(share / (1 - share))
    level = (level - level.mean()) / max(float(level.std()), 1e-9)
    i, j = np.nonzero(~np.isnan(kappa))
    both, apart = level[i] + level[j], np.abs(level[i] - level[j])
    terms = np.column_stack([np.ones(len(i)), both, both**2, both**3, apart, apart**2, apart * both])
    out = kappa.copy()
    out[i, j] -= terms @ np.linalg.lstsq(terms.T @ terms, terms.T @ kappa[i, j], rcond=None)[0]
    return out


def within_test(
    kappa: np.ndarray,
    codes: np.ndarray,
    shuffles: int,
    seed: int,
    errors: np.ndarray | None = None,
    fold: np.ndarray | None = None,
) -> tuple[float, float, float]:
    """Return mean kappa within groups and between them, and how likely such a difference is by chance.

    Given the networks' `errors`, as shares of the samples, groups are shuffled among networks of like accuracy, and
    what accuracy explains is taken from kappa; else they are shuffled among all. With the `fold` of each network they
    are shuffled within folds.

    NaN where there are no pairs of one kind. The last is the share of shuffles, the true order counted in, in which
    the pairs within a group agree at least as much; in the shuffles, a pair without kappa stands as an average one.
    """
    known = ~np.isnan(kappa)
    np.fill_diagonal(known, False)
    same = codes[:, None] == codes[None, :]
    inside, outside = (float(kappa[known & x].mean()) if (known & x).any() else np.nan for x in (same, ~same))
    if np.isnan(inside - outside):
        return inside, outside, np.nan
    centred = np.where(known, kappa, np.nan)
    centred = centred - kappa[known].mean() if errors is None else beyond_accuracy(centred, errors)
    centred = np.nan_to_num(centred).astype(np.float32)
    fold = np.zeros(len(codes), int) if fold is None else fold
    alike = [np.arange(len(codes))] if errors is None else as_accurate_by_fold(errors, fold)
    onehot = np.eye(codes.max() + 1, dtype=np.float32)
    rng = np.random.default_rng(seed)
    orders = [codes]
    for _ in range(shuffles):
        orders.append(codes.copy())
        for members in alike:
            orders[-1][members] = rng.permutation(codes[members])
    sums: list[float] = []
    for start in range(0, len(orders), BLOCK):  # one product of matrices for many shuffles
        member = np.concatenate([onehot[order] for order in orders[start : start + BLOCK]], axis=1)
        columns = ((centred @ member) * member).sum(axis=0, dtype=np.float64)
        sums += columns.reshape(-1, onehot.shape[1]).sum(axis=1).tolist()
    as_much = np.asarray(sums) >= sums[0] - 1e-6 * abs(sums[0])
    return inside, outside, float(as_much.mean())


def sentence(inside: float, outside: float, p: float, by: str, best: Best | None, names: list[str], who: str) -> str:
    """Say whether groups agree more within than between, and who complements whom."""
    kind = {"family": "of the same family", "computation": "with the same computation"}.get(by, "with one activation")
    if np.isnan(p):
        said = f"Among {who} there are no pairs {kind} to compare with the others."
    else:
        word = "Not clearly" if p > 0.05 else "Hardly" if inside - outside < HARDLY else "Yes"
        tiny = ", a difference that is tiny, though more than chance" if word == "Hardly" else ""
        said = (
            f"{word}: among {who}, errors agree with a kappa of {inside:.2f} in pairs {kind} and of {outside:.2f} "
            f"in other pairs{tiny} (p = {p:.2g}, against shuffling among networks of like accuracy)."
        )
    if best is None:
        return f"{said} Pairs are of networks that left out the same fold, as others share no samples."
    first, second = (names[i] for i in best.pair)
    equals = f", as {exam.counted_word(best.equals, 'other pair')} would" if best.equals else ""
    often = exam.often(round(best.often * exam.FEW_TIMES), exam.FEW_TIMES)
    return (
        f"{said} {first} and {second} complement each other best{equals}. Chosen on one half of the samples and judged "
        f"on the other ({first} and {second} {often}), the two are both wrong on {best.error}, where the most accurate "
        f"of these networks ({names[best.single]} on all samples) is wrong on "
        f"{percent(best.single_error.mean)}: {exam.points(abs(best.less.mean))} "
        f"{'less' if best.less.mean >= 0 else 'more'}, and {verdict(best.less.p)}."
    )


def beside(kappa: np.ndarray, codes: np.ndarray, of: pd.Series) -> pd.DataFrame:
    """Return kappa in pairs of one group and in other pairs, a row a value of `of`: means and quartiles.

    `codes` are the groups of the networks, `of` what they are told apart by in the figure.
    """
    known = ~np.isnan(kappa)
    np.fill_diagonal(known, False)
    same = codes[:, None] == codes[None, :]
    rows = []
    for name in of.unique():
        mine = (of == name).to_numpy()[:, None] & known
        row: dict[str, object] = {"name": name}
        for kind, part in (("within", same), ("between", ~same)):
            values = kappa[mine & part]
            row[f"{kind}_pairs"] = len(values)
            found = (values.mean(), *np.quantile(values, (0.25, 0.75))) if len(values) else [np.nan] * 3
            row |= dict(zip((kind, f"{kind}_low", f"{kind}_high"), found, strict=True))
        rows.append(row)
    return pd.DataFrame(rows).sort_values("between", ignore_index=True)


def draw(rows: pd.DataFrame, square: pd.DataFrame, by: str, title: str, who: str) -> Figure:
    """Draw kappa within groups beside that between them (see `beside`), and its means as a square (see `ordered`)."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(10, 5.4))
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.25))
    y = np.arange(len(rows))
    for part, shade, marker, up in (("within", theme.RIGHT, "o", 0.14), ("between", "#777777", "s", -0.14)):
        words = f"of the same {by}" if part == "within" else "of another"
        left.hlines(y + up, rows[f"{part}_low"], rows[f"{part}_high"], color=shade, linewidth=2.5, alpha=0.5)
        left.plot(rows[part], y + up, marker, color=shade, markersize=7, label=f"pairs {words}")
    left.set_yticks(y, [theme.plain(short(name, 20)) for name in rows["name"]])
    left.set_ylim(-0.6, len(rows) - 0.4)
    left.set(xlabel="agreement of errors (kappa; mean, quartiles)")
    left.grid(visible=False, axis="y")
    _square(right, square)
    theme.legend_below(fig, left)
    theme.finish(fig, title, who)
    fig.draw_without_rendering()  # once: the layout would move a little with the resolution
    fig.set_layout_engine("none")
    return fig


def headline(inside: float, outside: float, p: float, by: str) -> str:
    """Say what the figure shows: whether groups agree more within than between."""
    if np.isnan(inside - outside):
        return "Which groups get the same samples wrong?"
    more = "no more" if p > 0.05 else "hardly more" if inside - outside < HARDLY else "more"
    return f"Networks of one {by} share {more} errors than others: kappa {inside:.2f} within, {outside:.2f} between"


def _square(ax: Axes, square: pd.DataFrame) -> None:
    """Draw the means of all pairs of groups, each in words too; grey where there are no pairs."""
    cells = ax.imshow(np.ma.masked_invalid(square.to_numpy()), aspect="auto")
    ax.set_facecolor("0.85")
    ax.grid(visible=False)
    for (i, j), value in np.ndenumerate(square.to_numpy()):
        if value == value:
            shade = theme.readable_on(cells.to_rgba(value))
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8.5, color=shade)
    names = [theme.plain(short(name, 20)) for name in square.index]
    ax.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor", fontsize=9)
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.set_title(f"mean kappa of each two{'; grey: no pairs' if square.isna().any(axis=None) else ''}", loc="left")


def largest(groups: pd.Series) -> pd.Series:
    """Return whether each network is of one of the `MOST` groups that have most networks."""
    counts = groups.value_counts()
    return groups.isin(counts.index[:MOST])


def means(kappa: np.ndarray, codes: np.ndarray, groups: pd.Index) -> pd.DataFrame:
    """Return mean kappa of each two groups, groups that agree beside each other; NaN where there are no pairs."""
    values = np.full((len(groups),) * 2, np.nan)
    for pairs in pairs_of(codes, list(groups)):
        of_pairs = kappa[pairs.i, pairs.j]
        if not np.isnan(of_pairs).all():
            i, j = groups.get_loc(pairs.first), groups.get_loc(pairs.second)
            values[i, j] = values[j, i] = np.nanmean(of_pairs)
    return ordered(pd.DataFrame(values, groups, groups))


def ordered(square: pd.DataFrame) -> pd.DataFrame:
    """Return a square of kappa clustered by average linkage on 1 - kappa."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(square) > 2:
        distance = 1 - square.fillna(square.stack().mean() if square.notna().any(axis=None) else 0).to_numpy()
        np.fill_diagonal(distance, 0)
        tree = linkage(squareform((distance + distance.T) / 2, checks=False), "average", optimal_ordering=True)
        order = [square.index[i] for i in leaves_list(tree)]
        square = square.loc[order, order]
    return square
