from __future__ import annotations

import contextlib
import pickle
from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netpick.core.errors import DeviceError, PlanError
from netpick.core.recipe import OPTIMIZERS, Recipe
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.training import Plan, cards, choose, processor
from netpick.training.choice import FUSED
from netpick.training.plan import ALLOWED, pinned
from netpick.training.steps import autocast


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
    mode = "explicit" if device == "cpu" else "graph" if device.startswith("cuda") else "eager"
    assert (plan.precision, plan.mode, plan.kernel) == ("fp32", mode, kernel)


def test_a_plan_sees_only_recipe_and_device_and_travels():
    recipe = Recipe(precision="bf16")
    assert choose(recipe, "cpu") == choose(recipe, "cpu") == pickle.loads(pickle.dumps(choose(recipe, "cpu")))
    assert str(choose(recipe, "cpu")).startswith("bf16/eager/fused/")
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
    with autocast(Plan("bf16"), "cpu"):
        assert (one @ one).dtype == torch.bfloat16
    assert isinstance(autocast(Plan("fp32"), "cpu"), contextlib.nullcontext)
    with autocast(Plan("fp32"), "cpu"):
        assert (one @ one).dtype == torch.float32


@given(st.tuples(*(st.sampled_from(words) for words in ALLOWED.values())))
def test_what_is_stored_can_be_read_again(words):
    plan = Plan(*words)
    assert Plan(**pinned(str(plan))) == plan


def test_every_word_says_which_field_it_sets():
    for name, words in ALLOWED.items():
        for word in words:
            if word != "reference":  # a name for more than its own field
                assert pinned(word) == {name: word}
    assert pinned("auto") == {}
    assert pinned("eager/plain") == pinned("plain/eager") == {"mode": "eager", "convolutions": "plain"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("egaer", r"no 'egaer' \(did you mean 'eager'\?\); allowed: auto, fp32"),
        ("", "no ''; allowed"),
        ("eager/explicit", "eager and explicit are both a mode: give one"),
        (
            "fp32/eager/fused/tunde",
            r"no 'tunde' \(did you mean 'tuned'\?\); allowed: auto, fp32",
        ),
    ],
)
def test_a_misspelt_plan_is_refused(text, said):
    with pytest.raises(PlanError, match=said):
        pinned(text)


def test_why_a_network_is_eager_is_no_part_of_a_plan():
    assert Plan(**pinned("fp32/eager(capture: why)/fused/tuned")) == Plan()


