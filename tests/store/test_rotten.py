"""Files of a run that are spoilt or go away: refused by name, never read as something else."""

import json
import os
import random

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_store import LABELS, NAMES, commit_all, make_result, make_store

from netpick import Run
from netpick.core.errors import RunError
from netpick.store import rows
from netpick.store.folder import Store
from netpick.store.reader import Reader
from netpick.store.weights import read_weights, weights_file

WEIGHTS = {"0.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "0.bias": np.ones(3, np.float32)}
RECIPE = {"epochs": 2, "lr": 0.125}


@pytest.fixture(autouse=True, scope="module")
def no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        yield


@pytest.fixture
def store(tmp_path):
    store = make_store(tmp_path / "run", recipe=RECIPE)
    commit_all(store, recipe=RECIPE, weights=WEIGHTS)
    return store


def flipped(content, rng):
    raw = bytearray(content)
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return bytes(raw)


def refusal(read):
    """Return how something is refused; nothing where it isn't."""
    try:
        read()
    except RunError as error:
        return str(error)
    return ""


# Reading while files come and go


def values(run):
    return {
        "trainings": run.trainings.astype(str).to_dict("list"),
        "epochs": run.epochs["accuracy"].tolist(),
        "predictions": run.predictions(epoch=None, split=None)["score_1"].tolist(),
        "scores": run.scores(epoch=1).tolist(),
    }


def test_a_run_that_is_merged_while_it_is_open_is_read_as_it_was(store):
    before = values(Run(store.path))
    run = Run(store.path)
    run.scores(epoch=1)  # it knows now in which files its predictions are
    store.compact()
    assert run.scores(epoch=1).tolist() == before["scores"]
    assert values(run) == before


def test_files_that_go_between_a_list_and_the_reading_are_looked_for_again(store, monkeypatch):
    before, real = values(Run(store.path)), rows.scan

    def outrun(*arguments):
        found = real(*arguments)
        monkeypatch.setattr(rows, "scan", real)
        store.compact()
        return found

    monkeypatch.setattr(rows, "scan", outrun)
    assert values(Run(store.path, skip_broken=True)) == before


def test_a_list_that_a_merged_file_came_behind_is_not_believed(store, monkeypatch):
    """The system gives names a few at a time: those that went are missing, the one that came is not there yet."""
    before, real = values(Run(store.path)), os.listdir

    def torn(folder):
        if not str(folder).endswith("trainings"):
            return real(folder)
        monkeypatch.setattr(os, "listdir", real)
        store.compact()
        return []

    monkeypatch.setattr(os, "listdir", torn)
    assert values(Run(store.path)) == before


def test_each_training_that_is_seen_has_its_epochs_while_the_run_grows(tmp_path, monkeypatch):
    store = make_store(tmp_path / "run", recipe=RECIPE)
    real = Reader._small
    waiting = list(NAMES)

    def growing(self, table):
        frame = real(self, table)
        if waiting:
            store.commit(make_result(waiting.pop(), recipe=RECIPE), LABELS)
        return frame

    monkeypatch.setattr(Reader, "_small", growing)
    for _ in NAMES:
        run = Run(store.path)
        assert set(run.epochs["network"]) == set(run.trainings["network"])


# What is missing


@pytest.mark.parametrize(("table", "ask"), [("epochs", "epochs"), ("predictions", "predictions")])
def test_what_a_training_should_have_and_has_not_is_said(store, table, ask):
    (store.path / table / f"h{NAMES[0]}-0.parquet").unlink()
    run = Run(store.path)
    with pytest.raises(RunError, match=rf"has no {table} of {NAMES[0]}.*netpick check"):
        _ = run.epochs if ask == "epochs" else run.predictions()


# Weights


def test_a_flipped_bit_in_weights_is_seen(store):
    path = weights_file(store.path, NAMES[0], 0)
    good, rng = path.read_bytes(), random.Random(0)
    for name, array in read_weights(path).items():
        assert np.array_equal(array, WEIGHTS[name])
    assert {name: array.tolist() for name, array in load_file(path).items()} == {
        name: array.tolist() for name, array in WEIGHTS.items()
    }
    for _ in range(300):
        path.write_bytes(flipped(good, rng))
        if not (said := refusal(lambda: read_weights(path))):
            assert all(np.array_equal(array, WEIGHTS[name]) for name, array in read_weights(path).items())
        assert str(path) in said or not said


def test_the_same_weights_are_the_same_bytes_in_every_process(store):
    """Those of a run that was stopped and went on are compared with those of one that wasn't."""
    path = weights_file(store.path, NAMES[0], 0)
    head = path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")]
    assert len(json.loads(head)["__metadata__"]) == 1  # safetensors writes several in an order that is drawn


def test_weights_of_another_training_are_refused(store):
    """Networks of the same shapes have weights that fit each other."""
    paths = [weights_file(store.path, name, 0) for name in NAMES[:2]]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"can't be read as weights .it holds those of another training"):
            read_weights(path)


def test_weights_of_before_have_no_checksum_and_are_read(tmp_path):
    save_file(WEIGHTS, tmp_path / "old.safetensors")
    assert set(read_weights(tmp_path / "old.safetensors")) == set(WEIGHTS)


# run.toml


def test_a_flipped_bit_in_the_manifest_is_refused_or_changes_nothing(store):
    path = store.path / "run.toml"
    good, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        path.write_bytes(flipped(good, rng))
        if said := refusal(lambda: Store.open(store.path)):
            refused += 1
        else:
            assert Store.open(store.path).manifest == store.manifest
        assert str(store.path) in said or not said
    assert refused > 200


def test_a_manifest_that_is_cut_off_is_refused(store):
    path = store.path / "run.toml"
    lines = path.read_text().splitlines(keepends=True)
    for number in range(len(lines)):
        path.write_text("".join(lines[:number]))
        with pytest.raises(RunError):
            Store.open(store.path)


def test_a_manifest_that_was_changed_by_hand_wants_its_first_line_removed(store):
    path = store.path / "run.toml"
    path.write_text(path.read_text().replace("lr = 0.125", "lr = 0.25"))
    with pytest.raises(RunError, match=r"not as it was written .*where you changed it yourself, remove that line"):
        Store.open(store.path)
    path.write_text(path.read_text().partition("\n")[2])
    assert Store.open(store.path).manifest["recipe"]["lr"] == 0.25
