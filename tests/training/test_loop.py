from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from netpick.core.errors import WorkError
from netpick.core.recipe import Recipe
from netpick.core.result import STATUSES
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.training import ENGINES, Job, Plan, choose, course, loop, steps, train
from netpick.training.order import Order
from netpick.training.steps import batches

IMAGE, CLASSES = (1, 4, 4), 3


def network(name, *layers):
    return NetworkSpec(name, "Linear", "None", layers)


LINEAR = network(
    "linear",
    layer("Reshape", shape=[16]),
    layer("Linear", in_features=16, out_features=8),
    layer("ReLU"),
    layer("Linear", in_features=8, out_features=3),
    layer("LogSoftmax"),
)
CONV = network(
    "conv",
    layer("Reshape", shape=[1, 4, 4]),
    layer("Conv2d", in_channels=1, out_channels=4, kernel_size=3, bias=False),
    layer("Tanh"),
    layer("Dropout", p=0.25),
    layer("Flatten"),
    layer("Linear", in_features=16, out_features=3),
    layer("LogSoftmax"),
)
RESIDUAL = network(
    "residual",
    layer("Reshape", shape=[1, 4, 4]),
    layer("BasicBlock", inplanes=1, planes=3, stride=2),
    layer("Flatten"),
    layer("Linear", in_features=12, out_features=3),
    layer("LogSoftmax"),
)


