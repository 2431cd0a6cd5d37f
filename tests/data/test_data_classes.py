"""Some classes of a data set: which samples are kept, how they are numbered, and that a whole run keeps to it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from template_cells import BASIC

from netpick import Run, data
from netpick.cli.app import main
from netpick.core.errors import DataError, RunError, TemplateError
from netpick.data.request import DataRequest, chosen_classes
from netpick.data.samples import Split
from netpick.exam.exports import export
from netpick.exam.network_card import card
from netpick.networks.catalogue import template
from netpick.sessions import Options, train_run
from netpick.sessions.generate import generate_run

TEMPLATE = f"""
title = "Threes and sevens"
dataset = "digits"
classes = [7, 3]

[recipe]
epochs = 1
batch_size = 50

{BASIC}
[[cells]]
kind = "sampled"
computation = "Conv2d"
count = {{ ReLU = 2 }}
channels = [1, 4]
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TEMPLATE)
    return str(path)


def test_only_these_classes_are_kept_and_numbered_anew_in_the_order_given():
    whole = data.load(DataRequest("digits", "", seed=5))
    some = data.load(DataRequest("digits", "", seed=5, classes=(7, 3)))
    assert some.classes == ("7", "3")
    for part in ("train", "test"):
        before, after = whole.split(part), some.split(part)
        wanted = [i for i, label in enumerate(before.labels) if label in (7, 3)]  # in the order of the files
        np.testing.assert_array_equal(after.pixels, before.pixels[wanted])
        np.testing.assert_array_equal(after.index, before.index[wanted])
        assert list(after.labels) == [{7: 0, 3: 1}[int(before.labels[i])] for i in wanted]
        assert after.pixel_max == before.pixel_max
    # Mean and deviation are those of the training images that are left.
    pixels = some.split("train").pixels / 16
    assert some.mean == (pytest.approx(pixels.mean()),)
    assert some.std == (pytest.approx(pixels.std()),)


def test_names_stand_for_the_same_classes_as_labels():
    by_label = DataRequest("fashion-mnist", "", classes=(0, 7))
    by_name = DataRequest("fashion-mnist", "", classes=("T-shirt/top", "Sneaker"))
    mixed = DataRequest("fashion-mnist", "", classes=("T-shirt/top", 7))
    for request in (by_label, by_name, mixed):
        assert data.describe(request).classes == ("T-shirt/top", "Sneaker")
        entry = data.manifest_entry(request, data.describe(request))
        assert entry == {"classes": ["T-shirt/top", "Sneaker"]}
    assert data.manifest_entry(DataRequest("fashion-mnist", ""), data.describe("fashion-mnist")) is None


def test_subsets_are_taken_of_the_classes_that_are_kept():
    dataset = data.load(DataRequest("digits", "", validation=0.25, train_samples=100, classes=(1, 4, 8)))
    assert set(dataset.splits) == {"train", "validation", "test"}
    assert len(dataset.split("train")) == 100
    for split in dataset.splits.values():
        assert set(split.labels) == {0, 1, 2}
    rows = list(data.sample_rows(dataset, ["test"]))
    assert {(row["label"], row["class_name"]) for row in rows} == {(0, "1"), (1, "4"), (2, "8")}


@given(st.permutations(range(6)), st.integers(2, 6), st.lists(st.integers(0, 5), max_size=40))
def test_numbering_anew(order, count, labels):
    given = np.array(labels, np.int64)
    split = Split(np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1), given, np.arange(len(labels)))
    kept = order[:count]
    only = split.only(kept)
    assert [kept[label] for label in only.labels] == [label for label in labels if label in kept]
    assert [labels[i] for i in only.index] == [kept[label] for label in only.labels]
    assert list(only.pixels.ravel()) == list(only.index)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ((3, 10), "'fashion-mnist' has no label 10: give labels from 0 to 9"),
        ((-1, 3), "has no label -1"),
        (("Sneeker", "Bag"), "has no class 'Sneeker' (did you mean 'Sneaker'?)"),
        (("Sneaker", "Sofa"), "has no class 'Sofa': give some of T-shirt/top, Trouser"),
        ((3, 3), "label 3 ('Dress') is given twice"),
        ((3, "Dress"), "label 3 ('Dress') is given twice"),
        ((3,), "only 'Dress' of 'fashion-mnist' is wanted: give two or more"),
        ((), "none of 'fashion-mnist' is wanted: give two or more"),
    ],
)
def test_what_cannot_be_chosen(classes, says):
    with pytest.raises(DataError) as caught:
        DataRequest("fashion-mnist", "", classes=classes)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(DataError):
        chosen_classes(classes, data.describe("fashion-mnist").classes, "fashion-mnist")


