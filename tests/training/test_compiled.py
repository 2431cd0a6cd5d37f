"""Steps in machine code against the plain loop: the same losses, scores and weights, for layers of all kinds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_stack import Stack, image_shapes
from small_networks import CLASSES, layered, network, samples

from netpick.core.errors import PlanError
from netpick.core.recipe import Augment, Recipe
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.training import Job, Plan, choose, train
from netpick.training.engines import compiled
from netpick.training.engines.compiled import ACTIVATIONS, MOST_MACS, cache, program, ready, slopes
from netpick.training.engines.compiled.program import kernels

MACHINE_CODE = Plan(mode="compiled", convolutions="plain")
REFERENCE = Plan(mode="reference", convolutions="plain")


def assert_same_training(spec, image, batch_size=4, count=10, tested=5, atol=2e-4, classes=CLASSES, **values):
    """Two epochs, with a shorter last batch; weights, losses, and scores of a split that is no multiple of anything."""
    recipe = Recipe(**{"epochs": 2, "lr": 0.01, "batch_size": batch_size, **values})
    data = {"train": samples(image, count, 0, classes), "test": samples(image, tested, 1, classes)}
    plain, ours = (train(Job(spec, recipe, 5, plan, keep_weights=True), data) for plan in (REFERENCE, MACHINE_CODE))
    assert (plain.status, plain.error) == (ours.status, ours.error) == ("done", None)
    for one, two in zip(plain.epochs, ours.epochs, strict=True):
        assert two.train_loss == pytest.approx(one.train_loss, rel=atol, abs=atol)
        np.testing.assert_allclose(two.splits[0].scores, one.splits[0].scores, rtol=atol, atol=atol)
    assert list(plain.weights) == list(ours.weights)
    for name, one in plain.weights.items():
        np.testing.assert_allclose(ours.weights[name], one, rtol=atol, atol=atol, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(layered(), st.integers(1, 6), st.integers(4, 9))
def test_convolutions_of_all_kinds_learn_as_in_the_plain_loop(drawn, batch_size, count):
    layers, image = drawn
    # Batch norm of a handful of values blows up what is only rounding.
    few = any(one.op == "BasicBlock" for one in layers)
    values = {"batch_size": 6, "count": 12} if few else {"batch_size": batch_size, "count": count}
    assert_same_training(network(image, *layers), image, optimizer="SGD", atol=2e-2 if few else 2e-4, **values)


@pytest.mark.parametrize("stride", [1, 2])
def test_rows_that_are_worked_on_in_several_pieces(stride):
    """28 values of 60 samples are more than fit into one piece."""
    image = (1, 3, 28)
    first = layer("Conv2d", in_channels=1, out_channels=3, kernel_size=2, stride=[1, stride])
    block = layer("BasicBlock", inplanes=3, planes=3)
    assert_same_training(network(image, first, block), image, batch_size=60, count=100, atol=1e-3, tested=300)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, 6), (5, 1, 7), (3, 2, 7), (2, 3, 8)])
def test_convolutions_of_many_channels_whose_weights_are_taken_some_at_a_time(kernel, stride, size):
    """40 channels of 3 x 3 are more weights than lie in the first cache; 5 of 7 columns are more edge than middle."""
    image = (2, size, size)
    first = layer("Conv2d", in_channels=2, out_channels=40, kernel_size=1)
    second = layer("Conv2d", in_channels=40, out_channels=13, kernel_size=kernel, stride=stride, padding=stride // 2)
    assert_same_training(network(image, first, second), image, batch_size=17, count=40, optimizer="SGD")


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "PReLU"])
def test_every_activation_learns_as_in_the_plain_loop(activation):
    image = (1, 5, 6)
    conv = layer("Conv2d", in_channels=1, out_channels=3, kernel_size=[2, 3])
    # Near 0 what Tanhshrink leaves is rounding, of which Adam would make whole steps.
    values = {"lr": 0.1, "optimizer": "SGD" if activation == "Tanhshrink" else "Adam"}
    assert_same_training(network(image, layer(activation), conv, layer(activation), layer(activation)), image, **values)
    wide = layer("Linear", in_features=30, out_features=9, bias=False)
    assert_same_training(network((30,), wide, layer(activation), flat=False), image, **values)


@pytest.mark.parametrize(
    "one",
    [
        layer("CELU", alpha=-3.0),
        layer("ELU", alpha=2.0),
        layer("GELU", approximate="tanh"),
        layer("Hardshrink", lambd=0.1),
        layer("Hardtanh", min_val=-0.5, max_val=2.0),
        layer("LeakyReLU", negative_slope=-0.5),
        layer("PReLU", num_parameters=3, init=0.5),
        layer("Softplus", beta=3.0, threshold=2.0),
        layer("Softshrink", lambd=0.0),
    ],
    ids=lambda one: one.op,
)
def test_activations_with_arguments_learn_as_in_the_plain_loop(one):
    image = (3, 4, 4)
    conv = layer("Conv2d", in_channels=3, out_channels=3, kernel_size=2)
    assert_same_training(network(image, one, conv, one), image, lr=0.1)


@st.composite
def pooled(draw):
    """Two poolings of any kind and arguments, with a convolution between them, and the shape of their input."""
    image = draw(image_shapes())
    dims, stack = len(image) - 1, Stack(image)

    def each(low, high):
        return [draw(st.integers(low, high)) for _ in range(dims)]

    for _ in range(2):
        kind = draw(st.sampled_from(["Max", "Avg", "AdaptiveMax", "AdaptiveAvg"]))
        if kind.startswith("Adaptive"):
            args = {"output_size": each(1, 5)}
        else:
            args = {"kernel_size": each(1, 4), "ceil_mode": draw(st.booleans())}
            args |= draw(st.sampled_from([{}, {"stride": each(1, 3), "padding": each(0, 2)}]))
            if kind == "Max":
                args["dilation"] = each(1, 2)
            else:
                args["count_include_pad"] = draw(st.booleans())
                args |= draw(st.sampled_from([{}, {"divisor_override": 3}])) if dims > 1 else {}
        stack.add(f"{kind}Pool{dims}d", **args)
        stack.add(f"Conv{dims}d", in_channels=stack.shape[0], out_channels=2, kernel_size=1)
    return stack.layers, image


@settings(max_examples=40, deadline=None)
@given(pooled(), st.integers(1, 6), st.integers(4, 9))
def test_poolings_of_all_kinds_learn_as_in_the_plain_loop(drawn, batch_size, count):
    layers, image = drawn
    assert_same_training(network(image, *layers), image, optimizer="SGD", batch_size=batch_size, count=count)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_gradients_that_are_needed_at_the_same_time_do_not_overlap(drawn):
    spans = [(size, min(a, b), max(a, b)) for size, a, b in drawn]
    places, room = slopes.place(spans)
    taken = [set() for _ in range(7)]
    for (size, first, last), begin in zip(spans, places, strict=True):
        values = set(range(begin, begin + size))
        assert begin >= 0
        assert begin + size <= room
        for moment in range(first, last + 1):
            assert not taken[moment] & values
            taken[moment] |= values
    assert room <= sum(size for size, _, _ in spans)


@pytest.mark.parametrize("last", [
    layer("MaxPool2d", kernel_size=[4, 3]), layer("Dropout", p=0.3), layer("ReLU"),
    layer("GroupNorm", num_groups=1, num_channels=CLASSES),
], ids=lambda one: one.op)  # fmt: skip
def test_layers_that_keep_something_or_work_in_place_may_be_the_last_one(last):
    image = (2, 4, 3)
    one = layer("Conv2d", in_channels=2, out_channels=CLASSES, kernel_size=[1, 1])
    pool = layer("AvgPool2d", kernel_size=[4, 3])
    layers = (layer("Reshape", shape=list(image)), one, *((last,) if "Pool" in last.op else (pool, last)))
    spec = NetworkSpec("N", "Mixed", "None", (*layers, layer("Flatten"), layer("LogSoftmax")))
    assert_same_training(spec, image, batch_size=20, count=50, optimizer="SGD")


def test_of_equal_values_the_first_is_the_largest_for_its_gradient():
    """A norm makes the same of all pixels of an even image, and has a bias for each of them."""
    image = (1, 4, 6)
    between = (layer("LayerNorm", normalized_shape=list(image)), layer("MaxPool2d", kernel_size=[2, 3]))
    data = {"train": (torch.ones(3, *image), torch.arange(3))}
    for plan in (REFERENCE, MACHINE_CODE):
        recipe = Recipe(epochs=1, lr=1.0, optimizer="SGD", batch_size=3)
        result = train(Job(network(image, *between), recipe, 5, plan, keep_weights=True), data)
        moved = result.weights["1.bias"][0] != 0
        assert np.flatnonzero(moved).tolist() == [0, 3, 12, 15]


@pytest.mark.parametrize(
    "between",
    [
        [layer("LayerNorm", normalized_shape=[4, 3, 5])],
        [layer("LayerNorm", normalized_shape=5, eps=0.1), layer("LayerNorm", normalized_shape=[3, 5], bias=False)],
        [layer("LayerNorm", normalized_shape=[3, 5], elementwise_affine=False)],
        [layer("GroupNorm", num_groups=2, num_channels=4)],
        [layer("GroupNorm", num_groups=4, num_channels=4, eps=0.1), layer("GroupNorm", num_groups=1, num_channels=4)],
        [layer("GroupNorm", num_groups=2, num_channels=4, affine=False)],
        [layer("BatchNorm2d", num_features=4, eps=0.1, momentum=0.5), layer("BatchNorm2d", num_features=4, bias=False)],
        [layer("BatchNorm2d", num_features=4, affine=False)],
        [layer("Flatten", start_dim=2), layer("LayerNorm", normalized_shape=15), layer("BatchNorm1d", num_features=4)],
    ],
)
def test_norms_with_arguments_learn_as_in_the_plain_loop(between):
    image = (2, 4, 6)
    conv = layer("Conv2d", in_channels=2, out_channels=4, kernel_size=2)
    assert_same_training(network(image, conv, *between, layer("Tanh")), image, count=11, optimizer="SGD", atol=1e-3)
    norm = layer("GroupNorm", num_groups=1, num_channels=2)
    assert_same_training(network(image, norm, conv, *between), image, count=11, optimizer="SGD", atol=1e-3)


DROPOUTS = (
    layer("Conv2d", in_channels=1, out_channels=4, kernel_size=3, padding=1),
    layer("Dropout", p=0.3),
    layer("MaxPool2d", kernel_size=2),
    layer("Dropout2d", p=0.4),
    layer("Dropout", p=0.0),
    layer("AlphaDropout", p=0.2),
)


@pytest.mark.parametrize("seeding", ["network", "torch"])
@pytest.mark.parametrize(
    ("image", "between"),
    [
        ((1, 6, 6), DROPOUTS),
        ((1, 6, 6), [layer("Dropout", p=0.5)]),
        ((3, 8), [layer("Dropout1d", p=0.5), layer("Tanh"), layer("AlphaDropout", p=0.5)]),
        ((2, 3, 2, 3), [layer("Dropout3d")]),
    ],
)
def test_dropout_draws_what_it_draws_in_the_plain_loop(image, between, seeding):
    spec = network(image, *between)
    assert_same_training(spec, image, batch_size=4, count=13, epochs=3, optimizer="SGD", seeding=seeding)


def test_what_dropout_draws_does_not_follow_from_how_much_is_drawn_at_a_time(monkeypatch):
    image = (1, 6, 6)
    data = {"train": samples(image, 50), "test": samples(image, 9, 1)}
    job = Job(network(image, *DROPOUTS), Recipe(epochs=2, batch_size=7), 1, MACHINE_CODE, keep_weights=True)
    together = train(job, data)
    monkeypatch.setattr(program, "DRAWN_TOGETHER", 1)
    one_by_one = train(job, data)
    for name, weights in together.weights.items():
        np.testing.assert_array_equal(one_by_one.weights[name], weights)


def test_activations_of_values_of_all_sizes():
    """Those that an image of zeros and large numbers gives at once: no overflow, and nothing lost near zero."""
    image = (1, 1, 40)
    for activation in ACTIVATIONS:
        spec = network(image, layer(activation))
        data = samples(image, 6)
        data[0][:] = torch.cat([torch.linspace(-100, 100, 20), torch.logspace(-6, 1, 20)])
        recipe = Recipe(epochs=1, lr=1e-6, batch_size=6, optimizer="SGD")
        one, two = (train(Job(spec, recipe, 3, p), {"train": data, "test": data}) for p in (REFERENCE, MACHINE_CODE))
        assert two.epochs[0].train_loss == pytest.approx(one.epochs[0].train_loss, rel=1e-5), activation
        np.testing.assert_allclose(two.epochs[0].splits[0].scores, one.epochs[0].splits[0].scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [15, 16, 17, 31, 32, 33, 65])
@pytest.mark.parametrize("outputs", [1, 2, 5, 6, 7, 13])
def test_convolutions_of_any_number_of_outputs_learn_from_batches_of_any_size(batch_size, outputs):
    args = {"in_channels": 2, "out_channels": outputs, "kernel_size": [2, 3], "stride": [1, 1 + outputs % 2]}
    spec = network((2, 3, 6), layer("Conv2d", **args))
    assert_same_training(spec, (2, 3, 6), batch_size=batch_size, count=batch_size + 5, tested=100)


@pytest.mark.parametrize("values", [{}, {"loss": "mse"}, {"label_smoothing": 0.1}], ids=str)
def test_a_large_batch_that_is_trained_on_in_parts_gives_the_gradients_of_all_of_it(values):
    """230 samples are three parts; the rest of 70 is one."""
    conv = layer("Conv2d", in_channels=1, out_channels=2, kernel_size=3, stride=2, bias=True)
    spec = network((1, 9, 8), conv, layer("Tanh"))
    assert_same_training(spec, (1, 9, 8), batch_size=230, count=300, tested=20, **values)


def test_tanh_is_exact_to_all_its_digits():
    """Relative to itself, as small as it may be."""
    x = np.concatenate([np.linspace(-12, 12, 20_001), np.geomspace(1e-30, 1, 1000)]).astype(np.float32)
    y = np.array([kernels().tanh(one) for one in x], np.float32)
    np.testing.assert_allclose(y, np.tanh(x.astype(np.float64)), rtol=5e-7)


def test_a_batch_may_be_larger_than_the_data_and_the_memory():
    assert_same_training(network((1, 4, 4), layer("Tanh")), (1, 4, 4), batch_size=10**12, optimizer="SGD")


@pytest.mark.parametrize("activation", ["None", *[*ACTIVATIONS][:8], "PReLU", "Mish"])
@pytest.mark.parametrize(("planes", "stride"), [(2, 1), (4, 1), (2, 2), (3, 2)])
def test_residual_blocks_learn_as_in_the_plain_loop(activation, planes, stride):
    image = (1, 9, 8)
    conv = layer("Conv2d", in_channels=1, out_channels=2, kernel_size=3)
    block = layer("BasicBlock", inplanes=2, planes=planes, stride=stride, activation=activation)
    first = layer("BasicBlock", inplanes=1, planes=1, activation=activation)
    assert_same_training(network(image, conv, block), image, atol=2e-3)
    assert_same_training(network(image, first), image, atol=2e-3)


def test_batch_norm_learns_and_remembers_as_in_the_plain_loop():
    image = (2, 3, 4)
    between = (
        layer("BatchNorm2d", num_features=2),
        layer("Conv2d", in_channels=2, out_channels=3, kernel_size=2),
        layer("BatchNorm2d", num_features=3),
        layer("Flatten"),
        layer("BatchNorm1d", num_features=18),
    )
    # Not Adam: it makes whole steps of what rounding leaves of the gradient of a bias before a batch norm, which is 0.
    spec = network(image, *between, flat=False)
    assert_same_training(spec, image, count=11, optimizer="SGD", atol=1e-3)
    # A last batch of one sample is left out where a value a channel has no variance.
    assert_same_training(spec, image, count=9, optimizer="SGD", atol=1e-3)


@pytest.mark.parametrize(
    ("optimizer", "args"),
    [
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("Adam", {}),
        ("Adam", {"betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.1}),
        ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
        ("AdamW", {}),
        ("AdamW", {"amsgrad": True, "weight_decay": 0.3}),
        ("RMSprop", {}),
        ("RMSprop", {"momentum": 0.9, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
        ("RMSprop", {"centered": True}),
        ("RMSprop", {"centered": True, "momentum": 0.5}),
    ],
)
def test_every_optimizer_takes_the_same_steps(optimizer, args):
    image = (1, 4, 5)
    between = (layer("Flatten"), layer("Linear", in_features=20, out_features=6), layer("Tanh"))
    values = {"optimizer": optimizer, "optimizer_args": args, "epochs": 6, "batch_size": 3}
    assert_same_training(network(image, *between, flat=False), image, atol=1e-3, **values)
    recipe = Recipe(optimizer=optimizer, optimizer_args=args)
    assert choose(recipe, "cpu", network(image, *between, flat=False)).mode == "compiled"


@given(
    st.fixed_dictionaries(
        {
            "loss": st.sampled_from(["nll", "mse", "l1", "distance"]),
            "gradient_clip": st.sampled_from([0.0, 0.2]),
            "augment": st.sampled_from([Augment(), Augment(shift=1, flip=True, crop=0.6, erase=0.4)]),
            "schedule": st.sampled_from(["constant", "cosine", "linear", "step", "onecycle"]),
            "init": st.sampled_from(["default", "randn", "xavier", "he"]),
            "order": st.sampled_from(["shuffled", "fixed"]),
            "seeding": st.sampled_from(["network", "torch"]),
            "batch_size": st.integers(1, 11),
            "optimizer_args": st.sampled_from([{}, {"momentum": 0.8}, {"momentum": 0.5, "nesterov": True}]),
        }
    ),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.2]),
    st.sampled_from([None, 0, 1]),
)
def test_every_recipe_learns_as_in_the_plain_loop(values, warmup, smoothing, positive):
    image = (1, 4, 5)
    between = (layer("Flatten"), layer("Linear", in_features=20, out_features=6), layer("Tanh"))
    spec = network(image, *between, flat=False)
    if positive is not None:  # of two classes, and without samples of a third
        end = (layer("Linear", in_features=6, out_features=1), layer("BinaryLogSigmoid", positive=positive))
        spec = NetworkSpec("N", "Mixed", "None", (*spec.layers[:-2], *end))
    values = {**values, "optimizer": "SGD", "warmup": 0.0 if values["schedule"] == "onecycle" else warmup}
    values["label_smoothing"] = smoothing if values["loss"] == "nll" else 0.0
    assert choose(Recipe(**values), "cpu", spec).mode == "compiled"
    assert_same_training(spec, image, classes=CLASSES if positive is None else 2, **values)


def test_the_same_seed_is_the_same_to_the_bit_also_beside_other_networks():
    image = (1, 6, 6)
    conv = network(image, layer("Conv2d", in_channels=1, out_channels=3, kernel_size=3), layer("GELU"))
    data = {"train": samples(image, 50), "test": samples(image, 300, 1)}
    recipe = Recipe(epochs=3, batch_size=7)
    first = train(Job(conv, recipe, 1, MACHINE_CODE), data)
    train(Job(network(image, layer("Tanh")), recipe, 9, MACHINE_CODE), data)
    again = train(Job(conv, recipe, 1, MACHINE_CODE), data)
    for one, two in zip(first.epochs, again.epochs, strict=True):
        assert one.train_loss == two.train_loss
        np.testing.assert_array_equal(one.splits[0].scores, two.splits[0].scores)


@pytest.mark.parametrize(
    "one",
    [
        *(layer(activation) for activation in ACTIVATIONS),
        layer("MaxPool2d", kernel_size=[2, 3]),
        layer("AvgPool2d", kernel_size=2),
        layer("LayerNorm", normalized_shape=3),
        layer("Dropout", p=0.01),
    ],
    ids=lambda one: one.op,
)
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_number_stays_none(one, place):
    image = (1, 2, 3)
    inputs, labels = samples(image, 4)
    inputs[1, 0, 0, place] = float("nan")
    result = train(Job(network(image, one), Recipe(epochs=2), 0, MACHINE_CODE), {"train": (inputs, labels)})
    assert (result.status, result.error) == ("diverged", "training loss became nan in epoch 1")


def test_data_are_left_as_they_are_and_weights_are_those_of_the_model():
    image = (2, 5, 5)
    spec = network(image, layer("BasicBlock", inplanes=2, planes=3, stride=2))
    data = {"train": samples(image, 20), "test": samples(image, 9, 1)}
    before = data["train"][0].clone()
    result = train(Job(spec, Recipe(epochs=2, batch_size=6), 0, MACHINE_CODE, keep_weights=True), data)
    assert torch.equal(data["train"][0], before)
    model = build(spec.layers).eval()
    model.load_state_dict({name: torch.from_numpy(values) for name, values in result.weights.items()})
    assert result.weights["1.bn1.num_batches_tracked"] == 8
    with torch.no_grad():
        scores = model(data["test"][0]).numpy()
    np.testing.assert_allclose(result.epochs[-1].splits[0].scores, scores, rtol=1e-4, atol=1e-5)


# Which networks


@pytest.mark.parametrize(
    "between",
    [
        [layer("RReLU")],
        [layer("Identity"), layer("Add", **{"from": -1})],
        [layer("BatchNorm2d", num_features=2, momentum=None)],
        [layer("BasicBlock", inplanes=2, planes=2, activation="RReLU")],
        [layer("Linear", in_features=6, out_features=6)],
    ],
    ids=lambda layers: layers[0].op,
)
def test_what_there_is_no_machine_code_for_is_left_to_torch(between):
    spec = network((2, 6, 6), *between)
    assert compiled.refuses(Job(spec, Recipe(), 0, MACHINE_CODE))
    assert choose(Recipe(), "cpu", spec).mode == "explicit"
    assert choose(Recipe(), "cpu", spec, "compiled").mode == "explicit"  # pinned: where it can be


def test_the_network_of_a_tutorial_has_machine_code():
    between = (
        layer("Conv2d", in_channels=1, out_channels=8, kernel_size=3, padding="same"),
        layer("ReLU"),
        layer("MaxPool2d", kernel_size=2),
        layer("Dropout", p=0.25),
        layer("AdaptiveAvgPool2d", output_size=3),
    )
    for optimizer, kernel in (("Adam", "fused"), ("RMSprop", "foreach")):  # what torch has of each
        plan = choose(Recipe(optimizer=optimizer), "cpu", network((1, 12, 12), *between))
        assert str(plan) == f"fp32/compiled/{kernel}/plain"


def test_the_plan_follows_from_size_recipe_and_pin():
    def conv(channels):
        return network((1, 20, 20), layer("Conv2d", in_channels=1, out_channels=channels, kernel_size=11))

    small, large = conv(1), conv(1 + MOST_MACS // (100 * 121))
    assert str(choose(Recipe(), "cpu", small)) == "fp32/compiled/fused/plain"
    assert choose(Recipe(), "cpu", large).mode == "explicit"
    assert choose(Recipe(), "cpu", large, "compiled").mode == "compiled"
    for pin in ("explicit", "tuned", "foreach", "eager"):
        assert choose(Recipe(), "cpu", small, pin).mode != "compiled"
    assert choose(Recipe(optimizer_args={"capturable": False}), "cpu", small).mode != "compiled"
    assert choose(Recipe(), "cuda:0", small).mode == "graph"
    with pytest.raises(PlanError, match="compiled is for fp32 on the cpu, got fp32 on cuda:0: leave it out"):
        choose(Recipe(), "cuda:0", small, "compiled")
    with pytest.raises(PlanError, match="compiled has convolutions of its own, got tuned: say plain"):
        choose(Recipe(), "cpu", small, "compiled/tuned")


@pytest.mark.parametrize("what", ["OPTIMIZERS", "LOSSES"])
def test_the_kernels_number_things_as_the_engine_names_them(what):
    from netpick.training.engines.compiled import kernels

    for number, name in enumerate(getattr(compiled, what)):
        (constant,) = (key for key in vars(kernels) if key.isupper() and key.replace("_", "") == name.upper())
        assert getattr(kernels, constant) == number


# Compiling

VERSION = f"py{sys.version_info.major}{sys.version_info.minor}"


def run_code(code, **environment):
    """Run some code in a process of its own; return what it prints."""
    command, environment = [sys.executable, "-c", code], {**os.environ, **environment}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def before():
    """The folder that machine code is taken from in this process, and any that has it."""
    return Path(kernels().train.stats.cache_path)


@pytest.fixture
def place(monkeypatch, tmp_path):
    """A folder of the user's for machine code, with nothing in it."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    return cache.folder()