@pytest.mark.parametrize(
    ("pin", "device", "recipe", "said"),
    [
        ("explicit", "mps", {}, "explicit is for fp32 on the cpu, got fp32 on mps"),
        ("explicit/bf16", "cpu", {}, "explicit is for fp32 on the cpu, got bf16 on cpu"),
        ("reference", "cpu", {"precision": "bf16"}, "reference is for fp32, got bf16"),
        ("fused", "cpu", {"optimizer": "RMSprop"}, "torch has no fused RMSprop on cpu: say foreach"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(pin, device, recipe, said):
    with pytest.raises(PlanError, match=said):
        choose(Recipe(**recipe), device, pin=pin)


def conv(channels):
    layers = (
        layer("Reshape", shape=[1, 28, 28]),
        layer("Conv2d", in_channels=1, out_channels=channels, kernel_size=5),
        layer("Conv2d", in_channels=channels, out_channels=10, kernel_size=24),
        layer("Reshape", shape=[10]),
        layer("LogSoftmax"),
    )
    return NetworkSpec("conv", "Conv2d", "None", layers)


TILES, PAIRS = "_is_amx_tile_supported", "_is_avx512_bf16_supported"
PROCESSORS = {(): "", (PAIRS,): "compiled", (TILES,): "eager", (TILES, PAIRS): "eager"}
"""What a processor has, and the engine that trains large convolutions in bf16 there, if any does."""


def on_a_processor(monkeypatch, *has):
    """Let the processor have some instructions, whatever it has."""
    for name in (TILES, PAIRS):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name in has, raising=False)


@pytest.mark.parametrize(("has", "mode"), PROCESSORS.items())
def test_auto_takes_bf16_for_large_convolutions_where_the_processor_has_it(monkeypatch, has, mode):
    on_a_processor(monkeypatch, *has)
    recipe = Recipe(precision="auto")
    # Multiply-accumulates: 24² × 25 × channels, and as many × 10 for the second one.
    small, middle, large, huge = (choose(recipe, "cpu", conv(channels)) for channels in (4, 200, 400, 13_000))
    assert (small.precision, small.mode) == ("fp32", "compiled")
    assert (middle.precision, middle.mode) == ("bf16" if mode == "compiled" else "fp32", "compiled")
    assert (large.precision, large.mode) == (("bf16", mode) if has else ("fp32", "compiled"))
    assert (huge.precision, huge.mode) == (("bf16", "eager") if has else ("fp32", "explicit"))
    assert choose(recipe, "cuda:0", conv(4)).precision == "tf32"
    assert choose(recipe, "mps", conv(400)).precision == "fp32"
    linear = NetworkSpec("linear", "Linear", "None", (layer("Flatten"), layer("LogSoftmax")))
    assert choose(recipe, "cpu", linear).precision == "fp32"
    assert choose(recipe, "cpu", conv(400), "fp32").precision == "fp32"


def linear(width):
    layers = (
        layer("Flatten"),
        layer("Linear", in_features=784, out_features=width),
        layer("Linear", in_features=width, out_features=10),
        layer("LogSoftmax"),
    )
    return NetworkSpec("linear", "Linear", "None", layers)


@pytest.mark.parametrize(("capability", "large"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "tf32")])
def test_auto_takes_bf16_for_large_networks_on_cards_that_have_it(monkeypatch, capability, large):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(cards, "BF16_MACS", 50_000_000)
    recipe = Recipe(precision="auto")
    # conv: 24² × (25 + 10) × channels, 50 million at 2480.2 channels; linear: width × (784 + 10), at 62972.3.
    sizes = ((conv(2480), "tf32"), (conv(2481), large), (linear(62972), "tf32"), (linear(62973), large))
    for spec, precision in sizes:
        plan = choose(recipe, "cuda:1", spec)
        assert (plan.precision, plan.mode) == (precision, "graph")
    assert choose(recipe, "cuda:1").precision == "tf32"  # nothing is known of the network
    unknown = NetworkSpec("unknown", "Linear", "None", linear(70_000).layers[1:])
    assert choose(recipe, "cuda:1", unknown).precision == "tf32"
    assert choose(Recipe(), "cuda:1", conv(2481)).precision == "fp32"  # auto has to be asked for


def test_whether_the_processor_has_bf16_can_be_told():
    assert processor.has_bf16() in (True, False)


def test_machine_code_in_bf16_is_for_convolutions_and_for_the_processors_that_it_has_instructions_of(monkeypatch):
    on_a_processor(monkeypatch, PAIRS)
    assert str(choose(Recipe(precision="bf16"), "cpu", conv(4))) == "bf16/compiled/fused/plain"
    assert choose(Recipe(precision="bf16"), "cpu", linear(4)).mode == "eager"
    assert choose(Recipe(precision="auto"), "cpu", conv(400), missing={"compiled"}).mode == "eager"
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert choose(Recipe(precision="bf16"), "cpu", conv(4)).mode == "eager"
    monkeypatch.delenv("NUMBA_CPU_NAME")
    on_a_processor(monkeypatch, TILES, PAIRS)
    with pytest.raises(PlanError, match="compiled has bf16 for processors with AVX512-BF16 and without AMX"):
        choose(Recipe(precision="bf16"), "cpu", conv(4), pin="compiled")
