"""Every argument of every class of torch in the table of operations: taken as torch has it, or refused in one line."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from netpick.core.errors import SpecError
from netpick.core.recipe import Recipe
from netpick.networks.catalogue.import_file import parse, to_lines
from netpick.networks.modules.build import build, build_layer
from netpick.networks.modules.measure import measure
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.operations import OPERATIONS, output_shape, resolve
from netpick.networks.paper.spec import LayerSpec, NetworkSpec, check, layer, shapes, sizes
from netpick.training import Job, choose, train

TORCH = {name: getattr(nn, name) for name in OPERATIONS if hasattr(nn, name)}
CHANNELS, CLASSES = 4, 3

# What an argument is tried with, after its name or that of the operation and its own.
VALUES = {
    "in_features": [6], "out_features": [5], "bias": [False, True], "device": [None, "cpu"], "dtype": [None, "float32"],
    "in_channels": [4], "out_channels": [2], "kernel_size": [3], "stride": [2, 1], "padding": [1, "same", "valid"],
    "dilation": [2, 1], "groups": [2], "padding_mode": ["zeros", "reflect", "replicate", "circular"],
    "alpha": [0.5, -0.5], "inplace": [False, True], "approximate": ["none", "tanh"], "lambd": [0.25],
    "min_val": [-0.5], "max_val": [0.5, -2.0], "min_value": [None, -0.5], "max_value": [None, 0.5],
    "negative_slope": [0.25, -0.5], "num_parameters": [1, 4, 3], "init": [0.5], "lower": [0.25, 0.5], "upper": [0.5],
    "beta": [2.0], "threshold": [0.5], "return_indices": [False, True], "ceil_mode": [False, True],
    "count_include_pad": [True, False], "divisor_override": [None, 3, 0], "output_size": [2, [None]],
    "num_features": [4], "eps": [0.125], "momentum": [0.5, None], "affine": [True, False],
    "track_running_stats": [True, False], "elementwise_affine": [True, False], "normalized_shape": [6],
    "num_groups": [2], "num_channels": [4], "p": [0.25, 1.0], "dim": [1, -1, 0, None],
    "start_dim": [1, 2, 0], "end_dim": [-1, 2],
}  # fmt: skip
NEEDED = {
    "Linear": {"in_features": 6, "out_features": 5},
    "LayerNorm": {"normalized_shape": 6},
    "GroupNorm": {"num_groups": 1, "num_channels": CHANNELS},
    "Softmax": {"dim": 1},
    "LogSoftmax": {"dim": 1},
}
KINDS = {
    "Conv": {"in_channels": CHANNELS, "out_channels": CHANNELS, "kernel_size": 2},
    "MaxPool": {"kernel_size": 2},
    "AvgPool": {"kernel_size": 2},
    "Adaptive": {"output_size": 3},
    "BatchNorm": {"num_features": CHANNELS},
}
# What else an argument needs to be of any effect.
WITH = {
    "padding_mode": {"padding": 1},
    "count_include_pad": {"padding": 1},
    "ceil_mode": {"stride": 3},
    "divisor_override": {"padding": 1},
}
REFUSED = {
    ("device", "cpu"), ("dtype", "float32"), ("return_indices", True), ("track_running_stats", False),
    ("min_value", -0.5), ("max_value", 0.5), ("max_val", -2.0), ("num_parameters", 3), ("lower", 0.5),
    ("divisor_override", 0), ("p", 1.0), ("dim", 0), ("dim", None), ("start_dim", 0),
}  # fmt: skip


def needed(op):
    return NEEDED.get(op) or next((args for kind, args in KINDS.items() if op.startswith(kind)), {})


def cases():
    for op, kind in TORCH.items():
        for name in inspect.signature(kind).parameters:
            for value in VALUES.get(name, ["unknown"]):
                if (name, value) == ("output_size", [None]):
                    value = [None, *(2,) * (int(op[-2]) - 1)]
                yield op, name, value


def is_refused(op, name, value):
    if isinstance(value, list):  # a size that stays: torch itself knows it from two dimensions on
        return op.endswith("1d")
    if name == "padding" and isinstance(value, str):
        return not op.startswith("Conv")
    return name not in VALUES or (name, value) in REFUSED


def image_of(op):
    dims = int(op[-2]) if op[-1] == "d" and op[-2].isdigit() else 2
    return (CHANNELS, *(6, 5, 4)[3 - dims :][::-1]) if dims != 2 else (CHANNELS, 5, 6)


def network(*tried, image):
    """A convolution, then what is tried, then what makes a score for each class of whatever that gives."""
    dims = len(image) - 1
    first = layer(f"Conv{dims}d", in_channels=CHANNELS, out_channels=CHANNELS, kernel_size=1, bias=False)
    layers = [layer("Reshape", shape=list(image)), first, *tried]
    (*_, given) = shapes(layers, image)
    values = int(torch.tensor(given).prod())
    head = [layer("Flatten"), layer("Linear", in_features=values, out_features=CLASSES), layer("LogSoftmax")]
    return NetworkSpec("N", "Mixed", "None", (*layers, *head))


def samples(image, count, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, *image, generator=random), torch.arange(count) % CLASSES


def run(module, image):
    """Output, gradients and state of a module after a forward and a backward pass in training."""
    x = samples(image, 3)[0].requires_grad_()
    torch.manual_seed(1)
    out = module.train()(x * 1)
    (out * out).sum().backward()
    return [out, x.grad, *(p.grad for p in module.parameters()), *module.buffers()]


@pytest.mark.parametrize(("op", "name", "value"), list(cases()), ids=str)
def test_an_argument_is_torchs_or_refused_in_one_line(op, name, value):
    args = {**needed(op), **WITH.get(name, {}), name: value}
    image = image_of(op)
    if is_refused(op, name, value):
        with pytest.raises(SpecError) as caught:
            output_shape(op, resolve(op, args), image)
        assert op in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    tried = LayerSpec(op, args)
    torch.manual_seed(0)
    ours = build_layer(tried)
    torch.manual_seed(0)
    theirs = TORCH[op](**args)
    for one, two in zip(run(ours, image), run(theirs, image), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)
    assert output_shape(op, tried.resolved, image) == tuple(ours(samples(image, 2)[0]).shape[1:])
    spec = network(tried, image=image)
    counts, size = measure(spec.layers, image), sizes(spec.layers, image)
    assert (counts.params, counts.macs) == (size.params, size.macs)
    assert_learns(spec, image)


def assert_learns(spec, image):
    """The engine that is chosen, and torch's kernels by hand, give the losses and the scores of the plain loop."""
    check(spec.layers, image, CLASSES)
    recipe = Recipe(epochs=1, lr=0.01, batch_size=4)
    data = {"train": samples(image, 8), "test": samples(image, 5, 1)}
    plans = [choose(recipe, "cpu", spec, pin) for pin in ("reference", "auto", "explicit")]
    plain, *others = (train(Job(spec, recipe, 3, plan), data) for plan in plans)
    assert (plain.status, plain.error) == ("done", None)
    for other in others:
        assert (other.status, other.error) == ("done", None)
        for one, two in zip(plain.epochs, other.epochs, strict=True):
            assert two.train_loss == pytest.approx(one.train_loss, rel=1e-4, abs=1e-5)
            np.testing.assert_allclose(two.splits[0].scores, one.splits[0].scores, rtol=1e-3, atol=1e-4)
    assert torch.equal(data["test"][0], samples(image, 5, 1)[0])  # nobody has written into the images


