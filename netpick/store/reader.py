"""`Reader`: a run's results, as frames and arrays. It reads a run's folder, finished or not, and never changes it.

Frames are read when first asked for, and kept. Only trainings with a row in `trainings` count. No torch, no
figures, no answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pandas as pd

from netpick.core.advice import command
from netpick.core.errors import RunError, listed, suggest
from netpick.core.recipe import Recipe, current
from netpick.core.result import LEFT_OUT
from netpick.core.words import counted_word
from netpick.store.blocks import join_blocks
from netpick.store.folder import Store
from netpick.store.predictions import Epochs, Predictions
from netpick.store.rows import read_file, read_shards
from netpick.store.samples import parts_of, png_pixels, samples_of
from netpick.store.schema import ADDED, columns

T = TypeVar("T")

LATER = (
    ("schedule", "warmup", "loss", "init", "order", "seeding"),
    ("label_smoothing", "gradient_clip", "augment"),
)
"""Columns of the recipe that came to `trainings` together, after the others: what rows of before have no value in."""


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
    between trainings. `split` is a name of a split; ``left_out`` are the training samples of a run whose recipe has
    folds, each of which was answered by the networks that left it out, and ``all`` the samples of ``test`` and after
    them those of ``left_out``, whose numbers run on. A run that grows while it is held is read as it was at the first
    look; make another `Run` to see what came since.
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
    def imported(self) -> bool:
        """Whether its answers are from elsewhere: then there are no networks, and costs where they were given."""
        return self._store.imported is not None

    @property
    def relabelled(self) -> str:
        """Which labels were put right after the answers had been given, in words; "" where none were."""
        return "; ".join(
            f"{counted_word(one['labels'], 'label')} changed by {one['file']} (SHA-256 {one['sha256'][:12]}...) in "
            f"{one['of']}"
            for one in self._store.relabelled
        )

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
        return {**self.recipe, **_own_recipe(self._own_recipes.get(network))}

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
            for column in ("optimizer", "lr", "batch_size", "epochs", "normalize", "precision"):
                frame[column] = self.recipe.get(column)
        for later in LATER:
            if (before := frame["optimizer"].notna() & frame[later[-1]].isna()).any():
                names = frame.loc[before, "network"]
                recipes = {name: _whole(self.recipe_of(name)) for name in names.unique()}
                for column in later:
                    frame.loc[before, column] = [_cell(recipes[name][column]) for name in names]
        return frame

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row a training × epoch × split."""
        trainings = self.trainings  # read first: while the run grows, each of them has its epochs already
        frame = self._small("epochs")
        ended = pd.MultiIndex.from_frame(trainings[["network", "replicate"]].astype({"network": str}))
        keys = pd.MultiIndex.from_frame(frame[["network", "replicate"]].astype({"network": str}))
        due = (trainings["status"] == "done") & (trainings["epochs"] > 0)
        lost = ended[due.to_numpy(bool) & ~ended.isin(keys)]
        if len(lost) and self._broken is None:
            raise RunError(
                f"{self.path} has no epochs of {listed([f'{name}-{number}' for name, number in lost], 4)}, which are "
                f"trained: `{command('check', self.path)}` says what is missing"
            )
        return frame if (kept := keys.isin(ended)).all() else _tidy(frame[kept], self._order)

    @cached_property
    def timings(self) -> pd.DataFrame:
        """One row a network × device × threads, timed alone by `netpick time`; empty where nothing was."""
        return self._file("timings").astype({"network": str})

    @cached_property
    def layer_times(self) -> pd.DataFrame:
        """One row a layer of a network × device × threads, timed by `netpick time`; empty where nothing was."""
        return self._file("layer_times").astype({"network": str})

    @cached_property
    def device_times(self) -> pd.DataFrame:
        """One row a network × device × precision × threads, measured by a kit elsewhere; empty where none was."""
        return self._file("device_times").astype({"network": str})

    @cached_property
    def distances(self) -> pd.DataFrame:
        """One row a test image, and a training image that was drawn, by `netpick distances`; empty without it."""
        return self._file("distances")

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row a sample, with its image as the bytes of a PNG file."""
        path = self.path / "samples.parquet"
        if not path.is_file():
            where = f"`{command('train', self.path)}` writes it when it starts"
            if self.imported:
                where = "give the same `netpick import` again"
            elif not self.pending:
                where = "all is trained, so that `netpick train` won't write it: restore it from a copy of the run"
            raise RunError(f"{self.path} has no samples.parquet: {where}")
        frame = read_file(path, "samples", len(self.classes)).to_pandas()
        return frame.assign(**dict.fromkeys(column for column in ADDED["samples"] if column not in frame))

    def labels(self, split: str = "test") -> np.ndarray:
        """Return the true class of each sample of a split, int16 (samples,)."""
        return samples_of(split, self.samples, self.path)["label"].to_numpy(np.int16)

    @cached_property
    def has_images(self) -> bool:
        """Whether the images of its samples are there; they may have been left out when it was published."""
        return bool(self.samples["image"].notna().all())

    def image(self, sample: int, split: str = "test") -> np.ndarray:
        """Return the image of a sample, uint8 (height, width) or (height, width, 3)."""
        rows = samples_of(split, self.samples, self.path)
        if not 0 <= sample < len(rows):
            raise RunError(f"no sample {sample} in the {split} split: it has samples 0 to {len(rows) - 1}")
        name = rows["name"].iloc[sample] if self.imported else None
        return png_pixels(rows["image"].iloc[sample], f"{self.path}: sample {sample}", name)

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
        asked = None if networks is None else self._known(networks)
        wanted = self._predictions.wanted(epoch, split, asked, replicate)
        blocks = sorted(self._predictions.read(wanted, names), key=lambda b: (self._order[b.network], *b.key[1:]))
        return _tidy(join_blocks(blocks, names, len(self.classes)).to_pandas(), self._order, sort=False)

    def network_names(self, epoch: int = -1, split: str = "test", replicate: int = 0) -> list[str]:
        """Return the networks that have predictions there, in the order of the rows of `scores` and `predicted`."""
        return self._predictions.network_names(epoch, split, replicate)

    def scores(
        self,
        epoch: int = -1,
        split: str = "test",
        networks: str | Iterable[str] | None = None,
        replicate: int = 0,
    ) -> np.ndarray:
        """Return all scores of one epoch, float32 (networks, samples, classes).

        Rows are in the order of `networks`, or else of `network_names` with the same arguments; NaN is what a network
        did not answer. Raises RunError as `predictions` does, and where scores were not kept.
        """
        return self._array(self._score_columns, np.float32, epoch, split, networks, replicate)

    def label_scores(
        self,
        epoch: int = -1,
        split: str = "test",
        networks: str | Iterable[str] | None = None,
        replicate: int = 0,
    ) -> np.ndarray:
        """Return the scores of the true classes of one epoch, float32 (networks, samples); else as `scores`.

        Far smaller than all scores, where these take gigabytes.
        """
        labels = self.labels(split)
        return self._array(self._score_columns, np.float32, epoch, split, networks, replicate, labels)[:, :, 0]

    def predicted(
        self,
        epoch: int = -1,
        split: str = "test",
        networks: str | Iterable[str] | None = None,
        replicate: int = 0,
    ) -> np.ndarray:
        """Return the predicted classes of one epoch, int16 (networks, samples); rows as in `scores`; -1: no answer."""
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
    def _own_recipes(self) -> dict[str, str | None]:
        """What each network's recipe has of its own, where the run has such."""
        table = self.networks
        return dict(zip(table["name"], table["recipe"], strict=True)) if "recipe" in table else {}

    @cached_property
    def _prediction_columns(self) -> list[str]:
        return [c.name for c in columns("predictions", len(self.classes))]

    @cached_property
    def _predictions(self) -> Predictions:
        epochs, t = self.epochs, self.trainings
        stems = {f"{h}-{r}": (n, r) for n, h, r in zip(t["network"], t["hash"], t["replicate"], strict=True)}
        return Predictions(
            self._store.files,
            stems,
            epochs,
            self._order,
            self._broken,
            self.imported,
            self.labels if self.relabelled else None,
        )

    @property
    def _score_columns(self) -> list[str]:
        return [f"score_{c}" for c in range(len(self.classes))]

    def _array(
        self,
        columns: list[str],
        dtype: type,
        epoch: int,
        split: str,
        networks: str | Iterable[str] | None,
        replicate: int,
        which: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return columns of one epoch, split and replicate (networks, samples, columns); see `Predictions.array`."""
        asked = None if networks is None else self._known(networks)
        if LEFT_OUT in parts_of(split):
            self.labels(split)  # says what is missing: only samples.parquet tells how many there are
        out = self._predictions.array(columns, dtype, epoch, split, asked, replicate, which)
        if out is None:
            here = self.path / "samples.parquet"
            width = len(columns) if which is None else 1
            out = np.empty((0, len(self.labels(split)) if here.is_file() else 0, width), dtype)
        return out

    def _file(self, table: str) -> pd.DataFrame:
        """Read a table that is one file; empty where there is none."""
        path = self.path / f"{table}.parquet"
        if not path.is_file():
            return pd.DataFrame(columns=[c.name for c in columns(table)])
        return read_file(path, table, len(self.classes)).to_pandas()

    def _small(self, table: str) -> pd.DataFrame:
        return _tidy(read_shards(self._store.files, table, broken=self._broken).to_pandas(), self._order)

    def _known(self, networks: str | Iterable[str]) -> list[str]:
        names = [networks] if isinstance(networks, str) else list(networks)
        for name in names:
            if name not in self._order:
                near = suggest(str(name), self._order)
                raise RunError(f"no network '{name}'{near} in {self.path}: it has {listed(self._order)}")
        return names


def _own_recipe(text: str | None) -> dict[str, Any]:
    """Return the values in which a network differs from its run's recipe."""
    return current(json.loads(text)) if isinstance(text, str) and text != "{}" else {}


def _whole(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe with the values that keys had before there were such."""
    return {**msgspec.to_builtins(Recipe()), **recipe}


def _cell(value: Any) -> Any:
    """Return a value of a recipe as its column has it."""
    return json.dumps(value) if isinstance(value, dict) else value


def _tidy(frame: pd.DataFrame, order: dict[str, int], sort: bool = True) -> pd.DataFrame:
    """Give network and split the categories that occur, networks in the order of the catalogue; sort by the keys."""
    for key, rank in (("network", order), ("split", None)):
        if key in frame:
            column = frame[key].astype("category")
            names = column.cat.categories.tolist()  # one by one it takes longer to get them out of Arrow than to read
            present = [names[code] for code in column.cat.codes.unique() if code >= 0]
            present.sort(key=lambda v: (order.get(v, len(order)) if rank is not None else 0, v))
            frame = frame.assign(**{key: column.cat.set_categories(present)})
    if sort:
        keys = [k for k in ("network", "replicate", "epoch", "split") if k in frame]
        frame = frame.sort_values(keys, kind="stable", ignore_index=True)
    return frame
