"""A training that leaves a fold out learns as from a data set without that fold, to the bit, and answers the fold."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from netpick.core.recipe import Augment, Recipe
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.training.engines import train
from netpick.training.engines.graphs.lanes import make_lane
from netpick.training.engines.graphs.training import run_alone, train_alone, training
from netpick.training.job import Job
from netpick.training.parts import Parts
from netpick.training.plan import Plan

FOLDS, CLASSES = 3, 4
LAYERS = {
    "dense": [
        layer("Flatten"),
        layer("Linear", in_features=36, out_features=8),
        layer("BatchNorm1d", num_features=8),
        layer("ReLU"),
        layer("Linear", in_features=8, out_features=CLASSES),
        layer("LogSoftmax"),
    ],
    "mean": [layer("baseline:nearest_mean", metric="L2", num_classes=CLASSES)],
    "neighbours": [layer("sklearn:KNeighborsClassifier", n_neighbors=3, num_classes=CLASSES)],
}
RECIPES = {
    "shuffled": Recipe(batch_size=16, epochs=2, schedule="cosine", augment=Augment(shift=1)),
    "fixed": Recipe(batch_size=16, epochs=2, order="fixed"),
    "torch": Recipe(batch_size=16, epochs=2, seeding="torch"),
}


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(0)
    train, test = torch.rand(100, 1, 6, 6), torch.rand(30, 1, 6, 6)
    folds = (torch.arange(100) * 7 % FOLDS).to(torch.int8)
    return {
        "train": (train, torch.arange(100) % CLASSES, folds),
        "test": (test, torch.arange(30) % CLASSES),
    }


def without(data, fold):
    """The same data set as if it had been made without the fold: which is a split of its own."""
    inputs, labels, folds = data["train"]
    inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    return {
        "train": (inputs[inside].clone(), labels[inside].clone()),
        "test": data["test"],
        "left_out": (inputs[outside].clone(), labels[outside].clone()),
    }


def assert_alike(one, other, numbers):
    assert one.status == other.status == "done"
    assert len(one.epochs) == len(other.epochs)
    for mine, theirs in zip(one.epochs, other.epochs, strict=True):
        assert mine.train_loss == theirs.train_loss or np.isnan(mine.train_loss)
        assert [s.split for s in mine.splits] == ["test", "left_out"]
        for a, b in zip(mine.splits, theirs.splits, strict=True):
            assert np.array_equal(a.scores, b.scores)
            assert (a.accuracy, a.loss) == (b.accuracy, b.loss)
        assert mine.splits[0].samples is None
        assert np.array_equal(mine.splits[1].samples, numbers)
    assert one.recipe["train_samples"] == other.recipe["train_samples"] == 100 - len(numbers)
    for name, values in other.weights.items():
        assert np.array_equal(one.weights[name], values)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("mode", ["reference", "compiled", "explicit", "eager", "graph"])
def test_it_learns_as_from_the_other_samples_alone(data, mode, recipe):
    if mode == "graph" and recipe != "shuffled":
        pytest.skip("one order is enough of what the CPU stands in for")
    spec = NetworkSpec("N", "Linear", "ReLU", tuple(LAYERS["dense"]))
    plan = Plan(mode=mode, convolutions="plain")
    job = Job(spec, RECIPES[recipe], 5, plan, keep_weights=True, fold=1)
    run = train_alone if mode == "graph" else train
    if mode == "graph":  # as a process of a card has them: labels on the host, of all that could be left out
        labels = {"test": data["test"][1].numpy(), "left_out": data["train"][1].numpy()}
        with ThreadPoolExecutor(1) as background:
            lane = make_lane("cpu")
            beside = run_alone(training(job, lane, data, background, labels), lane)
        assert_alike(beside, run(replace(job, fold=None), without(data, 1)), np.flatnonzero(data["train"][2] == 1))
    numbers = np.flatnonzero(data["train"][2] == 1)
    one = run(job, data)
    assert one.fold == 1
    assert_alike(one, run(replace(job, fold=None), without(data, 1)), numbers)


@pytest.mark.parametrize("name", ["mean", "neighbours"])
def test_a_baseline_is_fitted_to_the_other_samples_alone(data, name):
    spec = NetworkSpec("B", "Baseline", "None", tuple(LAYERS[name]))
    job = Job(spec, Recipe(), 5, Plan(), fold=2)
    one, other = train(job, data), train(replace(job, fold=None), without(data, 2))
    for mine, theirs in zip(one.epochs[0].splits, other.epochs[0].splits, strict=True):
        assert np.array_equal(mine.scores, theirs.scores)
    assert np.array_equal(one.epochs[0].splits[1].samples, np.flatnonzero(data["train"][2] == 2))


def test_without_a_fold_all_samples_are_learned(data):
    spec = NetworkSpec("N", "Linear", "ReLU", tuple(LAYERS["dense"]))
    job = Job(spec, RECIPES["fixed"], 5, Plan(mode="eager"), fold=None)
    result = train(job, data)
    assert result.recipe["train_samples"] == 100
    assert [s.split for s in result.epochs[0].splits] == ["test"]


def test_what_is_timed_has_the_sizes_that_a_training_has(data):
    spec = NetworkSpec("N", "Linear", "ReLU", tuple(LAYERS["dense"]))
    splits = Parts.of(Job(spec, RECIPES["fixed"], 5, Plan(), fold=0), data).timed()
    left_out = int((data["train"][2] == 0).sum())
    assert {split: len(y) for split, (_, y) in splits.items()} == {
        "train": 100 - left_out,
        "test": 30,
        "left_out": left_out,
    }
