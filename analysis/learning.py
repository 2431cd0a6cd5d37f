"""When is each sample learned, and is it forgotten again?

Follows every sample through the attempts (epochs) of all networks.

Columns
-------
A row is a sample, the most forgotten first.

sample, label : the sample's number and true class
right : share of the networks that get it right at the last epoch
forgetting : forgetting events a network: how often, on average, it goes from right to wrong between two epochs
forgot : share of the networks that forget it at least once
never : share of the networks that never get it right, in no epoch
unforgettable : share of the networks that, once right, stay right to the end
settled : epochs; the epoch from which a network has it right to the end, on average over those that have it right at
    the end; empty where none has
confidence : mean probability that is given to the true class, over networks and epochs
variability : standard deviation of that probability over a network's epochs, on average over networks
region : `easy`, `hard` or `ambiguous` to learn: high confidence and low variability, low and low, high variability

Confidence, variability and region are empty where scores were not kept for all epochs. With one epoch nothing can be
forgotten, and all that moves between epochs is 0.

Method: forgetting events of Toneva et al. 2019, "An empirical study of example forgetting during deep neural network
learning" (arXiv 1812.05159), counted between evaluations of test samples, where theirs are between batches of training
samples; data maps of Swayamdipta et al. 2020, "Dataset cartography" (arXiv 2009.10795), averaged over networks.
As there, regions are relative: the third of the samples with most variability is ambiguous, and the others are
easy or hard by a confidence above or below 0.5. The samples that are forgotten most are chosen by one half of the
networks of each computation and judged by the other, in ten splits, with intervals over the splits (Nadeau and Bengio
2003). Replicates: the first one that is done.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Judged, Run, RunError, Splits, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure


BLOCK = 64
"""Networks that are followed at a time, so that what is known of them stays in the processor's cache."""

PIECE = 25_000_000
"""Networks times samples of which sums are held at a time: 500 megabytes."""

COLOURS = {"easy": "#0072B2", "ambiguous": "#E69F00", "hard": "#882255"}


