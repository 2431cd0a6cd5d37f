from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from test_loop import CONV, DATA, LINEAR, RESIDUAL, network, plain_loop, split

from netpick.core.recipe import Augment, Recipe
from netpick.networks.paper.spec import layer
from netpick.training import Job, Plan, cards, train
from netpick.training.engines.graphs.lanes import CaptureError, CudaLane, Lane, Mark, reason
from netpick.training.engines.graphs.network import Pieces
from netpick.training.engines.graphs.parts import unrolled
from netpick.training.engines.graphs.training import run_alone, train_alone, training

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")


class Recorder(Lane):
    """A stand-in that counts, and whose marks are passed late: only when they have been asked for three times."""

    def __init__(self, refuse=None):
        super().__init__()
        self.captured, self.replayed, self.refuse = 0, 0, refuse

    def capture(self, work):
        self.captured += 1
        if self.refuse:
            raise self.refuse

        def replay():
            self.replayed += 1
            work()

        return replay

    def mark(self):
        return Late()


class Late(Mark):
    def __init__(self):
        super().__init__()
        self.asked = 0

    def done(self):
        self.asked += 1
        return self.asked > 3


GRAPH = Plan(mode="graph")


def fit(spec, recipe, lane=None, data=DATA, seed=7, plan=GRAPH, **pieces):
    lane = lane or Recorder()
    with ThreadPoolExecutor(1) as background:
        work = training(Job(spec, recipe, seed, plan), lane, data, background, pieces=Pieces(**pieces))
        return run_alone(work, lane)


def same(result, losses, outputs, tolerance=1e-5):
    assert result.status == "done"
    np.testing.assert_allclose([epoch.train_loss for epoch in result.epochs], losses, rtol=tolerance)
    for epoch, scores in zip(result.epochs, outputs, strict=True):
        np.testing.assert_allclose(epoch.splits[0].scores, scores, rtol=1e-4, atol=tolerance)


# The same as the plain loop


@pytest.mark.parametrize("spec", [LINEAR, CONV, RESIDUAL], ids=lambda spec: spec.name)
@pytest.mark.parametrize("unroll", [1, 4, 32])
def test_unrolled_steps_are_those_of_a_plain_loop(spec, unroll):
    # 150 samples in batches of 8: 18 steps and a batch of 6; of 4 unrolled, 4 replays and 2 steps that are left
    losses, outputs = plain_loop(spec, lambda p: torch.optim.SGD(p, 0.01), epochs=4, batch_size=8)
    recipe = Recipe(optimizer="SGD", lr=0.01, batch_size=8, epochs=4)
    same(fit(spec, recipe, unroll=unroll, evaluation_batch=77), losses, outputs)


@pytest.mark.parametrize(
    ("optimizer", "args", "kernel"),
    [
        ("Adam", {"amsgrad": True}, "fused"),
        ("AdamW", {"weight_decay": 0.1}, "fused"),
        ("SGD", {"momentum": 0.9, "dampening": 0.5}, "fused"),
        ("RMSprop", {"alpha": 0.9, "centered": True}, "foreach"),
    ],
)
def test_every_optimizer_learns_the_same(optimizer, args, kernel):
    losses, outputs = plain_loop(LINEAR, lambda p: getattr(torch.optim, optimizer)(p, 0.01, **args), 3, 7)
    recipe = Recipe(optimizer=optimizer, optimizer_args=args, lr=0.01, batch_size=7, epochs=3)
    same(fit(LINEAR, recipe, unroll=5, plan=Plan(mode="graph", kernel=kernel)), losses, outputs)


@pytest.mark.parametrize("batch_size", [1, 30, 149, 150, 400])
@pytest.mark.parametrize("order", ["shuffled", "fixed"])
def test_every_size_of_batch_and_order(batch_size, order):
    losses, outputs = plain_loop(LINEAR, lambda p: torch.optim.SGD(p, 0.05), 3, batch_size, order=order)
    recipe = Recipe(optimizer="SGD", lr=0.05, batch_size=batch_size, epochs=3, order=order)
    same(fit(LINEAR, recipe), losses, outputs)


@pytest.mark.parametrize("values", [
    {"schedule": "onecycle", "optimizer_args": {"momentum": 0.9}}, {"schedule": "step", "warmup": 0.2},
    {"loss": "mse", "init": "he"}, {"seeding": "torch"}, {"seeding": "torch", "order": "fixed", "loss": "l1"},
    {"label_smoothing": 0.2, "gradient_clip": 0.5}, {"augment": Augment(shift=1, flip=True, crop=0.6, erase=0.4)},
])  # fmt: skip
@pytest.mark.parametrize("plan", [GRAPH, Plan()], ids=str)
def test_whatever_a_recipe_says(values, plan):
    recipe = Recipe(**{"optimizer": "SGD", "lr": 0.05, "batch_size": 8, "epochs": 3, **values})
    plain = train(Job(LINEAR, recipe, 7, Plan(mode="reference")), DATA)
    wanted = [epoch.train_loss for epoch in plain.epochs], [epoch.splits[0].scores for epoch in plain.epochs]
    same(fit(LINEAR, recipe, unroll=4, plan=plan), *wanted)


