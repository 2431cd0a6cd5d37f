"""Softmax before cross entropy: recognised from the layers, warned about, refused on request; and what it does."""

from __future__ import annotations

import pytest
import torch

from netpick.core.errors import TemplateError
from netpick.networks.modules.build import build
from netpick.networks.paper.inferred import output_kind, warning
from netpick.networks.paper.spec import layer
from netpick.sessions.generate import generate_run

ENDS = {
    "logits": [["Linear"], ["ReLU", "Linear"], ["Sigmoid", "Linear"], ["Conv2d", "Flatten"], ["BatchNorm1d"]],
    "log_probabilities": [["LogSoftmax"], ["Linear", "LogSoftmax"], ["LogSoftmax"] * 2, ["ReLU", "LogSoftmax"]],
    "probabilities": [
        ["Softmax"], ["Linear", "Softmax", "LogSoftmax"], ["Sigmoid", "LogSoftmax"], ["Sigmoid"],
        ["Softmax", "Dropout", "LogSoftmax"], ["Softmax", "Identity"],
    ],
    "unknown": [["ReLU"], ["Linear", "Tanh"], []],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "ops"), [(kind, ops) for kind, many in ENDS.items() for ops in many])
def test_what_a_network_gives(kind, ops):
    assert output_kind([layer(op) for op in ops]) == kind


def test_whole_networks():
    assert output_kind([layer("torchvision:resnet18"), layer("LogSoftmax")]) == "log_probabilities"
    assert output_kind([layer("torchvision:resnet18")]) == "logits"
    assert output_kind([layer("baseline:nearest_mean")]) == "log_probabilities"


def test_the_two_that_are_right_give_the_same_scores_and_the_third_does_not():
    torch.manual_seed(0)
    x = 5 * torch.randn(20, 3)
    logits = [layer("Linear", in_features=3, out_features=4)]
    scores = {}
    for name, more in {
        "once": ["LogSoftmax"],
        "twice": ["LogSoftmax"] * 2,
        "softmax": ["Softmax", "LogSoftmax"],
    }.items():
        torch.manual_seed(1)
        scores[name] = build([*logits, *(layer(op) for op in more)])(x)
    torch.testing.assert_close(scores["once"], scores["twice"])
    # However sure it is, the probability of the right one of 4 classes is at most e / (e + 3).
    assert scores["softmax"].exp().max() < torch.e / (torch.e + 3)
    assert scores["once"].exp().max() > 0.9


def test_generate_warns_by_name_and_strict_refuses(tmp_path):
    made = generate_run("shallow", tmp_path / "run", dataset="digits")
    assert made.warnings == (warning(["Softmax_4"]),)
    assert "the output of Softmax_4 already is a probability" in made.warnings[0]
    assert generate_run("shallow", tmp_path / "run", dataset="digits").warnings == made.warnings
    with pytest.raises(TemplateError, match=r"Softmax_4 already is a probability.*refused by --strict"):
        generate_run("shallow", tmp_path / "other", dataset="digits", strict=True)
    assert not (tmp_path / "other").exists()
    assert generate_run("smoke", tmp_path / "smoke", dataset="digits", strict=True).warnings == ()


def test_many_names_are_cut_short():
    assert "A, B, C, D, E and 2 more already are probabilities" in warning(list("ABCDEFG"))
