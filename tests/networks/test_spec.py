from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netpick.core.errors import SpecError
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import LayerSpec, NetworkSpec, Size, check, layer, seed_of, shapes, sizes, walk

IMAGE = (1, 28, 28)
EXAMPLE = """
{"name": "Conv2dReLU_12", "computation": "Conv2d", "activation": "ReLU",
 "layers": [{"op": "Reshape", "shape": [1, 28, 28]},
            {"op": "Conv2d", "in_channels": 1, "out_channels": 62, "kernel_size": [5, 5], "bias": true},
            {"op": "ReLU"},
            {"op": "Conv2d", "in_channels": 62, "out_channels": 10, "kernel_size": [24, 24], "bias": false},
            {"op": "Reshape", "shape": [10]},
            {"op": "LogSoftmax", "dim": 1}]}
"""


@pytest.fixture
def example():
    return NetworkSpec.from_dict(json.loads(EXAMPLE))


def network(*layers, name="x"):
    return NetworkSpec(name, "Linear", "None", layers)


def conv(**args):
    return layer("Conv2d", in_channels=1, out_channels=2, **args)


def test_json_goes_round_as_a_whole_and_as_a_row_of_the_catalogue(example):
    assert example.to_dict() == json.loads(EXAMPLE)
    assert NetworkSpec.from_dict(json.loads(json.dumps(example.to_dict()))) == example
    row = {
        "name": example.name,
        "computation": "Conv2d",
        "activation": "ReLU",
        "layers": example.layers_json(),
        "ops": 3,
    }
    assert NetworkSpec.from_dict(row) == example
    assert "\n" not in example.layers_json()
    assert example.family == ("Conv2d", "ReLU")


def test_tuples_become_lists_in_json():
    assert layer("Reshape", shape=(1, 4)).to_dict() == {"op": "Reshape", "shape": [1, 4]}
    assert json.loads(network(layer("Reshape", shape=(1, 4))).layers_json()) == [{"op": "Reshape", "shape": [1, 4]}]


def test_a_spec_is_frozen_and_survives_a_process_border(example):
    with pytest.raises(FrozenInstanceError):
        example.name = "other"
    with pytest.raises(FrozenInstanceError):
        example.layers[0].op = "other"
    again = pickle.loads(pickle.dumps(example))
    assert (again, again.hash) == (example, example.hash)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (conv(kernel_size=3), conv(kernel_size=[3, 3])),
        (conv(kernel_size=(3, 3)), conv(kernel_size=[3, 3])),
        (conv(kernel_size=3), conv(kernel_size=3, stride=1, padding=[0, 0], dilation=1, groups=1, bias=True)),
        (conv(kernel_size=3), LayerSpec("Conv2d", {"kernel_size": 3, "out_channels": 2, "in_channels": 1})),
        (layer("MaxPool2d", kernel_size=2), layer("MaxPool2d", kernel_size=2, stride=2)),
        (layer("LogSoftmax"), layer("LogSoftmax", dim=1)),
        (layer("Dropout"), layer("Dropout", p=0.5)),
        (layer("Dropout", p=0), layer("Dropout", p=0.0)),
        (
            layer("BasicBlock", inplanes=2, planes=2),
            layer("BasicBlock", inplanes=2, planes=2, stride=1, activation="ReLU"),
        ),
    ],
)
def test_two_spellings_of_a_layer_have_one_hash(one, other):
    assert network(one).hash == network(other).hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (conv(kernel_size=3), conv(kernel_size=[3, 2])),
        (conv(kernel_size=3), conv(kernel_size=3, bias=False)),
        (conv(kernel_size=3), conv(kernel_size=3, stride=2)),
        (layer("ReLU"), layer("SELU")),
        (layer("Reshape", shape=[4, 1]), layer("Reshape", shape=[1, 4])),
        (layer("MaxPool2d", kernel_size=2), layer("AvgPool2d", kernel_size=2)),
    ],
)
def test_different_layers_have_different_hashes(one, other):
    assert network(one).hash != network(other).hash