def split(count, seed):
    """Random images, with labels that can be learnt from them."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, *IMAGE, generator=generator)
    return images, images.flatten(1)[:, :CLASSES].argmax(1)


DATA = {"train": split(150, 1), "test": split(300, 2)}


def fit(spec=LINEAR, seed=7, data=DATA, device="cpu", keep_weights=False, pin="auto", **recipe):
    full = Recipe(**{"batch_size": 2, "epochs": 2, "lr": 0.01, **recipe})
    return train(Job(spec, full, seed, choose(full, device, pin=pin), device, keep_weights=keep_weights), data)


def scores(result, name="test"):
    return [next(one.scores for one in epoch.splits if one.split == name) for epoch in result.epochs]


@pytest.mark.parametrize("mode", ["reference", "eager", "explicit", "compiled"])
def test_modules_that_are_not_run_are_not_told_the_mode_either(mode, monkeypatch):
    told, train_module = [], torch.nn.Module.train

    def tell(module, training=True):
        told.append(training)
        return train_module(module, training)

    monkeypatch.setattr(torch.nn.Sequential, "train", tell)
    recipe = Recipe(batch_size=25, epochs=2)
    result = train(Job(CONV, recipe, 7, choose(recipe, "cpu", CONV, pin=mode)), DATA)
    assert result.plan.split("/")[1] == mode
    assert told == ([] if mode == "compiled" else [True, False, True, False])


def plain_loop(spec, make_optimizer, epochs=2, batch_size=2, seed=7, order="shuffled"):
    """What a tutorial would write; the losses of the epochs, and the scores of the test split after each."""
    images, labels = DATA["train"]
    torch.manual_seed(seed)
    model = build(spec.layers)
    optimizer = make_optimizer(model.parameters())
    random = torch.Generator().manual_seed(seed ^ 0x5EED)
    losses, outputs = [], []
    for _ in range(epochs):
        model.train()
        indices = torch.randperm(len(labels), generator=random) if order == "shuffled" else torch.arange(len(labels))
        total = 0.0
        for start in range(0, len(labels), batch_size):
            batch = indices[start : start + batch_size]
            optimizer.zero_grad()
            loss = F.nll_loss(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(labels))
        model.eval()
        with torch.no_grad():
            outputs.append(model(DATA["test"][0]).numpy())
    return losses, outputs


@pytest.mark.parametrize(
    ("optimizer", "args"),
    [
        ("Adam", {"amsgrad": True}),
        ("Adam", {"betas": [0.8, 0.99], "eps": 1e-6}),
        ("AdamW", {"weight_decay": 0.1}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("SGD", {}),
        ("RMSprop", {"alpha": 0.9, "centered": True}),
    ],
)
def test_training_is_that_of_a_plain_loop_for_every_optimizer(optimizer, args):
    def make(parameters):
        return getattr(torch.optim, optimizer)(parameters, lr=0.01, foreach=False, fused=False, **args)

    if optimizer == "RMSprop":

        def make(parameters):
            return torch.optim.RMSprop(parameters, lr=0.01, foreach=False, **args)

    losses, outputs = plain_loop(LINEAR, make)
    result = fit(optimizer=optimizer, optimizer_args=args)
    assert result.status == "done"
    np.testing.assert_allclose([epoch.train_loss for epoch in result.epochs], losses, atol=1e-5)
    np.testing.assert_allclose(scores(result), outputs, atol=1e-5)


@pytest.mark.parametrize("spec", [LINEAR, CONV, RESIDUAL], ids=lambda spec: spec.name)
@pytest.mark.parametrize(
    ("batch_size", "order"),
    [
        (2, "shuffled"),
        (2, "fixed"),
        (32, "shuffled"),
        (32, "fixed"),
        (1000, "shuffled"),
    ],  # 150 = 4 × 32 + 22: a shorter last one
)
def test_training_is_that_of_a_plain_loop_for_every_kind_of_network_and_batch(spec, batch_size, order):
    # A step of Adam is as long for a gradient that is nothing but rounding, as before a batch norm: SGD's is not.
    losses, outputs = plain_loop(spec, lambda p: torch.optim.SGD(p, 0.05), 2, batch_size, order=order)
    result = fit(spec, batch_size=batch_size, order=order, optimizer="SGD", lr=0.05)
    np.testing.assert_allclose([epoch.train_loss for epoch in result.epochs], losses, atol=1e-5)
    np.testing.assert_allclose(scores(result), outputs, atol=1e-5)


def test_the_result_says_what_was_done():
    result = fit(CONV, seed=11)
    assert (result.network, result.hash, result.replicate, result.seed) == ("conv", CONV.hash, 0, 11)
    assert (result.status, result.error, result.attempts, result.device) == ("done", None, 1, "cpu")
    assert result.plan == str(choose(Recipe(), "cpu"))
    assert result.started.tzinfo is not None
    assert [epoch.epoch for epoch in result.epochs] == [1, 2]
    assert all(epoch.peak_memory_bytes is None for epoch in result.epochs)  # a CPU can't tell; not 0
    assert 0 < sum(epoch.train_seconds + epoch.splits[0].eval_seconds for epoch in result.epochs) < result.seconds
    assert result.weights is None
    (test,) = result.epochs[-1].splits
    assert (test.split, test.scores.shape, test.scores.dtype) == ("test", (300, 3), np.float32)
    np.testing.assert_allclose(np.exp(test.scores).sum(1), 1, atol=1e-5)
    predicted = test.scores.argmax(1)
    assert test.accuracy == pytest.approx((predicted == DATA["test"][1].numpy()).mean())
    assert pickle.loads(pickle.dumps(result)).hash == result.hash


def test_learning_helps():
    result = fit(epochs=10, batch_size=16)
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss / 2
    assert result.epochs[-1].splits[0].accuracy > 0.7 > result.epochs[0].splits[0].accuracy


@pytest.mark.parametrize("spec", [LINEAR, CONV, RESIDUAL], ids=lambda spec: spec.name)
def test_the_same_seed_is_the_same_to_the_bit_and_another_is_not(spec):
    one, same, other = fit(spec, keep_weights=True), fit(spec, keep_weights=True), fit(spec, seed=8, keep_weights=True)
    for a, b in zip(scores(one), scores(same), strict=True):
        assert a.tobytes() == b.tobytes()
    assert [e.train_loss for e in one.epochs] == [e.train_loss for e in same.epochs]
    assert all(one.weights[name].tobytes() == same.weights[name].tobytes() for name in one.weights)
    assert not np.array_equal(scores(one)[-1], scores(other)[-1])


def test_what_was_drawn_before_does_not_matter():
    one = fit(CONV)
    torch.rand(5)
    fit(LINEAR, seed=1)
    assert scores(fit(CONV))[-1].tobytes() == scores(one)[-1].tobytes()


def test_more_epochs_begin_with_the_same_ones():
    short, long = fit(epochs=1), fit(epochs=3)
    assert scores(short)[0].tobytes() == scores(long)[0].tobytes()
    assert len(long.epochs) == 3


def test_every_split_but_the_one_for_training_is_evaluated():
    data = {**DATA, "validation": split(20, 3)}
    result = fit(data=data)
    assert [[one.split for one in epoch.splits] for epoch in result.epochs] == 2 * [["test", "validation"]]
    assert scores(result, "validation")[0].shape == (20, 3)
    assert scores(result)[-1].tobytes() == scores(fit())[-1].tobytes()  # it does not disturb the training


def test_the_data_are_left_as_they_are():
    before = {name: images.clone() for name, (images, _) in DATA.items()}
    for spec in (LINEAR, CONV, RESIDUAL):
        fit(spec, order="fixed")
    assert all(torch.equal(before[name], images) for name, (images, _) in DATA.items())


def test_weights_are_those_that_gave_the_last_scores():
    result = fit(RESIDUAL, keep_weights=True)
    model = build(RESIDUAL.layers).eval()
    assert list(result.weights) == list(model.state_dict())
    model.load_state_dict({name: torch.from_numpy(array) for name, array in result.weights.items()})
    with torch.no_grad():
        np.testing.assert_allclose(model(DATA["test"][0]).numpy(), scores(result)[-1], atol=1e-6)


# Ends


def test_a_training_that_diverges_keeps_the_epochs_before():
    wild = {"optimizer": "SGD", "lr": 1e6, "epochs": 12, "batch_size": 1000}
    result = fit(**wild)
    assert result.status == "diverged"
    assert result.error.endswith((f"in epoch {len(result.epochs) + 1}", f"after epoch {len(result.epochs) + 1}"))
    assert 1 <= len(result.epochs) < 12
    assert all(np.isfinite(epoch.train_loss) for epoch in result.epochs)
    assert not any(np.isnan(one).any() for one in scores(result))
    shorter = fit(**{**wild, "epochs": len(result.epochs)})
    assert shorter.status == "done"
    assert [one.tobytes() for one in scores(shorter)] == [one.tobytes() for one in scores(result)]
    assert fit(**wild, keep_weights=True).weights is None


def test_a_loss_that_is_no_number_is_divergence():
    images, labels = DATA["train"]
    broken = images.clone()
    broken[77] = torch.nan
    result = fit(data={**DATA, "train": (broken, labels)}, optimizer="SGD")
    assert (result.status, result.epochs) == ("diverged", ())
    assert result.error == "training loss became nan in epoch 1"


def test_scores_that_are_no_numbers_are_divergence():
    images, labels = DATA["test"]
    broken = images.clone()
    broken[299] = torch.nan
    result = fit(data={**DATA, "test": (broken, labels)})
    assert (result.status, result.epochs) == ("diverged", ())
    assert result.error == "scores of split test are not numbers after epoch 1"


def test_a_training_that_takes_too_long_is_stopped_after_a_step():
    for pin in ("auto", "reference"):
        result = fit(timeout=1e-9, epochs=1000, pin=pin)
        assert (result.status, result.error, result.epochs) == ("timeout", "not finished after 1e-09 seconds", ())
    assert fit(timeout=1000).status == "done"


def test_a_timeout_keeps_the_epochs_before(monkeypatch):
    ticks = iter(range(10**6))
    for module in (course, loop):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    # A second for each look at the clock: 1 before all, and in an epoch 1 + 3 steps + 1, and 2 around the evaluation.
    result = fit(batch_size=50, epochs=5, timeout=7 + 7 + 3.5)
    assert (result.status, len(result.epochs)) == ("timeout", 2)
    assert result.error == "not finished after 17.5 seconds"


def test_torchs_own_errors_pass_through():
    too_few = network("too few", layer("Flatten"), layer("Linear", in_features=16, out_features=2))
    with pytest.raises(IndexError, match="Target 2 is out of bounds"):
        fit(too_few)


def test_statuses_are_those_of_the_schema():
    assert STATUSES == ("done", "diverged", "failed", "timeout")


# Precision


@pytest.mark.parametrize("spec", [LINEAR, CONV, RESIDUAL], ids=lambda spec: spec.name)
def test_bf16_is_near_fp32(spec):
    exact, rough = fit(spec, epochs=1, batch_size=10), fit(spec, epochs=1, batch_size=10, precision="bf16")
    assert rough.status == "done"
    assert rough.plan.startswith("bf16/")
    assert rough.epochs[0].train_loss == pytest.approx(exact.epochs[0].train_loss, abs=0.05)
    difference = np.abs(np.exp(scores(rough)[0]) - np.exp(scores(exact)[0]))
    assert 0 < difference.mean() < 0.03


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("tf32", True)])
@pytest.mark.parametrize("mode", ENGINES)
def test_a_card_has_the_precision_of_the_plan_in_every_engine(monkeypatch, mode, precision, allowed):
    def flags():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    seen = []
    monkeypatch.setattr(ENGINES[mode], "train", lambda job, data: seen.append(flags()))
    before = flags()
    train(Job(LINEAR, Recipe(), 1, Plan(precision, mode), "cuda:0"), DATA)
    assert seen == [(allowed, allowed)]
    assert flags() == before
    train(Job(LINEAR, Recipe(), 1, Plan(precision, mode), "cpu"), DATA)
    assert seen[1] == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("spec", [LINEAR, RESIDUAL], ids=lambda spec: spec.name)
def test_a_gpu_learns_the_same(spec):
    there = {name: (images.cuda(), labels.cuda()) for name, (images, labels) in DATA.items()}
    result, wanted = fit(spec, data=there, device="cuda:0", batch_size=32), fit(spec, batch_size=32)
    np.testing.assert_allclose(np.exp(scores(result)[-1]), np.exp(scores(wanted)[-1]), atol=1e-2)
    assert all(epoch.peak_memory_bytes > 0 for epoch in result.epochs)


# Batches


@given(st.integers(1, 400), st.integers(1, 9) | st.just(1000), st.integers(0, 2**62))
def test_an_epoch_is_every_sample_once(count, batch_size, seed):
    inputs, labels = torch.arange(count).float()[:, None], torch.arange(count)
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    found = list(batches(inputs, labels, batch_size, drawn))
    assert [len(y) for _, y in found[:-1]] == [batch_size] * (len(found) - 1)
    assert len(found) == -(-count // batch_size)
    order = torch.cat([y for _, y in found])
    assert torch.equal(order, drawn)
    assert torch.equal(torch.cat([x for x, _ in found])[:, 0], order.float())
    plain = list(batches(inputs, labels, batch_size, None))
    assert torch.equal(torch.cat([y for _, y in plain]), labels)
    assert [len(y) for _, y in plain] == [len(y) for _, y in found]


def test_every_epoch_has_an_order_of_its_own():
    order = Order(Job(LINEAR, Recipe(), 0, Plan()), 50)
    one, other = (order.draw() for _ in range(2))
    assert sorted(one.tolist()) == sorted(other.tolist()) == list(range(50))
    assert not torch.equal(one, other)


def test_a_plan_without_fused_kernels_learns_the_same():
    recipe = Recipe(batch_size=2, epochs=2, lr=0.01)
    plain = train(Job(LINEAR, recipe, 7, Plan(kernel="foreach")), DATA)
    np.testing.assert_allclose(scores(plain), scores(fit()), atol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "args"),
    [("Adam", {"amsgrad": True}), ("Adam", {"weight_decay": 0.1}), ("AdamW", {"betas": [0.8, 0.9]}), ("SGD", {})],
)
def test_the_short_step_takes_the_same_step_to_the_bit(optimizer, args):
    recipe = Recipe(optimizer=optimizer, optimizer_args=args, lr=0.01)
    weights = []
    for short in (True, False):
        torch.manual_seed(3)
        model = build(RESIDUAL.layers)
        stepper = steps.make_optimizer(model.parameters(), Job(RESIDUAL, recipe, 3, Plan()))
        step = steps.make_step(stepper) if short else stepper.step
        x, y = split(40, seed=1)
        for _ in range(5):
            stepper.zero_grad()
            F.nll_loss(model(x), y).backward()
            step()
        weights.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_a_product_in_place_of_a_convolution_learns_the_same():
    spec = network(
        "spanning",
        layer("Reshape", shape=[1, 4, 4]),
        layer("Conv2d", in_channels=1, out_channels=6, kernel_size=2),
        layer("ReLU"),
        layer("Conv2d", in_channels=6, out_channels=3, kernel_size=3),
        layer("Reshape", shape=[3]),
        layer("LogSoftmax"),
    )
    recipe = Recipe(epochs=3, lr=0.01, batch_size=16)
    product = train(Job(spec, recipe, 5, Plan(convolutions="tuned"), keep_weights=True), DATA)
    conv = train(Job(spec, recipe, 5, Plan(convolutions="plain"), keep_weights=True), DATA)
    np.testing.assert_allclose(
        product.epochs[-1].splits[0].scores, conv.epochs[-1].splits[0].scores, rtol=1e-4, atol=1e-5
    )
    build(spec.layers).load_state_dict({name: torch.from_numpy(w) for name, w in product.weights.items()})


def norms(*between):
    """A network whose batch norm sees one value a channel."""
    first = layer("Linear", in_features=16, out_features=8)
    last = layer("Linear", in_features=8, out_features=3)
    norm = layer("BatchNorm1d", num_features=8)
    return network("norms", layer("Flatten"), first, norm, *between, last, layer("LogSoftmax"))


TINY_BLOCK = network(
    "tiny",
    layer("BasicBlock", inplanes=1, planes=3, stride=4),
    layer("Flatten"),
    layer("Linear", in_features=3, out_features=3),
    layer("LogSoftmax"),
)


@pytest.mark.parametrize("spec", [norms(), TINY_BLOCK], ids=["norms", "block"])
def test_a_last_batch_of_one_sample_is_left_out_where_batch_norm_cannot_be_trained_on_it(spec):
    """The same as without that sample, to the bit."""
    images, labels = DATA["train"]
    odd = {"train": (images[:41], labels[:41]), "test": DATA["test"]}
    even = {"train": (images[:40], labels[:40]), "test": DATA["test"]}
    one, other = (fit(spec, data=data, batch_size=4, order="fixed") for data in (odd, even))
    assert one.status == "done"
    for left, right in zip(scores(one), scores(other), strict=True):
        assert np.array_equal(left, right)
    assert [epoch.train_loss for epoch in one.epochs] == [epoch.train_loss for epoch in other.epochs]
    assert fit(spec, data=odd, batch_size=4).status == "done"


def test_other_networks_are_trained_on_every_sample():
    images, labels = DATA["train"]
    odd = {"train": (images[:41], labels[:41]), "test": DATA["test"]}
    even = {"train": (images[:40], labels[:40]), "test": DATA["test"]}
    for spec in (LINEAR, RESIDUAL):  # the block's batch norms see 2 × 2 values a channel
        one, other = (fit(spec, data=data, batch_size=4, order="fixed") for data in (odd, even))
        assert not np.array_equal(scores(one)[0], scores(other)[0])


def test_batches_of_one_sample_alone_are_refused_where_batch_norm_cannot_be_trained_on_them():
    images, labels = DATA["train"]
    one = {"train": (images[:1], labels[:1]), "test": DATA["test"]}
    for data, size in ((DATA, 1), (one, 4)):
        with pytest.raises(WorkError, match=f"got batch_size = {size} and {len(data['train'][1])} samples"):
            fit(norms(), data=data, batch_size=size)
    assert fit(RESIDUAL, batch_size=1).status == "done"


def test_dropout_is_drawn_from_the_trainings_own_seed():
    dropping = [norms(layer("Dropout", p=0.5)), norms(layer("AlphaDropout", p=0.25)), CONV]
    for spec in dropping:
        one = fit(spec)
        torch.rand(7)
        fit(LINEAR)  # whatever was trained before by the same worker
        for left, right in zip(scores(one), scores(fit(spec)), strict=True):
            assert np.array_equal(left, right)
        assert not np.array_equal(scores(one)[0], scores(fit(spec, seed=8))[0])


@pytest.mark.parametrize("mode", ["explicit", "eager", "reference"])
@pytest.mark.parametrize(("channels", "side", "together"), [(1, 8, 250), (16, 16, 64), (64, 16, 32)])
def test_so_many_samples_are_evaluated_together_as_stay_in_the_caches(mode, channels, side, together):
    """As many as the largest layer makes a quarter of a million values of: each is there once, in its order."""
    linear = layer("Linear", in_features=channels * side * side, out_features=2)
    spec = network(
        "N",
        layer("Reshape", shape=[1, side, side]),
        layer("Conv2d", in_channels=1, out_channels=channels, kernel_size=1),
        *(layer("Flatten"), linear, layer("LogSoftmax")),
    )
    seen = []

    def note(module, given, output):
        if isinstance(module, torch.nn.Conv2d) and not module.training:
            seen.append(len(output))

    inputs = torch.arange(300 * side * side).view(300, 1, side, side) / 1000
    job = Job(spec, Recipe(epochs=1), 7, Plan(mode=mode))
    data = {"train": (inputs[:4], torch.arange(4) % 2), "test": (inputs, torch.arange(300) % 2)}
    with torch.nn.modules.module.register_module_forward_hook(note):
        result = train(job, data)
    assert seen == [together] * (300 // together) + [300 % together]
    alone = train(job, {**data, "test": (inputs[-1:], data["test"][1][-1:])})
    np.testing.assert_allclose(result.epochs[0].splits[0].scores[-1:], alone.epochs[0].splits[0].scores, rtol=1e-4)


def test_scores_are_those_of_evaluation_mode_and_statistics_are_kept():
    spec = norms(layer("Dropout", p=0.5))
    result = fit(spec, keep_weights=True)
    assert {"2.running_mean", "2.running_var"} <= result.weights.keys()
    assert np.abs(result.weights["2.running_mean"]).min() > 0
    model = build(spec.layers)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in result.weights.items()})
    with torch.no_grad():
        wanted = model.eval()(DATA["test"][0])
    np.testing.assert_allclose(scores(result)[-1], wanted.numpy(), atol=1e-5)