def ask(
    run: Run,
    *,
    confidence: bool = True,
    everyone: bool = False,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> Answer:
    """Count forgetting events, and find the epoch from which each sample stays right.

    Parameters
    ----------
    confidence : bool
        Read all scores, for confidence and variability; without, only the predicted classes, which is faster.
    """
    chosen = exam.selected(run, everyone, good, gold, quantile, split)
    epochs = int(chosen["epochs"].max())
    full = chosen[chosen["epochs"] == epochs]
    labels = run.labels(split)
    which = exam.first_replicates(run, split)
    names = [name for name in full["name"] if name in which]
    said = []
    if len(full) < len(chosen):
        said.append(f"left out are {len(chosen) - len(full)} networks with fewer than {epochs} epochs")
    table = pd.DataFrame({"sample": np.arange(len(labels)), "label": labels})
    columns, events = _events(run, names, which, epochs, split)
    answered = np.full(len(labels), len(names)) if exam.is_whole(events) else (~np.isnan(events)).sum(axis=0)
    said.append(exam.said_of_samples(run, split, answered, len(names)))
    table = table.assign(**columns)
    most = None
    if len(names) > 1:
        fold = exam.first_trainings(run, names, split).reindex(columns=["fold"]).astype(str)["fold"].tolist()
        computation = full.set_index("name").loc[names, "computation"]
        alike = [f"{one} {other}" for one, other in zip(computation, fold, strict=True)]
        most = MostForgotten.of(events, Splits.of(run, pd.factorize(pd.Series(alike))[0], times=exam.FEW_TIMES))
    sure = np.full((2, len(labels)), np.nan)
    if confidence:
        try:
            sure = _sureness(run, names, which, epochs, split) / np.maximum(answered, 1)
        except RunError as error:
            said.append(f"confidence and variability are empty: {error}")
    table["confidence"], table["variability"] = sure
    table = table[answered > 0]
    table["region"] = _region(table)
    order = ["forgetting", "never", "variability"]
    table = table.sort_values(order, ascending=False, kind="stable", ignore_index=True)
    who = exam.whom(full, everyone)
    return Answer(
        table,
        _text(table, epochs, who, run.classes, most),
        lambda: theme.finish(_draw(table, epochs), f"{_title(table, epochs, most)} ({exam.how_many(full)})", who),
        exam.notes(run, *said, first=True),
        shares=("right", "forgot", "never", "unforgettable", "confidence"),
        columns=("sample", "label", "right", "forgot", "never", "settled", "region", "forgetting"),
    )


def _by_replicate(names: list[str], which: dict[str, int]) -> dict[int, list[str]]:
    out: dict[int, list[str]] = {}
    for name in names:
        out.setdefault(which[name], []).append(name)
    return out


def _events(
    run: Run, names: list[str], which: dict[str, int], epochs: int, split: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Follow right and wrong from epoch to epoch; one epoch's answers are held at a time.

    Return columns, and how often each network forgets each sample, (networks, samples); NaN where it did not answer.
    """
    labels = run.labels(split)
    samples, n = len(labels), len(names)
    answered, forgot, never, kept, settled_sum, last = (np.zeros(samples) for _ in range(6))
    there = np.ones((n, samples), bool)
    events, place = np.zeros((n, samples), np.uint16), {name: i for i, name in enumerate(names)}
    for replicate, members in _by_replicate(names, which).items():
        shape = (len(members), samples)
        ever, now, often = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, np.uint16)
        since = np.zeros(shape, np.int16)  # the epoch from which it has been right, where it is right now
        blocks = [slice(start, start + BLOCK) for start in range(0, len(members), BLOCK)]
        read = partial(run.predicted, split=split, networks=members, replicate=replicate)
        for epoch, given in enumerate(exam.ahead(read, range(1, epochs + 1), threads=1), 1):
            for some in blocks:
                right, before = given[some] == labels, now[some]
                often[some] += before > right
                np.copyto(since[some], epoch, where=right > before)
                ever[some] |= right
                now[some] = right
        at = [place[name] for name in members]
        events[at], there[at] = often, given >= 0
        for some in blocks:
            asked = given[some] >= 0
            answered += asked.sum(axis=0)
            forgot += (often[some] > 0).sum(axis=0)
            never += (~ever[some] & asked).sum(axis=0)
            kept += (ever[some] & (often[some] == 0)).sum(axis=0)
            last += now[some].sum(axis=0)
            settled_sum += (since[some] * now[some]).sum(axis=0)
    with np.errstate(invalid="ignore"):
        settled = settled_sum / last
    if not there.all():
        events = np.where(there, events, np.nan).astype(np.float32)
    n = np.maximum(answered, 1)
    return {
        "right": last / n,
        "forgetting": exam.rates(events, 0),
        "forgot": forgot / n,
        "never": never / n,
        "unforgettable": kept / n,
        "settled": settled,
    }, events


def _sureness(run: Run, names: list[str], which: dict[str, int], epochs: int, split: str) -> np.ndarray:
    """Sum confidence and variability over those who answered, (2, samples); some networks at a time."""
    samples = len(run.labels(split))
    total, spread = np.zeros(samples), np.zeros(samples)
    size, pieces = max(1, PIECE // samples), []
    for replicate, members in _by_replicate(names, which).items():
        ordered = sorted(members)  # as merged files have them
        pieces += [(ordered[start : start + size], replicate) for start in range(0, len(ordered), size)]
    asked = ((epoch, split, *piece) for piece in pieces for epoch in range(1, epochs + 1))
    read = exam.ahead(lambda one: run.label_scores(*one), asked, threads=1)
    held, given = np.empty((2, min(size, len(names)), samples)), np.empty(samples)  # the system is slow to give memory
    for part, _ in pieces:
        sums, squares = held[:, : len(part)]
        held[:] = 0
        for scores in islice(read, epochs):
            for i, own in enumerate(scores):
                sums[i] += np.exp(own, out=given, dtype=float)
                squares[i] += np.square(given, out=given)
        for i, own in enumerate(sums):
            mean = own / epochs
            total += np.nan_to_num(mean)
            spread += np.nan_to_num(np.sqrt(np.maximum(squares[i] / epochs - mean**2, 0)))
    return np.stack([total, spread])


def _region(table: pd.DataFrame) -> np.ndarray:
    if table["confidence"].isna().any():
        return np.full(len(table), None, object)
    ambiguous = (table["variability"] > table["variability"].quantile(2 / 3)) & (table["variability"] > 0)
    return np.where(ambiguous, "ambiguous", np.where(table["confidence"] > 0.5, "easy", "hard"))


class MostForgotten(NamedTuple):
    """What the samples that one half of the networks forgets most are to the other half.

    `tenth` is the share of its forgetting that falls on a tenth of the samples, `first` the share of its networks that
    forget the first of them.
    """

    tenth: Judged
    first: Judged

    @classmethod
    def of(cls, events: np.ndarray, splits: Splits) -> MostForgotten | None:
        """Choose and judge by events (networks, samples), in splits of the networks; None where a half has none."""
        chosen, judged = splits.means(events.T, 0).T, splits.means(events.T).T
        chosen = np.where(np.isnan(judged), 0, np.nan_to_num(chosen))  # nobody of a half may have answered a sample
        judged = np.nan_to_num(judged)
        if not (chosen.any(axis=1) & judged.any(axis=1)).all():
            return None
        tenth = np.argsort(-chosen, axis=1, kind="stable")[:, : -(-events.shape[1] // 10)]
        share = np.take_along_axis(judged, tenth, axis=1).sum(axis=1) / judged.sum(axis=1)
        first = events[:, tenth[:, 0]].T
        ever = splits.means(first > 0 if exam.is_whole(first) else np.where(np.isnan(first), np.nan, first > 0))
        return cls(splits.over(share), splits.over(np.diagonal(ever)))


def _title(table: pd.DataFrame, epochs: int, most: MostForgotten | None) -> str:
    if epochs == 1:
        return "One epoch: nothing can be forgotten yet"
    said = []
    if table["forgetting"].sum() == 0:
        said.append(f"In {epochs} epochs nothing that was learned is forgotten again")
    elif most is not None:
        tenth = exam.percent(most.tenth.mean, 0)
        said.append(f"The tenth of the samples that some networks forget most takes {tenth} of the others' forgetting")
    if table["settled"].notna().any():
        said.append(f"on average a sample stays right from epoch {table['settled'].mean():.1f} of {epochs} on")
    title = "; ".join(said)
    return title[:1].upper() + title[1:]


def _text(table: pd.DataFrame, epochs: int, who: str, classes: list[str], most: MostForgotten | None) -> str:
    n, nobody = len(table), int((table["right"] == 0).sum())
    kept = int(((table["forgot"] == 0) & (table["never"] < 1)).sum())
    if epochs == 1:
        return (
            f"With one epoch nothing can be forgotten: {who} get {exam.percent(table['right'].mean())} of "
            f"{n} samples right after it, and {exam.counted_word(nobody, 'sample')} "
            f"{'is' if nobody == 1 else 'are'} right for none."
        )
    top = table.iloc[0]
    settled = table["settled"].dropna()
    out = (
        f"Over {epochs} epochs {who} forget a sample {table['forgetting'].mean():.3f} times each on average; "
        f"{kept or 'none'} of {n} samples are never forgotten by any of those that learn them"
    )
    never = int((table["never"] == 1).sum())
    out += f", and {never} {'is' if never == 1 else 'are'} right for none in any epoch. " if never else ". "
    if top["forgetting"] > 0:
        out += (
            f"Number {top['sample']} ({exam.quoted(classes[int(top['label'])])}) is forgotten most: by "
            f"{exam.percent(top['forgot'], 0)} of the networks. "
        )
    if most is not None:
        out += (
            f"What one half of the networks forgets most, {most.first} of the other half forget too; the tenth of the "
            f"samples that it forgets most takes {most.tenth} of the forgetting of the other half. "
        )
    if len(settled):
        latest = table.loc[settled.index[settled.argmax()]]
        out += (
            f"A sample stays right from epoch {settled.mean():.2f} on, on average; number {latest['sample']} latest, "
            f"from {latest['settled']:.2f} on."
        )
    return out.strip()


def _draw(table: pd.DataFrame, epochs: int) -> Figure:
    """Draw the data map, and how many samples are forgotten how often."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(theme.WIDTH, theme.HEIGHT), layout="constrained")
    left, beside = fig.subplots(1, 2, width_ratios=(1.15, 1))
    size = float(np.clip(12000 / len(table), 10, 34))
    if table["region"].notna().all():
        for region, colour in COLOURS.items():
            dots = table[table["region"] == region]
            left.scatter(
                dots["variability"], dots["confidence"], s=size, alpha=0.7, color=colour,
                label=f"{region} ({len(dots)})", linewidth=0,
            )  # fmt: skip
        left.set(xlabel="variability (standard deviation of probability over epochs)")
        left.set_title("Every dot is a sample, easy or hard to learn")
        left.set_ylabel("confidence (mean probability of the true class)")
    else:
        left.scatter(table["forgetting"], table["right"], s=size, alpha=0.7, linewidth=0, color=COLOURS["easy"])
        left.set(xlabel="forgetting events a network", ylabel="right at the last epoch", title="Every dot is a sample")
        theme.percent_axis(left.yaxis)
    under = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.11), "ncols": 3, "fontsize": 8.5, "frameon": False}
    if left.get_legend_handles_labels()[0]:
        left.legend(markerscale=1.6, **under)
    bottom = np.zeros(10)
    shares = {"stays right": "unforgettable", "forgotten at least once": "forgot", "never right": "never"}
    ranked = table.sort_values("right", ascending=False)
    tenths = np.array_split(np.arange(len(ranked)), 10)
    for (label, column), colour in zip(shares.items(), ("#0072B2", "#E69F00", "#882255"), strict=True):
        heights = np.array([ranked[column].to_numpy()[t].mean() if len(t) else 0 for t in tenths])
        beside.bar(range(1, 11), heights, bottom=bottom, color=colour, label=label, width=0.85)
        bottom += heights
    theme.percent_axis(beside.yaxis)
    beside.set_xticks(range(1, 11))
    beside.set(xlabel="samples in tenths, from easy to hard", ylabel="networks", ylim=(0, 1))
    beside.set_title("What becomes of a sample once it is learned")
    beside.legend(**under)
    return fig
