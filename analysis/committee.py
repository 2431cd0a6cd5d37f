"""How many small networks must answer together to be as good as the best one?

A committee is a number of networks that answer as one, by `votes` (the class that most of them name; equal votes go to
the class whose voters have the better ranks in accuracy) or by `probabilities` (the class with the highest mean
probability). Members are drawn at `random`, or taken one after the other, `greedy`: each next member is the one that
makes the committee best (forward selection, each network once: Caruana et al. 2004, "Ensemble selection from libraries
of models"). Greedy committees, and the best single network, are chosen on one half of the test samples; all accuracies
are those on the other half, so that neither is flattered by being chosen. Networks are compared by their first
replicate. Where no scores were kept, there are votes only.

Columns
-------
choice : `single` (the network to match, in the first row), `random` or `greedy`
rule : `votes` or `probabilities`; empty for the single network
size : members
accuracy : fraction of the judged samples; mean over the draws of random committees
low, high : fraction; range over the draws
params, macs, seconds : sums over the members, means over the draws; training time in seconds
macs_share : the committee's macs, divided by the single network's
matches : whether `accuracy` is at least the single network's
member : greedy: the network that came in at this size
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.core.errors import NetpickError, RunError, suggest
from netpick.exam.answer import Answer
from netpick.exam.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK = 64  # networks at a time, so that what is added up stays in the processor's cache
COSTS = ["params", "macs", "seconds"]


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
) -> Answer:
    """Compare committees with one network.

    Parameters
    ----------
    members : list of str
        Who may sit in a committee: names of networks, computations, or beginnings of names (Conv2dReLU). Without it,
        networks with at most twice the params of Basic; where fewer than 10 are that small, the smallest quarter of
        all (or 10).
    target : str
        The single network to match; without it the most accurate one on the half that chooses. It is in no committee.
    largest : int
        Members of the largest committee that is tried.
    draws : int
        Random committees of each size.
    seed : int
        Of the draws, and of the split into halves.
    good, gold, quantile, everyone
        As in `netpick.exam.selected`.
    """
    exam.check_count("largest", largest, 2)
    exam.check_count("draws", draws)
    frame = exam.students(run, good, gold, quantile)
    known, predicted, labels = exam.final(run)
    if len(labels) < 2:
        raise RunError(f"{run.path} has {len(labels)} test samples: two are needed, to choose on and to judge on")
    choose, judge = exam.halves(len(labels), seed, labels)
    why = ""
    if target is not None:
        single = exam.need_network(run, target)
    else:
        chosen_on = dict(zip(known, (predicted[:, choose] == labels[choose]).mean(axis=1), strict=True))
        single = exam.best(frame.assign(accuracy=frame["name"].map(chosen_on)))
        why = "the most accurate one on the half that chooses"
        if (overall := exam.best(frame)) != single:
            why += f", while {overall} is on all samples"
    pool, who = pool_of(run, frame[frame["name"] != single], members, everyone)
    names, predicted, labels = exam.final(run, [single, *pool])
    if single not in names[:1] or len(names) < 3:
        raise RunError(f"{run.path} has answers of {len(names)} of the networks asked for: name others as `members`")
    costs = frame.set_index("name").loc[names, COSTS].to_numpy(float)
    right = predicted == labels
    order = 1 + np.lexsort((costs[1:, 1], -right[1:, choose].mean(axis=1)))  # of equals the first one is taken
    names, costs = [names[i] for i in (0, *order)], costs[[0, *order]]
    predicted, right = predicted[[0, *order]], right[[0, *order]]
    largest = min(largest, len(order))
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.permutation(len(order))[:largest] for _ in range(draws)])

    to_match = float(right[0, judge].mean())
    parts = [_rows("single", "", right[:1, judge].mean(axis=1)[None], costs[None, :1], [single])]
    notes = [exam.notes(run)]
    for rule in ("votes", "probabilities"):
        if rule == "votes":
            margins = [vote_margins(predicted[1:, h], labels[h], len(run.classes), largest) for h in (choose, judge)]
        else:
            try:
                _, scores, _ = exam.final_scores(run, names[1:])
            except RunError as e:
                notes.append(f"votes only: {e}")
                continue
            margins = [probability_margins(scores[:, h], labels[h]) for h in (choose, judge)]
        by_size = np.stack([accuracies(margins[1][:, row]) for row in drawn])
        parts.append(_rows("random", rule, by_size, np.cumsum(costs[1:][drawn], axis=1)))
        chosen = greedy(margins[0], largest)
        parts.append(
            _rows(
                "greedy",
                rule,
                accuracies(margins[1][:, chosen])[None],
                np.cumsum(costs[1:][chosen], axis=0)[None],
                [names[1 + i] for i in chosen],
            )
        )
    table = pd.concat(parts, ignore_index=True)
    after = list(table).index("seconds") + 1
    table.insert(after, "macs_share", table["macs"] / table["macs"].iloc[0])
    table.insert(after + 1, "matches", table["accuracy"] >= to_match - 1e-9)  # means of draws are rounded
    note = "; ".join(filter(None, notes))
    return Answer(table, sentence(table, single, who, len(order), why), lambda: draw(table, single, who), note)


def pool_of(run: Run, frame: pd.DataFrame, members: list[str] | str | None, everyone: bool) -> tuple[list[str], str]:
    """Return who may sit in a committee, and who that is in words; `frame` is `students` without the target."""
    able = frame if everyone else frame[frame["good"]]
    if members is None:
        basic = run.networks.loc[run.networks["name"] == "Basic", "params"]
        small = able[able["params"] <= 2 * basic.iloc[0]] if len(basic) else able[:0]
        who = "networks with at most twice the params of Basic"
        if len(small) < 10:
            small = able.nsmallest(max(10, int(np.ceil(len(able) / 4))), "params", keep="first")
            who = "the smallest networks by params"
        names = small["name"].tolist()
    else:
        words = [members] if isinstance(members, str) else list(members)
        found: dict[str, None] = {}
        for word in words:
            if word in set(run.networks["name"]):
                found[exam.need_network(run, word)] = None
                continue
            fits = able["computation"] == word
            fits = fits if fits.any() else able["name"].str.startswith(word)
            if not word or not fits.any():
                known = [*run.networks["computation"].unique(), *run.networks["name"]]
                kind = "student" if everyone else "good student"
                raise NetpickError(
                    f"members: no {kind} but the target is called '{word}', has it as computation, or begins with "
                    f"it{suggest(word, known)}: give names, computations or beginnings of names"
                )
            found.update(dict.fromkeys(able.loc[fits, "name"]))
        names = [name for name in found if name in set(frame["name"])]
        who = f"networks of {', '.join(words)}" if len(words) < 4 else "the networks named"
    if len(names) < 2:
        raise NetpickError(
            f"a committee needs two members and there {'is' if len(names) == 1 else 'are'} {len(names)} beside the "
            "target: give more `members`, a lower `good`, or ask `everyone`"
        )
    return names, who


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


def probability_margins(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the probabilities of each wrong class less the true one's; shape and meaning as in `vote_margins`."""
    classes = scores.shape[2]
    place = np.arange(len(labels))
    out = np.empty((classes - 1, *scores.shape[:2]), np.float32)
    for start in range(0, len(scores), BLOCK):
        part = np.exp(scores[start : start + BLOCK])
        own = part[:, place, labels]
        for j in range(1, classes):
            out[j - 1, start : start + BLOCK] = part[:, place, (labels + j) % classes] - own
    return out


