"""What a recipe can say beside the optimizer, each against a script as a textbook has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from netpick.core.recipe import Augment, Recipe
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.training import Job, Plan, choose, train
from netpick.training.schedules import schedule_of

PIXELS, CLASSES = 12, 3
PLANS = {
    "reference": Plan(mode="reference", convolutions="plain"),
    "eager": Plan(mode="eager"),
    "explicit": Plan(mode="explicit"),
    "compiled": Plan(mode="compiled", convolutions="plain"),
}


def samples(count, seed, classes=CLASSES):
    images = torch.randn(count, 1, 3, 4, generator=torch.Generator().manual_seed(seed))
    return images, images.flatten(1)[:, :classes].argmax(1)


DATA = {"train": samples(70, 1), "test": samples(40, 2)}
TWO = {"train": samples(70, 1, 2), "test": samples(40, 2, 2)}


def mlp(*last, width=8, out=CLASSES, between=()):
    layers = [layer("Flatten"), layer("Linear", in_features=PIXELS, out_features=width), layer("ReLU"), *between]
    return NetworkSpec("N", "Linear", "ReLU", (*layers, layer("Linear", in_features=width, out_features=out), *last))


MANY = mlp(layer("LogSoftmax"))
ONE = mlp(layer("BinaryLogSigmoid", positive=0), out=1)


def fit(spec, plan, data=DATA, **recipe):
    whole = Recipe(**{"epochs": 3, "lr": 0.05, "batch_size": 16, "optimizer": "SGD", **recipe})
    plan = replace(PLANS[plan], kernel="foreach") if whole.optimizer == "RMSprop" else PLANS[plan]
    result = train(Job(spec, whole, 5, plan, keep_weights=True), data)
    assert (result.status, result.error) == ("done", None)
    return result


def assert_weights(result, model, atol=1e-5):
    wanted = [values.detach().numpy() for values in model.state_dict().values()]
    for one, two in zip(result.weights.values(), wanted, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=atol)


def script(model, loss, data=DATA, optimizer=None, each=lambda optimizer, step: None, shuffle=False, epochs=3):
    """Train as tutorials do, a test set at the end of each epoch; return the mean loss of each epoch."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.05)
    loaders = [DataLoader(TensorDataset(*data["train"]), 16, shuffle), DataLoader(TensorDataset(*data["test"]), 16)]
    losses, step = [], 0
    for _ in range(epochs):
        total = 0.0
        model.train()
        for x, y in loaders[0]:
            each(optimizer, step)
            step += 1
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            total += value.item() * len(y)
        losses.append(total / len(data["train"][1]))
        model.eval()
        for _ in loaders[1]:
            pass
    return losses


def made(out=CLASSES, seed=5, dropout=()):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8), nn.ReLU(), *dropout, nn.Linear(8, out))


def onehot(y):
    return torch.eye(CLASSES)[y]


