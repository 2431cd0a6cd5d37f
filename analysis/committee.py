"""How many small networks must answer together to be as good as the best one?

A committee is a number of networks that answer as one, by `votes` (the class that most of them name; equal votes go to
the class whose voters have the better ranks in accuracy) or by `probabilities` (the class with the highest mean
probability). Members are drawn at `random`, or taken one after the other, `greedy`: each next member is the one that
makes the committee best (forward selection, each network once: Caruana et al. 2004, "Ensemble selection from libraries
of models"). The test samples are split in three: on the first part greedy committees, and the best single network, are
chosen; on the second the rule, and the smallest size that matches the single network; and the third judges, so that
none of this flatters. All accuracies are those of the judging part, means over five splits, with intervals over the
splits (Nadeau and Bengio 2003). Networks are compared by their first replicate; where one network alone is named as
member, its replicates sit in the committee. Where no scores were kept, there are votes only.

Columns
-------
choice : `single` (the network to match, in the first row), `random` or `greedy`
rule : `votes` or `probabilities`; empty for the single network
size : members
accuracy : fraction of the judged samples; mean over the splits, and over the draws of random committees
low, high : fraction; 95 % interval over the splits; of random committees the range over the draws
params, macs, seconds : sums over the members, means over the draws; training time in seconds
macs_share : the committee's macs, divided by the single network's
matches : whether `accuracy` is at least the single network's
chosen : fraction of the splits in which this is the smallest committee of its `choice` to match the single network on
    the second part (of two rules the more accurate; where none matches, the most accurate of all)
p : p-value of "the committee and the single network are as accurate"
member : greedy: the network that comes in at this size, on all samples
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.analysis import _replicates
from netpick.analysis._matching import Enough, Tried, sentence
from netpick.exam import Answer, NetpickError, Run, RunError, Splits, short, suggest, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK = 64  # networks at a time, so that what is added up stays in the processor's cache
MOST = 500  # who may sit in a committee without being named: time grows with the candidates
COSTS = ["params", "macs", "seconds"]
SIZES = (1, 2, 3, 5, 9, 15, 31, 63, 127)
"""In the figure, and the largest."""
STYLES = {"votes": (theme.RIGHT, "o"), "probabilities": (theme.WRONG, "s")}
TIMES = 5
"""Splits: each takes as long as choosing a committee does."""


def ask(
    run: Run,
    *,
    members: list[str] | None = None,
    target: str | None = None,
    largest: int = 25,
    draws: int = 20,
    seed: int = 0,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    everyone: bool = False,
    split: str = "test",
) -> Answer:
    """Compare committees with one network.

    Parameters
    ----------
    members : list of str
        Who may sit in a committee: names of networks, computations, or beginnings of names (Conv2dReLU). Without it,
        networks with at most twice the params of Basic; where fewer than 10 are that small, the smallest quarter of
        all (or 10); of more than 500 a share of each family is drawn. One network alone sits with all its replicates.
    target : str
        The single network to match; without it the best one, chosen anew in each split. It is in no committee.
    largest : int
        Members of the largest committee that is tried.
    draws : int
        Random committees of each size.
    seed : int
        Of the draws, and of the splits in three.
    """
    exam.check_count("largest", largest, 2)
    exam.check_count("draws", draws)
    compared_on, split = exam.said_of_networks(run, split), exam.need_shared(run, split, "a committee")
    frame = exam.students(run, good, gold, quantile, split)
    known, predicted, labels = exam.final(run, None, split)
    splits = Splits.of(run, labels, parts=3, times=TIMES, seed=seed)
    single = exam.need_network(run, target) if target is not None else exam.best(frame)
    replicated = _replicates.named_alone(run, members)
    if replicated:
        bench, who = Bench.of_replicates(run, replicated, largest, split), f"replicates of {replicated}"
        few = f"{len(bench.names)} {who}"
    else:
        pool, who = pool_of(run, frame[frame["name"] != single], members, everyone)
        bench = Bench.of(run, frame, pool, split)
        few = f"{len(bench.names)} of {len(frame)} networks"
    alone = Single.of(splits, frame, known, predicted == labels, single, target is not None)
    said = []
    if replicated and largest > len(bench.names):
        train = _replicates.more(run, replicated, largest)
        said.append(f"there are {few}, and not the {largest} that were asked for, which these train: {train}")
    largest = min(largest, len(bench.names))
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.permutation(len(bench.names))[:largest] for _ in range(draws)])

    costs = frame.set_index("name").loc[[single], COSTS].to_numpy(float)
    goal = alone.accuracy[1]
    parts = [_rows("single", "", goal[None, :, None], costs[None], splits, goal, [single])]
    tried: list[Tried] = []
    for rule in ("votes", "probabilities"):
        try:
            margins = bench.margins(run, rule, largest)
        except RunError as e:
            said.append(f"votes only: {e}")
            continue
        rows, courses = committees(bench, rule, margins, drawn, splits, goal)
        parts, tried = parts + rows, tried + courses
    table = pd.concat(parts, ignore_index=True)
    found = {
        choice: Enough.of([one for one in tried if one.choice == choice], alone.accuracy, splits)
        for choice in ("greedy", "random")
    }
    after = list(table).index("seconds") + 1
    table.insert(after, "macs_share", table["macs"] / table["macs"].iloc[0])
    table.insert(after + 1, "matches", table["accuracy"] >= table["accuracy"].iloc[0] - 1e-9)  # means are rounded
    table.insert(after + 2, "chosen", _chosen(table, found))
    text = sentence(table, found, single, who, len(bench.names), alone.why)
    text += _replicates.together(table) if replicated else ""
    return Answer(
        table, text, lambda: draw(table, found, single, who, few),
        exam.notes(run, *said, compared_on, exam.said_of_luck(run, split), first=True),
        shares=("accuracy", "low", "high", "chosen"),
        columns=("choice", "rule", "size", "accuracy", "low", "high", "macs_share", "p", "member", "chosen"),
    )  # fmt: skip


Margins = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From members in their order, and numbers of hard samples, to (classes - 1, members, samples)."""


