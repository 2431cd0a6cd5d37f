from __future__ import annotations

import pytest

from netpick.networks.catalogue import catalogue, template
from netpick.networks.catalogue.layouts import COMPUTATIONS
from netpick.networks.paper.inferred import family_of
from netpick.networks.paper.spec import layer


def test_it_says_what_the_generator_says():
    for spec in catalogue.generate(template.load("smoke"), (1, 28, 28), 10):
        assert family_of(spec.layers) == spec.family
    assert {spec.computation for spec in catalogue.generate(template.load("smoke"), (1, 28, 28), 10)} == {*COMPUTATIONS}


@pytest.mark.parametrize(
    ("ops", "family"),
    [
        ([], ("Linear", "None")),
        (["Linear", "LogSoftmax"], ("Linear", "None")),
        (["Linear", "ReLU", "Linear", "ReLU"], ("Linear", "ReLU")),
        (["Linear", "ReLU", "Linear", "Tanh"], ("Linear", "Mixed")),
        (["Linear", "Conv1d", "PReLU"], ("Conv1d", "PReLU")),
        (["Conv1d", "Conv3d", "Conv2d", "Linear"], ("Conv3dThenLinear", "None")),
        (["Conv2d", "MaxPool2d", "Flatten", "Linear"], ("Conv2dThenLinear", "None")),
        (["BasicBlock", "Linear"], ("ResNetStyle", "ReLU")),
        (["BasicBlock", "Tanh"], ("ResNetStyle", "Mixed")),
        (["baseline:nearest_mean"], ("Baseline", "None")),
        (["sklearn:RandomForestClassifier"], ("Baseline", "None")),
    ],
)
def test_families_by_hand(ops, family):
    assert family_of([layer(op) for op in ops]) == family


def test_a_block_brings_its_own_activation():
    assert family_of([layer("BasicBlock", activation="GELU")]) == ("ResNetStyle", "GELU")
    assert family_of([layer("BasicBlock", activation="None")]) == ("ResNetStyle", "None")
