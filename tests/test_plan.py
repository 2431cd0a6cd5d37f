from __future__ import annotations

import contextlib
import pickle
from dataclasses import fields

import pytest
import torch

from netpick.errors import DeviceError
from netpick.plan import FUSED, Plan, choose, precision_context
from netpick.template import OPTIMIZERS, Recipe


@pytest.mark.parametrize(
    ("optimizer", "device", "kernel"),
    [
        ("Adam", "cpu", "fused"),
        ("AdamW", "cpu", "fused"),
        ("SGD", "cpu", "fused"),
        ("RMSprop", "cpu", "foreach"),
        ("Adam", "cuda:1", "fused"),
        ("RMSprop", "cuda:0", "foreach"),
        ("Adam", "mps", "foreach"),
        ("SGD", "mps", "foreach"),
    ],
)
def test_the_kernel_follows_from_optimizer_and_device(optimizer, device, kernel):
    plan = choose(Recipe(optimizer=optimizer), device)
    assert (plan.precision, plan.layout, plan.mode, plan.kernel) == ("fp32", "contiguous", "eager", kernel)


def test_a_plan_sees_only_recipe_and_device_and_travels():
    recipe = Recipe(precision="bf16")
    assert choose(recipe, "cpu") == choose(recipe, "cpu") == pickle.loads(pickle.dumps(choose(recipe, "cpu")))
    assert str(choose(recipe, "cpu")).startswith("bf16/contiguous/eager/fused/")
    plans = [Plan(**{field.name: "another"}) for field in fields(Plan)]
    assert len({str(plan) for plan in [Plan(), *plans]}) == 1 + len(plans)  # what is stored tells them apart
    assert choose(recipe, "cuda:0") == choose(recipe, "cuda:3")


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_tf32_is_refused_where_there_is_none(device):
    with pytest.raises(
        DeviceError, match=f"precision tf32 exists on CUDA GPUs only, got device {device}: say fp32 or bf16"
    ):
        choose(Recipe(precision="tf32"), device)
    assert choose(Recipe(precision="tf32"), "cuda:0").precision == "tf32"


def test_torch_has_the_kernels_that_are_planned():
    for optimizer in OPTIMIZERS:
        for kernel in {choose(Recipe(optimizer=optimizer), kind).kernel for kind in FUSED}:
            weight = torch.zeros(2, requires_grad=True)
            weight.grad = torch.ones(2)
            getattr(torch.optim, optimizer)([weight], lr=0.1, **{kernel: True}).step()
            assert (weight < 0).all()


def test_bf16_is_autocast_and_the_rest_is_as_torch_has_it():
    one = torch.ones(2, 2)
    with precision_context(Plan("bf16"), "cpu"):
        assert (one @ one).dtype == torch.bfloat16
    assert isinstance(precision_context(Plan("fp32"), "cpu"), contextlib.nullcontext)
    with precision_context(Plan("fp32"), "cpu"):
        assert (one @ one).dtype == torch.float32