@dataclass(frozen=True)
class Single:
    """The accuracy of the network to match, and which network that is, in words, if it was not named.

    (2, splits): on the part that chooses how many members it takes to match it, and on that which judges.
    """

    accuracy: np.ndarray
    why: str

    @classmethod
    def of(
        cls, splits: Splits, frame: pd.DataFrame, known: list[str], right: np.ndarray, single: str, named: bool
    ) -> Single:
        """Judge the one that was named, or in each split the one that is best on the part that chooses members."""
        both = np.stack([splits.means(right, 1), splits.means(right)])
        if named:
            return cls(both[:, known.index(single)], "")
        place = {name: i for i, name in enumerate(known)}
        order = [place[name] for name in exam.preferred(frame) if name in place]
        won = np.array(order)[splits.means(right, 0)[order].argmax(axis=0)]
        often = int((won == known.index(single)).sum())
        return cls(
            both[:, won, np.arange(len(splits))],
            f"of all {len(frame)}, chosen anew in each of {len(splits)} splits, {single} in {often or 'none'} of them",
        )


@dataclass(frozen=True)
class Bench:
    """Those that may sit in a committee.

    Parameters
    ----------
    names : of the networks
    costs : (networks, costs)
    predicted : (networks, samples)
    labels : (samples,)
    hard : numbers of the samples that some of them have wrong; of the others every committee is right
    classes : how many there are
    scores : reads (networks, samples, classes)
    """

    names: list[str]
    costs: np.ndarray
    predicted: np.ndarray
    labels: np.ndarray
    hard: np.ndarray
    classes: int
    scores: Callable[[], np.ndarray]

    @classmethod
    def of(cls, run: Run, frame: pd.DataFrame, wanted: list[str], split: str) -> Bench:
        """Read their answers."""
        names, predicted, labels = exam.final(run, wanted, split)
        if len(names) < 2:
            raise RunError(
                f"{run.path} has answers of {len(names)} of the networks asked for: name others as `members`"
            )
        costs = frame.set_index("name").loc[names, COSTS].to_numpy(float)
        hard = np.flatnonzero((predicted != labels).any(axis=0))
        return cls(
            names, costs, predicted, labels, hard, len(run.classes), lambda: exam.final_scores(run, names, split)[1]
        )

    @classmethod
    def of_replicates(cls, run: Run, name: str, largest: int, split: str) -> Bench:
        """Read the answers of one network's replicates."""
        names, costs, predicted, labels, scores = _replicates.replicates(run, name, largest, split)
        hard = np.flatnonzero((predicted != labels).any(axis=0))
        return cls(names, costs, predicted, labels, hard, len(run.classes), scores)

    def ranked(self, samples: np.ndarray) -> np.ndarray:
        """Return the numbers of the networks, the most accurate on some samples first; of equals the cheapest."""
        right = (self.predicted[:, samples] == self.labels[samples]).mean(axis=1)
        return np.lexsort((self.costs[:, 1], -right))

    def margins(self, run: Run, rule: str, largest: int) -> Margins:
        """Return what gives the margins of the members in an order of rank, on some of the hard samples."""
        labels = self.labels[self.hard]
        if rule == "votes":
            given = self.predicted[:, self.hard]
            return lambda order, some: vote_margins(given[np.ix_(order, some)], labels[some], self.classes, largest)
        made = probability_margins(self.scores(), labels, self.hard)
        return lambda order, some: made[:, order[:, None], some]


