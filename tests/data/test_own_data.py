"""Data of one's own, from the command line to a pick: as the documentation tells a user with images."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from own_images import grey, rgb, write_flat, write_folder, write_image
from template_cells import BASIC

from netpick import Run, data
from netpick.cli.app import main
from netpick.core.errors import DataError, RunError
from netpick.data import DataRequest
from netpick.exam import questions
from netpick.report.page import FOUND
from netpick.sessions import Listener, Options, train_run
from netpick.sessions.generate import generate_run
from netpick.sessions.workers import pool
from netpick.store.folder import Store

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "images.md"

TEMPLATE = f"""
title = "Mine"
dataset = "folder:shoes"

[recipe]
epochs = 1
batch_size = 4

{BASIC}
[[cells]]
kind = "sampled"
computation = "Conv2d"
count = 1
depth = 2
channels = 2
"""


class Recorder(Listener):
    def __init__(self):
        self.heard = []

    def progress(self, text, done, total):
        self.heard.append((text, done, total))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETPICK_DATA", raising=False)
    (tmp_path / "mine.toml").write_text(TEMPLATE)
    write_folder(tmp_path / "shoes")
    return tmp_path


def run_main(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return caught.value.code


def train(run="runs/mine", recorder=None, **options):
    return train_run(run, Options(device="cpu", workers=1, **options), recorder)


def test_a_run_of_a_folder_knows_where_and_how(here):
    generate_run("mine.toml", overrides=["image_size=[4, 7]", 'color="rgb"'])
    manifest = Store.open("runs/mine").manifest
    assert (manifest["dataset"], manifest["shape"], manifest["classes"]) == ("folder:shoes", [3, 4, 7], ["bag", "boot"])
    assert manifest["data"] == {
        "path": str(here / "shoes"),
        "image_size": [4, 7],
        "color": "rgb",
        "skip_unreadable": False,
    }
    asked = data.request_of(manifest, "")
    assert (asked.name, asked.image_size, asked.color) == (f"folder:{here / 'shoes'}", (4, 7), "rgb")
    assert generate_run("mine.toml", overrides=["image_size=[4, 7]", 'color="rgb"']).unchanged
    again = generate_run("mine.toml", "runs/mine", f"folder:{here}/shoes", overrides=["image_size=[4, 7]", "color=rgb"])
    assert again.unchanged  # the same folder in other words
    for other in ([], ["image_size=[4, 7]"]):
        with pytest.raises(RunError, match="a run already, with another image size or colour"):
            generate_run("mine.toml", overrides=other)


def test_images_are_decoded_once_for_all_runs_beside_each_other(here):
    generate_run("mine.toml")
    generate_run("mine.toml", "runs/other", seed=3)
    first, second = Recorder(), Recorder()
    train(recorder=first)
    train("runs/other", second)
    assert (first.heard, second.heard) == ([("decoding images", 18, 18)], [])
    assert "left_out" not in Run("runs/mine").manifest["input"]  # nothing may be left out, unless it is asked for
    assert (here / "runs/.decoded").is_dir()
    run = Run("runs/mine")
    assert list(run.trainings["status"]) == ["done", "done"]
    assert list(run.samples["class_name"]) == ["bag"] * 3 + ["boot"] * 3
    np.testing.assert_array_equal(run.image(4), grey(101))  # test/boot/1.png
    known = run.manifest["input"]
    pixels = np.concatenate([grey(i) for i in (*range(1000, 1006), *range(6))]) / 255
    assert known["mean"] == [pytest.approx(pixels.mean())]


def test_a_changed_folder_is_not_mixed_with_results_of_the_old_one(here, monkeypatch):
    monkeypatch.setattr(pool, "TOGETHER", 1)  # a training's file is its own
    generate_run("mine.toml", overrides=["recipe.replicates=2"])
    train(compact=False)
    digest = Store.open("runs/mine").manifest["input"]["digest"]
    store = Store.open("runs/mine")
    with store.lock():  # as if one training had not been done yet
        next(iter(store.path.glob("trainings/*.parquet"))).unlink()
        store.recover()
    assert len(store.finished()) == 3
    write_image(here / "shoes/train/bag/0.png", grey(999))
    with pytest.raises((DataError, RunError), match="has changed since runs/mine was begun") as caught:
        train()
    assert "\n" not in str(caught.value)
    assert Store.open("runs/mine").manifest["input"]["digest"] == digest


def test_a_folder_may_change_before_there_are_results(here):
    generate_run("mine.toml", overrides=["recipe.timeout=1e-9"])
    train()
    before = Store.open("runs/mine").manifest["input"]["digest"]
    store = Store.open("runs/mine")
    with store.lock():
        store.forget({"timeout"})
    write_image(here / "shoes/test/boot/1.png", grey(7))
    train(overrides=["recipe.timeout=60"])
    run = Run("runs/mine")
    assert run.manifest["input"]["digest"] != before
    np.testing.assert_array_equal(run.image(4), grey(7))


def test_a_folder_that_was_moved_is_found_in_the_data_directory(here):
    generate_run("mine.toml")
    (here / "attic").mkdir()
    shutil.move("shoes", "attic/shoes")
    with pytest.raises(DataError, match=r"'folder:shoes' is not there: looked for .*/shoes, .*--data-dir"):
        train()
    train(data_dir="attic")
    assert len(Run("runs/mine").trainings) == 2


def test_another_shape_or_other_classes_than_the_run_was_made_for(here):
    generate_run("mine.toml")
    for path in (here / "shoes").rglob("*.png"):
        write_image(path, grey(3, 9, 9))
    with pytest.raises(DataError, match=r"images of \[1, 9, 9\], the run was made for \[1, 6, 5\]"):
        train()
    shutil.rmtree("shoes")
    write_folder(here / "shoes", ("bag", "clog"))
    with pytest.raises(DataError, match="classes bag, clog, the run was made for bag, boot"):
        train()


def test_the_command_line_takes_sizes_colours_and_skips(here, capsys):
    write_image(here / "shoes/train/bag/9.png", rgb(9, 12, 12))
    (here / "shoes/train/bag/bad.png").write_bytes(b"bad")
    line = ["generate", "mine.toml", "--dataset", "folder:shoes"]
    for options, says in (
        ([], "1 of 20 images can't be read: train/bag/bad.png"),
        (["--skip-unreadable"], "images of 2 sizes"),
        (["--skip-unreadable", "--image-size", "8"], "grey and coloured images"),
        (["--skip-unreadable", "--image-size", "8", "--color", "gray"], "color: expected one of auto, grey, rgb"),
        (["--image-size", "eight"], "--image-size: got 'eight', wanted a number of pixels, 28, or height and width"),
        (["--image-size", "0"], "image_size"),
        (["--dataset", "folder:nowhere"], "data set 'folder:nowhere' is not there"),
        (["--dataset", "digits", "--color", "rgb"], "are for folder:PATH, the data set is 'digits'"),
    ):
        assert run_main(*line, *options) == 2
        said = capsys.readouterr().err.strip()
        assert says in said
        assert "\n" not in said
    assert not Path("runs").exists()
    assert run_main(*line, "--skip-unreadable", "--image-size", "8x6", "--color", "rgb") == 0
    assert Store.open("runs/mine").manifest["shape"] == [3, 8, 6]
    capsys.readouterr()
    assert run_main("train", "--device", "cpu", "--workers", "1") == 0
    assert "left out 1 images that can't be read, train/bag/bad.png first" in capsys.readouterr().out
    assert Run("runs/mine").manifest["input"]["left_out"] == 1


def test_a_run_of_arrays(here):
    images = np.random.default_rng(0).normal(size=(40, 3, 9, 6))
    labels = np.arange(40) % 2
    np.savez(here / "a.npz", x_train=images, y_train=labels, classes=["cat", "dog"])
    generate_run("mine.toml", dataset="npz:a.npz")
    manifest = Store.open("runs/mine-a").manifest
    assert (manifest["shape"], manifest["classes"]) == ([3, 9, 6], ["cat", "dog"])
    assert manifest["data"] == {"path": str(here / "a.npz")}
    train("runs/mine-a")
    run = Run("runs/mine-a")
    assert list(run.trainings["status"]) == ["done", "done"]
    test = data.load(DataRequest("npz:a.npz", "")).split("test")
    assert list(run.samples["index"]) == list(test.index)
    assert run.image(0).shape == (9, 6, 3)
    channel = images[..., 0, 0, 0]
    assert run.image(0)[0, 0, 0] == pytest.approx(255 * (channel[test.index[0]] - images.min()) / np.ptp(images), abs=1)


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not installed")
def test_the_commands_of_the_page_take_a_folder_of_images_to_a_pick(tmp_path, monkeypatch, capsys):
    section = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line.partition("  #")[0]) for line in block.splitlines() if line]
    monkeypatch.chdir(tmp_path)
    few = {name: questions.find(name) for name in ("mistakes", *FOUND)}  # others test all of them
    monkeypatch.setattr(questions, "questions", lambda: few)
    write_flat(tmp_path / "shoes", {"Ankle boot": 24, "Sneaker": 24, "Sandal, with a very long name": 24}, make=rgb)
    assert [words[1] for words in commands] == ["generate", "train", "pick", "show", "report"]
    for _, *words in commands:
        if words[0] == "generate":
            words += ["--limit", "3", "--set", "recipe.epochs=1"]  # a small one will do
        if words[0] == "train":
            words += ["--workers", "1", "--device", "cpu"]
        assert run_main(*words) == 0, capsys.readouterr().err
        said = capsys.readouterr()
        assert not said.err
        if words[0] == "pick":
            assert re.search(r"Basic|Linear", said.out)
        if words[0] == "show":
            assert "Ankle boot" in said.out
    pages = list(tmp_path.rglob("report.html"))
    assert len(pages) == 1
    assert "Sandal, with a very long name" in pages[0].read_text()