def test_the_stand_in_gives_the_result_of_train_in_all_but_time_and_plan():
    recipe = Recipe(batch_size=8, epochs=3, lr=0.01)
    data = {**DATA, "validation": split(40, 5)}
    plain = train(Job(CONV, recipe, 7, Plan(), replicate=2, keep_weights=True), data)
    graph = train_alone(Job(CONV, recipe, 7, GRAPH, replicate=2, keep_weights=True), data)
    assert graph.plan == "fp32/graph/fused/tuned"
    for name in ("network", "hash", "replicate", "status", "error", "seed", "device"):
        assert getattr(graph, name) == getattr(plain, name)
    for name, weight in plain.weights.items():
        np.testing.assert_allclose(graph.weights[name], weight, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(graph.epochs, plain.epochs, strict=True):
        assert [one.split for one in ours.splits] == [one.split for one in theirs.splits] == ["test", "validation"]
        for one, other in zip(ours.splits, theirs.splits, strict=True):
            assert one.accuracy == other.accuracy
            np.testing.assert_allclose(one.class_auc, other.class_auc, atol=1e-6)


def test_a_lone_last_sample_is_left_out_where_a_batch_norm_needs_two():
    one_value = network(
        "norm",
        layer("Reshape", shape=[16]),
        layer("BatchNorm1d", num_features=16),
        layer("Linear", in_features=16, out_features=3),
        layer("LogSoftmax"),
    )
    data = {"train": split(25, 1), "test": split(30, 2)}
    recipe = Recipe(optimizer="SGD", batch_size=8, epochs=3)
    plain = train(Job(one_value, recipe, 7, Plan()), data)
    graph = fit(one_value, recipe, data=data)
    assert [e.train_loss for e in graph.epochs] == pytest.approx([e.train_loss for e in plain.epochs], rel=1e-5)


# Captures and replays


def test_what_is_captured_and_how_often_it_is_replayed():
    lane = Recorder()
    fit(LINEAR, Recipe(batch_size=8, epochs=4), lane, unroll=4)  # an epoch: 4 times 4 steps, then 2 and the short one
    # Of the 16 chunks the first is eager, of 4 rests and 4 evaluations the first of each.
    assert (lane.captured, lane.replayed) == (3, 15 + 3 + 3)


def test_what_comes_only_once_more_is_not_captured():
    lane = Recorder()
    fit(LINEAR, Recipe(batch_size=8, epochs=2), lane, unroll=18)
    assert (lane.captured, lane.replayed) == (0, 0)


def test_a_plan_that_says_eager_captures_nothing():
    lane = Recorder()
    result = fit(LINEAR, Recipe(batch_size=8, epochs=4), lane, unroll=4, plan=Plan())
    assert (lane.captured, result.plan) == (0, "fp32/eager/fused/tuned")


@pytest.mark.parametrize(
    ("steps", "epochs", "expected"),
    [(2400, 4, 8), (5, 100, 2), (0, 4, 1), (1, 10**6, 1), (60000, 100, 32)],
)
def test_steps_in_a_graph(monkeypatch, steps, epochs, expected):
    monkeypatch.setattr(cards, "CAPTURE_PER_REPLAY", 150)
    monkeypatch.setattr(cards, "MOST_UNROLLED", 32)
    assert unrolled(steps, epochs) == expected


def test_a_capture_that_fails_leaves_an_eager_training_with_its_reason():
    losses, outputs = plain_loop(CONV, lambda p: torch.optim.SGD(p, 0.01), epochs=3, batch_size=8)
    lane = Recorder(CaptureError("operation not permitted when stream is capturing"))
    result = fit(CONV, Recipe(optimizer="SGD", lr=0.01, batch_size=8, epochs=3), lane, unroll=4)
    same(result, losses, outputs)
    assert result.plan == ("fp32/eager(capture: operation not permitted when stream is capturing)/fused/tuned")
    assert lane.captured == 1  # and no second try


def test_out_of_memory_in_a_capture_is_no_reason_to_go_on():
    with pytest.raises(torch.OutOfMemoryError):
        fit(LINEAR, Recipe(batch_size=8), Recorder(torch.OutOfMemoryError("tried to allocate 3 GiB")), unroll=4)


def test_a_reason_fits_into_a_plan():
    text = reason(RuntimeError("CUDA error: operation/not (permitted)\nCompile with `TORCH_USE_CUDA_DSA`" * 9))
    assert text == "CUDA error operation not permitted"
    assert len(reason(ValueError("x" * 300))) == 60
    assert reason(ValueError("")) == "ValueError"


# Interleaved


def test_each_lane_has_the_precision_of_its_own_network():
    def flags():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = flags()
    fast, exact = Lane("cuda:0"), Lane("cuda:0")  # stand-ins: there need be no card
    for lane, allowed in ((fast, True), (exact, False)):
        with lane.active():
            lane.begin(tf32=allowed)
            assert flags() == (allowed, allowed)
        assert flags() == before
    for lane, allowed in ((fast, True), (exact, False), (fast, True)):
        with lane.active():
            assert flags() == (allowed, allowed)
    assert flags() == before


def test_trainings_that_take_turns_learn_as_they_do_alone():
    recipe = Recipe(batch_size=8, epochs=3, lr=0.01)
    alone = [fit(spec, recipe, seed=seed, unroll=4) for seed, spec in enumerate([CONV, CONV, RESIDUAL])]
    with ThreadPoolExecutor(1) as background:
        running = []
        for seed, spec in enumerate([CONV, CONV, RESIDUAL]):
            lane = Recorder()
            work = training(Job(spec, recipe, seed, GRAPH), lane, DATA, background, pieces=Pieces(unroll=4))
            running.append((seed, lane, work))
        results = {}
        while running:
            for seed, lane, work in list(running):
                try:
                    with lane.active():
                        wait = next(work)
                    while wait is not None and not wait.done():
                        pass
                except StopIteration as end:
                    results[seed] = end.value
                    running.remove((seed, lane, work))
    for seed, expected in enumerate(alone):  # to the bit, dropout and all
        for ours, theirs in zip(results[seed].epochs, expected.epochs, strict=True):
            assert np.array_equal(ours.splits[0].scores, theirs.splits[0].scores)


# Endings


def test_divergence_keeps_the_epochs_before():
    recipe = Recipe(optimizer="SGD", lr=1e30, batch_size=8, epochs=4)
    plain = train(Job(LINEAR, recipe, 7, Plan()), DATA)
    graph = fit(LINEAR, recipe)
    assert (graph.status, len(graph.epochs)) == (plain.status, len(plain.epochs)) == ("diverged", 0)
    assert graph.error.startswith("training loss became")


def test_scores_that_are_no_numbers_are_divergence():
    images, labels = DATA["test"]
    data = {**DATA, "test": (images.clone().index_fill_(0, torch.tensor([3]), float("nan")), labels)}
    result = fit(LINEAR, Recipe(batch_size=8, epochs=3), data=data)
    assert (result.status, result.epochs) == ("diverged", ())
    assert result.error == "scores of split test are not numbers after epoch 1"


def test_a_timeout_ends_the_training():
    result = fit(LINEAR, Recipe(batch_size=1, epochs=500, timeout=0.05))
    assert result.status == "timeout"
    assert result.error == "not finished after 0.05 seconds"
    assert len(result.epochs) < 500


# On a card


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("spec", [LINEAR, RESIDUAL], ids=lambda spec: spec.name)
@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "RMSprop"])
def test_a_card_learns_the_same(spec, optimizer):
    args = {"momentum": 0.9} if optimizer == "SGD" else {}
    recipe = Recipe(optimizer=optimizer, optimizer_args=args, batch_size=8, epochs=4, lr=0.001)
    plan = Plan(mode="graph", kernel="foreach" if optimizer == "RMSprop" else "fused")
    cpu = train(Job(spec, recipe, 7, Plan(kernel=plan.kernel)), DATA)
    data = {name: (x.cuda(), y.cuda()) for name, (x, y) in DATA.items()}
    card = fit(spec, recipe, CudaLane("cuda:0"), data, plan=plan, unroll=4)
    assert card.plan == str(plan)  # really captured
    for ours, theirs in zip(card.epochs, cpu.epochs, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)
        np.testing.assert_allclose(ours.splits[0].scores, theirs.splits[0].scores, atol=1e-2)
        assert ours.peak_memory_bytes > 0