def test_torchs_defaults_change_nothing():
    for op, kind in TORCH.items():
        image = image_of(op)
        plain = network(LayerSpec(op, needed(op)), image=image)
        for name, parameter in inspect.signature(kind).parameters.items():
            known = {**OPERATIONS[op].arguments, **OPERATIONS[op].options}
            if name not in known or parameter.default is parameter.empty or (name, parameter.default) in REFUSED:
                continue
            spelt = network(LayerSpec(op, {**needed(op), name: parameter.default}), image=image)
            assert (op, name, spelt.hash) == (op, name, plain.hash)


def test_every_option_of_the_table_is_an_argument_of_torch_with_its_default():
    for op, row in OPERATIONS.items():
        for name, option in row.options.items():
            default = inspect.signature(TORCH[op]).parameters[name].default
            assert option.kind.read(name, default) == option.default, (op, name)


def test_an_argument_that_the_installed_torch_does_not_have(monkeypatch):
    class Older(nn.Module):
        def __init__(self, num_features):
            super().__init__()

    monkeypatch.setattr(nn, "BatchNorm2d", Older)
    with pytest.raises(SpecError, match=r"BatchNorm2d can't be made by the installed torch .*'bias'"):
        build_layer(layer("BatchNorm2d", num_features=2, bias=False))


def test_memory_of_layers_in_place():
    image = (CHANNELS, 5, 6)
    held = [
        measure(network(layer("ReLU", **args), layer("Dropout", **args), image=image).layers, image).memory
        for args in ({}, {"inplace": False}, {"inplace": True})
    ]
    assert held[0] == held[1]
    assert held[0] - held[2] == 4 * 5 * 6  # a dropout gives on what it gets while it is not trained


