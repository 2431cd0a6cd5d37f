"""`Reader`: a run's results, as frames and arrays. It reads a run's folder, finished or not, and never changes it.

Frames are read when first asked for, and kept. Only trainings with a row in `trainings` count. The large arrays go
from Parquet to numpy without a frame in between. No torch, no figures, no answers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from netpick.core.advice import command
from netpick.core.errors import RunError, listed, suggest
from netpick.store.blocks import Block, is_ordered, join_blocks, read_blocks
from netpick.store.folder import Store
from netpick.store.rows import read_file, read_shards
from netpick.store.schema import columns
from netpick.store.shards import BrokenShardError, Shard, open_shard, scan

Epochs = int | Iterable[int] | None
BlockKey = tuple[str, int, int, str]
T = TypeVar("T")

MOST_PIXELS = 2**24
"""Pixels of one sample's image."""


class Reader:
    """A run's results, as frames and arrays.

    Parameters
    ----------
    path : str or Path
        The run's folder, such as ``runs/mnist``.
    skip_broken : bool
        Leave out Parquet files that can't be read, and list them in `broken`, instead of raising RunError.

    Notes
    -----
    `epoch` is in all methods a number from 1, or -1 for the last epoch that each training reached, which can differ
    between trainings. A run that grows while it is held is read as it was at the first look; make another `Run` to
    see what came since.
    """

    def __init__(self, path: str | Path, skip_broken: bool = False) -> None:
        self._store = Store.open(path)
        self._broken: list[Path] | None = [] if skip_broken else None
        self._kept: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._store.path

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.path.resolve().name

    @property
    def manifest(self) -> dict[str, Any]:
        """What run.toml says: template, recipe, data set, seed, versions, device."""
        return self._store.manifest

    @property
    def recipe(self) -> dict[str, Any]:
        """How the networks are trained."""
        return self.manifest.get("recipe", {})

    @property
    def wanted(self) -> int:
        """Number of trainings that the run has when it is finished."""
        replicates = self.recipe.get("replicates", 1)
        if "recipe" not in self.networks:
            return len(self.networks) * replicates
        return sum(int(_own_recipe(text).get("replicates", replicates)) for text in self.networks["recipe"])

    @property
    def pending(self) -> int:
        """Number of trainings that are still to be done."""
        return max(0, self.wanted - len(self.trainings))

    def recipe_of(self, network: str) -> dict[str, Any]:
        """Return how one network is trained: the run's recipe with the network's own values."""
        rows = self.networks.loc[self.networks["name"] == network]
        return {**self.recipe, **_own_recipe(rows["recipe"].iloc[0] if len(rows) and "recipe" in rows else None)}

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.manifest["classes"])

    @property
    def broken(self) -> list[Path]:
        """Files that could not be read and were left out, so far (always empty without `skip_broken`)."""
        return sorted(set(self._broken or []))

    @cached_property
    def networks(self) -> pd.DataFrame:
        """One row a network, in the order of the catalogue."""
        return self._store.catalogue.to_pandas()

    @cached_property
    def trainings(self) -> pd.DataFrame:
        """One row a training that has ended, however it ended."""
        frame = self._small("trainings")
        if frame["optimizer"].isna().all() and "recipe" not in self.networks:  # written before there were such columns
            for column in ("optimizer", "lr", "batch_size", "epochs", "shuffle", "normalize", "precision"):
                frame[column] = self.recipe.get(column)
        return frame

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row a training × epoch × split."""
        frame = self._small("epochs")
        ended = pd.MultiIndex.from_frame(self.trainings[["network", "replicate"]].astype({"network": str}))
        keys = pd.MultiIndex.from_frame(frame[["network", "replicate"]].astype({"network": str}))
        return frame if (kept := keys.isin(ended)).all() else _tidy(frame[kept], self._order)

    @cached_property
    def timings(self) -> pd.DataFrame:
        """One row a network × device × threads, timed alone by `netpick time`; empty where nothing was."""
        path = self.path / "timings.parquet"
        if not path.is_file():
            return pd.DataFrame(columns=[c.name for c in columns("timings")])
        return read_file(path, "timings").to_pandas().astype({"network": str})

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row a sample, with its image as the bytes of a PNG file."""
        path = self.path / "samples.parquet"
        if not path.is_file():
            where = f"`{command('train', self.path)}` writes it when it starts"
            if not self.pending:
                where = "all is trained, so that `netpick train` won't write it: restore it from a copy of the run"
            raise RunError(f"{self.path} has no samples.parquet: {where}")
        return read_file(path, "samples", len(self.classes)).to_pandas()

    def labels(self, split: str = "test") -> np.ndarray:
        """Return the true class of each sample of a split, int16 (samples,)."""
        return self._split_samples(split)["label"].to_numpy(np.int16)

    def image(self, sample: int, split: str = "test") -> np.ndarray:
        """Return the image of a sample, uint8 (height, width) or (height, width, 3)."""
        rows = self._split_samples(split)
        if not 0 <= sample < len(rows):
            raise RunError(f"no sample {sample} in the {split} split: it has samples 0 to {len(rows) - 1}")
        return png_pixels(rows["image"].iloc[sample], f"{self.path}: sample {sample}")

    def predictions(
        self,
        epoch: Epochs = -1,
        split: str | None = "test",
        networks: str | Iterable[str] | None = None,
        replicate: int | None = 0,
        columns: Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """Return one row a training × epoch × split × sample.

        Parameters
        ----------
        epoch : int, list of int or None
            From 1; -1 for the last epoch that each training reached; None for all.
        split : str or None
            None for all.
        networks : name, names or None
            None for all.
        replicate : int or None
            None for all.
        columns : names or None
            None for all. A whole run has millions of rows: ask for what you need.

        Raises
        ------
        RunError
            For a network, split, epoch, replicate or column that the run does not have, and for a broken file.
        """
        names = list(columns) if columns is not None else list(self._prediction_columns)
        for name in names:
            if name not in self._prediction_columns:
                near = suggest(name, self._prediction_columns)
                raise RunError(f"predictions have no column '{name}'{near}: {listed(self._prediction_columns)}")
        wanted = self._wanted(epoch, split, None if networks is None else self._known(networks), replicate)
        blocks = sorted(self._read(wanted, names), key=lambda b: (self._order[b.network], *b.key[1:]))
        return _tidy(join_blocks(blocks, names, len(self.classes)).to_pandas(), self._order, sort=False)

    def network_names(self, epoch: int = -1, split: str = "test", replicate: int = 0) -> list[str]:
        """Return the networks that have predictions there, in the order of the rows of `scores` and `predicted`."""
        present = {key[0] for key in self._wanted(epoch, split, None, replicate)}
        return sorted(present, key=self._order.__getitem__)

    def scores(
        self,
        epoch: int = -1,
        split: str = "test",
        networks: str | Iterable[str] | None = None,
        replicate: int = 0,
    ) -> np.ndarray:
        """Return all scores of one epoch, float32 (networks, samples, classes).

        Rows are in the order of `networks`, or else of `network_names` with the same arguments. Raises RunError as
        `predictions` does, and where scores were not kept.
        """
        columns = [f"score_{c}" for c in range(len(self.classes))]
        return self._array(columns, np.float32, epoch, split, networks, replicate)

    def predicted(
        self,
        epoch: int = -1,
        split: str = "test",
        networks: str | Iterable[str] | None = None,
        replicate: int = 0,
    ) -> np.ndarray:
        """Return the predicted classes of one epoch, int16 (networks, samples); rows as in `scores`."""
        return self._array(["predicted"], np.int16, epoch, split, networks, replicate)[:, :, 0]

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """Return what `make` gives: called once for a key, and kept for as long as this reader is."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def has_kept(self, key: Any) -> bool:
        """Whether `once` has something under a key."""
        return key in self._kept

    def forget(self) -> None:
        """Let go of what `once` has kept."""
        self._kept.clear()

    @cached_property
    def _order(self) -> dict[str, int]:
        """Place of each network in the catalogue."""
        return {name: i for i, name in enumerate(self.networks["name"])}

    @cached_property
    def _prediction_columns(self) -> list[str]:
        return [c.name for c in columns("predictions", len(self.classes))]

    @cached_property
    def _shards(self) -> list[tuple[Shard, set[tuple[str, int]]]]:
        """Shards of the predictions, each with the (network, replicate) of the trainings in it that have ended."""
        shards = scan(self.path / "predictions", self._broken)[0]
        if self._broken is not None:  # know now, so that `network_names` and `scores` agree
            for shard in shards:
                try:
                    open_shard(shard.path).close()
                except BrokenShardError as e:
                    self._broken.append(e.path)
            shards = [s for s in shards if s.path not in self._broken]
        t = self.trainings
        keys = {f"{h}-{r}": (n, r) for n, h, r in zip(t["network"], t["hash"], t["replicate"], strict=True)}
        return [(shard, {keys[s] for s in shard.holds if s in keys}) for shard in shards]

    @cached_property
    def _evaluations(self) -> pd.DataFrame:
        """Keys of all evaluations, and whether it is the training's last epoch."""
        keys = self.epochs[["network", "replicate", "epoch", "split"]].astype({"network": str, "split": str})
        return keys.assign(last=keys["epoch"] == keys.groupby(["network", "replicate"])["epoch"].transform("max"))

    @cached_property
    def _samples_of(self) -> Counter[str]:
        """Number of samples of each split, where samples.parquet is there."""
        path = self.path / "samples.parquet"
        if not path.is_file():
            return Counter()
        return Counter(read_file(path, "samples", len(self.classes), "split")["split"].to_pylist())

    def _small(self, table: str) -> pd.DataFrame:
        return _tidy(read_shards(self._store.files, table, broken=self._broken).to_pandas(), self._order)

    def _split_samples(self, split: str) -> pd.DataFrame:
        rows = self.samples[self.samples["split"] == split]
        if not len(rows):
            there = sorted(self.samples["split"].unique())
            raise RunError(f"no split '{split}'{suggest(split, there)}: the run has {listed(there)}")
        rows = rows.sort_values("sample")
        if not np.array_equal(rows["sample"], np.arange(len(rows))):
            raise RunError(
                f"{self.path / 'samples.parquet'} has not each sample of the {split} split once: restore it from a "
                "copy, or generate the run again"
            )
        return rows

    def _known(self, networks: str | Iterable[str]) -> list[str]:
        names = [networks] if isinstance(networks, str) else list(networks)
        for name in names:
            if name not in self._order:
                near = suggest(str(name), self._order)
                raise RunError(f"no network '{name}'{near} in {self.path}: it has {listed(self._order)}")
        return names

    def _wanted(
        self, epoch: Epochs, split: str | None, networks: list[str] | None, replicate: int | None
    ) -> set[BlockKey]:
        """Return the keys of the blocks that are asked for and exist; RunError where nothing fits the run at all."""
        rows = self._evaluations
        if not len(rows):
            return set()
        if split is not None:
            rows = rows[rows["split"] == split]
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

    def _read(self, wanted: set[BlockKey], names: list[str]) -> Iterator[Block]:
        """Yield the wanted blocks, with the columns of `names`, in the order of the files."""
        pairs = {key[:2] for key in wanted}
        for shard, held in self._shards:
            here = [key for key in wanted if key[:2] in held] if not pairs.isdisjoint(held) else []
            if not here:
                continue
            networks, _, epochs, splits = map(set, zip(*here, strict=True))
            try:
                for block in read_blocks(self._store.files, shard, names, epochs, splits, networks):
                    if block.key in wanted:
                        yield block
            except BrokenShardError as e:
                if self._broken is None:
                    raise
                self._broken.append(e.path)
                self.__dict__.pop("_shards", None)  # look again, without it

    def _array(
        self,
        columns: list[str],
        dtype: type,
        epoch: int,
        split: str,
        networks: str | Iterable[str] | None,
        replicate: int,
    ) -> np.ndarray:
        """Place the blocks of one epoch, split and replicate in an array (networks, samples, columns)."""
        asked = None if networks is None else self._known(networks)
        wanted = self._wanted(epoch, split, asked, replicate)
        names = asked if asked is not None else self.network_names(epoch, split, replicate)
        rows: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            rows.setdefault(name, []).append(i)
        out: np.ndarray | None = None
        broken = self.broken
        missing = set(rows)
        for block in self._read(wanted, ["sample", *columns]):
            sample = block.array("sample")
            assert sample is not None  # never null: it is a key
            if out is None:
                out = np.empty((len(names), self._samples_of.get(split, len(sample)), len(columns)), dtype)
            if len(sample) != out.shape[1]:
                raise RunError(
                    f"{self.path}: network '{block.network}' has {len(sample)} predictions of the {split} split and "
                    f"others, or samples.parquet, {out.shape[1]}: the run was written with different data"
                )
            place: Any = slice(None) if is_ordered(sample) else sample
            i, *others = rows[block.network]
            for c, column in enumerate(columns):
                values = block.array(column)
                if values is None:
                    raise RunError(
                        f"{self.path} keeps no scores of network '{block.network}' at epoch {block.epoch}: train with "
                        "`--scores all`, or `--scores last` for each training's last epoch"
                    )
                out[i, place, c] = values
            for other in others:
                out[other] = out[i]
            missing.discard(block.network)
        if missing and len(self.broken) > len(broken):  # found while reading: the rest has other names now
            return self._array(columns, dtype, epoch, split, networks, replicate)
        if missing:
            raise RunError(
                f"{self.path} has no predictions of {listed(sorted(missing), 4)} at epoch {epoch}, split {split}, "
                f"replicate {replicate}: `network_names` gives the networks that have them"
            )
        if out is None:
            here = self.path / "samples.parquet"
            out = np.empty((0, len(self.labels(split)) if here.is_file() else 0, len(columns)), dtype)
        return out


def png_pixels(content: bytes, what: str) -> np.ndarray:
    """Return the pixels of a PNG, uint8; RunError for anything else: nothing but a PNG decoder ever sees it."""
    from PIL import Image

    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels")
            return np.asarray(image, dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, TypeError, Image.DecompressionBombError) as e:
        raise RunError(f"{what} has no image that can be read ({e}): generate the run again") from None


def _own_recipe(text: str | None) -> dict[str, Any]:
    """Return the values in which a network differs from its run's recipe."""
    return json.loads(text) if isinstance(text, str) else {}


def _tidy(frame: pd.DataFrame, order: dict[str, int], sort: bool = True) -> pd.DataFrame:
    """Give network and split the categories that occur, networks in the order of the catalogue; sort by the keys."""
    for name, rank in (("network", order), ("split", None)):
        if name in frame:
            column = frame[name].astype("category").cat.remove_unused_categories()
            present = sorted(column.cat.categories)
            if rank is not None:
                present.sort(key=lambda v: order.get(v, len(order)))
            frame = frame.assign(**{name: column.cat.reorder_categories(present)})
    if sort:
        keys = [k for k in ("network", "replicate", "epoch", "split") if k in frame]
        frame = frame.sort_values(keys, kind="stable", ignore_index=True)
    return frame
