"""Numbers that were published, met digit for digit where a text says all that they follow from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netpick import Run
from netpick.sessions import Options, train_run
from netpick.sessions.generate import generate_run

BY_SGD = [
    *(0.4932, 0.8843, 0.8140, 0.9087, 0.9336, 0.9463, 0.9555, 0.9614, 0.9663, 0.9673),
    *(0.9697, 0.9712, 0.9741, 0.9751, 0.9761, 0.9770, 0.9775, 0.9775, 0.9785, 0.9785),
]
"""Validation accuracy after each of 20 epochs of `nn.Linear(784, 1)`: Howard and Gugger, "Deep Learning for Coders with
fastai and PyTorch", chapter 4."""

BY_RANDN = [0.6261, 0.6702, 0.8373, 0.9110, 0.9271, 0.9369, 0.9428, 0.9471, 0.9496, 0.9520]
"""The same from weights and bias by `torch.randn`, as the text's code says: by a plain loop in torch, not by the text,
whose numbers are those of other weights."""

TEMPLATE = """
title = "Threes and sevens by one output"
dataset = "mnist"
classes = [3, 7]

[recipe]
optimizer = "SGD"
lr = 1.0
batch_size = 256
epochs = 20
loss = "distance"
order = "by_class"
seeding = "torch"
init = ["default", "randn"]
normalize = "unit"

[[cells]]
kind = "explicit"
name = "Linear"
layers = [
    { op = "Flatten" },
    { op = "Linear", in_features = "pixels", out_features = 1 },
    { op = "BinaryLogSigmoid", positive = 0 },
]
"""


@pytest.fixture(scope="module", params=["auto", "reference"])
def threes_and_sevens(request, tmp_path_factory):
    root = os.environ.get("NETPICK_DATA")
    if root is None or not Path(root, "MNIST", "raw", "train-images-idx3-ubyte").is_file():
        pytest.skip("NETPICK_DATA is not set, or holds no MNIST")
    folder = tmp_path_factory.mktemp("published")
    (folder / "line.toml").write_text(TEMPLATE)
    generate_run(str(folder / "line.toml"), folder / "run")
    assert train_run(folder / "run", Options(workers=1, plan=request.param, device="cpu")) == {"done": 2}
    return Run(folder / "run")


def curve(run, network):
    """Return the mean of the means of batches of 256, the images of each class in the order of their files' names."""
    samples = run.samples.assign(name=run.samples["index"].astype(str) + ".png")
    order = samples.sort_values(["label", "name"])["sample"]
    rows = pd.read_parquet(run.path / "predictions", filters=[("network", "=", network)])
    right = (rows["predicted"] == rows["label"]).groupby([rows["epoch"], rows["sample"]]).first().unstack()
    for _, epoch in right[order].iterrows():
        values = epoch.to_numpy(float)
        yield round(float(np.mean([values[at : at + 256].mean() for at in range(0, len(values), 256)])), 4)


def test_a_line_between_threes_and_sevens_learns_as_it_was_printed(threes_and_sevens):
    assert list(curve(threes_and_sevens, "Linear.init-default")) == BY_SGD


def test_the_weights_that_the_text_draws_itself_begin_elsewhere(threes_and_sevens):
    assert list(curve(threes_and_sevens, "Linear.init-randn"))[:10] == BY_RANDN
