"""Cells beyond the study's grammar: their options, the template that uses them all, and what comes of its networks."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import tomli_w
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netpick.core.errors import CatalogueError, TemplateError
from netpick.networks.catalogue import catalogue, template
from netpick.networks.catalogue.layouts import COMPUTATIONS
from netpick.networks.modules.build import build
from netpick.networks.paper import spec
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.sessions import generate
from netpick.training import Job, choose, train

MNIST, DIGITS = (1, 28, 28), (1, 8, 8)
CONVS = ("Conv1d", "Conv2d", "Conv3d")


def networks(kind, image=DIGITS, classes=10, **keys):
    text = tomli_w.dumps({"title": "t", "cells": [{"kind": kind, **keys}]})
    return list(catalogue.enumerate_networks(template.parse(text), image, classes))


def sampled(computation, count=40, image=DIGITS, **keys):
    return networks("sampled", image, computation=computation, count=count, **keys)


def grid(computation, image=DIGITS, **keys):
    return networks("grid", image, computation=[computation], **keys)


def ops(network):
    return [one.op for one in network.layers]


def convs(network):
    """Return the arguments of the hidden convolutions."""
    found = [one.resolved for one in network.layers if one.op in CONVS]
    return found if "Linear" in ops(network) else found[:-1]


@pytest.fixture(scope="module")
def wild():
    return catalogue.generate(template.load("wild"), MNIST, 10)


def assert_paper_is_true(network, image, classes):
    """Every layer has the shape that was worked out, and all have the parameters; on the meta device."""
    size = spec.check(network.layers, image, classes)
    with torch.device("meta"):
        model, x = build(network.layers), torch.empty(2, *image)
    seen = []
    for module in model:
        module.register_forward_hook(lambda module, inputs, out: seen.append(tuple(out.shape[1:])))
    assert tuple(model(x).shape) == (2, classes), network.name
    assert seen == spec.shapes(network.layers, image), network.name
    assert sum(p.numel() for p in model.parameters()) == size.params, network.name


# The template


def test_wild_has_each_feature_in_each_kind_of_network(wild):
    counts = Counter()
    for one in wild[2:-8]:  # without what is written out
        dims = one.computation.removesuffix("ThenLinear")
        for op in set(ops(one)):
            counts[dims, op] += 1
        for args in convs(one):
            counts[dims, "depthwise"] += 1 < args["groups"] == args["in_channels"]
            counts[dims, "grouped"] += 1 < args["groups"] < args["in_channels"]
            for key, neutral in {"stride": 1, "padding": 0, "dilation": 1, "kernel_size": 1}.items():
                counts[dims, key] += set(args[key]) != {neutral}
                counts[dims, f"{key} of two sizes"] += len(set(args[key])) > 1
        counts["input", *one.layers[0].args["shape"]] += 1
    for n in (1, 2, 3):
        for op in ("MaxPool", "AvgPool", "BatchNorm", "AdaptiveAvgPool"):
            assert counts[f"Conv{n}d", f"{op}{n}d"] >= 2, (op, n)
        features = ["Add", "Dropout", "stride", "padding", "dilation", "depthwise", "grouped", "kernel_size"]
        if n > 1:
            features += [f"{key} of two sizes" for key in ("stride", "padding", "dilation", "kernel_size")]
        for feature in features:
            assert counts[f"Conv{n}d", feature] >= 5, (feature, n)
    cuts = Counter(len(key) - 1 for key in counts if key[0] == "input")
    assert min(cuts[n] for n in (2, 3, 4)) >= 5  # of the 784 values of an image
    for op in ("Add", "BatchNorm1d", "Dropout"):
        assert counts["Linear", op] >= 5
    for op in ("Add", "BasicBlock", "MaxPool2d", "AvgPool2d", "Dropout", "AdaptiveAvgPool2d"):
        assert counts["ResNetStyle", op] >= 2, op
    assert {one.computation for one in wild} == set(COMPUTATIONS)
    assert ops(wild[1]).count("Concat") == 1


@pytest.mark.parametrize("image", [MNIST, DIGITS, (3, 20, 33)])
def test_wild_is_as_many_networks_as_it_says_and_all_are_true(image):
    asked = template.load("wild")
    found = catalogue.generate(asked, image, 7)
    assert f"{len(found)} networks" in asked.title
    for one in found[::3]:
        assert_paper_is_true(one, image, 7)


def test_skips_go_back_to_any_earlier_shape(wild):
    spans = Counter()
    for one in wild[2:]:
        for index, part in enumerate(one.layers):
            if part.op == "Add":
                between = ops(one)[part.args["from"] + 1 : index]
                spans[sum(op in ("Linear", "BasicBlock", *CONVS) for op in between)] += 1
    assert spans.keys() >= {1, 2, 3}


def test_wild_is_the_same_to_the_byte_everywhere(wild):
    """A failure here means that no run made before can be made again."""
    assert generate.digest(wild) == "6cac5f6499778a7b871468bb350d02d5c81c36b8274460a4f09bd12d84304b28"


def test_wild_networks_learn(wild):
    """Some of each computation, on two classes that can be told apart by brightness."""
    asked = template.load("wild", ["recipe.batch_size=16", "recipe.epochs=1"])
    found = catalogue.generate(asked, DIGITS, 2)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(193, *DIGITS, generator=generator)  # the last of the batches has one sample
    labels = torch.arange(193) % 2
    images += labels[:, None, None, None] * 2 - 1
    data = {"train": (images, labels), "test": (images, labels)}
    for name in COMPUTATIONS:
        some = [one for one in found if one.computation == name and {"Add", "Dropout"} <= set(ops(one))][:2]
        assert some, name
        for one in some:
            job = Job(one, asked.recipe, 3, choose(asked.recipe, "cpu"))
            result = train(job, data)
            assert (result.status, result.error) == ("done", None), one.name
            again = train(job, data)
            assert np.array_equal(again.epochs[0].splits[0].scores, result.epochs[0].splits[0].scores), one.name


# Options of a sampled cell


def test_without_an_option_nothing_of_it_is_there():
    for name in COMPUTATIONS:
        for one in sampled(name, 5, activation="ReLU", depth=[4, 5]):
            extra = set(ops(one)) - {"Reshape", "Linear", *CONVS, "BasicBlock", "ReLU", "LogSoftmax"}
            assert not extra
            assert all(args["groups"] == 1 and {*args["stride"], *args["dilation"]} == {1} for args in convs(one))


def test_inputs_can_be_cut_in_any_way():
    for name, dims in (("Conv1d", 2), ("Conv2dThenLinear", 3), ("Conv3d", 4), ("ResNetStyle", 3)):
        found = {
            tuple(one.layers[0].args["shape"]) for one in sampled(name, 60, activation="ReLU", input_shape="random")
        }
        assert all(len(shape) == dims and math.prod(shape) == 64 and min(shape) > 1 for shape in found)
        assert len(found) >= 4
    assert len({tuple(one.layers[0].args["shape"]) for one in sampled("Conv1d", 90, input_shape="random")}) == 5
    (one,) = sampled("Conv1d", 1, input_shape=[2, 32])
    assert one.layers[0].args["shape"] == [2, 32]
    (one,) = grid("Conv3d", input_shape=[[2, 2, 4, 4]], kernel_size=[2])
    assert one.layers[1].args["in_channels"] == 2
    for shape in ([4, 4], [2, 32, 1]):
        with pytest.raises(CatalogueError, match=r"input_shape .* is not 2 numbers with the product 64"):
            sampled("Conv1d", 1, input_shape=shape)


def test_batch_norm_stands_between_a_hidden_layer_and_its_activation():
    for one in sampled("Conv2dThenLinear", 10, activation="ReLU", activate=1, batch_norm=1, depth=[3, 4]):
        names = [op for op in ops(one) if op != "Reshape"][:-2]
        assert names[0::3] == [op for op in names if op in ("Conv2d", "Linear")]
        assert set(names[2::3]) == {"ReLU"}
        assert names[1::3] == ["BatchNorm2d" if op == "Conv2d" else "BatchNorm1d" for op in names[0::3]]


def test_same_padding_keeps_the_size_and_takes_odd_kernels():
    for one in sampled("Conv2d", 30, padding="same", kernel_size=[2, 6], square=0.5, dilation=[1, 2]):
        for index, shape in enumerate(spec.shapes(one.layers, DIGITS)[:-3]):
            assert shape[1:] == (8, 8), (one.name, index)
        assert {k for args in convs(one) for k in args["kernel_size"]} <= {1, 3, 5}


def test_padding_is_at_most_half_the_kernel():
    found = [args for one in sampled("Conv2d", 60, padding=[0, 9], kernel_size=[1, 5], dilation=[1, 2])
             for args in convs(one)]  # fmt: skip
    pairs = [
        (p, (d * (k - 1)) // 2)
        for args in found
        for p, d, k in zip(args["padding"], args["dilation"], args["kernel_size"], strict=True)
    ]
    assert all(p <= half for p, half in pairs)
    assert {p for p, half in pairs if half >= 2} >= {0, 1, 2}
    always = [args for one in sampled("Conv2d", 20, padding=1, kernel_size=3, depth=[3, 4]) for args in convs(one)]
    assert {args["padding"] for args in always} == {(1, 1)}


def test_groups_divide_and_depthwise_is_a_group_a_channel():
    found = [a for one in sampled("Conv2d", 60, groups=[2, 4], channels=[4, 12], depth=[4, 5]) for a in convs(one)]
    assert {args["groups"] for args in found if args["in_channels"] > 1} >= {1, 2, 3, 4}
    for args in found:
        possible = [g for g in (2, 3, 4) if args["in_channels"] % g == 0]
        assert args["groups"] in (possible or [1])
        assert args["out_channels"] % args["groups"] == 0
    depth = [a for one in sampled("Conv2d", 20, depthwise=1, channels=[4, 12], depth=4) for a in convs(one)]
    assert all(args["groups"] == args["in_channels"] for args in depth)
    assert {args["groups"] > 1 for args in depth} == {True, False}  # the first layer of a grey image has one channel


def test_strides_leave_room_for_the_convolutions_that_follow():
    found = sampled("Conv2d", 60, image=MNIST, conv_stride=[1, 4], depth=[2, 5], square=0.5)
    strides = {args["stride"] for one in found for args in convs(one)}
    assert {s for pair in strides for s in pair} == {1, 2, 3, 4}
    assert len([pair for pair in strides if pair[0] != pair[1]]) > 3


def test_poolings_follow_convolutions_and_leave_room():
    found = sampled("Conv2d", 60, pool=1, pool_size=[2, 3], pool_kind=["max", "avg"], depth=[2, 4], square=0.5)
    pools = [one for net in found for one in net.layers if "Pool" in one.op]
    assert {one.op for one in pools} == {"MaxPool2d", "AvgPool2d"}
    assert {k for one in pools for k in one.resolved["kernel_size"]} == {1, 2, 3}
    assert all(one.resolved["stride"] == one.resolved["kernel_size"] for one in pools)
    for net in sampled("ResNetStyle", 10, activation="ReLU", pool=1, stride=1, image=MNIST):
        assert ops(net).count("MaxPool2d") == 1 + ops(net).count("BasicBlock")


def test_a_global_pooling_stands_before_the_linear_layers():
    for one in sampled("Conv3dThenLinear", 10, global_pool=1, depth=3, kernel_size=[1, 2]):
        names = ops(one)
        assert names[names.index("Linear") - 2 : names.index("Linear")] == ["AdaptiveAvgPool3d", "Reshape"]
        first = next(part.args["in_features"] for part in one.layers if part.op == "Linear")
        assert first == convs(one)[-1]["out_channels"]
    ends = [set(ops(one)) for one in sampled("ResNetStyle", 10, activation="ReLU", global_pool=1)]
    assert all(("Linear" in end) == ("AdaptiveAvgPool2d" in end) for end in ends)


def test_dropout_follows_hidden_layers_with_rates_of_the_range():
    rates = [one.args["p"] for net in sampled("Linear", 40, dropout=1, dropout_p=[0.1, 0.3]) for one in net.layers
             if one.op == "Dropout"]  # fmt: skip
    assert 0.1 <= min(rates) < 0.13
    assert 0.27 < max(rates) <= 0.3
    for net in sampled("Linear", 5, dropout=1, depth=3):
        assert [one.args["p"] for one in net.layers if one.op == "Dropout"] == [0.5, 0.5]


def test_a_skip_is_there_wherever_it_can_be():
    """With a probability of 1 every hidden layer but the first has one, for the shape in hand is always one to keep."""
    for name, word in (("Linear", "Linear"), ("Conv2d", "Conv2d"), ("ResNetStyle", "BasicBlock")):
        keys = {"skip": 1, "pool": 0.3, "conv_stride": [1, 2], "depth": 6, "kernel_size": [3, 5]}
        for one in sampled(name, 20, MNIST, activation="ReLU", **keys):
            hidden = [op for op in ops(one)[:-1] if op in (word, "Conv2d")]
            last = one.computation != "ResNetStyle" or "Linear" not in ops(one)
            assert ops(one).count("Add") == len(hidden) - 1 - last, one.name


# Grids


def test_a_grid_has_the_same_options():
    (one,) = grid(
        "Conv2dThenLinear", MNIST, activation=["ReLU"], depth=[4], linear_depth=[2], channels=[6],
        kernel_size=[[[3, 5], 3]], conv_stride=[[2, [1, 2]]], dilation=[[1, 2]], padding=["same"],
        groups=["depthwise"], batch_norm=[True], pool=[True], pool_kind=["avg"], pool_size=[[2, [2, 1]]],
        global_pool=[True], dropout=[True], dropout_p=[0.2], features=[9],
    )  # fmt: skip
    assert ops(one) == [
        "Reshape", "Conv2d", "BatchNorm2d", "ReLU", "AvgPool2d", "Dropout",
        "Conv2d", "BatchNorm2d", "ReLU", "AvgPool2d", "Dropout", "AdaptiveAvgPool2d", "Reshape",
        "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear", "LogSoftmax",
    ]  # fmt: skip
    first, second = convs(one)
    assert [first[key] for key in ("kernel_size", "stride", "padding", "dilation", "groups")] == [
        *((3, 5), (2, 2), (1, 2), (1, 1), 1),
    ]
    assert [second[key] for key in ("kernel_size", "stride", "padding", "dilation", "groups")] == [
        *((3, 3), (1, 2), (2, 2), (2, 2), 6),
    ]
    assert [tuple(part.args["kernel_size"]) for part in one.layers if part.op == "AvgPool2d"] == [(2, 2), (2, 1)]


def test_a_grid_skips_wherever_shapes_are_equal():
    with_and_without = grid("Linear", depth=[4], features=[[5, 5, 6], [5, 6, 6], [5, 6, 5]], skip=[False, True])
    # The last has its equals two layers apart, and a grid looks at the layer before: one network of two.
    assert [[i for i, op in enumerate(ops(one)) if op == "Add"] for one in with_and_without] == [[], [3], [], [4], []]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"padding": ["same"], "kernel_size": [4]}, 'padding = "same" wants odd kernels, got [4, 4]'),
        ({"kernel_size": [[[3, 3, 3]]]}, "kernel_size = [3, 3, 3] has 3 sizes, and the convolution 2 dimensions"),
        ({"groups": [3], "image": (3, 8, 8), "channels": [4]}, "channels that groups = 3 divides, got 3 and 4"),
        ({"pool": [True], "pool_size": [9]}, "MaxPool2d with kernel_size [9, 9] does not fit into [16, 6, 6]"),
        ({"dilation": [[5]]}, "Conv2d with kernel_size [3, 3] does not fit into [1, 8, 8]"),
        ({"conv_stride": [[]]}, "conv_stride = [] has no value for hidden layer 1"),
    ],
)
def test_a_grid_that_cannot_be_says_why(keys, words):
    with pytest.raises(CatalogueError) as caught:
        grid("Conv2d", **keys)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "keys", "words"),
    [
        ("sampled", {"skip": 0.5, "kernel_size": 4}, "kernel_size: skip keeps the size of a convolution's input, and"),
        ("sampled", {"padding": "same", "kernel_size": [2, 2]}, 'padding = "same" keeps the size'),
        ("sampled", {"padding": "full"}, "cells[0].padding: expected one of same"),
        ("sampled", {"padding": [3, 1]}, "cells[0].padding: impossible range [3, 1]"),
        ("sampled", {"padding": -1}, "cells[0].padding"),
        ("sampled", {"dropout_p": 1.0}, "cells[0].dropout_p"),
        ("sampled", {"dropout_p": [0.5, 0.1]}, "cells[0].dropout_p: impossible range [0.5, 0.1]"),
        ("sampled", {"dilation": [3, 2]}, "cells[0].dilation: impossible range [3, 2]"),
        ("sampled", {"pool_kind": ["mean"]}, "cells[0].pool_kind[0]: expected one of max, avg"),
        ("sampled", {"pool_kind": []}, "cells[0].pool_kind: wants at least one of max, avg, got []"),
        ("sampled", {"pool": 2.0}, "cells[0].pool"),
        ("sampled", {"dropouts": 1}, "did you mean 'dropout'?"),
        ("grid", {"groups": ["depth"]}, "expected one of depthwise"),
        ("grid", {"batch_norm": []}, "cells[0].batch_norm: a grid needs at least one value, got []"),
        ("grid", {"skip": [0.5]}, "cells[0].skip[0]"),
    ],
)
def test_wrong_options_are_refused_in_words(kind, keys, words):
    computation = {"computation": ["Conv2d"]} if kind == "grid" else {"computation": "Conv2d", "count": 1}
    with pytest.raises(TemplateError) as caught:
        networks(kind, **computation, **keys)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# Whatever the options and images are


def ranges(low, high):
    number = st.integers(low, high)
    return number | st.lists(number, min_size=2, max_size=2).map(sorted)


CHANCE = st.sampled_from([0.0, 0.5, 1.0])
RATES = st.floats(0, 0.9)
OPTIONS = {
    **dict.fromkeys(("square", "depthwise", "batch_norm", "skip", "pool", "global_pool", "dropout", "bias"), CHANCE),
    **dict.fromkeys(("conv_stride", "dilation", "groups", "pool_size"), ranges(1, 4)),
    "kernel_size": st.sampled_from([1, 3, 5, [1, 4], [2, 7]]),
    "padding": st.just("same") | ranges(0, 3),
    "dropout_p": RATES | st.lists(RATES, min_size=2, max_size=2).map(sorted),
    "pool_kind": st.sampled_from([["max"], ["avg"], ["max", "avg"]]),
    "input_shape": st.sampled_from(["image", "random"]),
    "factorisation": st.sampled_from(["cubic", "random"]),
}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_options_give_networks_that_are_as_paper_says(data):
    image = (data.draw(st.sampled_from([1, 3])), data.draw(st.integers(4, 24)), data.draw(st.integers(4, 24)))
    keys = data.draw(st.fixed_dictionaries({}, optional=OPTIONS))
    small = {"depth": [3, 7], "channels": [1, 6], "features": [1, 20], "planes": [1, 4]}
    activation = data.draw(st.sampled_from(["None", *ACTIVATIONS]))
    name = data.draw(st.sampled_from(sorted(COMPUTATIONS)))
    for one in sampled(name, 3, image, activation=activation, **small, **keys):
        assert_paper_is_true(one, image, 10)