LOSSES = {
    "nll": F.cross_entropy,
    "mse": lambda x, y: ((x.softmax(1) - onehot(y)) ** 2).mean(),
    "l1": lambda x, y: (x.softmax(1) - onehot(y)).abs().mean(),
    "distance": lambda x, y: torch.where(onehot(y) == 1, 1 - x.softmax(1), 0).sum(1).mean(),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("plan", PLANS)
def test_losses_are_those_of_a_script(loss, plan):
    model = made()
    losses = script(model, LOSSES[loss])
    result = fit(MANY, plan, loss=loss, order="fixed", seeding="torch")
    np.testing.assert_allclose([epoch.train_loss for epoch in result.epochs], losses, rtol=1e-5)
    assert_weights(result, model)


@pytest.mark.parametrize(
    ("loss", "tutorial"),
    [
        ("nll", lambda p, t: F.binary_cross_entropy(p, t)),
        ("mse", lambda p, t: F.mse_loss(p, t)),
        ("l1", lambda p, t: F.l1_loss(p, t)),
        ("distance", lambda p, t: torch.where(t == 1, 1 - p, p).mean()),
    ],
)
@pytest.mark.parametrize("plan", PLANS)
def test_one_output_is_trained_as_a_script_with_a_sigmoid_is(plan, loss, tutorial):
    model = made(out=1)
    losses = script(model, lambda x, y: tutorial(x[:, 0].sigmoid(), (y == 0).float()), TWO)
    result = fit(ONE, plan, TWO, loss=loss, order="fixed", seeding="torch")
    np.testing.assert_allclose([epoch.train_loss for epoch in result.epochs], losses, rtol=1e-5)
    assert_weights(result, model)
    with torch.no_grad():
        yes = model(TWO["test"][0])[:, 0].sigmoid()
    last = result.epochs[-1].splits[0]
    np.testing.assert_allclose(np.exp(last.scores), torch.stack([yes, 1 - yes], 1), rtol=1e-4, atol=1e-6)
    assert last.accuracy == float(((yes > 0.5) == (TWO["test"][1] == 0)).double().mean())


@pytest.mark.parametrize("plan", PLANS)
def test_label_smoothing_is_torchs(plan):
    model = made()
    losses = script(model, nn.CrossEntropyLoss(label_smoothing=0.3))
    result = fit(MANY, plan, label_smoothing=0.3, order="fixed", seeding="torch")
    np.testing.assert_allclose([epoch.train_loss for epoch in result.epochs], losses, rtol=1e-5)
    assert_weights(result, model)


@pytest.mark.parametrize("plan", PLANS)
def test_label_smoothing_of_one_output_is_that_of_soft_labels(plan):
    model = made(out=1)
    soft = lambda x, y: F.binary_cross_entropy(x[:, 0].sigmoid(), 0.7 * (y == 0) + 0.15)  # noqa: E731
    losses = script(model, soft, TWO)
    result = fit(ONE, plan, TWO, label_smoothing=0.3, order="fixed", seeding="torch")
    np.testing.assert_allclose([epoch.train_loss for epoch in result.epochs], losses, rtol=1e-5)
    assert_weights(result, model)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("plan", PLANS)
def test_gradients_are_clipped_as_torch_does(plan, optimizer):
    model = made()
    stepper, norms = getattr(torch.optim, optimizer)(model.parameters(), 0.02), []
    clip = lambda *_: norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.45)))  # noqa: E731
    stepper.register_step_pre_hook(clip)
    script(model, F.cross_entropy, optimizer=stepper)
    assert min(norms) < 0.45 < max(norms)  # some are long, some are not
    recipe = {"optimizer": optimizer, "lr": 0.02, "gradient_clip": 0.45}
    assert_weights(fit(MANY, plan, order="fixed", seeding="torch", **recipe), model, 2e-5)


