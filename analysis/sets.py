"""Which networks know what they don't know, when each may answer with a set of classes?

A prediction set holds as many classes as it takes to contain the truth with a promised probability, whatever the
network. The test samples are split in three: on the first part a threshold on a score of non-conformity is calibrated
(the ⌈(n+1)·coverage⌉-th smallest score of the true classes), on the second the best network is chosen, and the third
judges. The part that chooses calibrates for itself: a network that was lucky in the threshold that judges it would be
chosen for that luck. Numbers are those of the judging part, means over ten splits. With p the probabilities of a sample
in falling order, r the rank of a class among them from 1, and u a random number from 0 to 1:

- LAC: -log p_r (Sadinle, Lei and Wasserman 2019, who take 1 - p_r: the same order, and the same sets)
- APS: p_1 + ... + p_(r-1) + u·p_r (Romano, Sesia and Candès 2020)
- RAPS: the same, + lam·max(0, r - k_reg) (Angelopoulos, Bates, Malik and Jordan 2021, arXiv 2009.14193)

u is drawn once a sample, from `seed`, the same for all networks; `randomised=False` takes u = 1. Either way the promise
holds exactly. A set can come out empty; as such a set tells nothing, it then gets the network's first answer, which
can only raise the coverage, unless `empty` is given. Each answer is of one of five kinds. *Sure* is a set of one class.

right_sure : the first answer is right, and alone in the set
right_unsure : the first answer is right, and the set has others too (or is empty)
wrong_in_set : the first answer is wrong, but the truth is in the set
wrong_unsure : the first answer is wrong, the truth not in the set, and the set has several classes (or is empty)
wrong_sure : the first answer is wrong, and alone in the set

Networks are ranked by the sum of the shares of the five kinds, each times its weight; of more than 2,000 a share of
each family is drawn. Needs scores, of the last epoch, first replicate.

Columns
-------
rank : 1 for the highest `score`
network, computation, activation : which
score : sum of the weighted shares; 1 is best with the default weights. With the split `left_out` each network is
    calibrated and judged on its own fold; from its score goes by how much the scores of the fold's networks are above
    those that they have on test, beyond what all are
accuracy : fraction of the judged samples whose first answer is right
coverage : fraction of the judged samples whose set has the truth in it
size : classes in a set, mean
right_sure, right_unsure, wrong_in_set, wrong_unsure, wrong_sure : fraction of the judged samples
threshold : largest score that is in a set, calibrated on all samples; inf where there are too few in the part that
    calibrates, and all sets are full
low, high : fractions between which 95 % of all coverages lie by chance, as calibrated and judged on so many samples
as_promised : whether coverage is not below `low`
chosen : fraction of the splits in which this network is the first on the part that chooses
tied : whether its `score`, below that of the network that is chosen, may be so by chance (Nadeau and Bengio 2003; Holm)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Judged, NetpickError, Run, Splits, short, suggest, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METHODS = ("RAPS", "APS", "LAC")
KINDS = ("right_sure", "right_unsure", "wrong_in_set", "wrong_unsure", "wrong_sure")
IN_WORDS = {
    "right_sure": ("right, and names one class", "#0072B2"),
    "right_unsure": ("right, and names others too", "#86C1E5"),
    "wrong_in_set": ("wrong, but the true class is named too", "#F2E28C"),
    "wrong_unsure": ("wrong, and names several classes", "#F0A860"),
    "wrong_sure": ("wrong, and names one class", "#B03A00"),
}
"""What the figure calls the kinds, and their colours."""
BLOCK_BYTES = 2**24
"""Scores at a time: what becomes of them stays near the processor, and each of several threads holds a block."""


def ask(
    run: Run,
    *,
    method: str = "RAPS",
    coverage: float = 0.95,
    lam: float = 0.1,
    k_reg: int = 1,
    randomised: bool = True,
    empty: bool = False,
    right_sure: float = 1.0,
    right_unsure: float = 0.5,
    wrong_in_set: float = 0.25,
    wrong_unsure: float = 0.0,
    wrong_sure: float = -1.0,
    networks: int = exam.MANY,
    seed: int = 0,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    everyone: bool = False,
    split: str = "test",
) -> Answer:
    """Calibrate prediction sets of all networks, and judge them.

    Parameters
    ----------
    method : str
        RAPS, APS or LAC.
    coverage : float
        Promised share of sets that have the truth in them, above 0 and below 1.
    lam : float
        RAPS: penalty for each class beyond `k_reg`, from 0.
    k_reg : int
        RAPS: classes that a set may have without a penalty.
    randomised : bool
        APS and RAPS: draw u; without it sets are larger, and the same for every seed.
    empty : bool
        Leave empty sets empty.
    right_sure, right_unsure, wrong_in_set, wrong_unsure, wrong_sure : float
        Weight of this kind of answer.
    networks : int
        Where there are more, so many are drawn, a share of each family.
    seed : int
        Of u, of the splits in three, and of the networks that are drawn.
    """
    kind = {m.lower(): m for m in METHODS}.get(method.lower())
    if kind is None:
        raise NetpickError(f"method is '{method}'{suggest(method.upper(), METHODS)}: give RAPS, APS or LAC")
    if not 0 < exam.check_fraction("coverage", coverage) < 1:
        raise NetpickError(f"coverage is {coverage}: give a number above 0 and below 1")
    exam.check_fraction("lam", lam, 0, np.inf)
    exam.check_count("k_reg", k_reg, 0)
    exam.check_count("networks", networks)
    compared_on, split = exam.said_of_networks(run, split), exam.comparing_split(run, split)
    frame = exam.selected(run, everyone, good, gold, quantile, split)
    frame, who = exam.drawn_of(frame, networks, exam.whom(frame, everyone), seed)
    frame = frame.set_index("name")
    how = How(kind, lam if kind == "RAPS" else 0.0, k_reg, randomised, empty, coverage, seed)
    found = Found.of(run, frame.index, split, how)
    splits, choosing, judging = found.splits, found.choosing, found.judging
    weights = np.array([right_sure, right_unsure, wrong_in_set, wrong_unsure, wrong_sure])
    table = pd.DataFrame(judging.mean(axis=0), columns=["coverage", "size", *KINDS])
    table["threshold"] = np.where(found.few, np.inf, found.threshold)
    table["accuracy"] = table["right_sure"] + table["right_unsure"]
    table["score"] = table[list(KINDS)] @ weights
    marks = [part[:, :, 2:] @ weights for part in (choosing, judging)]
    if split == exam.LEFT_OUT:
        anchor = Found.of(run, found.names, exam.SHARED, how).judging[:, :, 2:].mean(axis=0) @ weights
        marks = [on_equal_folds(part, found.fold, anchor) for part in marks]
        table["score"] = marks[1].mean(axis=0)
    first = First.of(splits, *marks, judging)
    table["chosen"], table["tied"] = first.often, first.tied
    table["network"] = found.names
    for k in ("computation", "activation"):
        table[k] = frame.loc[found.names, k].to_numpy()
    calibrated, judged_on = found.sizes
    table["low"], table["high"] = interval(calibrated, judged_on, coverage, times=len(splits))
    table["as_promised"] = table["coverage"] >= table["low"] - exam.TINY
    equal = table[["score", "size"]].round(exam.DIGITS)  # else the last bits of means would rank equals
    ranked = equal.sort_values(["score", "size"], ascending=[False, True], kind="stable").index
    table = table.loc[ranked].reset_index(drop=True)
    table["rank"] = table.index + 1
    order = ["rank", "network", "computation", "activation", "score", "accuracy", "coverage", "size", *KINDS]
    table = table[[*order, "threshold", "low", "high", "as_promised", "chosen", "tied"]]
    said = ""
    if found.few:
        need = int(np.ceil(coverage / (1 - coverage) - 1e-9))
        said = f"{calibrated} samples are too few to calibrate {coverage:g}, which takes {need}: all sets are full"
    text = sentence(table, kind, coverage, len(run.classes), who, first)
    few = exam.how_many(frame)
    return Answer(
        table, text, lambda: draw(table, kind, coverage, calibrated, few),
        exam.notes(run, said, compared_on, exam.said_of_luck(run, split), first=True),
        shares=("accuracy", "coverage", *KINDS, "low", "high", "chosen"),
        columns=("network", "rank", "score", "accuracy", "coverage", "size", "right_sure", "wrong_sure", "tied"),
        suggested=str(table["network"].iloc[0]),
    )  # fmt: skip


class How(NamedTuple):
    """What was asked for: the method with its penalty, whether u is drawn and sets may be empty, what is promised."""

    kind: str
    penalty: float
    k_reg: int
    randomised: bool
    empty: bool
    coverage: float
    seed: int


class Found(NamedTuple):
    """What a `Block` has, of all networks, in the order of their names; each on the fold that it answered, if so.

    `sizes` are the samples that calibrate and that judge, of the smallest fold.
    """

    names: list[str]
    fold: np.ndarray
    splits: Splits
    choosing: np.ndarray
    judging: np.ndarray
    threshold: np.ndarray
    few: bool
    sizes: tuple[int, int]

    @classmethod
    def of(cls, run: Run, wanted: Iterable[str], split: str, how: How) -> Found:
        """Calibrate and judge the sets of networks."""
        labels, there = run.labels(split), set(wanted)
        names = [name for name in exam.first_replicates(run, split) if name in there]
        strata = exam.within_folds(run, split, labels)
        splits = Splits.of(run, strata, parts=3, times=exam.FEW_TIMES, seed=how.seed)
        u = np.random.default_rng(how.seed).random(len(labels), dtype=np.float32)
        u = (u if how.randomised else np.ones(len(labels))).astype(np.float32)
        fold, answered = exam.folds_of(run, names, split)
        sizes, order, met = [], [], []
        networks = max(1, BLOCK_BYTES // (4 * len(labels) * len(run.classes)))

        def asked() -> Iterator[tuple[np.ndarray, Splits, np.ndarray | slice]]:
            """Yield scores, with the splits of their samples and the samples' u, and note whose they are."""
            for number, samples in answered.items():
                mine = np.flatnonzero(fold == number)
                here = Splits(splits.part[:, samples], splits.parts, splits.seed)
                for some, scores in exam.score_blocks(run, [names[i] for i in mine], split, networks):
                    met.extend(some)
                    yield scores[:, samples], here, samples
                sizes.append((len(here.samples(0, 0)), len(here.samples(0, 2))))
                order.append(mine)

        def block(one: tuple[np.ndarray, Splits, np.ndarray | slice]) -> Block:
            scores, here, samples = one
            level = nonconformity(scores, how.kind, u[samples], how.penalty, how.k_reg)
            rank = ranks(scores, labels[samples])
            own = np.take_along_axis(level, rank[:, :, None], axis=2)[:, :, 0]
            return Block.of(here, level, rank, own, how.coverage, how.empty)

        blocks = list(exam.ahead(block, asked()))
        place, mine = {name: i for i, name in enumerate(met)}, np.concatenate(order)
        known = [names[i] for i in mine]
        rows = [place[name] for name in known]
        choosing, judging = (
            np.concatenate(each, axis=1)[:, rows]
            for each in zip(*((b.choosing, b.judging) for b in blocks), strict=True)
        )
        return cls(
            known, fold[mine], splits, choosing, judging,
            np.concatenate([b.threshold for b in blocks])[rows], any(b.few for b in blocks), min(sizes),
        )  # fmt: skip