def committees(
    bench: Bench, rule: str, margins: Margins, drawn: np.ndarray, splits: Splits, single: np.ndarray
) -> tuple[list[pd.DataFrame], list[Tried]]:  # fmt: skip
    """Return the rows of random committees, `drawn` (draws, members), and of the greedy one, and what both come to.

    `single` has the judged accuracy of the network to match in each split.
    """
    largest = drawn.shape[1]

    def in_split(k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the accuracies of the greedy committee and the random ones on two parts, and the former's costs."""
        samples = [splits.samples(k, part) for part in range(splits.parts)]
        hard = [np.flatnonzero(np.isin(bench.hard, these)) for these in samples]
        order = bench.ranked(samples[0])
        chosen = greedy(margins(order, hard[0]), largest)
        lineups = [np.array(chosen), *order.argsort()[drawn]]
        both = [_course(margins(order, hard[part]), lineups, len(samples[part])) for part in (1, 2)]
        return np.array(both), np.cumsum(bench.costs[order[chosen]], axis=0)

    courses, costs = map(np.array, zip(*exam.ahead(in_split, range(len(splits))), strict=True))
    order = bench.ranked(np.arange(len(bench.labels)))
    names = [bench.names[order[i]] for i in greedy(margins(order, np.arange(len(bench.hard))), largest)]
    by_draw = courses[:, :, 1:].transpose(1, 2, 0, 3)
    chosen_ones = courses[:, :, 0].transpose(1, 0, 2)
    return [
        _rows("random", rule, by_draw[1], np.cumsum(bench.costs[drawn], axis=1), splits, single),
        _rows("greedy", rule, chosen_ones[1][None], costs, splits, single, names),
    ], [
        Tried("random", rule, *by_draw.mean(axis=1).transpose(0, 2, 1)),
        Tried("greedy", rule, *chosen_ones.transpose(0, 2, 1)),
    ]


def _chosen(table: pd.DataFrame, found: dict[str, Enough]) -> np.ndarray:
    """Return in which share of the splits each row is the one that is chosen; NaN for the single network."""
    known = zip(table["choice"], table["rule"], table["size"], strict=True)
    picked = {(choice, *key): n / one.picked.sum() for choice, one in found.items() for key, n in one.picked.items()}
    return np.array([picked.get(key, np.nan if key[0] == "single" else 0.0) for key in known])


def _course(margins: np.ndarray, lineups: list[np.ndarray], samples: int) -> np.ndarray:
    """Return the accuracy of the first 1, 2, ... members of each line-up; `margins` are of the hard ones of samples."""
    return 1 - (1 - np.array([accuracies(margins[:, one]) for one in lineups])) * margins.shape[2] / samples


def pool_of(run: Run, frame: pd.DataFrame, members: list[str] | str | None, everyone: bool) -> tuple[list[str], str]:
    """Return who may sit in a committee, and who that is in words; `frame` is `students` without the target."""
    able = frame if everyone else frame[frame["good"]]
    if members is None:
        basic = run.networks.loc[run.networks["name"] == "Basic", "params"]
        small = able[able["params"] <= 2 * basic.iloc[0]] if len(basic) else able[:0]
        who = "networks with at most twice the params of Basic"
        if able["params"].isna().all():
            small, who = able, "all networks, whose size is not known,"
        elif len(small) < 10:
            small = able.nsmallest(max(10, int(np.ceil(len(able) / 4))), "params", keep="first")
            who = "the smallest networks by params"
        if len(small) > MOST:
            small, who = exam.some_of(small, MOST), f"{MOST} drawn from {len(small):,} {who}"
        names = small["name"].tolist()
    else:
        words = [members] if isinstance(members, str) else list(members)
        named = dict.fromkeys(name for word in words for name in _named(run, able, word, everyone))
        names = [name for name in named if name in set(frame["name"])]
        who = f"networks of {', '.join(words)}" if len(words) < 4 else "the networks named"
    if len(names) < 2:
        raise NetpickError(
            f"a committee needs two members and there {'is' if len(names) == 1 else 'are'} {len(names)} beside the "
            "target: give more `members`, a lower `good`, or ask `everyone`"
        )
    return names, who


def _named(run: Run, able: pd.DataFrame, word: str, everyone: bool) -> list[str]:
    """Return the networks that a word means: one by its name, those of a computation, or by how a name begins."""
    if word in set(run.networks["name"]):
        return [exam.need_network(run, word)]
    fits = able["computation"] == word
    fits = fits if fits.any() else able["name"].str.startswith(word)
    if not word or not fits.any():
        known = [*run.networks["computation"].unique(), *run.networks["name"]]
        kind = "student" if everyone else "good student"
        raise NetpickError(
            f"members: no {kind} but the target is called '{word}', has it as computation, or begins with "
            f"it{suggest(word, known)}: give names, computations or beginnings of names"
        )
    return able.loc[fits, "name"].tolist()


def vote_margins(predicted: np.ndarray, labels: np.ndarray, classes: int, largest: int) -> np.ndarray:
    """Return by how much each member's vote (members, samples) is for each wrong class and against the true one.

    float32 (classes - 1, members, samples). A committee is right where the sum over its members is below zero for
    every wrong class. Members are to come in the order of their rank.
    """
    out = np.empty((classes - 1, *predicted.shape), np.float32)
    members = len(predicted)
    # What rank adds is less than one vote for `largest` members together. A power of two, for sums without rounding.
    bit = 2.0 ** -np.ceil(np.log2(2 * members * largest))
    weight = (1 + bit * np.arange(members, 0, -1, dtype=np.float32))[:, None].astype(np.float32)
    own = weight * (predicted == labels)
    for j in range(1, classes):
        np.subtract(weight * (predicted == (labels + j) % classes), own, out=out[j - 1])
    return out


def probability_margins(
    scores: np.ndarray, labels: np.ndarray, samples: np.ndarray | slice = slice(None)
) -> np.ndarray:
    """Return the probabilities of each wrong class less the true one's; shape and meaning as in `vote_margins`.

    `labels` are those of some `samples` of the scores.
    """
    classes = scores.shape[2]
    place = np.arange(len(labels))
    out = np.empty((classes - 1, len(scores), len(labels)), np.float32)
    for start in range(0, len(scores), BLOCK):
        part = np.exp(scores[start : start + BLOCK, samples])
        own = part[:, place, labels]
        for j in range(1, classes):
            out[j - 1, start : start + BLOCK] = part[:, place, (labels + j) % classes] - own
    return out


def accuracies(margins: np.ndarray) -> np.ndarray:
    """Return the accuracy of the committees of the first 1, 2, ... members."""
    if not margins.shape[2]:  # no sample is hard
        return np.ones(margins.shape[1])
    return (np.cumsum(margins, axis=1).max(axis=0) < 0).mean(axis=1)


def greedy(margins: np.ndarray, largest: int) -> list[int]:
    """Return the members in the order in which forward selection takes them; of equals the first."""
    total = np.zeros((len(margins), 1, margins.shape[2]), np.float32)
    chosen: list[int] = []
    for _ in range(largest):
        gain = np.empty(margins.shape[1])
        for start in range(0, len(gain), BLOCK):
            part = slice(start, start + BLOCK)
            worst = margins[0, part] + total[0]
            for j in range(1, len(margins)):
                np.maximum(worst, margins[j, part] + total[j], out=worst)
            gain[part] = (worst < 0).sum(axis=1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        total[:, 0] += margins[:, chosen[-1]]
    return chosen


def _rows(
    choice: str, rule: str, accuracy: np.ndarray, costs: np.ndarray, splits: Splits, single: np.ndarray,
    member: list[str] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Make the table's rows of accuracies (draws, splits, sizes) and costs (draws or splits, sizes, costs)."""
    sizes = accuracy.shape[2]
    by_split = accuracy.mean(axis=0).T
    judged = splits.over(by_split)
    by_draw = accuracy.mean(axis=1)
    low, high = (judged.low, judged.high) if len(by_draw) == 1 else (by_draw.min(axis=0), by_draw.max(axis=0))
    mean_costs = costs.mean(axis=0)
    return pd.DataFrame(
        {
            "choice": choice,
            "rule": rule,
            "size": np.arange(1, sizes + 1),
            "accuracy": judged.mean,
            "low": low,
            "high": high,
            **{cost: mean_costs[:, i] for i, cost in enumerate(COSTS)},
            "p": splits.over(by_split - single).p,
            "member": member if member is not None else pd.Series([None] * sizes, dtype=object),
        }
    )


def draw(table: pd.DataFrame, found: dict[str, Enough], single: str, who: str, few: str) -> Figure:
    """Draw the accuracy of committees of a few sizes, with its interval; costs are beneath the sizes."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(10, 5.6))
    ax = fig.subplots()
    goal, largest = table.iloc[0], int(table["size"].max())
    sizes = [size for size in SIZES if size < largest] + [largest]
    kinds = [(choice, rule) for choice, rule in product(("random", "greedy"), STYLES) if (table["rule"] == rule).any()]
    for k, (choice, rule) in enumerate(kinds):
        rows = table[(table["choice"] == choice) & (table["rule"] == rule) & table["size"].isin(sizes)]
        x = np.array([sizes.index(size) for size in rows["size"]]) + 0.15 * (k - (len(kinds) - 1) / 2)
        shade, marker = STYLES[rule]
        chosen = choice == "greedy"
        ax.vlines(x, rows["low"], rows["high"].clip(upper=1), color=shade, linewidth=2.5 if chosen else 1.2, alpha=0.6)
        ax.plot(
            x, rows["accuracy"], marker, color=shade, markersize=7, markerfacecolor=shade if chosen else "white",
            label=f"{'well chosen' if chosen else 'at random'}, by {rule}",
        )  # fmt: skip
    ax.axhline(goal["accuracy"], color=theme.INK, linestyle=":", linewidth=1.8)
    theme.label_ends(ax, [(float(goal["accuracy"]), f"{short(single, 24)}\nalone", theme.INK)])
    costs = table[table["choice"] == "random"].groupby("size")["macs_share"].mean()
    told = costs.notna().all()
    ax.set_xticks(range(len(sizes)), [f"{size}\n{exam.figures(costs[size])}×" if told else size for size in sizes])
    beneath = f", and their macs as a multiple of those of {single} (drawn at random)" if told else ""
    ax.set(xlabel=f"networks in the committee{beneath}")
    ax.set_ylabel("accuracy on the third that judges")
    ax.grid(visible=False, axis="x")
    theme.percent_axis(ax.yaxis)
    theme.legend_below(fig, ax)
    size = min((one.size for one in found.values() if one.matches), default=None)
    enough_are = f"{size} are enough to match {single}" if size else f"none of up to {largest} matches {single}"
    title = f"Committees of {who}: {enough_are}"
    if size == 1:
        title = f"No committee needed: one of the {who.removeprefix('the ')} alone matches {single}"
    lines = "Lines: 95 % intervals over the splits; of those drawn at random, the range of the draws."
    return theme.finish(fig, f"{title} ({few})", lines)
