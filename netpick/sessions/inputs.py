"""The data sets of a session: laid out for the workers, held against what the run was made for, and written down.

A run has one data set for each way in which recipes take it (how many samples to train on, how they are normalised);
what is evaluated is the same for all. Reading it is the business of `data`, and training on it that of the workers.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from netpick.core.errors import DataError, listed
from netpick.core.recipe import Recipe
from netpick.data import DataRequest, data_dir, load, request_of, sample_rows
from netpick.data.shared import SharedData, attach, prepare
from netpick.sessions.settle import changes_of_results
from netpick.sessions.situation import RunNetwork, Samples, Situation
from netpick.store.folder import Store

DataKey = tuple[Any, ...]
"""What of a recipe decides over the data."""


@dataclass(frozen=True)
class Inputs:
    """The data sets that lie ready for the workers, by what of a recipe decides over them."""

    shared: Mapping[DataKey, SharedData]

    def of(self, recipe: Recipe) -> SharedData:
        """Return the data set that a recipe trains on."""
        return self.shared[_data_key(recipe)]

    @property
    def samples(self) -> Samples:
        """Numbers of samples of the largest data set: what is trained on where a recipe doesn't say how many."""
        return max(map(_counts, self.shared.values()), key=lambda samples: samples.train)

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """The labels of the splits that are predicted: the same whatever is trained on."""
        return {split: y for shared in self.shared.values() for split, y in attach(shared).evaluated_labels.items()}


@dataclass(frozen=True)
class Evidence:
    """What a run has to say of its data set, and does not say yet: keys of run.toml, and the evaluated samples.

    `samples` is None where samples.parquet holds them already.
    """

    manifest: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] | None = None

    def write(self, store: Store, **manifest: object) -> None:
        """Write it down, with other keys of run.toml; a kill in between leaves no samples that are not the run's."""
        if self.samples is not None:
            (store.path / "samples.parquet").unlink(missing_ok=True)
        if manifest := {**self.manifest, **manifest}:
            store.update_manifest(**manifest)
        if self.samples is not None:
            store.write_samples(self.samples)


def lay_out(
    situation: Situation,
    networks: Sequence[RunNetwork],
    option: str | None,
    report: Callable[[str, int, int], None] | None = None,
) -> Inputs:
    """Lay out what some networks are trained on, in the run's `.cache`; write nothing else.

    Parameters
    ----------
    situation : the run
    networks : of it
    option : where data sets lie, as the user said it
    report : hears how far decoding images has come
    """
    store = situation.store
    recipes = {_data_key(network.recipe): network.recipe for network in networks}
    return Inputs(
        {
            key: prepare(_request(store, recipe, option), store.path / ".cache", _decoded(store), report)
            for key, recipe in recipes.items()
        }
    )


@contextlib.contextmanager
def passing_cache(store: Store) -> Iterator[None]:
    """Remove at the end what was laid out in between, unless there was something before."""
    cache = store.path / ".cache"
    was_there = cache.is_dir()
    try:
        yield
    finally:
        if not was_there:
            discard(store)


def discard(store: Store) -> None:
    """Remove what was laid out for workers."""
    shutil.rmtree(store.path / ".cache", ignore_errors=True)


def evidence(situation: Situation, inputs: Inputs, on_note: Callable[[str], None]) -> Evidence:
    """Hold the data sets against what the run was made for; raises DataError where they are others.

    Returns
    -------
    Evidence
        What is to be written before the first training.
    """
    store, manifest = situation.store, situation.store.manifest
    # One for each number of training samples: that of the samples alone would need a second look at all of them.
    known: dict[str, str] = manifest.get("input", {}).get("digests", {})
    digests = {}
    fresh = bool(changes_of_results(situation)) or not (store.path / "samples.parquet").is_file()
    for shared in inputs.shared.values():
        _check_form(shared, manifest)
        number = str(shared.request.train_samples or "all") + " by class" * shared.request.by_class
        digests[number] = shared.digest
        if known.get(number, shared.digest) != shared.digest:
            if situation.standing:
                raise DataError(
                    f"data set {shared.request.name} has changed since {store.path} was begun, which has "
                    f"{len(situation.standing)} results of it: put the files back as they were, or make a new run "
                    "with netpick generate ... --run runs/OTHER"
                )
            fresh = True
    if fresh:
        on_note("writing down the test samples")
        return _new_evidence(store, next(iter(inputs.shared.values())), digests)
    if "input" in manifest and not digests.items() <= known.items():
        return Evidence({"input": {**manifest["input"], "digests": {**known, **digests}}})
    return Evidence()


def _new_evidence(store: Store, shared: SharedData, digests: dict[str, str]) -> Evidence:
    dataset = load(shared.request, _decoded(store))
    # What an exported network needs to get its images in the form that it was trained on.
    scale: dict[str, Any] = {"mean": list(dataset.mean), "std": list(dataset.std)}
    if shared.request.skip_unreadable:
        scale["left_out"] = dataset.left_out
    rows = sample_rows(dataset, attach(shared).evaluated_labels)
    return Evidence({"input": {**scale, "digest": shared.digest, "digests": digests}}, list(rows))


def _check_form(shared: SharedData, manifest: Mapping[str, Any]) -> None:
    name = shared.request.name
    shape = list(attach(shared)["train"][0].shape[1:])
    if shape != manifest["shape"]:
        raise DataError(f"data set {name} has images of {shape}, the run was made for {manifest['shape']}")
    if list(shared.classes) != manifest["classes"]:
        here, made = listed(shared.classes), listed(manifest["classes"])
        raise DataError(f"data set {name} has the classes {here}, the run was made for {made}")


def _data_key(recipe: Recipe) -> DataKey:
    return recipe.train_samples, recipe.validation, recipe.normalize, recipe.order == "by_class", recipe.folds


def _request(store: Store, recipe: Recipe, option: str | None) -> DataRequest:
    return request_of(store.manifest, data_dir(option), *_data_key(recipe))


def _counts(shared: SharedData) -> Samples:
    """Return how many samples there are to train on and to evaluate: of folds, each training leaves one out."""
    counts = {split: len(labels) for split, (_, labels) in attach(shared).items()}
    train = counts.pop("train")
    left_out = round(train / shared.request.folds) if shared.request.folds else 0
    return Samples(train - left_out, sum(counts.values()) + left_out)


def _decoded(store: Store) -> Path:
    """Return where the pixels of a folder of images are kept: beside the run, for other runs of the same images."""
    return store.path.absolute().parent / ".decoded"