def on_equal_folds(marks: np.ndarray, fold: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Return scores (splits, networks) less what is due to each network's fold.

    That is by how much more the fold's networks have than on the shared samples, their `anchor`, than all have.
    """
    more = marks - anchor
    out = marks.copy()
    for one in np.unique(fold):
        mine = fold == one
        out[:, mine] -= (more[:, mine].mean(axis=1) - more.mean(axis=1))[:, None]
    return out


class Block(NamedTuple):
    """Coverage, size and shares of the five kinds, (splits, networks, 7), on the parts that choose and judge.

    Of some networks. With them go their thresholds on all samples, and whether a part has too few to calibrate.
    """

    choosing: np.ndarray
    judging: np.ndarray
    threshold: np.ndarray
    few: bool

    @classmethod
    def of(
        cls, splits: Splits, level: np.ndarray, rank: np.ndarray, own: np.ndarray, coverage: float, empty: bool
    ) -> Block:
        """Count in each split on the part that chooses, calibrated on itself, and on that which judges."""
        parts = [(k, part, calibrating) for part, calibrating in ((1, 1), (2, 0)) for k in range(len(splits))]
        found = np.stack([thresholds(own[:, splits.samples(k, part)], coverage) for k, _, part in parts])
        counted = []
        for (k, part, _), size in zip(parts, sizes(level, found), strict=True):
            samples = splits.samples(k, part)
            judge = size[:, samples] if empty else np.maximum(size[:, samples], 1)
            counted.append(np.column_stack(judged(rank[:, samples], judge)))
        chose, judges = np.stack(counted[: len(splits)]), np.stack(counted[len(splits) :])
        return cls(chose, judges, thresholds(own, coverage), bool(np.isinf(found).any()))


class First(NamedTuple):
    """What the network that is chosen on one part comes to on another, how often each is, and who may be as good."""

    coverage: Judged
    score: Judged
    often: np.ndarray
    tied: np.ndarray

    @classmethod
    def of(cls, splits: Splits, choosing: np.ndarray, judging: np.ndarray, values: np.ndarray) -> First:
        """Choose in each split by the scores (splits, networks) of one part, and judge by those of the other."""
        won = np.round(choosing, 12).argmax(axis=1)
        at = np.arange(len(splits)), won
        less = splits.over((judging[at][:, None] - judging).T, used=2)
        often = np.bincount(won, minlength=choosing.shape[1]) / len(splits)
        tied = (exam.holm(less.p) >= 0.05) | (less.mean <= 0)
        return cls(splits.over(values[..., 0][at], used=2), splits.over(judging[at], used=2), often, tied)


def nonconformity(scores: np.ndarray, method: str, u: np.ndarray, lam: float, k_reg: int) -> np.ndarray:
    """Return the score of non-conformity of each sample's classes, from its first answer to its last.

    float32 (networks, samples, classes), never falling along the classes, so that every set is the first few answers.
    """
    p = np.sort(scores, axis=2)[:, :, ::-1]
    if method == "LAC":
        return -p
    np.exp(p, out=p)
    total = np.cumsum(p, axis=2)
    total -= p * (1 - u)[None, :, None]
    if lam:
        total += (lam * np.maximum(0, np.arange(1, p.shape[2] + 1) - k_reg)).astype(np.float32)
    return total


def sizes(level: np.ndarray, thresholds: np.ndarray) -> Iterator[np.ndarray]:
    """Yield how many levels (networks, samples, classes) are up to each threshold (times, networks).

    Nearly all levels are on the same side of all of a network's thresholds, and are counted once.
    """
    lowest, highest = thresholds.min(axis=0)[:, None, None], thresholds.max(axis=0)[:, None, None]
    below = level <= lowest
    base = below.sum(axis=2, dtype=np.int16)
    network, sample, place = np.nonzero((level <= highest) & ~below)
    values, where = level[network, sample, place], network * level.shape[1] + sample
    for threshold in thresholds:
        size = base.copy()
        np.add.at(size.reshape(-1), where[values <= threshold[network]], 1)
        yield size


def ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the place of the true class among a sample's answers, from 0; of equal scores the first class leads."""
    own = np.take_along_axis(scores, labels[None, :, None].astype(np.intp), axis=2)
    out = np.zeros(scores.shape[:2], np.int16)
    others = np.nonzero((scores >= own).sum(axis=2, dtype=np.int16) > 1)  # elsewhere it is ahead of all
    these, mine, label = scores[others], own[others], labels[others[1]][:, None]
    before = (these == mine) & (np.arange(scores.shape[2]) < label)
    out[others] = (these > mine).sum(axis=1) + before.sum(axis=1)
    return out


def thresholds(own: np.ndarray, coverage: float) -> np.ndarray:
    """Return each network's threshold from the scores of the true classes (networks, samples); inf for too few."""
    n = own.shape[1]
    k = int(np.ceil((n + 1) * coverage - 1e-9))
    return np.partition(own, k - 1, axis=1)[:, k - 1] if k <= n else np.full(len(own), np.inf)


def judged(rank: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """Return coverage, mean size and the shares of the five kinds, each (networks,), from (networks, samples)."""
    networks, samples = rank.shape
    most = int(size.max(initial=1)) + 1
    kind = np.where(rank == 0, 0, np.where(rank < size, 1, 2))  # right, or the truth is in the set, or it is not
    numbers = (3 * np.arange(networks)[:, None] + kind) * most + size
    counts = np.bincount(numbers.ravel(), minlength=3 * networks * most).reshape(networks, 3, most)
    right, inside, outside = counts.transpose(1, 0, 2)
    whole = counts.sum(axis=1)
    found = [right[:, 1:].sum(axis=1) + inside.sum(axis=1), whole @ np.arange(most)]
    found += [right[:, 1], right.sum(axis=1) - right[:, 1], inside.sum(axis=1)]
    found += [outside.sum(axis=1) - outside[:, 1], outside[:, 1]]
    return [one / samples for one in found]


def interval(
    calibrated: int, judged_on: int, coverage: float, level: float = 0.95, times: int = 1
) -> tuple[float, float]:
    """Return between which coverages all but 5 % lie by chance, where the promise holds exactly.

    The covered are then beta-binomially distributed: binomial around a coverage that varies with the calibration
    (Angelopoulos and Bates 2023, "Conformal prediction: a gentle introduction", section 3.2). The mean over several
    splits lies closer to what is promised: which samples calibrate is drawn anew in each.
    """
    from scipy.stats import betabinom

    k = int(np.ceil((calibrated + 1) * coverage - 1e-9))
    if k > calibrated:
        return 1.0, 1.0
    middle = k / (calibrated + 1)
    low, high = (x / judged_on for x in betabinom(judged_on, k, calibrated + 1 - k).interval(level))
    return middle - (middle - low) / np.sqrt(times), min(1.0, middle + (high - middle) / np.sqrt(times))


def sentence(table: pd.DataFrame, method: str, coverage: float, classes: int, who: str, first: First) -> str:
    """Say who is best, how large its sets are, what choosing it comes to, and whether the promise is kept."""
    top = table.iloc[0]
    plain = table.loc[table["accuracy"].round(exam.DIGITS).idxmax()]
    other = (
        "It is the most accurate one too."
        if plain["network"] == top["network"]
        else f"The most accurate one, {plain['network']}, comes at rank {plain['rank']}."
    )
    label = f"first of {len(table)}, flattered by about {max(top['score'] - first.score.mean, 0):.3f}"
    ties, others = int(table["tied"].iloc[1:].sum()), len(table) - 1
    told = f"{ties or 'none'} of the other {others} can't be told from it"
    if ties == others:
        told = (
            f"none of the other {others} can be told from it" if others > 1 else "the other one can't be told from it"
        )
    promised = int(table["as_promised"].sum())
    often = exam.often(round(top["chosen"] * exam.FEW_TIMES), exam.FEW_TIMES)
    return (
        f"{top['network']} comes first of {who}: its {method} sets have {top['size']:.3g} of {classes} classes on "
        f"average and cover {exam.percent(top['coverage'])} ({exam.percent(coverage)} promised); "
        f"{exam.percent(top['right_sure'])} of the answers are right and sure, {exam.percent(top['wrong_sure'])} wrong "
        f"but sure. Its score is {top['score']:.3f} ({label}); chosen on one third of the samples and judged on "
        f"another ({top['network']} {often}), the first has {first.score.mean:.3f} (95 % interval "
        f"{first.score.low:.3f} to {first.score.high:.3f})"
        + (f", and {told}. {other} " if others else ". ")
        + f"{promised or 'None'} of {exam.counted_word(len(table), 'network')} "
        + f"{'cover' if promised > 1 else 'covers'} as much as promised, within chance."
    )


def draw(table: pd.DataFrame, method: str, coverage: float, calibrated: int, who: str, bars: int = 12) -> Figure:
    """Draw the five kinds of answer for the first networks, and coverage against size for all."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(10, 6.5))
    left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
    rest = table.iloc[bars:]
    _kinds(left, pd.concat([table.head(bars), rest[rest["network"] == "Basic"]]))
    values = np.unique(table["coverage"].round(9))  # many networks have the same: whole numbers of samples
    step = np.diff(values).min() if len(values) > 1 else 0.0
    moved = table["coverage"] + 0.35 * step * np.random.default_rng(0).uniform(-1, 1, len(table))
    right.scatter(table["size"], moved, s=12, color="#888888", alpha=0.6, linewidth=0, label="a network")
    first = table.iloc[0]
    style = {"color": theme.colour(first["computation"]), "marker": theme.marker(first["computation"])}
    right.scatter(first["size"], moved.iloc[0], s=90, edgecolor=theme.INK, zorder=5, **style)
    right.axhline(coverage, color=theme.INK, ls="--", lw=1.4, label=f"promised: {exam.percent(coverage)}")
    few = f"; wide, as only\n{calibrated} samples calibrate" if calibrated < 1000 else ""
    low, high = table["low"].iloc[0], table["high"].iloc[0]
    right.axhspan(low, high, color="0.5", alpha=0.15, label=f"within chance of it (95 %{few})")
    right.set(xlabel="classes that an answer names (mean)", ylabel="how often the true class is among them")
    theme.percent_axis(right.yaxis)
    theme.name_point(right, float(first["size"]), float(moved.iloc[0]), str(first["network"]))
    under = {"loc": "upper center", "fontsize": 8.5, "frameon": False}
    left.legend(bbox_to_anchor=(0.3, -0.1), ncols=1, **under)
    right.legend(bbox_to_anchor=(0.5, -0.1), ncols=1, **under)
    return theme.finish(
        fig,
        f"{first['network']} knows best when it may be wrong, of {who}",
        f"Each answer names as many classes as it takes to hold the true one in {exam.percent(coverage)} of the cases "
        f"({method}). Dots are moved up or down by less than half a sample, so that equal ones don't hide each other.",
    )


def _kinds(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw what becomes of the answers of some networks."""
    ticks = [theme.plain(f"{short(row.network, 34)} ({row.rank})") for row in rows.itertuples()]
    before = np.zeros(len(rows))
    for kind, (words, shade) in IN_WORDS.items():
        ax.barh(ticks, rows[kind], left=before, color=shade, label=words)
        before += rows[kind].to_numpy()
    ax.invert_yaxis()
    start = max(0.0, np.floor(10 * rows["right_sure"].min()) / 10 - 0.1)
    ax.set_xlim(left=start, right=1)
    ax.tick_params(axis="y", labelsize=9)
    ax.locator_params(axis="x", nbins=5)
    cut = f" (the axis starts at {100 * start:g} %)" if start else ""
    ax.set(xlabel=f"share of the judged samples{cut}", ylabel="network (rank)")
    theme.percent_axis(ax.xaxis)
