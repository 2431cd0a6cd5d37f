"""A network of one output, from its template to every question, beside the same with an output a class."""

from __future__ import annotations

import importlib.util
from functools import partial

import numpy as np
import pytest
import torch

from netpick import Run, data
from netpick.data.request import DataRequest
from netpick.exam.device.onnx_file import export_onnx
from netpick.exam.exports import export
from netpick.sessions import Options, estimate_run, pixels_of, train_run
from netpick.sessions.generate import generate_run
from netpick.sessions.recount import training_faults
from netpick.sessions.settle import gathered
from netpick.store.folder import Store

TEMPLATE = """
title = "One output and two"
dataset = "digits"
classes = [3, 7]

[recipe]
optimizer = "SGD"
optimizer_args = { momentum = 0.9 }
lr = 0.1
epochs = 3
schedule = "onecycle"
loss = "mse"
order = "by_class"

[[cells]]
kind = "explicit"
name = "BinaryLogSigmoid"
layers = [
    { op = "Flatten" },
    { op = "Linear", in_features = "pixels", out_features = 1 },
    { op = "BinaryLogSigmoid", positive = 0 },
]

[[cells]]
kind = "explicit"
name = "Two"
recipe = { order = "shuffled", init = "xavier", seeding = "torch", replicates = 2 }
layers = [
    { op = "Flatten" },
    { op = "Linear", in_features = "pixels", out_features = "classes" },
    { op = "LogSoftmax" },
]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    (folder / "one.toml").write_text(TEMPLATE)
    generate_run(str(folder / "one.toml"), folder / "run", seed=7)
    assert estimate_run(folder / "run", Options(workers=1), seconds=0.5).seconds > 0
    assert train_run(folder / "run", Options(workers=1)) == {"done": 3}
    assert train_run(folder / "run", Options(workers=1)) == {"done": 3}  # the same data set, though in two orders
    return Run(folder / "run")


def test_it_costs_what_it_has(run):
    row = run.networks.set_index("name").loc["BinaryLogSigmoid"]
    assert (row["params"], row["macs"], row["memory"], row["depth"]) == (65, 64, 64 + 1 + 2, 1)
    assert row["computation"] == "Linear"


def test_torchs_seeds_are_the_runs_and_the_numbers_after_it(run):
    trainings = run.trainings[run.trainings["network"] == "Two"]
    assert trainings["seed"].tolist() == [7, 8]
    situation = gathered(Store.open(run.path), Options(), ["cpu"])
    assert list(training_faults(situation, run.trainings)) == []
    assert len(list(training_faults(situation, run.trainings.assign(order="fixed")))) == 3


def test_its_scores_are_those_of_two_classes(run):
    shares = np.exp(run.scores(networks="BinaryLogSigmoid")[0])
    assert shares.shape == (len(run.labels()), 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert (run.predicted(networks="BinaryLogSigmoid")[0] == shares.argmax(axis=1)).all()
    assert (shares.argmax(axis=1) == run.labels()).mean() > 0.9
    for question in ("scores", "curves", "mistakes", "learning", "sweep"):
        assert run.ask(question).text


def test_its_source_gives_the_same_scores(run, tmp_path):
    export(run, "BinaryLogSigmoid", tmp_path / "line.py")
    spec = importlib.util.spec_from_file_location("line", tmp_path / "line.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dataset = data.load(DataRequest("digits", "", seed=7, classes=(3, 7)))
    with torch.no_grad():
        scores = module.load()(module.prepare(torch.from_numpy(dataset.split("test").pixels / np.float32(16))))
    np.testing.assert_allclose(scores.numpy(), run.scores(networks="BinaryLogSigmoid")[0], atol=1e-4)


def test_its_onnx_files_give_the_same_scores(run, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    pixels = data.load(DataRequest("digits", "", seed=7, classes=(3, 7))).split("test").pixels / np.float32(16)
    for name in ("BinaryLogSigmoid", "Two"):
        made = export_onnx(run, name, tmp_path / f"{name}.onnx", partial(pixels_of, run))
        (scores,) = onnxruntime.InferenceSession(made.path).run(None, {"image": pixels})
        np.testing.assert_allclose(scores, run.scores(networks=name)[0], atol=1e-4)
        made = export_onnx(run, name, tmp_path / f"{name}.8.onnx", partial(pixels_of, run), int8=True)
        (rounded,) = onnxruntime.InferenceSession(made.path).run(None, {"image": pixels})
        assert 0 < np.median(np.abs(rounded - scores)) < 0.2
        assert (rounded.argmax(axis=1) == scores.argmax(axis=1)).mean() > 0.9
