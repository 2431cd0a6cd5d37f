"""Steps by hand against autograd: the same loss and the same gradients, for layers and shapes of all kinds."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_stack import Stack, image_shapes
from torch import nn

from netpick.networks.catalogue import catalogue, template
from netpick.networks.catalogue.template import Recipe
from netpick.networks.modules.build import build
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.spec import NetworkSpec, layer, shapes
from netpick.training import Job, Plan, train
from netpick.training.engines.explicit.activations import MANY
from netpick.training.engines.explicit.layers import BatchNorm
from netpick.training.engines.explicit.step import ExplicitStep
from netpick.training.steps import ALIGNMENT, FlatParameters

CLASSES = 3


def with_head(layers, image):
    """Layers, and what makes a score for each class of whatever they give."""
    size = int(np.prod(shapes(layers, image)[-1])) if layers else int(np.prod(image))
    return [*layers, layer("Flatten"), layer("Linear", in_features=size, out_features=CLASSES), layer("LogSoftmax")]


def assert_same_step(layers, x, tuned=True):
    """Two batches, so that nothing of the first is left over in the second."""
    torch.manual_seed(0)
    plain = build(layers)
    ours = build(layers, tuned=tuned)
    ours.load_state_dict(copy.deepcopy(plain.state_dict()))
    explicit = ExplicitStep(ours)
    for images in (x, x[: len(x) // 2 + 1] * 0.7):
        labels = torch.arange(len(images)) % CLASSES
        before = images.clone()
        torch.manual_seed(1)  # for dropout
        wanted = F.nll_loss(plain(images), labels)
        plain.zero_grad()
        wanted.backward()
        torch.manual_seed(1)
        loss = torch.zeros(())
        with torch.no_grad():
            explicit(images, labels, loss)
        assert torch.equal(images, before)
        torch.testing.assert_close(loss, wanted.detach(), rtol=1e-5, atol=1e-5)
        for (name, p), q in zip(plain.named_parameters(), ours.parameters(), strict=True):
            gradient = torch.zeros_like(p) if p.grad is None else p.grad
            torch.testing.assert_close(explicit.flat.gradients[q], gradient, rtol=1e-3, atol=2e-5, msg=name)
    for (name, buffer), ours_too in zip(plain.named_buffers(), ours.buffers(), strict=True):
        torch.testing.assert_close(buffer, ours_too, msg=name)


@st.composite
def convolutional(draw):
    """One or two convolutions of any arguments, with what may stand between, and their input."""
    image = draw(image_shapes())
    dims, stack = len(image) - 1, Stack(image)
    for _ in range(draw(st.integers(1, 2))):
        span = draw(st.booleans())
        sizes = {
            name: [draw(st.integers(low, high)) for _ in range(dims)]
            for name, low, high in (("kernel_size", 1, 4), ("stride", 1, 2), ("padding", 0, 1), ("dilation", 1, 2))
        }
        plain = draw(st.booleans())
        args = {"kernel_size": sizes["kernel_size"]} if plain else sizes
        if span:
            args = {"kernel_size": list(stack.shape[1:])}
        groups = stack.shape[0] if draw(st.integers(0, 5)) == 0 else 1
        channels = {"in_channels": stack.shape[0], "out_channels": groups * draw(st.integers(1, 4)), "groups": groups}
        middle = draw(st.sampled_from(["none", "ReLU", "Tanh", "GELU", "Softsign", "Dropout", "norm", "pool"]))
        bias = middle != "norm" and draw(
            st.booleans()
        )  # under a norm its gradient is 0: only rounding would be compared
        stack.add(f"Conv{dims}d", **channels, **args, bias=bias)
        if middle == "norm":
            stack.add(f"BatchNorm{dims}d", num_features=stack.shape[0])
        elif middle == "pool":
            stack.add(f"MaxPool{dims}d", kernel_size=2)
        elif middle != "none":
            stack.add(middle)
    return stack.layers, image


@settings(max_examples=60, deadline=None)
@given(convolutional(), st.integers(2, 5), st.booleans(), st.integers(0, 99))
def test_convolutions_of_all_kinds_learn_as_with_autograd(network, batch, tuned, seed):
    layers, image = network
    torch.manual_seed(seed)
    # A batch norm of next to equal values blows up what is only rounding; whole numbers of batches keep off that.
    assert_same_step(with_head(layers, image), torch.randn(batch * 2, *image) * 2, tuned)


@pytest.mark.parametrize("chance", ["Dropout", "RReLU"])
@pytest.mark.parametrize("out_channels", [1, 5])
def test_chance_falls_on_the_same_values_wherever_the_convolution_put_them(chance, out_channels):
    conv = layer("Conv1d", in_channels=2, out_channels=out_channels, kernel_size=3)
    torch.manual_seed(5)
    assert_same_step(with_head([conv, layer(chance)], (2, 9)), torch.randn(6, 2, 9))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_every_activation_learns_as_with_autograd(activation, bias):
    layers = [
        layer("Reshape", shape=[12]),
        layer("Linear", in_features=12, out_features=7, bias=bias),
        layer(activation),
        layer(activation),
    ]
    torch.manual_seed(3)
    assert_same_step(with_head(layers, (3, 2, 2)), torch.randn(6, 3, 2, 2))


@pytest.mark.parametrize("activation", ["None", *ACTIVATIONS])
@pytest.mark.parametrize(("planes", "stride"), [(2, 1), (4, 1), (3, 2)])
def test_blocks_learn_as_with_autograd(activation, planes, stride):
    layers = [
        layer("Conv2d", in_channels=1, out_channels=2, kernel_size=3),
        layer("BasicBlock", inplanes=2, planes=planes, stride=stride, activation=activation),
    ]
    torch.manual_seed(2)
    assert_same_step(with_head(layers, (1, 7, 6)), torch.randn(8, 1, 7, 6))


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [layer("ReLU")],  # must not overwrite the data
        [layer("BasicBlock", inplanes=1, planes=1, activation="Tanh")],
        [layer("Identity"), layer("AvgPool2d", kernel_size=2), layer("Softmax")],
        [layer("Linear", in_features=4, out_features=5), layer("Sigmoid")],  # of each row of an image
        [layer("Tanh"), layer("Conv2d", in_channels=1, out_channels=2, kernel_size=3)],
    ],
)
def test_odd_networks_learn_as_with_autograd(layers):
    torch.manual_seed(4)
    assert_same_step(with_head(layers, (1, 4, 4)), torch.randn(9, 1, 4, 4))


@pytest.mark.parametrize("activation", ["Identity", "ReLU", "GELU", "BatchNorm1d"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("image", [(1, 9), (3, 9), (1, 3, 9)])
def test_convolutions_over_one_dimension_hand_their_gradients_on(activation, bias, image):
    middle = layer(activation, **({"num_features": 4} if activation == "BatchNorm1d" else {}))
    layers = [
        layer("Reshape", shape=[image[-2], 9]),
        layer("Conv1d", in_channels=image[-2], out_channels=4, kernel_size=3, bias=bias),
        middle,
        layer("Conv1d", in_channels=4, out_channels=5, kernel_size=2, bias=bias),
        layer("Conv1d", in_channels=5, out_channels=2, kernel_size=4, bias=bias),
    ]
    torch.manual_seed(5)
    assert_same_step(with_head(layers, image), torch.randn(8, *image))


@pytest.mark.parametrize("norm", ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"])
def test_batch_norm_of_many_values_learns_as_with_autograd(norm):
    size = {"BatchNorm1d": [6, 480], "BatchNorm2d": [6, 24, 20], "BatchNorm3d": [6, 4, 6, 20]}[norm]
    layers = [layer("Reshape", shape=[2880]), layer("Linear", in_features=2880, out_features=2880)]
    layers += [layer("Reshape", shape=size), layer(norm, num_features=6), layer("ReLU")]
    torch.manual_seed(6)
    assert BatchNorm.MANY < 2880 * 10
    assert_same_step(with_head(layers, (1, 48, 60)), torch.randn(19, 1, 48, 60) * 3 + 5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_of_many_values_learn_as_with_autograd(activation):
    layers = [layer("Conv1d", in_channels=3, out_channels=40, kernel_size=2), layer(activation)]
    layers += [layer("Conv1d", in_channels=40, out_channels=3, kernel_size=2), layer(activation)]
    torch.manual_seed(7)
    x = torch.randn(9, 3, 60) * 3
    assert MANY < 9 // 2 * 40 * 59
    assert_same_step(with_head([layer("Reshape", shape=[3, 60]), *layers], (1, 3, 60)), x.view(9, 1, 3, 60))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stride", [[1, 2], [2, 1], [3, 2]])
def test_convolutions_of_picked_values_learn_as_with_autograd(bias, stride):
    layers = [
        layer("Conv2d", in_channels=1, out_channels=3, kernel_size=2),
        layer("Conv2d", in_channels=3, out_channels=4, kernel_size=1, stride=stride, bias=bias),
        layer("Tanh"),
    ]
    torch.manual_seed(8)
    assert_same_step(with_head(layers, (1, 8, 9)), torch.randn(6, 1, 8, 9))


def test_skip_connections_learn_as_with_autograd():
    layers = [
        layer("Conv2d", in_channels=1, out_channels=2, kernel_size=3, padding=1),
        layer("ReLU"),
        layer("Conv2d", in_channels=2, out_channels=2, kernel_size=3, padding=1),
        layer("Add", **{"from": 1}),
    ]
    torch.manual_seed(4)
    assert_same_step(with_head(layers, (1, 4, 4)), torch.randn(9, 1, 4, 4))


def test_a_label_that_is_no_class_is_refused():
    explicit = ExplicitStep(build(with_head([], (1, 2, 2))))
    with torch.no_grad(), pytest.raises(IndexError, match="Target 3 is out of bounds"):
        explicit(torch.randn(2, 1, 2, 2), torch.tensor([0, 3]), torch.zeros(()))


def test_parameters_lie_in_one_tensor_each_on_its_own_lines_of_cache():
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    before = [p.detach().clone() for p in model.parameters()]
    flat = FlatParameters(model)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    starts = [p.storage_offset() for p in model.parameters()]
    assert starts == [0, 16, 32, 48]  # 15, 5, 10 and 2 values
    assert ALIGNMENT * 4 == 64
    flat.values.detach().fill_(7)
    assert all((p == 7).all() for p in model.parameters())


@pytest.mark.parametrize("plan", [Plan(mode="explicit"), Plan(), Plan(convolutions="plain", kernel="foreach")], ids=str)
@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "RMSprop"])
def test_a_whole_training_of_each_family_is_that_of_the_reference_loop(plan, optimizer):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(41, 1, 8, 8, generator=generator)
    data = {"train": (images, torch.arange(41) % 10), "test": (images[:30] + 0.1, torch.arange(30) % 10)}
    # Steps of the adaptive ones are as long for a gradient that is only rounding: their first term must not be it.
    args = {"SGD": {"momentum": 0.9}, "Adam": {"eps": 1e-3}, "RMSprop": {"eps": 1e-3}}[optimizer]
    recipe = Recipe(optimizer=optimizer, optimizer_args=args, lr=0.003, batch_size=8, epochs=2)
    if optimizer == "RMSprop":
        plan = replace(plan, kernel="foreach")
    seen = {}
    for spec in catalogue.generate(template.load("smoke"), (1, 8, 8), 10):
        seen.setdefault(spec.computation, spec)
    for spec in seen.values():
        wanted = train(Job(spec, recipe, 5, Plan(mode="reference", convolutions="plain"), keep_weights=True), data)
        found = train(Job(spec, recipe, 5, plan, keep_weights=True), data)
        for a, b in zip(wanted.epochs, found.epochs, strict=True):
            assert b.train_loss == pytest.approx(a.train_loss, abs=2e-4), spec.name
            np.testing.assert_allclose(b.splits[0].scores, a.splits[0].scores, atol=3e-3, err_msg=spec.name)
        assert list(wanted.weights) == list(found.weights)
        assert isinstance(spec, NetworkSpec)