def accuracies(margins: np.ndarray) -> np.ndarray:
    """Return the accuracy of the committees of the first 1, 2, ... members."""
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
            gain[part] = (worst < 0).mean(axis=1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        total[:, 0] += margins[:, chosen[-1]]
    return chosen


def _rows(
    choice: str, rule: str, accuracy: np.ndarray, costs: np.ndarray, member: list[str] | None = None
) -> pd.DataFrame:
    """Make the table's rows of accuracies (draws, sizes) and costs (draws, sizes, costs)."""
    sizes = accuracy.shape[1]
    mean_costs = costs.mean(axis=0)
    return pd.DataFrame(
        {
            "choice": choice,
            "rule": rule,
            "size": np.arange(1, sizes + 1),
            "accuracy": accuracy.mean(axis=0),
            "low": accuracy.min(axis=0),
            "high": accuracy.max(axis=0),
            **{cost: mean_costs[:, i] for i, cost in enumerate(COSTS)},
            "member": member if member is not None else pd.Series([None] * sizes, dtype=object),
        }
    )


def sentence(table: pd.DataFrame, single: str, who: str, pool: int, why: str = "") -> str:
    """Say which committee matches the single network first, and what it costs; `why` it is that one, if not asked."""
    goal = table["accuracy"].iloc[0]
    said = []
    for choice, words in (("greedy", "well chosen"), ("random", "drawn at random")):
        rows = table[table["choice"] == choice]
        enough = rows[rows["matches"]]
        if len(enough):
            row = enough.sort_values(["size", "accuracy"], ascending=[True, False]).iloc[0]
            how = "by votes" if row["rule"] == "votes" else "by mean probabilities"
            one = row["member"] if choice == "greedy" else "1 of them"
            count = f"{one} alone does it" if row["size"] == 1 else f"{row['size']} of them do it {how}"
            said.append(f"{words}, {count} ({exam.percent(row['accuracy'])}, {row['macs_share']:.2g} times its macs)")
        else:
            row = rows.nlargest(1, "accuracy").iloc[0]
            said.append(
                f"{words}, no committee of up to {rows['size'].max()} does: {exam.percent(row['accuracy'])} with "
                f"{row['size']} is the most"
            )
    return (
        f"{single} alone has {exam.percent(goal)} of the judged samples right{f' (it is {why})' if why else ''}. To "
        f"match it with {who} ({pool} of them): {'; '.join(said)}."
    )


def draw(table: pd.DataFrame, single: str, who: str) -> Figure:
    """Draw accuracy against size, and against macs."""
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    from netpick.exam.theme import finish, legend_below, spans_decades

    palette = dict(zip(("votes", "probabilities"), sns.color_palette("colorblind"), strict=False))
    fig, axes = plt.subplots(1, 2, figsize=(10, 5.6), sharey=True)
    goal = table.iloc[0]
    for choice, rule in product(("random", "greedy"), palette):
        rows = table[(table["choice"] == choice) & (table["rule"] == rule)]
        if not len(rows):
            continue
        style = {"color": palette[rule], "linestyle": "-" if choice == "greedy" else "--", "linewidth": 2}
        label = f"{'well chosen' if choice == 'greedy' else 'at random'}, by {rule}"
        for ax, x in zip(axes, ("size", "macs"), strict=True):
            ax.plot(rows[x], 100 * rows["accuracy"], label=label, **style)
            if choice == "random":
                ax.fill_between(rows[x], 100 * rows["low"], 100 * rows["high"], color=palette[rule], alpha=0.12, lw=0)
    for ax in axes:
        ax.axhline(100 * goal["accuracy"], color="0.25", linestyle=":", linewidth=1.8, label=f"{single} alone")
    axes[1].plot(goal["macs"], 100 * goal["accuracy"], "*", color="0.25", markersize=14, label=f"cost of {single}")
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    if spans_decades(table["macs"], 20):
        axes[1].set_xscale("log")
    axes[0].set(xlabel="size of the committee (networks)", ylabel="accuracy on the judged half (%)")
    axes[1].set(xlabel="cost of the committee (macs for one input)", ylabel="")
    axes[1].scatter([], [], marker="s", s=140, color="0.5", alpha=0.3, lw=0, label="range of the random draws")
    legend_below(fig, axes[1], 3)
    enough = table[table["matches"] & (table["choice"] != "single")]
    size = enough["size"].min() if len(enough) else None
    found = f"{size} are enough to match {single}" if size else f"none of up to {table['size'].max()} matches {single}"
    title = f"Committees of {who}: {found}"
    if size == 1:
        title = f"No committee needed: one of the {who.removeprefix('the ')} alone matches {single}"
    finish(fig, title)
    return fig
