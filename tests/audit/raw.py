"""A run as its files have it: Parquet read by pandas, and what everybody who asks about it has to know.

Nothing here or beside it comes from netpick: what its questions answer is worked out again, from their documentation.
"""

from __future__ import annotations

import json
import tomllib
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

TINY = 1e-9


class Raw:
    """A run's folder.

    Parameters
    ----------
    folder : of the run
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = tomllib.loads((folder / "run.toml").read_text())
        self.classes = self.manifest["classes"]

    def table(self, name: str) -> pd.DataFrame:
        """Read one of the tables: a file, or all files of a folder."""
        file = self.folder / f"{name}.parquet"
        frame = pd.read_parquet(file if file.exists() else self.folder / name)
        words = {c: str for c in ("network", "split") if c in frame}
        return frame.astype(words)

    @cached_property
    def networks(self) -> pd.DataFrame:
        """One row a network that has a training which is done, by name; `place` is its number in the catalogue."""
        frame = self.table("networks").assign(place=lambda f: range(len(f))).set_index("name", drop=False)
        return frame[frame.index.isin(self.done["network"])].rename_axis(None)

    @cached_property
    def done(self) -> pd.DataFrame:
        """The trainings that are done."""
        rows = self.table("trainings")
        return rows[rows["status"] == "done"]

    @cached_property
    def first(self) -> dict[str, int]:
        """The first replicate of each network that is done."""
        return {
            name: int(self.done.loc[self.done["network"] == name, "replicate"].min()) for name in self.networks.index
        }

    @cached_property
    def _epochs(self) -> pd.DataFrame:
        keys = set(zip(self.done["network"], self.done["replicate"], strict=True))
        rows = self.table("epochs")
        return rows[[key in keys for key in zip(rows["network"], rows["replicate"], strict=True)]]

    def epochs(self, split: str = "test") -> pd.DataFrame:
        """Return the evaluations of a split, of trainings that are done."""
        return self._epochs[self._epochs["split"] == split]

    @cached_property
    def _predictions(self) -> dict[tuple[str, int, int, str], pd.DataFrame]:
        keys = ["network", "replicate", "epoch", "split"]
        return {key: rows.sort_values("sample") for key, rows in self.table("predictions").groupby(keys)}

    @cached_property
    def last_epoch(self) -> int:
        """The last epoch: all that are done have made as many."""
        return int(self._epochs["epoch"].max())

    def labels(self, split: str = "test") -> np.ndarray:
        """Return the true classes."""
        rows = self.table("samples")
        return rows[rows["split"] == split].sort_values("sample")["label"].to_numpy()

    def answers(
        self, names: list[str], epoch: int = 0, split: str = "test", replicate: int | None = None
    ) -> np.ndarray:
        """Return the classes that networks gave, (networks, samples); by the first replicate, at the last epoch."""
        return np.stack([self._block(name, epoch, split, replicate)["predicted"].to_numpy() for name in names])

    def right(self, names: list[str], epoch: int = 0, split: str = "test", replicate: int | None = None) -> np.ndarray:
        """Return where they were right."""
        return self.answers(names, epoch, split, replicate) == self.labels(split)

    def probabilities(self, names: list[str], epoch: int = 0) -> np.ndarray:
        """Return the probabilities that networks gave, float64 (networks, samples, classes)."""
        columns = [f"score_{c}" for c in range(len(self.classes))]
        return np.exp(np.stack([self._block(n, epoch, "test", None)[columns].to_numpy(float) for n in names]))

    def _block(self, name: str, epoch: int, split: str, replicate: int | None) -> pd.DataFrame:
        of = self.first[name] if replicate is None else replicate
        return self._predictions[name, of, epoch or self.last_epoch, split]

    def replicates(self, name: str) -> list[int]:
        """Return the numbers of a network's replicates that are done."""
        return sorted(self.done.loc[self.done["network"] == name, "replicate"])

    def marks(self, split: str = "test") -> pd.DataFrame:
        """Return the mean accuracy of each network (over its replicates) after each epoch, in catalogue order."""
        wide = self.epochs(split).groupby(["network", "epoch"])["accuracy"].mean().unstack()
        return wide.loc[self.networks.index].round(12)

    def students(self, split: str = "test", gold: float = 0.98) -> pd.DataFrame:
        """Return networks with marks, study time, and who is good and has a gold star; by name, in catalogue order."""
        wide, rows = self.marks(split), self.epochs(split)
        seconds = rows.groupby(["network", "replicate"])["train_seconds"].sum().groupby("network").mean()
        frame = self.networks.assign(accuracy=wide.iloc[:, -1], lowest=wide.min(axis=1), seconds=seconds)
        frame["replicates"] = [len(self.replicates(name)) for name in frame.index]
        frame["good"] = frame["lowest"] >= self.good(split) - TINY
        frame["star"] = frame["good"] & (frame["accuracy"] > gold + TINY)
        return frame

    def good(self, split: str = "test") -> float:
        """Return the accuracy that a good network has in every attempt: 0.8, or what leaves a third and five of each.

        But for the last third, which nothing lets in.
        """
        lowest = self.marks(split).min(axis=1)
        enough = [lowest.nlargest(int(np.ceil(len(lowest) / 3))).min()]
        for _, family in lowest.groupby(self.networks["computation"]):
            enough += [family.nlargest(5).min()] if len(family) >= 5 else []
        bound = lowest.nlargest(2 * len(lowest) // 3).min()
        return 0.8 if min(enough) >= 0.8 - TINY else min(0.8, max(min(enough), bound))

    def asked(self, split: str = "test", gold: float = 0.98) -> pd.DataFrame:
        """Return the good students."""
        return self.students(split, gold)[lambda f: f["good"]]

    def best(self, split: str = "test", among: pd.DataFrame | None = None) -> str:
        """Return the best student, of all or of some; of equals that with fewest macs, then params."""
        frame = self.students(split) if among is None else among
        top = frame[frame["accuracy"] == frame["accuracy"].max()]
        return min(zip(top["macs"], top["params"], top["name"], strict=True))[2]

    def preferred(self, names: list[str]) -> list[str]:
        """Return names in the order in which one of equals is taken."""
        return sorted(names, key=lambda n: (*self.networks.loc[n, ["macs", "params"]], n))

    def seed(self, split: str = "test") -> list[int]:
        """Return what splits are drawn from: a seed, the networks and the labels."""
        hashes = "\n".join(self.table("networks")["hash"])
        return [0, zlib.crc32(hashes.encode()), zlib.crc32(self.labels(split).astype("<i8").tobytes())]

    def splits(self, times: int, parts: int = 2, split: str = "test") -> np.ndarray:
        """Draw the part of each sample in each split: in turn, class after class, in a random order."""
        labels, rng = self.labels(split), np.random.default_rng(self.seed(split))
        out = np.empty((times, len(labels)), int)
        for part in out:
            order = rng.permutation(len(labels))
            turns = [s for c in range(len(self.classes)) for s in order if labels[s] == c]
            for turn, sample in enumerate(turns):
                part[sample] = turn % parts
        return out

    def layers(self, name: str) -> list[dict]:
        """Return the layers of a network."""
        return json.loads(self.networks.loc[name, "layers"])


def over_splits(
    values: np.ndarray, parts: int = 2, used: int = 1, freedom: float = np.inf
) -> tuple[float, float, float, float]:
    """Return mean, 95 % interval and p-value of what was judged in each split (Nadeau and Bengio 2003)."""
    times = len(values)
    mean, error = values.mean(), values.std(ddof=1) * np.sqrt(1 / times + used / (parts - used))
    if error < 1e-12:
        return mean, mean, mean, float(abs(mean) <= 1e-12)
    t = stats.t(min(max(freedom, 1), times - 1))
    return mean, mean - t.ppf(0.975) * error, mean + t.ppf(0.975) * error, 2 * t.sf(abs(mean) / error)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values corrected for being many, step by step."""
    flat, out, before = p.ravel(), np.empty(p.size), 0.0
    for step, i in enumerate(np.argsort(flat, kind="stable")):
        before = max(before, min(1.0, (p.size - step) * flat[i]))
        out[i] = before
    return out.reshape(p.shape)


def mid_p(only_a: int, only_b: int) -> float:
    """Return McNemar's mid-p value: that of the exact test, less the chance of what was seen."""
    n = only_a + only_b
    exact = 2 * stats.binomtest(int(min(only_a, only_b)), int(n), alternative="less").pvalue if n else 2.0
    return min(1.0, exact - stats.binom.pmf(only_a, n, 0.5))
