"""Machine code in bf16 against convolutions in float64 whose operands are rounded to bf16, by torch's own cast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import layered, network, samples
from torch.nn import functional

from netpick.core.recipe import Recipe
from netpick.networks.paper.spec import layer
from netpick.training import Job, Plan, processor, train
from netpick.training.engines.compiled import ALL_ENTRIES, program
from netpick.training.engines.compiled.program import kernels

pytestmark = pytest.mark.skipif(
    not processor.has_bf16_for_machine_code(), reason="the processor has no AVX512-BF16, or has AMX beside it"
)

BF16 = Plan("bf16", "compiled", convolutions="plain")
FP32 = Plan("fp32", "compiled", convolutions="plain")
REFERENCE = Plan(mode="reference", convolutions="plain")
PLAIN = {name: getattr(functional, name) for name in ("conv1d", "conv2d", "conv3d")}


class Rounded(torch.autograd.Function):
    """A convolution and its gradients, each of operands rounded to bf16 and computed in float64."""

    @staticmethod
    def forward(ctx, conv, x, weight, arguments):
        ctx.conv, ctx.arguments = conv, arguments
        ctx.save_for_backward(x, weight)
        return conv(rounded(x), rounded(weight), None, *arguments).to(x.dtype)

    @staticmethod
    def backward(ctx, slope):
        with torch.enable_grad():
            x, weight = (rounded(one).requires_grad_() for one in ctx.saved_tensors)
            gradients = torch.autograd.grad(ctx.conv(x, weight, None, *ctx.arguments), (x, weight), rounded(slope))
        return None, *(one.to(slope.dtype) for one in gradients), None


def rounded(values):
    return values.bfloat16().double()


@pytest.fixture(autouse=True, scope="module")
def convolutions_of_bf16():
    """Let torch's convolutions be `Rounded`, but where there is one place alone, or no second product beside one."""

    def replaced(name):
        def conv(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
            whole = groups == 1 and weight.shape[2:] == x.shape[2:] and not np.any(padding)
            height, wide = (1, 1, *weight.shape[2:])[-2:]
            step = stride if isinstance(stride, int) else stride[-1]
            if whole or (weight.shape[1] == height == 1 and (wide == 1 or step > 1)):
                return PLAIN[name](x, weight, bias, stride, padding, dilation, groups)
            y = Rounded.apply(PLAIN[name], x, weight, (stride, padding, dilation, groups))
            return y if bias is None else y + bias.view(-1, *(1 for _ in weight.shape[2:]))

        return conv

    with pytest.MonkeyPatch.context() as patch:
        for name in PLAIN:
            patch.setattr(functional, name, replaced(name))
        yield


@pytest.fixture(autouse=True, scope="module")
def room_of_no_numbers():
    """Let memory that nothing was written to hold what spoils every sum."""
    with pytest.MonkeyPatch.context() as patch:
        empty = program.empty
        patch.setattr(program, "empty", lambda size: np.add(empty(size), np.nan, out=empty(size)))
        yield


def trained(spec, image, plan, count, batch_size, **values):
    """Weights, and scores of the test split, after an epoch."""
    recipe = Recipe(**{"epochs": 1, "lr": 0.05, "optimizer": "SGD", "batch_size": batch_size, **values})
    data = {"train": samples(image, count, 0), "test": samples(image, 5, 1)}
    result = train(Job(spec, recipe, 5, plan, keep_weights=True), data)
    assert (result.status, result.error) == ("done", None)
    return {**result.weights, "scores": result.epochs[-1].splits[0].scores}


def differences(spec, image, one, other, *args, **values):
    """The largest difference of each weight, and of the scores, as a share of the largest number."""
    ours, theirs = (trained(spec, image, plan, *args, **values) for plan in (one, other))
    return {name: np.abs(ours[name] - theirs[name]).max() / max(1, np.abs(theirs[name]).max()) for name in theirs}


@settings(max_examples=60, deadline=None)
@given(layered(blocks=False), st.integers(1, 40), st.integers(4, 40))
def test_convolutions_of_all_kinds_learn_as_with_operands_that_are_rounded(drawn, batch_size, count):
    # What differs by rounding may be rounded to another bf16, here and there. Batch norm of small images makes much of
    # that, with any engine; residual blocks are below.
    layers, image = drawn
    for name, share in differences(network(image, *layers), image, BF16, REFERENCE, count, batch_size).items():
        assert share < 2e-3, name


CASES = {
    "odd channels and outputs": ((5, 7, 9), {"out_channels": 7, "kernel_size": 3}),
    "one output": ((4, 7, 9), {"out_channels": 1, "kernel_size": 2}),
    "a row": ((6, 40), {"out_channels": 9, "kernel_size": 5, "padding": 3}),
    "a room": ((3, 5, 6, 7), {"out_channels": 4, "kernel_size": [2, 3, 2], "padding": [0, 1, 1]}),
    "strides": ((4, 9, 11), {"out_channels": 6, "kernel_size": 3, "stride": [2, 3]}),
    "strides between zeros": ((4, 9, 11), {"out_channels": 6, "kernel_size": 3, "stride": 2, "padding": 2}),
    "strides wider than the kernel": ((3, 9, 11), {"out_channels": 5, "kernel_size": 2, "stride": 3}),
    "dilation": ((5, 9, 11), {"out_channels": 6, "kernel_size": 3, "dilation": [2, 3], "padding": 2}),
    "groups": ((6, 7, 9), {"out_channels": 9, "kernel_size": 3, "groups": 3}),
    "groups of odd channels": ((6, 7, 9), {"out_channels": 4, "kernel_size": 3, "groups": 2, "padding": 1}),
    "mirrored": ((4, 7, 9), {"out_channels": 6, "kernel_size": 3, "padding": 2, "padding_mode": "reflect"}),
    "one channel": ((1, 9, 11), {"out_channels": 5, "kernel_size": [3, 2]}),
    "one channel with strides": ((1, 9, 11), {"out_channels": 5, "kernel_size": [2, 3], "stride": [3, 2]}),
    "one channel of a row": ((1, 40), {"out_channels": 5, "kernel_size": 4, "dilation": 2, "padding": 2}),
    "one channel of a room": ((1, 5, 6, 7), {"out_channels": 4, "kernel_size": [2, 4, 3], "dilation": [1, 1, 2]}),
    "each channel by itself": ((4, 7, 9), {"out_channels": 8, "kernel_size": 3, "groups": 4, "padding": 1}),
    "many weights": ((40, 6, 7), {"out_channels": 50, "kernel_size": 3, "padding": 1}),
    "rows longer than a piece": ((2, 3, 60), {"out_channels": 3, "kernel_size": [2, 3]}),
}
BATCHES = {"batches smaller than a register": (3, 6), "batches": (25, 50), "parts of a batch": (120, 120)}


def convolution(image, **args):
    return layer(f"Conv{len(image) - 1}d", in_channels=image[0], **args)


@pytest.mark.parametrize("case", CASES)
def test_scores_are_of_rounded_operands_and_sums_that_are_not(case):
    image, args = CASES[case]
    spec = network(image, convolution(image, **args))
    values = {"count": 4, "batch_size": 4, "lr": 1e-12}
    assert differences(spec, image, BF16, REFERENCE, **values)["scores"] < 3e-6
    assert differences(spec, image, FP32, REFERENCE, **values)["scores"] > 1e-4


@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_rounded_operands(case, batches):
    """The first convolution's weights change by the gradient of what goes into the second one."""
    image, args = CASES[case]
    batch_size, count = BATCHES[batches]
    first = layer(f"Conv{len(image) - 1}d", in_channels=image[0], out_channels=image[0], kernel_size=1)
    spec = network(image, first, convolution(image, **args))
    for name, share in differences(spec, image, BF16, REFERENCE, count, batch_size, lr=0.2).items():
        assert share < 2e-3, name


@pytest.mark.parametrize(("planes", "stride"), [(8, 1), (8, 2), (5, 1), (7, 2)])
def test_residual_blocks_learn_as_with_operands_that_are_rounded(planes, stride):
    image = (8, 9, 10)
    spec = network(image, layer("BasicBlock", inplanes=8, planes=planes, stride=stride))
    for name, share in differences(spec, image, BF16, REFERENCE, 50, 25).items():
        assert share < 5e-3, name


def test_what_is_not_a_number_is_none_when_rounded():
    """Rounded up like a number, one whose bits are all set would become 0."""
    image = (2, 5, 5)
    spec = network(image, convolution(image, out_channels=3, kernel_size=2))
    images, labels = samples(image, 12)
    images[3, 1, 2, 2] = torch.tensor(0x7FFFFFFF, dtype=torch.int32).view(torch.float32)
    result = train(Job(spec, Recipe(epochs=1, batch_size=4), 5, BF16), {"train": (images, labels)})
    assert result.status == "diverged"


def test_what_is_kept_is_what_trainings_call():
    """Nothing is compiled in a process that trains: the calls that compiled the kernels had the same types."""
    image = (2, 5, 5)
    trained(network(image, convolution(image, out_channels=3, kernel_size=2)), image, BF16, 8, 4)
    for entry in (getattr(kernels(True), name) for name in ALL_ENTRIES):
        assert len(entry.signatures) == len(entry.stats.cache_hits) == 1
        assert not entry.stats.cache_misses
