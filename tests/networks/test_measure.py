from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from netpick.networks.catalogue import catalogue, template
from netpick.networks.modules import measure
from netpick.networks.modules.build import build
from netpick.networks.modules.measure import Measurement, count_nodes, measure_all
from netpick.networks.modules.measure import measure as measured
from netpick.networks.paper import spec
from netpick.networks.paper.spec import layer

MNIST, DIGITS = (1, 28, 28), (1, 8, 8)
BASIC = (layer("Reshape", shape=[784]), layer("Linear", in_features=784, out_features=10), layer("LogSoftmax", dim=1))
CONV = (
    layer("Reshape", shape=[1, 28, 28]),
    layer("Conv2d", in_channels=1, out_channels=62, kernel_size=[5, 5], bias=True),
    layer("ReLU"),
    layer("Conv2d", in_channels=62, out_channels=10, kernel_size=[24, 24], bias=False),
    layer("Reshape", shape=[10]),
    layer("LogSoftmax", dim=1),
)


def block(activation="ReLU"):
    return (
        layer("Reshape", shape=[2, 6, 6]),
        layer("BasicBlock", inplanes=2, planes=3, stride=2, activation=activation),
        layer("Reshape", shape=[27]),
        layer("Linear", in_features=27, out_features=10, bias=True),
        layer("LogSoftmax", dim=1),
    )


@pytest.fixture(scope="module")
def families():
    return catalogue.generate(template.load("smoke"), DIGITS, 10)


def test_basic_on_mnist():
    assert measured(BASIC, MNIST) == Measurement(params=7850, memory=1588, ops=4, depth=1, macs=7840, thop_macs=7840)


def test_the_convolutional_network_of_the_documentation_by_hand():
    first, second = 62 * 1 * 5 * 5, 10 * 62 * 24 * 24
    assert measured(CONV, MNIST) == Measurement(
        params=first + 62 + second,
        memory=784 + 784 + 2 * 62 * 24 * 24 + 10 + 10 + 10,  # input, Reshape, convolution and ReLU, convolution, ...
        ops=6,  # one each: view, convolution, relu, convolution, view, log_softmax
        depth=2,
        macs=first * 24 * 24 + second,
        thop_macs=first * 24 * 24 + second,
    )


def test_a_block_by_hand():
    found = measured(block(), (2, 6, 6))
    convs, norms = 9 * 2 * 3 + 9 * 3 * 3 + 2 * 3, 3 * 2 * 3
    assert found.params == convs + norms + 27 * 10 + 10
    # Two convolutions and the one of the shortcut, a batch norm after each: six of 3 × 3 × 3; the rest is in place.
    assert found.memory == 72 + 72 + 6 * 27 + 27 + 10 + 10
    # view; conv bn relu_ conv bn; conv bn of the shortcut; add_ relu_; view; t addmm; log_softmax
    assert found.ops == 1 + 5 + 2 + 2 + 1 + 2 + 1
    assert found.depth == 6 + 1
    assert found.macs == 3 * 3 * convs + 27 * 10


def test_an_activation_that_has_no_form_in_place_takes_memory_in_a_block():
    assert measured(block("GELU"), (2, 6, 6)).memory == measured(block(), (2, 6, 6)).memory + 2 * 27
    assert measured(block("Tanh"), (2, 6, 6)).memory == measured(block(), (2, 6, 6)).memory
    assert measured(block("None"), (2, 6, 6)).memory == measured(block(), (2, 6, 6)).memory
    assert measured(block("None"), (2, 6, 6)).ops == measured(block(), (2, 6, 6)).ops - 2


def test_a_block_that_keeps_shape_has_no_shortcut_to_count():
    layers = (layer("BasicBlock", inplanes=2, planes=2), layer("Reshape", shape=[18]), layer("LogSoftmax", dim=1))
    found = measured(layers, (2, 3, 3))
    assert (found.params, found.memory, found.depth) == (2 * 36 + 2 * 4, 18 + 4 * 18 + 18 + 18, 4)
    assert found.macs == 9 * 2 * 36


def test_layers_that_give_back_their_input_take_no_memory():
    plain = measured(BASIC, MNIST)
    more = (BASIC[0], layer("Identity"), layer("Dropout"), *BASIC[1:])
    assert measured(more, MNIST).memory == plain.memory
    assert measured((BASIC[0], layer("ReLU"), *BASIC[1:]), MNIST).memory == plain.memory + 784
    # A Reshape counts although it is a view; Flatten is a layer of torch that makes no new tensor.
    assert measured((layer("Flatten"), *BASIC[1:]), MNIST).memory == plain.memory - 784


def test_measurement_agrees_with_the_sizes_worked_out_on_paper(families):
    assert len({one.computation for one in families}) == 8
    for one in families:
        found, paper = measured(one.layers, DIGITS), spec.sizes(one.layers, DIGITS)
        assert (found.params, found.macs) == (paper.params, paper.macs), one.name


