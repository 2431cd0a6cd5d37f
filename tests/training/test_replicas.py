"""Replicates trained as one model: what each of them comes to is what it comes to by itself, in the plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from pool_work import work
from test_session import CIRCUMSTANCES, KEYS, Recorder

from netpick.core.errors import PlanError, RunError
from netpick.exam.run import Run
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper.operations import ACTIVATIONS
from netpick.networks.paper.spec import NetworkSpec, layer, shapes
from netpick.sessions.generate import generate_run
from netpick.sessions.session import Options, estimate_run, train_run
from netpick.sessions.workers import pool
from netpick.sessions.workers.pool import grouped
from netpick.store.folder import Store
from netpick.training import plan as plans
from netpick.training.engines import batched as replicas
from netpick.training.engines.batched import Stacked, batches, train_replicas
from netpick.training.loop import train
from netpick.training.plan import Plan, can_be_batched, choose, pinned
from netpick.training.steps import batches as single_batches

IMAGE, CLASSES = (1, 6, 6), 3
SEEDS = [11, 7, 2**40]


def network(*layers):
    size = int(np.prod(shapes(layers, IMAGE)[-1])) if layers else int(np.prod(IMAGE))
    head = (layer("Flatten"), layer("Linear", in_features=size, out_features=CLASSES), layer("LogSoftmax"))
    return NetworkSpec("N", "Linear", "None", (*layers, *head))


def hidden(activation="Tanh"):
    return network(layer("Flatten"), layer("Linear", in_features=36, out_features=7), layer(activation))


def samples(count, seed):
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=random)
    inputs = torch.randn(count, *IMAGE, generator=random) + labels.view(-1, 1, 1, 1) * 0.5
    return inputs, labels


DATA = {"train": samples(53, 0), "validation": samples(5, 1), "test": samples(130, 2)}


def assert_as_the_plain_loop(spec, recipe, data=DATA, rtol=1e-3, atol=1e-4):
    mode = f"batched({len(SEEDS)})"
    kernel = choose(recipe, "cpu").kernel
    group = train_replicas(spec, recipe, "cpu", data, SEEDS, Plan(mode=mode, kernel=kernel), keep_weights=True)
    for n, (seed, ours) in enumerate(zip(SEEDS, group, strict=True)):
        plain = train(spec, recipe, "cpu", data, seed, Plan(mode="reference"), n, keep_weights=True)
        assert (ours.status, ours.replicate, ours.seed, ours.hash) == (plain.status, n, seed, plain.hash)
        assert len(ours.epochs) == len(plain.epochs)
        assert list(ours.weights) == list(plain.weights)
        for name, weight in plain.weights.items():
            np.testing.assert_allclose(ours.weights[name], weight, rtol, atol)
        for one, two in zip(ours.epochs, plain.epochs, strict=True):
            assert one.train_loss == pytest.approx(two.train_loss, rel=rtol, abs=atol)
            for a, b in zip(one.splits, two.splits, strict=True):
                assert a.split == b.split
                np.testing.assert_allclose(a.scores, b.scores, rtol, atol)
    assert not np.allclose(group[0].epochs[-1].splits[-1].scores, group[1].epochs[-1].splits[-1].scores)


@pytest.mark.parametrize(
    ("optimizer", "args"),
    [
        ("Adam", {}),
        ("Adam", {"weight_decay": 0.1, "amsgrad": True, "betas": [0.8, 0.9]}),
        ("AdamW", {"weight_decay": 0.5}),
        ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
        ("RMSprop", {"centered": True, "momentum": 0.3}),
    ],
)
def test_each_optimizer_does_to_each_replicate_what_it_does_to_one(optimizer, args):
    recipe = Recipe(optimizer=optimizer, optimizer_args=args, lr=0.01, batch_size=10, epochs=3)
    assert_as_the_plain_loop(hidden(), recipe)


@pytest.mark.parametrize("recipe", [{"shuffle": False}, {"batch_size": 53}, {"batch_size": 1000}, {"batch_size": 1}])
def test_batches_of_any_size(recipe):
    assert_as_the_plain_loop(hidden(), Recipe(**{"epochs": 2, "batch_size": 7, **recipe}))


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - {"RReLU"}))
def test_every_activation(activation):
    assert_as_the_plain_loop(hidden(activation), Recipe(epochs=1, batch_size=20))


@pytest.mark.parametrize(
    "layers",
    [
        [layer("Conv2d", in_channels=1, out_channels=4, kernel_size=3, groups=1), layer("MaxPool2d", kernel_size=2)],
        [layer("Conv2d", in_channels=1, out_channels=4, kernel_size=6)],
        [layer("Conv2d", in_channels=1, out_channels=2, kernel_size=2, stride=2), layer("AvgPool2d", kernel_size=2)],
        [layer("Reshape", shape=[1, 36]), layer("Conv1d", in_channels=1, out_channels=3, kernel_size=5)],
        [layer("Reshape", shape=[2, 18]), layer("Conv1d", in_channels=2, out_channels=4, kernel_size=3, groups=2)],
        [layer("Reshape", shape=[1, 4, 3, 3]), layer("Conv3d", in_channels=1, out_channels=2, kernel_size=2)],
        [layer("AdaptiveAvgPool2d", output_size=2), layer("LayerNorm", normalized_shape=[1, 2, 2])],
        [
            layer("Conv2d", in_channels=1, out_channels=4, kernel_size=3),
            layer("GroupNorm", num_groups=2, num_channels=4),
        ],
    ],
    ids=lambda layers: "-".join(one.op for one in layers),
)
def test_convolutions_pools_and_norms(layers):
    assert_as_the_plain_loop(network(*layers), Recipe(epochs=1, batch_size=20))


def test_the_batches_of_each_replicate_are_its_own():
    inputs, labels = samples(500, 3)
    orders = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    ours = [list(batches(inputs, labels, 3, orders)) for _ in range(2)]  # two epochs
    for n, seed in enumerate(SEEDS):
        order = torch.Generator().manual_seed(seed)
        for epoch in ours:
            for (x, y), (wanted_x, wanted_y) in zip(epoch, single_batches(inputs, labels, 3, order), strict=True):
                assert torch.equal(x[n], wanted_x)
                assert torch.equal(y[n], wanted_y)


def test_one_that_diverges_leaves_the_others_alone(monkeypatch):
    recipe = Recipe(epochs=3, batch_size=10)
    plan = Plan(mode="batched(3)")
    calm = train_replicas(hidden(), recipe, "cpu", DATA, SEEDS, plan)
    gradient, calls = Stacked.gradient, []

    def upset(self, x, y):
        losses = gradient(self, x, y)
        calls.append(1)
        if len(calls) == 8:  # in the second epoch, of six steps each
            for values in self.values:
                values[1] = np.inf
        return losses

    monkeypatch.setattr(Stacked, "gradient", upset)
    group = train_replicas(hidden(), recipe, "cpu", DATA, SEEDS, plan, keep_weights=True)
    assert [one.status for one in group] == ["done", "diverged", "done"]
    assert group[1].error == "training loss became nan in epoch 2"
    assert [len(one.epochs) for one in group] == [3, 1, 3]
    assert group[1].weights is None
    assert group[0].weights is not None
    for n, count in ((0, 3), (1, 1), (2, 3)):
        for one, two in zip(group[n].epochs, calm[n].epochs[:count], strict=True):
            assert one.train_loss == two.train_loss
            np.testing.assert_array_equal(one.splits[-1].scores, two.splits[-1].scores)


@pytest.mark.parametrize("mode", ["batched(3)", "reference"])
def test_a_timeout_ends_it(mode):
    recipe = Recipe(epochs=30_000, timeout=0.05)
    if mode == "reference":
        found = [train(hidden(), recipe, "cpu", DATA, 0, Plan(mode=mode))]
    else:
        found = train_replicas(hidden(), recipe, "cpu", DATA, SEEDS, Plan(mode=mode))
    assert {(one.status, one.error) for one in found} == {("timeout", "not finished after 0.05 seconds")}


def test_a_plan_is_batched_by_rule():
    # With an optimizer that there is no machine code for, which would be faster still.
    many, few = (Recipe(replicates=n, optimizer="RMSprop") for n in (16, 2))
    small = hidden()
    assert str(choose(many, "cpu", small)) == "fp32/contiguous/batched(16)/foreach/plain"
    assert str(choose(Recipe(replicates=16), "cpu", small)) == "fp32/contiguous/compiled/fused/plain"
    assert choose(many, "cpu").mode == choose(few, "cpu", small).mode == "explicit"
    large = network(layer("Flatten"), layer("Linear", in_features=36, out_features=3_000))
    convolutional = network(layer("Conv2d", in_channels=1, out_channels=4, kernel_size=3))
    for spec in (large, convolutional):
        assert choose(many, "cpu", spec).mode == "explicit"
        assert choose(few, "cpu", spec, "batched").mode == "batched(2)"
    assert (
        choose(Recipe(replicates=10_000, optimizer="RMSprop"), "cpu", small).mode == "explicit"
    )  # all together are too large
    assert choose(many, "cuda:0", small).mode == "graph"
    assert choose(many, "cpu", small, "explicit").mode == "explicit"
    assert choose(many, "cpu", small, "tuned").mode == "explicit"
    assert choose(Recipe(optimizer="RMSprop"), "cpu", small, "batched").mode == "explicit"


def test_a_network_for_which_bf16_was_chosen_is_not_batched(monkeypatch):
    monkeypatch.setattr(plans, "auto_precision", lambda device, spec: "bf16")
    plan = choose(Recipe(replicates=4, precision="auto"), "cpu", hidden(), "batched")
    assert (plan.precision, plan.mode) == ("bf16", "eager")


@pytest.mark.parametrize(
    "one",
    [
        layer("Dropout"),
        layer("AlphaDropout"),
        layer("BatchNorm2d", num_features=1),
        layer("RReLU"),
        layer("BasicBlock", inplanes=1, planes=2),
    ],
    ids=lambda one: one.op,
)
def test_what_is_random_or_has_buffers_is_not_batched(one):
    spec = network(one)
    assert can_be_batched(network())
    assert not can_be_batched(spec)
    assert choose(Recipe(replicates=16), "cpu", spec, "batched").replicas == 0


def test_the_number_of_a_batched_plan_is_read_again():
    plan = choose(Recipe(replicates=12), "cpu", hidden(), "batched")
    assert plan.replicas == 12
    assert Plan.parse(str(plan)) == plan == Plan(**pinned(str(plan)))
    assert Plan.parse("fp32/contiguous/eager(capture: why)/fused/tuned").mode == "eager"
    assert pinned("batched/fp32") == {"mode": "batched", "precision": "fp32"}


@pytest.mark.parametrize(
    ("pin", "device", "recipe", "said"),
    [
        ("batched", "cuda:0", {}, "batched is for fp32 on the cpu, got tf32 on cuda:0: leave it out"),
        ("batched/bf16", "cpu", {}, "batched is for fp32 on the cpu, got bf16 on cpu"),
        ("batched/tuned", "cpu", {}, "batched computes convolutions as torch has them, got tuned: say plain"),
    ],
)
def test_what_batched_does_not_go_with_is_refused(pin, device, recipe, said):
    with pytest.raises(PlanError, match=said):
        choose(Recipe(replicates=4, precision="auto" if device != "cpu" else "fp32"), device, hidden(), pin)


TEMPLATE = """
title = "Replicates"
dataset = "digits"

