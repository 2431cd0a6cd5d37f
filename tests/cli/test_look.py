from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from netpick.cli.screen import blocks


@pytest.fixture
def run(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["--limit", "3", "--set", "recipe.epochs=1", "--set", "recipe.train_samples=200"]
    assert call("generate", "smoke", "--dataset", "digits", "--run", "runs/a", *small)[0] == 0
    assert call("train", "runs/a", "--device", "cpu", "--workers", "1", "--no-estimate")[0] == 0
    return tmp_path / "runs/a"


def test_look_at_a_data_set_and_predict(call, run, tmp_path):
    code, out, _ = call("look", "digits", "--format", "json")
    rows = json.loads(out)
    assert code == 0
    assert sum(row["train"] + row["test"] for row in rows) == len(load_digits().target)
    code, out, _ = call("look", "runs/a", "--plot", "look.svg")
    assert code == 0
    assert "digits: 200 train, 360 test images, each 8×8 and grey, in 10 classes." in " ".join(out.split())
    assert (tmp_path / "look.svg").is_file()
    code, out, _ = call("predict", "runs/a", "Basic", "4", "--plot", "four.png")
    assert code == 0
    assert "█" in out
    assert "Basic takes sample 4 for" in out
    assert (tmp_path / "four.png").is_file()
    Image.new("RGB", (20, 10), "white").save("white.png")
    code, out, _ = call("predict", "Basic", "white.png", "--format", "csv")  # of the newest run
    assert code == 0
    assert len(out.split("class,probability\n")[1].splitlines()) == 10
    code, out, error = call("look", "runs/a", "--image-size", "9")
    assert (code, error.count("\n")) == (2, 1)
    for words, said in (
        (["predict", "runs/a", "Basic"], "no network 'runs/a'"),
        (["predict", "Basic"], "predict wants a network, and a sample or an image, got Basic: netpick predict"),
        (["predict", "runs/a", "Basic", "3", "--trust", "runs/b"], "--trust: wants the run itself"),
        (["look", "digit"], "unknown data set 'digit' (did you mean 'digits'?)"),
        (["look", "runs/none"], "runs/none"),
    ):
        code, out, error = call(*words)
        assert code == 2
        assert said in error


def test_a_picture_of_blocks():
    image = np.array([[0, 60, 110], [160, 255, 0]], np.uint8)
    assert blocks(image) == "  ░░▒▒\n▓▓██  "
    assert blocks(np.repeat(image[:, :, None], 3, axis=2)) == blocks(image)
    large = blocks(np.full((100, 300), 255, np.uint8)).splitlines()
    assert len(large) == 13
    assert {len(line) for line in large} == {76}
