"""The predictions of a run: which of its blocks are asked for, in which files they are, and what is placed in an array.

The large arrays go from Parquet to numpy without a frame in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netpick.core.advice import command
from netpick.core.errors import RunError, listed
from netpick.core.result import LEFT_OUT
from netpick.store.blocks import Block, Key, Verified, read_blocks, with_labels
from netpick.store.rows import RunFiles, read_file
from netpick.store.samples import parts_of
from netpick.store.shards import LOOKS, BrokenShardError, Shard, again_if_gone, open_shard, scan

Epochs = int | Iterable[int] | None


class Predictions:
    """The predictions of the trainings of a run that have ended.

    Parameters
    ----------
    files : of the run
    stems : (network, replicate) of each training that has ended, by its stem
    epochs : keys of all evaluations
    order : place of each network in the catalogue
    broken : takes the files that can't be read, instead of an error; None for the error
    imported : whether they are from elsewhere, where nobody can train again
    labels : gives the labels of a split, where they are no longer those in the predictions' files
    """

    def __init__(
        self,
        files: RunFiles,
        stems: Mapping[str, tuple[str, int]],
        epochs: pd.DataFrame,
        order: Mapping[str, int],
        broken: list[Path] | None,
        imported: bool = False,
        labels: Callable[[str], np.ndarray] | None = None,
    ) -> None:
        self.path = files.path
        self._files, self._stems, self._epochs, self._order, self._broken = files, stems, epochs, order, broken
        self._verified: Verified = {}
        self._imported = imported
        self._labels = labels

    def wanted(self, epoch: Epochs, split: str | None, networks: list[str] | None, replicate: int | None) -> set[Key]:
        """Return the keys of the blocks that are asked for and exist; RunError where nothing fits the run at all."""
        rows = self._evaluations
        if not len(rows):
            return set()
        if split is not None:
            rows = rows[rows["split"].isin(parts_of(split))]
        if replicate is not None:
            rows = rows[rows["replicate"] == replicate]
        if epoch is not None:
            numbers = [epoch] if isinstance(epoch, int | np.integer) else list(epoch)
            rows = rows[rows["epoch"].isin(numbers) | (rows["last"] if -1 in numbers else False)]
        if not len(rows):
            has = self._evaluations
            raise RunError(
                f"no predictions of split {split}, replicate {replicate}, epoch {epoch} in {self.path}: it has splits "
                f"{listed(sorted(has['split'].unique()))}, replicates 0 to {has['replicate'].max()}, "
                f"epochs 1 to {has['epoch'].max()}"
            )
        if networks is not None:
            rows = rows[rows["network"].isin(networks)]
        columns = (rows[k].tolist() for k in ("network", "replicate", "epoch", "split"))
        wanted = set(zip(*columns, strict=True))
        if self._broken is not None:
            readable = {pair for _, pairs in self._shards for pair in pairs}
            wanted = {key for key in wanted if key[:2] in readable}
        return wanted

    def read(self, wanted: set[Key], names: list[str]) -> Iterator[Block]:
        """Yield the wanted blocks, with the columns of `names`, in the order of the files.

        Raises RunError where one is missing, unless broken files are left out.
        """
        left = set(wanted)
        labels = self._labels if "label" in names else None
        needed = names if labels is None else [*dict.fromkeys([*names, "sample"])]
        for look in range(1, LOOKS + 1):
            try:
                for block in self._there(frozenset(left), needed):
                    left.discard(block.key)
                    yield block if labels is None else with_labels(block, labels(block.split), names)
                break
            except BrokenShardError as error:  # gone, as when the run was compacted: the rest has other names now
                if not error.is_gone or look == LOOKS:
                    raise
                self.__dict__.pop("_shards", None)
        if left and self._broken is None:
            network, replicate, epoch, split = min(left)
            raise RunError(
                f"{self.path} has no predictions of {network}, replicate {replicate}, epoch {epoch}, split {split}, "
                f"though it was evaluated: `{command('check', self.path)}` says what is missing"
            )

    def _there(self, wanted: Set[Key], names: list[str]) -> Iterator[Block]:
        """Yield those of the wanted blocks that are there."""
        pairs = {key[:2] for key in wanted}
        for shard, held in self._shards:
            here = [key for key in wanted if key[:2] in held] if not pairs.isdisjoint(held) else []
            if not here:
                continue
            networks, _, epochs, splits = map(set, zip(*here, strict=True))
            try:
                for block in read_blocks(self._files, shard, names, epochs, splits, networks, self._verified):
                    if block.key in wanted:
                        yield block
            except BrokenShardError as e:
                if self._broken is None or e.is_gone:
                    raise
                self._broken.append(e.path)
                self.__dict__.pop("_shards", None)  # look again, without it

    def network_names(self, epoch: int, split: str, replicate: int) -> list[str]:
        """Return the networks that have predictions there, in the order of the catalogue."""
        present = {key[0] for key in self.wanted(epoch, split, None, replicate)}
        return sorted(present, key=self._order.__getitem__)

    def array(
        self,
        columns: list[str],
        dtype: type,
        epoch: int,
        split: str,
        networks: list[str] | None,
        replicate: int,
        which: np.ndarray | None = None,
    ) -> np.ndarray | None:
        """Place the blocks of one epoch, split and replicate in an array (networks, samples, columns).

        With `which`, the number of a column for each sample of the split, the last axis has that column's value alone.
        What a network did not answer is -1, or NaN. Return None where no block is asked for, or the run has not come
        that far.
        """
        wanted = self.wanted(epoch, split, networks, replicate)
        names = networks if networks is not None else self.network_names(epoch, split, replicate)
        rows: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            rows.setdefault(name, []).append(i)
        out: np.ndarray | None = None
        broken = set(self._broken or ())
        missing, begins = set(rows), self._begins(split)
        by_split: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}  # of blocks in order the same rows want a column
        for block in self.read(wanted, ["sample", *columns]):
            sample = block.array("sample")
            assert sample is not None  # never null: it is a key
            begin, end = begins.setdefault(block.split, (0, len(sample)))
            if out is None:
                width = len(columns) if which is None else 1
                out = np.empty((len(names), max(end for _, end in begins.values()), width), dtype)
                if LEFT_OUT in begins:
                    out.fill(np.nan if dtype == np.float32 else -1)
            some = block.split == LEFT_OUT
            if sample.max(initial=-1) >= end - begin if some else len(sample) != end - begin:
                raise RunError(
                    f"{self.path}: network '{block.network}' has {len(sample)} predictions of the {block.split} split "
                    f"and others, or samples.parquet, {end - begin}: the run was written with different data"
                )
            in_order = block.ordered and not some
            place: Any = slice(begin, end) if in_order else begin + sample
            wants = by_split.get(block.split) if in_order else None
            if which is not None and wants is None:
                wants = _wanting(which, np.arange(begin, end) if in_order else place, len(columns))
                if in_order:
                    by_split[block.split] = wants
            i, *others = rows[block.network]
            for c, column in enumerate(columns):
                values = self._values(block, column)
                if wants is None:
                    out[i, place, c] = values
                else:
                    mine, there = wants[c]
                    out[i, there, 0] = values[mine]
            for other in others:
                out[other, place] = out[i, place]
            missing.discard(block.network)
        if missing and set(self._broken or ()) > broken:  # found while reading: the rest has other names now
            return self.array(columns, dtype, epoch, split, networks, replicate, which)
        if missing:
            raise RunError(
                f"{self.path} has no predictions of {listed(sorted(missing), 4)} at epoch {epoch}, split {split}, "
                f"replicate {replicate}: `network_names` gives the networks that have them"
            )
        return out

    def _values(self, block: Block, column: str) -> np.ndarray:
        values = block.array(column)
        if values is None:
            way = "train with `--scores all`, or `--scores last` for each training's last epoch"
            if self._imported:
                way = "import probabilities, in columns score_CLASS"
            raise RunError(f"{self.path} keeps no scores of network '{block.network}' at epoch {block.epoch}: {way}")
        return values

    @cached_property
    def _shards(self) -> list[tuple[Shard, set[tuple[str, int]]]]:
        """Shards of the predictions, each with the (network, replicate) of the trainings in it that have ended."""
        shards = again_if_gone(self._readable)
        return [(shard, {self._stems[stem] for stem in shard.holds if stem in self._stems}) for shard in shards]

    def _readable(self) -> list[Shard]:
        shards = scan(self.path / "predictions", self._broken)[0]
        if self._broken is not None:  # know now, so that `network_names` and `scores` agree
            for shard in shards:
                try:
                    open_shard(shard.path).close()
                except BrokenShardError as e:
                    if e.is_gone:
                        raise
                    self._broken.append(e.path)
            shards = [s for s in shards if s.path not in self._broken]
        return shards

    @cached_property
    def _evaluations(self) -> pd.DataFrame:
        """Keys of all evaluations, and whether it is the training's last epoch."""
        keys = self._epochs[["network", "replicate", "epoch", "split"]].astype({"network": str, "split": str})
        return keys.assign(last=keys["epoch"] == keys.groupby(["network", "replicate"])["epoch"].transform("max"))

    def _begins(self, split: str) -> dict[str, tuple[int, int]]:
        """Return where each part of a split begins and ends among its samples, as far as samples.parquet tells."""
        out, begin = {}, 0
        for part in parts_of(split):
            if part in self._samples_of:
                out[part] = (begin, begin + self._samples_of[part])
                begin += self._samples_of[part]
        return out

    @cached_property
    def _samples_of(self) -> Counter[str]:
        """Number of samples of each split, where samples.parquet is there."""
        path = self.path / "samples.parquet"
        if not path.is_file():
            return Counter()
        return Counter(read_file(path, "samples", self._files.classes, "split")["split"].to_pylist())


def _wanting(which: np.ndarray, samples: np.ndarray, columns: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each column the rows of a block that want it, and which samples these are."""
    return [(rows, samples[rows]) for rows in (np.flatnonzero(which[samples] == c) for c in range(columns))]
