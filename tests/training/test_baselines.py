"""Baselines that no gradient trains: right by an independent route, and students like any other."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from template_cells import BASIC

from netpick import Run
from netpick.core.errors import CatalogueError, NetpickError
from netpick.core.recipe import Recipe
from netpick.data import DataRequest, load
from netpick.exam.exports import export
from netpick.exam.network_card import card
from netpick.networks.modules.measure import measure
from netpick.networks.paper.spec import NetworkSpec, check, layer
from netpick.networks.paper.whole_networks import BASELINES, baseline_counts
from netpick.sessions import Options, train_run
from netpick.sessions.generate import generate_run, training_samples
from netpick.training.baselines import SMALLEST, train
from netpick.training.job import Job
from netpick.training.plan import Plan

TEMPLATE = f"""
title = "Baselines"
dataset = "digits"
[recipe]
epochs = 2
train_samples = 300
{BASIC}[[cells]]
kind = "explicit"
name = "Mean"
layers = [{{ op = "baseline:nearest_mean", metric = "L1" }}]
[[cells]]
kind = "explicit"
name = "Logistic"
layers = [{{ op = "sklearn:LogisticRegression", C = 0.5, max_iter = 50 }}]
[[cells]]
kind = "explicit"
name = "Neighbours"
layers = [{{ op = "sklearn:KNeighborsClassifier", n_neighbors = 3 }}]
[[cells]]
kind = "explicit"
name = "Forest"
layers = [{{ op = "sklearn:RandomForestClassifier", n_estimators = 5, max_depth = 4 }}]
"""


def spec(op, classes, **args):
    return NetworkSpec("One", "Baseline", "None", (layer(op, num_classes=classes, **args),))


def fit(network, data, seed=0, recipe=Recipe(), keep_weights=False):  # noqa: B008  frozen
    return train(Job(network, recipe, seed, Plan(), keep_weights=keep_weights), data)


def digits(keep=None):
    """Real digits, every third one a test sample; with `keep` two classes alone, numbered 0 and 1."""
    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.float32).reshape(-1, 1, 8, 8) / 16
    if keep is not None:
        chosen = np.isin(labels, keep)
        images, labels = images[chosen], (labels[chosen] == keep[1]).astype(int)
    test = np.arange(len(labels)) % 3 == 0
    return {"train": (images[~test], labels[~test]), "test": (images[test], labels[test])}


@pytest.mark.parametrize(("metric", "scipys", "scale"), [("L1", "cityblock", 1 / 64), ("L2", "euclidean", 1 / 8)])
def test_the_nearest_mean_is_that_of_scipy(metric, scipys, scale):
    data = digits()
    (x, y), (u, v) = data["train"], data["test"]
    means = np.stack([x[y == c].reshape(-1, 64).mean(axis=0) for c in range(10)])
    away = cdist(u.reshape(-1, 64), means, scipys) * scale
    result = fit(spec("baseline:nearest_mean", 10, metric=metric), data, keep_weights=True)
    (epoch,) = result.epochs
    (test,) = epoch.splits
    assert test.accuracy == (away.argmin(axis=1) == v).mean()
    shares = np.exp(-away) / np.exp(-away).sum(axis=1, keepdims=True)
    assert test.scores == pytest.approx(np.log(shares), abs=1e-5)
    assert test.loss == pytest.approx(-np.log(shares[np.arange(len(v)), v]).mean(), abs=1e-5)
    assert result.weights["means"] == pytest.approx(means, abs=1e-6)
    assert (result.status, result.device, epoch.epoch) == ("done", "cpu", 1)
    assert math.isnan(epoch.train_loss)


@pytest.mark.parametrize("keep", [None, (3, 7)])
@pytest.mark.parametrize(
    ("op", "args", "theirs"),
    [
        ("LogisticRegression", {"C": 0.1}, LogisticRegression(C=0.1)),
        ("KNeighborsClassifier", {"n_neighbors": 4}, KNeighborsClassifier(4)),
        ("RandomForestClassifier", {"n_estimators": 7}, RandomForestClassifier(7, random_state=2**40 % 2**32 + 5)),
    ],
)
def test_the_others_say_what_scikit_learn_says(op, args, theirs, keep):
    data = digits(keep)
    classes = 10 if keep is None else 2
    (x, y), (u, v) = data["train"], data["test"]
    wanted = theirs.fit(x.reshape(len(x), -1), y).predict_proba(u.reshape(len(u), -1))
    (test,) = fit(spec(f"sklearn:{op}", classes, **args), data, 2**40 + 5).epochs[0].splits
    assert np.exp(test.scores) == pytest.approx(wanted, abs=1e-5)
    assert test.accuracy == pytest.approx((wanted.argmax(axis=1) == v).mean())
    assert np.isfinite(test.scores).all()  # no vote for a class is no probability of 0


@pytest.mark.parametrize("op", BASELINES)
def test_a_class_without_training_samples_is_never_the_answer(op):
    data = digits()
    x, y = data["train"]
    data["train"] = x[y != 4], y[y != 4]
    (test,) = fit(spec(op, 10), data, 1).epochs[0].splits
    assert not (test.scores.argmax(axis=1) == 4).any()
    assert np.exp(test.scores[:, 4]) == pytest.approx(SMALLEST, rel=0.01)
    assert test.class_accuracy[4] == 0


def test_more_neighbours_than_samples_are_all_of_them():
    data = digits()
    data["train"] = tuple(part[:6] for part in data["train"])
    assert fit(spec("sklearn:KNeighborsClassifier", 10, n_neighbors=50), data, 1).status == "done"


def test_a_fit_that_took_too_long_is_a_timeout():
    result = fit(spec("sklearn:LogisticRegression", 10), digits(), 1, Recipe(timeout=1e-9), keep_weights=True)
    assert (result.status, result.epochs, result.weights) == ("timeout", (), None)
    assert "1e-09" in result.error


def test_counts_by_hand():
    def counts(op, classes, **args):
        return baseline_counts(op, spec(op, classes, **args).layers[0].resolved, (1, 8, 8), 300)

    assert counts("baseline:nearest_mean", 10) == {"params": 640, "memory": 74, "ops": 0, "depth": 1, "macs": 640}
    assert counts("sklearn:LogisticRegression", 2)["params"] == 65
    assert counts("sklearn:LogisticRegression", 10, fit_intercept=False)["params"] == 640
    assert counts("sklearn:KNeighborsClassifier", 10)["params"] == 300 * 64
    assert counts("sklearn:RandomForestClassifier", 10, n_estimators=5, max_depth=4)["params"] == 5 * 31
    assert counts("sklearn:RandomForestClassifier", 10, n_estimators=5)["params"] == 5 * 599


@pytest.mark.parametrize("args", [{}, {"max_depth": 3}, {"min_samples_leaf": 5}])
def test_a_forest_has_no_more_nodes_than_is_said(args):
    x, y = digits()["train"]
    real = RandomForestClassifier(10, random_state=0, **args).fit(x.reshape(len(x), -1), y)
    nodes = sum(tree.tree_.node_count for tree in real.estimators_)
    full = spec("sklearn:RandomForestClassifier", 10, n_estimators=10, **args).layers[0]
    assert nodes <= baseline_counts(full.op, full.resolved, (1, 8, 8), len(x))["params"]


def test_the_fitted_numbers_are_as_many_as_is_said():
    for op, classes, keep in (
        ("sklearn:LogisticRegression", 10, None),
        ("sklearn:LogisticRegression", 2, (0, 1)),
        ("baseline:nearest_mean", 10, None),
    ):
        one = spec(op, classes)
        kept = fit(one, digits(keep), keep_weights=True).weights
        assert sum(array.size for array in kept.values()) == measure(one.layers, (1, 8, 8), 100).params


def test_how_many_samples_are_trained_on():
    assert training_samples(Recipe(), 1000) == 1000
    assert training_samples(Recipe(validation=0.2), 1000) == 800
    assert training_samples(Recipe(validation=0.2, train_samples=300), 1000) == 300
    assert training_samples(Recipe(train_samples=3000), 1000) == 1000


def test_a_run_with_baselines_is_asked_like_any_other(tmp_path):
    (tmp_path / "mine.toml").write_text(TEMPLATE)
    folder = tmp_path / "run"
    generate_run(str(tmp_path / "mine.toml"), folder)
    train_run(folder, Options(device="cpu", workers=2))
    run = Run(folder)
    networks = run.networks.set_index("name")
    assert networks.loc["Mean", ["computation", "activation"]].tolist() == ["Baseline", "None"]
    assert networks.loc["Neighbours", "params"] == 300 * 64
    assert networks.loc["Mean":"Forest", "thop_macs"].isna().all()
    epochs = run.epochs.astype({"network": str})
    assert epochs.groupby("network").size().to_dict() == {
        "Basic": 2, "Mean": 1, "Logistic": 1, "Neighbours": 1, "Forest": 1,
    }  # fmt: skip
    assert epochs.set_index("network")["train_loss"].isna().to_dict() == {
        "Basic": False, "Mean": True, "Logistic": True, "Neighbours": True, "Forest": True,
    }  # fmt: skip
    assert run.scores().shape == (5, 360, 10)
    data = load(DataRequest("digits", "", train_samples=300))
    with pytest.warns(ConvergenceWarning):
        logistic = LogisticRegression(C=0.5, max_iter=50).fit(
            data.inputs("train").reshape(300, -1), data.split("train").labels
        )
    said = logistic.predict(data.inputs("test").reshape(360, -1))
    right = epochs.set_index("network").loc["Logistic", "accuracy"]
    assert right == pytest.approx((said == data.split("test").labels).mean(), abs=0.006)
    assert load_file(folder / "weights" / "Logistic-0.safetensors")["coef"] == pytest.approx(logistic.coef_, abs=0.02)
    assert not (folder / "weights" / "Forest-0.safetensors").exists()
    assert "nearest_mean(metric='L1', num_classes=10)" in card(run, "Mean").text
    (row,) = card(run, "Neighbours").layers.to_dict("records")
    assert (row["params"], row["macs"]) == (19200, 19200)
    assert isinstance(run.ask("attempts").table, pd.DataFrame)
    for question in ("strategies", "notes", "easy"):
        assert isinstance(run.ask(question, everyone=True).table, pd.DataFrame)
    with pytest.raises(NetpickError, match=r"Logistic is a baseline, .*Logistic-0.safetensors") as caught:
        export(run, "Logistic", tmp_path / "x.py")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ('{ op = "baseline:nearest_means" }', "did you mean 'baseline:nearest_mean'"),
        ('{ op = "sklearn:SVC" }', "unknown operation 'sklearn:SVC'.*sklearn:LogisticRegression"),
        ('{ op = "baseline:nearest_mean", metric = "L3" }', "wants one of L1, L2.*got 'L3'"),
        ('{ op = "sklearn:LogisticRegression", n_jobs = 4 }', "no argument 'n_jobs'"),
        ('{ op = "sklearn:LogisticRegression", C = -1.0 }', "C wants a positive number, got -1.0"),
        ('{ op = "sklearn:LogisticRegression", C = nan }', "C wants a positive number"),
        ('{ op = "sklearn:KNeighborsClassifier", n_neighbors = true }', "n_neighbors wants a positive integer"),
        ('{ op = "Flatten" }, { op = "baseline:nearest_mean" }', "a baseline is the only layer.*got 2"),
        ('{ op = "baseline:nearest_mean", num_classes = 3 }', r"gives \[3\], wanted \[10\]"),
    ],
)
def test_what_a_baseline_does_not_take_is_one_line(tmp_path, layers, said):
    path = tmp_path / "bad.toml"
    path.write_text(f'title = "b"\ndataset = "digits"\n[[cells]]\nkind = "explicit"\nname = "B"\nlayers = [{layers}]\n')
    with pytest.raises(CatalogueError, match=said) as caught:
        generate_run(str(path), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@given(st.sampled_from(sorted(BASELINES)), st.integers(1, 4), st.integers(1, 40), st.integers(2, 1000))
def test_every_shape_gives_one_score_a_class(op, channels, side, classes):
    one = spec(op, classes)
    assert check(one.layers, (channels, side, side + 1), classes).params == 0  # not told on paper
    counted = measure(one.layers, (channels, side, side + 1), 50)
    assert counted.params > 0
    assert counted.memory > channels * side * (side + 1)