def test_the_hash_is_of_the_layers_in_their_order_and_of_nothing_else(example):
    assert NetworkSpec("other", "Linear", "None", example.layers).hash == example.hash
    assert network(layer("ReLU"), layer("Tanh")).hash != network(layer("Tanh"), layer("ReLU")).hash
    assert network(layer("ReLU")).hash != network(layer("ReLU"), layer("ReLU")).hash


def test_the_hash_never_changes():
    """Runs on disk go by it: a failure here means that none of them can be resumed."""
    basic = network(
        layer("Reshape", shape=[784]), layer("Linear", in_features=784, out_features=10), layer("LogSoftmax", dim=1)
    )
    assert basic.hash == "16d4b9ba47eef98e"
    assert NetworkSpec.from_dict(json.loads(EXAMPLE)).hash == "7e35911a37fcaf43"


@given(st.lists(st.integers(1, 4), min_size=1, max_size=2), st.sampled_from([1, [1, 1], None]), st.booleans())
def test_a_layer_read_back_from_json_is_the_same_network(kernel, stride, bias):
    args = {"kernel_size": kernel if len(kernel) == 2 else kernel[0], "bias": bias} | (
        {"stride": stride} if stride else {}
    )
    spec = network(conv(**args))
    again = NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert (again.hash, again.to_dict()) == (spec.hash, spec.to_dict())


def test_walk_gives_shape_and_cost_of_each_layer(example):
    steps = list(walk(example.layers, IMAGE))
    assert [shape for shape, _ in steps] == [(1, 28, 28), (62, 24, 24), (62, 24, 24), (10, 1, 1), (10,), (10,)]
    assert shapes(example.layers, IMAGE) == [shape for shape, _ in steps]
    first, last = 62 * 1 * 25, 10 * 62 * 24 * 24
    assert [size for _, size in steps] == [
        Size(0, 0),
        Size(first + 62, first * 24 * 24),
        Size(0, 0),
        Size(last, last),
        Size(0, 0),
        Size(0, 0),
    ]
    assert sizes(example.layers, IMAGE) == check(example.layers, IMAGE, 10) == Size(1612 + 357120, 892800 + 357120)
    module = build(example.layers)
    assert tuple(module(torch.zeros(3, *IMAGE)).shape) == (3, 10)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "at least one layer"),
        ([layer("Flatten")], "the last layer gives [784], wanted [10], one score a class"),
        ([layer("Reshape", shape=[1, 784])], "the last layer gives [1, 784], wanted [10]"),
        (
            [layer("Flatten"), layer("Linear", in_features=700, out_features=10)],
            "layer 1: Linear wants in_features = 700, got an input of shape [784]",
        ),
        (
            [layer("Flatten"), layer("ReLU"), layer("Linaer")],
            "layer 2: unknown operation 'Linaer' (did you mean 'Linear'?)",
        ),
        ([layer("Conv2d", in_channels=1, kernel_size=3)], "layer 0: Conv2d needs the argument 'out_channels'"),
        (
            [layer("Conv2d", in_channels=1, out_channels=2, kernel_size=29)],
            "layer 0: Conv2d with kernel_size [29, 29] does not fit into [1, 28, 28]",
        ),
    ],
)
def test_check_says_which_layer_what_it_got_and_what_it_wants(layers, words):
    with pytest.raises(SpecError) as caught:
        check(layers, IMAGE, 10)
    assert words in str(caught.value)


@pytest.mark.parametrize("data", [None, 3, [], {}, {"op": 3}, {"op": None, "shape": [1]}, "ReLU"])
def test_what_is_no_layer_is_refused(data):
    with pytest.raises(SpecError, match="a layer wants an 'op' with the name of an operation, got "):
        LayerSpec.from_dict(data)


def test_every_training_has_a_seed_of_its_own_that_never_changes():
    """Training and resuming give the same to the bit because of it, and it must fit a signed column of 64 bits."""
    assert seed_of(0, "16d4b9ba47eef98e", 0) == int(hashlib.sha256(b"0/16d4b9ba47eef98e/0").hexdigest()[:16], 16) >> 1
    hashes = [f"{n:016x}" for n in range(100)]
    seeds = {seed_of(run, hash_, replicate) for run in range(3) for hash_ in hashes for replicate in range(3)}
    assert len(seeds) == 900
    assert 0 <= min(seeds) <= max(seeds) < 2**63
