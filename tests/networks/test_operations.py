from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules import activation as torch_activations
from torch.utils.flop_counter import FlopCounterMode

from netpick.core.errors import SpecError
from netpick.networks.modules.build import build_layer
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.arguments import MAX_SIZE
from netpick.networks.paper.operations import OPERATIONS, output_shape, resolve
from netpick.networks.paper.spec import layer

SHAPES = {
    1: st.tuples(st.integers(1, 4), st.integers(1, 9)),
    2: st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    3: st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
}


def sizes(dims, low, high):
    """One integer for all dimensions, or one each."""
    number = st.integers(low, high)
    return number | st.lists(number, min_size=dims, max_size=dims)


@st.composite
def convolutions(draw):
    dims = draw(st.integers(1, 3))
    given = draw(SHAPES[dims])
    groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if given[0] % g == 0]))
    args = {
        "in_channels": given[0],
        "out_channels": groups * draw(st.integers(1, 3)),
        "kernel_size": draw(sizes(dims, 1, 4)),
        "groups": groups,
    }
    optional = {
        "stride": sizes(dims, 1, 3),
        "padding": sizes(dims, 0, 2) | st.sampled_from(["same", "valid"]),
        "dilation": sizes(dims, 1, 2),
        "bias": st.booleans(),
        "padding_mode": st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    }
    return f"Conv{dims}d", {**args, **draw(st.fixed_dictionaries({}, optional=optional))}, given


@st.composite
def poolings(draw):
    dims = draw(st.integers(1, 3))
    given = draw(SHAPES[dims])
    if draw(st.booleans()):
        kind = draw(st.sampled_from(["Avg", "Max"]))
        size = sizes(dims, 1, 5)
        if dims > 1:
            size |= st.lists(st.none() | st.integers(1, 5), min_size=dims, max_size=dims)
        return f"Adaptive{kind}Pool{dims}d", {"output_size": draw(size)}, given
    args = {"kernel_size": draw(sizes(dims, 1, 4))}
    optional = {"stride": sizes(dims, 1, 3), "padding": sizes(dims, 0, 2), "ceil_mode": st.booleans()}
    kind = draw(st.sampled_from(["MaxPool", "AvgPool"]))
    if kind == "MaxPool":
        optional["dilation"] = sizes(dims, 1, 3)
    else:
        optional["count_include_pad"] = st.booleans()
    return f"{kind}{dims}d", {**args, **draw(st.fixed_dictionaries({}, optional=optional))}, given


@st.composite
def linears(draw):
    given = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    args = {"in_features": given[-1], "out_features": draw(st.integers(1, 7))}
    return "Linear", {**args, **draw(st.fixed_dictionaries({}, optional={"bias": st.booleans()}))}, tuple(given)


@st.composite
def blocks(draw):
    given = draw(SHAPES[2])
    args = {"inplanes": given[0], "planes": draw(st.integers(1, 4))}
    optional = {"stride": st.integers(1, 3), "activation": st.sampled_from(["None", *ACTIVATIONS])}
    return "BasicBlock", {**args, **draw(st.fixed_dictionaries({}, optional=optional))}, given


@st.composite
def normalisations(draw):
    dims = draw(st.integers(1, 3))
    given = draw(SHAPES[dims])
    kind = draw(st.sampled_from(["batch", "layer", "group", "dropout"]))
    if kind == "layer":
        last = list(given[draw(st.integers(0, dims)) :])
        shape = last[0] if len(last) == 1 and draw(st.booleans()) else last
        options = {name: st.booleans() for name in ("elementwise_affine", "bias")}
        return "LayerNorm", {"normalized_shape": shape, **draw(st.fixed_dictionaries({}, optional=options))}, given
    options = draw(st.fixed_dictionaries({}, optional={name: st.booleans() for name in ("affine", "bias")}))
    if kind == "group":
        return "GroupNorm", {"num_groups": draw(st.integers(1, 4)), "num_channels": given[0], **options}, given
    if kind == "dropout":
        return f"Dropout{dims}d", draw(st.sampled_from([{}, {"p": 0.25}])), given
    if dims == 1 and draw(st.booleans()):
        given = given[:1]
    return f"BatchNorm{dims}d", {"num_features": given[0], **options}, given


