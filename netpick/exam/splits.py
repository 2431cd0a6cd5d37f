"""Choosing on one part of the samples and judging on another, many times over.

Whoever takes the best of a thousand takes the luckiest too. So whatever is chosen by looking at answers is chosen on
one part of the samples and judged on another that played no part in it; and as one split would decide by its own luck,
by many, drawn for the run. What was judged is averaged over the splits. The splits share samples, so that their spread
alone would promise too much: the interval is that of Nadeau and Bengio 2003, "Inference for the generalization error".
Arrays in, numbers out; what is chosen is the business of those who ask.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy

from netpick.core.errors import RunError
from netpick.core.words import percent, points
from netpick.exam.answered import is_whole, marked, rates, within_folds
from netpick.exam.ballots import final
from netpick.exam.checks import done
from netpick.exam.marks import on_equal_folds
from netpick.store.reader import Reader

TIMES, FEW_TIMES = 100, 10
"""How often samples are split: where a split costs next to nothing, and where it costs a part of a second."""
BLOCK = 64
"""Networks at a time."""


class Judged(NamedTuple):
    """Means over the splits, with intervals, and the p-values of "it is 0"; numbers, or arrays of one shape."""

    mean: Any
    low: Any
    high: Any
    p: Any

    def __str__(self) -> str:
        """Write a share with its interval."""
        return f"{percent(self.mean)} (95 % interval {percent(max(self.low, 0))} to {percent(min(self.high, 1))})"


@dataclass(frozen=True)
class Splits:
    """Random splits of samples into parts of equal size, class by class.

    Parameters
    ----------
    part : int8 (times, samples)
        The part of each sample in each split.
    parts : int
        How many there are; the last one judges.
    seed : list of int
        What they were drawn from.
    """

    part: np.ndarray
    parts: int
    seed: list[int]

    @classmethod
    def of(cls, run: Reader, labels: np.ndarray, parts: int = 2, times: int = TIMES, seed: int = 0) -> Splits:
        """Draw them for a run: from `seed`, the labels and the networks; RunError where a part would be empty."""
        if len(labels) < parts:
            raise RunError(f"{run.path} has {len(labels)} test samples: {parts} are needed, to choose and to judge")
        own = [
            seed,
            zlib.crc32("\n".join(run.networks["hash"]).encode()),
            zlib.crc32(labels.astype(np.int64).tobytes()),
        ]
        rng = np.random.default_rng(own)
        part = np.empty((times, len(labels)), np.int8)
        for split in part:
            order = rng.permutation(len(labels))
            split[order[np.argsort(labels[order], kind="stable")]] = np.arange(len(labels)) % parts
        return cls(part, parts, own)

    def __len__(self) -> int:
        return len(self.part)

    def samples(self, split: int, part: int = -1) -> np.ndarray:
        """Return the numbers of the samples of one part of a split; the last part judges."""
        return np.flatnonzero(self.part[split] == part % self.parts)

    def means(self, values: np.ndarray, part: int = -1) -> np.ndarray:
        """Return the means of (rows, samples) over the samples of a part: (rows, times); NaN is left out."""
        inside = (self.part == part % self.parts).T.astype(np.float32)
        if not is_whole(values):
            return np.concatenate([_known_means(values[i : i + BLOCK], inside) for i in range(0, len(values), BLOCK)])
        sums = [values[i : i + BLOCK].astype(np.float32) @ inside for i in range(0, len(values), BLOCK)]
        with np.errstate(invalid="ignore"):  # a class of one sample has none in the other parts: NaN
            return np.concatenate(sums).astype(np.float64) / inside.sum(axis=0)

    def over(self, values: np.ndarray, freedom: Any = np.inf, level: float = 0.95, used: int = 1) -> Judged:
        """Return mean and interval of what was judged in each split, (..., times).

        The variance of the mean is 1/times + judged/others times that of the values, which is right for one network
        that is judged in all splits, and careful where others are chosen in others. Where what is judged is calibrated
        on a part of its own, two parts are `used` of a value. Student's t has `freedom` degrees of freedom, at most
        times - 1.
        """
        times = len(self)
        mean = values.mean(axis=-1)
        error = values.std(axis=-1, ddof=1) * np.sqrt(1 / times + used / (self.parts - used))
        error = np.where(error > 1e-12, error, 0.0)
        freedom = np.clip(freedom, 1, times - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            p = np.where(error > 0, 2 * scipy.stats.t.sf(np.abs(mean) / error, freedom), np.abs(mean) <= 1e-12)
        room = scipy.stats.t.ppf((1 + level) / 2, freedom) * error
        return Judged(mean, mean - room, mean + room, p)


@dataclass(frozen=True)
class Accuracies:
    """The accuracy of networks on the two parts of each split, and how much of it is luck of the trainings.

    Parameters
    ----------
    names : of the networks
    splits : into the part that chooses and the part that judges
    chosen, judged : (networks, times)
        On the part that chooses, and on that which judges. Replicates are split too: half of them choose.
    variance : (networks,)
        Of a network's mean over its replicates; 0 where there is one.
    freedom : (networks,)
        Degrees of freedom of that; 1 where there is one replicate.
    """

    names: list[str]
    splits: Splits
    chosen: np.ndarray
    judged: np.ndarray
    variance: np.ndarray
    freedom: np.ndarray

    @classmethod
    def of(cls, run: Reader, names: Iterable[str] | None, split: str = "test", seed: int = 0) -> Accuracies:
        """Read the last answers of networks, or of all, and count on which parts they are right."""
        known, predicted, labels = final(run, names, split)
        splits = Splits.of(run, within_folds(run, split, labels), seed=seed)
        trained = done(run)
        trained = trained[trained["network"].isin(known)].sort_values("replicate")
        there = {r: set(run.network_names(split=split, replicate=int(r))) for r in trained["replicate"].unique()}
        of = zip(trained["network"], trained["replicate"], strict=True)
        trained = trained[[name in there[replicate] for name, replicate in of]]  # the others' files can't be read
        counts = trained.groupby("network").size().reindex(known).to_numpy()
        if (counts == 1).all():
            right = marked(predicted, labels)
            zero = np.zeros(len(known))
            alone = trained.set_index("network", drop=False).loc[known]
            first, second = (on_equal_folds(run, alone, splits.means(right, part), split) for part in (0, 1))
            return cls(known, splits, first, second, zero, zero + 1)
        place = {name: i for i, name in enumerate(known)}
        rows = trained["network"].map(place).to_numpy()
        number = trained.groupby("network").cumcount().to_numpy()
        judges = _judges(splits, counts)
        shares, weight = np.zeros((2, len(known), len(splits))), np.zeros((2, len(known), len(splits)))
        means = np.full((len(known), counts.max()), np.nan)
        whole, parts = np.empty(len(trained)), np.empty((2, len(trained), len(splits)))
        for replicate in trained["replicate"].unique():
            mine = (trained["replicate"] == replicate).to_numpy()
            members = trained.loc[mine, "network"].tolist()
            right = marked(run.predicted(networks=members, split=split, replicate=int(replicate)), labels)
            whole[mine] = rates(right, 1)
            parts[:, mine] = splits.means(right, 0), splits.means(right)
        means[rows, number] = on_equal_folds(run, trained, whole, split)
        judge = np.stack([judges[counts[row]][i] for row, i in zip(rows, number, strict=True)])
        for part, used in enumerate((np.where(counts[rows, None] > 1, ~judge, True), judge)):
            np.add.at(shares[part], rows, used * on_equal_folds(run, trained, parts[part], split))
            np.add.at(weight[part], rows, used)
        variance = np.where(counts > 1, np.nanvar(means, axis=1) / np.maximum(counts - 1, 1), 0.0)
        chosen, judged = shares / weight
        return cls(known, splits, chosen, judged, variance, np.maximum(counts - 1, 1))

    def place(self, names: Iterable[str]) -> np.ndarray:
        """Return the numbers of networks."""
        where = {name: i for i, name in enumerate(self.names)}
        return np.array([where[name] for name in names])

    def winners(self, among: Iterable[str], but: np.ndarray | None = None) -> np.ndarray:
        """Return for each split the number of the network that is best on the part that chooses; of equals the first.

        Give the names in the order of preference (`preferred`); `but` has a network a split that is left out.
        """
        rows = self.place(among)
        values = np.round(self.chosen[rows], 12)
        if but is not None:
            values[rows[:, None] == but] = -1
        return rows[values.argmax(axis=0)]

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Return the judged accuracies of one network a split, from their numbers, (..., times)."""
        return self.judged[rows, np.arange(len(self.splits))]

    def compared(self, first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Judged:
        """Return by how much networks, one a split, are more accurate than others, (..., times), where they are judged.

        Student's t has the degrees of freedom that Welch gives it, by how much of the spread is that of replicates.
        """
        values = self.at(first) - self.at(second)
        whole = values.var(axis=-1, ddof=1) * (1 + 1 / len(self.splits))
        spread = sum(
            self.variance[rows].mean(axis=-1) ** 2 / self.freedom[rows].mean(axis=-1) for rows in (first, second)
        )
        freedom = np.where(spread > 0, whole**2 / np.where(spread > 0, spread, 1), np.inf)
        return self.splits.over(values, freedom, level)


def _known_means(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the means of the values that are known, (rows, samples), over the samples inside, (samples, times)."""
    known = ~np.isnan(values)
    sums = np.where(known, values, 0).astype(np.float32) @ inside
    with np.errstate(invalid="ignore"):
        return sums.astype(np.float64) / (known.astype(np.float32) @ inside)


def _judges(splits: Splits, counts: np.ndarray) -> dict[int, np.ndarray]:
    """Return for each number of replicates in which splits each of them judges, bool (replicates, times).

    The others choose, and of an odd number the odd one too. So that no lucky seed is taken for merit, other trainings
    judge than chose; of one replicate only other samples do.
    """
    rng = np.random.default_rng(splits.seed)
    order = rng.permuted(np.tile(np.arange(counts.max()), (len(splits), 1)), axis=1).T
    return {
        int(of): order[:of].argsort(axis=0).argsort(axis=0) < of // 2 if of > 1 else np.ones((1, len(splits)), bool)
        for of in np.unique(counts)
    }


def often(times: int, of: int, what: str = "split") -> str:
    """Say how often something came out: "in none of 10 splits", "in 4 of 10 splits", "in all 10 splits"."""
    return f"in all {of} {what}s" if times == of else f"in {times or 'none'} of {of} {what}s"


def flattered(chosen: str, by: float) -> str:
    """Label an accuracy on all samples of what was chosen by it: "best of 1001, flattered by about 0.6 points"."""
    return f"{chosen}, flattered by about {points(max(by, 0.0), 1).replace('percentage ', '')}"
