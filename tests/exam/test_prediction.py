"""What a network says of an image: from what the run keeps, held against the exported network on the same pixels."""

from __future__ import annotations

import importlib.util
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from netpick import Run
from netpick.core.errors import NetpickError, RunError
from netpick.exam.exports import export
from netpick.sessions import Options, train_run
from netpick.sessions.generate import generate_run

TEMPLATE = """
title = "t"
dataset = "digits"
[recipe]
epochs = 1
[[cells]]
kind = "sampled"
computation = "Conv2dThenLinear"
count = { ReLU = 2 }
max_macs = 20_000
[[cells]]
kind = "explicit"
name = "Mean"
layers = [{ op = "baseline:nearest_mean" }]
"""


def trained(folder, **options):
    (folder / "t.toml").write_text(TEMPLATE)
    generate_run(str(folder / "t.toml"), folder / "run")
    train_run(folder / "run", Options(device="cpu", workers=1, estimate=False, **options))
    return Run(folder / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("predict"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("bare"), scores="none", weights="none")


@pytest.fixture
def name(run):
    return run.networks["name"].iloc[1]


@pytest.fixture
def without_scores(run, tmp_path):
    """The same run, of which no predictions can be read."""
    shutil.copytree(run.path, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy/predictions")
    (tmp_path / "copy/predictions").mkdir()
    return Run(tmp_path / "copy")


def by_class(run, said):
    return said.table.set_index("class")["probability"].reindex(run.classes).to_numpy()


def exported(run, name, folder, pixels):
    """Probabilities by the exported source: normalised by hand from the run's own mean and deviation."""
    export(run, name, folder / "net.py")
    spec = importlib.util.spec_from_file_location("net", folder / "net.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = next(
        v for v in vars(module).values() if isinstance(v, type) and hasattr(v, "forward") and "Conv" in v.__name__
    )()
    from safetensors.torch import load_file

    model.layers.load_state_dict(load_file(folder / f"{name}.safetensors"))
    (mean,), (std,) = run.manifest["input"]["mean"], run.manifest["input"]["std"]
    given = torch.tensor((pixels / 255 - mean) / std, dtype=torch.float32)[None, None]
    with torch.no_grad():
        return model.eval()(given).exp()[0].numpy()


def test_of_a_sample_it_is_what_the_network_answered(run, name):
    said = run.predict(name, 7)
    wanted = np.exp(run.scores(networks=name)[0, 7])
    assert by_class(run, said) == pytest.approx(wanted)
    assert said.table["probability"].is_monotonic_decreasing
    assert np.array_equal(said.image, run.image(7))
    label, first = run.classes[run.labels()[7]], run.classes[int(wanted.argmax())]
    assert f"{name} takes sample 7 for {first}" in said.text
    assert ("which is right" in said.text) == (label == first)
    assert said.note == ""


def test_where_scores_were_not_kept_the_weights_say_it(run, name, without_scores):
    said = without_scores.predict(name, 7)
    assert by_class(run, said) == pytest.approx(by_class(run, run.predict(name, 7)), abs=0.02)  # 17 shades as 256
    assert "No scores were kept" in said.note


def test_the_file_of_an_image_is_brought_to_the_form_of_the_run(run, name, tmp_path):
    picture = np.kron(run.image(3), np.ones((4, 4), np.uint8))
    Image.fromarray(np.stack([picture] * 3, axis=2)).save(tmp_path / "three.png")
    said = run.predict(name, tmp_path / "three.png")
    assert said.image.shape == (8, 8)
    assert by_class(run, said) == pytest.approx(exported(run, name, tmp_path, said.image), abs=1e-5)
    assert np.corrcoef(said.image.ravel(), run.image(3).ravel())[0, 1] > 0.95  # scaled down again, by a filter
    assert "three.png, 32×32 (RGB), was brought to 8×8 in grey, its pixels to 0 to 1, less 0.30" in said.note
    Image.fromarray(run.image(3)).save(tmp_path / "same.png")
    same = run.predict(name, str(tmp_path / "same.png"))
    assert np.array_equal(same.image, run.image(3))
    assert by_class(run, same) == pytest.approx(by_class(run, run.predict(name, 3)), abs=0.02)


def test_it_has_a_figure(run, name, tmp_path):
    assert run.predict(name, 0).save(tmp_path / "one.svg").stat().st_size > 1000


def test_what_cannot_be_said_is_refused_in_one_line(run, bare, name, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    Image.new("L", (8, 8)).save(tmp_path / "a.gif")
    (tmp_path / "b.png").write_text("no image")
    for of, network, what, message in (
        (run, "Basicc", 0, "no network 'Basicc'"),
        (run, name, 10**6, "no sample 1000000 in the test split"),
        (run, name, tmp_path / "b.png", "not an image that Pillow knows"),
        (run, name, tmp_path / "a.gif", "not an image that Pillow knows"),
        (run, name, "nowhere.png", "nowhere.png: No such file"),
        (run, "Mean", tmp_path / "a.png", "Mean is a baseline"),
        (bare, name, 0, "--scores"),
        (bare, name, tmp_path / "a.png", "--weights last"),
    ):
        with pytest.raises(NetpickError) as caught:
            of.predict(network, what)
        assert message in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_weights_of_another_network_or_of_none_are_refused(run, name, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    copy = Run(tmp_path / "copy")
    weights = tmp_path / f"copy/weights/{name}-0.safetensors"
    other = next(file for file in weights.parent.glob("Conv*") if file != weights)
    for content in (other.read_bytes(), b"nothing"):
        weights.unlink()  # in the copy, not what it may share with the run
        weights.write_bytes(content)
        with pytest.raises(RunError, match="no file with this network's weights"):
            copy.predict(name, tmp_path / "a.png")


def test_code_of_a_run_runs_only_where_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self):\n"
    (tmp_path / "predicted.py").write_text(source + "        super().__init__(nn.Flatten(), nn.Linear(64, 10))\n")
    generate_run(None, tmp_path / "run", "digits", overrides=["recipe.epochs=1"], modules=["predicted"])
    train_run(tmp_path / "run", Options(device="cpu", workers=1, estimate=False, modules=["predicted"]))
    run = Run(tmp_path / "run")
    assert run.predict("Net", 0).table["probability"].sum() == pytest.approx(1)  # nothing is run
    Image.fromarray(run.image(0)).save(tmp_path / "a.png")
    with pytest.raises(RunError, match="--module predicted"):
        run.predict("Net", "a.png")
    wanted = by_class(run, run.predict("Net", 0))
    for modules in (["predicted"], None):
        assert by_class(run, run.predict("Net", "a.png", modules=modules)) == pytest.approx(wanted, abs=0.02)