@pytest.mark.parametrize("plan", PLANS)
def test_a_limit_that_no_gradient_reaches_changes_no_bit(plan):
    without, within = fit(MANY, plan), fit(MANY, plan, gradient_clip=1e6)
    for one, two in zip(without.weights.values(), within.weights.values(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("plan", ["reference", "eager"])
def test_without_these_keys_a_training_is_a_scripts_to_the_bit(plan):
    model = nn.Sequential(*made(), nn.LogSoftmax(1))
    losses = script(model, F.nll_loss)
    result = fit(MANY, plan, order="fixed", seeding="torch")
    for one, two in zip(result.weights.values(), model.state_dict().values(), strict=True):
        np.testing.assert_array_equal(one, two.numpy())
    np.testing.assert_allclose([epoch.train_loss for epoch in result.epochs], losses, rtol=1e-12)


@pytest.mark.parametrize("plan", ["reference", "eager", "explicit"])
def test_torchs_own_seed_gives_what_a_script_with_dataloaders_gives(plan):
    # Dropout draws from the same generator as the loaders: every number in between has to be drawn.
    model = made(dropout=[nn.Dropout(0.3)])
    losses = script(model, F.cross_entropy, shuffle=True)
    result = fit(mlp(layer("LogSoftmax"), between=[layer("Dropout", p=0.3)]), plan, seeding="torch")
    np.testing.assert_allclose([epoch.train_loss for epoch in result.epochs], losses, rtol=1e-5)
    assert_weights(result, model)


def test_machine_code_sees_the_samples_in_torchs_order():
    model = made()
    script(model, F.cross_entropy, shuffle=True)
    assert_weights(fit(MANY, "compiled", seeding="torch"), model)


def test_initial_weights_are_drawn_from_the_seed_in_the_order_of_the_layers():
    kinds = {
        "randn": lambda w, b: (nn.init.normal_(w), nn.init.normal_(b)),
        "xavier": lambda w, b: (nn.init.xavier_uniform_(w), nn.init.zeros_(b)),
        "he": lambda w, b: (nn.init.kaiming_normal_(w), nn.init.zeros_(b)),
    }
    norm = mlp(layer("LogSoftmax"), between=[layer("BatchNorm1d", num_features=8), layer("PReLU")])
    tiny = {"lr": 1e-30, "epochs": 1}  # nothing moves, but a norm's running statistics
    usual = fit(norm, "reference", **tiny).weights
    for name, draw in kinds.items():
        weights = fit(norm, "reference", init=name, **tiny).weights
        torch.manual_seed(5)
        for stem in ("1", "5"):
            wanted = [torch.empty(usual[f"{stem}.{key}"].shape) for key in ("weight", "bias")]
            draw(*wanted)
            for key, values in zip(("weight", "bias"), wanted, strict=True):
                np.testing.assert_allclose(weights[f"{stem}.{key}"], values, rtol=1e-7, atol=1e-20)
        for key in ("3.weight", "3.bias", "4.weight"):  # norms and slopes keep their own
            np.testing.assert_allclose(weights[key], usual[key], atol=1e-20)


def cosines(start, end, share):
    """SchedCos of fastai's callback/schedule.py."""
    return start + (1 + np.cos(np.pi * (1 - share))) * (end - start) / 2


def one_cycle(start, middle, end, share):
    """combined_cos of the same, with pct_start 0.25."""
    return cosines(start, middle, share / 0.25) if share < 0.25 else cosines(middle, end, (share - 0.25) / 0.75)


STEPS = 15  # 3 epochs of 70 samples, 16 at a time


@pytest.mark.parametrize(
    ("optimizer", "args", "key"),
    [("SGD", {"momentum": 0.5}, "momentum"), ("SGD", {}, None), ("Adam", {}, "betas"), ("RMSprop", {}, None)],
)
@pytest.mark.parametrize("plan", PLANS)
def test_one_cycle_is_fastais(plan, optimizer, args, key):
    def each(optimizer, step):
        (group,) = optimizer.param_groups
        group["lr"] = one_cycle(0.02 / 25, 0.02, 0.02 / 1e5, step / STEPS)
        moved = one_cycle(0.95, 0.85, 0.95, step / STEPS)
        if key:
            group[key] = moved if key == "momentum" else (moved, 0.999)

    model = made()
    script(
        model, F.cross_entropy, optimizer=getattr(torch.optim, optimizer)(model.parameters(), 0.02, **args), each=each
    )
    recipe = {"optimizer": optimizer, "optimizer_args": args, "lr": 0.02, "schedule": "onecycle"}
    result = fit(MANY, plan, order="fixed", seeding="torch", **recipe)
    assert_weights(result, model, 2e-5)


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        ("constant", lambda share: 1),
        ("cosine", lambda share: (1 + np.cos(np.pi * share)) / 2),
        ("linear", lambda share: 1 - share),
        ("step", lambda share: 1 if share < 0.5 else 0.1 if share < 0.75 else 0.01),
    ],
)
@pytest.mark.parametrize("warmup", [0.0, 0.2])
@pytest.mark.parametrize("plan", PLANS)
def test_schedules_are_those_of_a_script(plan, schedule, factor, warmup):
    warm = round(warmup * STEPS)

    def each(optimizer, step):
        after = step - warm
        optimizer.param_groups[0]["lr"] = 0.05 * ((step + 1) / warm if after < 0 else factor(after / (STEPS - warm)))

    model = made()
    script(model, F.cross_entropy, each=each)
    assert_weights(fit(MANY, plan, schedule=schedule, warmup=warmup, order="fixed", seeding="torch"), model)


def test_a_schedule_of_one_epoch_begins_anew_in_another_training():
    one, two = (schedule_of(Recipe(schedule="cosine", lr=0.5), steps) for steps in (1, 40))
    assert one[0, 0] == two[0, 0] == 0.5
    assert two[-1, 0] == pytest.approx(0.5 * (1 - np.cos(np.pi / 40)) / 2)
    assert schedule_of(Recipe(), 10) is None


def test_every_engine_trains_what_it_is_chosen_for():
    for values in ({"loss": "mse"}, {"schedule": "cosine"}, {"warmup": 0.1}, {"seeding": "torch"}, {"init": "he"},
                   {"label_smoothing": 0.1}, {"gradient_clip": 1.0}, {"augment": Augment(flip=True)}):  # fmt: skip
        recipe = Recipe(**values, epochs=1)
        assert train(Job(MANY, recipe, 0, choose(recipe, "cpu", MANY)), DATA).status == "done"
        assert choose(recipe, "cuda", MANY).mode == ("eager" if {"schedule", "warmup"} & {*values} else "graph")
