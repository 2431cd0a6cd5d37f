"""The model of what a training costs, against planted coefficients, counts by hand and a plain simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpick.core.recipe import Augment, Recipe
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.sessions.forecast import model
from netpick.sessions.forecast.model import Timed, fit, futures, rough, schedule
from netpick.sessions.forecast.work import FEATURES, Workload, quantities, workload_of
from netpick.sessions.situation import RunNetwork, Samples
from netpick.training import cards

PLANTED = np.array(
    [
        *(5e-4, 3e-5, 4e-9, 2e-9, 2e-10, 1e-10, 4e-10, 6e-10, 2e-10, 1e-10, 2e-11, 9e-11),
        *(6e-5, 9e-6, 2e-9, 3e-10, 2e-10, 1e-10, 8e-9),  # in machine code
        4e-9,
    ]
)
ONCE = [name.removeprefix("compiled_") in ("step", "ops", "params", "rows") for name in FEATURES]


def planted(number, noise=0.0, seed=0):
    """Networks whose times follow from planted coefficients, as networks of one kind of layer each, all sizes."""
    random = np.random.default_rng(seed)
    works, timed = [], []
    for n in range(number):
        x = np.zeros(len(FEATURES))
        x[0], x[1], x[2] = 1, random.integers(4, 30), 10 ** random.uniform(3, 6)
        batch = 32
        x[3] = batch * 10 ** random.uniform(3, 5)
        kind = n % 5
        if kind == 4:
            x[12:16], x[:4] = x[:4], 0
            x[16 + n % 2] = batch * 10 ** random.uniform(3, 5)
            x[18] = x[17] / batch / random.uniform(4, 28)
        else:
            x[4 + kind] = batch * 10 ** random.uniform(4, 7)
        if 0 < kind < 4:
            x[8 + kind] = x[4 + kind] * random.uniform(1, 8)
        params = np.array([name.endswith("params") for name in FEATURES])
        sample = np.where(ONCE, x * ~params, x / batch)
        works.append(Workload((f"{n:04}", 0), f"N{n}", f"kind{kind}", 100, 1000, x, sample))
        off = np.exp(random.normal(0, noise, 2) - noise**2 / 2)
        timed.append(Timed((f"{n:04}", 0), x @ PLANTED * off[0], sample @ (PLANTED / 3) * off[1], 0.05))
    return works, timed


def seconds_of(timed):
    return np.array([0.05 + 100 * one.step_seconds + 1000 * one.sample_seconds for one in timed])


def unseen(fitted, works):
    """Predictions as for networks that were not timed."""
    return np.array([fitted.seconds(Workload(("other", 0), *list(vars(work).values())[1:])) for work in works])


def test_planted_coefficients_are_found(monkeypatch):
    works, timed = planted(300)
    others, truth = planted(100, seed=1)
    fitted = fit(works, timed, refits=1)
    off = np.abs(unseen(fitted, others) / seconds_of(truth) - 1)
    assert np.median(off) < 0.05
    assert unseen(fitted, others).sum() == pytest.approx(seconds_of(truth).sum(), rel=0.02)
    assert fitted.fixed == pytest.approx(0.05)
    monkeypatch.setattr(model, "PRIOR", 1e-9)  # nothing but what was timed
    fitted = fit(works, timed, refits=1)
    np.testing.assert_allclose(unseen(fitted, others), seconds_of(truth), rtol=0.02)
    assert fitted.spread < 0.02


def test_a_dozen_noisy_networks_tell_enough_of_a_hundred():
    works, timed = planted(24, noise=0.2)
    others, truth = planted(100, noise=0.2, seed=1)
    fitted = fit(works, timed, refits=1)
    assert unseen(fitted, others).sum() == pytest.approx(seconds_of(truth).sum(), rel=0.15)
    assert 0.1 < fitted.spread < 0.45


def test_predictions_are_not_too_low_in_the_mean():
    """A fit of errors relative to what was measured would be: by about the square of the noise."""
    ratios = []
    for seed in range(8):
        works, timed = planted(60, noise=0.5, seed=seed)
        fitted = fit(works, timed, refits=1)
        others, truth = planted(60, seed=100 + seed)
        ratios.append(np.mean(unseen(fitted, others) / seconds_of(truth)))
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)


def test_what_was_timed_itself_is_taken_as_it_was():
    works, timed = planted(12, noise=0.5)
    fitted = fit(works, timed, refits=1)
    assert [fitted.seconds(work) for work in works] == pytest.approx(list(seconds_of(timed)))


def test_one_network_is_enough_for_a_model():
    works, timed = planted(1)
    fitted = fit(works, timed, refits=2)
    assert np.isfinite(fitted.spread)
    assert unseen(fitted, works) == pytest.approx(seconds_of(timed), rel=0.1)


def test_the_range_holds_what_happens_and_narrows_with_what_is_known():
    works, timed = planted(24, noise=0.2)
    others, truth = planted(100, noise=0.2, seed=1)
    fitted = fit(works, timed)
    low, high = np.quantile(futures(fitted, others, 2), (0.05, 0.95))
    assert low < schedule(seconds_of(truth), 2) < high
    assert high / low < 1.7
    few = np.quantile(futures(rough(), others, 2), (0.05, 0.95))
    assert few[1] / few[0] > 3  # nothing measured: nearly anything is possible


# What is counted on paper


def test_layers_are_counted_by_kind_with_padded_channels():
    layers = [
        layer("Reshape", shape=[1, 28, 28]),
        layer("Conv2d", in_channels=1, out_channels=6, kernel_size=5),
        layer("Conv2d", in_channels=6, out_channels=20, kernel_size=3),
        layer("Conv2d", in_channels=20, out_channels=7, kernel_size=22),  # covers its input: a matrix product
        layer("Flatten"),
        layer("Linear", in_features=7, out_features=10),
        layer("LogSoftmax"),
    ]
    first, second, third = 24 * 24 * 6 * 25, 22 * 22 * 20 * 6 * 9, 7 * 20 * 22 * 22
    macs = first + second + third + 70
    found = quantities(layers, (1, 28, 28), macs)
    assert found["conv2d"] == first + second
    assert found["linear"] == third + 70
    # One channel has a kernel of its own; 6 become 16, 20 become 32.
    assert found["padded2d"] == 24 * 24 * 25 * 1 * 16 + 22 * 22 * 9 * 16 * 32
    assert found["other"] == 0
    assert found["conv1d"] == found["conv3d"] == found["padded3d"] == 0


def test_a_residual_block_counts_as_its_convolutions():
    layers = [layer("BasicBlock", inplanes=4, planes=8, stride=2)]
    macs = 14 * 14 * (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8)
    found = quantities(layers, (4, 28, 28), macs)
    assert (found["conv2d"], found["padded2d"], found["other"]) == (macs, 14 * 14 * 9 * 16 * 32, 0)


def test_what_paper_does_not_know_is_other():
    assert quantities([layer("SomethingNew", size=3)], (1, 8, 8), 12345)["other"] == 12345
    found = quantities([layer("Linear", in_features=3, out_features=2)], (1, 8, 8), 6)  # does not fit
    assert found["other"] == 6
    assert sum(found.values()) == 6


def network(row, layers, recipe):
    return RunNetwork(row, NetworkSpec(row["name"], row["computation"], "None", tuple(layers)), recipe)


def test_a_training_is_its_steps_and_its_evaluated_samples():
    layers = [layer("Flatten"), layer("Linear", in_features=64, out_features=10), layer("LogSoftmax")]
    row = {"hash": "h", "name": "N", "computation": "Linear", "macs": 640, "ops": 4, "params": 650, "memory": 148}
    work = workload_of(network(row, layers, Recipe(batch_size=25, epochs=3)), (1, 8, 8), Samples(101, 360))
    assert (work.key, work.steps, work.evaluated) == (("h", 0), 3 * 5, 3 * 360)
    step = dict(zip(FEATURES, work.step, strict=True))
    assert (step["step"], step["ops"], step["params"]) == (1, 4, 650)
    assert (step["elements"], step["linear"]) == (25 * 148, 25 * 640)
    assert dict(zip(FEATURES, work.sample, strict=True))["linear"] == 640


def test_a_baseline_has_no_steps():
    layers = [layer("baseline:nearest_mean", num_classes=10, image=[1, 8, 8])]
    row = {"hash": "h", "name": "N", "computation": "x", "macs": 0, "ops": 0, "params": 0, "memory": 0}
    work = workload_of(network(row, layers, Recipe()), (1, 8, 8), Samples(101, 360))
    assert work.step is None
    assert rough().seconds(work) == model.UNTRAINED


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_the_rough_model_knows_that_more_costs_more(device):
    works, _ = planted(40)
    fitted = rough(device)
    for work in works:
        larger = Workload(work.key, "L", "k", work.steps, work.evaluated, 2 * work.step, 2 * work.sample)
        assert fitted.seconds(larger) > fitted.seconds(work) > 0


def test_a_card_has_rough_costs_of_its_own():
    layers = [layer("Flatten"), layer("Linear", in_features=64, out_features=10), layer("LogSoftmax")]
    row = {"hash": "h", "name": "N", "computation": "Linear", "macs": 640, "ops": 4, "params": 650, "memory": 148}
    work = workload_of(network(row, layers, Recipe(batch_size=25, epochs=1)), (1, 8, 8), Samples(100, 0))
    each = 4 * cards.OP_SECONDS + 650 * cards.WEIGHT_SECONDS
    each += 25 * (148 * cards.VALUE_SECONDS + 640 * cards.MAC_SECONDS)
    assert rough("cuda:0").seconds(work) == pytest.approx(cards.TRAINING_SECONDS + 4 * each, rel=1e-6)


# The schedule


def simulated(seconds, workers):
    """A plain simulation of events: time goes on in steps to the next end of a training."""
    waiting, running, now = list(seconds), [], 0.0
    while waiting or running:
        while waiting and len(running) < workers:
            running.append(now + waiting.pop(0))
        now = min(running)
        running.remove(now)
    return now


@given(st.lists(st.floats(0.01, 100), max_size=40), st.integers(1, 9))
def test_the_schedule_is_that_of_workers_who_take_the_next_one(seconds, workers):
    assert schedule(seconds, workers) == pytest.approx(simulated(seconds, workers))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40), st.integers(1, 9))
def test_longest_first_is_within_the_known_bound(seconds, workers):
    """Graham 1969: at most 4/3 - 1/(3 workers) times the best schedule, and that one is no shorter than these."""
    shortest = max(max(seconds), sum(seconds) / workers)
    first = schedule(sorted(seconds, reverse=True), workers)
    assert first >= shortest - 1e-9
    assert first <= sum(seconds) / workers + max(seconds) * (1 - 1 / workers) + 1e-9


def test_nothing_to_do_takes_no_time():
    assert schedule([], 3) == 0
    assert math.isfinite(rough().fixed)


@pytest.mark.parametrize("compiled", [False, True])
def test_augmentation_costs_each_step_and_no_evaluation(compiled):
    layers = [layer("Flatten"), layer("Linear", in_features=192, out_features=10), layer("LogSoftmax")]
    row = {"hash": "h", "name": "N", "computation": "Linear", "macs": 1920, "ops": 4, "params": 1930, "memory": 404}
    plain, moved, both = (
        workload_of(
            network(row, layers, Recipe(batch_size=25, augment=augment)), (3, 8, 8), Samples(101, 360), compiled
        )
        for augment in (Augment(), Augment(shift=2, flip=True, crop=0.8), Augment(flip=True, erase=0.1))
    )
    changed = [dict(zip(FEATURES, work.step, strict=True))["augmented"] for work in (plain, moved, both)]
    assert changed == [0, 25 * 192, 2 * 25 * 192]
    for work in (moved, both):
        np.testing.assert_array_equal(work.sample, plain.sample)
        assert rough().seconds(work) > rough().seconds(plain)
