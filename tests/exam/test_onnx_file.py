"""Networks as ONNX files: they answer as the run says, or there is no file; and what 8 bits change is said."""

import builtins
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import torch
from test_export import CLASSES, IMAGE, NETWORKS, images, make_run, make_specs  # noqa: F401  images is a fixture

from netpick import Run
from netpick.core.errors import NetpickError, RunError, WorkError
from netpick.core.metrics import evaluate
from netpick.core.pixels import Pixels
from netpick.core.result import EpochResult, TrainingResult
from netpick.exam.device.onnx_file import export_onnx
from netpick.networks.paper.spec import NetworkSpec, layer, sizes
from netpick.store.folder import Store

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxruntime.quantization")

SCALING = {"mean": [0.25], "std": [0.5]}


def never(calibration):
    raise AssertionError("the data set is not to be read before all else was checked")


@pytest.fixture(scope="module")
def run(tmp_path_factory, images):  # noqa: F811
    return make_run(tmp_path_factory.mktemp("onnx") / "run", images, input=SCALING)


@pytest.fixture(scope="module")
def read(images):  # noqa: F811
    """The data set: stored scores are of images that were normalised already."""
    pixels = images.numpy() * 0.5 + 0.25
    return lambda calibration: Pixels({"test": pixels}, pixels[:calibration], "as the test has them")