@st.composite
def reshapes(draw):
    given = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    if draw(st.booleans()):
        dims = st.integers(-len(given), 4).filter(bool)  # not the batch
        options = {"start_dim": dims, "end_dim": dims}
        return "Flatten", draw(st.fixed_dictionaries({}, optional=options)), tuple(given)
    return "Reshape", {"shape": draw(st.permutations(given))}, tuple(given)


@st.composite
def elementwise(draw):
    given = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    op = draw(st.sampled_from([*ACTIVATIONS, "Identity", "Dropout", "AlphaDropout", "LogSoftmax", "Softmax"]))
    if "Softmax" in op:  # torch's default would depend on the number of dimensions
        return op, {"dim": draw(st.sampled_from([1, -1]))}, given
    args = {"Dropout": {"p": 0.25}}.get(op, {})
    if op == "PReLU":
        args = {"num_parameters": draw(st.integers(1, 4))}
    return op, draw(st.sampled_from([args, {}])), given


def refused(op, args, given):
    try:
        output_shape(op, resolve(op, args), given)
    except SpecError:
        return True
    return False


def run_in_torch(op, args, given):
    """Shape, parameters and multiply-accumulates of torch's own module on a random input; None where torch can't."""
    try:
        module = (getattr(nn, op)(**args) if hasattr(nn, op) else build_layer(layer(op, **args))).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            out = module(torch.randn(2, *given))
        if op == "GroupNorm":  # torch looks at the whole batch; a single value a group and sample must not be
            module(torch.randn(1, *given))
    except (RuntimeError, ValueError, IndexError):
        return None
    params = sum(p.numel() for p in module.parameters())
    return tuple(out.shape[1:]), params, counter.get_total_flops() // 2 // 2  # two operations each, two samples


@pytest.mark.parametrize(
    "cases", [convolutions(), poolings(), linears(), blocks(), normalisations(), reshapes(), elementwise()], ids=repr
)
def test_shapes_params_and_macs_are_those_of_the_module(cases):
    @given(cases)
    def check(case):
        op, args, shape = case
        found = run_in_torch(op, args, shape)
        assert refused(op, args, shape) == (found is None)
        if found:
            row, full = OPERATIONS[op], resolve(op, args)
            out = output_shape(op, full, shape)
            assert (out, row.params(shape, out, full), row.macs(shape, out, full)) == found

    check()


def test_a_kernel_that_fits_with_the_padding_alone():
    """Torch takes it everywhere but in AvgPool3d."""
    for op in ("MaxPool2d", "AvgPool2d", "MaxPool3d", "AvgPool3d"):
        shape = (1,) + int(op[-2]) * (1,)
        args = {"kernel_size": 2, "padding": 1}
        assert refused(op, args, shape) == (run_in_torch(op, args, shape) is None) == (op == "AvgPool3d")


