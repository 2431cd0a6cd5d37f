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
easy or hard by a confidence above or below 0.5. Replicates: the first one that is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Run, RunError, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure


BLOCK_BYTES = 64 * 2**20
"""Scores that are held at a time."""

COLOURS = {"easy": "#0072B2", "ambiguous": "#E69F00", "hard": "#882255"}


def ask(
    run: Run,
    *,
    confidence: bool = True,
    everyone: bool = False,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
) -> Answer:
    """Count forgetting events, and find the epoch from which each sample stays right.

    Parameters
    ----------
    confidence : bool
        Read all scores, for confidence and variability; without, only the predicted classes, which is faster.
    """
    chosen = exam.selected(run, everyone, good, gold, quantile)
    epochs = int(chosen["epochs"].max())
    full = chosen[chosen["epochs"] == epochs]
    labels = run.labels()
    which = exam.first_replicates(run)
    names = [name for name in full["name"] if name in which]
    said = []
    if len(full) < len(chosen):
        said.append(f"left out are {len(chosen) - len(full)} networks with fewer than {epochs} epochs")
    table = pd.DataFrame({"sample": np.arange(len(labels)), "label": labels})
    table = table.assign(**_events(run, names, which, epochs, labels))
    sure = np.full((2, len(labels)), np.nan)
    if confidence:
        try:
            sure = _sureness(run, names, which, epochs, labels)
        except RunError as error:
            said.append(f"confidence and variability are empty: {error}")
    table["confidence"], table["variability"] = sure
    table["region"] = _region(table)
    order = ["forgetting", "never", "variability"]
    table = table.sort_values(order, ascending=False, kind="stable", ignore_index=True)
    who = exam.whom(full, everyone)
    return Answer(
        table,
        _text(table, epochs, who, run.classes),
        lambda: theme.finish(_draw(table, epochs), f"{_title(table, epochs)} ({exam.how_many(full)})", who),
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
    run: Run, names: list[str], which: dict[str, int], epochs: int, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Follow right and wrong from epoch to epoch; one epoch's answers are held at a time."""
    samples, n = len(labels), len(names)
    events, forgot, never, kept, settled_sum, last = (np.zeros(samples) for _ in range(6))
    for replicate, members in _by_replicate(names, which).items():
        shape = (len(members), samples)
        ever, ever_forgot = np.zeros(shape, bool), np.zeros(shape, bool)
        since = np.zeros(shape, np.int16)  # the epoch from which it has been right, 0 where it is wrong now
        for epoch in range(1, epochs + 1):
            right = run.predicted(epoch, networks=members, replicate=replicate) == labels
            lost = ~right & (since > 0)
            events += lost.sum(axis=0)
            ever_forgot |= lost
            ever |= right
            since = np.where(right, np.where(since > 0, since, epoch), 0).astype(np.int16)
        forgot += ever_forgot.sum(axis=0)
        never += (~ever).sum(axis=0)
        kept += (ever & ~ever_forgot).sum(axis=0)
        last += (since > 0).sum(axis=0)
        settled_sum += since.sum(axis=0)
    with np.errstate(invalid="ignore"):
        settled = settled_sum / last
    return {
        "right": last / n,
        "forgetting": events / n,
        "forgot": forgot / n,
        "never": never / n,
        "unforgettable": kept / n,
        "settled": settled,
    }


def _sureness(run: Run, names: list[str], which: dict[str, int], epochs: int, labels: np.ndarray) -> np.ndarray:
    """Return confidence and variability, (2, samples); networks are read in blocks, all epochs of a block in turn."""
    samples = len(labels)
    block = max(1, BLOCK_BYTES // (4 * samples * len(run.classes)))
    rows = np.arange(samples)
    total, spread = np.zeros(samples), np.zeros(samples)
    for replicate, members in _by_replicate(names, which).items():
        for start in range(0, len(members), block):
            part = members[start : start + block]
            sums, squares = np.zeros((2, len(part), samples))
            for epoch in range(1, epochs + 1):
                scores = run.scores(epoch, networks=part, replicate=replicate)
                given = np.exp(scores[:, rows, labels].astype(float))
                sums += given
                squares += given**2
            mean = sums / epochs
            total += mean.sum(axis=0)
            spread += np.sqrt(np.maximum(squares / epochs - mean**2, 0)).sum(axis=0)
    return np.stack([total, spread]) / len(names)


def _region(table: pd.DataFrame) -> np.ndarray:
    if table["confidence"].isna().any():
        return np.full(len(table), None, object)
    ambiguous = (table["variability"] > table["variability"].quantile(2 / 3)) & (table["variability"] > 0)
    return np.where(ambiguous, "ambiguous", np.where(table["confidence"] > 0.5, "easy", "hard"))


def _most_forgotten(table: pd.DataFrame) -> float:
    """Return the share of all forgetting that falls on the tenth of the samples that is forgotten most."""
    return float(table["forgetting"].head(-(-len(table) // 10)).sum() / table["forgetting"].sum())


def _title(table: pd.DataFrame, epochs: int) -> str:
    if epochs == 1:
        return "One epoch: nothing can be forgotten yet"
    said = f"In {epochs} epochs nothing that was learned is forgotten again"
    if table["forgetting"].sum() > 0:
        said = f"A tenth of the samples takes {exam.percent(_most_forgotten(table), 0)} of all forgetting"
    if table["settled"].notna().any():
        said += f"; on average a sample stays right from epoch {table['settled'].mean():.1f} of {epochs} on"
    return said


def _text(table: pd.DataFrame, epochs: int, who: str, classes: list[str]) -> str:
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
            f"{exam.percent(top['forgot'], 0)} of the networks. A tenth of the samples, those forgotten most, takes "
            f"{exam.percent(_most_forgotten(table), 0)} of all forgetting. "
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