class Compiler:
    """What is started to load the kernels; writes their files where there are none, and ends with what it is told."""

    def __init__(self, place, errors=()):
        self.place, self.errors, self.commands = place, list(errors), []

    @property
    def ran(self):
        return len(self.commands)

    def __call__(self, command, **options):
        assert command[:2] == [sys.executable, "-P"]
        self.commands.append(command)
        time.sleep(0.02)
        error = self.errors.pop(0) if self.errors else ""
        for name in (name for name in compiled.ALL_ENTRIES if f"'{name}'" in command[3]):
            (self.place / f"kernels.{name}-7.{VERSION}.nbi").write_text("code")
        return subprocess.CompletedProcess(command, bool(error), "", error)


def test_planning_and_looking_for_the_cache_load_neither_numba_nor_torch():
    code = (
        "import sys; from netpick.training.engines.compiled import cache, ready; cache.is_checked(cache.folder()); "
        "from netpick.training import ENGINES, Job, choose, train;"
        "sys.exit(bool({'numba', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_cache_is_filled_once_and_only_where_a_plan_needs_it(monkeypatch, place):
    compiler, notes = Compiler(place), []
    monkeypatch.setattr(ready.subprocess, "run", compiler)
    assert not cache.is_checked(place)
    assert ready.make_ready([Plan(mode="explicit")], notes.append) == frozenset()
    assert compiler.ran == len(notes) == 0
    assert ready.make_ready([Plan(mode="explicit"), MACHINE_CODE], notes.append) == frozenset()
    assert (compiler.ran, len(notes)) == (1, 1)
    assert cache.is_checked(place)
    ready.make_ready([MACHINE_CODE], notes.append)
    assert (compiler.ran, len(notes)) == (1, 1)


def test_what_is_for_bf16_is_compiled_where_a_plan_needs_it(monkeypatch, place):
    compiler, notes = Compiler(place), []
    monkeypatch.setattr(ready.subprocess, "run", compiler)
    bf16 = Plan("bf16", "compiled", convolutions="plain")
    ready.make_ready([Plan("bf16", "eager"), MACHINE_CODE], notes.append)
    assert cache.is_checked(place)
    assert not cache.is_checked(place, compiled.ALL_ENTRIES)
    for plans in ([MACHINE_CODE, bf16], [bf16], [MACHINE_CODE]):
        ready.make_ready(plans, notes.append)
        assert (compiler.ran, len(notes)) == (2, 2)
        assert cache.is_checked(place, compiled.ALL_ENTRIES)
    (place / f"kernels.conv_bf16-7.{VERSION}.nbi").write_text("other code")
    assert cache.is_checked(place)
    assert not cache.is_checked(place, compiled.ALL_ENTRIES)


def test_files_that_are_there_are_trusted_only_as_they_were_checked(monkeypatch, place):
    names = ("score",)
    file = place / f"kernels.score-7.{VERSION}.nbi"
    file.write_text("code")
    assert not cache.is_checked(place, names)
    cache.mark_checked(place, names)
    assert cache.is_checked(place, names)
    file.write_text("")
    assert not cache.is_checked(place, names)
    cache.mark_checked(place, names)
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert not cache.is_checked(place, names)
    monkeypatch.delenv("NUMBA_CPU_NAME")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")  # as in a worker that joblib started
    assert cache.is_checked(place, names)
    (source := place / "kernels.py").write_text("changed")
    with monkeypatch.context() as patch:
        patch.setattr(cache, "SOURCE", source)
        assert not cache.is_checked(place, names)
    next(place.glob("*.checked")).write_text("{")
    assert not cache.is_checked(place, names)


def test_where_numba_cannot_be_had_to_link_first_it_compiles_as_it_does(monkeypatch, place):
    compiler, notes = Compiler(place, 2 * ["AttributeError: another numba"]), []
    monkeypatch.setattr(ready.subprocess, "run", compiler)
    assert ready.make_ready([MACHINE_CODE], notes.append) == frozenset()
    assert ["True)" in command[3] for command in compiler.commands] == [True, True, False]
    assert cache.is_checked(place)


def test_code_that_can_be_neither_loaded_nor_compiled_leaves_the_networks_to_another_engine(monkeypatch, place):
    compiler, notes = Compiler(place, ["Traceback\nOSError: No space left on device"] * 3), []
    monkeypatch.setattr(ready.subprocess, "run", compiler)
    missing = ready.make_ready([MACHINE_CODE], notes.append)
    assert missing == {"compiled"}
    assert len(notes) == 2
    assert notes[1].endswith("since machine code can't be had here: OSError: No space left on device")
    assert not cache.is_checked(place)
    small = network((1, 4, 4), flat=True)
    for pin in ("auto", "compiled", "fp32/compiled/fused/plain"):
        assert choose(Recipe(), "cpu", small, pin).mode == "compiled"
        assert choose(Recipe(), "cpu", small, pin, missing).mode == "explicit"


def test_only_one_process_compiles_at_a_time(monkeypatch, place):
    compiler = Compiler(place)
    monkeypatch.setattr(ready.subprocess, "run", compiler)
    threads = [threading.Thread(target=ready.make_ready, args=([MACHINE_CODE], len)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compiler.ran == 1


def test_what_is_kept_is_what_trainings_call():
    """Nothing is compiled in a process that trains: the calls that compiled the kernels had the same types."""
    assert_same_training(
        network((1, 4, 4)), (1, 4, 4), optimizer="SGD", optimizer_args={"momentum": 0.9}, schedule="cosine"
    )
    for entry in (getattr(kernels(), name) for name in compiled.ENTRIES):
        assert len(entry.signatures) == len(entry.stats.cache_hits) == 1
        assert not entry.stats.cache_misses


def test_a_folder_that_can_be_written_is_found(monkeypatch, tmp_path):
    (file := tmp_path / "file").write_text("")  # what no folder can be made in, not even by root
    (tmp_path / "package").mkdir()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(cache.tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(cache, "SOURCE", tmp_path / "package" / "kernels.py")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "users"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache.folder().parent == tmp_path / "users"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(file))
    assert cache.folder() == tmp_path / "package" / "__pycache__"
    monkeypatch.setattr(cache, "SOURCE", file / "kernels.py")
    assert cache.folder().parent == tmp_path / "home"
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    place = cache.folder()
    assert place.parent == temporary
    assert place.stat().st_mode & 0o777 == 0o700
    place.chmod(0o777)  # where others may have put machine code, none is loaded from
    assert cache.folder() is None
    place.rmdir()
    place.symlink_to(tmp_path)
    assert cache.folder() is None
    notes = []
    assert ready.make_ready([MACHINE_CODE], notes.append) == {"compiled"}
    assert len(notes) == 1
    assert notes[0].endswith("no folder can be written that would keep it: name one in NUMBA_CACHE_DIR")


def test_a_damaged_cache_is_compiled_anew_and_gives_the_same_scores_to_the_bit_at_once(before, place):
    code = "import test_compiled as t; print(t.scores_of_a_small_network().tobytes().hex())"
    print_folder = (
        "from netpick.training.engines.compiled import loading as l; print(l.module().train.stats.cache_path)"
    )
    kept = Path(run_code(print_folder))
    assert kept.is_relative_to(place)
    for number, file in enumerate(sorted(before.glob("kernels.*.nb[ic]"))):
        shutil.copy(file, kept)
        if file.suffix == ".nbc":  # as after a full disk or a power failure: cut off, or empty
            os.truncate(kept / file.name, file.stat().st_size // 2 if number % 4 == 1 else 0)
    tests = os.pathsep.join(sys.path)
    # The process that finds nothing to load has it compiled, and loads it then: its own would give other bits.
    assert run_code(code, PYTHONPATH=tests) == scores_of_a_small_network().tobytes().hex()
    assert cache.is_checked(place)
    assert {file.name.split("-")[0] for file in kept.glob("*.nbi")} == {f"kernels.{name}" for name in compiled.ENTRIES}
    notes = []
    stamp = next(place.glob("*.checked")).stat().st_mtime_ns
    assert ready.make_ready([MACHINE_CODE], notes.append) == frozenset()
    assert (next(place.glob("*.checked")).stat().st_mtime_ns, notes) == (stamp, [])


def scores_of_a_small_network():
    """The scores after an epoch in machine code."""
    convolution = layer("Conv2d", in_channels=2, out_channels=3, kernel_size=3)
    spec = network((2, 6, 6), convolution, layer("BatchNorm2d", num_features=3), layer("GELU"))
    data = {"train": samples((2, 6, 6), 10), "test": samples((2, 6, 6), 7, 1)}
    result = train(Job(spec, Recipe(epochs=1, batch_size=4), 5, MACHINE_CODE), data)
    return result.epochs[-1].splits[0].scores