def test_every_operation_has_a_case_above():
    ours = {"Reshape", "Flatten", "Linear", "BasicBlock", "Dropout", "Identity", "LogSoftmax", "Softmax", *ACTIVATIONS}
    ours |= {"BinaryLogSigmoid", "AlphaDropout", "LayerNorm", "GroupNorm"}
    kinds = ("Conv", "MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "BatchNorm", "Dropout")
    skips = {"Add", "Concat"}  # tests/test_skips.py
    assert set(OPERATIONS) == ours | skips | {f"{kind}{dims}d" for kind in kinds for dims in (1, 2, 3)}


@pytest.mark.parametrize("positive", [0, 1])
def test_one_output_is_the_probability_of_the_positive_class(positive):
    x = torch.tensor([[-90.0], [-0.5], [0.0], [3.0]])
    scores = build_layer(layer("BinaryLogSigmoid", positive=positive))(x)
    assert output_shape("BinaryLogSigmoid", resolve("BinaryLogSigmoid", {}), (1,)) == scores.shape[1:]
    yes = torch.sigmoid(x.double()[:, 0])
    np.testing.assert_allclose(scores[:, positive].exp(), yes, rtol=1e-6)
    np.testing.assert_allclose(scores[:, 1 - positive].exp(), 1 - yes, rtol=1e-6)
    assert scores.isfinite().all()
    for shape in ((2,), (1, 1)):
        with pytest.raises(SpecError, match=r"BinaryLogSigmoid wants one output, an input of shape \[1\]"):
            output_shape("BinaryLogSigmoid", resolve("BinaryLogSigmoid", {}), shape)
    with pytest.raises(SpecError, match=r"BinaryLogSigmoid\.positive wants 0 or 1, the number of a class, got 2"):
        resolve("BinaryLogSigmoid", {"positive": 2})


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
def test_activations_are_all_the_elementwise_ones_of_torch_that_need_no_argument():
    excluded = {"Threshold", "MultiheadAttention", "GLU", "Softmax", "Softmax2d", "Softmin", "LogSoftmax"}
    offered = set(torch_activations.__all__)
    assert excluded <= offered
    assert set(ACTIVATIONS) == offered - excluded
    assert len(ACTIVATIONS) == len(set(ACTIVATIONS))
    x = torch.randn(2, 4)
    for name in sorted(offered):
        try:  # elementwise: the same whichever elements stand beside it
            module = getattr(nn, name)().eval()
            fits = torch.equal(module(x)[:, :1], module(x[:, :1].clone()))
        except (TypeError, RuntimeError, AssertionError, ValueError):
            fits = False
        assert fits == (name in ACTIVATIONS), name


@pytest.mark.parametrize(
    ("op", "args", "words"),
    [
        ("Lineer", {}, ["unknown operation 'Lineer'", "did you mean 'Linear'?", "BasicBlock"]),
        ("", {}, ["unknown operation ''"]),
        ("Linear", {"in_feature": 3}, ["Linear has no argument 'in_feature'", "did you mean 'in_features'?", "bias"]),
        ("Tanh", {"inplace": True}, ["Tanh has no argument 'inplace'", "allowed: none"]),
        ("ReLU", {"inplace": 1}, ["ReLU.inplace wants true or false, got 1"]),
        ("ELU", {"alpha": float("inf")}, ["ELU.alpha wants a finite number, got inf"]),
        ("ELU", {"alpha": 10**400}, ["ELU.alpha wants a finite number, got 1000"]),
        ("CELU", {"alpha": 0}, ["CELU.alpha wants a finite number other than 0, got 0"]),
        ("GELU", {"approximate": "tang"}, ["wants one of none, tanh (did you mean 'tanh'?), got 'tang'"]),
        ("Linear", {"in_features": 1, "out_features": 1, "device": "cpu"}, ["Linear.device wants null alone, since a"]),
        ("MaxPool2d", {"kernel_size": 2, "return_indices": True}, ["wants false alone, since a layer has one output"]),
        ("BatchNorm1d", {"num_features": 2, "track_running_stats": False}, ["wants true alone, since without them"]),
        (
            "Conv1d",
            {"in_channels": 1, "out_channels": 1, "kernel_size": 3, "padding": "same", "stride": 2},
            ["Conv1d with padding 'same' wants a stride of 1, got [2]"],
        ),
        ("AdaptiveAvgPool1d", {"output_size": None}, ["AdaptiveAvgPool1d.output_size wants an integer or a list of 1"]),
        ("Linear", {"in_features": 3}, ["Linear needs the argument 'out_features'"]),
        ("Linear", {"in_features": 0, "out_features": 1}, ["Linear.in_features wants a positive integer, got 0"]),
        ("Linear", {"in_features": -1, "out_features": 1}, ["positive integer, got -1"]),
        ("Linear", {"in_features": True, "out_features": 1}, ["positive integer, got True"]),
        ("Linear", {"in_features": 1.0, "out_features": 1}, ["positive integer, got 1.0"]),
        ("Linear", {"in_features": "x", "out_features": 1}, ["positive integer, got 'x'"]),
        ("Linear", {"in_features": [1], "out_features": 1}, ["positive integer, got [1]"]),
        ("Linear", {"in_features": None, "out_features": 1}, ["positive integer, got None"]),
        ("Linear", {"in_features": MAX_SIZE, "out_features": 1}, ["positive integer"]),
        ("Linear", {"in_features": 1, "out_features": 1, "bias": 1}, ["Linear.bias wants true or false, got 1"]),
        ("Linear", {"in_features": 1, "out_features": 1, "bias": None}, ["true or false, got None"]),
        ("Dropout", {"p": 1}, ["Dropout.p wants a number from 0 to below 1, got 1"]),
        ("Dropout", {"p": float("nan")}, ["got nan"]),
        ("Dropout", {"p": True}, ["got True"]),
        ("Add", {}, ["Add needs the argument 'from'"]),
        ("Add", {"from": -2}, ["Add.from wants the number of an earlier layer, or -1 for the network's input, got -2"]),
        ("Concat", {"from": 1.0}, ["got 1.0"]),
        ("LayerNorm", {"normalized_shape": 0}, ["an integer or a list of integers, each at least 1, got 0"]),
        ("LogSoftmax", {"dim": 0}, ["1 or -1", "got 0"]),
        ("LogSoftmax", {"dim": 1.0}, ["1 or -1", "got 1.0"]),
        ("LogSoftmax", {"dim": None}, ["1 or -1", "got None"]),
        ("BasicBlock", {"inplanes": 1, "planes": 1, "activation": 3}, ["BasicBlock.activation wants a word, got 3"]),
        ("Reshape", {"shape": []}, ["Reshape.shape wants a list of integers, each at least 1, got []"]),
        ("Reshape", {"shape": 4}, ["got 4"]),
        ("Reshape", {"shape": [-1]}, ["each at least 1, got [-1]"]),
        ("Reshape", {"shape": [1] * 9}, ["a list of integers"]),
        ("MaxPool2d", {"kernel_size": [2]}, ["MaxPool2d.kernel_size wants an integer or a list of 2 integers"]),
        ("MaxPool2d", {"kernel_size": 2, "padding": -1}, ["each at least 0, got -1"]),
        ("Conv2d", {"in_channels": 1, "out_channels": 1, "kernel_size": 0}, ["each at least 1, got 0"]),
        ("Conv2d", {"in_channels": 1, "out_channels": 1, "kernel_size": "3"}, ["got '3'"]),
        ("Conv2d", {"in_channels": 1, "out_channels": 1, "kernel_size": [3, True]}, ["got [3, True]"]),
    ],
)
def test_bad_arguments_are_refused_in_words(op, args, words):
    with pytest.raises(SpecError) as caught:
        resolve(op, args)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("op", "args", "given", "words"),
    [
        ("Reshape", {"shape": [3, 3]}, (8,), "Reshape to [3, 3] wants 9 values, got [8]"),
        (
            "Linear",
            {"in_features": 3, "out_features": 1},
            (2, 4),
            "Linear wants in_features = 3, got an input of shape [2, 4]",
        ),
        (
            "Conv1d",
            {"in_channels": 1, "out_channels": 1, "kernel_size": 1},
            (1, 2, 3),
            "Conv1d wants an input of shape [channels, length], got [1, 2, 3]",
        ),
        (
            "Conv2d",
            {"in_channels": 3, "out_channels": 1, "kernel_size": 1},
            (1, 4, 4),
            "Conv2d wants in_channels = 3, got an input of shape [1, 4, 4]",
        ),
        (
            "Conv2d",
            {"in_channels": 3, "out_channels": 4, "kernel_size": 1, "groups": 2},
            (3, 4, 4),
            "Conv2d wants channels that groups = 2 divides, got 3 and 4",
        ),
        (
            "Conv3d",
            {"in_channels": 1, "out_channels": 1, "kernel_size": 5},
            (1, 5, 5, 4),
            "Conv3d with kernel_size [5, 5, 5] does not fit into [1, 5, 5, 4]",
        ),
        ("MaxPool2d", {"kernel_size": 5}, (1, 4, 9), "MaxPool2d with kernel_size [5, 5] does not fit into [1, 4, 9]"),
        (
            "Conv1d",
            {"in_channels": 1, "out_channels": 1, "kernel_size": 1, "padding": 4, "padding_mode": "reflect"},
            (1, 4),
            "Conv1d with padding_mode 'reflect' wants a padding below each size of [1, 4]",
        ),
        ("Hardtanh", {"min_val": 1}, (4,), "Hardtanh wants min_val below max_val, got 1 and 1"),
        ("RReLU", {"lower": 0.5}, (4,), "RReLU wants lower up to upper, got 0.5 and 0.333333"),
        ("PReLU", {"num_parameters": 2}, (3, 4), "num_parameters = 1 or one a channel, got 2 for [3, 4]"),
        ("Flatten", {"start_dim": 3}, (3, 4), "dimensions of a batch of [3, 4] in order, got 3 to -1"),
        ("AvgPool1d", {"kernel_size": 2, "padding": 2}, (1, 4), "padding of at most half the kernel_size, got [2]"),
        ("AdaptiveAvgPool2d", {"output_size": 2}, (4,), "[channels, height, width], got [4]"),
        ("BatchNorm2d", {"num_features": 2}, (3, 4, 4), "num_features = 2, got an input of shape [3, 4, 4]"),
        ("Dropout2d", {}, (4, 4), "Dropout2d wants an input of shape [channels, height, width], got [4, 4]"),
        ("LayerNorm", {"normalized_shape": 3}, (3, 4), "input whose last sizes are [3], got [3, 4]"),
        ("GroupNorm", {"num_groups": 2, "num_channels": 3}, (3, 4), "channels that num_groups = 2 divides, got 3"),
        ("GroupNorm", {"num_groups": 2, "num_channels": 4}, (2, 4), "num_channels = 4, got an input of shape [2, 4]"),
        ("GroupNorm", {"num_groups": 2, "num_channels": 2}, (2, 1), "more than one value a group, got [2, 1]"),
        ("Add", {"from": -1}, (3,), "Add wants an earlier layer to go back to, got the first layer"),
        ("BatchNorm3d", {"num_features": 2}, (2, 4, 4), "[channels, depth, height, width], got [2, 4, 4]"),
        ("BasicBlock", {"inplanes": 2, "planes": 2}, (3, 4, 4), "inplanes = 2, got an input of shape [3, 4, 4]"),
        ("BasicBlock", {"inplanes": 2, "planes": 2, "activation": "relu"}, (2, 4, 4), "did you mean 'ReLU'?"),
        ("Linear", {"in_features": 2, "out_features": 2**39}, (2**30, 2), "more than any machine can hold"),
        (
            "Linear",
            {"in_features": 2**20, "out_features": 2**20},
            (2**20,),
            "parameters, more than any machine can hold",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused_in_words(op, args, given, words):
    with pytest.raises(SpecError) as caught:
        output_shape(op, resolve(op, args), given)
    assert words in str(caught.value)


def test_resolve_writes_out_every_argument():
    assert resolve("Conv2d", {"in_channels": 1, "out_channels": 2, "kernel_size": 3}) == {
        "in_channels": 1,
        "out_channels": 2,
        "kernel_size": (3, 3),
        "stride": (1, 1),
        "padding": (0, 0),
        "dilation": (1, 1),
        "groups": 1,
        "bias": True,
    }
    assert resolve("MaxPool3d", {"kernel_size": [1, 2, 3]})["stride"] == (1, 2, 3)
    assert resolve("LogSoftmax", {}) == {"dim": 1}
    conv = {"in_channels": 1, "out_channels": 2, "kernel_size": [2, 3], "dilation": 2, "padding": "same"}
    assert resolve("Conv2d", conv)["padding"] == (1, 2)
    assert resolve("Conv2d", {**conv, "dilation": [1, 2]})["padding"] == "same"  # more on one side
    assert resolve("ELU", {"alpha": 2, "inplace": False}) == {"alpha": 2.0}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
def test_no_arguments_and_no_shape_raise_anything_but_spec_error(data):
    op = data.draw(st.sampled_from(sorted(OPERATIONS)))
    row = OPERATIONS[op]
    values = {name: ANYTHING | st.integers(0, 4) for name in [*row.arguments, *row.options]}
    args = data.draw(st.fixed_dictionaries({}, optional=values))
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5)))
    try:
        out = output_shape(op, resolve(op, args), shape)
    except SpecError:
        return
    assert math.prod(out) >= 1