def answers(path, pixels):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(path, options).run(["scores"], {"image": pixels})[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_gives_the_stored_scores_and_says_what_it_is(run, read, name, tmp_path):
    made = export_onnx(run, name, tmp_path / "net.onnx", read)
    stored, got = run.scores(networks=name)[0], answers(made.path, read(0).splits["test"])
    np.testing.assert_allclose(got, stored, atol=1e-4)
    largest = float(re.search(r"differ by at most (\S+)\.$", made.text).group(1))
    assert np.abs(got - stored).max() == pytest.approx(largest, rel=0.1, abs=1e-6)
    said = {entry.key: entry.value for entry in onnx.load(made.path).metadata_props}
    assert json.loads(said["classes"]) == CLASSES
    assert (said["network"], said["run"], said["precision"]) == (name, "run", "fp32")
    assert said["hash"] == next(spec.hash for spec in make_specs() if spec.name == name)
    assert said["input"] == f"float32 (N, {', '.join(map(str, IMAGE))}): as the test has them"
    assert list(tmp_path.iterdir()) == [made.path]


def test_8_bits_say_what_they_change(run, read, tmp_path):
    pixels, labels = read(0).splits["test"], run.labels()
    for name in ("Basic", "ResNetStylePlain", "Skips", "Arguments"):
        made = export_onnx(run, name, tmp_path / "net.onnx", read, True, tmp_path / "changed.csv", overwrite=True)
        before, after = run.predicted(networks=name)[0], answers(made.path, pixels).argmax(axis=1)
        rows, found = np.flatnonzero(before != after), pd.read_csv(made.changed)
        assert found["sample"].tolist() == rows.tolist()
        assert found["after"].tolist() == [CLASSES[c] for c in after[rows]]
        assert found["right_before"].tolist() == (before == labels)[rows].tolist()
        right = 100 * (after == labels).mean()
        assert f"In 8 bits it is right on {right:g} % of them" in " ".join(made.text.split())
        assert f"{len(rows)} sample{'' if len(rows) == 1 else 's'} changed: " in made.text
        model = onnx.load(made.path)
        weights = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
        assert any(c.dtype == np.int8 and c.ndim > 1 for c in weights.values())
        assert any("scale" in key and c.shape not in ((), (1,)) for key, c in weights.items())  # one a channel
        assert {entry.key: entry.value for entry in model.metadata_props}["precision"] == "int8"


def test_8_bits_leave_few_ties(tmp_path):
    """Among the 256 values of a sum of 8 bits many are equal; the last sums are not rounded to them."""
    pixels = np.random.default_rng(0).random((400, *IMAGE), np.float32)
    named = run_of(tmp_path / "run", pixels, np.zeros(3))
    made = export_onnx(named, "Flat", tmp_path / "net.onnx", lambda n: Pixels({"test": pixels}, pixels[:n], ""), True)
    scores = answers(made.path, pixels)
    assert len(np.unique(scores[:, 0] - scores[:, 2])) > 350


def run_of(folder, pixels, shift, weights_shift=0.0):
    """A run of one linear network; the biases that are kept may be others than those that its scores come from."""
    spec = NetworkSpec("Flat", "Linear", "None", (
        layer("Flatten"), layer("Linear", in_features=64, out_features=3), layer("LogSoftmax"),
    ))  # fmt: skip
    size = sizes(spec.layers, IMAGE)
    store = Store.create(
        folder, {"classes": CLASSES, "shape": list(IMAGE), "dataset": "shapes", "recipe": {"normalize": "unit"}},
        [{"name": "Flat", "hash": spec.hash, "computation": "Linear", "activation": "None",
          "layers": spec.layers_json(), "params": size.params, "memory": 1, "ops": 1, "depth": 1, "macs": size.macs,
          "thop_macs": None}],
    )  # fmt: skip
    labels = np.arange(len(pixels)) % 3
    store.write_samples(
        {"split": "test", "sample": i, "index": i, "label": int(c), "class_name": CLASSES[c], "image": b""}
        for i, c in enumerate(labels)
    )
    matrix = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    matrix[1] = matrix[0]  # so that these two classes are told apart by their biases alone
    scores = torch.log_softmax(torch.from_numpy(pixels.reshape(-1, 64) @ matrix.T + shift), 1).numpy()
    weights = {"1.weight": matrix, "1.bias": (np.asarray(shift) + weights_shift).astype(np.float32)}
    epochs = (EpochResult(1, 1.0, 1.0, None, (evaluate("test", scores, labels, 0.1),)),)
    now = datetime(2024, 1, 1, tzinfo=UTC)
    result = TrainingResult(
        "Flat", spec.hash, 0, "done", 0, "cpu", "fp32/eager", now, 1.0, epochs=epochs, weights=weights
    )
    store.commit(result, {"test": labels})
    return Run(folder)


def test_ties_may_change_places_and_answers_may_not(tmp_path):
    pixels = np.random.default_rng(0).random((30, *IMAGE), np.float32)
    shift = np.array([0, 1e-5, 0])
    tied = run_of(tmp_path / "tied", pixels, shift, [2e-5, 0, 0])
    tie = (tied.predicted()[0] == 1).sum()
    assert tie > 5
    made = export_onnx(tied, "Flat", tmp_path / "tied.onnx", lambda n: Pixels({"test": pixels}, pixels, ""))
    assert f"; {tie} ties between two classes went the other way." in made.text
    other = run_of(tmp_path / "other", pixels, shift, [0.1, 0, 0])
    with pytest.raises(
        WorkError, match=rf"answers {tie} of 30 test samples otherwise .* nothing was written"
    ) as caught:
        export_onnx(other, "Flat", tmp_path / "other.onnx", lambda n: Pixels({"test": pixels}, pixels, ""))
    assert caught.value.exit_code == 1
    assert not (tmp_path / "other.onnx").exists()


def test_what_cant_be_written_is_said_before_anything_is_read(run, images, tmp_path, monkeypatch):  # noqa: F811
    out = tmp_path / "net.onnx"
    with pytest.raises(NetpickError, match=r"no network 'basic' .did you mean 'Basic'"):
        export_onnx(run, "basic", out, never)
    with pytest.raises(NetpickError, match=r"does not end in \.onnx"):
        export_onnx(run, "Basic", tmp_path / "net.on", never)
    with pytest.raises(NetpickError, match=r"--changed .*goes with --int8"):
        export_onnx(run, "Basic", out, never, changed=tmp_path / "a.csv")
    with pytest.raises(NetpickError, match=r"--changed .*ends in \.csv"):
        export_onnx(run, "Basic", out, never, True, tmp_path / "a.txt")
    out.write_text("mine")
    with pytest.raises(NetpickError, match=r"net\.onnx is there already"):
        export_onnx(run, "Basic", out, never)
    assert out.read_text() == "mine"
    out.unlink()
    bare = make_run(tmp_path / "bare", images, keep_weights=False, only=["Basic"], input=SCALING)
    with pytest.raises(RunError, match="Basic can't be an ONNX file: its weights were not kept: train with `--weights"):
        export_onnx(bare, "Basic", out, never)
    for layers, why in (
        ([layer("baseline:nearest_mean", num_classes=3)], "baseline:nearest_mean has no layers that could be run"),
        ([layer("torchvision:resnet18", in_channels=1, num_classes=3), layer("LogSoftmax", dim=1)],
         r"torchvision:resnet18 has no layers .* --to FILE\.py writes it for PyTorch"),
        ([layer("Module", of="a:B", gives="logits", source="", path="", num_classes=3), layer("LogSoftmax", dim=1)],
         r"Module has no layers .* --to FILE\.py writes it for PyTorch"),
    ):  # fmt: skip
        other = Run(bare.path)
        other.networks["layers"] = NetworkSpec("Basic", "x", "y", tuple(layers)).layers_json()
        with pytest.raises(RunError, match=why):
            export_onnx(other, "Basic", out, never)
    failed = Run(bare.path)
    failed.trainings["status"] = ["diverged"]
    with pytest.raises(RunError, match=r"can't be an ONNX file: (its training ended as diverged|.* no finished)"):
        export_onnx(failed, "Basic", out, never)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "imported", True)
        with pytest.raises(RunError, match="has imported answers, and no networks"):
            export_onnx(Run(bare.path), "Basic", out, never)
    theirs = builtins.__import__

    def missing(name, *more):
        if name == "onnxruntime":
            raise ImportError("No module named 'onnxruntime'")
        return theirs(name, *more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(NetpickError, match=r"want the packages onnx and onnxruntime .* pip install 'netpick\[onnx\]'"):
        export_onnx(run, "Basic", out, never)
    assert not out.exists()


def test_without_kept_scores_the_answers_are_checked(run, read, tmp_path, monkeypatch):
    def refuse(*names, **more):
        raise RunError("scores were not kept")

    bare = Run(run.path)
    monkeypatch.setattr(bare, "scores", refuse)
    made = export_onnx(bare, "Basic", tmp_path / "net.onnx", read)
    assert made.text.endswith("answers all 20 test samples as the run says.")
    wrong = replace(read(0), splits={"test": read(0).splits["test"][::-1].copy()})
    with pytest.raises(WorkError, match="test samples otherwise than"):
        export_onnx(bare, "Basic", tmp_path / "other.onnx", lambda calibration: wrong)
