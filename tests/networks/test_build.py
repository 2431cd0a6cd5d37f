from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netpick.core.torchvision_import import torchvision_models
from netpick.networks.catalogue import catalogue, template
from netpick.networks.modules.build import BasicBlock, Reshape, build, build_layer, make_activation
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.spec import layer

IN_PLACE = {
    *("CELU", "ELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "Mish", "RReLU", "ReLU", "ReLU6", "SELU"),
    *("SiLU", "Sigmoid", "Tanh"),
}
"""Activations that torch can work out in place: by an argument, or by a function such as torch.tanh_."""


def torchvision_twin(inplanes, planes, stride):
    """Our block and torchvision's, with the same random weights and statistics."""
    resnet = torchvision_models().resnet
    downsample = None
    if stride != 1 or inplanes != planes:
        downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
    theirs = resnet.BasicBlock(inplanes, planes, stride, downsample)
    for tensor in theirs.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.1)
    ours = BasicBlock(inplanes, planes, stride)
    ours.load_state_dict({k.replace("downsample", "shortcut"): v.clone() for k, v in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize(("inplanes", "planes", "stride"), [(3, 3, 1), (2, 5, 1), (4, 4, 2), (3, 6, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_the_block_is_torchvisions(inplanes, planes, stride, training):
    torch.manual_seed(0)
    ours, theirs = (block.train(training) for block in torchvision_twin(inplanes, planes, stride))
    x = torch.randn(4, inplanes, 7, 6)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, wanted = ours(one), theirs(other)
    torch.testing.assert_close(out, wanted)
    (out**2).sum().backward()
    (wanted**2).sum().backward()
    torch.testing.assert_close(one.grad, other.grad)
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name.replace("shortcut", "downsample")].grad)
    for name, tensor in ours.state_dict().items():  # running statistics too
        torch.testing.assert_close(tensor, theirs.state_dict()[name.replace("shortcut", "downsample")])


def test_the_block_begins_with_torchs_own_initial_weights():
    """As published code does it: not the special ones of torchvision's whole ResNet."""
    torch.manual_seed(3)
    ours = BasicBlock(2, 4)
    torch.manual_seed(3)
    conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
    assert torch.equal(ours.conv1.weight, conv.weight)
    assert torch.equal(ours.bn1.weight, torch.ones(4))


@pytest.mark.parametrize("activation", ["None", *ACTIVATIONS])
def test_a_block_of_any_activation_is_what_it_says_and_lets_gradients_through(activation):
    torch.manual_seed(0)
    block = BasicBlock(2, 3, 2, activation).eval()  # RReLU is random in training
    function = nn.Identity() if activation == "None" else getattr(nn, activation)()
    function.eval()
    x = torch.randn(4, 2, 5, 5)

    def norm(name, z):
        part = block.get_submodule(name)
        return F.batch_norm(z, part.running_mean, part.running_var, part.weight, part.bias)

    hidden = function(norm("bn1", F.conv2d(x, block.conv1.weight, stride=2, padding=1)))
    straight = norm("bn2", F.conv2d(hidden, block.conv2.weight, padding=1))
    short = norm("shortcut.1", F.conv2d(x, block.shortcut[0].weight, stride=2))
    torch.testing.assert_close(block(x.clone()), function(straight + short))
    block.train()
    given = x.clone().requires_grad_()
    (block(given) ** 2).sum().backward()
    assert given.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in block.parameters() if p.grad.numel() > 1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_in_place_activations(activation):
    x = torch.randn(3, 4)
    wanted = getattr(nn, activation)().eval()(x)
    assert torch.equal(make_activation(activation).eval()(x), wanted)
    out = make_activation(activation, in_place=True).eval()(x)
    assert torch.equal(out, wanted)
    assert (out.data_ptr() == x.data_ptr()) == (activation in IN_PLACE)
    assert repr(make_activation(activation, in_place=True))


def test_a_layer_activation_leaves_its_input_alone():
    for name in ACTIVATIONS:
        x = torch.randn(2, 3)
        before = x.clone()
        build_layer(layer(name))(x)
        assert torch.equal(x, before), name


def test_no_activation_is_the_identity():
    x = torch.randn(2)
    assert make_activation("None")(x) is x
    assert make_activation("None", in_place=True)(x) is x


def test_reshape_is_of_each_sample():
    x = torch.arange(24).reshape(2, 12)
    out = Reshape([3, 2, 2])(x)
    assert torch.equal(out, x.reshape(2, 3, 2, 2))
    assert repr(Reshape([3, 4])) == "Reshape(shape=[3, 4])"


@pytest.mark.parametrize(
    ("one", "kind", "values"),
    [
        (layer("Linear", in_features=3, out_features=2), nn.Linear, {"in_features": 3, "out_features": 2}),
        (
            layer("Conv2d", in_channels=2, out_channels=4, kernel_size=[3, 2], stride=2, groups=2, bias=False),
            nn.Conv2d,
            {"kernel_size": (3, 2), "stride": (2, 2), "padding": (0, 0), "groups": 2, "bias": None},
        ),
        (layer("MaxPool2d", kernel_size=2), nn.MaxPool2d, {"kernel_size": (2, 2), "stride": (2, 2)}),
        (layer("BatchNorm1d", num_features=5), nn.BatchNorm1d, {"num_features": 5}),
        (layer("Dropout", p=0.25), nn.Dropout, {"p": 0.25}),
        (layer("GELU"), nn.GELU, {}),
        (layer("LogSoftmax"), nn.LogSoftmax, {"dim": 1}),
        (layer("Softmax"), nn.Softmax, {"dim": 1}),
    ],
)
def test_a_layer_is_the_class_of_torch_with_its_arguments(one, kind, values):
    module = build_layer(one)
    assert type(module) is kind
    assert {name: getattr(module, name) for name in values} == values


def test_the_same_seed_gives_the_same_weights_and_the_plain_spelling_too():
    layers = [layer("Flatten"), layer("Linear", in_features=64, out_features=10), layer("LogSoftmax")]
    torch.manual_seed(1)
    one = build(layers).state_dict()
    torch.manual_seed(1)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LogSoftmax(1)).state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_every_family_learns_in_every_layer():
    """A gradient reaches every parameter of one network of each family, and scores are those of all classes."""
    torch.manual_seed(0)
    for one in catalogue.generate(template.load("smoke"), (1, 8, 8), 10):
        model = build(one.layers)
        scores = model(torch.randn(8, 1, 8, 8))
        torch.testing.assert_close(scores.exp().sum(1), torch.ones(8))
        F.nll_loss(scores, torch.arange(8)).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters()), one.name
        first = next(model.parameters())
        assert first.grad.abs().sum() > 0, one.name


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("shape", "kernel"), [((3, 7), 7), ((2, 5, 4), [5, 4]), ((2, 3, 4, 5), [3, 4, 5])])
def test_a_convolution_over_all_of_its_input_is_the_same_as_a_product(shape, kernel, bias):
    op = f"Conv{len(shape) - 1}d"
    one = layer(op, in_channels=shape[0], out_channels=6, kernel_size=kernel, bias=bias)
    layers = (one, layer("Reshape", shape=[6]))
    torch.manual_seed(0)
    plain, product = build(layers), build(layers, tuned=True)
    product.load_state_dict(plain.state_dict())
    x = torch.randn(5, *shape, requires_grad=True)
    twin = x.detach().clone().requires_grad_()
    a, b = plain(x), product(twin)
    torch.testing.assert_close(a, b)
    a.square().sum().backward()
    b.square().sum().backward()
    torch.testing.assert_close(x.grad, twin.grad)
    for p, q in zip(plain.parameters(), product.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


@pytest.mark.parametrize(
    "args",
    [
        {"kernel_size": 4},
        {"kernel_size": 5, "padding": 1},
        {"kernel_size": 5, "groups": 2},
        {"kernel_size": 5, "stride": 3},
        {"kernel_size": 3, "dilation": 2},
    ],
)
def test_other_convolutions_stay_what_they_are(args):
    layers = (layer("Conv2d", in_channels=4, out_channels=4, **args),)
    plain, product = build(layers), build(layers, tuned=True)
    product.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(plain(x), product(x))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("shape", "kernel"), [((1, 9), 4), ((1, 8, 7), [3, 5]), ((1, 4, 5, 6), [2, 3, 2])])
def test_the_first_convolution_of_grey_images_learns_the_same(shape, kernel, bias):
    layers = (layer(f"Conv{len(shape) - 1}d", in_channels=1, out_channels=6, kernel_size=kernel, bias=bias),)
    torch.manual_seed(0)
    plain, tuned = build(layers), build(layers, tuned=True)
    tuned.load_state_dict(plain.state_dict())
    x = torch.randn(5, *shape)
    a, b = plain(x), tuned(x)
    torch.testing.assert_close(a, b)
    towards = torch.randn_like(a)
    (a * towards).sum().backward()
    (b * towards).sum().backward()
    for p, q in zip(plain.parameters(), tuned.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-4)
    assert "GreyConv" in type(tuned(x).grad_fn).__name__
    # Where the input needs a gradient too, it is torch's own.
    torch.testing.assert_close(
        torch.autograd.grad(plain(x.requires_grad_()).sum(), x), torch.autograd.grad(tuned(x.requires_grad_()).sum(), x)
    )