@pytest.mark.gpu
@GPU
def test_a_capture_that_fails_on_a_card_leaves_it_usable():
    lane = CudaLane("cuda:0")
    lane.begin()
    total = torch.zeros((), device="cuda")
    with lane.active():
        for bad in (lambda: total.item(), lambda: json.loads("{")):
            with pytest.raises(CaptureError):
                lane.capture(bad)
        replay = lane.capture(lambda: total.add_(torch.rand((), device="cuda") * 0 + 1))
        for _ in range(3):
            replay()
        assert total.item() == 3
    torch.cuda.empty_cache()
    lane.release()


@pytest.mark.gpu
@GPU
def test_dropout_draws_anew_in_each_replay_and_the_same_for_the_same_seed():
    drawn = []
    for _ in range(2):
        lane = CudaLane("cuda:0")
        lane.begin()
        out = torch.zeros(1000, device="cuda")
        with lane.active():
            torch.manual_seed(3)
            ones = torch.ones(1000, device="cuda")
            replay = lane.capture(lambda out=out, ones=ones: out.copy_(torch.dropout(ones, 0.5, True)))
            replay()
            first = out.clone()
            replay()
            assert not torch.equal(first, out)
            drawn.append((first, out.clone()))
            torch.cuda.synchronize()
        lane.release()
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