def test_parameters_memory_and_depth_agree_with_a_walk_through_the_modules(families):
    for one in families:
        if one.computation == "ResNetStyle":
            continue  # has layers in place; by hand above
        model = build(one.layers)
        x = torch.zeros(1, *DIGITS)
        memory, depth = x.numel(), 0
        for module in model:
            x = module(x)
            memory += x.numel()
            depth += bool(list(module.parameters()))
        found = measured(one.layers, DIGITS)
        assert found.memory == memory, one.name
        assert found.depth == depth, one.name
        assert found.params == sum(tensor.numel() for tensor in model.state_dict().values()), one.name


def slow_macs(given, weight, stride=1, padding=0):
    """Count the multiplications of a 2-D convolution one by one, zeros of the padding included."""
    channels, height, width = given
    out_channels, _, rows, columns = weight
    count = 0
    for _ in range(out_channels):
        for top in range(0, height + 2 * padding - rows + 1, stride):
            for left in range(0, width + 2 * padding - columns + 1, stride):
                assert top + rows <= height + 2 * padding
                assert left + columns <= width + 2 * padding
                count += channels * rows * columns
    return count


def test_macs_are_those_of_a_slow_loop():
    layers = (
        layer("Conv2d", in_channels=2, out_channels=3, kernel_size=[3, 2], stride=2, padding=1),
        layer("Flatten"),
        layer("LogSoftmax"),
    )
    assert measured(layers, (2, 7, 6)).macs == slow_macs((2, 7, 6), (3, 2, 3, 2), 2, 1)


def test_meta_and_real_tensors_give_the_same_counts(families, monkeypatch):
    real = measure_all(families, DIGITS)
    monkeypatch.setattr(measure, "REAL_PARAMS", -1)
    assert measure_all(families, DIGITS) == real


def test_a_network_too_large_for_this_machine_is_measured_all_the_same():
    wide = 10**9  # 3 TB of weights
    layers = (
        layer("Reshape", shape=[784]),
        layer("Linear", in_features=784, out_features=wide),
        layer("Linear", in_features=wide, out_features=10),
        layer("LogSoftmax", dim=1),
    )
    found = measured(layers, MNIST)
    assert (found.params, found.macs) == (785 * wide + 10 * wide + 10, 794 * wide)
    assert found.memory == 784 + 784 + wide + 10 + 10


def test_large_images_are_measured_without_their_values(monkeypatch):
    layers = (
        layer("Conv2d", in_channels=1, out_channels=4, kernel_size=1),
        *[layer("ReLU")] * 20,
        layer("AdaptiveAvgPool2d", output_size=1),
        layer("Flatten"),
        layer("Linear", in_features=4, out_features=2),
        layer("LogSoftmax", dim=1),
    )
    monkeypatch.setattr(torch.nn.Module, "to_empty", lambda *args, **kwargs: pytest.fail("took 5.6 GB"))
    pixels = 4096 * 4096
    assert measured(layers, (1, 4096, 4096)).memory == pixels * (1 + 4 + 20 * 4) + 4 + 2 + 2


def test_processes_measure_the_same_in_the_same_order(families, monkeypatch):
    monkeypatch.setattr(measure, "WORTH_A_PROCESS", 2)
    some = families[::5]
    assert measure_all(some, DIGITS, workers=2) == [measured(one.layers, DIGITS) for one in some]


def test_measuring_leaves_nothing_behind(families):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    plain = build(families[-1].layers).state_dict().keys()
    torch.set_rng_state(state)
    measure_all(families[-3:], DIGITS)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.empty(1).device.type == "cpu"
    model = build(families[-1].layers)  # thop adds the buffers total_ops and total_params to what it counts
    assert model.state_dict().keys() == plain
    assert not any("total" in name for name, _ in model.named_buffers())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_that_thop_cannot_count_has_no_thop_count(monkeypatch):
    import thop

    def broken(*args, **kwargs):
        raise RuntimeError("no rule")

    monkeypatch.setattr(thop, "profile", broken)
    found = asdict(measured(BASIC, MNIST))
    assert found.pop("thop_macs") is None
    assert found == {"params": 7850, "memory": 1588, "ops": 4, "depth": 1, "macs": 7840}
    monkeypatch.setattr(thop, "profile", lambda *args, **kwargs: (math.nan, 0))
    assert measured(BASIC, MNIST).thop_macs is None


def test_count_nodes_counts_each_node_once():
    x = torch.ones(2, requires_grad=True)
    double = x * 2  # MulBackward0
    assert count_nodes(double) == 1
    assert count_nodes(double + double) == 2  # AddBackward0 over one and the same
    assert count_nodes((x * 2) + (x * 2)) == 3
    assert count_nodes(torch.ones(1)) == 0
    assert count_nodes(nn.Linear(2, 1)(x.detach()[None])) == 2  # AddmmBackward0 and the TBackward0 of the weight


def test_it_is_told_how_many_are_measured(families, monkeypatch):
    monkeypatch.setattr(measure, "WORTH_A_PROCESS", 2)
    monkeypatch.setattr(measure, "HANDFUL", 4)
    many = families[:14]
    for workers in (1, 2):
        told = []
        measured = measure_all(many, DIGITS, workers, on_measured=told.append)
        assert sum(told) == len(measured) == len(many)
        assert len(told) > 2
