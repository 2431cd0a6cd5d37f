"""What did a change of recipe, data, epochs or seed change: who gained, and which samples flipped?

This run's networks are compared with the same networks of another run (`--against`): those with the same layers and
recipe of their own, or where there are none, those with the same name. Without another run the last attempt is compared
with the one before.

Columns of the answer, a row a network, who gained most first:

- `name`, `computation`, `activation`: the network
- `accuracy`, `before`, `difference`: in the last attempt of this run, of the other one, and the first less the second
- `place`, `place_before`: rank among the networks that are compared; the first is 1
- `gained`, `lost`: samples that are right here alone, and there alone; of the first replicates
- `p`: of "it gained as many as it lost" (McNemar's mid-p test), corrected for as many networks (Holm 1979)

with `by="sample"`, a row a test sample, the most gained first: `sample`, `label`, `class_name`; `right`, `before`
(share of the networks that have it right), `difference`; `gained`, `lost` (networks); `p`, corrected for as many.

Gained, lost and p are there where both have the same test samples; p, and intervals, only where these have the same
labels too: labels that were put right (`netpick relabel`) were changed by looking at such answers. The mean difference
over all networks has an interval over networks and samples, both drawn again at once (Owen 2007, "The pigeonhole
bootstrap"); where the samples differ, over networks and each run's own samples. A p of one network speaks of these two
trainings: the same network trained from two seeds differs too, and replicates tell by how much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Difference, NetpickError, Run, listed, percent, points, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAID = 4
"""Changes of the recipe, and samples, that a sentence names."""


@dataclass(frozen=True)
class Pairs:
    """The same networks twice: `frame` has a row a pair, `right` and `before` (pairs, samples) who is right.

    `same` says whether both have the same samples, `other` what this run is compared with, `differs` what is known to
    differ, `labels` how many of these samples have another label there.
    """

    frame: pd.DataFrame
    right: np.ndarray
    before: np.ndarray
    same: bool
    other: str
    differs: str
    labels: int = 0

    @property
    def notes(self) -> list[str]:
        """Return what is to be known of the answers that are compared."""
        return ["samples are compared between the first replicates"] if (self.frame["replicates"] > 1).any() else []

    @property
    def gains(self) -> np.ndarray:
        """Return 1 where a network has a sample right here alone, -1 where there alone; float32 (pairs, samples)."""
        return self.right.astype(np.float32) - self.before

    def mean(self, members: np.ndarray | slice = slice(None)) -> Difference:
        """Return by how much networks are better here, on average."""
        if self.same:
            return exam.bootstrap_difference(self.gains[members], np.zeros((1, self.right.shape[1]), np.float32))
        here, there = self.right[members], self.before[members]
        each = exam.rates(here, 1) - exam.rates(there, 1)
        parts = [(each.var(ddof=1) / len(each), len(each) - 1)] if len(each) > 1 else []
        shares = [exam.rates(side, 0) for side in (here, there)]
        shares = [share[~np.isnan(share)] for share in shares]
        parts += [(share.var(ddof=1) / len(share), len(share) - 1) for share in shares]
        whole = sum(part for part, _ in parts)
        freedom = whole**2 / sum(part**2 / n for part, n in parts) if whole else 1.0
        return exam.by_students_t(float(each.mean()), float(np.sqrt(whole)), freedom)


def ask(
    run: Run, *, against: str | None = None, by: str = "network", split: str = "test", alpha: float = 0.05
) -> Answer:
    """Compare a run with another one, network by network.

    Parameters
    ----------
    against : str
        Folder of the other run; left out, the attempt before the last one.
    by : str
        What a row of the table is: network or sample.
    alpha : float
        Below this a corrected p-value counts as a change.
    """
    exam.check_choice("by", by, ("network", "sample"))
    exam.check_fraction("alpha", alpha)
    compared_on, split = exam.said_of_networks(run, split), exam.comparing_split(run, split)
    pairs = _with_run(run, Run(against), split) if against else _with_attempt_before(run, split)
    if by == "sample" and not pairs.same:
        raise NetpickError(f"{pairs.other} has other test samples than {run.path}: ask by network")
    networks = by_network(pairs)
    samples = by_sample(pairs, run, split) if pairs.same else None
    whole = pairs.mean()
    text = " ".join(filter(None, (_whole(pairs, whole), _networks(networks, pairs, alpha), _samples(samples, alpha))))
    more = points(abs(whole.difference)) + (" more" if whole.difference >= 0 else " less")
    tested = "" if pairs.labels else f", and {exam.verdict(whole.p, alpha)}"
    title = f"{more} right than {pairs.other}{tested}"
    title = f"{title} ({exam.counted_word(len(networks), 'network')})"
    table = networks if by == "network" or samples is None else samples
    return Answer(
        table, text, lambda: theme.finish(_draw(pairs, networks), title), exam.notes(run, *pairs.notes, compared_on),
        shares=("accuracy", "right", "before", "difference"),
        columns=("name", "accuracy", "before", "difference", "gained", "lost", "p") if by == "network" else (),
    )  # fmt: skip


def _with_attempt_before(run: Run, split: str) -> Pairs:
    frame = exam.students(run, split=split)
    attempts = exam.attempts(run, split)
    last = attempts.apply(lambda row: row.last_valid_index(), axis=1)
    first = exam.first_replicates(run, split)
    names = [name for name in frame["name"] if name in first and last[name] > 1]
    if not names:
        raise NetpickError(f"{run.path} has one attempt alone: name another run, --against RUN")
    labels = run.labels(split)
    _, predicted, _ = exam.final(run, names, split)
    before = np.empty_like(predicted)
    keys = pd.DataFrame({"epoch": last[names].to_numpy(int) - 1, "replicate": [first[name] for name in names]})
    for (epoch, replicate), members in keys.groupby(["epoch", "replicate"]).groups.items():
        some = [names[i] for i in members]
        before[members] = run.predicted(int(epoch), split, some, int(replicate))
    rows = frame.set_index("name").loc[names].reset_index()
    rows["before"] = [attempts.at[name, last[name] - 1] for name in names]
    return Pairs(rows, exam.marked(predicted, labels), exam.marked(before, labels), True, "the attempt before", "")


def _with_run(run: Run, other: Run, split: str) -> Pairs:
    frames = [exam.students(one, split=split).set_index("name") for one in (run, other)]
    sides = exam.Sides(run, other)
    shared = sides.networks(*(exam.first_replicates(one, split) for one in (run, other)))
    here, there = list(shared), list(shared.values())
    if not here:
        raise NetpickError(f"{run.path} and {other.path} have no network in common, by layers or by name")
    rights = []
    for one, names in ((run, here), (other, there)):
        _, predicted, labels = exam.final(one, names, split)
        rights.append(exam.marked(predicted, labels))
    rows = frames[0].loc[here].reset_index()
    rows["before"] = frames[1].loc[there, "accuracy"].to_numpy()
    same = sides.same_samples(split)
    if same and not all(map(exam.is_whole, rights)):  # the folds that they left out may be others
        shared = (~np.isnan(rights[0] - rights[1])).any(axis=1)
        if not shared.any():
            raise NetpickError(
                f"the networks of {run.path} and {other.path} left out different folds: ask with split test"
            )
        rows, rights = rows[shared].reset_index(drop=True), [side[shared] for side in rights]
    labels = sides.other_labels(split) if same else 0
    return Pairs(rows, *rights, same, str(other.path), _differs(run, other, labels), labels)


def _differs(run: Run, other: Run, labels: int) -> str:
    """Say in which of its settings the other run differs, as far as runs say so."""
    settings: list[dict[str, Any]] = [
        {"dataset": one.manifest.get("dataset"), "seed": one.manifest.get("seed"), **one.recipe} for one in (run, other)
    ]
    keys = [key for key in settings[0] if key in settings[1] and settings[0][key] != settings[1][key]]
    said = [f"{key} {settings[0][key]} here, {settings[1][key]} there" for key in keys]
    return listed([*([f"the labels of {exam.counted_word(labels, 'sample')}"] if labels else []), *said], SAID)


def by_network(pairs: Pairs) -> pd.DataFrame:
    """Return a row a network, who gained most first."""
    out = pairs.frame[["name", "computation", "activation", "accuracy", "before"]].copy()
    out["difference"] = out["accuracy"] - out["before"]
    for column, of in (("place", "accuracy"), ("place_before", "before")):
        out[column] = out[of].rank(ascending=False, method="min").astype(int)
    if pairs.same:
        out["gained"], out["lost"] = (pairs.gains > 0).sum(axis=1), (pairs.gains < 0).sum(axis=1)
        if not pairs.labels:
            out["p"] = exam.holm(exam.mcnemar_counts(out["gained"], out["lost"]))
    return out.sort_values("difference", ascending=False, kind="stable").reset_index(drop=True)


def by_sample(pairs: Pairs, run: Run, split: str) -> pd.DataFrame:
    """Return a row a sample, the most gained first."""
    labels = run.labels(split)
    gained, lost = (pairs.gains > 0).sum(axis=0), (pairs.gains < 0).sum(axis=0)
    out = pd.DataFrame({
        "sample": np.arange(len(labels)), "label": labels, "class_name": np.array(run.classes, object)[labels],
        "right": exam.rates(pairs.right, 0), "before": exam.rates(pairs.before, 0),
    })  # fmt: skip
    out["difference"] = out["right"] - out["before"]
    out["gained"], out["lost"] = gained, lost
    if not pairs.labels:
        out["p"] = exam.holm(exam.mcnemar_counts(gained, lost))
    out = out[out["difference"].notna()]
    return out.sort_values(["difference", "sample"], ascending=[False, True]).reset_index(drop=True)


def _whole(pairs: Pairs, whole: Difference) -> str:
    more = f"{points(abs(whole.difference))} {'more' if whole.difference >= 0 else 'less'}"
    tested = (
        f" (95 % interval {100 * whole.low:+.2f} to {100 * whole.high:+.2f}), and {exam.verdict(whole.p)}"
        if not pairs.labels
        else f": {exam.RELABELLED}"
    )
    text = (
        f"{exam.how_many(pairs.frame)} have {percent(exam.rates(pairs.right, 1).mean())} right on average, {more} than "
        f"in {pairs.other}{tested}."
    )
    if pairs.differs:
        text += f" What differs: {pairs.differs}."
    found = exam.association(pairs.frame["accuracy"], pairs.frame["before"])
    if np.isnan(found.correlation):
        return text
    return (
        f"{text} Their order: rank correlation {found.correlation:.2f} (95 % interval {found.low:.2f} to "
        f"{found.high:.2f})."
    )


def _networks(networks: pd.DataFrame, pairs: Pairs, alpha: float) -> str:
    if pairs.labels:
        return ""
    if "p" not in networks:
        return "The samples differ, so that single networks are not tested."
    sure = networks[networks["p"] < alpha]
    up, down = sure[sure["difference"] > 0], sure[sure["difference"] < 0]
    if not len(sure):
        return f"No network alone changed by more than luck of these samples (p below {alpha:g}, corrected)."
    text = (
        f"{len(up)} gained and {len(down)} lost more than luck of these samples explains (p below {alpha:g}, "
        "corrected); luck of the seed is in that"
    )
    named = [f"{row.name} {100 * row.difference:+.2f}" for row in (*up.head(2).itertuples(index=False),
             *down.tail(2).itertuples(index=False))]  # fmt: skip
    return f"{text}: {listed(named)} percentage points."


def _samples(samples: pd.DataFrame | None, alpha: float) -> str:
    if samples is None:
        return ""
    sure = samples["p"] < alpha if "p" in samples else True
    flips = [
        samples[(samples[a] > 0.5) & (samples[b] <= 0.5) & sure] for a, b in (("right", "before"), ("before", "right"))
    ]
    if not any(map(len, flips)):
        luck = " by more than luck of the networks" if "p" in samples else ""
        return f"No sample went over from most networks to the minority, or back{luck}."
    named = [listed((f"no. {s}" for s in flip["sample"]), SAID) for flip in (flips[0], flips[1][::-1])]
    words = [f"{len(flip)} ({name})" if len(flip) else "none" for flip, name in zip(flips, named, strict=True)]
    return (
        f"Of {len(samples):,} samples {words[0]} are right for most networks now and were not, {words[1]} were and are "
        f"not any more{f' (p below {alpha:g}, corrected)' if 'p' in samples else ''}."
    )


def _draw(pairs: Pairs, networks: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    order = theme.family_order(networks)
    fig = Figure(figsize=(10, max(5.0, 0.42 * len(order) + 1.8)))
    left, right = fig.subplots(1, 2, width_ratios=(1, 1))
    _scatter(left, networks, order, pairs.other)
    for place, family in enumerate(order):
        found = pairs.mean((pairs.frame["computation"] == family).to_numpy())
        if not pairs.labels:
            right.hlines(place, found.low, found.high, color=theme.INK, linewidth=2)
        right.plot(
            found.difference, place, theme.marker(family), color=theme.colour(family), ms=8, mec=theme.INK, mew=0.5
        )
    counts = networks["computation"].value_counts()
    right.set_yticks(range(len(order)), [f"{theme.plain(family)} ({counts[family]})" for family in order])
    right.invert_yaxis()
    right.axvline(0, color=theme.INK, linewidth=1, linestyle="--")
    theme.percent_axis(right.xaxis)
    right.set(xlabel="gain: mean" if pairs.labels else "gain: mean and 95 % interval")
    right.set_title("each computation", loc="left")
    return fig


def _scatter(ax: Axes, networks: pd.DataFrame, order: list[str], other: str) -> None:
    for family in order:
        mine = networks[networks["computation"] == family]
        ax.plot(
            mine["before"], mine["accuracy"], theme.marker(family), color=theme.colour(family), ms=5, mec="#333333",
            mew=0.3, alpha=0.8,
        )  # fmt: skip
    ends = [networks[["accuracy", "before"]].min().min(), networks[["accuracy", "before"]].max().max()]
    ax.plot(ends, ends, color=theme.INK, linewidth=1, linestyle="--", zorder=0)
    theme.percent_axis(ax.xaxis)
    theme.percent_axis(ax.yaxis)
    ax.set(xlabel=f"accuracy in {theme.plain(exam.short(other, 30))}", ylabel="accuracy")
    ax.set_title("each network: above the line it gained", loc="left")