[recipe]
epochs = 2
batch_size = 25
train_samples = 101
replicates = 3

[[cells]]
kind = "sampled"
computation = "Linear"
count = 2
activation = "Tanh"
depth = 2
features = [5, 20]

[[cells]]
kind = "explicit"
name = "Dropped"
layers = [
    { op = "Flatten" },
    { op = "Dropout" },
    { op = "Linear", in_features = "pixels", out_features = "classes" },
    { op = "LogSoftmax" },
]
"""


def made(folder, template=TEMPLATE):
    path = folder.parent / "replicates.toml"
    path.write_text(template)
    return generate_run(str(path), str(folder)).store.path


def train_it(folder, **options):
    listener = Recorder()
    found = train_run(folder, Options(**{"device": "cpu", "workers": 1, "plan": "batched", **options}), listener)
    return found, listener


def rows(folder):
    out = {}
    for table in ("trainings", "epochs", "predictions"):
        frame = pd.read_parquet(folder / table).drop(columns=CIRCUMSTANCES, errors="ignore")
        frame = frame.astype({"network": str})
        out[table] = frame.sort_values([key for key in KEYS if key in frame], ignore_index=True)
    return out


def test_a_run_whose_replicates_are_trained_as_one(tmp_path):
    """Also when some rows are there: what is missing comes out the same to the bit, and nothing else is touched."""
    whole = made(tmp_path / "whole")
    estimate = estimate_run(whole, Options(device="cpu", plan="batched"), 0)
    assert (estimate.due, estimate.total) == (9, 9)
    found, listener = train_it(whole)
    assert found == {"done": 9}
    assert sorted(len(task.due) for task in listener.tasks) == [0, 0, 0, 3, 3]
    assert len(listener.results) == listener.start.due == 9
    trainings = Run(whole).trainings.reset_index()
    batched = trainings[trainings["network"] != "Dropped"]
    assert set(batched["plan"]) == {"fp32/contiguous/batched(3)/fused/plain"}
    assert set(trainings.loc[trainings["network"] == "Dropped", "plan"]) == {"fp32/contiguous/explicit/fused/tuned"}
    for _, group in batched.groupby("network", observed=True):
        assert group["seconds"].nunique() == group["started"].nunique() == 1
    events = [event for event in Store.open(whole).events() if event["event"] == "start"]
    assert len({(event["network"], event["replicate"]) for event in events}) == len(events) == 9

    class Stop(Recorder):
        def finished(self, result):
            super().finished(result)
            if result.network != "Dropped":
                raise KeyboardInterrupt  # between the commits of a group

    part = made(tmp_path / "part")
    with pytest.raises(KeyboardInterrupt):
        train_run(part, Options(device="cpu", workers=1, plan="batched"), Stop())
    before = {path: path.read_bytes() for path in (part / "trainings").glob("*.parquet")}
    done = Store.open(part).finished()
    assert any(replicate == 0 for _, replicate in done)
    assert len(done) < 9
    found, listener = train_it(part, compact=False, workers=2)
    assert found == {"done": 9}
    assert sorted(len(task.due) for task in listener.tasks if task.due) == [2, 3]
    assert all(path.read_bytes() == content for path, content in before.items())
    one, two = rows(whole), rows(part)
    for name in one:
        pd.testing.assert_frame_equal(one[name], two[name], check_exact=True)


def test_batched_without_replicates_is_refused(tmp_path):
    folder = made(tmp_path / "run", TEMPLATE.replace("replicates = 3", "replicates = 1"))
    for ask in (lambda: train_it(folder), lambda: estimate_run(folder, Options(device="cpu", plan="batched"), 0)):
        with pytest.raises(RunError, match=r"--plan batched: wants recipe\.replicates of 2 or more, got 1"):
            ask()


def a_group(due=(0, 1, 2)):
    one = pool.Task(hidden(), 0, 0, Recipe(replicates=3), Plan(mode="batched(3)"), shared=None, seeds=(5, 6, 7))
    return [replace(one, replicate=n, seed=one.seeds[n]) for n in due]


def test_replicates_are_joined_where_the_first_was():
    other = pool.Task(hidden("ReLU"), 0, 0, Recipe(), Plan(), shared=None)
    first, second, third = a_group()
    tasks = grouped([first, other, second, third])
    assert [task.due for task in tasks] == [(0, 1, 2), ()]
    assert tasks[0].each() == [first.__class__(**{**vars(t), "seeds": (), "due": ()}) for t in (first, second, third)]
    assert tasks[1].each() == [other]


def test_a_group_is_trained_whole_though_one_is_due(monkeypatch):
    monkeypatch.setattr(pool, "_resident", lambda shared, device: DATA)
    monkeypatch.setattr(pool, "_prepare_worker", lambda: None)
    trained = []

    def recorded(spec, recipe, device, data, seeds, *rest):
        trained.append(seeds)
        return train_replicas(spec, recipe, device, data, seeds, *rest)

    monkeypatch.setattr(replicas, "train_replicas", recorded)
    (task,) = grouped(a_group((2,)))
    (found,) = pool.run_task(task)
    assert trained == [(5, 6, 7)]
    assert (found.status, found.replicate, found.seed) == ("done", 2, 7)
    whole = train_replicas(task.spec, task.recipe, "cpu", DATA, (5, 6, 7), task.plan)[2]
    np.testing.assert_array_equal(found.epochs[-1].splits[-1].scores, whole.epochs[-1].splits[-1].scores)


def test_a_group_that_fails_is_a_row_for_each_that_is_due():
    (task,) = grouped(a_group((0, 2)))  # its data set is not there
    failed = pool.run_task(task)
    assert [(one.status, one.replicate, one.seed) for one in failed] == [("failed", 0, 5), ("failed", 2, 7)]
    assert failed[0].seconds == failed[1].seconds


def test_a_group_whose_worker_dies_is_tried_again_alone_and_then_failed(tmp_path):
    (group,) = grouped(a_group((1, 2)))
    task = replace(group, spec=replace(group.spec, name="kill"), shared=str(tmp_path))
    started = []
    found = list(pool.stream([task], 1, on_start=started.append, work=work))
    assert [(one.status, one.replicate, one.attempts) for one in found] == [("failed", 1, 2), ("failed", 2, 2)]
    assert [one.attempts for one in started] == [1, 2]