def test_chosen_classes_that_leave_no_test_images_are_refused(tmp_path):
    images = np.zeros((9, 4, 4), np.uint8)
    file = tmp_path / "own.npz"
    np.savez(
        file, x_train=images[:6], y_train=[0, 1, 2, 0, 1, 2], x_test=images[6:], y_test=[2, 2, 2],
        classes=["boot", "bag", "hat"],
    )  # fmt: skip
    kept = data.load(DataRequest(f"npz:{file}", "", classes=("boot", "hat")))
    assert (kept.classes, len(kept.split("test"))) == (("boot", "hat"), 3)
    with pytest.raises(DataError) as caught:
        data.load(DataRequest(f"npz:{file}", "", classes=("boot", "bag")))
    assert f"data set 'npz:{file}' has no test images of the classes boot, bag: add some" == str(caught.value)


@pytest.mark.parametrize("value", ["3", "[true, false]", "[3.5, 7]", "[[3], [7]]", "[3"])
def test_a_template_wants_a_list_of_labels_or_names(tiny, value):
    with pytest.raises(TemplateError, match="classes"):
        template.load(tiny, [f"classes={value}"])


def test_a_run_of_some_classes_keeps_to_them(tiny):
    made = generate_run(tiny)
    manifest = made.store.manifest
    assert (manifest["classes"], manifest["data"]) == (["7", "3"], {"classes": ["7", "3"]})
    assert all(one.layers[-2].resolved.get("out_features", 2) == 2 for one in made.networks)
    train_run("runs/tiny", Options(device="cpu", workers=1))
    run = Run("runs/tiny")
    assert list(run.trainings["status"]) == ["done"] * 3
    assert run.scores().shape[2] == 2
    samples = run.samples
    assert set(zip(samples["label"], samples["class_name"], strict=True)) == {(0, "7"), (1, "3")}
    from sklearn.datasets import load_digits

    target = load_digits().target
    assert [target[i] for i in samples["index"]] == [int(name) for name in samples["class_name"]]
    assert list(card(run, "Basic").classes["class"]) == ["7", "3"]
    written = export(run, "Basic", "net.py").source.read_text()
    assert 'CLASSES = ["7", "3"]' in written
    assert {"accuracy_0", "accuracy_1", "auc_1"} <= set(pd.read_parquet("runs/tiny/epochs").columns)
    assert generate_run(tiny).unchanged
    assert generate_run(tiny, overrides=['classes=["7", 3]']).unchanged  # the same classes in other words


def test_other_classes_are_another_run(tiny):
    generate_run(tiny, "here")
    for other in ("[3, 7]", "[7, 3, 1]", "[7, 4]"):
        with pytest.raises(RunError, match="here is a run already, with another set of classes"):
            generate_run(tiny, "here", overrides=[f"classes={other}"])


def test_the_command_line_sets_classes_and_refuses_in_one_line(tiny, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["generate", tiny, "--set", "classes=[3, 11]"])
    assert caught.value.code == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "no label 11" in said
    assert not Path("runs").exists()
    with pytest.raises(SystemExit) as caught:
        main(["generate", tiny, "--set", "classes=[0, 1, 2]", "--run", "three"])
    assert caught.value.code == 0
    assert Run("three").classes == ["0", "1", "2"]


def test_real_threes_and_sevens():
    root = os.environ.get("NETPICK_DATA")
    if not root or not Path(root, "MNIST/raw").is_dir():
        pytest.skip("NETPICK_DATA is not set, or holds no MNIST")
    dataset = data.load(DataRequest("mnist", root, classes=(3, 7)))
    train, test = dataset.split("train"), dataset.split("test")
    assert (len(train), len(test)) == (12396, 2038)
    assert list(np.bincount(train.labels)) == [6131, 6265]
    assert list(np.bincount(test.labels)) == [1010, 1028]
    assert list(test.index[:2]) == [0, 17]  # the first seven of the test set, and the next


def test_class_after_class_and_in_each_by_name():
    request = DataRequest("digits", "", seed=5, classes=(7, 3), validation=0.2, train_samples=100)
    usual, sorted_ = data.load(request), data.load(replace(request, by_class=True))
    one, two = (part.split("train") for part in (usual, sorted_))
    rows = sorted(
        (int(label), str(index), pixels.tobytes())
        for label, index, pixels in zip(one.labels, one.index, one.pixels, strict=True)
    )
    assert [(int(label), str(index)) for label, index in zip(two.labels, two.index, strict=True)] == [
        r[:2] for r in rows
    ]
    assert [pixels.tobytes() for pixels in two.pixels] == [row[2] for row in rows]
    assert [index for _, index, _ in rows] != sorted((row[1] for row in rows), key=int)
    for part in ("test", "validation"):
        np.testing.assert_array_equal(usual.split(part).pixels, sorted_.split(part).pixels)
