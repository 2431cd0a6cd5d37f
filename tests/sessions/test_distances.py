"""Distances to training images: by all pairs, and of the run's own data set alone."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from netpick.core.errors import DataError
from netpick.exam import plant
from netpick.exam.run import Run
from netpick.sessions import measure_distances
from netpick.sessions.distances import rows_of
from netpick.store.folder import Store


def plain(images, among, own=None):
    """Distance to the nearest of `among`, and whose it is; not the image's own number."""
    found = []
    for i, image in enumerate(images):
        each = {
            j: np.sqrt(((image - other) ** 2).mean()) for j, other in enumerate(among) if own is None or j != own[i]
        }
        found.append(min(each.items(), key=lambda pair: pair[1]))
    return [j for j, _ in found], [d for _, d in found]


def test_the_nearest_of_the_class_is_found_and_no_image_is_its_own_neighbour():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(40, 1, 3, 3)), rng.normal(size=(12, 1, 3, 3))
    train[7] = train[4]  # one and the same twice: at distance 0 from each other
    train_labels, test_labels = np.arange(40) % 3, np.arange(12) % 3
    rows = pd.DataFrame(rows_of(train, train_labels, test, test_labels))
    assert rows.groupby(["split", "label"]).size().tolist() == [4] * 6
    for split, images, labels in (("test", test, test_labels), ("train", train, train_labels)):
        for label in range(3):
            mine = rows[(rows["split"] == split) & (rows["label"] == label)]
            assert (labels[mine["sample"]] == label).all()
            numbers = np.flatnonzero(train_labels == label)
            own = None if split == "test" else [list(numbers).index(s) for s in mine["sample"]]
            near, away = plain(images[mine["sample"]], train[numbers], own)
            np.testing.assert_allclose(mine["nearest"], away, atol=1e-7)
            unlike = mine["nearest"] > 1e-6
            assert mine.loc[unlike, "neighbour"].tolist() == numbers[np.array(near)[unlike]].tolist()
            assert split == "test" or (mine["neighbour"] != mine["sample"]).all()
    assert rows_of(train, np.arange(40), test, np.arange(12)) == []  # nothing to compare with


@pytest.fixture
def run(tmp_path):
    """A planted run that says it is of the digits, whose shape it has."""
    plant(tmp_path / "planted", networks=12, samples=60, epochs=1)
    folder = shutil.copytree(tmp_path / "planted", tmp_path / "run")
    Store.open(folder).update_manifest(dataset="digits")
    (folder / "distances.parquet").unlink()
    return folder


def test_a_run_gets_its_distances_and_nothing_else_changes(run):
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file() and not file.name.startswith(".")}
    number = measure_distances(run)
    rows = Run(run).distances
    assert number == len(rows) == 720  # digits have 360 test images
    pixels = load_digits().data
    # As they are trained on: in standard deviations of the training images, about that of all.
    assert rows["nearest"].between(0.02, 40 / pixels.std()).all()
    assert rows["split"].value_counts().to_dict() == {"test": 360, "train": 360}
    now = {file: file.read_bytes() for file in run.rglob("*") if file.is_file() and not file.name.startswith(".")}
    assert now.pop(run / "distances.parquet")
    assert now == before
    assert not (run / ".cache").exists()


def test_another_data_set_is_refused_and_nothing_is_written(run):
    Store.open(run).update_manifest(input={"digests": {"all": "of another one"}})
    with pytest.raises(DataError, match="has changed since"):
        measure_distances(run)
    assert not (run / "distances.parquet").exists()