def test_networks_that_are_written_are_read_as_they_were():
    image = (1, 8, 8)
    layers = [
        layer("Conv2d", in_channels=1, out_channels=4, kernel_size=[2, 3], padding="same", padding_mode="reflect"),
        layer("BatchNorm2d", num_features=4, eps=1e-3, momentum=None, bias=False, device=None, dtype=None),
        layer("LeakyReLU", negative_slope=0.25, inplace=True),
        layer("MaxPool2d", kernel_size=3, stride=2, dilation=2, ceil_mode=True, return_indices=False),
        layer("AdaptiveAvgPool2d", output_size=[None, 1]),
        layer("Flatten", start_dim=1),
        layer("Linear", in_features=12, out_features=CLASSES),
        layer("LogSoftmax"),
    ]
    spec = NetworkSpec("N", "Conv2dThenLinear", "LeakyReLU", tuple(layers))
    (again,) = parse(to_lines([spec]), "file", image, CLASSES).networks
    assert again.hash == spec.hash
    assert [one.resolved for one in again.layers] == [one.resolved for one in spec.layers]


INPLACE = sorted(op for op in TORCH if "inplace" in OPERATIONS[op].options and not op.endswith(("1d", "3d")))
BEFORE = sorted(op for op in TORCH if not op.endswith(("1d", "3d")))
BETWEEN = {
    "nothing": [],
    "flatten": [layer("Flatten")],
    "identity": [layer("Identity")],
    "dropout": [layer("Dropout")],
    "no dropout": [layer("Dropout", p=0.0)],
    "dropout in place": [layer("Dropout", inplace=True)],
    "twice": [layer("Hardtanh", inplace=True), layer("Reshape", shape=[60, 2])],
}


def torch_trains(layers, image):
    model = build(layers).train()
    try:
        model(samples(image, 2)[0]).sum().backward()
    except RuntimeError:
        return False
    return True


def is_taken(layers, image):
    try:
        check(layers, image, CLASSES)
    except SpecError:
        return False
    return True


@pytest.mark.parametrize("between", BETWEEN)
def test_layers_in_place_are_refused_where_torch_could_not_train_them(between):
    image = (CHANNELS, 5, 6)
    block = {"inplanes": CHANNELS, "planes": CHANNELS}
    before = [LayerSpec(op, needed(op)) for op in BEFORE]
    before += [layer("BasicBlock", **block, activation=name) for name in ("None", *ACTIVATIONS)]
    before += [layer(op, inplace=True) for op in INPLACE]
    for one in before:
        keeps = one.op == "BasicBlock" or OPERATIONS[one.op].role not in ("computation", "pooling")  # all its values
        middle = BETWEEN[between] if keeps else []
        layers = network(one, *middle, layer("ReLU", inplace=True), image=image).layers
        assert is_taken(layers, image) == torch_trains(layers, image), one


@pytest.mark.parametrize("op", INPLACE)
def test_every_layer_in_place_is_refused_after_one_that_keeps_its_output(op):
    image = (CHANNELS, 5, 6)
    spec = network(layer("Tanh"), layer(op, inplace=True), image=image)
    if op == "AlphaDropout":  # torch never overwrites there
        assert_learns(spec, image)
        return
    with pytest.raises(SpecError, match=rf"^layer 3: {op} with inplace would overwrite the output of layer 2, Tanh, "):
        check(spec.layers, image, CLASSES)
    assert not torch_trains(spec.layers, image)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([layer("ReLU", inplace=True)], "layer 0: ReLU with inplace would overwrite the images: leave inplace out"),
        (
            [layer("Flatten"), layer("Dropout", p=0.5), layer("SiLU", inplace=True)],
            "layer 2: SiLU with inplace would overwrite the images",
        ),
        (
            [
                layer("Linear", in_features=3, out_features=3),
                layer("Identity"),
                layer("Dropout", p=0.5),
                layer("SiLU", inplace=True),
                LayerSpec("Add", {"from": 0}),
            ],
            "layer 3: SiLU with inplace would overwrite the output of layer 0, which layer 4 goes back to",
        ),
        (
            [layer("Linear", in_features=3, out_features=3), layer("ELU", alpha=-1.0, inplace=True)],
            "layer 1: ELU with inplace has no gradient for alpha below 0: leave inplace out",
        ),
    ],
)
def test_what_a_layer_in_place_would_overwrite_is_said(layers, words):
    with pytest.raises(SpecError) as caught:
        check([*layers, layer("LogSoftmax")], (3,), 3)
    assert words in str(caught.value)


def test_skips_from_layers_in_place_and_from_before_new_memory():
    image = (CHANNELS, 5, 6)
    conv = layer("Conv2d", in_channels=CHANNELS, out_channels=CHANNELS, kernel_size=1)
    spec = network(
        layer("SiLU", inplace=True), conv, layer("ReLU", inplace=True), LayerSpec("Add", {"from": 2}), image=image
    )
    assert_learns(spec, image)
